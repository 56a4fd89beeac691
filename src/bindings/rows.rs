//! Rows: which instances stand for one, what names it, and what is asked before a row's entry is used.
//!
//! What a row is, is Django's business: `oxicache.django` installs the callables here. Each is called with no lock held, and
//! what it raises passes through to whoever made the decorated call.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyString, PyTuple, PyType};
use pyo3::{PyTraverseError, PyVisit, intern};

use super::fastcall::Places;
use super::outside;

/// A callable that somebody may have installed.
struct Hook {
    callable: Mutex<Option<Py<PyAny>>>,
    /// Read at each hit, which must not wait for a lock.
    is_set: AtomicBool,
}

impl Hook {
    const fn new() -> Self {
        Self {
            callable: Mutex::new(None),
            is_set: AtomicBool::new(false),
        }
    }

    fn set(&self, callable: Option<Bound<'_, PyAny>>, what: &str) -> PyResult<()> {
        if let Some(callable) = &callable
            && !callable.is_callable()
        {
            return Err(PyTypeError::new_err(format!(
                "{what} must be callable or None, not {}",
                outside::repr(callable)?
            )));
        }
        self.is_set.store(callable.is_some(), Ordering::Relaxed);
        let before = std::mem::replace(&mut *self.callable.lock(), callable.map(Bound::unbind));
        drop(before); // after the lock
        Ok(())
    }

    fn get<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        if !self.is_set.load(Ordering::Relaxed) {
            return None;
        }
        let callable = self.callable.lock();
        callable.as_ref().map(|callable| callable.bind(py).clone())
    }
}

static TYPES: Hook = Hook::new();
static SCOPE: Hook = Hook::new();
static BYPASS: Hook = Hook::new();
static IS_BYPASSING: AtomicBool = AtomicBool::new(false);

/// Counts the resolvers of types there were: what was learnt from one says nothing under the next.
static RESOLVER: AtomicUsize = AtomicUsize::new(0);

