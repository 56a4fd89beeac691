//! What left a table and why. It leaves with the caller, who drops it after the lock is gone.

use super::contents::Contents;
use super::slab::Entry;

/// Why an entry left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// It was removed to make room.
    Evicted,
    /// Its deadline had passed.
    Expired,
    /// A new value was stored under its key.
    Replaced,
    /// Its key was deleted.
    Deleted,
    /// The whole cache was cleared.
    Cleared,
    /// Its source changed: it was invalidated by tag, or its owner died.
    Invalidated,
}

impl Cause {
    /// Every cause, for tests and documentation.
    pub const ALL: [Self; 6] = [
        Self::Evicted,
        Self::Expired,
        Self::Replaced,
        Self::Deleted,
        Self::Cleared,
        Self::Invalidated,
    ];

    /// Its name, as callbacks receive it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Evicted => "evicted",
            Self::Expired => "expired",
            Self::Replaced => "replaced",
            Self::Deleted => "deleted",
            Self::Cleared => "cleared",
            Self::Invalidated => "invalidated",
        }
    }
}

/// An entry that left.
#[derive(Debug, PartialEq, Eq)]
pub struct Gone<K, V> {
    /// Its key.
    pub key: K,
    /// Its value.
    pub value: V,
    /// Why it left.
    pub cause: Cause,
}

/// The entries that an operation displaced, in the order in which they went. None or one cost no allocation.
#[derive(Debug)]
#[must_use = "displaced entries are dropped by the caller, after the lock is gone"]
pub struct Displaced<K, V> {
    first: Option<Gone<K, V>>,
    rest: Vec<Gone<K, V>>,
}

impl<K, V> Displaced<K, V> {
    #[inline]
    pub(super) const fn none() -> Self {
        Self {
            first: None,
            rest: Vec::new(),
        }
    }

    #[inline]
    pub(super) fn push(&mut self, gone: Gone<K, V>) {
        if self.first.is_none() {
            self.first = Some(gone);
        } else {
            self.rest.push(gone);
        }
    }

    /// Whether nothing was displaced.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }
}

impl<K, V> IntoIterator for Displaced<K, V> {
    type Item = Gone<K, V>;
    type IntoIter =
        std::iter::Chain<std::option::IntoIter<Gone<K, V>>, std::vec::IntoIter<Gone<K, V>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.rest)
    }
}

/// All that a cleared table held. Dropping it, outside the lock, frees the entries and the storage.
#[must_use = "cleared entries are dropped by the caller, after the lock is gone"]
pub struct Cleared<K, V> {
    pub(super) contents: Contents<K, V>,
}

impl<K, V> Cleared<K, V> {
    /// How many entries there were.
    #[must_use]
    pub fn len(&self) -> usize {
        self.contents.len()
    }

    /// Whether there were none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What came of a step of taking apart what was cleared.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<K, V> {
    /// An entry came out.
    Pair(K, V),
    /// Something was freed that is nobody's business.
    Freed,
    /// Nothing is left.
    Over,
}

impl<K, V> Cleared<K, V> {
    /// Takes out one entry or frees some of the storage: at most some microseconds, however much was held.
    pub fn step(&mut self) -> Step<K, V> {
        match self.contents.slab.pop() {
            Some(last) => match last.pair {
                Some((key, value)) => Step::Pair(key, value),
                None => Step::Freed,
            },
            None if self.contents.tags.pop() => Step::Freed,
            None => Step::Over,
        }
    }

    /// Whether an entry may take part in a reference cycle, of those that are left or were.
    #[must_use]
    pub fn is_traced(&self) -> bool {
        self.contents.traced > 0
    }

    /// The entries that are left, in no particular order. For the garbage collector.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let entries = self.contents.slab.iter();
        entries.map(|(_, (key, value))| (key, value))
    }
}

impl<K, V> IntoIterator for Cleared<K, V> {
    type Item = (K, V);
    type IntoIter = ClearedIter<K, V>;

    fn into_iter(self) -> Self::IntoIter {
        ClearedIter {
            pairs: self.contents.slab.into_entries(),
        }
    }
}

/// The keys and values of a cleared table, in no particular order.
pub struct ClearedIter<K, V> {
    pairs: std::vec::IntoIter<Entry<K, V>>,
}

impl<K, V> Iterator for ClearedIter<K, V> {
    type Item = (K, V);

    fn next(&mut self) -> Option<(K, V)> {
        self.pairs.by_ref().find_map(|entry| entry.pair)
    }
}
