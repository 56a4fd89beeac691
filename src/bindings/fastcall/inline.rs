//! Attributes of plain instances, read where CPython keeps them.
//!
//! What CPython's own specialised bytecode does (`LOAD_ATTR_INSTANCE_VALUE`): as long as a class has the version tag that it had
//! when it was learnt, an attribute of any instance stands in one place of the instance's values, and nothing on the class is in
//! the way. Places are not looked up in CPython's tables but learnt: an object that nobody else has is set on an empty sample
//! instance, and then found. What cannot be learnt is read as any attribute is. See
//! docs/decisions/2026-11-21-attributes-of-rows.md.

use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::ffi::{self, PyObject, PyTypeObject};

use crate::bindings::outside;

/// CPython shares the places of at most so many attributes among the instances of a class.
const MAX_PLACES: usize = 30;

/// A class that changes again and again is not learnt again and again.
const MAX_LESSONS: u64 = 16;

unsafe extern "C" {
    /// CPython's; pyo3 does not declare it. A borrowed reference or null, no error set.
    fn _PyType_Lookup(kind: *mut PyTypeObject, name: *mut PyObject) -> *mut PyObject;
}

/// Where two attributes of the instances of one class are: tag, place, place and number of lessons, in one word, so that no
/// reader sees half of a change. A tag of 0 is no class's.
#[derive(Default)]
pub(in crate::bindings) struct Places(AtomicU64);

impl Places {
    pub(in crate::bindings) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Two attributes of an instance, borrowed from it: valid until Python code runs. None: read them otherwise.
    ///
    /// Looking into a dict may run Python code, which only `may_run` allows.
    ///
    /// # Safety
    /// All are valid objects and the thread is attached.
    #[inline(always)]
    pub(super) unsafe fn read(
        &self,
        object: *mut PyObject,
        names: [*mut PyObject; 2],
        may_run: bool,
    ) -> Option<[*mut PyObject; 2]> {
        // SAFETY: the caller's promise. The tag is the class's own, so the places are those of its instances; a place that was
        // learnt is inside the values of each of them.
        unsafe {
            let kind = ffi::Py_TYPE(object);
            let learnt = self.0.load(Ordering::Relaxed);
            #[expect(
                clippy::cast_possible_truncation,
                reason = "the parts of a packed word"
            )]
            let (tag, first, second) = (
                learnt as u32,
                (learnt >> 32) as u8 as usize,
                (learnt >> 40) as u8 as usize,
            );
            if (*kind).tp_version_tag != tag || tag == 0 {
                self.learn(kind, names, learnt >> 48);
                return None;
            }
            let Some(values) = values_of(object) else {
                if !may_run {
                    return None;
                }
                return in_dict(dict_of(object), names);
            };
            let (first, second) = (*values.add(first), *values.add(second));
            (!first.is_null() && !second.is_null()).then_some([first, second])
        }
    }

    #[cold]
    unsafe fn learn(&self, kind: *mut PyTypeObject, names: [*mut PyObject; 2], lessons: u64) {
        if lessons >= MAX_LESSONS {
            return;
        }
        // SAFETY: the caller's promise, which is that of `read`.
        let learnt = unsafe { places_in(kind, names) };
        let (tag, [first, second]) = learnt.unwrap_or((0, [0, 0]));
        let word =
            u64::from(tag) | (first as u64) << 32 | (second as u64) << 40 | (lessons + 1) << 48;
        self.0.store(word, Ordering::Relaxed);
    }
}

/// An instance's values; None when it has a dict instead, or when this interpreter is not known to keep them here.
///
/// # Safety
/// An instance of a class that [`is_plain`], and an attached thread.
#[inline(always)]
unsafe fn values_of(object: *mut PyObject) -> Option<*const *mut PyObject> {
    #[cfg(not(Py_3_12))]
    // SAFETY: `_PyObject_ValuesPointer` of 3.11: such instances have two pointers before their header, this is the first.
    unsafe {
        let values = *object.cast::<*const *mut PyObject>().sub(4);
        (!values.is_null()).then_some(values)
    }
    #[cfg(all(Py_3_12, not(Py_3_13)))]
    // SAFETY: `_PyDictOrValues_GetValues` of 3.12: one pointer before the header, odd and one too small when it is to values.
    unsafe {
        let either = *object.cast::<*const u8>().sub(3);
        (either as usize & 1 == 1).then(|| either.add(1).cast())
    }
    #[cfg(all(Py_3_13, not(Py_3_14)))]
    // SAFETY: `_PyObject_InlineValues` of 3.13: behind the header four bytes, the last of which says whether they hold, and
    // after their eight bytes the values.
    unsafe {
        let start = object.add(1).cast::<u8>().cast_const();
        (*start.add(3) != 0).then(|| start.add(8).cast())
    }
    #[cfg(Py_3_14)]
    {
        let _ = object;
        None
    }
}

/// The dict of an instance that has no values; null where there is none.
///
/// # Safety
/// As for [`values_of`], which gave None.
#[inline(always)]
unsafe fn dict_of(object: *mut PyObject) -> *mut PyObject {
    #[cfg(not(Py_3_14))]
    // SAFETY: `_PyObject_ManagedDictPointer`: in all these versions the third pointer before the header, when it is no values'.
    unsafe {
        *object.cast::<*mut PyObject>().sub(3)
    }
    #[cfg(Py_3_14)]
    {
        let _ = object;
        ptr::null_mut()
    }
}