/// Install what says which classes are models: `resolve(type)` gives the attribute of the primary key, or None.
#[pyfunction]
#[pyo3(signature = (resolve, /))]
pub(super) fn set_row_types(resolve: Option<Bound<'_, PyAny>>) -> PyResult<()> {
    TYPES.set(resolve, "resolve")?;
    RESOLVER.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// Install what tells one tenant's rows from another's: the value of `scope()` is part of each row's key.
#[pyfunction]
#[pyo3(signature = (scope, /))]
pub(super) fn set_row_scope(scope: Option<Bound<'_, PyAny>>) -> PyResult<()> {
    SCOPE.set(scope, "scope")
}

/// Install what is asked while `row_bypassing` is on: does `bypass(alias)` want rows of this database computed anew?
#[pyfunction]
#[pyo3(signature = (bypass, /))]
pub(super) fn set_row_bypass(bypass: Option<Bound<'_, PyAny>>) -> PyResult<()> {
    BYPASS.set(bypass, "bypass")
}

/// Have the installed `bypass` asked at each call, or not.
#[pyfunction]
#[pyo3(signature = (on, /))]
pub(super) fn row_bypassing(on: bool) {
    IS_BYPASSING.store(on, Ordering::Relaxed);
}

/// Must a call of a row be answered with Python's help, hit or not?
#[inline]
pub(super) fn is_asked() -> bool {
    IS_BYPASSING.load(Ordering::Relaxed) || SCOPE.is_set.load(Ordering::Relaxed)
}

/// Is the cache to be left alone for rows of this database?
pub(super) fn is_bypassed(alias: &Bound<'_, PyAny>) -> PyResult<bool> {
    if !IS_BYPASSING.load(Ordering::Relaxed) {
        return Ok(false);
    }
    match BYPASS.get(alias.py()) {
        Some(bypass) => Ok(outside::call_with(&bypass, (alias,))?.extract()?),
        None => Ok(false),
    }
}

/// Whose rows are asked for, where somebody tells.
pub(super) fn scope(py: Python<'_>) -> PyResult<Option<Bound<'_, PyAny>>> {
    SCOPE
        .get(py)
        .map(|scope| outside::call(&scope, &PyTuple::empty(py), None))
        .transpose()
}

/// A saved instance as the row it stands for.
pub(super) struct Row<'py> {
    pub(super) alias: Bound<'py, PyAny>,
    pub(super) pk: Bound<'py, PyAny>,
}

impl<'py> Row<'py> {
    /// None for an instance that was not saved yet, and for one that knows no database.
    pub(super) fn of(
        instance: &Bound<'py, PyAny>,
        attname: &Py<PyString>,
    ) -> PyResult<Option<Self>> {
        let py = instance.py();
        let Some(state) = outside::attribute_if_any(instance, intern!(py, "_state"))? else {
            return Ok(None);
        };
        let adding = outside::attribute_if_any(&state, intern!(py, "adding"))?;
        let alias = outside::attribute_if_any(&state, intern!(py, "db"))?;
        let (Some(adding), Some(alias)) = (adding, alias) else {
            return Ok(None);
        };
        if !adding.is(PyBool::new(py, false)) || alias.is_none() {
            return Ok(None);
        }
        let pk = outside::attribute(instance, attname.bind(py))?;
        Ok((!pk.is_none()).then_some(Self { alias, pk }))
    }
}

/// One class as the resolver saw it.
pub(super) struct Known {
    class: Py<PyType>,
    /// The attribute of a model's primary key; None for a class that is no model.
    pub(super) attname: Option<Py<PyString>>,
    /// Where `_state` and that attribute are in its instances, as far as raw calls learnt it.
    pub(super) places: Places,
    resolver: usize,
    next: OnceLock<Box<Known>>,
}

/// Lists of classes by address: an abstract model's method may meet a few dozen.
const LISTS: usize = 8;

/// The classes that a decorated callable met. Only ever added to, so that it is read without a lock.
#[derive(Default)]
pub(super) struct RowTypes {
    lists: [OnceLock<Box<Known>>; LISTS],
}

impl RowTypes {
    fn list(&self, class: usize) -> &OnceLock<Box<Known>> {
        // Objects are aligned to 16 bytes, and types are a kilobyte and more.
        &self.lists[(class >> 10 ^ class >> 4) % LISTS]
    }

    /// What is known of the class at this address, if anything.
    #[inline]
    pub(super) fn known(&self, class: usize) -> Option<&Known> {
        let resolver = RESOLVER.load(Ordering::Relaxed);
        let mut place = self.list(class);
        while let Some(known) = place.get() {
            if known.class.as_ptr() as usize == class && known.resolver == resolver {
                return Some(known);
            }
            place = &known.next;
        }
        None
    }

    /// The attribute of a model's primary key; None for a class that is no model. Asks once a class.
    pub(super) fn attname(&self, class: &Bound<'_, PyType>) -> PyResult<Option<Py<PyString>>> {
        let py = class.py();
        let address = class.as_ptr() as usize;
        if let Some(known) = self.known(address) {
            return Ok(known.attname.as_ref().map(|attname| attname.clone_ref(py)));
        }
        let resolver = RESOLVER.load(Ordering::Relaxed);
        let attname = match TYPES.get(py) {
            Some(resolve) => Self::resolved(&outside::call_with(&resolve, (class,))?)?,
            None => None,
        };
        let mut known = Box::new(Known {
            class: class.clone().unbind(),
            attname: attname.as_ref().map(|attname| attname.clone_ref(py)),
            places: Places::new(),
            resolver,
            next: OnceLock::new(),
        });
        let mut place = self.list(address);
        while let Err(refused) = place.set(known) {
            known = refused;
            match place.get() {
                Some(taken) => place = &taken.next,
                None => break,
            }
        }
        Ok(attname)
    }

    fn resolved(answer: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyString>>> {
        if answer.is_none() {
            return Ok(None);
        }
        let Ok(name) = answer.cast::<PyString>() else {
            return Err(PyTypeError::new_err(format!(
                "the resolver of row types must give the name of an attribute or None, not {}",
                outside::repr(answer)?
            )));
        };
        Ok(Some(PyString::intern(answer.py(), name.to_str()?).unbind()))
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        for list in &self.lists {
            let mut place = list;
            while let Some(known) = place.get() {
                visit.call(&known.class)?;
                place = &known.next;
            }
        }
        Ok(())
    }
}
