//! The Django backend: `get`, `set` and `get_many` of an exact `str`; and what else of it pyo3 has no safe function for.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::cache::{ask_twin, is_exact_str};
use super::value_copies::{Raw, thaw_raw};
use super::{TWINS, attached, guarded, native_now, same_str, str_hash};
use crate::bindings::backend::BackendBase;
use crate::bindings::backend_key::BackendKey;
use crate::bindings::backend_settings::Settings;
use crate::bindings::native_store::NativeStore;
use crate::bindings::outside;
use crate::bindings::shared::PyTable;
use crate::bindings::tokens::{self, Seen};
use crate::bindings::typed::fold;
use crate::bindings::values::{self, Thawed, Wrapped};
use crate::engine::Slot;
use crate::engine::clock::Nanos;
use crate::engine::metrics::Event;
use crate::host::versions;

/// Longer names of version words are made by the safe twin.
const MAX_WORD: usize = 128;
/// Django's limit for keys, less what prefix and version may take: see `Name::is_portable`.
const MAX_KEY: usize = 227;

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
    let bad = text.iter().fold(0, |bad, &character| {
        let character: u32 = character.into();
        bad | u32::from(character <= 32) | u32::from(character == 127)
    });
    bad == 0
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

static KEY_TYPE: AtomicPtr<ffi::PyTypeObject> = AtomicPtr::new(ptr::null_mut());
/// Under this name `_asyncio` keeps in a thread's dict which loop runs, before 3.14.
static LOOP_NAME: AtomicPtr<PyObject> = AtomicPtr::new(ptr::null_mut());

/// What the raw methods compare with.
pub(super) fn prepare(py: Python<'_>) {
    KEY_TYPE.store(py.get_type::<BackendKey>().as_type_ptr(), Ordering::Relaxed);
    let name = PyString::intern(py, "__asyncio_running_event_loop__");
    LOOP_NAME.store(name.into_ptr(), Ordering::Relaxed);
}

/// Was there ever an event loop in this thread? Yes where that can't be told.
///
/// # Safety
/// The thread is attached.
#[inline(always)]
unsafe fn may_run_loop() -> bool {
    // Before 3.13 the running loop is in the thread's dict.
    if cfg!(Py_3_13) {
        return true;
    }
    // SAFETY: the caller's promise; the dict and what is in it are borrowed, and looking up a str runs no Python code.
    unsafe {
        let own = ffi::PyThreadState_GetDict();
        own.is_null()
            || !ffi::PyDict_GetItemWithError(own, LOOP_NAME.load(Ordering::Relaxed)).is_null()
    }
}

/// The characters of a str that is ASCII.
///
/// # Safety
/// The object is an exact str and outlives the slice.
#[inline(always)]
unsafe fn ascii<'a>(text: *mut PyObject) -> Option<&'a [u8]> {
    #[cfg(not(any(Py_LIMITED_API, Py_3_14)))]
    // SAFETY: such a str has that many bytes behind its data pointer.
    unsafe {
        (ffi::PyUnicode_IS_ASCII(text) != 0).then(|| {
            let length = ffi::PyUnicode_GET_LENGTH(text).cast_unsigned();
            std::slice::from_raw_parts(ffi::PyUnicode_DATA(text).cast::<u8>(), length)
        })
    }
    #[cfg(any(Py_LIMITED_API, Py_3_14))]
    {
        let _ = text;
        None
    }
}

/// What a raw read came to.
enum Outcome {
    /// A new reference, or null with an error set.
    Done(*mut PyObject),
    Miss,
    /// Only the safe twin can tell.
    Ask,
}

/// The slot of a handler's key; nothing else but strs and `BackendKey`s are keys of its store.
///
/// # Safety
/// `key` is an exact str and the thread is attached.
#[inline(always)]
unsafe fn find(
    table: &PyTable,
    settings: &Settings,
    version: i64,
    key: *mut PyObject,
    hash: u64,
    key_type: *mut ffi::PyTypeObject,
) -> Option<Slot> {
    // SAFETY: the caller's promise; the table holds a reference to each of its keys, and `BackendKey` is frozen.
    unsafe {
        if settings.salt.is_none() {
            return table.find(hash, |held| {
                let held = held.as_ptr();
                held == key || is_exact_str(held) && same_str(held, key)
            });
        }
        table.find(hash, |held| {
            if ffi::Py_TYPE(held.as_ptr()) != key_type {
                return false;
            }
            let held = Borrowed::from_ptr(Python::assume_attached(), held.as_ptr());
            let held = held.cast_unchecked::<BackendKey>().get();
            let (own, prefix) = (held.key.as_ptr(), settings.prefix.as_ptr());
            held.version == version
                && (own == key || same_str(own, key))
                && held
                    .prefix
                    .as_ref()
                    .is_some_and(|held| held.as_ptr() == prefix || same_str(held.as_ptr(), prefix))
        })
    }
}