/// Two items of an instance's dict, borrowed: valid until Python code runs.
///
/// # Safety
/// A dict or null, valid strings and an attached thread.
#[inline(never)]
unsafe fn in_dict(dict: *mut PyObject, names: [*mut PyObject; 2]) -> Option<[*mut PyObject; 2]> {
    // SAFETY: the caller's promise.
    unsafe {
        if dict.is_null() || ffi::PyDict_CheckExact(dict) == 0 {
            return None;
        }
        let first = item(dict, names[0])?;
        // A key that is no string might be compared, in Python, and take the first item away.
        ffi::Py_INCREF(first);
        let second = item(dict, names[1]);
        if ffi::Py_REFCNT(first) == 1 {
            outside::decref(first);
            return None;
        }
        ffi::Py_DECREF(first);
        Some([first, second?])
    }
}

/// # Safety
/// A dict, a valid string and an attached thread.
unsafe fn item(dict: *mut PyObject, name: *mut PyObject) -> Option<*mut PyObject> {
    // SAFETY: the caller's promise.
    unsafe {
        let item = ffi::PyDict_GetItemWithError(dict, name);
        if item.is_null() {
            ffi::PyErr_Clear();
            return None;
        }
        Some(item)
    }
}

/// Do instances of this class keep their attributes as those of an ordinary class do, with nothing in the way?
///
/// # Safety
/// A valid type and an attached thread.
unsafe fn is_plain(kind: *mut PyTypeObject) -> bool {
    #[cfg(not(Py_3_13))]
    const KEEPS_VALUES: std::ffi::c_ulong = 1 << 4; // Py_TPFLAGS_MANAGED_DICT
    #[cfg(Py_3_13)]
    const KEEPS_VALUES: std::ffi::c_ulong = 1 << 2; // Py_TPFLAGS_INLINE_VALUES
    const UNLEARNABLE: bool =
        cfg!(any(Py_3_14, Py_GIL_DISABLED, Py_LIMITED_API)) || size_of::<usize>() != 8;
    // SAFETY: the caller's promise; bases are valid for as long as the class is.
    unsafe {
        let object = &raw mut ffi::PyBaseObject_Type;
        let is_ordinary = ffi::PyType_HasFeature(kind, KEEPS_VALUES) != 0
            && same(
                (*kind).tp_getattro.map(|f| f as usize),
                (*object).tp_getattro.map(|f| f as usize),
            )
            && same(
                (*kind).tp_setattro.map(|f| f as usize),
                (*object).tp_setattro.map(|f| f as usize),
            )
            // The sample must not be noticed when it goes.
            && (*kind).tp_finalize.is_none()
            && (*kind).tp_del.is_none();
        let mut base = kind;
        while is_ordinary
            && !base.is_null()
            && ffi::PyType_HasFeature(base, ffi::Py_TPFLAGS_HEAPTYPE) != 0
            // A class written in C lays its instances out itself, and lets go of them itself: no class statement made it.
            && same(
                (*base).tp_dealloc.map(|f| f as usize),
                (*kind).tp_dealloc.map(|f| f as usize),
            )
        {
            base = (*base).tp_base;
        }
        is_ordinary && base == object && !UNLEARNABLE
    }
}

fn same(left: Option<usize>, right: Option<usize>) -> bool {
    left.is_some() && left == right
}

/// The version tag of a class, and the places of two attributes of its instances.
///
/// # Safety
/// A valid type, valid strings and an attached thread.
unsafe fn places_in(
    kind: *mut PyTypeObject,
    names: [*mut PyObject; 2],
) -> Option<(u32, [usize; 2])> {
    // SAFETY: the caller's promise. The sample has its class's layout, as all classes between it and `object` are Python's own.
    unsafe {
        if !is_plain(kind) {
            return None;
        }
        for name in names {
            let found = _PyType_Lookup(kind, name); // gives the class its tag, too
            if !found.is_null() && (*ffi::Py_TYPE(found)).tp_descr_set.is_some() {
                return None;
            }
        }
        let tag = (*kind).tp_version_tag;
        let nothing = Owned::new(ffi::PyTuple_New(0))?;
        let make = ffi::PyBaseObject_Type.tp_new?;
        let sample = Owned::new(make(kind, nothing.0, ptr::null_mut()))?;
        let mut places = [0; 2];
        for (place, name) in places.iter_mut().zip(names) {
            let unique = Owned::new(ffi::PyList_New(0))?;
            if ffi::PyObject_GenericSetAttr(sample.0, name, unique.0) != 0 {
                ffi::PyErr_Clear();
                return None;
            }
            // Set and not in a dict, so it is among the values: the search ends before they do.
            let values = values_of(sample.0)?;
            *place = (0..MAX_PLACES).find(|&at| *values.add(at) == unique.0)?;
        }
        (tag != 0 && tag == (*kind).tp_version_tag).then_some((tag, places))
    }
}

/// A reference that this file made, to an object of which nobody knows.
struct Owned(*mut PyObject);

impl Owned {
    /// # Safety
    /// An owned reference, or null with an error set; the thread is attached.
    unsafe fn new(object: *mut PyObject) -> Option<Self> {
        if object.is_null() {
            // SAFETY: the caller's promise.
            unsafe { ffi::PyErr_Clear() };
            return None;
        }
        Some(Self(object))
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: the reference is owned, and made in this file in an attached thread.
        unsafe { ffi::Py_DECREF(self.0) };
    }
}
