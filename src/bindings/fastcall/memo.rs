//! `Memo` and `MemoProperty`: hits of decorated calls whose arguments are given by position.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::row::Identified;
use super::{TWINS, attached, guarded, native_now, same_str, str_hash};
use crate::bindings::cache::PyTtlCache;
use crate::bindings::memo::{Memo, MemoProperty};
use crate::bindings::memo_key::{MemoKey, NO_ARGS, Owner, ROW_ARGS};
use crate::bindings::plan::{Identity, Plan};
use crate::bindings::rows;
use crate::bindings::typed::{fold, salt};

/// More arguments than this are no hot path.
const MAX_ARGS: usize = 8;

/// `MemoKey`, set before any `Memo` can be called.
pub(super) static MEMO_KEY_TYPE: AtomicPtr<ffi::PyTypeObject> = AtomicPtr::new(ptr::null_mut());

unsafe extern "C" {
    /// CPython's; pyo3 does not declare it.
    fn PyMethod_New(function: *mut PyObject, instance: *mut PyObject) -> *mut PyObject;
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

/// The hash that `typed::typed_hash` gives, for the types it can be had for without running Python code.
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
        // SAFETY: the caller's promise. The strong reference is never the last one: the caller found the key by the address
        // of `object`, which it holds, and an object that is alive at that address is that object.
        unsafe {
            if ffi::PyWeakref_GetRef(reference, &raw mut referent) != 1 {
                return false;
            }
            ffi::Py_DECREF(referent);
        }
        referent == object
    }
    #[cfg(not(Py_3_13))]
    {
        // SAFETY: the caller's promise; the borrowed reference is only compared.
        unsafe { ffi::PyWeakref_GetObject(reference) == object }
    }
}

/// A hit of a decorated call, or None when the safe way must be gone.
///
/// `owner` is the instance (null for a function), or with something in `front` the class of the row that it names.
///
/// # Safety
/// All are valid objects and the thread is attached.
#[inline(always)]
unsafe fn memo_hit<const FRONT: usize>(
    plan: &Plan,
    owner: *mut PyObject,
    front: [*mut PyObject; FRONT],
    args: &[*mut PyObject],
) -> Option<*mut PyObject> {
    if plan.copy || plan.hooks.vary.is_some() {
        return None;
    }
    let now = native_now()?;
    let mut hash = fold(owner as usize as u64, NO_ARGS);
    for &argument in front.iter().chain(args) {
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
            if key.address != owner as usize {
                return false;
            }
            let is_same = match &key.owner {
                Owner::Weak(reference) => FRONT == 0 && refers_to(reference.as_ptr(), owner),
                Owner::Strong(_) | Owner::None => FRONT == 0,
                Owner::Row(_) => FRONT == ROW_ARGS,
            };
            let held_args = key.args.as_ptr();
            let is_item = |position: usize, item: *mut PyObject| {
                let held = ffi::PyTuple_GET_ITEM(held_args, position.cast_signed());
                typed_eq(held, item) == Some(true)
            };
            is_same
                && ffi::PyTuple_GET_SIZE(held_args).cast_unsigned() == FRONT + args.len()
                && (0..FRONT).all(|position| is_item(position, front[position]))
                && (0..args.len()).all(|position| is_item(FRONT + position, args[position]))
        }
    })?;
    // Early refresh, expired entries and samples are the safe way's business; `hit` leaves them untouched.
    let value = table.hit(slot, now)?.as_ptr();
    // SAFETY: the table holds a reference, and the thread is attached.
    unsafe { ffi::Py_INCREF(value) };
    Some(value)
}

/// A hit of a call with an instance, by whatever identity the plan has; null with an error set where reading it failed.
///
/// # Safety
/// As [`memo_hit`].
#[inline(always)]
unsafe fn instance_hit(
    plan: &Plan,
    instance: *mut PyObject,
    args: &[*mut PyObject],
) -> Option<*mut PyObject> {
    // SAFETY: the caller's promise.
    unsafe {
        match plan.identity {
            Identity::Instance => memo_hit(plan, instance, [], args),
            Identity::Auto | Identity::Row => row_hit(plan, instance, args),
            Identity::None | Identity::Class | Identity::By(_) => None,
        }
    }
}

/// A hit of a call with a model instance, or with any other where the identity is "auto".
///
/// # Safety
/// As [`memo_hit`].
#[inline(always)]
unsafe fn row_hit(
    plan: &Plan,
    instance: *mut PyObject,
    args: &[*mut PyObject],
) -> Option<*mut PyObject> {
    // SAFETY: the caller's promise; reading an object's type needs nothing more.
    unsafe {
        let class = ffi::Py_TYPE(instance);
        let known = plan.rows.known(class as usize)?;
        let Some(attname) = &known.attname else {
            if matches!(plan.identity, Identity::Row) {
                return None;
            }
            return memo_hit(plan, instance, [], args);
        };
        if rows::is_asked() {
            return None;
        }
        match Identified::of(instance, attname.as_ptr(), &known.places) {
            Identified::Unclear => None,
            Identified::Failed => Some(ptr::null_mut()),
            Identified::Unsaved => memo_hit(plan, instance, [], args),
            Identified::Row(ref row) => memo_hit(plan, class.cast(), row.parts(), args),
        }
    }
}

/// `Memo`'s vectorcall.
pub(in crate::bindings) unsafe extern "C" fn memo_call(
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
                let hit = match (&plan.identity, given.split_first()) {
                    (Identity::None, _) => without_defaults(plan, given)
                        .and_then(|given| memo_hit(plan, ptr::null_mut(), [], given)),
                    (_, Some((&instance, rest))) => without_defaults(plan, rest)
                        .and_then(|rest| instance_hit(plan, instance, rest)),
                    (_, None) => None,
                };
                if let Some(value) = hit {
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
    if plan.spelling.defaults.is_empty() || args.len() > plan.spelling.named() {
        return Some(args);
    }
    while let Some((&last, rest)) = args.split_last()
        && let Some(default) = plan.spelling.default_of(rest.len())
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

pub(super) unsafe extern "C" fn property_get(
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
                if let Some(value) = instance_hit(plan, instance, &[]) {
                    return value;
                }
            }
            TWINS.get().map_or(ptr::null_mut(), |twins| {
                (twins.property_get)(slf, instance, owner)
            })
        }
    })
}

/// Let calls of a `Memo` reach `memo_call` directly, and method calls skip the bound method object.
pub(super) fn install_vectorcall(py: Python<'_>) -> PyResult<()> {
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
