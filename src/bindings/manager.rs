//! `CacheManager`: caches by name, and the process-wide one.

// Long because pyo3 takes one block of methods a class, whose parameters are those of a cache.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use pyo3::exceptions::{PyKeyError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyIterator, PyList, PyString};
use pyo3::{PyTraverseError, PyVisit};

use super::args::{BytesArg, EarlyArg, GraceArg, Passed, PolicyArg, SizeArg, TtlArg};
use super::cache::{Options, PyTtlCache};
use super::outside;
use super::shared::Shared;
use crate::engine::clock;
use crate::engine::{Adopted, CacheManager, GlobalStats, PolicyKind};

pub(super) type Handle = Arc<Py<PyTtlCache>>;

/// Global cache manager for tracking and managing all TTL caches. Source: API reference (akvo), "CacheManager".
#[pyclass(frozen, weakref, name = "CacheManager", module = "oxicache._native")]
pub(super) struct PyCacheManager {
    caches: Arc<CacheManager<Handle>>,
}

/// `CacheManager._caches`: name -> cache. Live.
#[pyclass(frozen, module = "oxicache._native")]
pub(super) struct CachesView {
    caches: Arc<CacheManager<Handle>>,
}

/// The caches that are registered with the process-wide manager.
static PROCESS: Mutex<Weak<CacheManager<Handle>>> = Mutex::new(Weak::new());

/// Names and memories of the caches that are registered with the process-wide manager. Runs no Python code.
pub(super) fn registered(_py: Python<'_>) -> Vec<(String, Arc<Shared>)> {
    let manager = PROCESS.lock().upgrade();
    let caches = manager.map(|manager| manager.snapshot()).into_iter();
    caches
        .flatten()
        .map(|(name, cache)| (name, Arc::clone(&cache.get().shared)))
        .collect()
}

/// The same caches, those that a look at their memories wants.
pub(super) fn wanted(_py: Python<'_>, is_wanted: impl Fn(&Shared) -> bool) -> Vec<Arc<Shared>> {
    let mut wanted = Vec::new();
    if let Some(manager) = PROCESS.lock().upgrade() {
        manager.each(|cache| {
            let shared = &cache.get().shared;
            if is_wanted(shared) {
                wanted.push(Arc::clone(shared));
            }
        });
    }
    wanted
}

