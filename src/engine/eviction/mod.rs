//! Who goes when room is needed: one small trait, one file per policy.

mod lru;
mod s3fifo;

use super::slab::{Slab, Slot};
use lru::Lru;
use s3fifo::S3Fifo;

/// The policies on offer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PolicyKind {
    /// The entry whose last use lies furthest back goes. Exact.
    #[default]
    Lru,
    /// New entries prove themselves in a small queue first, so that a scan does not flush the cache.
    S3Fifo,
}

impl PolicyKind {
    /// Its name in settings and statistics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lru => "lru",
            Self::S3Fifo => "s3fifo",
        }
    }
}

/// An order of eviction over the recency links and the policy bits of a slab.
///
/// The caller guarantees that it reports each slot once when filled and once before it is vacated, that a slot it
/// reports is filled, and that nothing else touches the recency links, the frequency and the queue bit.
/// The implementer guarantees that it names every reported slot sooner or later, names none twice unless it was
/// reported again, and allocates nothing on a hit.
pub(super) trait Eviction {
    /// A slot was filled.
    fn inserted<K, V>(&mut self, slab: &mut Slab<K, V>, slot: Slot);
    /// Its value was read or replaced.
    fn touched<K, V>(&mut self, slab: &mut Slab<K, V>, slot: Slot);
    /// It is about to be vacated, for whatever reason.
    fn removed<K, V>(&mut self, slab: &mut Slab<K, V>, slot: Slot);
    /// A slot that `removed` took out, and whose bits are as they were, comes back as the youngest of its queue.
    fn restored<K, V>(&mut self, slab: &mut Slab<K, V>, slot: Slot);
    /// Names the slot that goes next, and takes note that it does: the caller must remove it. `None` when empty.
    fn victim<K, V>(&mut self, slab: &mut Slab<K, V>) -> Option<Slot>;
    /// All slots, the next to go first, as far as that can be said in advance.
    fn order<K, V>(&self, slab: &Slab<K, V>) -> Vec<Slot>;
    /// Panics unless the order holds exactly `len` slots and agrees with itself.
    fn validate<K, V>(&self, slab: &Slab<K, V>, len: usize);
}

/// The policy of one table. An enum and not a trait object: a hit pays one predictable branch, and
/// boxed, so that the branch is a test for null.
#[derive(Debug)]
pub(super) enum Policy {
    Lru(Lru),
    S3Fifo(Box<S3Fifo>),
}

impl Policy {
    pub(super) fn new(kind: PolicyKind) -> Self {
        match kind {
            PolicyKind::Lru => Self::Lru(Lru::new()),
            PolicyKind::S3Fifo => Self::S3Fifo(Box::new(S3Fifo::new())),
        }
    }
}

/// Passes a call on to the policy in force.
macro_rules! dispatch {
    ($policy:expr, $inner:ident => $call:expr) => {
        match $policy {
            Policy::Lru($inner) => $call,
            Policy::S3Fifo($inner) => $call,
        }
    };
}

impl Eviction for Policy {
    #[inline]
    fn inserted<K, V>(&mut self, slab: &mut Slab<K, V>, slot: Slot) {
        dispatch!(self, policy => policy.inserted(slab, slot));
    }

    #[inline]
    fn touched<K, V>(&mut self, slab: &mut Slab<K, V>, slot: Slot) {
        dispatch!(self, policy => policy.touched(slab, slot));
    }

    #[inline]
    fn removed<K, V>(&mut self, slab: &mut Slab<K, V>, slot: Slot) {
        dispatch!(self, policy => policy.removed(slab, slot));
    }

    fn restored<K, V>(&mut self, slab: &mut Slab<K, V>, slot: Slot) {
        dispatch!(self, policy => policy.restored(slab, slot));
    }

    #[inline]
    fn victim<K, V>(&mut self, slab: &mut Slab<K, V>) -> Option<Slot> {
        dispatch!(self, policy => policy.victim(slab))
    }

    fn order<K, V>(&self, slab: &Slab<K, V>) -> Vec<Slot> {
        dispatch!(self, policy => policy.order(slab))
    }

    fn validate<K, V>(&self, slab: &Slab<K, V>, len: usize) {
        dispatch!(self, policy => policy.validate(slab, len));
    }
}
