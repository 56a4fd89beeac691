//! S3-FIFO: a small queue on probation, a main queue with second chances, a memory of what was turned away.
//!
//! Source: Yang, Zhang, Qiu, Yue, Rashmi, "FIFO queues are all you need for cache eviction" (SOSP 2023), algorithm 1.
//! Written from the paper, no code was taken.

use std::collections::VecDeque;

use hashbrown::HashTable;
use hashbrown::hash_table::OccupiedEntry;

use super::Eviction;
use crate::engine::chain::{Chain, RECENCY};
use crate::engine::slab::{Slab, Slot, mix};

/// The paper's split: a tenth of the cache is on probation.
const SMALL_SHARE: usize = 10;
/// Two bits of frequency.
const MOST_FREQUENT: u32 = 3;

#[derive(Debug)]
pub(in crate::engine) struct S3Fifo {
    small: Chain<RECENCY, 0>,
    main: Chain<RECENCY, 1>,
    small_len: usize,
    main_len: usize,
    ghost: Ghost,
}

impl S3Fifo {
    pub(super) fn new() -> Self {
        Self {
            small: Chain,
            main: Chain,
            small_len: 0,
            main_len: 0,
            ghost: Ghost::default(),
        }
    }

    /// How many the main queue may hold, and the ghost with it. Counted from what is held: a limit in bytes may
    /// allow fewer entries than the limit in entries.
    fn main_share(&self) -> usize {
        let len = self.small_len + self.main_len;
        len - len / SMALL_SHARE
    }

    fn move_to_main<K, V>(&mut self, slab: &mut Slab<K, V>, slot: Slot) {
        let meta = &mut slab[slot].meta;
        meta.set_main(true);
        meta.set_frequency(0);
        self.main.push_back(slab, slot);
        self.main_len += 1;
    }

    /// The oldest on probation that was read at most once; the others move to the main queue.
    fn victim_of_small<K, V>(&mut self, slab: &mut Slab<K, V>) -> Option<Slot> {
        while let Some(slot) = self.small.front(slab) {
            if slab[slot].meta.frequency() <= 1 {
                self.ghost.remember(slab[slot].hash, self.main_share());
                return Some(slot);
            }
            self.small.unlink(slab, slot);
            self.small_len -= 1;
            self.move_to_main(slab, slot);
            if self.main_len > self.main_share() {
                return self.victim_of_main(slab);
            }
        }
        self.victim_of_main(slab)
    }

    /// The oldest in the main queue that was not read since it was last considered.
    fn victim_of_main<K, V>(&mut self, slab: &mut Slab<K, V>) -> Option<Slot> {
        loop {
            let slot = self.main.front(slab)?;
            let meta = &mut slab[slot].meta;
            match meta.frequency() {
                0 => return Some(slot),
                seen => meta.set_frequency(seen - 1),
            }
            self.main.renew(slab, slot);
        }
    }
}

impl Eviction for S3Fifo {
    fn inserted<K, V>(&mut self, slab: &mut Slab<K, V>, slot: Slot) {
        if self.ghost.forget(slab[slot].hash) {
            self.move_to_main(slab, slot);
            return;
        }
        let meta = &mut slab[slot].meta;
        meta.set_main(false);
        meta.set_frequency(0);
        self.small.push_back(slab, slot);
        self.small_len += 1;
    }

    #[inline]
    fn touched<K, V>(&mut self, slab: &mut Slab<K, V>, slot: Slot) {
        let meta = &mut slab[slot].meta;
        let seen = meta.frequency();
        if seen < MOST_FREQUENT {
            meta.set_frequency(seen + 1);
        }
    }

    fn removed<K, V>(&mut self, slab: &mut Slab<K, V>, slot: Slot) {
        if slab[slot].meta.is_main() {
            self.main.unlink(slab, slot);
            self.main_len -= 1;
        } else {
            self.small.unlink(slab, slot);
            self.small_len -= 1;
        }
    }

    fn restored<K, V>(&mut self, slab: &mut Slab<K, V>, slot: Slot) {
        if slab[slot].meta.is_main() {
            self.main.push_back(slab, slot);
            self.main_len += 1;
        } else {
            self.small.push_back(slab, slot);
            self.small_len += 1;
        }
    }

    fn victim<K, V>(&mut self, slab: &mut Slab<K, V>) -> Option<Slot> {
        let small_share = (self.small_len + self.main_len) / SMALL_SHARE;
        if self.small_len > 0 && self.small_len >= small_share {
            self.victim_of_small(slab)
        } else {
            self.victim_of_main(slab)
        }
    }

    fn order<K, V>(&self, slab: &Slab<K, V>) -> Vec<Slot> {
        self.small.iter(slab).chain(self.main.iter(slab)).collect()
    }

    fn validate<K, V>(&self, slab: &Slab<K, V>, len: usize) {
        assert_eq!(
            self.small.validate(slab),
            self.small_len,
            "the small queue has lost count"
        );
        assert_eq!(
            self.main.validate(slab),
            self.main_len,
            "the main queue has lost count"
        );
        assert_eq!(
            self.small_len + self.main_len,
            len,
            "the queues and the index disagree"
        );
        assert!(
            self.small.iter(slab).all(|slot| !slab[slot].meta.is_main()),
            "a small entry says it is main"
        );
        assert!(
            self.main.iter(slab).all(|slot| slab[slot].meta.is_main()),
            "a main entry says it is small"
        );
        self.ghost.validate();
    }
}

/// The hashes of the entries last turned away on probation, as fingerprints of 32 bits, oldest first.
///
/// A fingerprint taken back leaves its place in the window: what counts is how long ago something was turned away.
#[derive(Debug, Default)]
struct Ghost {
    window: VecDeque<u32>,
    /// The number of the first one in the window; numbers wrap.
    first: u32,
    /// The numbers of those not taken back, found by fingerprint.
    index: HashTable<u32>,
}

impl Ghost {
    fn remember(&mut self, hash: u64, most: usize) {
        while self.window.len() >= most.max(1) {
            self.drop_oldest();
        }
        let print = fingerprint(hash);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "no longer than the slots, which 32 bits number"
        )]
        let number = self.first.wrapping_add(self.window.len() as u32);
        self.window.push_back(print);
        let (window, first) = (&self.window, self.first);
        self.index.insert_unique(spread(print), number, |&number| {
            spread(window[place(first, number)])
        });
    }

    /// Takes a hash back; says whether it was remembered.
    fn forget(&mut self, hash: u64) -> bool {
        let print = fingerprint(hash);
        let (window, first) = (&self.window, self.first);
        let found = self.index.find_entry(spread(print), |&number| {
            window[place(first, number)] == print
        });
        found.map(OccupiedEntry::remove).is_ok()
    }

    fn drop_oldest(&mut self) {
        let Some(print) = self.window.front() else {
            return;
        };
        let first = self.first;
        if let Ok(entry) = self
            .index
            .find_entry(spread(*print), |&number| number == first)
        {
            entry.remove();
        }
        self.window.pop_front();
        self.first = self.first.wrapping_add(1);
    }

    fn validate(&self) {
        for &number in &self.index {
            assert!(
                place(self.first, number) < self.window.len(),
                "a remembered hash fell out of the window"
            );
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "32 bits of a mixed hash: two of a million collide in 0.02 %"
)]
fn fingerprint(hash: u64) -> u32 {
    mix(hash) as u32
}

fn spread(print: u32) -> u64 {
    mix(u64::from(print))
}

fn place(first: u32, number: u32) -> usize {
    number.wrapping_sub(first) as usize
}
