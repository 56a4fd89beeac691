//! The instances whose decorated calls a cache holds: their entries go when they die.

use std::collections::HashMap;
use std::sync::Weak;

use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};

use super::memo_key::{MemoKey, Owner};

/// By address, the references that tell of an instance's death.
#[derive(Default)]
pub(super) struct Owners {
    watched: Mutex<HashMap<usize, Py<PyWeakrefReference>>>,
}

/// What loses entries when an instance dies.
pub(super) trait Bereaved: Send + Sync {
    fn owners(&self) -> &Owners;
    /// Remove the entries of the instance that was at this address.
    fn bury(&self, py: Python<'_>, address: u64);
}

/// Removes an instance's entries when it dies.
#[pyclass(frozen, module = "oxicache._native")]
struct Mourner {
    bereaved: Weak<dyn Bereaved>,
    address: usize,
}

#[pymethods]
impl Mourner {
    fn __call__(&self, py: Python<'_>, reference: &Bound<'_, PyWeakrefReference>) {
        let Some(bereaved) = self.bereaved.upgrade() else {
            return;
        };
        let known = {
            let mut watched = bereaved.owners().watched.lock();
            match watched.get(&self.address) {
                Some(known) if known.is(reference) => watched.remove(&self.address),
                _ => None,
            }
        };
        if known.is_some() {
            bereaved.bury(py, self.address as u64);
        }
    }
}

impl Owners {
    /// Be told when the instance behind a decorated call's key dies; its address is the tag of all its entries.
    pub(super) fn watch<B: Bereaved + 'static>(
        &self,
        key: &Bound<'_, PyAny>,
        bereaved: impl FnOnce() -> Weak<B>,
    ) -> PyResult<Option<u64>> {
        let Ok(key) = key.cast_exact::<MemoKey>() else {
            return Ok(None);
        };
        let (py, key) = (key.py(), key.get());
        let Owner::Weak(reference) = &key.owner else {
            return Ok(None);
        };
        let Some(instance) = reference.bind(py).upgrade() else {
            return Ok(None);
        };
        let watched = self
            .watched
            .lock()
            .get(&key.address)
            .map(|watched| watched.clone_ref(py));
        let is_watched = watched.is_some_and(|watched| {
            watched
                .bind(py)
                .upgrade()
                .is_some_and(|object| object.is(&instance))
        });
        if !is_watched {
            let mourner = Bound::new(
                py,
                Mourner {
                    bereaved: bereaved(),
                    address: key.address,
                },
            )?;
            let reference = PyWeakrefReference::new_with(&instance, mourner)?.unbind();
            let before = self.watched.lock().insert(key.address, reference);
            drop(before);
        }
        Ok(Some(key.address as u64))
    }

    /// Watch nobody any more.
    pub(super) fn forget(&self) {
        drop(self.take());
    }

    /// Watch nobody any more: the references that did.
    pub(super) fn take(&self) -> HashMap<usize, Py<PyWeakrefReference>> {
        std::mem::take(&mut *self.watched.lock())
    }

    /// As [`Owners::forget`], without waiting: for the garbage collector.
    pub(super) fn release(&self) {
        let watched = self
            .watched
            .try_lock()
            .map(|mut watched| std::mem::take(&mut *watched));
        drop(watched);
    }
}
