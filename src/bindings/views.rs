//! `_cache` and `_expiry_times`: live views of one table, as document 000 and its callers use them.
//!
//! Here are the five operations that a mapping needs, and `pop`, which must be one step. The rest (`get`, `items`,
//! `update`, ...) comes from `collections.abc.MutableMapping` when the module is made.

use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyList, PyType};
use pyo3::{PyTraverseError, PyVisit};

use super::args::{Passed, TtlArg};
use super::cache::PyTtlCache;
use super::clock as python_clock;
use super::keys;
use super::outside;
use super::shared::{Extra, Mode, PyTable, Shared, TableGuard};
use crate::engine::{Nanos, Slot};

/// `TTLCache._cache`: key -> value, the next to be evicted first. Reading neither counts nor touches.
#[pyclass(frozen, generic, module = "oxicache._native")]
pub(super) struct EntriesView {
    cache: Py<PyTtlCache>,
}

/// `TTLCache._expiry_times`: key -> wall-clock second of expiry (inf for never). Popping removes the entry.
#[pyclass(frozen, generic, module = "oxicache._native")]
pub(super) struct DeadlinesView {
    cache: Py<PyTtlCache>,
}

impl EntriesView {
    pub(super) fn new(cache: &Bound<'_, PyTtlCache>) -> Self {
        Self {
            cache: cache.clone().unbind(),
        }
    }

    fn shared(&self) -> &Shared {
        &self.cache.get().shared
    }
}

impl DeadlinesView {
    pub(super) fn new(cache: &Bound<'_, PyTtlCache>) -> Self {
        Self {
            cache: cache.clone().unbind(),
        }
    }

    fn shared(&self) -> &Shared {
        &self.cache.get().shared
    }
}

fn key_error(key: &Bound<'_, PyAny>) -> PyErr {
    PyKeyError::new_err(key.clone().unbind())
}

fn held_keys<'py>(py: Python<'py>, shared: &Shared) -> PyResult<Bound<'py, PyIterator>> {
    PyList::new(
        py,
        held(py, shared, |table, slot| table.key(slot).clone_ref(py)),
    )?
    .try_iter()
}

fn held_deadlines(shared: &Shared, py: Python<'_>) -> Vec<(Py<PyAny>, Nanos)> {
    held(py, shared, |table, slot| {
        (table.key(slot).clone_ref(py), table.deadline(slot))
    })
}

/// The slot of what is held under a key, expired or not; what is outdated is not shown.
fn held_slot<'a>(
    key: &Bound<'_, PyAny>,
    shared: &'a Shared,
) -> PyResult<(TableGuard<'a>, Option<Slot>)> {
    let hash = keys::hash_of(key)?;
    python_clock::heed(key.py());
    let (table, slot) = shared.locate(key, hash)?;
    let slot = slot.filter(|&slot| !table.is_outdated(slot));
    Ok((table, slot))
}

fn is_held(key: &Bound<'_, PyAny>, shared: &Shared) -> PyResult<bool> {
    Ok(held_slot(key, shared)?.1.is_some())
}

fn held_value(key: &Bound<'_, PyAny>, shared: &Shared) -> PyResult<Option<Py<PyAny>>> {
    let (table, slot) = held_slot(key, shared)?;
    Ok(slot.map(|slot| table.value(slot).clone_ref(key.py())))
}

fn held_deadline(key: &Bound<'_, PyAny>, shared: &Shared) -> PyResult<Option<f64>> {
    let deadline = {
        let (table, slot) = held_slot(key, shared)?;
        slot.map(|slot| table.deadline(slot))
    };
    deadline
        .map(|deadline| python_clock::wall(key.py(), deadline))
        .transpose()
}

/// Everything that is held and not outdated, the next to be evicted first, as it is now. O(n).
fn held<T>(py: Python<'_>, shared: &Shared, of: impl Fn(&PyTable, Slot) -> T) -> Vec<T> {
    python_clock::heed(py);
    let table = shared.cache.lock();
    table
        .slots()
        .into_iter()
        .filter(|&slot| !table.is_outdated(slot))
        .map(|slot| of(&table, slot))
        .collect()
}

/// How many that are. O(1) where nothing can be outdated.
fn held_count(py: Python<'_>, shared: &Shared) -> usize {
    python_clock::heed(py);
    let is_stamped = shared.cache.lock().is_stamped();
    if is_stamped {
        held(py, shared, |_, _| ()).len()
    } else {
        shared.cache.lock().len()
    }
}

#[pymethods]
impl EntriesView {
    fn __getitem__(&self, key: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        held_value(key, self.shared())?.ok_or_else(|| key_error(key))
    }

    fn __setitem__(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.shared().store(
            key,
            value,
            Mode::Write,
            Extra {
                ttl: TtlArg::Omitted,
                tags: &[],
                cost: 0,
                stamps: &[],
            },
        )?;
        Ok(())
    }

    fn __delitem__(&self, key: &Bound<'_, PyAny>) -> PyResult<()> {
        self.shared()
            .delete(key)?
            .value
            .map(drop)
            .ok_or_else(|| key_error(key))
    }

    fn __contains__(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        is_held(key, self.shared())
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        held_count(py, self.shared())
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        held_keys(py, self.shared())
    }

