//! What is counted, as Python asks for it, and the key pattern of what Python uses as keys.

use pyo3::prelude::*;
use pyo3::types::{PyAny, PyString};

use super::backend_key::BackendKey;
use super::clock as python_clock;
use super::manager::{self, Handle};
use super::memo_key::MemoKey;
use super::shared::Shared;
use crate::engine::Change;
use crate::engine::clock::{self, FOREVER, Nanos, Now};
use crate::engine::metrics::{self, Asked, Event, MAX_COUNTED};

impl Shared {
    /// The pattern under which a key is counted. Runs no Python code.
    pub(super) fn pattern(&self, key: &Bound<'_, PyAny>) -> String {
        if let Ok(text) = key.cast::<PyString>() {
            return metrics::key_pattern(&text.to_string_lossy());
        }
        if let Ok(key) = key.cast_exact::<BackendKey>() {
            let text = key.get().key.bind(key.py());
            return metrics::key_pattern(&text.to_string_lossy());
        }
        if key.is_exact_instance_of::<MemoKey>()
            && let Some(label) = self.name()
        {
            return label;
        }
        let name = key.get_type().name();
        name.map_or_else(
            |_| "<object>".to_owned(),
            |name| format!("<{}>", name.to_string_lossy()),
        )
    }

    /// Count what has expired, for all who ask until the next time; whether all of it was counted.
    pub(super) fn count_expired(&self, now: Now) -> bool {
        self.cache.lock().count_expired(now, MAX_COUNTED) < MAX_COUNTED
    }

    /// Sample a write of a key, which was counted. `bytes`: what was stored, where it was weighed.
    pub(super) fn was_set(&self, key: &Bound<'_, PyAny>, bytes: Option<u64>) {
        let metrics = self.cache.metrics();
        metrics.changed(Event::Set, bytes, || self.pattern(key));
    }

    /// Sample the deletion of a key, which was counted.
    pub(super) fn was_deleted(&self, key: &Bound<'_, PyAny>) {
        let metrics = self.cache.metrics();
        metrics.changed(Event::Delete, None, || self.pattern(key));
    }

    /// Count a load of a key, stored or not.
    pub(super) fn loaded(&self, key: &Bound<'_, PyAny>, seconds: f64, has_failed: bool) {
        let metrics = self.cache.metrics();
        metrics.loaded(load_nanos(seconds), has_failed, || self.pattern(key));
    }
}

/// A clock that went backwards, or a number that is none, is no reason to fail after a load.
#[expect(
    clippy::cast_possible_truncation,
    reason = "casts of floats saturate, and a value that is no number becomes 0"
)]
fn load_nanos(seconds: f64) -> Nanos {
    ((seconds * 1e9) as Nanos).clamp(0, FOREVER - 1)
}

/// Let other threads see what the process-wide manager has.
pub(super) fn list(change: Change<'_, Handle>) {
    match change {
        Change::Added(name, cache) => {
            metrics::register(name, cache.get().shared.cache.metrics());
        }
        Change::Removed(name, cache) => {
            metrics::unregister(name, cache.get().shared.cache.metrics());
        }
    }
}

/// What this process counts: the state of each registered cache, and with `patterns` what was done by key pattern.
///
/// Expired entries are counted now, as far as 20,000 of each cache tell; `exact` is False where there are more.
#[pyfunction(name = "metrics")]
#[pyo3(signature = (patterns=false, /))]
pub(super) fn process_metrics(py: Python<'_>, patterns: bool) -> PyResult<Bound<'_, PyAny>> {
    let mut is_exact = true;
    for (_, shared) in manager::registered(py) {
        is_exact &= shared.count_expired(python_clock::now(py)?);
    }
    let told = metrics::process_stats(Asked {
        caches: None,
        patterns,
        is_exact,
        is_enabled: !clock::is_disabled(),
    });
    Ok(pythonize::pythonize(py, &told)?)
}

/// What was done to the cache that is registered under a name, by key pattern; empty where there is none.
#[pyfunction]
#[pyo3(signature = (cache, /))]
pub(super) fn pattern_stats<'py>(py: Python<'py>, cache: &str) -> PyResult<Bound<'py, PyAny>> {
    let told = metrics::find(cache).map_or_else(Vec::new, |metrics| metrics.patterns());
    Ok(pythonize::pythonize(py, &told)?)
}

/// The pattern of a key that has neither prefix nor version nor scope: its ids are `*`, and it has six segments at most.
#[pyfunction]
#[pyo3(signature = (key, /))]
pub(super) fn key_pattern(key: &Bound<'_, PyString>) -> String {
    metrics::key_pattern(&key.to_string_lossy())
}
