//! `_deletion_set` and `_timestamps`: live views of one tracker, as document 000 and its callers use them.
//!
//! What a view does not define comes from `collections.abc` when the module is made.

use std::sync::Arc;

use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::PyIterator;

use super::args::Passed;
use super::keys;
use super::tracked::Tracked;

/// `_deletion_set`: the tracked ids. Live.
#[pyclass(frozen, module = "oxicache._native")]
pub(super) struct DeletionSetView {
    pub(super) tracked: Arc<Tracked>,
}

/// `_timestamps`: id -> wall-clock second it was last added. Live.
#[pyclass(frozen, module = "oxicache._native")]
pub(super) struct TimestampsView {
    pub(super) tracked: Arc<Tracked>,
}

#[pymethods]
impl DeletionSetView {
    fn __contains__(&self, id: &Bound<'_, PyAny>) -> PyResult<bool> {
        self.tracked.contains(id)
    }

    fn __len__(&self) -> usize {
        self.tracked.tracker.lock().len()
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        self.tracked.ids(py)
    }

    fn add(&self, id: &Bound<'_, PyAny>) -> PyResult<()> {
        self.tracked.add(id, false)
    }

    fn discard(&self, id: &Bound<'_, PyAny>) -> PyResult<()> {
        self.tracked.drop_id(id, false).map(drop)
    }

    /// End tracking an id; KeyError when it is not tracked.
    fn remove(&self, id: &Bound<'_, PyAny>) -> PyResult<()> {
        if self.tracked.drop_id(id, false)? {
            Ok(())
        } else {
            Err(PyKeyError::new_err(id.clone().unbind()))
        }
    }

    /// End tracking any one id and return it; KeyError when there is none but those inside `deleting()`.
    fn pop(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let taken = self.tracked.take_any(py);
        taken
            .map(|(id, _)| id)
            .ok_or_else(|| PyKeyError::new_err("pop from an empty set"))
    }

    /// End tracking every id but those inside `deleting()`.
    fn clear(&self) {
        self.tracked.clear();
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let content = slf.py().get_type::<pyo3::types::PySet>().call1((slf,))?;
        Ok(format!("DeletionSetView({})", content.repr()?))
    }

    #[staticmethod]
    fn _from_iterable<'py>(ids: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        ids.py().get_type::<pyo3::types::PySet>().call1((ids,))
    }
}

#[pymethods]
impl TimestampsView {
    fn __getitem__(&self, id: &Bound<'_, PyAny>) -> PyResult<f64> {
        let (tracker, slot) = self.tracked.locate(id, keys::hash_of(id)?)?;
        slot.map(|slot| tracker.stamp(slot))
            .ok_or_else(|| PyKeyError::new_err(id.clone().unbind()))
    }

    /// Set when an id was added; an id not yet tracked is tracked from then on.
    fn __setitem__(&self, id: &Bound<'_, PyAny>, at: f64) -> PyResult<()> {
        let hash = keys::hash_of(id)?;
        let (mut tracker, slot) = self.tracked.locate(id, hash)?;
        let refused = match slot {
            Some(slot) => {
                tracker.set_stamp(slot, at);
                None
            }
            None => tracker.add(hash, None, id.clone().unbind(), at),
        };
        drop(tracker);
        drop(refused);
        Ok(())
    }

    fn __delitem__(&self, id: &Bound<'_, PyAny>) -> PyResult<()> {
        if self.tracked.drop_id(id, false)? {
            Ok(())
        } else {
            Err(PyKeyError::new_err(id.clone().unbind()))
        }
    }

    fn __contains__(&self, id: &Bound<'_, PyAny>) -> PyResult<bool> {
        self.tracked.contains(id)
    }

    fn __len__(&self) -> usize {
        self.tracked.tracker.lock().len()
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        self.tracked.ids(py)
    }

    /// End tracking an id and return the second it was added.
    #[pyo3(signature = (id, default=Passed::No))]
    fn pop(&self, id: &Bound<'_, PyAny>, default: Passed<Py<PyAny>>) -> PyResult<Py<PyAny>> {
        let at = {
            let (tracker, slot) = self.tracked.locate(id, keys::hash_of(id)?)?;
            slot.map(|slot| tracker.stamp(slot))
        };
        match at {
            Some(at) if self.tracked.drop_id(id, false)? => {
                Ok(at.into_pyobject(id.py())?.into_any().unbind())
            }
            _ => default.or_key_error(id),
        }
    }

    /// End tracking any one id; KeyError when there is none but those inside `deleting()`.
    fn popitem(&self, py: Python<'_>) -> PyResult<(Py<PyAny>, f64)> {
        let taken = self.tracked.take_any(py);
        taken.ok_or_else(|| PyKeyError::new_err("popitem(): dictionary is empty"))
    }

    /// End tracking every id but those inside `deleting()`.
    fn clear(&self) {
        self.tracked.clear();
    }

    /// The (id, second it was added) pairs as they are now. A list: ids may come and go meanwhile. O(n).
    fn items(&self, py: Python<'_>) -> Vec<(Py<PyAny>, f64)> {
        let tracker = self.tracked.tracker.lock();
        let slots = tracker.slots().into_iter();
        slots
            .map(|slot| (tracker.key(slot).clone_ref(py), tracker.stamp(slot)))
            .collect()
    }

    /// The seconds as they are now. O(n).
    fn values(&self) -> Vec<f64> {
        let tracker = self.tracked.tracker.lock();
        tracker
            .slots()
            .into_iter()
            .map(|slot| tracker.stamp(slot))
            .collect()
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let content = slf
            .py()
            .get_type::<pyo3::types::PyDict>()
            .call1((slf.call_method0("items")?,))?;
        Ok(format!("TimestampsView({})", content.repr()?))
    }
}

/// What `MutableMapping` and `MutableSet` offer beyond what the views define.
pub(super) const MAPPING_METHODS: &[&str] = &["get", "keys", "update", "setdefault", "__eq__"];
pub(super) const SET_METHODS: &[&str] = &[
    "isdisjoint",
    "__le__",
    "__lt__",
    "__eq__",
    "__gt__",
    "__ge__",
    "__and__",
    "__or__",
    "__sub__",
    "__xor__",
    "__ior__",
    "__iand__",
    "__isub__",
    "__ixor__",
];