    /// Remove an entry and return its value, expired or not.
    #[pyo3(signature = (key, default=Passed::No))]
    fn pop(&self, key: &Bound<'_, PyAny>, default: Passed<Py<PyAny>>) -> PyResult<Py<PyAny>> {
        match self.shared().delete(key)?.value {
            Some(value) => Ok(value),
            None => default.or_key_error(key),
        }
    }

    /// The (key, value) pairs as they are now. A list: entries may come and go meanwhile. O(n).
    fn items<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let pair = |table: &PyTable, slot| {
            (
                table.key(slot).clone_ref(py),
                table.value(slot).clone_ref(py),
            )
        };
        PyList::new(py, held(py, self.shared(), pair))
    }

    /// The values as they are now. O(n).
    fn values<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(
            py,
            held(py, self.shared(), |table, slot| {
                table.value(slot).clone_ref(py)
            }),
        )
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.cache)
    }

    /// Remove every entry at once.
    fn clear(&self, py: Python<'_>) {
        self.shared().clear(py);
    }

    /// Remove the entry that is next to be evicted and return it; KeyError when there is none. O(n).
    fn popitem(&self, py: Python<'_>) -> PyResult<(Py<PyAny>, Py<PyAny>)> {
        let gone = self.shared().pop_next(py);
        let gone = gone.ok_or_else(|| PyKeyError::new_err("popitem(): the cache is empty"))?;
        let item = (gone.key.clone_ref(py), gone.value.clone_ref(py));
        self.shared().removed(py, [gone]);
        Ok(item)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        view_repr(slf.as_any())
    }
}

#[pymethods]
impl DeadlinesView {
    fn __getitem__(&self, key: &Bound<'_, PyAny>) -> PyResult<f64> {
        held_deadline(key, self.shared())?.ok_or_else(|| key_error(key))
    }

    /// Move an entry's deadline to a wall-clock second; KeyError without an entry.
    fn __setitem__(&self, key: &Bound<'_, PyAny>, at: f64) -> PyResult<()> {
        let deadline = python_clock::from_wall(key.py(), at)?;
        let now = python_clock::now(key.py())?;
        let (mut table, slot) = held_slot(key, self.shared())?;
        let slot = slot.ok_or_else(|| key_error(key))?;
        self.shared().postpone(&mut table, slot, now, deadline);
        Ok(())
    }

    fn __delitem__(&self, key: &Bound<'_, PyAny>) -> PyResult<()> {
        self.shared()
            .delete(key)?
            .value
            .map(drop)
            .ok_or_else(|| key_error(key))
    }

    fn __contains__(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        is_held(key, self.shared())
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        held_count(py, self.shared())
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        held_keys(py, self.shared())
    }

    /// Remove an entry and return its wall-clock second of expiry.
    #[pyo3(signature = (key, default=Passed::No))]
    fn pop(&self, key: &Bound<'_, PyAny>, default: Passed<Py<PyAny>>) -> PyResult<Py<PyAny>> {
        let deadline = held_deadline(key, self.shared())?;
        let removed = self.shared().delete(key)?;
        match deadline {
            Some(at) if removed.value.is_some() => {
                Ok(at.into_pyobject(key.py())?.into_any().unbind())
            }
            _ => default.or_key_error(key),
        }
    }

    /// The (key, second of expiry) pairs as they are now. A list: entries may come and go meanwhile. O(n).
    fn items<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let items = held_deadlines(self.shared(), py);
        let mut shown = Vec::with_capacity(items.len());
        for (key, deadline) in items {
            shown.push((key, python_clock::wall(py, deadline)?));
        }
        PyList::new(py, shown)
    }

    /// The seconds of expiry as they are now. O(n).
    fn values<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let deadlines = held(py, self.shared(), PyTable::deadline);
        let shown: PyResult<Vec<f64>> = deadlines
            .into_iter()
            .map(|at| python_clock::wall(py, at))
            .collect();
        PyList::new(py, shown?)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.cache)
    }

    /// Remove every entry at once.
    fn clear(&self, py: Python<'_>) {
        self.shared().clear(py);
    }

    /// Remove the entry that is next to be evicted; its key and second of expiry, KeyError when there is none. O(n).
    fn popitem(&self, py: Python<'_>) -> PyResult<(Py<PyAny>, f64)> {
        let next = held_deadlines(self.shared(), py).into_iter().next();
        let (key, deadline) =
            next.ok_or_else(|| PyKeyError::new_err("popitem(): the cache is empty"))?;
        self.shared().delete(key.bind(py))?;
        Ok((key, python_clock::wall(py, deadline)?))
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        view_repr(slf.as_any())
    }
}

fn view_repr(view: &Bound<'_, PyAny>) -> PyResult<String> {
    let dict = view.py().get_type::<pyo3::types::PyDict>();
    let items = view.call_method0("items")?;
    let content = outside::repr(&outside::call_with(&dict, (items,))?)?;
    Ok(format!("{}({content})", view.get_type().name()?))
}

/// Give `view` what `collections.abc.<base>` offers beyond its own methods, and make it an instance of it.
pub(super) fn complete(view: &Bound<'_, PyType>, base: &str, methods: &[&str]) -> PyResult<()> {
    let base = view.py().import("collections.abc")?.getattr(base)?;
    base.call_method1("register", (view,))?;
    for method in methods {
        view.setattr(*method, base.getattr(*method)?)?;
    }
    Ok(())
}

/// What `MutableMapping` offers beyond what the views define.
pub(super) const MAPPING_METHODS: &[&str] = &["get", "keys", "update", "setdefault", "__eq__"];
