//! Which things are being deleted right now, so that saving them again can be refused. Forgotten when stale.

use hashbrown::HashTable;

use super::slab::{Slot, mix};

/// An hour, as documented: a deletion that takes longer is taken for one that was never reported as done.
const DEFAULT_THRESHOLD_SECONDS: f64 = 3600.0;

/// How often stale ones are looked for, as a part of the threshold.
const SWEEPS_PER_THRESHOLD: f64 = 4.0;

#[derive(Debug)]
struct Item<K> {
    key: K,
    hash: u64,
    stamp: f64,
    /// Added, and not discarded since.
    tracked: bool,
    /// How many blocks hold it; while any does, it neither goes stale nor can be discarded.
    holds: u32,
}

/// The keys being deleted, for one thread. Times are wall-clock seconds that the caller reads: users freeze them in tests.
///
/// What leaves is returned, so that the caller drops it after its lock is gone.
#[derive(Debug)]
pub struct DeletionTracker<K> {
    items: Vec<Option<Item<K>>>,
    free: Vec<Slot>,
    index: HashTable<Slot>,
    generation: u64,
    threshold: f64,
    last_cleanup: f64,
}

impl<K> DeletionTracker<K> {
    /// An empty tracker that forgets after an hour.
    #[must_use]
    pub fn new(now: f64) -> Self {
        Self {
            items: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            generation: 0,
            threshold: DEFAULT_THRESHOLD_SECONDS,
            last_cleanup: now,
        }
    }

    /// The slot of a key that is being deleted. `eq` is asked about keys of the same hash only.
    #[inline]
    pub fn find(&self, hash: u64, mut eq: impl FnMut(&K) -> bool) -> Option<Slot> {
        let same = |slot: &Slot| {
            self.get(*slot)
                .is_some_and(|item| item.hash == hash && eq(&item.key))
        };
        self.index.find(mix(hash), same).copied()
    }

    /// Changes whenever a slot is filled or freed: as long as it stands still, slots stay valid.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Tracks a key from `at` on; a known one from now on anew. `found` is what [`Self::find`] said about it.
    ///
    /// Returns the key when it was known: the one already held stays.
    #[must_use = "a refused key is dropped by the caller, after the lock is gone"]
    pub fn add(&mut self, hash: u64, found: Option<Slot>, key: K, at: f64) -> Option<K> {
        self.enter(hash, found, key, at, |item| {
            item.tracked = true;
        })
    }

    /// Holds a key until [`Self::release`]; holds are counted. Otherwise as [`Self::add`].
    #[must_use = "a refused key is dropped by the caller, after the lock is gone"]
    pub fn hold(&mut self, hash: u64, found: Option<Slot>, key: K, at: f64) -> Option<K> {
        self.enter(hash, found, key, at, |item| {
            item.holds = item.holds.saturating_add(1);
        })
    }

    /// Ends one hold. The key leaves with the last one, unless it was also added.
    #[must_use = "a removed key is dropped by the caller, after the lock is gone"]
    pub fn release(&mut self, slot: Slot) -> Option<K> {
        let item = self.get_mut(slot)?;
        item.holds = item.holds.saturating_sub(1);
        self.leave_if_done(slot)
    }

    /// Ends the tracking of a key. It stays as long as it is held.
    #[must_use = "a removed key is dropped by the caller, after the lock is gone"]
    pub fn discard(&mut self, slot: Slot) -> Option<K> {
        self.get_mut(slot)?.tracked = false;
        self.leave_if_done(slot)
    }

    /// Removes the keys whose stamp is more than the threshold ago. Held ones stay. O(keys).
    pub fn sweep(&mut self, at: f64) -> Vec<K> {
        let threshold = self.threshold;
        self.remove_where(|item| item.holds == 0 && at - item.stamp > threshold)
    }

    /// The keys that [`Self::sweep`] would remove, in no particular order. O(keys).
    pub fn stale(&self, at: f64) -> impl Iterator<Item = &K> {
        let is_stale = move |item: &&Item<K>| item.holds == 0 && at - item.stamp > self.threshold;
        self.items
            .iter()
            .flatten()
            .filter(is_stale)
            .map(|item| &item.key)
    }

    /// Sweeps when more than a quarter of the threshold has passed since this last swept.
    pub fn auto_sweep(&mut self, at: f64) -> Vec<K> {
        if at - self.last_cleanup > self.threshold / SWEEPS_PER_THRESHOLD {
            self.last_cleanup = at;
            return self.sweep(at);
        }
        Vec::new()
    }

