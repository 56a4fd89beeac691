//! The keys of decorated calls: whose the call was, and what it was given.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyWeakrefMethods, PyWeakrefReference};
use pyo3::{PyTraverseError, PyVisit};

use super::outside;
use super::typed::{fold, is_atom, typed_hash, typed_items_eq, typed_items_equal};

/// The hash of a call with no arguments beyond the instance.
pub(super) const NO_ARGS: u64 = 0x51_7C_C1_B7_27_22_0A_95;

/// Whose the entry is.
pub(super) enum Owner {
    /// Nobody's: a plain function, or an identity given by a callable (then the first argument).
    None,
    /// One object's, which may die before the entry.
    Weak(Py<PyWeakrefReference>),
    /// One object's that can't be referenced weakly, or a class.
    Strong(Py<PyAny>),
}

/// The key of one decorated call: whose it is and what it was given. Equal only for equal types.
#[pyclass(frozen, weakref, module = "oxicache._native")]
pub(super) struct MemoKey {
    /// The owner's address: 0 without one. Only together with a live reference does it mean that object.
    pub(super) address: usize,
    pub(super) owner: Owner,
    pub(super) args: Py<PyTuple>,
    pub(super) hash: u64,
}

#[pymethods]
impl MemoKey {
    #[getter]
    fn args<'py>(&self, py: Python<'py>) -> Bound<'py, PyTuple> {
        self.args.bind(py).clone()
    }

    fn __hash__(&self) -> u64 {
        self.hash
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> PyResult<bool> {
        match other.cast_exact::<MemoKey>() {
            Ok(other) => self.equal(other.py(), other.get()),
            Err(_) => Ok(false),
        }
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let owner = match &self.owner {
            Owner::None => None,
            Owner::Weak(reference) => match reference.bind(py).upgrade() {
                Some(object) => Some(outside::repr(&object)?.to_string()),
                None => Some("<dead object>".to_owned()),
            },
            Owner::Strong(object) => Some(outside::repr(object.bind(py))?.to_string()),
        };
        let mut parts: Vec<String> = owner.into_iter().collect();
        for arg in self.args.bind(py).iter() {
            parts.push(outside::repr(&arg)?.to_string());
        }
        Ok(format!("<MemoKey ({})>", parts.join(", ")))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match &self.owner {
            Owner::None => {}
            Owner::Weak(reference) => visit.call(reference)?,
            Owner::Strong(object) => visit.call(object)?,
        }
        visit.call(&self.args)
    }
}

impl MemoKey {
    /// Key a call. `args` are canonical ([`canonical`](super::typed::canonical)).
    pub(super) fn new<'py>(
        py: Python<'py>,
        owner: Option<(&Bound<'py, PyAny>, bool)>,
        args: Bound<'py, PyTuple>,
    ) -> PyResult<Bound<'py, Self>> {
        let address = owner.map_or(0, |(object, _)| object.as_ptr() as usize);
        let mut hash = fold(address as u64, NO_ARGS);
        for arg in args.iter() {
            hash = fold(hash, typed_hash(&arg)?);
        }
        let owner = match owner {
            None => Owner::None,
            Some((object, true)) => match PyWeakrefReference::new(object) {
                Ok(reference) => Owner::Weak(reference.unbind()),
                Err(error) if error.is_instance_of::<PyTypeError>(py) => {
                    Owner::Strong(object.clone().unbind())
                }
                Err(error) => return Err(error),
            },
            Some((object, false)) => Owner::Strong(object.clone().unbind()),
        };
        Bound::new(
            py,
            Self {
                address,
                owner,
                args: args.unbind(),
                hash,
            },
        )
    }

    pub(super) fn may_cycle(&self, py: Python<'_>) -> bool {
        matches!(self.owner, Owner::Strong(_))
            || self.args.bind(py).iter().any(|arg| !is_atom(&arg))
    }

    fn same_owner(&self, py: Python<'_>, other: &Self) -> bool {
        if self.address != other.address {
            return false;
        }
        match (&self.owner, &other.owner) {
            (Owner::None, Owner::None) | (Owner::Strong(_), Owner::Strong(_)) => true,
            (Owner::Weak(mine), Owner::Weak(theirs)) => {
                mine.is(theirs)
                    || match (mine.bind(py).upgrade(), theirs.bind(py).upgrade()) {
                        (Some(mine), Some(theirs)) => mine.is(&theirs),
                        _ => false,
                    }
            }
            _ => false,
        }
    }

    pub(super) fn native_eq(&self, py: Python<'_>, other: &Self) -> Option<bool> {
        if self.hash != other.hash || !self.same_owner(py, other) {
            return Some(false);
        }
        typed_items_eq(self.args.bind(py), other.args.bind(py))
    }

    pub(super) fn equal(&self, py: Python<'_>, other: &Self) -> PyResult<bool> {
        if self.hash != other.hash || !self.same_owner(py, other) {
            return Ok(false);
        }
        typed_items_equal(self.args.bind(py), other.args.bind(py))
    }
}
