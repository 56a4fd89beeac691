//! Copying values natively, in one pass each way: see `bindings/values`.
//!
//! No Python code runs in either pass, so no object that is looked at changes or goes meanwhile, and borrowed references are
//! enough. What could run some: the collector, which CPython 3.11 starts inside allocations (later ones don't) and is held
//! back; the hash and equality of keys, for which only keys of known types are looked up; a last reference, and none is
//! dropped. So a pass is a snapshot, and its templates are as private as they must be.

use pyo3::ffi::{self, PyObject, PyTypeObject};
use pyo3::prelude::*;

use super::value_bytes as bytes;
use super::value_copies::Undisturbed;
use crate::bindings::values::{Holes, Kinds, MAX_DEPTH, Node, Seen, Stop};

/// Objects that more than this many refer to are held by others too: not counted, or counted once when large.
const MAX_OWN_REFERENCES: ffi::Py_ssize_t = 4;
/// From here on an object is large.
const LARGE_BYTES: u64 = 256;

/// One pass over a value: it is classified, weighed and copied.
struct Copying<'py> {
    py: Python<'py>,
    kinds: &'py Kinds,
    root: *mut PyObject,
    /// False: only what can't be changed passes.
    copies: bool,
    seen: Seen,
    weight: u64,
}

/// None for a value that can't be changed, else its private copy; and the bytes that it holds.
pub(in crate::bindings) fn copy_in<'py>(
    kinds: &'py Kinds,
    value: &Bound<'py, PyAny>,
    copies: bool,
) -> Result<(Option<Node>, u64), Stop> {
    let _undisturbed = Undisturbed::new();
    let mut copying = Copying {
        py: value.py(),
        kinds,
        root: value.as_ptr(),
        copies,
        seen: Seen::default(),
        weight: 0,
    };
    // SAFETY: the value is alive, the thread attached, and no Python code runs until the pass is over.
    let node = unsafe { copying.piece(value.as_ptr(), ffi::Py_ssize_t::MAX, 0)? };
    Ok((node, copying.weight))
}

