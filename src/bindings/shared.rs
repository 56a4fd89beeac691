//! The engine's cache over Python objects, with its callbacks: what `TTLCache`, its views and the decorators share.
//!
//! Each operation runs in the same order: Python code first (hash, clock, sizes), then the lock, then what was
//! displaced is dropped and told to `on_evict` once the lock is gone. The callbacks themselves are in `callbacks.rs`; whose
//! entries those of a decorated call are is told by `owners.rs`.

// Long because what is done to an entry, and in which order, is to be read in one place.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use parking_lot::lock_api::MutexGuard;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::{PyTraverseError, PyVisit, intern};

use super::args::TtlArg;
use super::callbacks::Callbacks;
use super::clock as python_clock;
use super::gil_lock::TableLock;
use super::graveyard::{self, Graves};
use super::keys;
use super::outside;
use super::owners::{Bereaved, Owners};
use super::renounced::Renounced;
use super::words::HostWords;
use crate::engine::clock::{self, Nanos, Now};
use crate::engine::metrics::{Event, Kind};
use crate::engine::{
    Cause, Displaced, Gone, Limits, Put, Read, Slot, Stamp, Table, TagRef, TtlCache,
};

/// A locked table.
pub(super) type TableGuard<'a> = MutexGuard<'a, TableLock, PyTable>;
pub(super) type PyTable = Table<Py<PyAny>, Py<PyAny>, HostWords>;
pub(super) type PyDisplaced = Displaced<Py<PyAny>, Py<PyAny>>;
pub(super) type PyGone = Gone<Py<PyAny>, Py<PyAny>>;

/// What a read found.
pub(super) enum Found {
    Fresh(Py<PyAny>),
    /// Fresh, and this reader was elected to refresh it before it expires.
    Early(Py<PyAny>),
    Miss,
}

/// How a value comes to be stored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// By its owner: whatever is being loaded for this key is outdated.
    Write,
    /// As a write, but only where no live entry is.
    Add,
    /// By a load that began when this token was current.
    Fill(u64),
}

/// What is stored beside the value.
#[derive(Clone, Copy)]
pub(super) struct Extra<'a> {
    pub(super) ttl: TtlArg,
    pub(super) tags: &'a [String],
    pub(super) cost: Nanos,
    pub(super) stamps: &'a [Stamp],
}

impl Extra<'_> {
    /// For the cache's own TTL, and nothing besides.
    pub(super) const NONE: Self = Self {
        ttl: TtlArg::Omitted,
        tags: &[],
        cost: 0,
        stamps: &[],
    };
}

/// A cache and its callbacks, shared by the Python object, its views and the decorators that store in it.
pub(super) struct Shared {
    pub(super) cache: TtlCache<Py<PyAny>, Py<PyAny>, TableLock, HostWords>,
    callbacks: Callbacks,
    name: Mutex<Option<String>>,
    python_lock: PyOnceLock<Py<PyAny>>,
    pub(super) owners: Owners,
    /// Whether a decorated callable keeps its results here.
    is_taken: AtomicBool,
    /// Whether this is the memory of a `NativeStore`.
    pub(super) is_store: AtomicBool,
    /// What left and is still to be dropped.
    pub(super) graves: Graves,
    /// What orders and patterns outdate of what is being read and loaded.
    pub(super) renounced: Renounced,
    /// Deadlines up to here may be those of an earlier TTL of the cache, which was changed at the second one.
    pub(super) retimed: [AtomicI64; 2],
    this: Weak<Shared>,
}

impl Shared {
    pub(super) fn new(
        py: Python<'_>,
        limits: Limits,
        ttl: Nanos,
        name: Option<String>,
        on_evict: Option<Py<PyAny>>,
        sizeof: Option<Py<PyAny>>,
    ) -> PyResult<Arc<Self>> {
        let cache = TtlCache::new(limits, ttl, python_clock::now(py)?)?;
        cache.metrics().start_sampling();
        let shared = Arc::new_cyclic(|this| Self {
            cache,
            callbacks: Callbacks { on_evict, sizeof },
            name: Mutex::new(name),
            python_lock: PyOnceLock::new(),
            owners: Owners::default(),
            is_taken: AtomicBool::new(false),
            is_store: AtomicBool::new(false),
            graves: Graves::default(),
            renounced: Renounced::default(),
            retimed: [const { AtomicI64::new(Nanos::MIN) }; 2],
            this: this.clone(),
        });
        graveyard::enrol(&shared.this);
        Ok(shared)
    }

