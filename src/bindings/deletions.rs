//! `ProjectDeletionTracker`: ids being deleted, any hashable, by wall-clock time that callers may patch.

use std::sync::Arc;

use parking_lot::Mutex;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyBool;

use super::clock::python_time;
use super::outside;
use super::tracked::Tracked;
use super::tracker_views::{DeletionSetView, TimestampsView};
use crate::engine::DeletionTracker;

/// Thread-safe tracker for projects being deleted. Source: API reference (akvo), "ProjectDeletionTracker".
///
/// An id stays until `discard`, or until it is older than `_cleanup_threshold` (3600 s); ids inside an open `deleting()`
/// stay for as long as that is open.
#[pyclass(
    frozen,
    weakref,
    name = "ProjectDeletionTracker",
    module = "oxicache._native"
)]
pub(super) struct PyDeletionTracker {
    tracked: Arc<Tracked>,
}

/// What `deleting()` returns: the id is tracked from `__enter__` to `__exit__`.
#[pyclass(frozen, module = "oxicache._native")]
pub(super) struct Deleting {
    tracked: Arc<Tracked>,
    id: Py<PyAny>,
}

#[pymethods]
impl PyDeletionTracker {
    /// A tracker with a threshold of one hour. Most code uses the process-wide `DELETION_SET`.
    #[new]
    pub(super) fn new(py: Python<'_>) -> PyResult<Self> {
        let tracker = Mutex::new(DeletionTracker::new(python_time(py)?));
        Ok(Self {
            tracked: Arc::new(Tracked {
                tracker,
                python_lock: PyOnceLock::new(),
            }),
        })
    }

    /// Track an id, or renew its time. O(1); now and then O(n), when stale ids are dropped.
    fn add(&self, project_id: &Bound<'_, PyAny>) -> PyResult<()> {
        self.tracked.add(project_id, false)
    }

    /// End tracking an id; nothing happens when it is not tracked. Inside `deleting()` it stays until that ends.
    fn discard(&self, project_id: &Bound<'_, PyAny>) -> PyResult<()> {
        match self.tracked.drop_id(project_id, false) {
            Err(error) if error.is_instance_of::<PyTypeError>(project_id.py()) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Is this id being deleted? False for what cannot be an id.
    fn __contains__(&self, project_id: &Bound<'_, PyAny>) -> PyResult<bool> {
        match self.tracked.contains(project_id) {
            Err(error) if error.is_instance_of::<PyTypeError>(project_id.py()) => Ok(false),
            other => other,
        }
    }

    /// Drop ids older than the threshold; how many. Source: API reference (akvo), "`force_cleanup`".
    fn force_cleanup(&self, py: Python<'_>) -> PyResult<usize> {
        let at = python_time(py)?;
        let stale = self.tracked.tracker.lock().sweep(at);
        Ok(stale.len())
    }

    /// The ids that `force_cleanup` would drop, in no order. O(ids).
    fn _stale_ids(&self, py: Python<'_>) -> PyResult<Vec<Py<PyAny>>> {
        let at = python_time(py)?;
        let tracker = self.tracked.tracker.lock();
        Ok(tracker.stale(at).map(|id| id.clone_ref(py)).collect())
    }

    /// Drop every id; how many.
    fn clear_all(&self) -> usize {
        let gone = self.tracked.tracker.lock().clear();
        gone.len()
    }

    /// `with DELETION_SET.deleting(instance):` tracks its pk (or the id itself) until the block ends.
    ///
    /// The pk is taken now: Django sets `instance.pk` to None once it is deleted. Blocks on one id may nest and overlap.
    /// `ValueError` for an instance without a pk: it was never saved.
    fn deleting(&self, project: &Bound<'_, PyAny>) -> PyResult<Deleting> {
        let py = project.py();
        let id = match outside::attribute_if_any(project, intern!(py, "pk"))? {
            Some(pk) if pk.is_none() => {
                return Err(PyValueError::new_err(format!(
                    "deleting() needs a saved instance or an id; {} has no pk",
                    outside::repr(project)?
                )));
            }
            Some(pk) => pk,
            None => project.clone(),
        };
        outside::hash(&id)?;
        Ok(Deleting {
            tracked: self.tracked.clone(),
            id: id.unbind(),
        })
    }

    fn _maybe_cleanup(&self, py: Python<'_>) -> PyResult<()> {
        let at = python_time(py)?;
        let stale = self.tracked.tracker.lock().auto_sweep(at);
        drop(stale);
        Ok(())
    }

    fn _cleanup_stale_entries(&self, current_time: f64) {
        let stale = self.tracked.tracker.lock().sweep(current_time);
        drop(stale);
    }

    fn __repr__(&self) -> String {
        format!(
            "<ProjectDeletionTracker tracked={}>",
            self.tracked.tracker.lock().len()
        )
    }

    #[getter(_deletion_set)]
    fn deletion_set(&self) -> DeletionSetView {
        DeletionSetView {
            tracked: self.tracked.clone(),
        }
    }

    #[getter(_timestamps)]
    fn timestamps(&self) -> TimestampsView {
        TimestampsView {
            tracked: self.tracked.clone(),
        }
    }

    /// A lock for callers that read several figures; the tracker itself neither needs nor takes it.
    #[getter(_lock)]
    fn python_lock(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let lock = self.tracked.python_lock.get_or_try_init(py, || {
            Ok::<_, PyErr>(
                py.import(intern!(py, "threading"))?
                    .call_method0(intern!(py, "Lock"))?
                    .unbind(),
            )
        })?;
        Ok(lock.clone_ref(py))
    }

    #[getter(_cleanup_threshold)]
    fn threshold(&self) -> f64 {
        self.tracked.tracker.lock().threshold()
    }

    #[setter(_cleanup_threshold)]
    fn set_threshold(&self, threshold: &Bound<'_, PyAny>) -> PyResult<()> {
        let seconds = if threshold.is_instance_of::<PyBool>() {
            None
        } else {
            outside::float(threshold).ok()
        };
        match seconds {
            Some(seconds) if seconds >= 0.0 => {
                self.tracked.tracker.lock().set_threshold(seconds);
                Ok(())
            }
            Some(_) => Err(PyValueError::new_err(format!(
                "_cleanup_threshold must be at least 0 seconds, not {}",
                outside::repr(threshold)?
            ))),
            None => Err(PyTypeError::new_err(format!(
                "_cleanup_threshold must be seconds as int or float, not {}",
                outside::repr(threshold)?
            ))),
        }
    }

    #[getter(_last_cleanup)]
    fn last_cleanup(&self) -> f64 {
        self.tracked.tracker.lock().last_cleanup()
    }

    #[setter(_last_cleanup)]
    fn set_last_cleanup(&self, at: f64) {
        self.tracked.tracker.lock().set_last_cleanup(at);
    }
}

#[pymethods]
impl Deleting {
    fn __enter__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.tracked.add(self.id.bind(py), true)?;
        Ok(self.id.clone_ref(py))
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(
        &self,
        py: Python<'_>,
        _exception: &Bound<'_, pyo3::types::PyTuple>,
    ) -> PyResult<bool> {
        self.tracked.drop_id(self.id.bind(py), true)?;
        Ok(false)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("<deleting {}>", outside::repr(self.id.bind(py))?))
    }
}
