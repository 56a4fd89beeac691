//! `KeyPattern`: a key pattern of Redis's kind, or a regular expression, matched against Python strings.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};

use super::fastcall::with_text;
use super::matching::points;
use super::outside;
use crate::engine::{Matcher, PatternKind};

/// A pattern of keys. "glob": `*`, `?`, `[abc]`, `[a-z]`, `[^abc]` and `\` before a character that means itself, as Redis has
/// them; it is what a whole key must be. "regex": a regular expression of the Rust crate `regex`, in linear time; it is what
/// a key must begin with, as with `re.match`.
///
/// ValueError says why a pattern can't be used. A match takes time proportional to the text times the pattern at worst.
#[pyclass(frozen, module = "oxicache._native")]
pub(super) struct KeyPattern {
    source: Py<PyString>,
    matcher: Matcher,
}

#[pymethods]
impl KeyPattern {
    #[new]
    #[pyo3(signature = (pattern, kind="glob"))]
    fn new(pattern: &Bound<'_, PyAny>, kind: &str) -> PyResult<Self> {
        let source = pattern.cast::<PyString>().map_err(|_| {
            let kind = pattern.get_type();
            PyTypeError::new_err(format!("a key pattern is a string, not {kind}"))
        })?;
        let kind = kind_named(kind)?;
        Ok(Self {
            source: source.clone().unbind(),
            matcher: Matcher::new(kind, &points(source))?,
        })
    }

    /// What it was made of.
    #[getter]
    fn pattern(&self, py: Python<'_>) -> Py<PyString> {
        self.source.clone_ref(py)
    }

    /// "glob" or "regex".
    #[getter]
    fn kind(&self) -> &'static str {
        self.matcher.kind().name()
    }

    /// Whether the pattern takes `text`: the whole of it, or its beginning for a regular expression.
    fn matches(&self, text: &Bound<'_, PyString>) -> bool {
        self.matcher.takes_all() || with_text(text, |text| self.matcher.matches(text))
    }

    /// Those of `keys` that match, in their order.
    fn select<'py>(&self, keys: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        let chosen = PyList::empty(keys.py());
        for key in outside::iterate(keys)? {
            let key = key?;
            if self.matches(key.cast::<PyString>()?) {
                chosen.append(key)?;
            }
        }
        Ok(chosen)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let source = outside::repr(self.source.bind(py).as_any())?;
        Ok(match self.matcher.kind() {
            PatternKind::Glob => format!("KeyPattern({source})"),
            PatternKind::Regex => format!("KeyPattern({source}, kind=\"regex\")"),
        })
    }
}

impl KeyPattern {
    pub(super) fn matcher(&self) -> &Matcher {
        &self.matcher
    }
}

/// "glob" or "regex".
pub(super) fn kind_named(kind: &str) -> PyResult<PatternKind> {
    PatternKind::named(kind).ok_or_else(|| {
        PyValueError::new_err(format!("kind must be \"glob\" or \"regex\", not {kind:?}"))
    })
}