/// Read under an exact str.
///
/// # Safety
/// `slf` is a handler, `key` an exact str and the thread is attached.
#[inline(always)]
unsafe fn read(slf: *mut PyObject, key: *mut PyObject) -> Outcome {
    // SAFETY: the caller's promise; the classes are frozen, so shared references are all there are.
    unsafe {
        let py = Python::assume_attached();
        let handler = Borrowed::from_ptr(py, slf);
        let settings = handler
            .cast_unchecked::<BackendBase>()
            .get()
            .settings
            .lock();
        let tag = raw_type_tag(slf);
        let (true, Some(version), Some(store)) = (
            settings.is_plain && tag == settings.tag && tag != 0,
            settings.number,
            &settings.store,
        ) else {
            return Outcome::Ask;
        };
        let store = store.get();
        let Some(now) = native_now() else {
            return Outcome::Ask;
        };
        if !store.is_settled() {
            return Outcome::Ask;
        }
        let hash = match settings.salt {
            None => str_hash(key),
            Some(salt) => fold(salt, str_hash(key)),
        };
        let mut table = store.shared.cache.lock();
        let Some(slot) = find(
            &table,
            &settings,
            version,
            key,
            hash,
            KEY_TYPE.load(Ordering::Relaxed),
        ) else {
            if table.metrics().is_due(Event::Miss) || !noted(store, &settings, key, hash, now.at())
            {
                return Outcome::Ask;
            }
            table.miss();
            return Outcome::Miss;
        };
        // An entry that is over or may elect an early refresh, or a sample: `hit` has left it untouched for the twin.
        let Some(stored) = table.hit(slot, now).map(Py::as_ptr) else {
            return Outcome::Ask;
        };
        ffi::Py_INCREF(stored);
        drop(table);
        drop(settings);
        if Wrapped::is_type(ffi::Py_TYPE(stored)) {
            thawed(stored)
        } else {
            Outcome::Done(stored)
        }
    }
}

/// Note a miss; false where only the safe twin can, which may have to warn of the key.
///
/// # Safety
/// As for [`read`].
#[inline(always)]
unsafe fn noted(
    store: &NativeStore,
    settings: &Settings,
    key: *mut PyObject,
    hash: u64,
    at: Nanos,
) -> bool {
    // SAFETY: the caller's promise.
    let Some(text) = (unsafe { ascii(key) }) else {
        return false;
    };
    if text.len().saturating_add(settings.prefix_length) > MAX_KEY || !all_printable(text) {
        return false;
    }
    if !store.is_host {
        return true;
    }
    let start = settings.word_start.as_slice();
    let length = start.len() + text.len();
    // SAFETY: the thread is attached.
    if length > MAX_WORD || tokens::is_told() || unsafe { may_run_loop() } {
        return false;
    }
    let mut name = [0; MAX_WORD];
    name[..start.len()].copy_from_slice(start);
    name[start.len()..length].copy_from_slice(text);
    let versions = versions::current();
    let seen = Seen {
        key: versions.capture(versions.word(&name[..length])),
        store: store.stamp().value,
        tags: store.tags_value(),
        epoch: store.shared.renounced.epoch(),
    };
    tokens::note_of_thread(store.id, hash, seen, at)
}

/// The value of a stored form that is not the value itself, whose reference it takes.
///
/// # Safety
/// The reference is owned and the thread attached, with no lock held.
unsafe fn thawed(stored: *mut PyObject) -> Outcome {
    // SAFETY: the caller's promise.
    unsafe {
        let outcome = match thaw_raw(stored) {
            Raw::Value(value) => Outcome::Done(value),
            Raw::Ask => attached(|py| match values::thaw(&Borrowed::from_ptr(py, stored)) {
                Ok(Thawed::Value(value)) => Outcome::Done(value.into_ptr()),
                Ok(Thawed::Unreadable(_)) => Outcome::Ask,
                Err(error) => {
                    error.restore(py);
                    Outcome::Done(ptr::null_mut())
                }
            }),
        };
        outside::decref(stored);
        outcome
    }
}

pub(super) unsafe extern "C" fn backend_get(
    slf: *mut PyObject,
    args: *const *mut PyObject,
    count: ffi::Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    guarded(ptr::null_mut(), || {
        // SAFETY: CPython calls a method of BackendBase with an instance of it and `count` arguments.
        unsafe {
            if names.is_null() && (count == 1 || count == 2) && is_exact_str(*args) {
                match read(slf, *args) {
                    Outcome::Done(value) => return value,
                    Outcome::Miss => {
                        let default = if count == 2 {
                            *args.add(1)
                        } else {
                            ffi::Py_None()
                        };
                        ffi::Py_INCREF(default);
                        return default;
                    }
                    Outcome::Ask => {}
                }
            }
            TWINS.get().map_or(ptr::null_mut(), |twins| {
                ask_twin(&twins.backend_get, slf, args, count, names)
            })
        }
    })
}
