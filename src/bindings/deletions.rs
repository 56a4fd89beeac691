//! `ProjectDeletionTracker`: ids being deleted, any hashable, by wall-clock time that callers may patch.

// Long because the tracker's views reach into its private state.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use pyo3::exceptions::{PyKeyError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyIterator, PyList};

use super::clock::python_time;
use super::keys;
use crate::engine::{DeletionTracker, Slot};

type PyTracker = DeletionTracker<Py<PyAny>>;

struct State {
    tracker: Mutex<PyTracker>,
    python_lock: PyOnceLock<Py<PyAny>>,
}

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
    state: Arc<State>,
}

/// `_deletion_set`: the tracked ids. Live.
#[pyclass(frozen, module = "oxicache._native")]
pub(super) struct DeletionSetView {
    state: Arc<State>,
}

/// `_timestamps`: id -> wall-clock second it was last added. Live.
#[pyclass(frozen, module = "oxicache._native")]
pub(super) struct TimestampsView {
    state: Arc<State>,
}

/// What `deleting()` returns: the id is tracked from `__enter__` to `__exit__`.
#[pyclass(frozen, module = "oxicache._native")]
pub(super) struct Deleting {
    state: Arc<State>,
    id: Py<PyAny>,
}

impl State {
    fn locate(
        &self,
        id: &Bound<'_, PyAny>,
        hash: u64,
    ) -> PyResult<(MutexGuard<'_, PyTracker>, Option<Slot>)> {
        keys::locate(|| self.tracker.lock(), id, hash)
    }

    fn add(&self, id: &Bound<'_, PyAny>, is_hold: bool) -> PyResult<()> {
        let hash = keys::hash_of(id)?;
        let at = python_time(id.py())?;
        let (mut tracker, slot) = self.locate(id, hash)?;
        let key = id.clone().unbind();
        let refused = if is_hold {
            tracker.hold(hash, slot, key, at)
        } else {
            tracker.add(hash, slot, key, at)
        };
        let stale = tracker.auto_sweep(at);
        drop(tracker);
        drop((refused, stale));
        Ok(())
    }

    fn drop_id(&self, id: &Bound<'_, PyAny>, is_hold: bool) -> PyResult<bool> {
        let hash = keys::hash_of(id)?;
        let (mut tracker, slot) = self.locate(id, hash)?;
        let Some(slot) = slot else { return Ok(false) };
        let gone = if is_hold {
            tracker.release(slot)
        } else {
            tracker.discard(slot)
        };
        drop(tracker);
        drop(gone);
        Ok(true)
    }

    fn contains(&self, id: &Bound<'_, PyAny>) -> PyResult<bool> {
        Ok(self.locate(id, keys::hash_of(id)?)?.1.is_some())
    }

    fn ids<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        let ids: Vec<Py<PyAny>> = {
            let tracker = self.tracker.lock();
            tracker
                .slots()
                .into_iter()
                .map(|slot| tracker.key(slot).clone_ref(py))
                .collect()
        };
        PyList::new(py, ids)?.try_iter()
    }
}

#[pymethods]
impl PyDeletionTracker {
    /// A tracker with a threshold of one hour. Most code uses the process-wide `DELETION_SET`.
    #[new]
    pub(super) fn new(py: Python<'_>) -> PyResult<Self> {
        let tracker = Mutex::new(DeletionTracker::new(python_time(py)?));
        Ok(Self {
            state: Arc::new(State {
                tracker,
                python_lock: PyOnceLock::new(),
            }),
        })
    }

    /// Track an id, or renew its time. O(1); now and then O(n), when stale ids are dropped.
    fn add(&self, project_id: &Bound<'_, PyAny>) -> PyResult<()> {
        self.state.add(project_id, false)
    }

