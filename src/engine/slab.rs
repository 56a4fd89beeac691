//! Where entries live: a vector of slots that are filled, vacated and filled again, and never move.

use std::ops::{Index, IndexMut};

use super::clock::Nanos;

/// The number of a slot. Valid until its entry is removed; [`Table::generation`](super::Table::generation) tells.
pub type Slot = u32;

/// No slot: the first ones are roots of chains and never hold an entry.
pub(super) const NIL: Slot = 0;

/// Slots taken by the roots of chains, so that linking needs no "is there a neighbour" branches.
pub(super) const ROOTS: Slot = 2;

/// The most entries that slots can number, with one number to spare.
pub const MAX_ENTRIES: usize = (u32::MAX - ROOTS - 1) as usize;

/// The neighbours of a slot in one chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Links {
    pub(super) prev: Slot,
    pub(super) next: Slot,
}

impl Links {
    const NONE: Self = Self {
        prev: NIL,
        next: NIL,
    };
}

/// One entry with all that is read on a hit. Rarer data stands in `columns`.
#[derive(Debug)]
pub(super) struct Entry<K, V> {
    pub(super) pair: Option<(K, V)>,
    pub(super) hash: u64,
    pub(super) deadline: Nanos,
    pub(super) links: [Links; 2],
    /// The first of this entry's tag memberships, or 0.
    pub(super) tags: u32,
    pub(super) meta: Meta,
}

const _: () = assert!(
    size_of::<Entry<std::ptr::NonNull<u8>, usize>>() <= 56,
    "72 bytes an entry includes the index"
);

/// Small facts about an entry, packed: the policy's bits, where its deadline is kept, whether it is traced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Meta(u32);

impl Meta {
    const FREQUENCY: u32 = 0b11;
    const MAIN: u32 = 1 << 2;
    const TRACED: u32 = 1 << 3;
    const BORN: u32 = 1 << 4;
    const HOME_SHIFT: u32 = 16;

    /// How often the policy saw it, 0 to 3.
    pub(super) fn frequency(self) -> u32 {
        self.0 & Self::FREQUENCY
    }

    #[inline]
    pub(super) fn set_frequency(&mut self, frequency: u32) {
        self.0 = self.0 & !Self::FREQUENCY | frequency & Self::FREQUENCY;
    }

    /// Whether it stands in the policy's main queue.
    pub(super) fn is_main(self) -> bool {
        self.0 & Self::MAIN != 0
    }

    pub(super) fn set_main(&mut self, main: bool) {
        self.set(Self::MAIN, main);
    }

    /// Whether its value may be part of a reference cycle.
    pub(super) fn is_traced(self) -> bool {
        self.0 & Self::TRACED != 0
    }

    pub(super) fn set_traced(&mut self, traced: bool) {
        self.set(Self::TRACED, traced);
    }

    /// Whether the second in which it was stored is noted in `columns`.
    pub(super) fn is_born(self) -> bool {
        self.0 & Self::BORN != 0
    }

    pub(super) fn set_born(&mut self, born: bool) {
        self.set(Self::BORN, born);
    }

    /// Which list of `deadlines` it is linked in.
    pub(super) fn home(self) -> u32 {
        self.0 >> Self::HOME_SHIFT
    }

    pub(super) fn set_home(&mut self, home: u32) {
        self.0 = self.0 & ((1 << Self::HOME_SHIFT) - 1) | home << Self::HOME_SHIFT;
    }

    fn set(&mut self, bit: u32, on: bool) {
        self.0 = if on { self.0 | bit } else { self.0 & !bit };
    }
}

#[derive(Debug)]
pub(super) struct Slab<K, V> {
    entries: Vec<Entry<K, V>>,
    /// The first vacant slot; vacant ones are linked through their first `next`.
    free: Slot,
}

impl<K, V> Slab<K, V> {
    pub(super) fn new() -> Self {
        let mut entries = Vec::with_capacity(ROOTS as usize);
        entries.extend((0..ROOTS).map(|root| Entry {
            pair: None,
            hash: 0,
            deadline: Nanos::MIN, // before every entry's, where deadlines of a chain are compared
            links: [Links {
                prev: root,
                next: root,
            }; 2],
            tags: 0,
            meta: Meta::default(),
        }));
        Self { entries, free: NIL }
    }

