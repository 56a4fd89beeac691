//! The engine's cache over Python objects, with its callbacks: what `TTLCache`, its views and the decorators share.
//!
//! Each operation runs in the same order: Python code first (hash, clock, sizes), then the lock, then what was
//! displaced is dropped and told to `on_evict` once the lock is gone.

// Long because every operation keeps one order of hash, lock and drop, which is checked by reading them together.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use parking_lot::lock_api::MutexGuard;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyWeakrefReference};
use pyo3::{PyTraverseError, PyVisit, intern};

use super::args::{self, TtlArg};
use super::clock as python_clock;
use super::gil_lock::TableLock;
use super::keys;
use super::memo_key::{MemoKey, Owner};
use super::outside;
use crate::engine::clock::{Nanos, Now};
use crate::engine::{Cause, Displaced, Gone, Limits, Put, Read, Slot, Table, TagRef, TtlCache};

/// A locked table.
pub(super) type TableGuard<'a> = MutexGuard<'a, TableLock, PyTable>;
pub(super) type PyTable = Table<Py<PyAny>, Py<PyAny>>;
pub(super) type PyDisplaced = Displaced<Py<PyAny>, Py<PyAny>>;
type PyGone = Gone<Py<PyAny>, Py<PyAny>>;

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
}

/// A cache and its callbacks, shared by the Python object, its views and the decorators that store in it.
pub(super) struct Shared {
    pub(super) cache: TtlCache<Py<PyAny>, Py<PyAny>, TableLock>,
    on_evict: Option<Py<PyAny>>,
    sizeof: Option<Py<PyAny>>,
    name: Mutex<Option<String>>,
    python_lock: PyOnceLock<Py<PyAny>>,
    /// By address, the references that tell of an instance's death. See [`Shared::watch`].
    owners: Mutex<HashMap<usize, Py<PyWeakrefReference>>>,
    /// Whether a decorated callable keeps its results here.
    is_taken: AtomicBool,
    this: Weak<Shared>,
}

/// Removes an instance's entries when it dies.
#[pyclass(frozen, module = "oxicache._native")]
struct Mourner {
    shared: Weak<Shared>,
    address: usize,
}

