//! The few hot methods as raw C functions: what a hit costs is decided here.
//!
//! Each raw method serves the common case (an exact `str` key, a hit) without converting anything, and hands every other
//! case to its safe twin, the `#[pymethods]` function of the same name. `OXICACHE_SAFE_METHODS=1` at import leaves the twins
//! in place; the whole test suite runs against both.
//!
//! pyo3 does not know that a thread inside a raw method is attached: dropping a `Py<T>` there would only be noted for
//! later. So references are dropped through `Py_DECREF`, and everything beyond the common case runs inside
//! `Python::attach`.

// Long because unsafe code stays together: the lints allow it in this file alone.
#![expect(
    unsafe_code,
    reason = "CPython's C calling convention; one of the two files that may"
)]

use std::ffi::{CString, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::ffi::{self, PyObject};
use pyo3::panic::PanicException;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};

use super::cache::PyTtlCache;
use super::keys::{self, MemoKey, Owner, fold, salt};
use super::memo::{Identity, Memo, MemoProperty, Plan};
use super::outside;
use super::shared::{PyDisplaced, PyTable, Shared};
use crate::engine::clock::{self, Now, Source};
use crate::engine::{Put, Read, Slot};

/// More arguments than this are no hot path.
const MAX_ARGS: usize = 8;

/// What the safe twins are, once the raw methods have taken their names.
struct Twins {
    get: Py<PyAny>,
    set: Py<PyAny>,
    subscript: ffi::binaryfunc,
    assign: ffi::objobjargproc,
    contains: ffi::objobjproc,
    property_get: ffi::descrgetfunc,
}

static TWINS: OnceLock<Twins> = OnceLock::new();
static MEMO_KEY_TYPE: AtomicPtr<ffi::PyTypeObject> = AtomicPtr::new(ptr::null_mut());

unsafe extern "C" {
    /// CPython's; pyo3 does not declare it.
    fn PyMethod_New(function: *mut PyObject, instance: *mut PyObject) -> *mut PyObject;
}

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

/// The instant, unless telling it means asking Python.
#[inline(always)]
fn native_now() -> Option<Now> {
    if clock::source() == Source::System {
        return Some(Now::coarse());
    }
    driven_now()
}

#[cold]
fn driven_now() -> Option<Now> {
    (clock::source() == Source::Driven).then(clock::now)
}

