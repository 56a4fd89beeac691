//! Which row a model instance stands for, read without making anything.
//!
//! The attributes are read where they are (`inline.rs`), or else as Python reads them, before any lock is taken: a descriptor or
//! `__getattribute__` in the way is simply called. Whatever is out of the ordinary is left to the safe way, which reads again.

use std::sync::OnceLock;

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::inline::Places;
use crate::bindings::outside;

/// The names of a model's bookkeeping.
struct Names {
    state: Py<PyString>,
    adding: Py<PyString>,
    db: Py<PyString>,
}

static NAMES: OnceLock<Names> = OnceLock::new();

/// To be called before the first [`Identified::of`].
pub(super) fn intern_names(py: Python<'_>) {
    NAMES.get_or_init(|| Names {
        state: PyString::intern(py, "_state").unbind(),
        adding: PyString::intern(py, "adding").unbind(),
        db: PyString::intern(py, "db").unbind(),
    });
}

/// A reference that is let go with care: finalisers may run when it was the last. No lock may be held then.
struct Held(*mut PyObject);

impl Held {
    /// # Safety
    /// Both are valid objects and the thread is attached.
    #[inline(always)]
    unsafe fn attribute(object: *mut PyObject, name: *mut PyObject) -> Result<Self, Identified> {
        // SAFETY: the caller's promise.
        let value = unsafe { outside::raw_attribute(object, name) };
        if value.is_null() {
            return Err(unread());
        }
        Ok(Self(value))
    }
}

/// What an attribute that could not be read means: its absence is the safe way's business, other errors are the caller's.
#[cold]
fn unread() -> Identified {
    // SAFETY: called right after a failed access, in a thread that is attached, with the error set.
    unsafe {
        if ffi::PyErr_ExceptionMatches(ffi::PyExc_AttributeError) == 0 {
            return Identified::Failed;
        }
        ffi::PyErr_Clear();
    }
    Identified::Unclear
}

impl Drop for Held {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: the reference is owned; a `Held` lives only inside a raw method, where the thread is attached.
        unsafe {
            if ffi::Py_REFCNT(self.0) > 1 {
                ffi::Py_DECREF(self.0);
            } else {
                outside::decref(self.0);
            }
        }
    }
}

/// What names a row beside its class.
pub(super) struct Row {
    alias: *mut PyObject,
    pk: *mut PyObject,
    /// References to both, unless they are borrowed from the instance: then no Python code runs before they were used.
    _held: Option<[Held; 2]>,
}

/// Where `adding` and `db` are in the state that models share.
static STATE_PLACES: Places = Places::new();

/// What an instance of a model stands for.
pub(super) enum Identified {
    /// Itself: it was not saved yet.
    Unsaved,
    /// A row.
    Row(Row),
    /// Only the safe way can tell.
    Unclear,
    /// An error is set.
    Failed,
}

impl Identified {
    /// # Safety
    /// Both are valid objects and the thread is attached.
    #[inline(always)]
    pub(super) unsafe fn of(
        instance: *mut PyObject,
        attname: *mut PyObject,
        places: &Places,
    ) -> Self {
        let Some(names) = NAMES.get() else {
            return Self::Unclear;
        };
        // SAFETY: the caller's promise.
        unsafe {
            if let Some(row) = Self::in_place(instance, attname, names, places) {
                return Self::Row(row);
            }
            Self::read(instance, attname, names).unwrap_or_else(|other| other)
        }
    }

    /// The row of an instance whose attributes stand where they do in all others; None for any other, and for no row.
    ///
    /// # Safety
    /// All are valid objects and the thread is attached.
    #[inline(always)]
    unsafe fn in_place(
        instance: *mut PyObject,
        attname: *mut PyObject,
        names: &Names,
        places: &Places,
    ) -> Option<Row> {
        // SAFETY: the caller's promise; None and False are themselves. Nothing here runs Python code once all was learnt, and
        // where something is learnt nothing is returned.
        unsafe {
            let [state, pk] = places.read(instance, [names.state.as_ptr(), attname], true)?;
            // State and key are borrowed: code that runs now could take them from the instance.
            let [adding, alias] =
                STATE_PLACES.read(state, [names.adding.as_ptr(), names.db.as_ptr()], false)?;
            let none = ffi::Py_None();
            let is_row = adding == ffi::Py_False() && alias != none && pk != none;
            is_row.then_some(Row {
                alias,
                pk,
                _held: None,
            })
        }
    }

    /// # Safety
    /// All are valid objects and the thread is attached.
    #[inline(never)]
    unsafe fn read(
        instance: *mut PyObject,
        attname: *mut PyObject,
        names: &Names,
    ) -> Result<Self, Self> {
        // SAFETY: the caller's promise; None, True and False are themselves.
        unsafe {
            let state = Held::attribute(instance, names.state.as_ptr())?;
            let adding = Held::attribute(state.0, names.adding.as_ptr())?;
            if adding.0 != ffi::Py_False() {
                return Err(Self::Unsaved);
            }
            let alias = Held::attribute(state.0, names.db.as_ptr())?;
            if alias.0 == ffi::Py_None() {
                return Err(Self::Unsaved);
            }
            let pk = Held::attribute(instance, attname)?;
            if pk.0 == ffi::Py_None() {
                return Err(Self::Unsaved);
            }
            Ok(Self::Row(Row {
                alias: alias.0,
                pk: pk.0,
                _held: Some([alias, pk]),
            }))
        }
    }
}

impl Row {
    /// Alias and primary key, for as long as the row is held.
    #[inline(always)]
    pub(super) fn parts(&self) -> [*mut PyObject; 2] {
        [self.alias, self.pk]
    }
}
