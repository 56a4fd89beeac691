//! Which slot a hash leads to: open addressing with linear probing, four bytes a bucket.
//!
//! A bucket holds a slot number in its low bits and, in the bits that slot numbers of this size leave free, a part of the
//! hash: a probe meets a foreign entry without looking at it. hashbrown keeps the same in five bytes, but walks its groups
//! through calls that are not inlined; docs/decisions has the figures.
//!
//! Hashes given here are already mixed.

use super::slab::Slot;

/// An empty bucket. No entry has slot 0: the slab's roots stand there.
const EMPTY: u32 = 0;
/// Slot numbers are smaller than the number of buckets, so 16 is the least that numbers the roots and some entries.
const FEWEST: u32 = 16;

/// As many entries as 2^31 buckets hold: what slot numbers and tags in 32 bits allow.
pub(super) const MAX_INDEXED: usize = (1 << 31) / 8 * 5;

#[derive(Debug)]
pub(super) struct Index {
    buckets: Vec<u32>,
    /// One less than the number of buckets, a power of two: the bits of a slot number. No buckets before the first entry.
    mask: u32,
    len: usize,
}

impl Index {
    pub(super) const fn new() -> Self {
        Self {
            buckets: Vec::new(),
            mask: FEWEST - 1,
            len: 0,
        }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The slots that may be meant by a hash: those of that hash, and few others whose hash agrees in many bits.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the path of every hit")]
    pub(super) fn candidates(&self, hash: u64) -> Candidates<'_> {
        Candidates {
            buckets: &self.buckets,
            mask: self.mask,
            tag: self.tag(hash),
            at: self.home(hash),
        }
    }

    /// Adds a slot that is not there. `hash_of` tells the mixed hash of a slot when the buckets are laid out anew.
    #[inline]
    pub(super) fn insert(&mut self, hash: u64, slot: Slot, hash_of: impl Fn(Slot) -> u64) {
        if (self.len + 1) * 8 > self.buckets.len() * 5 {
            self.grow(hash_of);
        }
        self.place(hash, slot);
        self.len += 1;
    }

    /// Removes a slot; whether it was there. Later buckets move up, so that no search has to pass a grave.
    #[inline]
    pub(super) fn remove(&mut self, hash: u64, slot: Slot, hash_of: impl Fn(Slot) -> u64) -> bool {
        let wanted = self.tag(hash) | slot;
        let mut hole = self.home(hash);
        loop {
            match self.buckets.get(hole) {
                Some(&bucket) if bucket == wanted => break,
                Some(&EMPTY) | None => return false,
                Some(_) => hole = self.after(hole),
            }
        }
        let mut at = hole;
        loop {
            at = self.after(at);
            let bucket = self.buckets[at];
            if bucket == EMPTY {
                break;
            }
            // An entry may move back to the hole unless that lies before its home.
            let home = self.home(hash_of(bucket & self.mask));
            if self.distance(home, at) >= self.distance(hole, at) {
                self.buckets[hole] = bucket;
                hole = at;
            }
        }
        self.buckets[hole] = EMPTY;
        self.len -= 1;
        true
    }

    /// Bytes of storage.
    #[cfg(test)]
    pub(super) fn allocation_size(&self) -> usize {
        self.buckets.capacity() * size_of::<u32>()
    }

    /// All slots, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Slot> {
        self.buckets
            .iter()
            .filter(|&&bucket| bucket != EMPTY)
            .map(|&bucket| bucket & self.mask)
    }

    #[cold]
    fn grow(&mut self, hash_of: impl Fn(Slot) -> u64) {
        let slots: Vec<Slot> = self.iter().collect();
        if !self.buckets.is_empty() {
            self.mask = self.mask * 2 + 1;
        }
        self.buckets = vec![EMPTY; self.mask as usize + 1];
        for slot in slots {
            self.place(hash_of(slot), slot);
        }
    }

    #[inline]
    fn place(&mut self, hash: u64, slot: Slot) {
        let mut at = self.home(hash);
        while self.buckets[at] != EMPTY {
            at = self.after(at);
        }
        self.buckets[at] = self.tag(hash) | slot;
    }

    /// Where the search for a hash begins.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "masked to the buckets")]
    fn home(&self, hash: u64) -> usize {
        (hash as u32 & self.mask) as usize
    }

    /// The part of a hash that stands above a slot number: other bits than `home` looks at.
    #[inline]
    fn tag(&self, hash: u64) -> u32 {
        (hash >> 32) as u32 & !self.mask
    }

    #[inline]
    fn after(&self, at: usize) -> usize {
        (at + 1) & self.mask as usize
    }

    /// How far a search goes from one bucket to another.
    #[inline]
    fn distance(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & self.mask as usize
    }
}

/// See [`Index::candidates`].
pub(super) struct Candidates<'a> {
    buckets: &'a [u32],
    mask: u32,
    tag: u32,
    at: usize,
}

impl Iterator for Candidates<'_> {
    type Item = Slot;

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the path of every hit")]
    fn next(&mut self) -> Option<Slot> {
        // No buckets at all: nothing is found. Else a bucket is empty somewhere, and `at` never leaves them.
        while let Some(&bucket) = self.buckets.get(self.at) {
            if bucket == EMPTY {
                return None;
            }
            self.at = (self.at + 1) & self.mask as usize;
            // With the same tag above it, only the slot number is left.
            let slot = bucket ^ self.tag;
            if slot <= self.mask {
                return Some(slot);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::slab::mix;

    /// Slots are found under their hashes, and only they, through growth, removal and crowded buckets.
    #[test]
    fn finds_what_was_inserted_and_not_removed() {
        for crowd in [1, 7, 64] {
            let hash_of = |slot: Slot| mix(u64::from(slot / crowd));
            let mut index = Index::new();
            let mut held = Vec::new();
            for round in 0..4000_u32 {
                let slot = 2 + round % 500;
                if held.contains(&slot) {
                    assert!(index.remove(hash_of(slot), slot, hash_of));
                    held.retain(|&other| other != slot);
                } else {
                    index.insert(hash_of(slot), slot, hash_of);
                    held.push(slot);
                }
                if round % 97 == 0 {
                    for slot in 2..502 {
                        let is_found = index.candidates(hash_of(slot)).any(|other| other == slot);
                        assert_eq!(
                            is_found,
                            held.contains(&slot),
                            "slot {slot} in round {round}"
                        );
                    }
                }
            }
            let mut all: Vec<Slot> = index.iter().collect();
            all.sort_unstable();
            held.sort_unstable();
            assert_eq!((all, index.len()), (held.clone(), held.len()));
        }
    }

    /// An index without entries finds and removes nothing.
    #[test]
    fn is_empty_at_first() {
        let mut index = Index::new();
        assert_eq!(index.candidates(7).next(), None);
        assert!(!index.remove(7, 2, |_| 0));
    }
}
