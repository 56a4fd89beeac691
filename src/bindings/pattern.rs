//! `KeyPattern`: a key pattern of Redis, matched against Python strings.

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString};

use super::outside;
use crate::engine::Pattern;

/// A key pattern: `*`, `?`, `[abc]`, `[a-z]`, `[^abc]` and `\` before a character that means itself, as Redis has them.
///
/// A match takes time proportional to the text times the pattern at worst.
#[pyclass(frozen, module = "oxicache._native")]
pub(super) struct KeyPattern {
    source: Py<PyString>,
    pattern: Pattern,
}

#[pymethods]
impl KeyPattern {
    #[new]
    fn new(pattern: &Bound<'_, PyAny>) -> PyResult<Self> {
        let source = pattern.cast::<PyString>().map_err(|_| {
            let kind = pattern.get_type();
            PyTypeError::new_err(format!("a key pattern is a string, not {kind}"))
        })?;
        let pattern = match source.to_str() {
            Ok(text) => Pattern::new(text.chars().map(u32::from)),
            Err(_) => Pattern::new(code_points(source)?),
        };
        Ok(Self {
            source: source.clone().unbind(),
            pattern,
        })
    }

    /// Whether the whole of `text` is what the pattern says.
    fn matches(&self, text: &Bound<'_, PyString>) -> PyResult<bool> {
        if self.pattern.takes_all() {
            return Ok(true);
        }
        match text.to_str() {
            Ok(text) => Ok(self.pattern.matches(text.chars().map(u32::from))),
            // A lone surrogate has no UTF-8.
            Err(_) => Ok(self.pattern.matches(code_points(text)?.into_iter())),
        }
    }

    /// Those of `keys` that match, in their order.
    fn select<'py>(&self, keys: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        let chosen = PyList::empty(keys.py());
        for key in outside::iterate(keys)? {
            let key = key?;
            if self.matches(key.cast::<PyString>()?)? {
                chosen.append(key)?;
            }
        }
        Ok(chosen)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let source = outside::repr(self.source.bind(py).as_any())?;
        Ok(format!("KeyPattern({source})"))
    }
}

fn code_points(text: &Bound<'_, PyString>) -> PyResult<Vec<u32>> {
    let py = text.py();
    let encode = py.get_type::<PyString>().getattr(intern!(py, "encode"))?;
    let encoded = outside::call_with(&encode, (text, "utf-32-le", "surrogatepass"))?;
    let points = encoded.cast::<PyBytes>()?.as_bytes().chunks_exact(4);
    Ok(points
        .map(|four| u32::from_le_bytes([four[0], four[1], four[2], four[3]]))
        .collect())
}
