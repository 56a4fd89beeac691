//! The Django backend: `get`, `set` and `get_many` of an exact `str`; and what else of it pyo3 has no safe function for.

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::PyString;

/// The text of an instance of a subclass of str; an exact str as it is.
pub(in crate::bindings) fn exact_str<'py>(
    text: &Bound<'py, PyString>,
) -> PyResult<Bound<'py, PyString>> {
    // SAFETY: the object is a str and alive, and the result is a new reference to an exact one, or null with an error set.
    unsafe {
        let exact = ffi::PyUnicode_FromObject(text.as_ptr());
        Ok(Bound::from_owned_ptr_or_err(text.py(), exact)?.cast_into_unchecked())
    }
}

/// Is each character above the space, and none of them DEL? That is what memcached asks of keys.
pub(in crate::bindings) fn is_printable(text: &Bound<'_, PyString>) -> bool {
    #[cfg(not(Py_LIMITED_API))]
    // SAFETY: a str has a length, a kind and that many characters of that width behind its data pointer.
    unsafe {
        let length = ffi::PyUnicode_GET_LENGTH(text.as_ptr()).cast_unsigned();
        let data = ffi::PyUnicode_DATA(text.as_ptr());
        let kind = ffi::PyUnicode_KIND(text.as_ptr());
        if kind == ffi::PyUnicode_1BYTE_KIND {
            all_printable(std::slice::from_raw_parts(data.cast::<u8>(), length))
        } else if kind == ffi::PyUnicode_2BYTE_KIND {
            all_printable(std::slice::from_raw_parts(data.cast::<u16>(), length))
        } else {
            all_printable(std::slice::from_raw_parts(data.cast::<u32>(), length))
        }
    }
    #[cfg(Py_LIMITED_API)]
    text.to_string_lossy()
        .chars()
        .all(|character| character > ' ' && character != '\u{7f}')
}

#[cfg(not(Py_LIMITED_API))]
fn all_printable<T: Copy + Into<u32>>(text: &[T]) -> bool {
    // No early end: so it is done many characters at a time.
    text.iter().fold(true, |is_good, &character| {
        let character: u32 = character.into();
        is_good & (character > 32) & (character != 127)
    })
}

/// What changes with each change of the type or of its bases; 0 where that can't be told.
pub(in crate::bindings) fn type_tag(object: &Bound<'_, PyAny>) -> u32 {
    // SAFETY: the object is alive, and so is its type.
    unsafe { raw_type_tag(object.as_ptr()) }
}

/// # Safety
/// The object is alive and the thread attached.
#[inline(always)]
unsafe fn raw_type_tag(object: *mut PyObject) -> u32 {
    #[cfg(not(Py_LIMITED_API))]
    // SAFETY: the caller's promise.
    unsafe {
        (*ffi::Py_TYPE(object)).tp_version_tag
    }
    #[cfg(Py_LIMITED_API)]
    {
        let _ = object;
        0
    }
}
