//! `Memo` and `MemoProperty`: decorated calls whose hits never leave Rust.
//!
//! A [`Plan`] turns a call into a key and looks it up; what a miss does is Python's business (`load`).

use pyo3::exceptions::{PyAttributeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};
use pyo3::{PyTraverseError, PyVisit, intern};

use super::cache::PyTtlCache;
use super::memo_key::MemoKey;
use super::outside;
use super::plan::{Hooks, IDENTITIES, Identity, Looked, Plan};

#[expect(
    clippy::expect_used,
    reason = "`new` sets it, and no method runs before `new` is done"
)]
fn plan_of(plan: Option<&Plan>) -> &Plan {
    plan.expect("the plan is set by new")
}

/// A cached function or method: a hit never leaves Rust, a miss calls `load`.
#[pyclass(frozen, dict, weakref, module = "oxicache._native")]
#[repr(C)]
pub(super) struct Memo {
    /// Where CPython finds the raw call (`bindings/fastcall/memo.rs`); unused with the safe method set.
    pub(super) vectorcall: Option<pyo3::ffi::vectorcallfunc>,
    /// None only while CPython makes the object: on 3.11 it makes the `__dict__` before anything can be stored here, and
    /// that may start a garbage collection which traverses these zeroed fields.
    pub(super) plan: Option<Box<Plan>>,
}

impl Memo {
    pub(super) fn plan(&self) -> &Plan {
        plan_of(self.plan.as_deref())
    }
}

#[pymethods]
impl Memo {
    #[new]
    #[pyo3(signature = (func, cache, load, *, identity=None, parameters=vec![], defaults=vec![],
        keyword_defaults=None, copy=false, vary=None, forgotten=None))]
    #[expect(
        clippy::too_many_arguments,
        reason = "a constructor with named arguments, in Python"
    )]
    fn new(
        py: Python<'_>,
        func: Py<PyAny>,
        cache: &Bound<'_, PyTtlCache>,
        load: Py<PyAny>,
        identity: Option<&Bound<'_, PyAny>>,
        parameters: Vec<Py<PyString>>,
        defaults: Vec<Py<PyAny>>,
        keyword_defaults: Option<Bound<'_, PyDict>>,
        copy: bool,
        vary: Option<Py<PyAny>>,
        forgotten: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let none = intern!(py, "none").as_any();
        let plan = Plan::new(
            func,
            cache,
            load,
            identity.unwrap_or(none),
            (parameters, defaults, keyword_defaults),
            copy,
            Hooks { vary, forgotten },
        )?;
        Ok(Self {
            vectorcall: Some(super::fastcall::memo_call),
            plan: Some(Box::new(plan)),
        })
    }

    #[pyo3(signature = (*args, **kwargs))]
    fn __call__(
        &self,
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        self.plan().call(args, kwargs)
    }

    /// Bind to an instance, as a function does.
    fn __get__<'py>(
        slf: &Bound<'py, Self>,
        instance: &Bound<'py, PyAny>,
        owner: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let _ = owner;
        if instance.is_none() {
            return Ok(slf.clone().into_any());
        }
        let py = slf.py();
        py.import(intern!(py, "types"))?
            .getattr(intern!(py, "MethodType"))?
            .call1((slf, instance))
    }

    /// The key under which the result of this call is held.
    #[pyo3(signature = (*args, **kwargs))]
    fn key<'py>(
        &self,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, MemoKey>> {
        self.plan().key_or_error(args, kwargs)
    }

    /// (key, value or MISSING, whether the value may be used as it is): what an async twin asks first.
    ///
    /// Without a key the cache is to be left alone: compute directly and store nothing.
    #[pyo3(signature = (*args, **kwargs))]
    fn lookup<'py>(
        &self,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Looked<'py>> {
        self.plan().lookup(args, kwargs)
    }

    /// Forget the result of this call (for a method: instance first); whether it was held.
    #[pyo3(signature = (*args, **kwargs))]
    fn invalidate(
        &self,
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<bool> {
        self.plan().invalidate(args, kwargs)
    }

    /// Forget all results.
    fn cache_clear(&self, py: Python<'_>) -> PyResult<()> {
        self.plan().clear(py)
    }

    /// Hits, misses, maxsize and currsize, as `functools.lru_cache` gives them.
    fn cache_info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.plan().cache_info(py)
    }

    /// Where the results are held.
    #[getter]
    fn cache(&self, py: Python<'_>) -> Py<PyTtlCache> {
        self.plan().cache.clone_ref(py)
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        format!("<cached {}>", self.plan().name(py))
    }

    /// By name, as functions are pickled.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.getattr(intern!(slf.py(), "__qualname__"))
    }

    fn __copy__<'py>(slf: &Bound<'py, Self>) -> Bound<'py, Self> {
        slf.clone()
    }

    fn __deepcopy__<'py>(slf: &Bound<'py, Self>, _memo: &Bound<'py, PyAny>) -> Bound<'py, Self> {
        slf.clone()
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.plan.iter().try_for_each(|plan| plan.traverse(&visit))
    }
}

