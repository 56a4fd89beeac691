//! Calls from Rust into Python code: keys' `__hash__` and `__eq__`, callbacks, loads, finalisers.
//!
//! Before CPython 3.14 a daemon thread that comes back from waiting for the GIL while the interpreter exits is ended by
//! `pthread_exit`, which unwinds the stack by force. Through Rust's frames that is an abort of the whole process. So the
//! calls made here are declared as ones that may unwind, and whoever is unwound by force stays where it is for ever
//! instead, as 3.14 itself does: it holds neither the GIL nor a lock of ours, and the exit goes on without it.
#![expect(
    unsafe_code,
    reason = "declarations of CPython's functions that may unwind"
)]

use std::ffi::c_int;
use std::hint::black_box;
use std::time::Duration;

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

type Hash = unsafe extern "C-unwind" fn(*mut PyObject) -> ffi::Py_hash_t;
type Compare = unsafe extern "C-unwind" fn(*mut PyObject, *mut PyObject, c_int) -> c_int;
type Call =
    unsafe extern "C-unwind" fn(*mut PyObject, *mut PyObject, *mut PyObject) -> *mut PyObject;
type DecRef = unsafe extern "C-unwind" fn(*mut PyObject);

unsafe extern "C-unwind" {
    fn PyObject_Hash(object: *mut PyObject) -> ffi::Py_hash_t;
    fn PyObject_RichCompareBool(
        left: *mut PyObject,
        right: *mut PyObject,
        operator: c_int,
    ) -> c_int;
    fn PyObject_Call(
        callable: *mut PyObject,
        args: *mut PyObject,
        kwargs: *mut PyObject,
    ) -> *mut PyObject;
    fn Py_DecRef(object: *mut PyObject);
}

/// Dropped only when the stack is unwound: then by a panic, which goes on, or by force, which ends here.
struct Stay;

impl Drop for Stay {
    fn drop(&mut self) {
        while !std::thread::panicking() {
            std::thread::sleep(Duration::MAX);
        }
    }
}

// pyo3 declares the same functions as never unwinding, and one declaration is left when the crates are linked as one: the
// callers below hide the function from the optimiser (`black_box`), or it would leave the forced unwind no place to stop.
#[inline(always)]
fn outside<R>(call: impl FnOnce() -> R) -> R {
    let stay = Stay;
    let result = call();
    std::mem::forget(stay);
    result
}

/// `hash(object)`, as the engine wants it. Runs `__hash__`: hold no lock.
#[inline]
pub(super) fn hash(object: &Bound<'_, PyAny>) -> PyResult<u64> {
    // SAFETY: the object is alive and the thread is attached.
    let hash = outside(|| unsafe { black_box(PyObject_Hash as Hash)(object.as_ptr()) });
    if hash == -1 {
        Err(PyErr::fetch(object.py()))
    } else {
        Ok(hash.cast_unsigned() as u64)
    }
}

/// `left is right or left == right`.
pub(super) fn equal(left: &Bound<'_, PyAny>, right: &Bound<'_, PyAny>) -> PyResult<bool> {
    // SAFETY: both objects are alive and the thread is attached.
    match outside(|| unsafe {
        black_box(PyObject_RichCompareBool as Compare)(left.as_ptr(), right.as_ptr(), ffi::Py_EQ)
    }) {
        -1 => Err(PyErr::fetch(left.py())),
        answer => Ok(answer == 1),
    }
}

/// `callable(*args, **kwargs)`.
pub(super) fn call<'py>(
    callable: &Bound<'py, PyAny>,
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let kwargs = kwargs.map_or(std::ptr::null_mut(), Bound::as_ptr);
    // SAFETY: all objects are alive, the thread is attached, and the result is a new reference or null with an error set.
    unsafe {
        let result =
            outside(|| black_box(PyObject_Call as Call)(callable.as_ptr(), args.as_ptr(), kwargs));
        Bound::from_owned_ptr_or_err(callable.py(), result)
    }
}

/// Drop a raw reference that may be the last: finalisers run here.
///
/// # Safety
/// The reference is owned and the thread is attached.
#[inline]
pub(super) unsafe fn decref(object: *mut PyObject) {
    // SAFETY: the caller's promise.
    outside(|| unsafe { black_box(Py_DecRef as DecRef)(object) });
}

/// Drop a reference that may be the last: finalisers run here.
#[inline]
pub(super) fn release(object: Py<PyAny>, _py: Python<'_>) {
    // SAFETY: the reference was owned, and the thread is attached.
    outside(|| unsafe { black_box(Py_DecRef as DecRef)(object.into_ptr()) });
}
