//! The private copy of a tree of exact containers.
//!
//! A container is kept as a template that CPython's own copying multiplies: a dict of twenty keys is one `PyDict_Copy`, with
//! no hashing and no comparing. Where a container holds others, the template has None, and a list of holes says what goes
//! there. Nobody but this module can reach a template: the collector does not track it, which is sound because all that it
//! refers to is immutable, so no cycle goes through it.

use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// A piece of a tree.
pub(in crate::bindings) enum Node {
    /// What can't be changed, by reference.
    Leaf(Py<PyAny>),
    /// A dict without containers in it.
    Dict(Py<PyAny>),
    /// A list without containers in it.
    List(Py<PyAny>),
    /// What a set holds is hashable, so there are never containers in it.
    Set(Py<PyAny>),
    /// A dict with containers under some of its keys.
    DictOf(Box<Holes<Py<PyAny>>>),
    /// A list with containers at some of its indices.
    ListOf(Box<Holes<ffi::Py_ssize_t>>),
    /// A tuple that holds something that can be changed.
    Tuple(Box<[Node]>),
}

/// A template, and what is to be put where in its copies.
pub(in crate::bindings) struct Holes<At> {
    pub(in crate::bindings) template: Py<PyAny>,
    pub(in crate::bindings) holes: Vec<(At, Node)>,
}

/// Why a value is not copied as a tree.
pub(in crate::bindings) enum Stop {
    /// Something in it is not of the known kinds, or is met a second time, or lies too deep.
    Foreign,
    /// A `ZoneInfo` that was never seen before: to be judged while nothing is being copied.
    Zone(Py<PyAny>),
    /// A Python error is set.
    Failed,
}

/// What is stored of a value that can be changed.
pub(in crate::bindings) enum Content {
    Tree(Node),
    Pickled(Py<PyBytes>),
}

/// The stored form of a value that can be changed. Of no use to Python code, which never sees one.
#[pyclass(frozen, module = "oxicache._native")]
pub(in crate::bindings) struct Wrapped {
    pub(in crate::bindings) content: Content,
    pub(in crate::bindings) weight: u64,
}

/// `Wrapped`'s type, for comparing by address. Nothing is wrapped while it is null.
static WRAPPED: AtomicPtr<ffi::PyTypeObject> = AtomicPtr::new(std::ptr::null_mut());

impl Wrapped {
    /// The object itself, with what the allocator adds.
    pub(in crate::bindings) const BYTES: u64 = 48;

    pub(in crate::bindings) fn wrap(
        py: Python<'_>,
        content: Content,
        weight: u64,
    ) -> PyResult<Py<PyAny>> {
        WRAPPED.store(py.get_type::<Self>().as_type_ptr(), Ordering::Relaxed);
        Ok(Py::new(py, Self { content, weight })?.into_any())
    }

    /// Is this the type of wrapped values? Any other object in the store is a value as it stands.
    #[inline(always)]
    pub(in crate::bindings) fn is_type(kind: *mut ffi::PyTypeObject) -> bool {
        WRAPPED.load(Ordering::Relaxed) == kind
    }
}
