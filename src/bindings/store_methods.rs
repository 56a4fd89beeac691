//! `NativeStore` as Python sees it: what a loader asks of a store. Keys are those of `BackendBase._key`: a str, or a
//! `BackendKey`. What it does is in `native_store.rs`.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};
use pyo3::{PyTraverseError, PyVisit};

use super::args::{self, BytesArg, EarlyArg, GraceArg, PolicyArg, SizeArg, TtlArg};
use super::backend_key::{Name, Owned};
use super::cache::{Options, PyTtlCache};
use super::clock as python_clock;
use super::compiled;
use super::keys;
use super::matching;
use super::native_store::{Life, NativeStore, Storing};
use super::pattern::{self, KeyPattern};
use super::values::Isolation;
use super::versions::Stamps;
use crate::engine::clock::{self, Nanos};
use crate::engine::{PolicyKind, Within};

/// What Django's own backends give entries whose timeout nobody names: 300 s.
const DEFAULT_TTL: Nanos = 300_000_000_000;
const DEFAULT_ENTRIES: usize = 10_000;
const DEFAULT_BYTES: u64 = 64 << 20;

/// A live key: its prefix (None for a key that a `KEY_FUNCTION` made), its version and the caller's own key.
type Parts = (Option<Py<PyString>>, i64, Py<PyString>);

