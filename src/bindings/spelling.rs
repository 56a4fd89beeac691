//! One spelling for all spellings of a call: what is given by position, by keyword or by default comes to the same.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use pyo3::{PyTraverseError, PyVisit};

use super::keys;
use super::outside;
use super::typed::typed_eq;

/// The positional parameters' names, the defaults of the last of them, and those of keyword-only parameters.
pub(super) type Parameters<'py> = (
    Vec<Py<PyString>>,
    Vec<Py<PyAny>>,
    Option<Bound<'py, PyDict>>,
);

/// What a callable's parameters are.
pub(super) struct Spelling {
    /// Names of the positional-or-keyword parameters, without the instance.
    parameters: Box<[Py<PyString>]>,
    /// Defaults of the last of them.
    pub(super) defaults: Box<[Py<PyAny>]>,
    /// Defaults of keyword-only parameters, by name.
    keyword_defaults: Py<PyDict>,
}

impl Spelling {
    pub(super) fn new(
        py: Python<'_>,
        (parameters, defaults, keyword_defaults): Parameters<'_>,
    ) -> PyResult<Self> {
        if defaults.len() > parameters.len() {
            return Err(PyValueError::new_err(format!(
                "{} defaults for {} parameters",
                defaults.len(),
                parameters.len()
            )));
        }
        let parameters = parameters
            .into_iter()
            .map(|name| intern_name(py, &name))
            .collect::<PyResult<_>>()?;
        Ok(Self {
            parameters,
            defaults: defaults.into(),
            keyword_defaults: match keyword_defaults {
                Some(defaults) => defaults.copy()?.unbind(),
                None => PyDict::new(py).unbind(),
            },
        })
    }

    /// The default of a positional parameter, by its number.
    pub(super) fn default_of(&self, position: usize) -> Option<&Py<PyAny>> {
        let first = self.parameters.len() - self.defaults.len();
        position
            .checked_sub(first)
            .and_then(|index| self.defaults.get(index))
    }

    /// How many parameters are named; arguments past them belong to `*args`.
    pub(super) fn named(&self) -> usize {
        self.parameters.len()
    }

    /// The name of a positional parameter, by its number.
    pub(super) fn parameter(&self, position: usize) -> Option<&Py<PyString>> {
        self.parameters.get(position)
    }

    /// A call's arguments: positional as far as can be, trailing defaults left out, the remaining
    /// keywords sorted by name after a mark that no argument can be.
    pub(super) fn arguments<'py>(
        &self,
        args: &[Bound<'py, PyAny>],
        kwargs: Option<&Bound<'py, PyDict>>,
        py: Python<'py>,
    ) -> PyResult<Option<Vec<Bound<'py, PyAny>>>> {
        let mut bound = args.to_vec();
        let mut extra: Vec<(Bound<'py, PyString>, Bound<'py, PyAny>)> = Vec::new();
        let mut named: Vec<(usize, Bound<'py, PyAny>)> = Vec::new();
        for (name, value) in kwargs.iter().flat_map(|kwargs| kwargs.iter()) {
            let Ok(name) = name.cast_into::<PyString>() else {
                return Ok(None);
            };
            match self.position(&name)? {
                Some(position) if position < args.len() => return Ok(None),
                Some(position) => named.push((position, value)),
                None if self.is_default(&name, &value)? => {}
                None => extra.push((name, value)),
            }
        }
        named.sort_by_key(|(position, _)| *position);
        for (position, value) in named {
            while bound.len() < position {
                match self.default_of(bound.len()) {
                    Some(default) => bound.push(default.bind(py).clone()),
                    None => return Ok(None),
                }
            }
            bound.push(value);
        }
        if bound.len() <= self.named() {
            while let Some(last) = bound.last()
                && let Some(default) = self.default_of(bound.len() - 1)
                && typed_eq(last, default.bind(py)) == Some(true)
            {
                bound.pop();
            }
        }
        if !extra.is_empty() {
            let mut sorted = Vec::with_capacity(extra.len());
            for (name, value) in extra {
                sorted.push((name.to_string_lossy().into_owned(), name, value));
            }
            sorted.sort_by(|left, right| left.0.cmp(&right.0));
            bound.push(keys::keyword_mark(py)?);
            for (_, name, value) in sorted {
                bound.push(name.into_any());
                bound.push(value);
            }
        }
        Ok(Some(bound))
    }

    /// Whether a keyword-only argument is what it would be if left out.
    fn is_default(&self, name: &Bound<'_, PyString>, value: &Bound<'_, PyAny>) -> PyResult<bool> {
        let default = self.keyword_defaults.bind(name.py()).get_item(name)?;
        Ok(default.is_some_and(|default| typed_eq(value, &default) == Some(true)))
    }

    fn position(&self, name: &Bound<'_, PyString>) -> PyResult<Option<usize>> {
        if let Some(position) = self
            .parameters
            .iter()
            .position(|parameter| parameter.is(name))
        {
            return Ok(Some(position));
        }
        for (position, parameter) in self.parameters.iter().enumerate() {
            if outside::equal(parameter.bind(name.py()), name)? {
                return Ok(Some(position));
            }
        }
        Ok(None)
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.keyword_defaults)?;
        self.defaults
            .iter()
            .try_for_each(|default| visit.call(default))
    }
}

fn intern_name(py: Python<'_>, name: &Py<PyString>) -> PyResult<Py<PyString>> {
    Ok(PyString::intern(py, name.bind(py).to_str()?).unbind())
}