/// A parameter of `get_cache`, as it was passed and as the cache has it.
type Difference = (&'static str, String, String);

impl PyCacheManager {
    /// The one whose caches are those of the process.
    pub(super) fn process_wide() -> Self {
        let manager = Self {
            caches: Arc::new(CacheManager::watched(super::metrics::list)),
        };
        *PROCESS.lock() = Arc::downgrade(&manager.caches);
        manager
    }

    /// What was passed, yet the first caller wanted otherwise.
    fn differences(
        cache: &Bound<'_, PyTtlCache>,
        asked: &Bound<'_, PyDict>,
    ) -> PyResult<Vec<Difference>> {
        let mut differences = Vec::new();
        for name in [
            "max_size",
            "ttl",
            "max_bytes",
            "policy",
            "grace",
            "early_refresh",
        ] {
            if let Some(asked) = asked.get_item(name)? {
                let held = cache.getattr(name)?;
                if !held.eq(&asked)? {
                    differences.push((name, asked.repr()?.to_string(), held.repr()?.to_string()));
                }
            }
        }
        Ok(differences)
    }
}

#[pymethods]
impl PyCacheManager {
    /// An empty registry. Source: API reference (akvo), "CacheManager".
    #[new]
    pub(super) fn new() -> Self {
        Self {
            caches: Arc::new(CacheManager::new()),
        }
    }

    /// The cache of that name, made with these parameters when there is none yet.
    ///
    /// The first caller's parameters win; explicitly passing others later logs a warning that names both.
    #[pyo3(signature = (name, max_size=SizeArg::Omitted, ttl=TtlArg::Omitted, *, max_bytes=Passed::No, policy=Passed::No,
        on_evict=None, grace=Passed::No, early_refresh=Passed::No, sizeof=None))]
    #[expect(
        clippy::too_many_arguments,
        reason = "a constructor with named arguments, in Python"
    )]
    fn get_cache(
        &self,
        py: Python<'_>,
        name: &Bound<'_, PyAny>,
        max_size: SizeArg,
        ttl: TtlArg,
        max_bytes: Passed<BytesArg>,
        policy: Passed<PolicyArg>,
        on_evict: Option<Py<PyAny>>,
        grace: Passed<GraceArg>,
        early_refresh: Passed<EarlyArg>,
        sizeof: Option<Py<PyAny>>,
    ) -> PyResult<Py<PyTtlCache>> {
        let name = cache_name(name)?;
        let asked = asked(py, max_size, ttl, max_bytes, policy, grace, early_refresh)?;
        let callbacks = [("on_evict", &on_evict), ("sizeof", &sizeof)]
            .map(|(what, given)| given.as_ref().map(|given| (what, given.clone_ref(py))));
        let existing = match self.caches.get(&name) {
            Some(cache) => cache,
            None => {
                let options = Options {
                    max_size,
                    ttl,
                    name: Some(name.clone()),
                    max_bytes: max_bytes.or(BytesArg(None)),
                    policy: policy.or(PolicyArg(PolicyKind::Lru)),
                    on_evict,
                    grace: grace.or(GraceArg(0)),
                    early_refresh: early_refresh.or(EarlyArg(0.0)),
                    sizeof,
                };
                let made = Arc::new(Py::new(py, PyTtlCache::build(py, options)?)?);
                match self.caches.adopt(&name, made)? {
                    Adopted::New(cache) => return Ok(cache.clone_ref(py)),
                    Adopted::Existing { kept, refused } => {
                        drop(refused);
                        kept
                    }
                }
            }
        };
        for (what, callback) in callbacks.iter().flatten() {
            if !existing.get().shared.calls(callback) {
                log::warn!(
                    target: "oxicache.manager",
                    "get_cache('{name}', {what}=...): the cache exists without this {what}, and gets none now"
                );
            }
        }
        for (parameter, asked, held) in Self::differences(existing.bind(py), &asked)? {
            log::warn!(
                target: "oxicache.manager",
                "get_cache('{name}', {parameter}={asked}): the cache exists with {parameter}={held}, which stays; \
                 use cache_manager.configure('{name}', {parameter}={asked}) to change it"
            );
        }
        Ok(existing.clone_ref(py))
    }

    /// Change a cache's limits while it is used; KeyError when there is none of that name.
    #[pyo3(signature = (name, *, max_size=SizeArg::Omitted, ttl=TtlArg::Omitted, max_bytes=Passed::No, grace=Passed::No,
        early_refresh=Passed::No))]
    #[expect(clippy::too_many_arguments, reason = "named arguments, in Python")]
    fn configure(
        &self,
        py: Python<'_>,
        name: &Bound<'_, PyAny>,
        max_size: SizeArg,
        ttl: TtlArg,
        max_bytes: Passed<BytesArg>,
        grace: Passed<GraceArg>,
        early_refresh: Passed<EarlyArg>,
    ) -> PyResult<Py<PyTtlCache>> {
        let name = cache_name(name)?;
        let cache = self.caches.get(&name).ok_or_else(|| self.unknown(&name))?;
        let asked = asked(
            py,
            max_size,
            ttl,
            max_bytes,
            Passed::No,
            grace,
            early_refresh,
        )?;
        for (parameter, value) in asked.iter() {
            cache
                .bind(py)
                .setattr(parameter.cast::<PyString>()?, value)?;
        }
        Ok(cache.clone_ref(py))
    }

    /// Register an existing cache under `name`, or `name#2`, `name#3` when others have it; the name it now has.
    fn register(&self, name: &Bound<'_, PyAny>, cache: &Bound<'_, PyTtlCache>) -> PyResult<String> {
        let handle = Arc::new(cache.clone().unbind());
        let name = self
            .caches
            .register(&cache_name(name)?, handle, |other| other.is(cache))?;
        if cache.get().shared.name().is_none() {
            cache.get().shared.set_name(Some(name.clone()));
        }
        Ok(name)
    }

    /// Forget a cache (only if it is `cache`, when given); whether there was one. Who holds it can go on using it.
    #[pyo3(signature = (name, cache=None))]
    fn remove(
        &self,
        name: &Bound<'_, PyAny>,
        cache: Option<&Bound<'_, PyTtlCache>>,
    ) -> PyResult<bool> {
        let removed = self.caches.remove(&cache_name(name)?, |held| {
            cache.is_none_or(|cache| held.is(cache))
        });
        Ok(removed.is_some())
    }

    /// The registered names, oldest first.
    fn names(&self) -> Vec<String> {
        self.caches.names()
    }

    /// Remove expired entries everywhere; how many, by cache name.
    ///
    /// -1 stands for a cache whose cleanup failed. O(entries removed); holds one cache's lock at a time.
    /// Source: API reference (akvo), "`cleanup_all`".
    fn cleanup_all<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counts = PyDict::new(py);
        for (name, cache) in self.caches.snapshot() {
            match cache.get().shared.sweep(py) {
                Ok(count) => counts.set_item(name, count)?,
                Err(error) => {
                    log::error!(target: "oxicache.manager", "cleanup of cache '{name}' failed: {error}");
                    counts.set_item(name, -1)?;
                }
            }
        }
        Ok(counts)
    }

    /// Clear all entries from all registered caches. Source: API reference (akvo), "`clear_all`".
    fn clear_all(&self, py: Python<'_>) {
        for (_, cache) in self.caches.snapshot() {
            cache.get().shared.clear(py);
        }
    }

    /// Each cache's `stats()` by name, then `_global`. Source: API reference (akvo), "`get_global_stats`".
    fn get_global_stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let all = PyDict::new(py);
        let mut global = GlobalStats::default();
        for (name, cache) in self.caches.snapshot() {
            let stats = cache.get().shared.cache.stats(super::clock::now(py)?);
            global.add(stats.size, stats.max_size);
            all.set_item(name, pythonize::pythonize(py, &stats)?)?;
        }
        all.set_item("_global", pythonize::pythonize(py, &global)?)?;
        Ok(all)
    }

    fn __contains__(&self, name: &Bound<'_, PyAny>) -> bool {
        name.extract::<String>()
            .is_ok_and(|name| self.caches.get(&name).is_some())
    }

    fn __len__(&self) -> usize {
        self.caches.len()
    }

    fn __bool__(&self) -> bool {
        true
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        PyList::new(py, self.caches.names())?.try_iter()
    }

    fn __repr__(&self) -> String {
        format!("<CacheManager caches={}>", self.caches.len())
    }

    #[getter(_caches)]
    fn caches_view(&self) -> CachesView {
        CachesView {
            caches: self.caches.clone(),
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        for (_, cache) in self.caches.try_snapshot().into_iter().flatten() {
            visit.call(&*cache)?;
        }
        Ok(())
    }

    fn __clear__(&self) {
        for name in self.caches.names() {
            drop(self.caches.remove(&name, |_| true));
        }
    }
}

