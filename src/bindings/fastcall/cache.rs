//! `TTLCache`: `get`, `set`, `in` and subscription of an exact `str`.

use std::ffi::c_int;
use std::ptr;

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;

use super::{TWINS, attached, guarded, native_now, same_str, str_hash};
use crate::bindings::cache::PyTtlCache;
use crate::bindings::outside;
use crate::bindings::shared::{Extra, Found, Mode, PyDisplaced, PyTable, Shared};
use crate::engine::metrics::Event;
use crate::engine::{Put, Slot};

/// # Safety
/// `object` is a valid object and the thread is attached.
#[inline(always)]
pub(super) unsafe fn is_exact_str(object: *mut PyObject) -> bool {
    // SAFETY: the caller's promise; reading an object's type needs nothing more.
    unsafe { ffi::Py_TYPE(object) == &raw mut ffi::PyUnicode_Type }
}

/// The slot of an exact str; `is_unsure` when some other kind of key might be equal to it.
///
/// # Safety
/// `key` is an exact str and the thread is attached.
#[inline(always)]
unsafe fn find_str(
    table: &PyTable,
    hash: u64,
    key: *mut PyObject,
    is_unsure: &mut bool,
) -> Option<Slot> {
    table.find(hash, |held| {
        let held = held.as_ptr();
        if held == key {
            return true;
        }
        // SAFETY: the table holds a reference to each of its keys.
        unsafe {
            if is_exact_str(held) {
                return same_str(held, key);
            }
        }
        *is_unsure = true;
        false
    })
}

/// What a raw lookup came to.
enum Outcome {
    /// A new reference; null with an error set where reading safely failed.
    Hit(*mut PyObject),
    Miss,
    /// Only the safe twin can tell.
    Ask,
}

/// Read under an exact str.
///
/// # Safety
/// `key` is an exact str and the thread is attached.
#[inline(always)]
unsafe fn read_str(shared: &Shared, key: *mut PyObject) -> Outcome {
    let Some(now) = native_now() else {
        return Outcome::Ask;
    };
    // SAFETY: the caller's promise.
    let hash = unsafe { str_hash(key) };
    let mut is_unsure = false;
    let mut table = shared.cache.lock();
    // SAFETY: the caller's promise.
    let found = unsafe { find_str(&table, hash, key, &mut is_unsure) };
    let Some(slot) = found else {
        if is_unsure || table.metrics().is_due(Event::Miss) {
            return Outcome::Ask;
        }
        table.miss();
        return Outcome::Miss;
    };
    // An entry that is over or may elect an early refresh, or a sample: `hit` has left it untouched for the twin.
    let Some(value) = table.hit(slot, now).map(Py::as_ptr) else {
        return Outcome::Ask;
    };
    // SAFETY: the table holds a reference, and the thread is attached.
    unsafe { ffi::Py_INCREF(value) };
    Outcome::Hit(value)
}

/// Read as the safe twin does, without the way there: an entry that is over, a sample, a key that Python must compare.
///
/// # Safety
/// `key` is a valid object and the thread is attached.
#[cold]
#[inline(never)]
unsafe fn read_safely(shared: &Shared, key: *mut PyObject) -> Outcome {
    attached(|py| {
        // SAFETY: the caller's promise.
        let key = unsafe { Borrowed::from_ptr(py, key) };
        match shared.read(&key) {
            Ok(Found::Fresh(value) | Found::Early(value)) => Outcome::Hit(value.into_ptr()),
            Ok(Found::Miss) => Outcome::Miss,
            Err(error) => {
                error.restore(py);
                Outcome::Hit(ptr::null_mut())
            }
        }
    })
}

/// Store as the safe twin does; false with an error set.
///
/// # Safety
/// Both are valid objects and the thread is attached.
#[cold]
#[inline(never)]
unsafe fn store_safely(shared: &Shared, key: *mut PyObject, value: *mut PyObject) -> bool {
    attached(|py| {
        // SAFETY: the caller's promise.
        let (key, value) = unsafe { (Borrowed::from_ptr(py, key), Borrowed::from_ptr(py, value)) };
        let stored = shared.store(&key, &value, Mode::Write, Extra::NONE);
        stored.map_err(|error| error.restore(py)).is_ok()
    })
}

