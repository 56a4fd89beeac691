//! Looking into a table piece by piece, and what is known of single entries beside what reading them needs.

use super::{Nanos, Now, Slot, Table, Words};
use crate::engine::PolicyKind;
use crate::engine::slab::ROOTS;

const SECOND: Nanos = 1_000_000_000;

impl<K, V, W: Words> Table<K, V, W> {
    /// The filled ones among so many slots from `cursor` on, and the next cursor; 0 is the first, None the end. O(slots).
    ///
    /// A walk over all slots meets each entry once that is there from its beginning to its end, unless the table is cleared.
    #[must_use]
    pub fn walk(&self, cursor: Slot, slots: usize) -> (Vec<Slot>, Option<Slot>) {
        let end = self.contents.slab.slots();
        let first = (cursor.max(ROOTS) as usize).min(end);
        let last = first.saturating_add(slots).min(end);
        let range = Slot::try_from(first).unwrap_or(Slot::MAX)..;
        let filled = range
            .take(last - first)
            .filter(|&slot| self.contents.slab[slot].pair.is_some())
            .collect();
        (
            filled,
            (last < end).then(|| Slot::try_from(last).unwrap_or(Slot::MAX)),
        )
    }

    /// What an entry weighs; None where nothing is weighed.
    #[must_use]
    pub fn weight(&self, slot: Slot) -> Option<u64> {
        self.contents.columns.weight(slot)
    }

    /// How often the policy saw an entry of late, 0 to 3; None where it does not count.
    #[must_use]
    pub fn frequency(&self, slot: Slot) -> Option<u32> {
        (self.limits.policy == PolicyKind::S3Fifo)
            .then(|| self.contents.slab[slot].meta.frequency())
    }

    /// Whether an entry over is kept for its grace at `now`.
    #[must_use]
    pub fn is_in_grace(&self, slot: Slot, now: Now) -> bool {
        now.reached(self.deadline(slot)) && self.is_kept(slot, now)
    }

    /// Whether an entry stands in the queue of those that live for the table's own TTL: then its deadline tells its birth.
    #[must_use]
    pub fn has_common_ttl(&self, slot: Slot) -> bool {
        super::Deadlines::is_queued(&self.contents.slab, slot)
    }

    /// For how many whole seconds an entry has been there that has a TTL of its own; None where that was not noted.
    #[must_use]
    pub fn noted_age(&self, slot: Slot, now: Now) -> Option<u32> {
        let is_noted = self.contents.slab[slot].meta.is_born() && !self.has_common_ttl(slot);
        is_noted.then(|| second(now.at()).wrapping_sub(self.contents.columns.birth(slot)))
    }

    /// Notes when an entry was stored whose deadline does not tell.
    pub fn note_birth(&mut self, slot: Slot, at: Nanos) {
        let slots = self.contents.slab.capacity();
        self.contents.columns.set_birth(slot, second(at), slots);
        self.contents.slab[slot].meta.set_born(true);
    }
}

/// The second of an instant, of which only differences mean anything.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "wraps after 136 years"
)]
fn second(at: Nanos) -> u32 {
    at.div_euclid(SECOND) as u32
}
