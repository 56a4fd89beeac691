//! What a handler of the Django backend was told: prefix, version, key function, timeout; and whether its keys are made as
//! Django makes them, so that they need not be made at all.

use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyInt, PyString, PyType};

use super::backend_key::{salt_of, text_of, version_of};
use super::fastcall;
use super::native_store::{Life, NativeStore};
use super::outside;
use crate::engine::clock::{self, FOREVER};

/// What a handler may have of its own, and Django's native twin then has not.
pub(super) const METHODS: [&str; 3] = ["make_key", "validate_key", "make_and_validate_key"];

/// What is compared with, of `django.core.cache.backends.base`.
pub(super) struct Django {
    methods: [Py<PyAny>; METHODS.len()],
    key_func: Py<PyAny>,
    pub(super) default_timeout: Py<PyAny>,
}

static DJANGO: PyOnceLock<Django> = PyOnceLock::new();

/// Hand over `django.core.cache.backends.base`, before it is patched by anybody. The first call counts.
pub(super) fn set_module(module: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = module.py();
    DJANGO.get_or_try_init(py, || {
        let base = outside::attribute(module, intern!(py, "BaseCache"))?;
        let method = |at: usize| {
            let name = PyString::new(py, METHODS[at]);
            Ok::<_, PyErr>(outside::attribute(&base, &name)?.unbind())
        };
        Ok::<_, PyErr>(Django {
            methods: [method(0)?, method(1)?, method(2)?],
            key_func: outside::attribute(module, intern!(py, "default_key_func"))?.unbind(),
            default_timeout: outside::attribute(module, intern!(py, "DEFAULT_TIMEOUT"))?.unbind(),
        })
    })?;
    Ok(())
}

pub(super) fn django(py: Python<'_>) -> PyResult<&Django> {
    DJANGO.get(py).ok_or_else(|| {
        PyRuntimeError::new_err(
            "the backend does not know Django yet: _native.set_backend_module(django.core.cache.backends.base)",
        )
    })
}

/// Everything about one handler.
pub(super) struct Settings {
    pub(super) store: Option<Py<NativeStore>>,
    pub(super) key_prefix: Py<PyAny>,
    pub(super) version: Py<PyAny>,
    pub(super) key_func: Option<Py<PyAny>>,
    pub(super) default_timeout: Py<PyAny>,
    /// The prefix as keys have it.
    pub(super) prefix: Py<PyString>,
    /// The version, when it is spelt as an int.
    pub(super) number: Option<i64>,
    /// For the hashes of keys of that version; see `backend_key::salt_of`.
    pub(super) salt: Option<u64>,
    /// What stands before the key in the names of the version words of that version's keys.
    pub(super) word_start: Vec<u8>,
    /// How many characters the prefix takes of a key that memcached may have; more than any key has where it may have none.
    pub(super) prefix_length: usize,
    pub(super) life: Life,
    /// The type of the handler, as it was when `is_plain` was found out; 0 for never.
    pub(super) tag: u32,
    /// Whether keys are made and validated as Django does.
    pub(super) is_plain: bool,
}

impl Settings {
    pub(super) fn new(py: Python<'_>) -> Self {
        let empty = PyString::new(py, "");
        Self {
            store: None,
            key_prefix: empty.clone().into_any().unbind(),
            version: PyInt::new(py, 1).into_any().unbind(),
            key_func: None,
            default_timeout: PyInt::new(py, 300).into_any().unbind(),
            prefix: empty.unbind(),
            number: Some(1),
            salt: None,
            word_start: Vec::new(),
            prefix_length: 0,
            life: Life::For(300_000_000_000),
            tag: 0,
            is_plain: false,
        }
    }
}

/// A changed prefix or version, in the forms that are used.
pub(super) struct Parts {
    pub(super) prefix: Py<PyString>,
    pub(super) number: Option<i64>,
    pub(super) salt: Option<u64>,
    pub(super) word_start: Vec<u8>,
    pub(super) prefix_length: usize,
}

pub(super) fn parts(
    store: Option<&NativeStore>,
    prefix: &Bound<'_, PyAny>,
    version: &Bound<'_, PyAny>,
) -> PyResult<Parts> {
    let prefix = text_of(prefix)?;
    let number = version_of(version)?.ok();
    Ok(Parts {
        salt: salt_of(&prefix, number.unwrap_or(0))?,
        word_start: match store {
            Some(store) => store.word_start(&prefix, number.unwrap_or(0))?,
            None => Vec::new(),
        },
        prefix_length: if fastcall::is_printable(&prefix) {
            prefix.len()?
        } else {
            usize::MAX
        },
        prefix: prefix.unbind(),
        number,
    })
}

/// How long something lives for this timeout, as `BaseCache.get_backend_timeout` has it.
pub(super) fn life_of(timeout: &Bound<'_, PyAny>) -> PyResult<Life> {
    if timeout.is_none() {
        return Ok(Life::For(FOREVER));
    }
    let seconds = outside::float(timeout)?;
    if seconds <= 0.0 {
        return Ok(Life::Over);
    }
    // What is no number is never reached, in Django's comparison with the time too.
    Ok(Life::For(if seconds.is_nan() {
        FOREVER
    } else {
        clock::nanos(seconds)?.max(1)
    }))
}

/// Are a handler's keys made and validated as Django does? Asks its type and its own attributes.
pub(super) fn is_plain(
    handler: &Bound<'_, PyAny>,
    key_func: Option<&Bound<'_, PyAny>>,
) -> PyResult<(u32, bool)> {
    let py = handler.py();
    let django = django(py)?;
    let kind: Bound<'_, PyType> = handler.get_type();
    let mut is_plain = key_func.is_some_and(|key_func| key_func.is(&django.key_func));
    let own = outside::attribute_if_any(handler, intern!(py, "__dict__"))?;
    let own = own.and_then(|own| own.cast_into::<PyDict>().ok());
    for (name, method) in METHODS.iter().zip(&django.methods) {
        let name = PyString::new(py, name);
        let held = outside::attribute_if_any(kind.as_any(), &name)?;
        is_plain = is_plain
            && held.is_some_and(|held| held.is(method))
            && !own
                .as_ref()
                .is_some_and(|own| own.contains(&name).unwrap_or(true));
    }
    Ok((fastcall::type_tag(handler), is_plain))
}