/// Its `unsafe` functions ask that their object is alive, and of the type that they are named after; and that the thread
/// is attached, with no Python code running during the pass.
impl Copying<'_> {
    /// None for what can't be changed. `own`: how many references a container has that is referred to once in the tree:
    /// the one from its container, and one from the template that holds it at the moment.
    #[inline(always)]
    unsafe fn piece(
        &mut self,
        object: *mut PyObject,
        own: ffi::Py_ssize_t,
        depth: u32,
    ) -> Result<Option<Node>, Stop> {
        // SAFETY: see the impl; an object's size is read according to its type.
        unsafe {
            let kind = ffi::Py_TYPE(object);
            if let Some(bytes) = bytes::of_atom(object, kind) {
                self.weigh(object, bytes);
                return Ok(None);
            }
            self.compound(object, kind, own, depth)
        }
    }

    /// Whatever is no atom.
    #[inline(never)]
    unsafe fn compound(
        &mut self,
        object: *mut PyObject,
        kind: *mut PyTypeObject,
        own: ffi::Py_ssize_t,
        depth: u32,
    ) -> Result<Option<Node>, Stop> {
        if depth > MAX_DEPTH {
            return Err(Stop::Foreign);
        }
        // SAFETY: see the impl; each function is called with an object of its type.
        unsafe {
            if kind == &raw mut ffi::PyDict_Type {
                self.enter(object, own)?;
                self.dict(object, depth).map(Some)
            } else if kind == &raw mut ffi::PyList_Type {
                self.enter(object, own)?;
                self.list(object, depth).map(Some)
            } else if kind == &raw mut ffi::PyTuple_Type {
                self.tuple(object, own, depth)
            } else if kind == &raw mut ffi::PySet_Type {
                self.enter(object, own)?;
                self.set(object, depth).map(Some)
            } else if kind == &raw mut ffi::PyFrozenSet_Type {
                if self.seen.insert(object, false) {
                    self.hashables(object, depth)?;
                }
                Ok(None)
            } else {
                let bytes = self.scalar_bytes(object, kind)?;
                self.weigh(object, bytes);
                Ok(None)
            }
        }
    }

    /// Count a leaf, as far as it is this value's own.
    #[inline(always)]
    unsafe fn weigh(&mut self, object: *mut PyObject, bytes: u64) {
        // SAFETY: the object is alive.
        let is_shared = unsafe { ffi::Py_REFCNT(object) } > MAX_OWN_REFERENCES;
        if is_shared
            && object != self.root
            && (bytes < LARGE_BYTES || !self.seen.insert(object, false))
        {
            return;
        }
        self.weight += bytes;
    }

    /// Begin with a container that can be changed: it may be met once.
    ///
    /// To be met again it would have to be referred to again, from inside the tree: through its own reference count, or
    /// through a container that is met again itself. The root's references say nothing, but whoever meets it meets it again.
    unsafe fn enter(&mut self, container: *mut PyObject, own: ffi::Py_ssize_t) -> Result<(), Stop> {
        let is_root = own == ffi::Py_ssize_t::MAX;
        if !self.copies || (container == self.root && !is_root) {
            return Err(Stop::Foreign);
        }
        // Without the GIL the counts of other threads' references are not to be relied on.
        // SAFETY: the object is alive.
        let is_shared = cfg!(Py_GIL_DISABLED) || unsafe { ffi::Py_REFCNT(container) } > own;
        if is_shared && !is_root && !self.seen.insert(container, true) {
            return Err(Stop::Foreign);
        }
        Ok(())
    }

    unsafe fn dict(&mut self, dict: *mut PyObject, depth: u32) -> Result<Node, Stop> {
        // SAFETY: see the impl. The template is private, and changed only when it is no longer walked.
        unsafe {
            let template = owned(self.py, ffi::PyDict_Copy(dict))?;
            let (mut at, mut key, mut value) = (0, std::ptr::null_mut(), std::ptr::null_mut());
            let (mut count, mut is_all_str, mut is_native) = (0, true, true);
            let mut holes = Vec::new();
            while ffi::PyDict_Next(template.as_ptr(), &raw mut at, &raw mut key, &raw mut value)
                != 0
            {
                count += 1;
                if ffi::Py_TYPE(key) != &raw mut ffi::PyUnicode_Type {
                    is_all_str = false;
                    is_native = is_native && self.is_native_key(key);
                }
                if self.piece(key, 2, depth + 1)?.is_some() {
                    return Err(Stop::Foreign);
                }
                if let Some(node) = self.piece(value, 2, depth + 1)? {
                    holes.push((self.borrowed(key), node));
                }
            }
            self.weight += bytes::of_dict(count, is_all_str);
            if holes.is_empty() {
                ffi::PyObject_GC_UnTrack(template.as_ptr().cast());
                return Ok(Node::Dict(template.unbind()));
            }
            if !is_native {
                return Err(Stop::Foreign);
            }
            for (key, _) in &holes {
                if ffi::PyDict_SetItem(template.as_ptr(), key.as_ptr(), ffi::Py_None()) != 0 {
                    return Err(Stop::Failed);
                }
            }
            self.weight += bytes::of_holes(&holes);
            ffi::PyObject_GC_UnTrack(template.as_ptr().cast());
            Ok(Node::DictOf(Box::new(Holes {
                template: template.unbind(),
                holes,
            })))
        }
    }

    unsafe fn list(&mut self, list: *mut PyObject, depth: u32) -> Result<Node, Stop> {
        // SAFETY: see the impl. The template is private, and as long as it was when it was made.
        unsafe {
            let template = owned(self.py, ffi::PyList_GetSlice(list, 0, ffi::Py_ssize_t::MAX))?;
            let length = ffi::PyList_GET_SIZE(template.as_ptr());
            let mut holes = Vec::new();
            for at in 0..length {
                let item = ffi::PyList_GET_ITEM(template.as_ptr(), at);
                if let Some(node) = self.piece(item, 2, depth + 1)? {
                    holes.push((at, node));
                }
            }
            self.weight += bytes::of_list(length);
            for (at, _) in &holes {
                let none = ffi::Py_None();
                ffi::Py_INCREF(none);
                if ffi::PyList_SetItem(template.as_ptr(), *at, none) != 0 {
                    return Err(Stop::Failed);
                }
            }
            ffi::PyObject_GC_UnTrack(template.as_ptr().cast());
            let template = template.unbind();
            if holes.is_empty() {
                return Ok(Node::List(template));
            }
            self.weight += bytes::of_holes(&holes);
            Ok(Node::ListOf(Box::new(Holes { template, holes })))
        }
    }

    unsafe fn set(&mut self, set: *mut PyObject, depth: u32) -> Result<Node, Stop> {
        // SAFETY: see the impl. Copying a set into an empty one looks nothing up, so no equality is asked.
        unsafe {
            let template = owned(self.py, ffi::PySet_New(set))?;
            self.hashables(template.as_ptr(), depth)?;
            ffi::PyObject_GC_UnTrack(template.as_ptr().cast());
            Ok(Node::Set(template.unbind()))
        }
    }

    /// What a set or frozenset holds.
    unsafe fn hashables(&mut self, set: *mut PyObject, depth: u32) -> Result<(), Stop> {
        // SAFETY: see the impl. The set is private or can't be changed, so it holds what its iterator gives.
        unsafe {
            let iterator = owned(self.py, ffi::PyObject_GetIter(set))?;
            let mut count = 0;
            while let Some(item) =
                Bound::from_owned_ptr_or_opt(self.py, ffi::PyIter_Next(iterator.as_ptr()))
            {
                count += 1;
                if self.piece(item.as_ptr(), 2, depth + 1)?.is_some() {
                    return Err(Stop::Foreign);
                }
            }
            self.weight += bytes::of_set(count);
            Ok(())
        }
    }

    unsafe fn tuple(
        &mut self,
        tuple: *mut PyObject,
        own: ffi::Py_ssize_t,
        depth: u32,
    ) -> Result<Option<Node>, Stop> {
        // SAFETY: see the impl. A tuple keeps its items.
        unsafe {
            let length = ffi::PyTuple_GET_SIZE(tuple);
            if length == 0 {
                return Ok(None);
            }
            let is_shared = cfg!(Py_GIL_DISABLED) || ffi::Py_REFCNT(tuple) > own;
            // Tuples of tuples of ... grow by powers of two, were a shared one walked each time.
            if is_shared && let Some(is_once) = self.seen.get(tuple) {
                return if is_once {
                    Err(Stop::Foreign)
                } else {
                    Ok(None)
                };
            }
            let mut nodes: Vec<Node> = Vec::new();
            for at in 0..length {
                let item = ffi::PyTuple_GET_ITEM(tuple, at);
                let node = self.piece(item, 1, depth + 1)?;
                if nodes.is_empty() {
                    let Some(node) = node else { continue };
                    nodes.reserve_exact(length.cast_unsigned());
                    for before in 0..at {
                        nodes.push(Node::Leaf(
                            self.borrowed(ffi::PyTuple_GET_ITEM(tuple, before)),
                        ));
                    }
                    nodes.push(node);
                } else {
                    nodes.push(node.unwrap_or_else(|| Node::Leaf(self.borrowed(item))));
                }
            }
            if is_shared {
                self.seen.insert(tuple, !nodes.is_empty());
            }
            if nodes.is_empty() {
                self.weight += bytes::of_tuple(length);
                return Ok(None);
            }
            self.weight += bytes::of_nodes(&nodes);
            Ok(Some(Node::Tuple(nodes.into_boxed_slice())))
        }
    }

    /// What is immutable and holds nothing that could be changed, besides atoms.
    unsafe fn scalar_bytes(
        &mut self,
        object: *mut PyObject,
        kind: *mut PyTypeObject,
    ) -> Result<u64, Stop> {
        let kind = kind.cast::<PyObject>();
        // SAFETY: see the impl; the two types have the layouts that their zones are read by.
        let (zone, bytes) = unsafe {
            if self.kinds.is_date_time(kind) {
                (zone_of_date_time(object), bytes::DATE_TIME)
            } else if self.kinds.is_time(kind) {
                (zone_of_time(object), bytes::TIME)
            } else if self.kinds.is_text(kind) {
                return Ok(bytes::of_str(object));
            } else {
                let scalar = self.kinds.scalar(kind).ok_or(Stop::Foreign)?;
                return Ok(scalar.bytes);
            }
        };
        // SAFETY: the object holds its zone.
        unsafe {
            let kind = ffi::Py_TYPE(zone).cast::<PyObject>();
            if zone == ffi::Py_None() || self.kinds.is_timezone(kind) {
                return Ok(bytes);
            }
            if !self.kinds.is_zone(kind) {
                return Err(Stop::Foreign);
            }
            if !self.kinds.knows_zone(zone) {
                return Err(Stop::Zone(self.borrowed(zone)));
            }
        }
        Ok(bytes)
    }

    /// Can it be looked up among its like without running Python code?
    unsafe fn is_native_key(&self, key: *mut PyObject) -> bool {
        // SAFETY: see the impl; a tuple keeps its items.
        unsafe {
            let kind = ffi::Py_TYPE(key);
            if kind == &raw mut ffi::PyTuple_Type {
                return (0..ffi::PyTuple_GET_SIZE(key))
                    .all(|at| self.is_native_key(ffi::PyTuple_GET_ITEM(key, at)));
            }
            if bytes::of_atom(key, kind).is_some() {
                return true;
            }
            let kind = kind.cast::<PyObject>();
            if self.kinds.is_date_time(kind) {
                let zone = zone_of_date_time(key);
                return zone == ffi::Py_None()
                    || self
                        .kinds
                        .is_timezone(ffi::Py_TYPE(zone).cast::<PyObject>());
            }
            self.kinds
                .scalar(kind)
                .is_some_and(|scalar| scalar.is_native_key)
        }
    }

    /// A reference of its own to an object that somebody else keeps.
    fn borrowed(&self, object: *mut PyObject) -> Py<PyAny> {
        // SAFETY: the object is alive: it is part of the value, or of a template.
        unsafe { Borrowed::from_ptr(self.py, object) }
            .to_owned()
            .unbind()
    }
}

