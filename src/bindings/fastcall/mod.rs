//! The few hot methods as raw C functions: what a hit costs is decided here.
//!
//! Each raw method serves the common case (an exact `str` key, a hit) without converting anything, and hands every other
//! case to its safe twin, the `#[pymethods]` function of the same name. `OXICACHE_SAFE_METHODS=1` at import leaves the twins
//! in place; the whole test suite runs against both.
//!
//! pyo3 does not know that a thread inside a raw method is attached: dropping a `Py<T>` there would only be noted for
//! later. So references are dropped through `Py_DECREF`, and everything beyond the common case runs inside
//! `Python::attach`.
//!
//! Here is what the raw methods share, and how they take the twins' places; `cache.rs` and `memo.rs` have the methods,
//! and the `value*.rs` copy what the Django backend stores.
#![expect(
    unsafe_code,
    reason = "CPython's C calling convention, here and in the files of this folder"
)]

mod backend;
mod cache;
mod inline;
mod memo;
mod row;
mod text;
mod value_bytes;
mod value_copies;
mod values;

use std::ffi::CString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use pyo3::ffi::{self, PyObject};
use pyo3::panic::PanicException;
use pyo3::prelude::*;
use pyo3::types::PyType;

pub(super) use backend::{exact_str, is_printable, type_tag};
pub(super) use inline::Places;
pub(super) use memo::memo_call;
pub(super) use text::with_text;
pub(super) use value_bytes::shallow_bytes;
pub(super) use value_copies::thaw_native;
pub(super) use values::copy_in;

use super::backend::BackendBase;
use super::cache::PyTtlCache;
use super::memo::MemoProperty;
use super::memo_key::MemoKey;
use crate::engine::clock::{self, Now, Source};

/// What the safe twins are, once the raw methods have taken their names.
struct Twins {
    get: Py<PyAny>,
    set: Py<PyAny>,
    subscript: ffi::binaryfunc,
    assign: ffi::objobjargproc,
    contains: ffi::objobjproc,
    backend_get: Py<PyAny>,
    property_get: ffi::descrgetfunc,
}

static TWINS: OnceLock<Twins> = OnceLock::new();

