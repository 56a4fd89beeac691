//! The engine's deletion tracker over Python ids: what the tracker, its views and `deleting()` share.

use parking_lot::{Mutex, MutexGuard};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyIterator, PyList};

use super::clock::python_time;
use super::keys;
use crate::engine::{DeletionTracker, Slot};

type PyTracker = DeletionTracker<Py<PyAny>>;

/// The ids of one tracker, shared by it, its views and open `deleting()` blocks.
pub(super) struct Tracked {
    pub(super) tracker: Mutex<PyTracker>,
    pub(super) python_lock: PyOnceLock<Py<PyAny>>,
}

impl Tracked {
    pub(super) fn locate(
        &self,
        id: &Bound<'_, PyAny>,
        hash: u64,
    ) -> PyResult<(MutexGuard<'_, PyTracker>, Option<Slot>)> {
        keys::locate(|| self.tracker.lock(), id, hash)
    }

    pub(super) fn add(&self, id: &Bound<'_, PyAny>, is_hold: bool) -> PyResult<()> {
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

    pub(super) fn drop_id(&self, id: &Bound<'_, PyAny>, is_hold: bool) -> PyResult<bool> {
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

    /// End tracking any one id that no `deleting()` holds; the id and the second it was added.
    pub(super) fn take_any(&self, py: Python<'_>) -> Option<(Py<PyAny>, f64)> {
        let mut tracker = self.tracker.lock();
        let slots = tracker.slots();
        let slot = slots.into_iter().find(|&slot| tracker.holds(slot) == 0)?;
        let (id, at) = (tracker.key(slot).clone_ref(py), tracker.stamp(slot));
        let gone = tracker.discard(slot);
        drop(tracker);
        drop(gone);
        Some((id, at))
    }

    /// End tracking every id that no `deleting()` holds; how many.
    pub(super) fn clear(&self) -> usize {
        let gone = self.tracker.lock().clear();
        gone.len()
    }

    pub(super) fn contains(&self, id: &Bound<'_, PyAny>) -> PyResult<bool> {
        Ok(self.locate(id, keys::hash_of(id)?)?.1.is_some())
    }

    pub(super) fn ids<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
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