    /// End tracking an id; nothing happens when it is not tracked. Inside `deleting()` it stays until that ends.
    fn discard(&self, project_id: &Bound<'_, PyAny>) -> PyResult<()> {
        match self.state.drop_id(project_id, false) {
            Err(error) if error.is_instance_of::<PyTypeError>(project_id.py()) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Is this id being deleted? False for what cannot be an id.
    fn __contains__(&self, project_id: &Bound<'_, PyAny>) -> PyResult<bool> {
        match self.state.contains(project_id) {
            Err(error) if error.is_instance_of::<PyTypeError>(project_id.py()) => Ok(false),
            other => other,
        }
    }

    /// Drop ids older than the threshold; how many. Source: API reference (akvo), "`force_cleanup`".
    fn force_cleanup(&self, py: Python<'_>) -> PyResult<usize> {
        let at = python_time(py)?;
        let stale = self.state.tracker.lock().sweep(at);
        Ok(stale.len())
    }

    /// Drop every id; how many.
    fn clear_all(&self) -> usize {
        let gone = self.state.tracker.lock().clear();
        gone.len()
    }

    /// `with DELETION_SET.deleting(instance):` tracks its pk (or the id itself) until the block ends.
    ///
    /// The pk is taken now: Django sets `instance.pk` to None once it is deleted. Blocks on one id may nest and overlap.
    /// `ValueError` for an instance without a pk: it was never saved.
    fn deleting(&self, project: &Bound<'_, PyAny>) -> PyResult<Deleting> {
        let py = project.py();
        let id = match project.getattr_opt(intern!(py, "pk"))? {
            Some(pk) if pk.is_none() => {
                return Err(PyValueError::new_err(format!(
                    "deleting() needs a saved instance or an id; {} has no pk",
                    project.repr()?
                )));
            }
            Some(pk) => pk,
            None => project.clone(),
        };
        id.hash()?;
        Ok(Deleting {
            state: self.state.clone(),
            id: id.unbind(),
        })
    }

    fn _maybe_cleanup(&self, py: Python<'_>) -> PyResult<()> {
        let at = python_time(py)?;
        let stale = self.state.tracker.lock().auto_sweep(at);
        drop(stale);
        Ok(())
    }

    fn _cleanup_stale_entries(&self, current_time: f64) {
        let stale = self.state.tracker.lock().sweep(current_time);
        drop(stale);
    }

    fn __repr__(&self) -> String {
        format!(
            "<ProjectDeletionTracker tracked={}>",
            self.state.tracker.lock().len()
        )
    }

    #[getter(_deletion_set)]
    fn deletion_set(&self) -> DeletionSetView {
        DeletionSetView {
            state: self.state.clone(),
        }
    }

    #[getter(_timestamps)]
    fn timestamps(&self) -> TimestampsView {
        TimestampsView {
            state: self.state.clone(),
        }
    }

    /// A lock for callers that read several figures; the tracker itself neither needs nor takes it.
    #[getter(_lock)]
    fn python_lock(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let lock = self.state.python_lock.get_or_try_init(py, || {
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
        self.state.tracker.lock().threshold()
    }

    #[setter(_cleanup_threshold)]
    fn set_threshold(&self, threshold: &Bound<'_, PyAny>) -> PyResult<()> {
        let seconds = if threshold.is_instance_of::<PyBool>() {
            None
        } else {
            threshold.extract::<f64>().ok()
        };
        match seconds {
            Some(seconds) if seconds >= 0.0 => {
                self.state.tracker.lock().set_threshold(seconds);
                Ok(())
            }
            Some(_) => Err(PyValueError::new_err(format!(
                "_cleanup_threshold must be at least 0 seconds, not {}",
                threshold.repr()?
            ))),
            None => Err(PyTypeError::new_err(format!(
                "_cleanup_threshold must be seconds as int or float, not {}",
                threshold.repr()?
            ))),
        }
    }

    #[getter(_last_cleanup)]
    fn last_cleanup(&self) -> f64 {
        self.state.tracker.lock().last_cleanup()
    }

    #[setter(_last_cleanup)]
    fn set_last_cleanup(&self, at: f64) {
        self.state.tracker.lock().set_last_cleanup(at);
    }
}

#[pymethods]
impl Deleting {
    fn __enter__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.state.add(self.id.bind(py), true)?;
        Ok(self.id.clone_ref(py))
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(
        &self,
        py: Python<'_>,
        _exception: &Bound<'_, pyo3::types::PyTuple>,
    ) -> PyResult<bool> {
        self.state.drop_id(self.id.bind(py), true)?;
        Ok(false)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("<deleting {}>", self.id.bind(py).repr()?))
    }
}

#[pymethods]
impl DeletionSetView {
    fn __contains__(&self, id: &Bound<'_, PyAny>) -> PyResult<bool> {
        self.state.contains(id)
    }

    fn __len__(&self) -> usize {
        self.state.tracker.lock().len()
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        self.state.ids(py)
    }

    fn add(&self, id: &Bound<'_, PyAny>) -> PyResult<()> {
        self.state.add(id, false)
    }

    fn discard(&self, id: &Bound<'_, PyAny>) -> PyResult<()> {
        self.state.drop_id(id, false).map(drop)
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
        let (tracker, slot) = self.state.locate(id, keys::hash_of(id)?)?;
        slot.map(|slot| tracker.stamp(slot))
            .ok_or_else(|| PyKeyError::new_err(id.clone().unbind()))
    }

    /// Set when an id was added; an id not yet tracked is tracked from then on.
    fn __setitem__(&self, id: &Bound<'_, PyAny>, at: f64) -> PyResult<()> {
        let hash = keys::hash_of(id)?;
        let (mut tracker, slot) = self.state.locate(id, hash)?;
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
        if self.state.drop_id(id, false)? {
            Ok(())
        } else {
            Err(PyKeyError::new_err(id.clone().unbind()))
        }
    }

    fn __contains__(&self, id: &Bound<'_, PyAny>) -> PyResult<bool> {
        self.state.contains(id)
    }

    fn __len__(&self) -> usize {
        self.state.tracker.lock().len()
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        self.state.ids(py)
    }

    /// The (id, second it was added) pairs as they are now. A list: ids may come and go meanwhile. O(n).
    fn items(&self, py: Python<'_>) -> Vec<(Py<PyAny>, f64)> {
        let tracker = self.state.tracker.lock();
        let slots = tracker.slots().into_iter();
        slots
            .map(|slot| (tracker.key(slot).clone_ref(py), tracker.stamp(slot)))
            .collect()
    }

    /// The seconds as they are now. O(n).
    fn values(&self) -> Vec<f64> {
        let tracker = self.state.tracker.lock();
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
pub(super) const MAPPING_METHODS: &[&str] = &[
    "get",
    "keys",
    "pop",
    "popitem",
    "clear",
    "update",
    "setdefault",
    "__eq__",
];
pub(super) const SET_METHODS: &[&str] = &[
    "remove",
    "pop",
    "clear",
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
