//! `TTLCache` as Python sees it. What it does is in `shared.rs`; here arguments are converted and answers given.

// Long because pyo3 takes one block of methods a class, and the documents give this one many names.

use std::sync::Arc;

use parking_lot::Mutex;
use pyo3::exceptions::{PyKeyError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFrozenSet, PyIterator, PyList, PyTuple};
use pyo3::{PyTraverseError, PyVisit, intern};

use super::args::{
    self, BytesArg, EarlyArg, GraceArg, IntervalArg, Passed, PolicyArg, SizeArg, TtlArg,
};
use super::clock as python_clock;
use super::keys;
use super::matching;
use super::outside;
use super::pattern::KeyPattern;
use super::shared::{Extra, Found, Mode, Shared};
use super::versions::Stamps;
use super::views::{DeadlinesView, EntriesView};
use crate::engine::clock::{self, FOREVER, Nanos};
use crate::engine::{Limits, PolicyKind, TagRef};

/// What `get_or_set` calls on a miss: set once by `oxicache.loader`.
static LOADER: Mutex<Option<Py<PyAny>>> = Mutex::new(None);

/// Thread-safe TTL cache with size limits and automatic cleanup. Source: API reference (akvo), "TTLCache".
///
/// `max_size` entries at most; `ttl` in seconds or a timedelta, None for ever. Either left out: the settings' default.
/// Keys follow dict's equality. Values are returned by reference. Expired entries make room before live ones do.
#[pyclass(
    frozen,
    generic,
    weakref,
    name = "TTLCache",
    module = "oxicache._native"
)]
pub(super) struct PyTtlCache {
    pub(super) shared: Arc<Shared>,
}

/// Everything a cache is made with.
pub(super) struct Options {
    pub(super) max_size: SizeArg,
    pub(super) ttl: TtlArg,
    pub(super) name: Option<String>,
    pub(super) max_bytes: BytesArg,
    pub(super) policy: PolicyArg,
    pub(super) on_evict: Option<Py<PyAny>>,
    pub(super) grace: GraceArg,
    pub(super) early_refresh: EarlyArg,
    pub(super) sizeof: Option<Py<PyAny>>,
}

impl PyTtlCache {
    pub(super) fn build(py: Python<'_>, options: Options) -> PyResult<Self> {
        for (what, callback) in [("on_evict", &options.on_evict), ("sizeof", &options.sizeof)] {
            if let Some(callback) = callback
                && !callback.bind(py).is_callable()
            {
                return Err(PyTypeError::new_err(format!(
                    "{what} must be callable or None, not {}",
                    outside::repr(callback.bind(py))?
                )));
            }
        }
        let (max_size, ttl) = args::resolved(py, options.max_size, options.ttl)?;
        let limits = Limits {
            max_size,
            max_bytes: options.max_bytes.0,
            policy: options.policy.0,
            grace: options.grace.0,
            early_refresh: options.early_refresh.0,
        };
        let shared = Shared::new(
            py,
            limits,
            ttl,
            options.name,
            options.on_evict,
            options.sizeof,
        )?;
        Ok(Self { shared })
    }
}

