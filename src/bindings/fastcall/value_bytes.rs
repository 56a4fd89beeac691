//! What values weigh: estimates of what `sys.getsizeof` says, with the collector's header, made from lengths alone.

use pyo3::ffi::{self, PyObject, PyTypeObject};
use pyo3::prelude::*;

use crate::bindings::values::Node;

/// What every container has before it: the collector's two words.
const HEADER: u64 = 16;
pub(super) const DATE_TIME: u64 = 48;
pub(super) const TIME: u64 = 40;

/// The bytes of an exact str, int, float, bytes, bool or None: they are told from everything else by this being `Some`.
///
/// # Safety
/// The object is alive and of this type.
#[inline(always)]
pub(super) unsafe fn of_atom(object: *mut PyObject, kind: *mut PyTypeObject) -> Option<u64> {
    // SAFETY: the caller's promise; each size is read according to the type.
    unsafe {
        if kind == &raw mut ffi::PyUnicode_Type {
            Some(of_str(object))
        } else if kind == &raw mut ffi::PyLong_Type {
            Some(of_int(object))
        } else if kind == &raw mut ffi::PyFloat_Type {
            Some(24)
        } else if object == ffi::Py_None() || kind == &raw mut ffi::PyBool_Type {
            Some(0)
        } else if kind == &raw mut ffi::PyBytes_Type {
            Some(33 + length(ffi::PyBytes_Size(object)))
        } else {
            None
        }
    }
}

/// # Safety
/// The object is a str, or of a subclass, and alive.
#[inline(always)]
pub(super) unsafe fn of_str(text: *mut PyObject) -> u64 {
    // A character more for the terminator; the longest of the headers.
    #[cfg(not(Py_LIMITED_API))]
    // SAFETY: the caller's promise.
    unsafe {
        let width = u64::from(ffi::PyUnicode_KIND(text));
        56 + (length(ffi::PyUnicode_GET_LENGTH(text)) + 1) * width
    }
    #[cfg(Py_LIMITED_API)]
    // SAFETY: the caller's promise.
    unsafe {
        56 + length(ffi::PyUnicode_GetLength(text)) + 1
    }
}

#[inline(always)]
unsafe fn of_int(int: *mut PyObject) -> u64 {
    // How many digits of 30 bits: the word behind the object's head, which is the size of a variable object up to 3.11, and
    // from 3.12 on has three bits of its own below the count.
    #[cfg(not(Py_LIMITED_API))]
    // SAFETY: an exact int has this word.
    let digits = unsafe {
        let word = int.add(1).cast::<isize>();
        if cfg!(Py_3_12) {
            (*word).cast_unsigned() >> 3
        } else {
            (*word).unsigned_abs()
        }
    } as u64;
    #[cfg(Py_LIMITED_API)]
    let digits = 2;
    24 + 4 * digits.max(1)
}

pub(super) fn of_dict(count: u64, is_all_str: bool) -> u64 {
    if count == 0 {
        return HEADER + 48;
    }
    // As CPython does: a power of two, of which two thirds are usable.
    let table = (count * 3).div_ceil(2).next_power_of_two().max(8);
    let index = if table <= 1 << 8 {
        1
    } else if table <= 1 << 16 {
        2
    } else {
        4
    };
    let entry = if is_all_str { 16 } else { 24 };
    HEADER + 48 + 32 + table * index + table * 2 / 3 * entry
}

pub(super) fn of_list(count: ffi::Py_ssize_t) -> u64 {
    HEADER + 40 + 8 * length(count)
}

pub(super) fn of_tuple(count: ffi::Py_ssize_t) -> u64 {
    HEADER + 24 + 8 * length(count)
}

pub(super) fn of_set(count: u64) -> u64 {
    // Up to four stand in the object itself; a copied table is at most half full.
    let table = if count > 4 {
        (2 * count).next_power_of_two()
    } else {
        0
    };
    HEADER + 200 + 16 * table
}

pub(super) fn of_holes<At>(holes: &[(At, Node)]) -> u64 {
    size_of_val(holes) as u64 + 48
}

pub(super) fn of_nodes(nodes: &[Node]) -> u64 {
    size_of_val(nodes) as u64 + 24
}

/// The bytes of an object without those that it refers to, made from its type and its length.
pub(in crate::bindings) fn shallow_bytes(object: &Bound<'_, PyAny>) -> u64 {
    let pointer = object.as_ptr();
    // SAFETY: the object is alive, the thread attached, and each length is read according to the type.
    unsafe {
        let kind = ffi::Py_TYPE(pointer);
        if let Some(bytes) = of_atom(pointer, kind) {
            bytes
        } else if kind == &raw mut ffi::PyDict_Type {
            of_dict(length(ffi::PyDict_Size(pointer)), false)
        } else if kind == &raw mut ffi::PyList_Type {
            of_list(ffi::PyList_Size(pointer))
        } else if kind == &raw mut ffi::PyTuple_Type {
            of_tuple(ffi::PyTuple_Size(pointer))
        } else if kind == &raw mut ffi::PySet_Type || kind == &raw mut ffi::PyFrozenSet_Type {
            of_set(length(ffi::PySet_Size(pointer)))
        } else {
            // An instance with a `__dict__` that shares its keys, as most are.
            HEADER + 112
        }
    }
}

fn length(count: ffi::Py_ssize_t) -> u64 {
    count.max(0).cast_unsigned() as u64
}
