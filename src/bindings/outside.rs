//! Calls from Rust into Python code: keys' `__hash__` and `__eq__`, callbacks, loads, finalisers, arguments that are walked.
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
use std::mem::ManuallyDrop;
use std::time::Duration;

use pyo3::exceptions::PyAttributeError;
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyString, PyTuple};

type Hash = unsafe extern "C-unwind" fn(*mut PyObject) -> ffi::Py_hash_t;
type Compare = unsafe extern "C-unwind" fn(*mut PyObject, *mut PyObject, c_int) -> c_int;
type Call =
    unsafe extern "C-unwind" fn(*mut PyObject, *mut PyObject, *mut PyObject) -> *mut PyObject;
type Unary = unsafe extern "C-unwind" fn(*mut PyObject) -> *mut PyObject;
type Binary = unsafe extern "C-unwind" fn(*mut PyObject, *mut PyObject) -> *mut PyObject;
type Insert = unsafe extern "C-unwind" fn(*mut PyObject, *mut PyObject, *mut PyObject) -> c_int;
type Float = unsafe extern "C-unwind" fn(*mut PyObject) -> f64;
type DecRef = unsafe extern "C-unwind" fn(*mut PyObject);
type Ensure = unsafe extern "C-unwind" fn() -> ffi::PyGILState_STATE;
type Release = unsafe extern "C-unwind" fn(ffi::PyGILState_STATE);
type Restore = unsafe extern "C-unwind" fn(*mut ffi::PyThreadState);

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
    fn PyObject_GetAttr(object: *mut PyObject, name: *mut PyObject) -> *mut PyObject;
    fn PyObject_GetIter(object: *mut PyObject) -> *mut PyObject;
    fn PyIter_Next(iterator: *mut PyObject) -> *mut PyObject;
    fn PyObject_Repr(object: *mut PyObject) -> *mut PyObject;
    fn PyNumber_Add(left: *mut PyObject, right: *mut PyObject) -> *mut PyObject;
    fn PyNumber_Index(object: *mut PyObject) -> *mut PyObject;
    fn PyFloat_AsDouble(object: *mut PyObject) -> f64;
    fn PyDict_SetItem(dict: *mut PyObject, key: *mut PyObject, value: *mut PyObject) -> c_int;
    fn PyObject_GenericSetAttr(
        object: *mut PyObject,
        name: *mut PyObject,
        value: *mut PyObject,
    ) -> c_int;
    fn PyImport_Import(name: *mut PyObject) -> *mut PyObject;
    fn Py_DecRef(object: *mut PyObject);
    fn PyGILState_Ensure() -> ffi::PyGILState_STATE;
    fn PyGILState_Release(state: ffi::PyGILState_STATE);
    fn PyEval_SaveThread() -> *mut ffi::PyThreadState;
    fn PyEval_RestoreThread(state: *mut ffi::PyThreadState);
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
    compare(left, right, ffi::Py_EQ)
}

/// `left < right`.
pub(super) fn less(left: &Bound<'_, PyAny>, right: &Bound<'_, PyAny>) -> PyResult<bool> {
    compare(left, right, ffi::Py_LT)
}

fn compare(left: &Bound<'_, PyAny>, right: &Bound<'_, PyAny>, operator: c_int) -> PyResult<bool> {
    // SAFETY: both objects are alive and the thread is attached.
    match outside(|| unsafe {
        black_box(PyObject_RichCompareBool as Compare)(left.as_ptr(), right.as_ptr(), operator)
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

/// `callable(*args)`.
pub(super) fn call_with<'py>(
    callable: &Bound<'py, PyAny>,
    args: impl IntoPyObject<'py, Target = PyTuple, Output = Bound<'py, PyTuple>, Error = PyErr>,
) -> PyResult<Bound<'py, PyAny>> {
    call(callable, &args.into_pyobject(callable.py())?, None)
}

/// `object.name()`.
pub(super) fn call_method<'py>(
    object: &Bound<'py, PyAny>,
    name: &Bound<'py, PyString>,
) -> PyResult<Bound<'py, PyAny>> {
    call(
        &attribute(object, name)?,
        &PyTuple::empty(object.py()),
        None,
    )
}

/// `object.name`.
pub(super) fn attribute<'py>(
    object: &Bound<'py, PyAny>,
    name: &Bound<'py, PyString>,
) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: both objects are alive, the thread is attached, and the result is a new reference or null with an error set.
    unsafe {
        let result =
            outside(|| black_box(PyObject_GetAttr as Binary)(object.as_ptr(), name.as_ptr()));
        Bound::from_owned_ptr_or_err(object.py(), result)
    }
}

/// `object.name` as a new reference, or null with an error set.
///
/// # Safety
/// Both are valid objects and the thread is attached.
#[inline(always)]
pub(super) unsafe fn raw_attribute(object: *mut PyObject, name: *mut PyObject) -> *mut PyObject {
    // SAFETY: the caller's promise.
    outside(|| unsafe { black_box(PyObject_GetAttr as Binary)(object, name) })
}

/// `object.name`, or None where it raises `AttributeError`.
pub(super) fn attribute_if_any<'py>(
    object: &Bound<'py, PyAny>,
    name: &Bound<'py, PyString>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    match attribute(object, name) {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_instance_of::<PyAttributeError>(object.py()) => Ok(None),
        Err(error) => Err(error),
    }
}

/// `repr(object)`.
pub(super) fn repr<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyString>> {
    Ok(unary(PyObject_Repr, object)?.cast_into()?)
}

