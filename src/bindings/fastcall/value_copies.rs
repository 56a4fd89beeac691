//! The way out: copies of stored trees. `values.rs` has the way in, and says why no Python code runs here.

use std::ptr;

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;

use crate::bindings::values::{Content, Node, Wrapped};

/// While this lives, the collector does not run in this thread's allocations.
pub(super) struct Undisturbed {
    #[cfg(not(Py_3_12))]
    was_enabled: bool,
}

impl Undisturbed {
    #[inline(always)]
    pub(super) fn new() -> Self {
        Self {
            // SAFETY: the thread is attached, as it is wherever values are copied.
            #[cfg(not(Py_3_12))]
            was_enabled: unsafe { ffi::PyGC_Disable() } != 0,
        }
    }
}

// From 3.12 on there is nothing to undo, but the end of the pass is the same.
impl Drop for Undisturbed {
    #[inline(always)]
    fn drop(&mut self) {
        #[cfg(not(Py_3_12))]
        if self.was_enabled {
            // SAFETY: as above. No other thread ran meanwhile, so none has changed its mind about the collector.
            unsafe { ffi::PyGC_Enable() };
        }
    }
}

/// A stored value, unless it is pickled. What can't be changed is itself, trees are copied.
pub(in crate::bindings) fn thaw_native<'py>(
    stored: &Bound<'py, PyAny>,
) -> Option<PyResult<Bound<'py, PyAny>>> {
    // SAFETY: the object is alive, the thread attached, and a value is a new reference or null with an error set.
    unsafe {
        match thaw_raw(stored.as_ptr()) {
            Raw::Value(value) => Some(Bound::from_owned_ptr_or_err(stored.py(), value)),
            Raw::Ask => None,
        }
    }
}

/// What a raw method makes of a stored value, without pyo3's counts.
pub(in crate::bindings) enum Raw {
    /// A new reference, or null with an error set.
    Value(*mut PyObject),
    /// Only the safe twin can: loading a pickle calls Python code.
    Ask,
}

/// A stored value as a raw method gives it out: one comparison for what can't be changed.
///
/// # Safety
/// `stored` is alive and stays so during the call, which needs a reference of its own; the thread is attached.
#[inline(always)]
pub(in crate::bindings) unsafe fn thaw_raw(stored: *mut PyObject) -> Raw {
    // SAFETY: the caller's promise; a wrapped value is told by its exact type.
    unsafe {
        if !Wrapped::is_type(ffi::Py_TYPE(stored)) {
            ffi::Py_INCREF(stored);
            return Raw::Value(stored);
        }
        thaw_wrapped(stored)
    }
}

/// # Safety
/// As for [`thaw_raw`], with a `Wrapped`.
#[inline(never)]
unsafe fn thaw_wrapped(stored: *mut PyObject) -> Raw {
    // SAFETY: the caller's promise; the class is frozen.
    unsafe {
        let stored = Borrowed::from_ptr(Python::assume_attached(), stored);
        let Content::Tree(node) = &stored.cast_unchecked::<Wrapped>().get().content else {
            return Raw::Ask;
        };
        let _undisturbed = Undisturbed::new();
        Raw::Value(copy(node))
    }
}

/// A new reference, or null with an error set.
///
/// # Safety
/// The thread is attached and the collector held back, so that a tuple that is still being filled is seen by nobody.
unsafe fn copy(node: &Node) -> *mut PyObject {
    // SAFETY: the caller's promise; each template is of its node's type and has a reference here.
    unsafe {
        match node {
            Node::Leaf(leaf) => {
                ffi::Py_INCREF(leaf.as_ptr());
                leaf.as_ptr()
            }
            Node::Dict(template) => ffi::PyDict_Copy(template.as_ptr()),
            Node::List(template) => whole(template),
            Node::Set(template) => ffi::PySet_New(template.as_ptr()),
            Node::DictOf(dict) => {
                let result = ffi::PyDict_Copy(dict.template.as_ptr());
                fill(result, &dict.holes, |key, value| {
                    let status = ffi::PyDict_SetItem(result, key.as_ptr(), value);
                    ffi::Py_DECREF(value);
                    status == 0
                })
            }
            Node::ListOf(list) => {
                let result = whole(&list.template);
                fill(result, &list.holes, |at, value| {
                    ffi::PyList_SetItem(result, *at, value) == 0
                })
            }
            Node::Tuple(nodes) => {
                let result = ffi::PyTuple_New(nodes.len().cast_signed());
                let nodes = nodes.iter().enumerate();
                fill_with(result, nodes, |at, value| {
                    ffi::PyTuple_SetItem(result, at.cast_signed(), value) == 0
                })
            }
        }
    }
}

/// Fill a container's holes.
///
/// # Safety
/// As for [`copy`]; `container` is a reference of its own or null, and `put` takes the reference that it is given.
#[inline(always)]
unsafe fn fill<'a, At>(
    container: *mut PyObject,
    holes: &'a [(At, Node)],
    put: impl Fn(&'a At, *mut PyObject) -> bool,
) -> *mut PyObject {
    // SAFETY: the caller's promise.
    unsafe { fill_with(container, holes.iter().map(|(at, node)| (at, node)), put) }
}

/// # Safety
/// As for [`fill`].
#[inline(always)]
unsafe fn fill_with<'a, At>(
    container: *mut PyObject,
    holes: impl Iterator<Item = (At, &'a Node)>,
    put: impl Fn(At, *mut PyObject) -> bool,
) -> *mut PyObject {
    if container.is_null() {
        return container;
    }
    for (at, node) in holes {
        // SAFETY: the caller's promise.
        unsafe {
            let value = copy(node);
            if value.is_null() || !put(at, value) {
                ffi::Py_DECREF(container);
                return ptr::null_mut();
            }
        }
    }
    container
}

/// # Safety
/// As for [`copy`], with a list.
unsafe fn whole(list: &Py<PyAny>) -> *mut PyObject {
    // SAFETY: the caller's promise; an end beyond the list is its end.
    unsafe { ffi::PyList_GetSlice(list.as_ptr(), 0, ffi::Py_ssize_t::MAX) }
}
