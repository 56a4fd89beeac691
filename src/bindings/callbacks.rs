//! What a cache calls in Python: `sizeof` for an entry that comes, `on_evict` for one that is gone.
//!
//! Everything here runs Python code: hold no lock.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3::{PyTraverseError, PyVisit, intern};

use super::args;
use super::outside;
use crate::engine::Cause;

/// A cache's callbacks, where it was given any.
pub(super) struct Callbacks {
    pub(super) on_evict: Option<Py<PyAny>>,
    pub(super) sizeof: Option<Py<PyAny>>,
}

impl Callbacks {
    pub(super) fn are_none(&self) -> bool {
        self.on_evict.is_none() && self.sizeof.is_none()
    }

    pub(super) fn has(&self, callback: &Py<PyAny>) -> bool {
        [&self.on_evict, &self.sizeof]
            .into_iter()
            .flatten()
            .any(|own| own.is(callback))
    }

    /// An entry's size in bytes: what `sizeof` says, or what Python itself does.
    pub(super) fn weigh(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<u64> {
        let py = key.py();
        if let Some(sizeof) = &self.sizeof {
            return args::byte_count(&outside::call(
                sizeof.bind(py),
                &(key, value).into_pyobject(py)?,
                None,
            )?);
        }
        let sizeof = py
            .import(intern!(py, "sys"))?
            .getattr(intern!(py, "getsizeof"))?;
        let sizes: (u64, u64) = (
            sizeof.call1((key,))?.extract()?,
            sizeof.call1((value,))?.extract()?,
        );
        Ok(sizes.0.saturating_add(sizes.1))
    }

    /// Tell `on_evict`. What it raises is logged, under the cache's name.
    #[inline]
    pub(super) fn evicted(
        &self,
        key: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
        cause: Cause,
        name: impl FnOnce() -> Option<String>,
    ) {
        if let Some(on_evict) = &self.on_evict {
            let py = key.py();
            let told = (key, value, cause.as_str()).into_pyobject(py);
            if let Err(error) = told.and_then(|told| outside::call(on_evict.bind(py), &told, None))
            {
                report(name(), cause, error, py);
            }
        }
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.on_evict)?;
        visit.call(&self.sizeof)
    }
}

/// Log what `on_evict` raised, with its traceback. Python's logging is called as any callback is, not through pyo3-log.
#[cold]
fn report(name: Option<String>, cause: Cause, error: PyErr, py: Python<'_>) {
    let name = name.unwrap_or_else(|| "unnamed".to_owned());
    let said = format!(
        "on_evict of cache '{name}' failed ({} entry): {error}",
        cause.as_str()
    );
    let logged = (|| {
        let logger = py
            .import(intern!(py, "logging"))?
            .getattr(intern!(py, "getLogger"))?;
        let logger = outside::call(&logger, &("oxicache.cache",).into_pyobject(py)?, None)?;
        let options = PyDict::new(py);
        options.set_item(intern!(py, "exc_info"), error)?;
        let arguments = ("%s", said).into_pyobject(py)?;
        outside::call(
            &logger.getattr(intern!(py, "error"))?,
            &arguments,
            Some(&options),
        )
    })();
    // A logging set-up that raises is not the business of whoever stored or removed an entry.
    drop::<PyResult<_>>(logged);
}
