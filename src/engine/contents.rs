//! What a table holds: the entries with their five indexes, which are changed together or not at all.

use super::clock::{Nanos, Now};
use super::columns::Columns;
use super::deadlines::Deadlines;
use super::eviction::{Eviction, Policy};
use super::limits::Limits;
use super::put::Put;
use super::slab::{Slab, Slot, mix};
use super::tags::Tags;
use hashbrown::HashTable;

#[derive(Debug)]
pub(super) struct Contents<K, V> {
    pub(super) slab: Slab<K, V>,
    pub(super) index: HashTable<Slot>,
    pub(super) policy: Policy,
    pub(super) expiry: Deadlines,
    pub(super) tags: Tags,
    pub(super) columns: Columns,
    /// How many entries may take part in a reference cycle.
    pub(super) traced: usize,
}

impl<K, V> Contents<K, V> {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            slab: Slab::new(),
            index: HashTable::new(),
            policy: Policy::new(limits.policy),
            expiry: Deadlines::new(),
            tags: Tags::default(),
            columns: Columns::new(limits),
            traced: 0,
        }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the path of every hit")]
    pub(super) fn find(&self, hash: u64, mut eq: impl FnMut(&K) -> bool) -> Option<Slot> {
        // Not `HashTable::find`: in the bindings it calls its closure through a vtable, 30 instructions more for each hit.
        for &slot in self.index.iter_hash(mix(hash)) {
            let entry = &self.slab[slot];
            if entry.hash == hash
                && let Some((key, _)) = &entry.pair
                && eq(key)
            {
                return Some(slot);
            }
        }
        None
    }

    /// Adds an entry whose key is known to be absent. The caller has made room.
    #[inline]
    pub(super) fn add(&mut self, hash: u64, pair: (K, V), put: &Put<'_>, max_size: usize) -> Slot {
        let slot = self.slab.occupy(hash, put.deadline, pair, max_size);
        let slab = &self.slab;
        self.index
            .insert_unique(mix(hash), slot, |&slot| mix(slab[slot].hash));
        self.policy.inserted(&mut self.slab, slot);
        self.expiry.link(&mut self.slab, slot, put.own_ttl);
        self.describe(slot, put);
        slot
    }

    /// Whether nothing but the deadline is known about an entry, and no column knows anything about any.
    #[inline]
    pub(super) fn is_plain(&self, slot: Slot) -> bool {
        self.slab[slot].tags == 0 && !self.columns.is_used()
    }

    /// Gives a plain entry a new value and deadline, and returns the old value.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the path of every plain write")]
    pub(super) fn overwrite(&mut self, slot: Slot, value: V, deadline: Nanos, traced: bool) -> V {
        self.trace(slot, traced);
        self.retime(slot, deadline, false);
        std::mem::replace(&mut self.slab.pair_mut(slot).1, value)
    }

    /// Gives an entry a new value with a new description, and returns the old value.
    #[inline]
    pub(super) fn renew(&mut self, slot: Slot, value: V, put: &Put<'_>) -> V {
        let old = std::mem::replace(&mut self.slab.pair_mut(slot).1, value);
        self.retime(slot, put.deadline, put.own_ttl);
        self.describe(slot, put);
        old
    }

    /// Gives an entry a new value and weight, nothing else, and returns the old value.
    pub(super) fn update(&mut self, slot: Slot, value: V, weight: u64, traced: bool) -> V {
        self.trace(slot, traced);
        self.columns.reweigh(slot, weight, self.slab.capacity());
        std::mem::replace(&mut self.slab.pair_mut(slot).1, value)
    }

    /// Records what `put` says beside value and deadline, in place of what was known before.
    #[inline]
    fn describe(&mut self, slot: Slot, put: &Put<'_>) {
        let entry = &self.slab[slot];
        let plain = put.tags.is_empty() && put.stamps.is_empty() && entry.tags == 0;
        if !plain || entry.meta.is_traced() != put.traced || self.columns.is_used() {
            self.describe_fully(slot, put);
        }
    }

    #[inline(never)]
    fn describe_fully(&mut self, slot: Slot, put: &Put<'_>) {
        self.trace(slot, put.traced);
        self.tags.detach(&mut self.slab, slot);
        self.tags.attach(&mut self.slab, slot, put.tags);
        if self.columns.is_used() || !put.stamps.is_empty() {
            self.columns.describe(slot, put, self.slab.capacity());
        }
    }

    /// Notes whether an entry may take part in a reference cycle.
    #[inline]
    fn trace(&mut self, slot: Slot, traced: bool) {
        let meta = &mut self.slab[slot].meta;
        if meta.is_traced() != traced {
            meta.set_traced(traced);
            self.traced = if traced {
                self.traced + 1
            } else {
                self.traced - 1
            };
        }
    }

    /// Removes an entry from every index and hands it out.
    #[inline]
    pub(super) fn take(&mut self, slot: Slot) -> (K, V) {
        let hash = self.slab[slot].hash;
        if let Ok(entry) = self.index.find_entry(mix(hash), |&other| other == slot) {
            entry.remove();
        }
        self.detach(slot);
        let entry = &self.slab[slot];
        if entry.meta.is_traced() {
            self.traced -= 1;
        }
        if entry.tags != 0 {
            self.tags.detach(&mut self.slab, slot);
        }
        if self.columns.is_used() {
            self.columns.vacate(slot);
        }
        self.slab.vacate(slot)
    }

    /// Takes an entry out of the orders of eviction and expiry, so that making room cannot meet it.
    #[inline]
    pub(super) fn detach(&mut self, slot: Slot) {
        self.policy.removed(&mut self.slab, slot);
        self.expiry.unlink(&mut self.slab, slot);
    }

    /// Undoes [`Self::detach`]; the entry counts as just used.
    pub(super) fn attach(&mut self, slot: Slot, own_ttl: bool) {
        self.policy.restored(&mut self.slab, slot);
        self.expiry.link(&mut self.slab, slot, own_ttl);
    }

    /// Moves a deadline.
    #[inline]
    pub(super) fn retime(&mut self, slot: Slot, deadline: Nanos, own_ttl: bool) {
        self.expiry.relink(&mut self.slab, slot, deadline, own_ttl);
    }

    /// An entry that is over, if one is found in O(1).
    #[inline]
    pub(super) fn expired(&mut self, now: Now) -> Option<Slot> {
        self.expiry.expired(&mut self.slab, now)
    }

    /// The entry that the policy gives up.
    #[inline]
    pub(super) fn victim(&mut self) -> Option<Slot> {
        self.policy.victim(&mut self.slab)
    }

    /// Panics unless every index agrees with every other.
    pub(super) fn validate(&self) {
        assert_eq!(
            self.slab.iter().count(),
            self.len(),
            "the slab and the index count differently"
        );
        for &slot in &self.index {
            assert!(
                self.slab[slot].pair.is_some(),
                "the index names vacant slot {slot}"
            );
            let hash = self.slab[slot].hash;
            assert!(
                self.index.find(mix(hash), |&other| other == slot).is_some(),
                "slot {slot} cannot be found"
            );
        }
        self.policy.validate(&self.slab, self.len());
        self.expiry.validate(&self.slab);
        self.tags.validate(&self.slab);
        self.columns.validate();
        let traced = self
            .slab
            .iter()
            .filter(|(slot, _)| self.slab[*slot].meta.is_traced())
            .count();
        assert_eq!(traced, self.traced, "traced entries were miscounted");
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::{Contents, Limits, Put};
    use crate::engine::slab::Entry;

    type Pairs = Contents<NonZeroU64, u64>;

    fn add(contents: &mut Pairs, key: u64, max_size: usize) {
        let pair = (NonZeroU64::MIN.saturating_add(key), key);
        contents.add(key, pair, &Put::default(), max_size);
    }

    fn bytes(contents: &Pairs) -> usize {
        contents.slab.capacity() * size_of::<Entry<NonZeroU64, u64>>()
            + contents.index.allocation_size()
    }

    /// A million entries take at most 72 bytes each, key and value pointers included.
    #[test]
    fn a_million_entries_are_small() {
        const SIZE: usize = 1_000_000;
        let mut contents = Contents::new(&Limits::new(SIZE));
        (0..SIZE as u64).for_each(|key| add(&mut contents, key, SIZE));
        let each = bytes(&contents) / SIZE;
        assert!(each <= 72, "{each} bytes an entry");
    }

    /// Storage grows with the entries, not with the limit, and stands still once evictions balance insertions.
    #[test]
    fn storage_stands_still_when_full() {
        const SIZE: usize = 1_000;
        let mut contents = Contents::new(&Limits::new(SIZE));
        assert!(bytes(&contents) < 200);
        let mut turn = |from: u64, to: u64| {
            for key in from..to {
                if contents.len() == SIZE {
                    let _ = contents.victim().map(|slot| contents.take(slot));
                }
                add(&mut contents, key, SIZE);
            }
            (contents.slab.capacity(), bytes(&contents))
        };
        let full = turn(0, 3_000);
        assert_eq!(
            full.0,
            SIZE + 2,
            "room for the roots and the entries, and no more"
        );
        assert_eq!(turn(3_000, 30_000), full);
    }
}