/// Drop what was evicted. The lock is gone, so `__del__` may run.
#[inline(never)]
fn release(displaced: PyDisplaced) {
    for gone in displaced {
        // SAFETY: the table's references, handed back to an attached thread.
        unsafe {
            outside::decref(gone.key.into_ptr());
            outside::decref(gone.value.into_ptr());
        }
    }
}

/// Store under an exact str; false where only the safe twin can.
///
/// # Safety
/// `key` is an exact str, `value` a valid object and the thread is attached.
#[inline(always)]
unsafe fn store_str(shared: &Shared, key: *mut PyObject, value: *mut PyObject) -> bool {
    let Some(now) = native_now() else {
        return false;
    };
    let ttl = shared.cache.ttl();
    if ttl == 0 || !shared.is_plain() || shared.cache.metrics().is_due(Event::Set) {
        return false;
    }
    // SAFETY: the caller's promise.
    let (hash, traced) = unsafe {
        (
            str_hash(key),
            ffi::PyType_HasFeature(ffi::Py_TYPE(value), ffi::Py_TPFLAGS_HAVE_GC) != 0,
        )
    };
    let deadline = now.after(ttl);
    let mut is_unsure = false;
    let mut table = shared.cache.lock();
    // SAFETY: the caller's promise.
    let found = unsafe { find_str(&table, hash, key, &mut is_unsure) };
    // SAFETY: the caller's promise; these references become the table's.
    let own = |object| unsafe {
        Borrowed::from_ptr(Python::assume_attached(), object)
            .to_owned()
            .unbind()
    };
    if let Some(slot) = found {
        let before = match table.overwrite(slot, own(value), deadline, traced) {
            Ok(before) => before,
            Err(value) => {
                // SAFETY: the reference made just above; the caller holds another, so nothing is freed under the lock.
                unsafe { ffi::Py_DECREF(value.into_ptr()) };
                return false;
            }
        };
        drop(table);
        // SAFETY: the table's reference, handed back; the lock is gone, so `__del__` may run.
        unsafe { outside::decref(before.into_ptr()) };
    } else {
        if is_unsure || table.limits().max_bytes.is_some() {
            return false;
        }
        let put = Put {
            deadline,
            traced,
            ..Put::default()
        };
        shared.note_given();
        let displaced = table.insert(hash, own(key), own(value), &put, now);
        drop(table);
        if !displaced.is_empty() {
            release(displaced);
        }
    }
    if shared.cache.sweep_due(now) {
        attached(|py| shared.sweep_at(py, now));
    }
    true
}

/// # Safety
/// `object` is a `TTLCache` and the thread is attached; the reference must not outlive it.
#[inline(always)]
unsafe fn cache_of<'a>(object: *mut PyObject) -> &'a PyTtlCache {
    // SAFETY: the caller's promise; the class is frozen, so shared references are all there are.
    unsafe {
        let cache: *const PyTtlCache = Borrowed::from_ptr(Python::assume_attached(), object)
            .cast_unchecked::<PyTtlCache>()
            .get();
        &*cache
    }
}

/// Call a safe twin with the instance before the arguments.
///
/// # Safety
/// As for a vectorcall with `count` positional arguments.
#[cold]
pub(super) unsafe fn ask_twin(
    twin: &Py<PyAny>,
    slf: *mut PyObject,
    args: *const *mut PyObject,
    count: ffi::Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    let count = count.cast_unsigned();
    // SAFETY: the caller passes `count` positional arguments and one value for each name behind them.
    unsafe {
        let named = if names.is_null() {
            0
        } else {
            ffi::PyTuple_GET_SIZE(names).cast_unsigned()
        };
        let mut all = Vec::with_capacity(count + named + 1);
        all.push(slf);
        if count + named > 0 {
            all.extend_from_slice(std::slice::from_raw_parts(args, count + named));
        }
        ffi::PyObject_Vectorcall(twin.as_ptr(), all.as_ptr(), count + 1, names)
    }
}