#[pymethods]
impl NativeStore {
    #[new]
    #[pyo3(signature = (location, *, max_entries=SizeArg::Given(DEFAULT_ENTRIES),
        max_bytes=BytesArg(Some(DEFAULT_BYTES)), policy=PolicyArg(PolicyKind::S3Fifo), isolation="auto", coherence="host",
        grace=GraceArg(0), early_refresh=EarlyArg(0.0), jitter=0.0))]
    #[expect(
        clippy::too_many_arguments,
        reason = "a constructor with named arguments, in Python"
    )]
    fn new(
        py: Python<'_>,
        location: &Bound<'_, PyString>,
        max_entries: SizeArg,
        max_bytes: BytesArg,
        policy: PolicyArg,
        isolation: &str,
        coherence: &str,
        grace: GraceArg,
        early_refresh: EarlyArg,
        jitter: f64,
    ) -> PyResult<Self> {
        let is_host = match coherence {
            "host" => true,
            "process" => false,
            _ => {
                return Err(PyValueError::new_err(format!(
                    "coherence must be \"host\" or \"process\", not {coherence:?}"
                )));
            }
        };
        if !(0.0..1.0).contains(&jitter) {
            return Err(PyValueError::new_err(format!(
                "jitter must be a fraction of at least 0 and below 1, not {jitter}"
            )));
        }
        let options = Options {
            max_size: max_entries,
            ttl: TtlArg::Given(DEFAULT_TTL),
            name: Some(location.to_string_lossy().into_owned()),
            max_bytes,
            policy,
            on_evict: None,
            grace,
            early_refresh,
            sizeof: None,
        };
        Self::build(
            py,
            location,
            options,
            Isolation::parse(isolation)?,
            is_host,
            jitter,
        )
    }

    /// The cache that holds the entries, to be registered for its statistics. Its values are stored forms.
    #[getter(cache)]
    fn get_cache(&self, py: Python<'_>) -> Py<PyTtlCache> {
        self.cache().clone_ref(py)
    }

    #[getter(location)]
    fn get_location(&self, py: Python<'_>) -> Py<PyString> {
        self.location().clone_ref(py)
    }

    /// "host" or "process".
    #[getter]
    fn coherence(&self) -> &'static str {
        if self.is_host { "host" } else { "process" }
    }

    #[getter(isolation)]
    fn get_isolation(&self) -> &'static str {
        self.isolation_name()
    }

    #[getter(jitter)]
    fn get_jitter(&self) -> f64 {
        self.jitter()
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
    fn grace(&self) -> f64 {
        clock::seconds(self.shared.cache.lock().limits().grace)
    }

    #[getter]
    fn early_refresh(&self) -> f64 {
        self.shared.cache.lock().limits().early_refresh
    }

    /// The value, or `default`. Counts a hit or a miss, but notes no miss.
    #[pyo3(signature = (key, default=None))]
    fn get(&self, key: &Bound<'_, PyAny>, default: Option<Py<PyAny>>) -> PyResult<Py<PyAny>> {
        let (py, owned) = (key.py(), Owned::from_object(key)?);
        Ok(self
            .read(py, &Name::of(&owned))?
            .or(default)
            .unwrap_or_else(|| py.None()))
    }

    /// As `get`, without counting and without making the entry recent.
    #[pyo3(signature = (key, default=None))]
    fn peek(&self, key: &Bound<'_, PyAny>, default: Option<Py<PyAny>>) -> PyResult<Py<PyAny>> {
        let (py, owned) = (key.py(), Owned::from_object(key)?);
        Ok(self
            .look(py, &Name::of(&owned))?
            .or(default)
            .unwrap_or_else(|| py.None()))
    }

    /// Write a value for `ttl` seconds, the cache's own when left out.
    #[pyo3(signature = (key, value, ttl=TtlArg::Omitted, tags=None))]
    fn set(
        &self,
        key: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
        ttl: TtlArg,
        tags: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let owned = Owned::from_object(key)?;
        let storing = Storing {
            life: match ttl.or(self.shared.cache.ttl()) {
                0 => Life::Over,
                ttl => Life::For(ttl),
            },
            tags: &args::tags(tags)?,
            is_write: true,
        };
        self.write(key.py(), &Name::of(&owned), value, &storing)
    }

    /// Remove one entry; whether there was a live one.
    fn delete(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        let owned = Owned::from_object(key)?;
        self.remove(key.py(), &Name::of(&owned))
    }

    /// Remove the entries with this tag, here and in every process; how many were here.
    fn delete_by_tag(&self, tag: &Bound<'_, PyAny>) -> PyResult<usize> {
        self.delete_tag(tag.py(), &args::tag_name(tag)?)
    }

    /// Remove the entries with any of these tags, here and in every process. `is_everywhere` bumps the words that
    /// `oxicache.tags.moved_words` names with those of the store: the file of the words is looked for once.
    #[pyo3(signature = (tags, is_everywhere, /))]
    fn _delete_by_tags(&self, tags: &Bound<'_, PyAny>, is_everywhere: bool) -> PyResult<()> {
        self.delete_tags(tags.py(), &args::tags(Some(tags))?, is_everywhere)
    }

    /// Remove everything, here and in every process.
    fn clear(&self, py: Python<'_>) -> PyResult<()> {
        self.clear_all(py)
    }

    /// Outdate the keys that any of these patterns takes, here and in every process: each removes them at its next use of
    /// the store. `kind` is "glob" or "regex".
    ///
    /// Of the keys that begin with `before` and end with `behind` as Django makes them; of those with this `prefix`, whatever
    /// their version; or of all, without prefix and version. Some microseconds, whatever the store holds.
    #[pyo3(signature = (patterns, kind="glob", *, before=None, behind=None, prefix=None))]
    fn outdate_patterns(
        &self,
        patterns: &Bound<'_, PyAny>,
        kind: &str,
        before: Option<&Bound<'_, PyString>>,
        behind: Option<&Bound<'_, PyString>>,
        prefix: Option<&Bound<'_, PyString>>,
    ) -> PyResult<()> {
        let kind = pattern::kind_named(kind)?;
        let sources = compiled::sources(patterns, kind)?;
        let within = match prefix {
            Some(prefix) => Within::Parts {
                prefix: Some(matching::points(prefix)),
                version: None,
            },
            None => matching::within(before, behind),
        };
        self.outdate(patterns.py(), kind, within, sources)
    }

    /// Remove what has expired; how many entries that were.
    fn sweep(&self, py: Python<'_>) -> PyResult<usize> {
        self.settle(py);
        self.shared.sweep(py)
    }

    /// Counts and sizes, as `TTLCache.stats` has them.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.settle(py);
        let stats = self.shared.cache.stats(python_clock::now(py)?);
        Ok(pythonize::pythonize(py, &stats)?)
    }

    /// The live keys as (prefix, version, key), the next to be evicted first. O(n).
    fn keys(&self, py: Python<'_>) -> PyResult<Vec<Parts>> {
        self.settle(py);
        let items = self.shared.live_items(py)?;
        let mut parts = Vec::with_capacity(items.len());
        for (key, _) in items {
            let Owned {
                prefix,
                version,
                key,
                ..
            } = Owned::from_object(key.bind(py))?;
            parts.push((prefix.map(Bound::unbind), version, key.unbind()));
        }
        Ok(parts)
    }

    /// The live keys that match, as their callers gave them, in no order. O(n).
    ///
    /// Of the keys that begin with `before` and end with `behind` as Django makes them; of all, without prefix and version,
    /// when both are left out.
    #[pyo3(signature = (pattern, before=None, behind=None))]
    fn select<'py>(
        &self,
        pattern: &Bound<'py, KeyPattern>,
        before: Option<&Bound<'py, PyString>>,
        behind: Option<&Bound<'py, PyString>>,
    ) -> PyResult<Bound<'py, PyList>> {
        let py = pattern.py();
        self.settle(py);
        let selector = matching::selector(pattern, before, behind);
        self.shared.select(py, &selector)
    }

    /// Remove what `select` gives, at once here and in every other process at its next use of the store; how many live
    /// entries that were here. O(n).
    #[pyo3(signature = (pattern, before=None, behind=None))]
    fn remove_matching(
        &self,
        pattern: &Bound<'_, KeyPattern>,
        before: Option<&Bound<'_, PyString>>,
        behind: Option<&Bound<'_, PyString>>,
    ) -> PyResult<usize> {
        let within = matching::within(before, behind);
        self.delete_matching(pattern.py(), pattern.get().matcher(), within)
    }

    /// What a load takes before it begins.
    fn _token(&self, key: &Bound<'_, PyAny>) -> PyResult<u128> {
        self.token(&Name::of(&Owned::from_object(key)?))
    }

    /// Would `_fill` store a value with these tags, whose load began with this token?
    #[pyo3(signature = (key, token, tags=None))]
    fn _is_current(
        &self,
        key: &Bound<'_, PyAny>,
        token: u128,
        tags: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<bool> {
        let owned = Owned::from_object(key)?;
        self.is_current(&Name::of(&owned), token, &args::tags(tags)?)
    }

    /// Store a load's result unless it is outdated; whether it was stored. `cost`: seconds the load took.
    #[pyo3(signature = (key, value, token, ttl=TtlArg::Omitted, tags=None, cost=0.0, stamps=None))]
    #[expect(clippy::too_many_arguments, reason = "named arguments, in Python")]
    fn _fill(
        &self,
        key: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
        token: u128,
        ttl: TtlArg,
        tags: Option<&Bound<'_, PyAny>>,
        cost: f64,
        stamps: Option<&Bound<'_, Stamps>>,
    ) -> PyResult<bool> {
        let owned = Owned::from_object(key)?;
        self.fill(
            key.py(),
            &Name::of(&owned),
            value,
            token,
            ttl,
            &args::tags(tags)?,
            clock::nanos(cost)?,
            stamps.map_or(&[][..], |stamps| &*stamps.get().stamps),
        )
    }

    /// Count a load of a key, which took so many seconds and which was stored or not, or failed.
    #[pyo3(signature = (key, seconds, has_failed))]
    fn _loaded(&self, key: &Bound<'_, PyAny>, seconds: f64, has_failed: bool) {
        self.shared.loaded(key, seconds, has_failed);
    }

    /// An expired value still kept for `grace`, else MISSING. Counts as a stale serve.
    fn _stale(&self, key: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let (py, owned) = (key.py(), Owned::from_object(key)?);
        Ok(self
            .stale(py, &Name::of(&owned))?
            .unwrap_or_else(|| keys::missing(py)))
    }

    /// Would a hit elect its reader to refresh the entry early? Draws anew at each call.
    fn _early(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        self.is_early(key.py(), &Name::of(&Owned::from_object(key)?))
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        self.settle(py);
        self.shared.cache.lock().len()
    }

    fn __bool__(&self) -> bool {
        true
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(self.cache())
    }
}