/// `operator.index(object)`.
pub(super) fn index<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyInt>> {
    Ok(unary(PyNumber_Index, object)?.cast_into()?)
}

/// `left + right`.
pub(super) fn add<'py>(
    left: &Bound<'py, PyAny>,
    right: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: both objects are alive, the thread is attached, and the result is a new reference or null with an error set.
    unsafe {
        let result = outside(|| black_box(PyNumber_Add as Binary)(left.as_ptr(), right.as_ptr()));
        Bound::from_owned_ptr_or_err(left.py(), result)
    }
}

/// `float(object)`, of a number: `__float__` or `__index__`.
pub(super) fn float(object: &Bound<'_, PyAny>) -> PyResult<f64> {
    // SAFETY: the object is alive and the thread is attached.
    let float = outside(|| unsafe { black_box(PyFloat_AsDouble as Float)(object.as_ptr()) });
    #[expect(clippy::float_cmp, reason = "the exact value that may mean an error")]
    if float == -1.0
        && let Some(error) = PyErr::take(object.py())
    {
        return Err(error);
    }
    Ok(float)
}

/// `dict[key] = value`. Runs the key's `__hash__` and `__eq__`.
pub(super) fn insert(
    dict: &Bound<'_, PyDict>,
    key: &Bound<'_, PyAny>,
    value: &Bound<'_, PyAny>,
) -> PyResult<()> {
    // SAFETY: all objects are alive and the thread is attached.
    match outside(|| unsafe {
        black_box(PyDict_SetItem as Insert)(dict.as_ptr(), key.as_ptr(), value.as_ptr())
    }) {
        -1 => Err(PyErr::fetch(dict.py())),
        _ => Ok(()),
    }
}

/// `object.__setattr__(instance, name, value)`, or `object.__delattr__(instance, name)` for no value.
pub(super) fn set_attribute(
    instance: &Bound<'_, PyAny>,
    name: &Bound<'_, PyAny>,
    value: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let value = value.map_or(std::ptr::null_mut(), Bound::as_ptr);
    // SAFETY: all objects are alive and the thread is attached.
    match outside(|| unsafe {
        black_box(PyObject_GenericSetAttr as Insert)(instance.as_ptr(), name.as_ptr(), value)
    }) {
        -1 => Err(PyErr::fetch(instance.py())),
        _ => Ok(()),
    }
}

/// `import name`. Runs the module, the first time.
pub(super) fn import<'py>(name: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
    unary(PyImport_Import, name)
}

/// `iter(object)`, to be walked here.
pub(super) fn iterate<'py>(object: &Bound<'py, PyAny>) -> PyResult<Items<'py>> {
    Ok(Items {
        iterator: ManuallyDrop::new(unary(PyObject_GetIter, object)?),
    })
}

/// What is left of an iterator. Each step, and letting go of a generator that was not exhausted, runs Python code.
pub(super) struct Items<'py> {
    iterator: ManuallyDrop<Bound<'py, PyAny>>,
}

impl<'py> Iterator for Items<'py> {
    type Item = PyResult<Bound<'py, PyAny>>;

    fn next(&mut self) -> Option<Self::Item> {
        let py = self.iterator.py();
        // SAFETY: the iterator is one, the thread is attached, and the result is a new reference or null.
        let item = unsafe {
            let item = outside(|| black_box(PyIter_Next as Unary)(self.iterator.as_ptr()));
            Bound::from_owned_ptr_or_opt(py, item)
        };
        item.map_or_else(|| PyErr::take(py).map(Err), |item| Some(Ok(item)))
    }
}

impl Drop for Items<'_> {
    fn drop(&mut self) {
        // SAFETY: the reference is owned, the thread is attached, and nothing uses the iterator afterwards.
        unsafe { decref(self.iterator.as_ptr()) };
    }
}

fn unary<'py>(function: Unary, object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: the object is alive, the thread is attached, and the result is a new reference or null with an error set.
    unsafe {
        let result = outside(|| black_box(function)(object.as_ptr()));
        Bound::from_owned_ptr_or_err(object.py(), result)
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

/// Calls `work` in a thread that Python did not start, with the GIL; None where the interpreter is gone or about to go.
pub(super) fn attached<R>(work: impl FnOnce(Python<'_>) -> R) -> Option<R> {
    if !is_alive() {
        return None;
    }
    // SAFETY: the interpreter is initialised. Should it end meanwhile, waiting for the GIL ends this thread, which `outside`
    // is there for.
    let state = outside(|| unsafe { black_box(PyGILState_Ensure as Ensure)() });
    // Attached already, so that pyo3 has only to count it.
    let result = Python::try_attach(work);
    // SAFETY: of the same thread, and the counterpart of the call above. Frees the thread's state, which may run finalisers.
    outside(|| unsafe { black_box(PyGILState_Release as Release)(state) });
    result
}

fn is_alive() -> bool {
    // SAFETY: may be called at any time.
    if unsafe { ffi::Py_IsInitialized() } == 0 {
        return false;
    }
    // SAFETY: may be called at any time.
    #[cfg(Py_3_13)]
    if unsafe { ffi::Py_IsFinalizing() } != 0 {
        return false;
    }
    true
}

/// Calls `work` without the GIL. It must touch nothing of Python's, and no table may be locked.
pub(super) fn detached<R>(_py: Python<'_>, work: impl FnOnce() -> R) -> R {
    // SAFETY: the thread is attached.
    let state = unsafe { PyEval_SaveThread() };
    let result = work();
    // SAFETY: of the same thread, and the counterpart of the call above.
    outside(|| unsafe { black_box(PyEval_RestoreThread as Restore)(state) });
    result
}
