//! `_cache` and `_expiry_times`: live views of one table, as document 000 and its callers use them.
//!
//! Here are the five operations that a mapping needs, and `pop`, which must be one step. The rest (`get`, `items`,
//! `update`, ...) comes from `collections.abc.MutableMapping` when the module is made.

use std::sync::Arc;

use pyo3::exceptions::{PyKeyError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyList, PyTuple, PyType};

use super::args::TtlArg;
use super::clock as python_clock;
use super::keys;
use super::shared::{Extra, Mode, Shared};

/// `TTLCache._cache`: key -> value, the next to be evicted first. Reading neither counts nor touches.
#[pyclass(frozen, generic, module = "oxicache._native")]
pub(super) struct EntriesView {
    shared: Arc<Shared>,
}

/// `TTLCache._expiry_times`: key -> wall-clock second of expiry (inf for never). Popping removes the entry.
#[pyclass(frozen, generic, module = "oxicache._native")]
pub(super) struct DeadlinesView {
    shared: Arc<Shared>,
}

impl EntriesView {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl DeadlinesView {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

fn key_error(key: &Bound<'_, PyAny>) -> PyErr {
    PyKeyError::new_err(key.clone().unbind())
}

fn held_keys<'py>(py: Python<'py>, shared: &Shared) -> PyResult<Bound<'py, PyIterator>> {
    let keys: Vec<Py<PyAny>> = {
        let table = shared.cache.lock();
        table
            .slots()
            .into_iter()
            .map(|slot| table.key(slot).clone_ref(py))
            .collect()
    };
    PyList::new(py, keys)?.try_iter()
}

fn is_held(key: &Bound<'_, PyAny>, shared: &Shared) -> PyResult<bool> {
    Ok(shared.locate(key, keys::hash_of(key)?)?.1.is_some())
}

fn held_value(key: &Bound<'_, PyAny>, shared: &Shared) -> PyResult<Option<Py<PyAny>>> {
    let (table, slot) = shared.locate(key, keys::hash_of(key)?)?;
    Ok(slot.map(|slot| table.value(slot).clone_ref(key.py())))
}

fn held_deadline(key: &Bound<'_, PyAny>, shared: &Shared) -> PyResult<Option<f64>> {
    let deadline = {
        let (table, slot) = shared.locate(key, keys::hash_of(key)?)?;
        slot.map(|slot| table.deadline(slot))
    };
    deadline
        .map(|deadline| python_clock::wall(key.py(), deadline))
        .transpose()
}

fn default_of<'py>(key: &Bound<'py, PyAny>, default: &Bound<'py, PyTuple>) -> PyResult<Py<PyAny>> {
    match default.len() {
        0 => Err(key_error(key)),
        1 => Ok(default.get_item(0)?.unbind()),
        _ => Err(PyTypeError::new_err(
            "pop() takes a key and at most one default",
        )),
    }
}

#[pymethods]
impl EntriesView {
    fn __getitem__(&self, key: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        held_value(key, &self.shared)?.ok_or_else(|| key_error(key))
    }

    fn __setitem__(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.shared.store(
            key,
            value,
            Mode::Write,
            Extra {
                ttl: TtlArg::Omitted,
                tags: &[],
                cost: 0,
            },
        )?;
        Ok(())
    }

    fn __delitem__(&self, key: &Bound<'_, PyAny>) -> PyResult<()> {
        self.shared
            .delete(key)?
            .value
            .map(drop)
            .ok_or_else(|| key_error(key))
    }

    fn __contains__(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        is_held(key, &self.shared)
    }

    fn __len__(&self) -> usize {
        self.shared.cache.lock().len()
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        held_keys(py, &self.shared)
    }

    /// Remove an entry and return its value, expired or not.
    #[pyo3(signature = (key, *default))]
    fn pop(&self, key: &Bound<'_, PyAny>, default: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
        match self.shared.delete(key)?.value {
            Some(value) => Ok(value),
            None => default_of(key, default),
        }
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        view_repr(slf.as_any())
    }
}

#[pymethods]
impl DeadlinesView {
    fn __getitem__(&self, key: &Bound<'_, PyAny>) -> PyResult<f64> {
        held_deadline(key, &self.shared)?.ok_or_else(|| key_error(key))
    }

    /// Move an entry's deadline to a wall-clock second; KeyError without an entry.
    fn __setitem__(&self, key: &Bound<'_, PyAny>, at: f64) -> PyResult<()> {
        let deadline = python_clock::from_wall(key.py(), at)?;
        let (mut table, slot) = self.shared.locate(key, keys::hash_of(key)?)?;
        let slot = slot.ok_or_else(|| key_error(key))?;
        table.retime(slot, deadline, true);
        Ok(())
    }

    fn __delitem__(&self, key: &Bound<'_, PyAny>) -> PyResult<()> {
        self.shared
            .delete(key)?
            .value
            .map(drop)
            .ok_or_else(|| key_error(key))
    }

    fn __contains__(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        is_held(key, &self.shared)
    }

    fn __len__(&self) -> usize {
        self.shared.cache.lock().len()
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        held_keys(py, &self.shared)
    }

    /// Remove an entry and return its wall-clock second of expiry.
    #[pyo3(signature = (key, *default))]
    fn pop(&self, key: &Bound<'_, PyAny>, default: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
        match held_deadline(key, &self.shared)? {
            Some(at) if self.shared.delete(key)?.value.is_some() => {
                Ok(at.into_pyobject(key.py())?.into_any().unbind())
            }
            _ => default_of(key, default),
        }
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        view_repr(slf.as_any())
    }
}

fn view_repr(view: &Bound<'_, PyAny>) -> PyResult<String> {
    let content = view
        .py()
        .get_type::<pyo3::types::PyDict>()
        .call1((view.call_method0("items")?,))?;
    Ok(format!("{}({})", view.get_type().name()?, content.repr()?))
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
pub(super) const MAPPING_METHODS: &[&str] = &[
    "get",
    "keys",
    "values",
    "items",
    "popitem",
    "clear",
    "update",
    "setdefault",
    "__eq__",
];