#[pymethods]
impl PyTtlCache {
    #[new]
    #[pyo3(signature = (max_size=SizeArg::Omitted, ttl=TtlArg::Omitted, *, name=None, max_bytes=BytesArg(None),
        policy=PolicyArg(PolicyKind::Lru), on_evict=None, grace=GraceArg(0), early_refresh=EarlyArg(0.0), sizeof=None))]
    #[expect(
        clippy::too_many_arguments,
        reason = "a constructor with named arguments, in Python"
    )]
    fn new(
        py: Python<'_>,
        max_size: SizeArg,
        ttl: TtlArg,
        name: Option<String>,
        max_bytes: BytesArg,
        policy: PolicyArg,
        on_evict: Option<Py<PyAny>>,
        grace: GraceArg,
        early_refresh: EarlyArg,
        sizeof: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        Self::build(
            py,
            Options {
                max_size,
                ttl,
                name,
                max_bytes,
                policy,
                on_evict,
                grace,
                early_refresh,
                sizeof,
            },
        )
    }

    /// The value, or `default` when missing or expired. Counts a hit or a miss; a hit does not extend the ttl. O(1).
    #[pyo3(signature = (key, default=None))]
    pub(super) fn get(
        &self,
        key: &Bound<'_, PyAny>,
        default: Option<Py<PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        match self.shared.read(key)? {
            Found::Fresh(value) | Found::Early(value) => Ok(value),
            Found::Miss => Ok(default.unwrap_or_else(|| key.py().None())),
        }
    }

    /// Store a value for `ttl` (the cache's own when left out), reachable by `tags` too. O(1) amortised.
    #[pyo3(signature = (key, value, ttl=TtlArg::Omitted, tags=None))]
    pub(super) fn set(
        &self,
        key: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
        ttl: TtlArg,
        tags: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let tags = args::tags(tags)?;
        self.shared.store(
            key,
            value,
            Mode::Write,
            Extra {
                ttl,
                tags: &tags,
                cost: 0,
                stamps: &[],
            },
        )?;
        Ok(())
    }

    /// Store unless there is a live entry; whether it was stored.
    #[pyo3(signature = (key, value, ttl=TtlArg::Omitted, tags=None))]
    fn add(
        &self,
        key: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
        ttl: TtlArg,
        tags: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<bool> {
        let tags = args::tags(tags)?;
        self.shared.store(
            key,
            value,
            Mode::Add,
            Extra {
                ttl,
                tags: &tags,
                cost: 0,
                stamps: &[],
            },
        )
    }

    /// The value or `default`, without counting and without making the entry recent.
    #[pyo3(signature = (key, default=None))]
    fn peek(&self, key: &Bound<'_, PyAny>, default: Option<Py<PyAny>>) -> PyResult<Py<PyAny>> {
        Ok(self
            .shared
            .peek(key)?
            .or(default)
            .unwrap_or_else(|| key.py().None()))
    }

    /// Remove one entry; whether it was live.
    fn delete(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        Ok(self.shared.delete(key)?.was_live)
    }

    /// Remove one entry and return its value. Missing or expired: `default`, or KeyError without one.
    #[pyo3(signature = (key, default=Passed::No))]
    fn pop(&self, key: &Bound<'_, PyAny>, default: Passed<Py<PyAny>>) -> PyResult<Py<PyAny>> {
        let removed = self.shared.delete(key)?;
        match removed.value {
            Some(value) if removed.was_live => Ok(value),
            _ => default.or_key_error(key),
        }
    }

    /// Give a live entry a new ttl (the cache's own when left out); whether there was one.
    #[pyo3(signature = (key, ttl=TtlArg::Omitted))]
    fn touch(&self, key: &Bound<'_, PyAny>, ttl: TtlArg) -> PyResult<bool> {
        let now = python_clock::now(key.py())?;
        let deadline = now.after(ttl.or(self.shared.cache.ttl()));
        self.shared.retime(key, now, deadline)
    }

    /// Seconds until the entry expires: inf for ever, None without a live entry.
    fn time_left(&self, key: &Bound<'_, PyAny>) -> PyResult<Option<f64>> {
        let hash = keys::hash_of(key)?;
        let now = python_clock::now(key.py())?;
        let (table, slot) = self.shared.locate(key, hash)?;
        Ok(slot
            .filter(|&slot| table.is_live(slot, now))
            .map(|slot| match table.deadline(slot) {
                FOREVER => f64::INFINITY,
                deadline => clock::seconds(deadline.saturating_sub(now.at())),
            }))
    }

    /// The live entries among `keys`, as a dict. Counts as that many reads.
    fn get_many<'py>(
        &self,
        py: Python<'py>,
        keys: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let found = PyDict::new(py);
        for key in outside::iterate(keys)? {
            let key = key?;
            if let Found::Fresh(value) | Found::Early(value) = self.shared.read(&key)? {
                outside::insert(&found, &key, value.bind(py))?;
            }
            outside::release(key.unbind(), py);
        }
        Ok(found)
    }

    /// Store each item of a mapping. O(items).
    #[pyo3(signature = (items, ttl=TtlArg::Omitted, tags=None))]
    fn set_many(
        &self,
        items: &Bound<'_, PyAny>,
        ttl: TtlArg,
        tags: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let tags = args::tags(tags)?;
        let py = items.py();
        let pairs = outside::call_method(items, intern!(py, "items"))?;
        for item in outside::iterate(&pairs)? {
            let (key, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = item?.extract()?;
            self.shared.store(
                &key,
                &value,
                Mode::Write,
                Extra {
                    ttl,
                    tags: &tags,
                    cost: 0,
                    stamps: &[],
                },
            )?;
        }
        Ok(())
    }

    /// Remove each key; how many live entries went.
    fn delete_many(&self, keys: &Bound<'_, PyAny>) -> PyResult<usize> {
        let mut count = 0;
        for key in outside::iterate(keys)? {
            let key = key?;
            count += usize::from(self.shared.delete(&key)?.was_live);
            outside::release(key.unbind(), keys.py());
        }
        Ok(count)
    }

    /// Remove every entry stored with this tag; how many. O(that many).
    fn delete_by_tag(&self, tag: &Bound<'_, PyAny>) -> PyResult<usize> {
        Ok(self.shared.delete_by_tag(tag.py(), &args::tag_name(tag)?))
    }

    /// The live keys that are str and match, in no order. O(n).
    fn _select<'py>(&self, pattern: &Bound<'py, KeyPattern>) -> PyResult<Bound<'py, PyList>> {
        let selector = matching::selector(pattern, None, None);
        self.shared.select(pattern.py(), &selector)
    }

    /// Remove what `_select` gives; how many live entries that were. O(n).
    fn _remove_matching(&self, pattern: &Bound<'_, KeyPattern>) -> PyResult<usize> {
        let selector = matching::selector(pattern, None, None);
        self.shared
            .remove_matching(pattern.py(), &Arc::new(selector))
    }

    /// The tags a live entry was stored with; empty without one.
    fn tags<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyFrozenSet>> {
        let hash = keys::hash_of(key)?;
        let now = python_clock::now(key.py())?;
        let names: Vec<String> = {
            let (table, slot) = self.shared.locate(key, hash)?;
            let live = slot.filter(|&slot| table.is_live(slot, now));
            let tags = live.into_iter().flat_map(|slot| table.tags(slot));
            tags.filter_map(|tag| {
                if let TagRef::Name(name) = tag {
                    Some(name.to_owned())
                } else {
                    None
                }
            })
            .collect()
        };
        PyFrozenSet::new(key.py(), names)
    }

    /// The value; on a miss what `compute()` returns, computed once however many threads ask (DESIGN: single flight).
    #[pyo3(signature = (key, compute, ttl=TtlArg::Omitted, tags=None))]
    fn get_or_set(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
        compute: &Bound<'_, PyAny>,
        ttl: TtlArg,
        tags: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let py = key.py();
        let current = match slf.get().shared.read(key)? {
            Found::Fresh(value) => return Ok(value),
            Found::Early(value) => value,
            Found::Miss => keys::missing(py),
        };
        let loader = LOADER.lock().as_ref().map(|loader| loader.clone_ref(py));
        let Some(loader) = loader else {
            return Err(pyo3::exceptions::PyRuntimeError::new_err(
                "get_or_set needs oxicache.loader; import oxicache, not oxicache._native",
            ));
        };
        let ttl = match ttl {
            TtlArg::Omitted => keys::missing(py),
            TtlArg::Given(ttl) => args::ttl_to_python(py, ttl)?,
        };
        let tags = PyTuple::new(py, args::tags(tags)?)?;
        let call = (slf, key, compute, ttl, tags, current).into_pyobject(py)?;
        Ok(outside::call(loader.bind(py), &call, None)?.unbind())
    }

    /// Remove every entry at once.
    fn clear(&self, py: Python<'_>) {
        self.shared.clear(py);
    }

    /// Counts and sizes: the documented keys first (`size` includes expired entries not yet swept). O(expired).
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let stats = self.shared.cache.stats(python_clock::now(py)?);
        Ok(pythonize::pythonize(py, &stats)?)
    }

    /// Set hits, misses and the other counters back to 0.
    fn reset_stats(&self) {
        self.shared.cache.metrics().reset();
    }

    /// The live keys, the next to be evicted first. O(n).
    fn keys<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(
            py,
            self.shared.live_items(py)?.into_iter().map(|(key, _)| key),
        )
    }

    /// The live (key, value) pairs, the next to be evicted first. O(n).
    fn items<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, self.shared.live_items(py)?)
    }

    fn __getitem__(&self, key: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        match self.shared.read(key)? {
            Found::Fresh(value) | Found::Early(value) => Ok(value),
            Found::Miss => Err(PyKeyError::new_err(key.clone().unbind())),
        }
    }

    fn __setitem__(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.set(key, value, TtlArg::Omitted, None)
    }

    fn __delitem__(&self, key: &Bound<'_, PyAny>) -> PyResult<()> {
        if self.shared.delete(key)?.was_live {
            Ok(())
        } else {
            Err(PyKeyError::new_err(key.clone().unbind()))
        }
    }

    fn __contains__(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        Ok(self.shared.peek(key)?.is_some())
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        python_clock::heed(py);
        self.shared.cache.lock().len()
    }

    fn __bool__(&self) -> bool {
        true
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        self.keys(py)?.try_iter()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        python_clock::heed(py);
        let (size, max_size) = {
            let table = self.shared.cache.lock();
            (table.len(), table.limits().max_size)
        };
        let name = self
            .shared
            .name()
            .map_or_else(String::new, |name| format!("'{name}' "));
        let ttl = args::ttl_to_python(py, self.shared.cache.ttl())?;
        Ok(format!(
            "<TTLCache {name}size={size}/{max_size} ttl={}>",
            ttl.bind(py).repr()?
        ))
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(uncopyable())
    }

    fn __copy__(&self) -> PyResult<()> {
        Err(uncopyable())
    }

    fn __deepcopy__(&self, _memo: &Bound<'_, PyAny>) -> PyResult<()> {
        Err(uncopyable())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.shared.traverse(&visit)
    }

    fn __clear__(&self) {
        self.shared.release();
    }

    #[getter]
    fn max_size(&self) -> usize {
        self.shared.cache.lock().limits().max_size
    }

    #[setter]
    fn set_max_size(&self, py: Python<'_>, max_size: &Bound<'_, PyAny>) -> PyResult<()> {
        let now = python_clock::now(py)?;
        let SizeArg::Given(size) = max_size.extract()? else {
            return Ok(());
        };
        let displaced = self.shared.cache.lock().set_max_size(size, now);
        self.shared.removed(py, displaced);
        Ok(())
    }

    #[getter]
    fn max_bytes(&self) -> Option<u64> {
        self.shared.cache.lock().limits().max_bytes
    }

    #[setter]
    fn set_max_bytes(&self, py: Python<'_>, max_bytes: &Bound<'_, PyAny>) -> PyResult<()> {
        let now = python_clock::now(py)?;
        let BytesArg(limit) = max_bytes.extract()?;
        let displaced = self.shared.cache.lock().set_max_bytes(limit, now);
        self.shared.removed(py, displaced);
        Ok(())
    }

    #[getter]
    fn ttl(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        args::ttl_to_python(py, self.shared.cache.ttl())
    }

    #[setter]
    fn set_ttl(&self, ttl: &Bound<'_, PyAny>) -> PyResult<()> {
        if let TtlArg::Given(own) = ttl.extract()? {
            let now = python_clock::now(ttl.py())?;
            self.shared.change_ttl(now, own);
        }
        Ok(())
    }

    #[getter]
    fn grace(&self) -> f64 {
        clock::seconds(self.shared.cache.lock().limits().grace)
    }

    #[setter]
    fn set_grace(&self, grace: &Bound<'_, PyAny>) -> PyResult<()> {
        let GraceArg(grace) = grace.extract()?;
        self.shared.cache.lock().set_grace(grace);
        Ok(())
    }

    #[getter]
    fn early_refresh(&self) -> f64 {
        self.shared.cache.lock().limits().early_refresh
    }

    #[setter]
    fn set_early_refresh(&self, beta: &Bound<'_, PyAny>) -> PyResult<()> {
        let EarlyArg(beta) = beta.extract()?;
        self.shared.cache.lock().set_early_refresh(beta);
        Ok(())
    }

    /// Seconds between two sweeps of expired entries; None for the default of 300.
    #[getter]
    fn cleanup_interval(&self) -> Option<f64> {
        self.shared.cache.cleanup_interval().map(clock::seconds)
    }

    #[setter]
    fn set_cleanup_interval(&self, interval: &Bound<'_, PyAny>) -> PyResult<()> {
        let interval = if interval.is_none() {
            None
        } else {
            Some(interval.extract::<IntervalArg>()?.0)
        };
        self.shared.cache.set_cleanup_interval(interval);
        Ok(())
    }

    #[getter]
    fn name(&self) -> Option<String> {
        self.shared.name()
    }

    #[setter]
    fn set_name(&self, name: Option<String>) {
        self.shared.set_name(name);
    }

    #[getter]
    fn policy(&self) -> &'static str {
        self.shared.cache.lock().limits().policy.as_str()
    }

    /// key -> value, the next to be evicted first, expired entries included. Live; safe under threads.
    #[getter(_cache)]
    fn entries_view(slf: &Bound<'_, Self>) -> EntriesView {
        EntriesView::new(slf)
    }

    /// key -> wall-clock second of expiry. Live; popping removes the entry.
    #[getter(_expiry_times)]
    fn deadlines_view(slf: &Bound<'_, Self>) -> DeadlinesView {
        DeadlinesView::new(slf)
    }

    #[getter(_lock)]
    fn python_lock(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(self.shared.python_lock(py)?.clone_ref(py))
    }

    /// Wall-clock second of the last automatic sweep, at first of construction.
    #[getter(_last_cleanup)]
    fn last_cleanup(&self, py: Python<'_>) -> PyResult<f64> {
        python_clock::wall(py, self.shared.cache.last_cleanup())
    }

    #[setter(_last_cleanup)]
    fn set_last_cleanup(&self, py: Python<'_>, at: f64) -> PyResult<()> {
        self.shared
            .cache
            .set_last_cleanup(python_clock::from_wall(py, at)?);
        Ok(())
    }

    /// Remove all expired entries; how many. O(that many). Source: API reference (akvo), "_cleanup_expired".
    fn _cleanup_expired(&self, py: Python<'_>) -> PyResult<usize> {
        self.shared.sweep(py)
    }

    /// What a load takes before it begins; `_fill` then knows whether key or tags were invalidated meanwhile.
    fn _token(&self, key: &Bound<'_, PyAny>) -> PyResult<u64> {
        let hash = keys::hash_of(key)?;
        // What was ordered before the load began does not outdate it.
        python_clock::heed(key.py());
        Ok(self.shared.cache.lock().token(hash))
    }

    /// Would `_fill` store a value with these tags, whose load began with this token? Says nothing about its limits.
    #[pyo3(signature = (key, token, tags=None))]
    fn _is_current(
        &self,
        key: &Bound<'_, PyAny>,
        token: u64,
        tags: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<bool> {
        let tags = args::tags(tags)?;
        let tags: Vec<TagRef<'_>> = tags.iter().map(|tag| TagRef::Name(tag)).collect();
        let hash = keys::hash_of(key)?;
        python_clock::heed(key.py());
        let is_current = self.shared.cache.lock().is_current(hash, token, &tags);
        Ok(is_current && self.shared.has_spared(key, token))
    }

    /// Store a load's result unless it is outdated, by its token or by its stamps; whether it was stored. `cost`: seconds
    /// the load took.
    #[pyo3(signature = (key, value, token, ttl=TtlArg::Omitted, tags=None, cost=0.0, stamps=None))]
    #[expect(clippy::too_many_arguments, reason = "named arguments, in Python")]
    fn _fill(
        &self,
        key: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
        token: u64,
        ttl: TtlArg,
        tags: Option<&Bound<'_, PyAny>>,
        cost: f64,
        stamps: Option<&Bound<'_, Stamps>>,
    ) -> PyResult<bool> {
        let tags = args::tags(tags)?;
        let cost: Nanos = clock::nanos(cost)?;
        self.shared.store(
            key,
            value,
            Mode::Fill(token),
            Extra {
                ttl,
                tags: &tags,
                cost,
                stamps: stamps.map_or(&[][..], |stamps| &*stamps.get().stamps),
            },
        )
    }

    /// Count a load of a key, which took so many seconds and which was stored or not, or failed.
    #[pyo3(signature = (key, seconds, has_failed))]
    fn _loaded(&self, key: &Bound<'_, PyAny>, seconds: f64, has_failed: bool) {
        self.shared.loaded(key, seconds, has_failed);
    }

    /// An expired value still kept for `grace`, else MISSING. Counts as a stale serve.
    fn _stale(&self, key: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let py = key.py();
        let hash = keys::hash_of(key)?;
        let now = python_clock::now(py)?;
        let (mut table, slot) = self.shared.locate(key, hash)?;
        let value = slot
            .and_then(|slot| table.stale(slot, now))
            .map(|value| value.clone_ref(py));
        if value.is_some() {
            table.stale_served();
        }
        Ok(value.unwrap_or_else(|| keys::missing(py)))
    }

    /// Would a hit elect its reader to refresh the entry early? Draws anew at each call.
    fn _early(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        let hash = keys::hash_of(key)?;
        let now = python_clock::now(key.py())?;
        let (mut table, slot) = self.shared.locate(key, hash)?;
        Ok(slot.is_some_and(|slot| table.is_live(slot, now) && table.would_refresh(slot, now)))
    }
}

fn uncopyable() -> PyErr {
    PyTypeError::new_err(
        "a TTLCache can be neither copied nor pickled: it belongs to one process; pickle dict(cache.items()) instead",
    )
}

/// Install what `get_or_set` calls on a miss: `load(cache, key, compute, ttl, tags, current)`.
#[pyfunction]
#[pyo3(signature = (load, /))]
pub(super) fn set_loader(load: Py<PyAny>) {
    let before = LOADER.lock().replace(load);
    drop(before);
}

/// Seconds between two sweeps of caches that name no interval of their own.
#[pyfunction]
#[pyo3(signature = (seconds, /))]
pub(super) fn set_default_cleanup_interval(seconds: IntervalArg) {
    crate::engine::set_default_cleanup_interval(seconds.0);
}