/// # Safety
/// `object` is a valid object and the thread is attached.
#[inline(always)]
unsafe fn is_exact_str(object: *mut PyObject) -> bool {
    // SAFETY: the caller's promise; reading an object's type needs nothing more.
    unsafe { ffi::Py_TYPE(object) == &raw mut ffi::PyUnicode_Type }
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
    /// A new reference.
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
        if is_unsure {
            return Outcome::Ask;
        }
        table.miss();
        return Outcome::Miss;
    };
    if let Some(value) = table.hit(slot, now).map(Py::as_ptr) {
        // SAFETY: the table holds a reference, and the thread is attached.
        unsafe { ffi::Py_INCREF(value) };
        return Outcome::Hit(value);
    }
    let gone = match table.read(slot, now) {
        Read::Fresh(value) | Read::Early(value) => {
            let value = value.as_ptr();
            // SAFETY: as above.
            unsafe { ffi::Py_INCREF(value) };
            return Outcome::Hit(value);
        }
        Read::Stale => return Outcome::Miss,
        Read::Expired(gone) => gone,
    };
    drop(table);
    attached(|py| shared.removed(py, [gone]));
    Outcome::Miss
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
    if ttl == 0 || !shared.is_plain() {
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
unsafe fn ask_twin(
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

unsafe extern "C" fn cache_get(
    slf: *mut PyObject,
    args: *const *mut PyObject,
    count: ffi::Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    guarded(ptr::null_mut(), || {
        // SAFETY: CPython calls a method of TTLCache with a TTLCache and `count` arguments.
        unsafe {
            if names.is_null() && (count == 1 || count == 2) && is_exact_str(*args) {
                match read_str(&cache_of(slf).shared, *args) {
                    Outcome::Hit(value) => return value,
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
                ask_twin(&twins.get, slf, args, count, names)
            })
        }
    })
}

unsafe extern "C" fn cache_set(
    slf: *mut PyObject,
    args: *const *mut PyObject,
    count: ffi::Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    guarded(ptr::null_mut(), || {
        // SAFETY: CPython calls a method of TTLCache with a TTLCache and `count` arguments.
        unsafe {
            if names.is_null()
                && count == 2
                && is_exact_str(*args)
                && store_str(&cache_of(slf).shared, *args, *args.add(1))
            {
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

unsafe extern "C" fn cache_subscript(slf: *mut PyObject, key: *mut PyObject) -> *mut PyObject {
    guarded(ptr::null_mut(), || {
        // SAFETY: CPython calls a slot of TTLCache with a TTLCache and a key.
        unsafe {
            if is_exact_str(key) {
                match read_str(&cache_of(slf).shared, key) {
                    Outcome::Hit(value) => return value,
                    Outcome::Miss => {
                        ffi::PyErr_SetObject(ffi::PyExc_KeyError, key);
                        return ptr::null_mut();
                    }
                    Outcome::Ask => {}
                }
            }
            TWINS
                .get()
                .map_or(ptr::null_mut(), |twins| (twins.subscript)(slf, key))
        }
    })
}

unsafe extern "C" fn cache_assign(
    slf: *mut PyObject,
    key: *mut PyObject,
    value: *mut PyObject,
) -> c_int {
    guarded(-1, || {
        // SAFETY: CPython calls a slot of TTLCache with a TTLCache, a key and a value, or null to delete.
        unsafe {
            if !value.is_null() && is_exact_str(key) && store_str(&cache_of(slf).shared, key, value)
            {
                return 0;
            }
            TWINS
                .get()
                .map_or(-1, |twins| (twins.assign)(slf, key, value))
        }
    })
}

unsafe extern "C" fn cache_contains(slf: *mut PyObject, key: *mut PyObject) -> c_int {
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

/// # Safety
/// Both are valid objects and the thread is attached. None: only Python can tell.
#[inline(always)]
unsafe fn typed_eq(left: *mut PyObject, right: *mut PyObject) -> Option<bool> {
    if left == right {
        return Some(true);
    }
    // SAFETY: the caller's promise; exact ints compare without running Python code and without failing.
    unsafe {
        let kind = ffi::Py_TYPE(left);
        if kind != ffi::Py_TYPE(right) {
            return Some(false);
        }
        if kind == &raw mut ffi::PyUnicode_Type {
            return Some(same_str(left, right));
        }
        if kind == &raw mut ffi::PyLong_Type {
            return Some(ffi::PyObject_RichCompareBool(left, right, ffi::Py_EQ) == 1);
        }
        if kind == &raw mut ffi::PyBool_Type {
            return Some(false);
        }
        if kind == &raw mut ffi::PyFloat_Type {
            return Some(
                ffi::PyFloat_AS_DOUBLE(left).to_bits() == ffi::PyFloat_AS_DOUBLE(right).to_bits(),
            );
        }
        None
    }
}

/// The hash that `keys::typed_hash` gives, for the types it can be had for without running Python code.
///
/// # Safety
/// A valid object and an attached thread.
#[inline(always)]
unsafe fn typed_hash(object: *mut PyObject) -> Option<u64> {
    // SAFETY: the caller's promise; hashing an exact int or bool neither fails nor runs Python code.
    unsafe {
        let kind = ffi::Py_TYPE(object);
        if kind == &raw mut ffi::PyUnicode_Type {
            return Some(fold(salt::STR, str_hash(object)));
        }
        if kind == &raw mut ffi::PyLong_Type {
            return Some(fold(
                salt::INT,
                ffi::PyObject_Hash(object).cast_unsigned() as u64,
            ));
        }
        if object == ffi::Py_None() {
            return Some(salt::NONE);
        }
        if kind == &raw mut ffi::PyBool_Type {
            return Some(fold(
                salt::BOOL,
                ffi::PyObject_Hash(object).cast_unsigned() as u64,
            ));
        }
        if kind == &raw mut ffi::PyFloat_Type {
            return Some(fold(salt::FLOAT, ffi::PyFloat_AS_DOUBLE(object).to_bits()));
        }
        None
    }
}

/// Does this weak reference still lead to this very object?
///
/// # Safety
/// A valid weak reference, a valid object and an attached thread.
#[inline(always)]
unsafe fn refers_to(reference: *mut PyObject, object: *mut PyObject) -> bool {
    #[cfg(Py_3_13)]
    {
        let mut referent = ptr::null_mut();
        // SAFETY: the caller's promise; the strong reference that comes back is dropped, and is never the last one,
        // as the caller holds `object` and nothing else is compared to it.
        unsafe {
            if ffi::PyWeakref_GetRef(reference, &raw mut referent) != 1 {
                return false;
            }
            if referent != object {
                drop(attached(|py| Bound::from_owned_ptr(py, referent).unbind()));
                return false;
            }
            ffi::Py_DECREF(referent);
            true
        }
    }
    #[cfg(not(Py_3_13))]
    {
        // SAFETY: the caller's promise; the borrowed reference is only compared.
        unsafe { ffi::PyWeakref_GetObject(reference) == object }
    }
}

/// A hit of a decorated call, or None when the safe way must be gone.
///
/// # Safety
/// `instance` (null for a function) and `args` are valid objects and the thread is attached.
#[inline(always)]
unsafe fn memo_hit(
    plan: &Plan,
    instance: *mut PyObject,
    args: &[*mut PyObject],
) -> Option<*mut PyObject> {
    if plan.copy {
        return None;
    }
    let now = native_now()?;
    let mut hash = fold(instance as usize as u64, keys::NO_ARGS);
    for &argument in args {
        // SAFETY: the caller's promise.
        hash = fold(hash, unsafe { typed_hash(argument) }?);
    }
    let memo_key_type = MEMO_KEY_TYPE.load(Ordering::Relaxed);
    let mut table = plan.shared.cache.lock();
    let slot = table.find(hash, |held| {
        // SAFETY: the table holds a reference to each of its keys; the exact type was compared before the cast.
        unsafe {
            let held = held.as_ptr();
            if ffi::Py_TYPE(held) != memo_key_type {
                return false;
            }
            let key = Borrowed::from_ptr(Python::assume_attached(), held)
                .cast_unchecked::<MemoKey>()
                .get();
            if key.address != instance as usize {
                return false;
            }
            let is_same = match &key.owner {
                Owner::Weak(reference) => refers_to(reference.as_ptr(), instance),
                Owner::Strong(_) | Owner::None => true,
            };
            let held_args = key.args.as_ptr();
            is_same
                && ffi::PyTuple_GET_SIZE(held_args).cast_unsigned() == args.len()
                && args.iter().enumerate().all(|(position, &argument)| {
                    typed_eq(
                        ffi::PyTuple_GET_ITEM(held_args, position.cast_signed()),
                        argument,
                    ) == Some(true)
                })
        }
    })?;
    // Early refresh and expired entries are the safe way's business; `hit` leaves both untouched.
    let value = table.hit(slot, now)?.as_ptr();
    // SAFETY: the table holds a reference, and the thread is attached.
    unsafe { ffi::Py_INCREF(value) };
    Some(value)
}

/// `Memo`'s vectorcall.
pub(super) unsafe extern "C" fn memo_call(
    slf: *mut PyObject,
    args: *const *mut PyObject,
    count_and_flags: usize,
    names: *mut PyObject,
) -> *mut PyObject {
    guarded(ptr::null_mut(), || {
        // SAFETY: CPython calls Memo's vectorcall with a Memo and as many arguments as it says.
        unsafe {
            let count = ffi::PyVectorcall_NARGS(count_and_flags).cast_unsigned();
            let py = Python::assume_attached();
            let memo: *const Memo = Borrowed::from_ptr(py, slf).cast_unchecked::<Memo>().get();
            let plan = (*memo).plan();
            if names.is_null() && count <= MAX_ARGS {
                let given = if count == 0 {
                    &[][..]
                } else {
                    std::slice::from_raw_parts(args, count)
                };
                let split = match plan.identity {
                    Identity::None => Some((ptr::null_mut(), given)),
                    Identity::Instance => given
                        .split_first()
                        .map(|(instance, rest)| (*instance, rest)),
                    Identity::Class | Identity::By(_) => None,
                };
                if let Some((instance, rest)) = split
                    && let Some(rest) = without_defaults(plan, rest)
                    && let Some(value) = memo_hit(plan, instance, rest)
                {
                    return value;
                }
            }
            memo_call_safely(plan, args, count, names)
        }
    })
}

/// The arguments without trailing ones that equal their defaults, as `Plan::arguments` spells a call.
///
/// # Safety
/// Valid objects and an attached thread. None: only Python can tell.
#[inline(always)]
unsafe fn without_defaults<'a>(
    plan: &Plan,
    mut args: &'a [*mut PyObject],
) -> Option<&'a [*mut PyObject]> {
    if plan.defaults.is_empty() || args.len() > plan.named() {
        return Some(args);
    }
    while let Some((&last, rest)) = args.split_last()
        && let Some(default) = plan.default_of(rest.len())
    {
        // SAFETY: the caller's promise.
        match unsafe { typed_eq(last, default.as_ptr()) } {
            Some(true) => args = rest,
            Some(false) => break,
            None => return None,
        }
    }
    Some(args)
}

/// # Safety
/// As for a vectorcall with `count` positional arguments.
#[cold]
unsafe fn memo_call_safely(
    plan: &Plan,
    args: *const *mut PyObject,
    count: usize,
    names: *mut PyObject,
) -> *mut PyObject {
    attached(|py| {
        // SAFETY: the caller passes `count` positional arguments and one value for each name behind them.
        let answer = unsafe {
            let own = |index: usize| Bound::from_borrowed_ptr(py, *args.add(index));
            (|| {
                let positional = PyTuple::new(py, (0..count).map(own))?;
                if names.is_null() {
                    return plan.call(&positional, None);
                }
                let keywords = PyDict::new(py);
                let names = Bound::from_borrowed_ptr(py, names).cast_into_unchecked::<PyTuple>();
                for (index, name) in names.iter().enumerate() {
                    keywords.set_item(name, own(count + index))?;
                }
                plan.call(&positional, Some(&keywords))
            })()
        };
        match answer {
            Ok(value) => value.into_ptr(),
            Err(error) => {
                error.restore(py);
                ptr::null_mut()
            }
        }
    })
}

unsafe extern "C" fn memo_bind(
    slf: *mut PyObject,
    instance: *mut PyObject,
    _owner: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: CPython calls a slot of Memo with a Memo and an instance, or null or None on the class.
    unsafe {
        if instance.is_null() || instance == ffi::Py_None() {
            ffi::Py_INCREF(slf);
            return slf;
        }
        PyMethod_New(slf, instance)
    }
}

unsafe extern "C" fn property_get(
    slf: *mut PyObject,
    instance: *mut PyObject,
    owner: *mut PyObject,
) -> *mut PyObject {
    guarded(ptr::null_mut(), || {
        // SAFETY: CPython calls a slot of MemoProperty with a MemoProperty and an instance, or null on the class.
        unsafe {
            if !instance.is_null() && instance != ffi::Py_None() {
                let py = Python::assume_attached();
                let property: *const MemoProperty = Borrowed::from_ptr(py, slf)
                    .cast_unchecked::<MemoProperty>()
                    .get();
                let plan = (*property).plan();
                if matches!(plan.identity, Identity::Instance)
                    && let Some(value) = memo_hit(plan, instance, &[])
                {
                    return value;
                }
            }
            TWINS.get().map_or(ptr::null_mut(), |twins| {
                (twins.property_get)(slf, instance, owner)
            })
        }
    })
}

/// Put the raw methods in place, unless `OXICACHE_SAFE_METHODS` says to leave the safe ones.
pub(super) fn install(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let is_safe = std::env::var_os("OXICACHE_SAFE_METHODS")
        .is_some_and(|value| !value.is_empty() && value != "0");
    module.add("METHODS", if is_safe { "safe" } else { "raw" })?;
    MEMO_KEY_TYPE.store(py.get_type::<MemoKey>().as_type_ptr(), Ordering::Relaxed);
    if is_safe || TWINS.get().is_some() {
        return Ok(());
    }
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
            property_get: get,
        };
        if TWINS.set(twins).is_err() {
            return Ok(());
        }
        add_method(&cache, "get", cache_get)?;
        add_method(&cache, "set", cache_set)?;
        (*mapping).mp_subscript = Some(cache_subscript);
        (*mapping).mp_ass_subscript = Some(cache_assign);
        (*sequence).sq_contains = Some(cache_contains);
        ffi::PyType_Modified(cache_type);
        (*property_type).tp_descr_get = Some(property_get);
        ffi::PyType_Modified(property_type);
    }
    install_vectorcall(py)
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

/// Let calls of a `Memo` reach `memo_call` directly, and method calls skip the bound method object.
fn install_vectorcall(py: Python<'_>) -> PyResult<()> {
    let memo_type = py.get_type::<Memo>();
    let cache = py.get_type::<PyTtlCache>().call1((0,))?;
    let sample = memo_type.call1((py.None(), cache, py.None()))?;
    let base = sample.as_ptr() as usize;
    let field = &raw const sample.cast::<Memo>()?.get().vectorcall;
    let memo_type = memo_type.as_type_ptr();
    // SAFETY: the offset is that of a vectorcallfunc inside each instance; the flags are set before the type is used.
    unsafe {
        (*memo_type).tp_vectorcall_offset = (field as usize - base).cast_signed();
        (*memo_type).tp_call = Some(ffi::PyVectorcall_Call);
        (*memo_type).tp_descr_get = Some(memo_bind);
        (*memo_type).tp_flags |= ffi::Py_TPFLAGS_HAVE_VECTORCALL
            | ffi::Py_TPFLAGS_METHOD_DESCRIPTOR
            | ffi::Py_TPFLAGS_IMMUTABLETYPE;
        ffi::PyType_Modified(memo_type);
    }
    Ok(())
}