/// Work beyond the common case: pyo3 is told that the thread is attached, so that dropped references are freed at once.
fn attached<R>(body: impl FnOnce(Python<'_>) -> R) -> R {
    // SAFETY: raw methods are called by CPython, in a thread that is attached.
    unsafe {
        if ffi::Py_IsInitialized() != 0 {
            return Python::attach(body);
        }
        // Finalisers run when the interpreter is no longer "initialized", and `attach` would panic.
        body(Python::assume_attached())
    }
}

/// Run a raw method's body; a panic becomes a Python exception.
#[inline(always)]
fn guarded<R>(failed: R, body: impl FnOnce() -> R) -> R {
    catch_unwind(AssertUnwindSafe(body))
        .unwrap_or_else(|payload| raise_panic(failed, payload.as_ref()))
}

#[cold]
fn raise_panic<R>(failed: R, payload: &(dyn std::any::Any + Send)) -> R {
    let message = payload.downcast_ref::<String>().cloned();
    let message = message.or_else(|| {
        payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
    });
    let message = message.unwrap_or_else(|| "panic in oxicache".to_owned());
    attached(|py| PanicException::new_err(message).restore(py));
    failed
}

/// The instant, unless telling it means asking Python, or something is to be heeded first: orders, or that caches are
/// disabled. Each raw method that reads or writes a cache asks here, and else leaves all to its safe twin.
#[inline(always)]
fn native_now() -> Option<Now> {
    if clock::ready() == Some(Source::System) {
        return Some(Now::coarse());
    }
    driven_now()
}

#[cold]
fn driven_now() -> Option<Now> {
    (clock::ready() == Some(Source::Driven)).then(clock::now)
}

/// # Safety
/// `text` is an exact str and the thread is attached.
#[inline(always)]
unsafe fn str_hash(text: *mut PyObject) -> u64 {
    #[cfg(not(any(Py_LIMITED_API, Py_GIL_DISABLED)))]
    {
        // SAFETY: every exact str begins with a PyASCIIObject; its hash field is written under the GIL only.
        let hash = unsafe { (*text.cast::<ffi::PyASCIIObject>()).hash };
        if hash != -1 {
            return hash.cast_unsigned() as u64;
        }
    }
    // SAFETY: hashing an exact str neither fails nor runs Python code.
    unsafe { ffi::PyObject_Hash(text).cast_unsigned() as u64 }
}

/// # Safety
/// Both are exact strs and the thread is attached.
#[inline(always)]
unsafe fn same_str(left: *mut PyObject, right: *mut PyObject) -> bool {
    #[cfg(not(Py_LIMITED_API))]
    {
        // SAFETY: exact strs have a length, a kind and that many characters of that width behind their data pointer.
        unsafe {
            let length = ffi::PyUnicode_GET_LENGTH(left);
            let kind = ffi::PyUnicode_KIND(left);
            if length != ffi::PyUnicode_GET_LENGTH(right) || kind != ffi::PyUnicode_KIND(right) {
                return false;
            }
            let bytes = length.cast_unsigned() * kind as usize;
            std::slice::from_raw_parts(ffi::PyUnicode_DATA(left).cast::<u8>(), bytes)
                == std::slice::from_raw_parts(ffi::PyUnicode_DATA(right).cast::<u8>(), bytes)
        }
    }
    #[cfg(Py_LIMITED_API)]
    {
        // SAFETY: comparing exact strs neither fails nor runs Python code.
        unsafe { ffi::PyUnicode_Compare(left, right) == 0 }
    }
}

/// Put the raw methods in place, unless `OXICACHE_SAFE_METHODS` says to leave the safe ones.
pub(super) fn install(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let is_safe = std::env::var_os("OXICACHE_SAFE_METHODS")
        .is_some_and(|value| !value.is_empty() && value != "0");
    let methods = if is_safe { "safe" } else { "raw" };
    crate::host::control::set_methods(methods);
    module.add("METHODS", methods)?;
    memo::MEMO_KEY_TYPE.store(py.get_type::<MemoKey>().as_type_ptr(), Ordering::Relaxed);
    if is_safe || TWINS.get().is_some() {
        return Ok(());
    }
    row::intern_names(py);
    backend::prepare(py);
    let handler = py.get_type::<BackendBase>();
    let (cache, property) = (py.get_type::<PyTtlCache>(), py.get_type::<MemoProperty>());
    let (cache_type, property_type) = (cache.as_type_ptr(), property.as_type_ptr());
    // SAFETY: pyo3 makes these types on the heap with all their slot tables, and nobody uses them before import ends.
    unsafe {
        let mapping = (*cache_type).tp_as_mapping;
        let sequence = (*cache_type).tp_as_sequence;
        let (Some(subscript), Some(assign), Some(contains), Some(get)) = (
            (*mapping).mp_subscript,
            (*mapping).mp_ass_subscript,
            (*sequence).sq_contains,
            (*property_type).tp_descr_get,
        ) else {
            return Ok(());
        };
        let twins = Twins {
            get: cache.getattr("get")?.unbind(),
            set: cache.getattr("set")?.unbind(),
            subscript,
            assign,
            contains,
            backend_get: handler.getattr("get")?.unbind(),
            property_get: get,
        };
        if TWINS.set(twins).is_err() {
            return Ok(());
        }
        add_method(&cache, "get", cache::cache_get)?;
        add_method(&cache, "set", cache::cache_set)?;
        add_method(&handler, "get", backend::backend_get)?;
        (*mapping).mp_subscript = Some(cache::cache_subscript);
        (*mapping).mp_ass_subscript = Some(cache::cache_assign);
        (*sequence).sq_contains = Some(cache::cache_contains);
        ffi::PyType_Modified(cache_type);
        (*property_type).tp_descr_get = Some(memo::property_get);
        ffi::PyType_Modified(property_type);
    }
    memo::install_vectorcall(py)
}

/// Replace a method of `owner` by a raw one with the twin's signature and docstring.
fn add_method(
    owner: &Bound<'_, PyType>,
    name: &str,
    method: ffi::PyCFunctionFastWithKeywords,
) -> PyResult<()> {
    let py = owner.py();
    let twin = owner.getattr(name)?;
    let signature: String = twin.getattr("__text_signature__")?.extract()?;
    let doc: String = twin.getattr("__doc__")?.extract()?;
    // CPython keeps pointers into the definition for as long as the type lives, which is for ever.
    let definition = Box::leak(Box::new(ffi::PyMethodDef {
        ml_name: CString::new(name)?.into_raw(),
        ml_meth: ffi::PyMethodDefPointer {
            PyCFunctionFastWithKeywords: method,
        },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: CString::new(format!("{name}{signature}\n--\n\n{doc}"))?.into_raw(),
    }));
    // SAFETY: the type and the definition live for ever.
    let descriptor = unsafe {
        Bound::from_owned_ptr_or_err(py, ffi::PyDescr_NewMethod(owner.as_type_ptr(), definition))?
    };
    owner.setattr(name, descriptor)
}