/// A new reference from C.
///
/// # Safety
/// It is one, or null with an error set.
unsafe fn owned(py: Python<'_>, object: *mut PyObject) -> Result<Bound<'_, PyAny>, Stop> {
    // SAFETY: the caller's promise.
    unsafe { Bound::from_owned_ptr_or_opt(py, object) }.ok_or(Stop::Failed)
}

#[cfg(not(Py_LIMITED_API))]
unsafe fn zone_of_date_time(object: *mut PyObject) -> *mut PyObject {
    // SAFETY: the caller has seen its type.
    unsafe { ffi::PyDateTime_DATE_GET_TZINFO(object) }
}

#[cfg(not(Py_LIMITED_API))]
unsafe fn zone_of_time(object: *mut PyObject) -> *mut PyObject {
    // SAFETY: the caller has seen its type.
    unsafe { ffi::PyDateTime_TIME_GET_TZINFO(object) }
}

// Without the layouts every datetime passes for one with a zone of an unknown kind: itself.
#[cfg(Py_LIMITED_API)]
unsafe fn zone_of_date_time(object: *mut PyObject) -> *mut PyObject {
    object
}

#[cfg(Py_LIMITED_API)]
unsafe fn zone_of_time(object: *mut PyObject) -> *mut PyObject {
    object
}