    /// Removes every key that is not held. Those that are held go with their last hold.
    pub fn clear(&mut self) -> Vec<K> {
        for item in self.items.iter_mut().flatten() {
            item.tracked = false;
        }
        self.remove_where(|item| item.holds == 0)
    }

    /// A key that is being deleted.
    ///
    /// # Panics
    /// When the slot is vacant, as are the next three.
    #[must_use]
    pub fn key(&self, slot: Slot) -> &K {
        &self.item(slot).key
    }

    /// The hash of a key.
    #[must_use]
    pub fn hash(&self, slot: Slot) -> u64 {
        self.item(slot).hash
    }

    /// When a key was last added or held.
    #[must_use]
    pub fn stamp(&self, slot: Slot) -> f64 {
        self.item(slot).stamp
    }

    /// How many blocks hold a key.
    #[must_use]
    pub fn holds(&self, slot: Slot) -> u32 {
        self.item(slot).holds
    }

    /// Says when a key was last added.
    pub fn set_stamp(&mut self, slot: Slot, at: f64) {
        if let Some(item) = self.get_mut(slot) {
            item.stamp = at;
        }
    }

    /// How many keys are being deleted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The slots in use, in no particular order.
    #[must_use]
    pub fn slots(&self) -> Vec<Slot> {
        (0..)
            .zip(&self.items)
            .filter_map(|(slot, item)| item.as_ref().map(|_| slot))
            .collect()
    }

    /// After how many seconds a key that is not held is stale.
    #[must_use]
    pub fn threshold(&self) -> f64 {
        self.threshold
    }

    /// Changes the threshold, for keys already tracked too.
    pub fn set_threshold(&mut self, seconds: f64) {
        self.threshold = seconds;
    }

    /// When [`Self::auto_sweep`] last swept.
    #[must_use]
    pub fn last_cleanup(&self) -> f64 {
        self.last_cleanup
    }

    /// Says when it last swept.
    pub fn set_last_cleanup(&mut self, at: f64) {
        self.last_cleanup = at;
    }

    fn enter(
        &mut self,
        hash: u64,
        found: Option<Slot>,
        key: K,
        at: f64,
        mark: impl FnOnce(&mut Item<K>),
    ) -> Option<K> {
        if let Some(item) = found.and_then(|slot| self.get_mut(slot)) {
            item.stamp = at;
            mark(item);
            return Some(key);
        }
        let mut item = Item {
            key,
            hash,
            stamp: at,
            tracked: false,
            holds: 0,
        };
        mark(&mut item);
        let slot = if let Some(free) = self.free.pop() {
            self.items[free as usize] = Some(item);
            free
        } else {
            self.items.push(Some(item));
            Slot::try_from(self.items.len() - 1)
                .unwrap_or_else(|_| panic!("more than {} deletions at once", Slot::MAX))
        };
        let items = &self.items;
        let hash_of = |slot: &Slot| {
            items[*slot as usize]
                .as_ref()
                .map_or(0, |item| mix(item.hash))
        };
        self.index.insert_unique(mix(hash), slot, hash_of);
        self.generation = self.generation.wrapping_add(1);
        None
    }

    fn leave_if_done(&mut self, slot: Slot) -> Option<K> {
        let item = self.get(slot)?;
        if item.tracked || item.holds > 0 {
            return None;
        }
        self.remove(slot)
    }

    fn remove(&mut self, slot: Slot) -> Option<K> {
        let item = self.items.get_mut(slot as usize)?.take()?;
        if let Ok(entry) = self
            .index
            .find_entry(mix(item.hash), |&other| other == slot)
        {
            entry.remove();
        }
        self.free.push(slot);
        self.generation = self.generation.wrapping_add(1);
        Some(item.key)
    }

    fn remove_where(&mut self, goes: impl Fn(&Item<K>) -> bool) -> Vec<K> {
        let slots = self.slots();
        let going = slots
            .into_iter()
            .filter(|&slot| self.get(slot).is_some_and(&goes))
            .collect::<Vec<_>>();
        going
            .into_iter()
            .filter_map(|slot| self.remove(slot))
            .collect()
    }

    fn get(&self, slot: Slot) -> Option<&Item<K>> {
        self.items.get(slot as usize)?.as_ref()
    }

    fn get_mut(&mut self, slot: Slot) -> Option<&mut Item<K>> {
        self.items.get_mut(slot as usize)?.as_mut()
    }

    fn item(&self, slot: Slot) -> &Item<K> {
        self.get(slot).unwrap_or_else(|| {
            panic!("slot {slot} tracks no deletion: it was used after its key was removed")
        })
    }
}
