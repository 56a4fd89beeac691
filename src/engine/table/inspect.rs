//! What can be asked of a table without changing anything.

use super::{Limits, Nanos, Now, Slot, Stamp, Table, TagRef, Words};
use crate::engine::eviction::Eviction;
use crate::engine::stats::Counters;

/// A slot given to these must be one that `find` gave and that was not removed since.
impl<K, V, W: Words> Table<K, V, W> {
    /// The limits in force.
    #[inline]
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The key object of an entry.
    #[inline]
    #[must_use]
    pub fn key(&self, slot: Slot) -> &K {
        &self.contents.slab.pair(slot).0
    }

    /// The value of an entry, live or not.
    #[inline]
    #[must_use]
    pub fn value(&self, slot: Slot) -> &V {
        &self.contents.slab.pair(slot).1
    }

    /// When an entry expires.
    #[inline]
    #[must_use]
    pub fn deadline(&self, slot: Slot) -> Nanos {
        self.contents.slab[slot].deadline
    }

    /// The hash under which an entry was stored.
    #[inline]
    #[must_use]
    pub fn hash(&self, slot: Slot) -> u64 {
        self.contents.slab[slot].hash
    }

    /// How long an entry took to load, rounded up to microseconds; 0 without early refresh.
    #[must_use]
    pub fn cost(&self, slot: Slot) -> Nanos {
        self.contents.columns.cost(slot)
    }

    /// The version words an entry depends on.
    #[must_use]
    pub fn stamps(&self, slot: Slot) -> &[Stamp] {
        self.contents.columns.stamps(slot)
    }

    /// The tags an entry carries.
    pub fn tags(&self, slot: Slot) -> impl Iterator<Item = TagRef<'_>> {
        self.contents.tags.of(self.contents.slab[slot].tags)
    }

    /// Whether an entry is live: neither over nor outdated.
    #[inline]
    #[must_use]
    pub fn is_live(&self, slot: Slot, now: Now) -> bool {
        !now.reached(self.deadline(slot)) && !self.is_outdated(slot)
    }

    /// Whether a version word that an entry depends on changed since its value was computed. Then nobody may see it.
    #[inline]
    #[must_use]
    pub fn is_outdated(&self, slot: Slot) -> bool {
        self.contents.columns.stamps_any() && !self.words.are_current(self.stamps(slot))
    }

    /// Whether any entry may be outdated: false for a table that never saw a stamp.
    #[inline]
    #[must_use]
    pub fn is_stamped(&self) -> bool {
        self.contents.columns.stamps_any()
    }

    /// Whether these version words still have these values.
    #[inline]
    #[must_use]
    pub fn are_current(&self, stamps: &[Stamp]) -> bool {
        stamps.is_empty() || self.words.are_current(stamps)
    }

    /// Changes whenever a slot is filled or freed: as long as it stands still, slots stay valid.
    #[inline]
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// How many entries are held, expired ones included.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.contents.len()
    }

    /// Whether none is.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many entries may take part in a reference cycle.
    #[inline]
    #[must_use]
    pub fn traced(&self) -> usize {
        self.contents.traced
    }

    /// What the entries weigh together; 0 without a limit.
    #[inline]
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        self.contents.columns.bytes()
    }

    /// What was counted since the last reset.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.metrics.counters()
    }

    /// All entries, expired ones included, in no particular order. For the garbage collector.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, &K, &V)> {
        self.contents
            .slab
            .iter()
            .map(|(slot, (key, value))| (slot, key, value))
    }

    /// All slots, the next to go first: least recently used to most recently used, or S3-FIFO's small queue and then
    /// its main queue, oldest first.
    #[must_use]
    pub fn slots(&self) -> Vec<Slot> {
        self.contents.policy.order(&self.contents.slab)
    }

    /// Panics unless every index agrees with every other. O(entries); for tests.
    #[doc(hidden)]
    pub fn validate(&self) {
        self.contents.validate();
        assert!(
            self.len() <= self.limits.max_size,
            "more entries than allowed"
        );
        assert!(
            !self.is_overweight(0),
            "the entries weigh more than allowed"
        );
        let shown = (self.len(), self.weight_bytes());
        self.metrics.validate(shown, &self.limits);
    }
}