    /// Keep the cache for one decorated callable; false when it is another's. The keys of two would be the same.
    pub(super) fn take(&self) -> bool {
        let is_free = !self.is_taken.swap(true, Ordering::Relaxed);
        if is_free {
            self.cache.metrics().set_kind(Kind::Memo);
        }
        is_free
    }

    pub(super) fn name(&self) -> Option<String> {
        self.name.lock().clone()
    }

    pub(super) fn set_name(&self, name: Option<String>) {
        *self.name.lock() = name;
    }

    /// `_lock` of document 000: a lock of the caller's own. The cache needs none and takes none.
    pub(super) fn python_lock(&self, py: Python<'_>) -> PyResult<&Py<PyAny>> {
        self.python_lock.get_or_try_init(py, || {
            Ok(py
                .import(intern!(py, "threading"))?
                .call_method0(intern!(py, "RLock"))?
                .unbind())
        })
    }

    /// Find a key's slot under the lock, comparing in Python without it where need be.
    pub(super) fn locate(
        &self,
        key: &Bound<'_, PyAny>,
        hash: u64,
    ) -> PyResult<(TableGuard<'_>, Option<Slot>)> {
        keys::locate(|| self.cache.lock(), key, hash)
    }

    /// Read as a user: counts, moves the entry to the recent end, drops it when expired.
    pub(super) fn read(&self, key: &Bound<'_, PyAny>) -> PyResult<Found> {
        let py = key.py();
        let hash = keys::hash_of(key)?;
        let now = python_clock::now(py)?;
        let metrics = self.cache.metrics();
        let began = metrics.read_begins();
        let (found, gone) = {
            let (mut table, slot) = self.locate(key, hash)?;
            match slot {
                Some(slot) => match table.read(slot, now) {
                    Read::Fresh(value) => (Found::Fresh(value.clone_ref(py)), None),
                    Read::Early(value) => (Found::Early(value.clone_ref(py)), None),
                    Read::Stale => (Found::Miss, None),
                    Read::Expired(gone) | Read::Outdated(gone) => (Found::Miss, Some(gone)),
                },
                None => {
                    table.miss();
                    (Found::Miss, None)
                }
            }
        };
        let event = match found {
            Found::Miss => Event::Miss,
            Found::Fresh(_) | Found::Early(_) => Event::Hit,
        };
        metrics.read_ended(event, began, || self.pattern(key));
        self.removed(py, gone);
        Ok(found)
    }

