//! The keys of decorated calls: whose the call was, and what it was given.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple, PyType, PyWeakrefMethods, PyWeakrefReference};
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
    /// One object's that can't be referenced weakly.
    Strong(Py<PyAny>),
    /// A row's, in terms of its class, however many instances come and go. The first two arguments are its database
    /// (with its scope, when there is one) and its primary key.
    Row(Py<PyType>),
}

/// Whose a call is, when its key is made.
pub(super) enum Whose<'a, 'py> {
    Nobody,
    Object(&'a Bound<'py, PyAny>),
    Row(&'a Bound<'py, PyType>),
}

/// A row's class, database and primary key.
type RowParts<'py> = (Bound<'py, PyType>, Bound<'py, PyAny>, Bound<'py, PyAny>);

/// How many of the first arguments name the row.
pub(super) const ROW_ARGS: usize = 2;

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
        let args = self.args.bind(py);
        match self.owner {
            Owner::Row(_) => args.get_slice(ROW_ARGS, args.len()),
            _ => args.clone(),
        }
    }

    /// (model class, database alias, primary key) of a row, else None.
    #[getter]
    fn row<'py>(&self, py: Python<'py>) -> PyResult<Option<RowParts<'py>>> {
        let Owner::Row(class) = &self.owner else {
            return Ok(None);
        };
        let (alias, _) = self.alias_and_scope(py)?;
        Ok(Some((
            class.bind(py).clone(),
            alias,
            self.args.bind(py).get_item(1)?,
        )))
    }

    /// Whose the entry is, where it is an object's: None for a function's and a row's, and once that object is dead.
    #[getter]
    fn owner<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        match &self.owner {
            Owner::Weak(reference) => reference.bind(py).upgrade(),
            Owner::Strong(object) => Some(object.bind(py).clone()),
            Owner::None | Owner::Row(_) => None,
        }
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
            Owner::Row(class) => Some(self.row_name(class.bind(py))?),
        };
        let mut parts: Vec<String> = owner.into_iter().collect();
        for arg in self.args(py).iter() {
            parts.push(outside::repr(&arg)?.to_string());
        }
        Ok(format!("<MemoKey ({})>", parts.join(", ")))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match &self.owner {
            Owner::None => {}
            Owner::Weak(reference) => visit.call(reference)?,
            Owner::Strong(object) => visit.call(object)?,
            Owner::Row(class) => visit.call(class)?,
        }
        visit.call(&self.args)
    }
}

impl MemoKey {
    /// Key a call. `args` are canonical ([`canonical`](super::typed::canonical)).
    pub(super) fn new<'py>(
        py: Python<'py>,
        owner: Whose<'_, 'py>,
        args: Bound<'py, PyTuple>,
    ) -> PyResult<Bound<'py, Self>> {
        let address = match owner {
            Whose::Nobody => 0,
            Whose::Object(object) => object.as_ptr() as usize,
            Whose::Row(class) => class.as_ptr() as usize,
        };
        let mut hash = fold(address as u64, NO_ARGS);
        for arg in args.iter() {
            hash = fold(hash, typed_hash(&arg)?);
        }
        let owner = match owner {
            Whose::Nobody => Owner::None,
            Whose::Row(class) => Owner::Row(class.clone().unbind()),
            Whose::Object(object) => match PyWeakrefReference::new(object) {
                Ok(reference) => Owner::Weak(reference.unbind()),
                Err(error) if error.is_instance_of::<PyTypeError>(py) => {
                    Owner::Strong(object.clone().unbind())
                }
                Err(error) => return Err(error),
            },
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

    /// The database of a row, and its scope if there is one.
    fn alias_and_scope<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, PyAny>, Option<Bound<'py, PyAny>>)> {
        let place = self.args.bind(py).get_item(0)?;
        match place.cast_exact::<PyTuple>() {
            Ok(both) => Ok((both.get_item(0)?, Some(both.get_item(1)?))),
            Err(_) => Ok((place, None)),
        }
    }

    /// The database of a row; None where the key is no row's.
    pub(super) fn alias<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self.owner {
            Owner::Row(_) => Ok(Some(self.alias_and_scope(py)?.0)),
            _ => Ok(None),
        }
    }

    fn row_name(&self, class: &Bound<'_, PyType>) -> PyResult<String> {
        let py = class.py();
        let (alias, scope) = self.alias_and_scope(py)?;
        let pk = self.args.bind(py).get_item(1)?;
        let name = class.fully_qualified_name()?;
        let row = format!("{name} {} on {}", outside::repr(&pk)?, shown(&alias)?);
        Ok(match scope {
            Some(scope) => format!("{row} for {}", outside::repr(&scope)?),
            None => row,
        })
    }

    pub(super) fn may_cycle(&self, py: Python<'_>) -> bool {
        matches!(self.owner, Owner::Strong(_) | Owner::Row(_))
            || self.args.bind(py).iter().any(|arg| !is_atom(&arg))
    }

    fn same_owner(&self, py: Python<'_>, other: &Self) -> bool {
        if self.address != other.address {
            return false;
        }
        match (&self.owner, &other.owner) {
            (Owner::None, Owner::None)
            | (Owner::Strong(_), Owner::Strong(_))
            | (Owner::Row(_), Owner::Row(_)) => true,
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

/// A name as it is, anything else by its repr.
fn shown(object: &Bound<'_, PyAny>) -> PyResult<String> {
    match object.cast_exact::<PyString>() {
        Ok(name) => Ok(name.to_string_lossy().into_owned()),
        Err(_) => Ok(outside::repr(object)?.to_string()),
    }
}