    /// Fills a slot, linked nowhere. Storage doubles when it is full, but never beyond `max_size` entries.
    #[inline]
    pub(super) fn occupy(
        &mut self,
        hash: u64,
        deadline: Nanos,
        pair: (K, V),
        max_size: usize,
    ) -> Slot {
        let entry = Entry {
            pair: Some(pair),
            hash,
            deadline,
            links: [Links::NONE; 2],
            tags: 0,
            meta: Meta::default(),
        };
        let slot = self.free;
        if slot == NIL {
            return self.extend(entry, max_size);
        }
        let vacant = &mut self[slot];
        let next = vacant.links[0].next;
        *vacant = entry;
        self.free = next;
        slot
    }

    /// Empties a slot.
    pub(super) fn vacate(&mut self, slot: Slot) -> (K, V) {
        let free = self.free;
        let entry = &mut self[slot];
        let pair = entry.pair.take();
        entry.links[0].next = free;
        self.free = slot;
        match pair {
            Some(pair) => pair,
            None => vacant(slot),
        }
    }

    #[inline]
    pub(super) fn pair(&self, slot: Slot) -> &(K, V) {
        match &self[slot].pair {
            Some(pair) => pair,
            None => vacant(slot),
        }
    }

    #[inline]
    pub(super) fn pair_mut(&mut self, slot: Slot) -> &mut (K, V) {
        match &mut self[slot].pair {
            Some(pair) => pair,
            None => vacant(slot),
        }
    }

    /// All entries in slot order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, &(K, V))> {
        (0..)
            .zip(&self.entries)
            .filter_map(|(slot, entry)| Some((slot, entry.pair.as_ref()?)))
    }

    /// Takes off the last slot, filled or not; None when only the roots are left. For a slab that nobody uses any more.
    ///
    /// Memory goes back by and by, as giving back much at once takes milliseconds.
    pub(super) fn pop(&mut self) -> Option<Entry<K, V>> {
        const AT_ONCE: usize = 1 << 13;
        if self.entries.len() <= ROOTS as usize {
            return None;
        }
        let last = self.entries.pop();
        if self.entries.capacity() - self.entries.len() >= AT_ONCE {
            self.entries.shrink_to_fit();
        }
        last
    }

    pub(super) fn into_entries(self) -> std::vec::IntoIter<Entry<K, V>> {
        self.entries.into_iter()
    }

    /// How many slots exist, roots and vacant ones included.
    pub(super) fn slots(&self) -> usize {
        self.entries.len()
    }

    /// How many slots the storage has room for.
    pub(super) fn capacity(&self) -> usize {
        self.entries.capacity()
    }

    #[cold]
    fn extend(&mut self, entry: Entry<K, V>, max_size: usize) -> Slot {
        let used = self.entries.len();
        let slot = Slot::try_from(used).unwrap_or_else(|_| vacant(Slot::MAX));
        if used == self.entries.capacity() {
            let most = max_size.saturating_add(ROOTS as usize).max(used + 1);
            self.entries.reserve_exact(used.max(8).min(most - used));
        }
        self.entries.push(entry);
        slot
    }
}

impl<K, V> Index<Slot> for Slab<K, V> {
    type Output = Entry<K, V>;

    #[inline]
    fn index(&self, slot: Slot) -> &Entry<K, V> {
        &self.entries[slot as usize]
    }
}

impl<K, V> IndexMut<Slot> for Slab<K, V> {
    #[inline]
    fn index_mut(&mut self, slot: Slot) -> &mut Entry<K, V> {
        &mut self.entries[slot as usize]
    }
}

#[cold]
#[inline(never)]
fn vacant(slot: Slot) -> ! {
    panic!("slot {slot} holds no entry: it was used after its entry was removed")
}

/// Spreads a hash over all its bits: hash tables use a few at both ends, and small integers differ in none of the upper ones.
#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the two halves of a product are folded"
)]
pub(super) fn mix(hash: u64) -> u64 {
    // Digits of pi, as in wyhash and foldhash: any odd number with well-spread bits does.
    let product = u128::from(hash ^ 0x243F_6A88_85A3_08D3) * u128::from(0x1319_8A2E_0370_7345_u64);
    product as u64 ^ (product >> 64) as u64
}