    /// Look without counting or touching.
    pub(super) fn peek(&self, key: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyAny>>> {
        let hash = keys::hash_of(key)?;
        let now = python_clock::now(key.py())?;
        let (table, slot) = self.locate(key, hash)?;
        let value = slot.and_then(|slot| table.peek(slot, now));
        Ok(value.map(|value| value.clone_ref(key.py())))
    }

    /// Store; false where `mode` forbade it. While caches are disabled nothing is stored, and adding does as if it were.
    // Long because it is one sequence under one lock, and a step moved out would hide what runs before and after.
    pub(super) fn store(
        &self,
        key: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
        mode: Mode,
        extra: Extra<'_>,
    ) -> PyResult<bool> {
        let py = key.py();
        let hash = keys::hash_of(key)?;
        if python_clock::is_disabled(py) {
            return Ok(mode == Mode::Add);
        }
        let is_weighed = self.cache.lock().limits().max_bytes.is_some();
        let weight = if is_weighed {
            self.callbacks.weigh(key, value)?
        } else {
            0
        };
        let owner = self.owners.watch(key, || self.this.clone())?;
        let now = python_clock::now(py)?;
        let deadline = now.after(extra.ttl.or(self.cache.ttl()));
        let mut tags: Vec<TagRef<'_>> = extra.tags.iter().map(|tag| TagRef::Name(tag)).collect();
        tags.extend(owner.map(TagRef::Owner));
        let put = Put {
            deadline,
            own_ttl: extra.ttl.is_given(),
            weight,
            cost: extra.cost,
            tags: &tags,
            stamps: extra.stamps,
            traced: keys::may_cycle(value) || keys::may_cycle(key),
            write: !matches!(mode, Mode::Fill(_)),
        };

        let (mut table, slot) = self.locate(key, hash)?;
        if clock::is_disabled() {
            return Ok(mode == Mode::Add);
        }
        let is_forbidden = match mode {
            Mode::Write => false,
            Mode::Add => slot.is_some_and(|slot| table.is_live(slot, now)),
            Mode::Fill(token) => {
                !table.is_current(hash, token, &tags)
                    || !table.are_current(extra.stamps)
                    || !self.has_spared(key, token)
            }
        };
        if is_forbidden {
            return Ok(false);
        }
        let limits = table.limits();
        let is_too_heavy = limits.max_bytes.is_some_and(|most| weight > most);
        let is_dead = now.reached(deadline) || limits.max_size == 0;
        let mut replaced = None;
        let displaced = match slot {
            Some(slot) if is_dead => {
                replaced = Some(table.remove(slot, Cause::Deleted));
                None
            }
            Some(slot) => {
                let key = table.key(slot).clone_ref(py);
                let (value, displaced) = table.replace(slot, value.clone().unbind(), &put, now);
                let cause = Cause::Replaced;
                replaced = Some(Gone { key, value, cause });
                Some(displaced)
            }
            None => Some(table.insert(
                hash,
                key.clone().unbind(),
                value.clone().unbind(),
                &put,
                now,
            )),
        };
        drop(table);
        self.was_set(key, is_weighed.then_some(weight));
        self.was_deleted(key);
        self.removed(py, replaced);
        self.removed(py, displaced.into_iter().flatten());
        self.sweep_if_due(py, now);
        Ok(!is_dead && !is_too_heavy)
    }

    /// Remove one entry, live or not; nothing that is being loaded for the key will be stored.
    pub(super) fn delete(&self, key: &Bound<'_, PyAny>) -> PyResult<Removed> {
        let py = key.py();
        let hash = keys::hash_of(key)?;
        let now = python_clock::now(py)?;
        let (mut table, slot) = self.locate(key, hash)?;
        let Some(slot) = slot else {
            table.bump(hash);
            return Ok(Removed::default());
        };
        let (was_live, was_outdated) = (table.is_live(slot, now), table.is_outdated(slot));
        let gone = table.remove(slot, Cause::Deleted);
        drop(table);
        self.was_deleted(key);
        let value = (!was_outdated).then(|| gone.value.clone_ref(py));
        self.removed(py, [gone]);
        Ok(Removed { was_live, value })
    }

    /// Take out the entry that is next to be evicted. O(n).
    pub(super) fn pop_next(&self, py: Python<'_>) -> Option<PyGone> {
        python_clock::heed(py);
        let gone = {
            let mut table = self.cache.lock();
            let mut slots = table.slots().into_iter();
            let next = slots.find(|&slot| !table.is_outdated(slot))?;
            table.remove(next, Cause::Deleted)
        };
        self.was_deleted(gone.key.bind(py));
        Some(gone)
    }

    /// Is this one of the cache's callbacks?
    pub(super) fn calls(&self, callback: &Py<PyAny>) -> bool {
        self.callbacks.has(callback)
    }

    /// Remove everything and forget whose it was.
    pub(super) fn clear(&self, py: Python<'_>) {
        let cleared = self.cache.lock().clear();
        self.owners.forget();
        let gone = cleared.into_iter().map(|(key, value)| Gone {
            key,
            value,
            cause: Cause::Cleared,
        });
        self.removed(py, gone);
    }

    /// Remove what has expired; how many entries that were.
    pub(super) fn sweep(&self, py: Python<'_>) -> PyResult<usize> {
        let now = python_clock::now(py)?;
        let gone = self.cache.lock().sweep(now);
        let count = gone.len();
        self.removed(py, gone);
        Ok(count)
    }

    /// Remove a tag's entries; how many. Loads that are under way for the tag will not be stored.
    pub(super) fn delete_by_tag(&self, py: Python<'_>, tag: &str) -> usize {
        python_clock::heed(py);
        let gone = self.cache.lock().remove_tag(TagRef::Name(tag));
        let count = gone.len();
        self.removed(py, gone);
        count
    }

    /// Move a live entry's deadline; whether there was one.
    pub(super) fn retime(
        &self,
        key: &Bound<'_, PyAny>,
        now: Now,
        deadline: Nanos,
    ) -> PyResult<bool> {
        let hash = keys::hash_of(key)?;
        let (mut table, slot) = self.locate(key, hash)?;
        let Some(slot) = slot.filter(|&slot| table.is_live(slot, now)) else {
            return Ok(false);
        };
        if now.reached(deadline) {
            let gone = table.remove(slot, Cause::Deleted);
            drop(table);
            self.was_deleted(key);
            self.removed(key.py(), [gone]);
        } else {
            self.postpone(&mut table, slot, now, deadline);
        }
        Ok(true)
    }

    /// The live entries, the next to be evicted first. O(n).
    pub(super) fn live_items(&self, py: Python<'_>) -> PyResult<Vec<(Py<PyAny>, Py<PyAny>)>> {
        let now = python_clock::now(py)?;
        let table = self.cache.lock();
        let live = table
            .slots()
            .into_iter()
            .filter(|&slot| table.is_live(slot, now));
        Ok(live
            .map(|slot| {
                (
                    table.key(slot).clone_ref(py),
                    table.value(slot).clone_ref(py),
                )
            })
            .collect())
    }

    pub(super) fn sweep_if_due(&self, py: Python<'_>, now: Now) {
        if self.cache.sweep_due(now) {
            self.sweep_at(py, now);
        }
    }

    pub(super) fn sweep_at(&self, py: Python<'_>, now: Now) {
        let gone = self.cache.lock().sweep(now);
        self.removed(py, gone);
    }

    /// Let entries go, telling `on_evict`. Values' `__del__` and the callback run here: hold no lock.
    pub(super) fn removed(&self, py: Python<'_>, gone: impl IntoIterator<Item = PyGone>) {
        for Gone { key, value, cause } in gone {
            self.callbacks
                .evicted(key.bind(py), value.bind(py), cause, || self.name());
            outside::release(key, py);
            outside::release(value, py);
        }
    }

    /// May a raw method serve this cache's writes by itself: no callback, no size to measure?
    pub(super) fn is_plain(&self) -> bool {
        self.callbacks.are_none()
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.callbacks.traverse(visit)?;
        // Never wait here: the lock's holder may be stopped, waiting for this collection to end.
        let Some(table) = self.cache.try_lock() else {
            return Ok(());
        };
        self.graves.traverse(visit)?;
        if table.traced() == 0 {
            return Ok(());
        }
        for (_, key, value) in table.iter() {
            visit.call(key)?;
            visit.call(value)?;
        }
        Ok(())
    }

    /// Break cycles: everything goes at once, and nobody is told.
    pub(super) fn release(&self) {
        let cleared = self.cache.try_lock().map(|mut table| table.clear());
        drop(cleared);
        self.graves.release();
        self.owners.release();
    }
}

impl Bereaved for Shared {
    fn owners(&self) -> &Owners {
        &self.owners
    }

    fn bury(&self, py: Python<'_>, address: u64) {
        let gone = self.cache.lock().remove_tag(TagRef::Owner(address));
        self.removed(py, gone);
    }
}

/// What `delete` found.
#[derive(Default)]
pub(super) struct Removed {
    pub(super) was_live: bool,
    /// The value, expired or not; None also where what it was computed from had changed.
    pub(super) value: Option<Py<PyAny>>,
}