#[pymethods]
impl Mourner {
    fn __call__(&self, py: Python<'_>, reference: &Bound<'_, PyWeakrefReference>) {
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        let known = {
            let mut owners = shared.owners.lock();
            match owners.get(&self.address) {
                Some(watched) if watched.is(reference) => owners.remove(&self.address),
                _ => None,
            }
        };
        if known.is_some() {
            let gone = shared
                .cache
                .lock()
                .remove_tag(TagRef::Owner(self.address as u64));
            shared.removed(py, gone);
        }
    }
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
        Ok(Arc::new_cyclic(|this| Self {
            cache,
            on_evict,
            sizeof,
            name: Mutex::new(name),
            python_lock: PyOnceLock::new(),
            owners: Mutex::new(HashMap::new()),
            is_taken: AtomicBool::new(false),
            this: this.clone(),
        }))
    }

    /// Keep the cache for one decorated callable; false when it is another's. The keys of two would be the same.
    pub(super) fn take(&self) -> bool {
        !self.is_taken.swap(true, Ordering::Relaxed)
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
        let (mut table, slot) = self.locate(key, hash)?;
        let Some(slot) = slot else {
            table.miss();
            return Ok(Found::Miss);
        };
        let gone = match table.read(slot, now) {
            Read::Fresh(value) => return Ok(Found::Fresh(value.clone_ref(py))),
            Read::Early(value) => return Ok(Found::Early(value.clone_ref(py))),
            Read::Stale => return Ok(Found::Miss),
            Read::Expired(gone) => gone,
        };
        drop(table);
        self.removed(py, [gone]);
        Ok(Found::Miss)
    }

    /// Look without counting or touching.
    pub(super) fn peek(&self, key: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyAny>>> {
        let hash = keys::hash_of(key)?;
        let now = python_clock::now(key.py())?;
        let (table, slot) = self.locate(key, hash)?;
        Ok(slot
            .and_then(|slot| table.peek(slot, now))
            .map(|value| value.clone_ref(key.py())))
    }

    /// Store; false where `mode` forbade it.
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
        let weight = self.weigh(key, value)?;
        let owner = self.watch(key)?;
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
            traced: keys::may_cycle(value) || keys::may_cycle(key),
            write: !matches!(mode, Mode::Fill(_)),
            ..Put::default()
        };

        let (mut table, slot) = self.locate(key, hash)?;
        let is_forbidden = match mode {
            Mode::Write => false,
            Mode::Add => slot.is_some_and(|slot| table.is_live(slot, now)),
            Mode::Fill(token) => !table.is_current(hash, token),
        };
        if is_forbidden {
            return Ok(false);
        }
        let is_dead = now.reached(deadline) || table.limits().max_size == 0;
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
        self.removed(py, replaced);
        self.removed(py, displaced.into_iter().flatten());
        self.sweep_if_due(py, now);
        Ok(!is_dead)
    }

    /// A value's size, where sizes are limited. Runs Python: hold no lock.
    fn weigh(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<u64> {
        if self.cache.lock().limits().max_bytes.is_none() {
            return Ok(0);
        }
        let py = key.py();
        if let Some(sizeof) = &self.sizeof {
            return args::byte_count(&outside::call(
                sizeof.bind(py),
                &(key, value).into_pyobject(py)?,
                None,
            )?);
        }
        let sizeof = py
            .import(intern!(py, "sys"))?
            .getattr(intern!(py, "getsizeof"))?;
        let sizes: (u64, u64) = (
            sizeof.call1((key,))?.extract()?,
            sizeof.call1((value,))?.extract()?,
        );
        Ok(sizes.0.saturating_add(sizes.1))
    }

    /// Be told when the instance behind a decorated call's key dies; its address is the tag of all its entries.
    fn watch(&self, key: &Bound<'_, PyAny>) -> PyResult<Option<u64>> {
        let Ok(key) = key.cast_exact::<MemoKey>() else {
            return Ok(None);
        };
        let (py, key) = (key.py(), key.get());
        let Owner::Weak(reference) = &key.owner else {
            return Ok(None);
        };
        let Some(instance) = reference.bind(py).upgrade() else {
            return Ok(None);
        };
        let watched = self
            .owners
            .lock()
            .get(&key.address)
            .map(|watched| watched.clone_ref(py));
        let is_watched = watched.is_some_and(|watched| {
            watched
                .bind(py)
                .upgrade()
                .is_some_and(|object| object.is(&instance))
        });
        if !is_watched {
            let mourner = Bound::new(
                py,
                Mourner {
                    shared: self.this.clone(),
                    address: key.address,
                },
            )?;
            let reference = PyWeakrefReference::new_with(&instance, mourner)?.unbind();
            let before = self.owners.lock().insert(key.address, reference);
            drop(before);
        }
        Ok(Some(key.address as u64))
    }

    /// Remove one entry, live or not; nothing that is being loaded for the key will be stored.
    pub(super) fn delete(&self, key: &Bound<'_, PyAny>) -> PyResult<Removed> {
        let py = key.py();
        let hash = keys::hash_of(key)?;
        let now = python_clock::now(py)?;
        let (mut table, slot) = self.locate(key, hash)?;
        let Some(slot) = slot else {
            table.bump(hash);
            return Ok(Removed {
                was_live: false,
                value: None,
            });
        };
        let was_live = table.is_live(slot, now);
        let gone = table.remove(slot, Cause::Deleted);
        drop(table);
        let value = gone.value.clone_ref(py);
        self.removed(py, [gone]);
        Ok(Removed {
            was_live,
            value: Some(value),
        })
    }

    /// Remove everything and forget whose it was.
    pub(super) fn clear(&self, py: Python<'_>) {
        let cleared = self.cache.lock().clear();
        let owners = std::mem::take(&mut *self.owners.lock());
        drop(owners);
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
            self.removed(key.py(), [gone]);
        } else {
            table.retime(slot, deadline, true);
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
            if let Some(on_evict) = &self.on_evict {
                let told = (key.bind(py), value.bind(py), cause.as_str()).into_pyobject(py);
                if let Err(error) =
                    told.and_then(|told| outside::call(on_evict.bind(py), &told, None))
                {
                    self.report(py, cause, error);
                }
            }
            outside::release(key, py);
            outside::release(value, py);
        }
    }

    /// Log what `on_evict` raised, with its traceback. Python's logging is called as any callback is, not through pyo3-log.
    #[cold]
    fn report(&self, py: Python<'_>, cause: Cause, error: PyErr) {
        let name = self.name().unwrap_or_else(|| "unnamed".to_owned());
        let said = format!(
            "on_evict of cache '{name}' failed ({} entry): {error}",
            cause.as_str()
        );
        let logged = (|| {
            let logger = py
                .import(intern!(py, "logging"))?
                .getattr(intern!(py, "getLogger"))?;
            let logger = outside::call(&logger, &("oxicache.cache",).into_pyobject(py)?, None)?;
            let options = PyDict::new(py);
            options.set_item(intern!(py, "exc_info"), error)?;
            let arguments = ("%s", said).into_pyobject(py)?;
            outside::call(
                &logger.getattr(intern!(py, "error"))?,
                &arguments,
                Some(&options),
            )
        })();
        // A logging set-up that raises is not the business of whoever stored or removed an entry.
        drop::<PyResult<_>>(logged);
    }

    /// May a raw method serve this cache's writes by itself: no callback, no size to measure?
    pub(super) fn is_plain(&self) -> bool {
        self.on_evict.is_none() && self.sizeof.is_none()
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.on_evict)?;
        visit.call(&self.sizeof)?;
        // Never wait here: the lock's holder may be stopped, waiting for this collection to end.
        let Some(table) = self.cache.try_lock() else {
            return Ok(());
        };
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
        let owners = self
            .owners
            .try_lock()
            .map(|mut owners| std::mem::take(&mut *owners));
        drop(owners);
    }
}

/// What `delete` found.
pub(super) struct Removed {
    pub(super) was_live: bool,
    pub(super) value: Option<Py<PyAny>>,
}