/// A cached property: a data descriptor that takes no assignment; `del` invalidates.
#[pyclass(frozen, dict, weakref, module = "oxicache._native")]
pub(super) struct MemoProperty {
    /// As in [`Memo`].
    pub(super) plan: Option<Box<Plan>>,
}

impl MemoProperty {
    pub(super) fn plan(&self) -> &Plan {
        plan_of(self.plan.as_deref())
    }
}

#[pymethods]
impl MemoProperty {
    #[new]
    #[pyo3(signature = (func, cache, load, *, identity=None, copy=false, vary=None, forgotten=None))]
    #[expect(
        clippy::too_many_arguments,
        reason = "a constructor with named arguments, in Python"
    )]
    fn new(
        py: Python<'_>,
        func: Py<PyAny>,
        cache: &Bound<'_, PyTtlCache>,
        load: Py<PyAny>,
        identity: Option<&Bound<'_, PyAny>>,
        copy: bool,
        vary: Option<Py<PyAny>>,
        forgotten: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let instance = intern!(py, "instance").as_any();
        let plan = Plan::new(
            func,
            cache,
            load,
            identity.unwrap_or(instance),
            (vec![], vec![], None),
            copy,
            Hooks { vary, forgotten },
        )?;
        if matches!(plan.identity, Identity::None) {
            return Err(PyValueError::new_err(format!(
                "identity must be {IDENTITIES}, not 'none'"
            )));
        }
        Ok(Self {
            plan: Some(Box::new(plan)),
        })
    }

    fn __get__(
        slf: &Bound<'_, Self>,
        instance: &Bound<'_, PyAny>,
        owner: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let _ = owner;
        if instance.is_none() {
            return Ok(slf.clone().into_any().unbind());
        }
        slf.get()
            .plan()
            .call(&PyTuple::new(slf.py(), [instance])?, None)
    }

    fn __set__(&self, instance: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let _ = (instance, value);
        Err(PyAttributeError::new_err(format!(
            "{} is a cached property and takes no assignment; del invalidates it",
            self.plan().name(value.py()).trim_end_matches("()")
        )))
    }

    fn __delete__(&self, instance: &Bound<'_, PyAny>) -> PyResult<()> {
        self.invalidate(instance).map(drop)
    }

    /// The key under which this instance's value is held.
    #[pyo3(signature = (instance, /))]
    fn key<'py>(&self, instance: &Bound<'py, PyAny>) -> PyResult<Bound<'py, MemoKey>> {
        self.plan()
            .key_or_error(&PyTuple::new(instance.py(), [instance])?, None)
    }

    /// (key, value or MISSING, whether the value may be used as it is): what an async twin asks first.
    ///
    /// Without a key the cache is to be left alone: compute directly and store nothing.
    #[pyo3(signature = (instance, /))]
    fn lookup<'py>(&self, instance: &Bound<'py, PyAny>) -> PyResult<Looked<'py>> {
        self.plan()
            .lookup(&PyTuple::new(instance.py(), [instance])?, None)
    }

    /// Forget this instance's value; whether it was held.
    #[pyo3(signature = (instance, /))]
    fn invalidate(&self, instance: &Bound<'_, PyAny>) -> PyResult<bool> {
        self.plan()
            .invalidate(&PyTuple::new(instance.py(), [instance])?, None)
    }

    /// Forget all instances' values.
    fn cache_clear(&self, py: Python<'_>) -> PyResult<()> {
        self.plan().clear(py)
    }

    /// Hits, misses, maxsize and currsize, as `functools.lru_cache` gives them.
    fn cache_info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.plan().cache_info(py)
    }

    /// Where the values are held.
    #[getter]
    fn cache(&self, py: Python<'_>) -> Py<PyTtlCache> {
        self.plan().cache.clone_ref(py)
    }

    #[getter]
    fn fget(&self, py: Python<'_>) -> Py<PyAny> {
        self.plan().func.clone_ref(py)
    }

    #[getter]
    fn fset(&self, py: Python<'_>) -> Py<PyAny> {
        py.None()
    }

    #[getter]
    fn fdel(&self, py: Python<'_>) -> Py<PyAny> {
        py.None()
    }

    /// `isinstance(x, property)` asks this: Django, DRF and editors look for properties that way.
    #[getter(__class__)]
    fn class<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyType>> {
        Ok(py
            .import("builtins")?
            .getattr("property")?
            .cast_into::<PyType>()?)
    }

    #[getter(__isabstractmethod__)]
    fn is_abstract(&self, py: Python<'_>) -> bool {
        let name = intern!(py, "__isabstractmethod__");
        let flag = outside::attribute_if_any(self.plan().func.bind(py), name);
        flag.is_ok_and(|flag| flag.is_some_and(|flag| flag.is_truthy().unwrap_or(false)))
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        format!(
            "<cached property {}>",
            self.plan().name(py).trim_end_matches("()")
        )
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.plan.iter().try_for_each(|plan| plan.traverse(&visit))
    }
}