pub(super) unsafe extern "C" fn cache_get(
    slf: *mut PyObject,
    args: *const *mut PyObject,
    count: ffi::Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    guarded(ptr::null_mut(), || {
        // SAFETY: CPython calls a method of TTLCache with a TTLCache and `count` arguments.
        unsafe {
            if names.is_null() && (count == 1 || count == 2) && is_exact_str(*args) {
                let shared = &cache_of(slf).shared;
                let outcome = match read_str(shared, *args) {
                    Outcome::Ask => read_safely(shared, *args),
                    outcome => outcome,
                };
                if let Outcome::Hit(value) = outcome {
                    return value;
                }
                let default = if count == 2 {
                    *args.add(1)
                } else {
                    ffi::Py_None()
                };
                ffi::Py_INCREF(default);
                return default;
            }
            TWINS.get().map_or(ptr::null_mut(), |twins| {
                ask_twin(&twins.get, slf, args, count, names)
            })
        }
    })
}

pub(super) unsafe extern "C" fn cache_set(
    slf: *mut PyObject,
    args: *const *mut PyObject,
    count: ffi::Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    guarded(ptr::null_mut(), || {
        // SAFETY: CPython calls a method of TTLCache with a TTLCache and `count` arguments.
        unsafe {
            if names.is_null() && count == 2 && is_exact_str(*args) {
                let (shared, value) = (&cache_of(slf).shared, *args.add(1));
                if !store_str(shared, *args, value) && !store_safely(shared, *args, value) {
                    return ptr::null_mut();
                }
                let none = ffi::Py_None();
                ffi::Py_INCREF(none);
                return none;
            }
            TWINS.get().map_or(ptr::null_mut(), |twins| {
                ask_twin(&twins.set, slf, args, count, names)
            })
        }
    })
}

pub(super) unsafe extern "C" fn cache_subscript(
    slf: *mut PyObject,
    key: *mut PyObject,
) -> *mut PyObject {
    guarded(ptr::null_mut(), || {
        // SAFETY: CPython calls a slot of TTLCache with a TTLCache and a key.
        unsafe {
            if is_exact_str(key) {
                let shared = &cache_of(slf).shared;
                let outcome = match read_str(shared, key) {
                    Outcome::Ask => read_safely(shared, key),
                    outcome => outcome,
                };
                if let Outcome::Hit(value) = outcome {
                    return value;
                }
                ffi::PyErr_SetObject(ffi::PyExc_KeyError, key);
                return ptr::null_mut();
            }
            TWINS
                .get()
                .map_or(ptr::null_mut(), |twins| (twins.subscript)(slf, key))
        }
    })
}

pub(super) unsafe extern "C" fn cache_assign(
    slf: *mut PyObject,
    key: *mut PyObject,
    value: *mut PyObject,
) -> c_int {
    guarded(-1, || {
        // SAFETY: CPython calls a slot of TTLCache with a TTLCache, a key and a value, or null to delete.
        unsafe {
            if !value.is_null() && is_exact_str(key) {
                let shared = &cache_of(slf).shared;
                let is_stored = store_str(shared, key, value) || store_safely(shared, key, value);
                return if is_stored { 0 } else { -1 };
            }
            TWINS
                .get()
                .map_or(-1, |twins| (twins.assign)(slf, key, value))
        }
    })
}

pub(super) unsafe extern "C" fn cache_contains(slf: *mut PyObject, key: *mut PyObject) -> c_int {
    guarded(-1, || {
        // SAFETY: CPython calls a slot of TTLCache with a TTLCache and a key.
        unsafe {
            if is_exact_str(key)
                && let Some(now) = native_now()
            {
                let hash = str_hash(key);
                let mut is_unsure = false;
                let table = cache_of(slf).shared.cache.lock();
                let found = find_str(&table, hash, key, &mut is_unsure);
                if found.is_some() || !is_unsure {
                    return c_int::from(found.is_some_and(|slot| table.is_live(slot, now)));
                }
            }
            TWINS.get().map_or(-1, |twins| (twins.contains)(slf, key))
        }
    })
}
