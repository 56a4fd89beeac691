//! The characters of a str where it keeps them: to look at keys under a table's lock, where nothing of Python's may be made.

#[cfg(not(Py_LIMITED_API))]
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::engine::Text;

/// Shows the characters of a str. Runs no Python code and makes no object.
pub(in crate::bindings) fn with_text<R>(
    text: &Bound<'_, PyString>,
    look: impl FnOnce(Text<'_>) -> R,
) -> R {
    #[cfg(not(Py_LIMITED_API))]
    // SAFETY: a str has a length, a kind and that many characters of that width behind its data pointer, for as long as it is
    // held, and never changes.
    let text = unsafe {
        let length = ffi::PyUnicode_GET_LENGTH(text.as_ptr()).cast_unsigned();
        let data = ffi::PyUnicode_DATA(text.as_ptr());
        let kind = ffi::PyUnicode_KIND(text.as_ptr());
        if kind == ffi::PyUnicode_1BYTE_KIND {
            Text::Latin(std::slice::from_raw_parts(data.cast::<u8>(), length))
        } else if kind == ffi::PyUnicode_2BYTE_KIND {
            Text::Wide(std::slice::from_raw_parts(data.cast::<u16>(), length))
        } else {
            Text::Full(std::slice::from_raw_parts(data.cast::<u32>(), length))
        }
    };
    #[cfg(Py_LIMITED_API)]
    // The limited API shows no characters where they are.
    let points = crate::engine::text::points(&text.to_string_lossy());
    #[cfg(Py_LIMITED_API)]
    let text = Text::Full(&points);
    look(text)
}