impl PyCacheManager {
    fn unknown(&self, name: &str) -> PyErr {
        let names = self.caches.names().join("', '");
        PyKeyError::new_err(format!("no cache is named '{name}'; there are: '{names}'"))
    }
}

#[pymethods]
impl CachesView {
    fn __getitem__(&self, py: Python<'_>, name: &Bound<'_, PyAny>) -> PyResult<Py<PyTtlCache>> {
        let found = name
            .extract::<String>()
            .ok()
            .and_then(|name| self.caches.get(&name));
        found
            .map(|cache| cache.clone_ref(py))
            .ok_or_else(|| PyKeyError::new_err(name.clone().unbind()))
    }

    fn __contains__(&self, name: &Bound<'_, PyAny>) -> bool {
        name.extract::<String>()
            .is_ok_and(|name| self.caches.get(&name).is_some())
    }

    fn __len__(&self) -> usize {
        self.caches.len()
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        PyList::new(py, self.caches.names())?.try_iter()
    }

    /// The (name, cache) pairs as they are now. A list: caches may come and go meanwhile. O(n).
    fn items(&self, py: Python<'_>) -> Vec<(String, Py<PyTtlCache>)> {
        let snapshot = self.caches.snapshot().into_iter();
        snapshot
            .map(|(name, cache)| (name, cache.clone_ref(py)))
            .collect()
    }

    /// The caches as they are now. O(n).
    fn values(&self, py: Python<'_>) -> Vec<Py<PyTtlCache>> {
        self.items(py).into_iter().map(|(_, cache)| cache).collect()
    }

    fn __delitem__(&self, name: &Bound<'_, PyAny>) -> PyResult<()> {
        let removed = name
            .extract::<String>()
            .ok()
            .and_then(|name| self.caches.remove(&name, |_| true));
        removed
            .map(drop)
            .ok_or_else(|| PyKeyError::new_err(name.clone().unbind()))
    }

    fn __setitem__(&self, name: &Bound<'_, PyAny>, cache: &Bound<'_, PyTtlCache>) -> PyResult<()> {
        let name = cache_name(name)?;
        drop(self.caches.remove(&name, |_| true));
        drop(self.caches.adopt(&name, Arc::new(cache.clone().unbind()))?);
        Ok(())
    }
}

fn cache_name(name: &Bound<'_, PyAny>) -> PyResult<String> {
    match name.cast::<PyString>() {
        Ok(name) => Ok(name.to_str()?.to_owned()),
        Err(_) => Err(PyTypeError::new_err(format!(
            "a cache's name must be a string, not {}",
            outside::repr(name)?
        ))),
    }
}

/// The parameters that were passed, by name, as the cache's attributes show them.
fn asked<'py>(
    py: Python<'py>,
    max_size: SizeArg,
    ttl: TtlArg,
    max_bytes: Passed<BytesArg>,
    policy: Passed<PolicyArg>,
    grace: Passed<GraceArg>,
    early_refresh: Passed<EarlyArg>,
) -> PyResult<Bound<'py, PyDict>> {
    let asked = PyDict::new(py);
    if let SizeArg::Given(size) = max_size {
        asked.set_item("max_size", size)?;
    }
    if let TtlArg::Given(ttl) = ttl {
        asked.set_item("ttl", super::args::ttl_to_python(py, ttl)?)?;
    }
    if let Passed::Yes(BytesArg(bytes)) = max_bytes {
        asked.set_item("max_bytes", bytes)?;
    }
    if let Passed::Yes(PolicyArg(policy)) = policy {
        asked.set_item("policy", policy.as_str())?;
    }
    if let Passed::Yes(GraceArg(grace)) = grace {
        asked.set_item("grace", clock::seconds(grace))?;
    }
    if let Passed::Yes(EarlyArg(beta)) = early_refresh {
        asked.set_item("early_refresh", beta)?;
    }
    Ok(asked)
}
