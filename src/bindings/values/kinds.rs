//! Which values can't be changed, so that a reference to one is as good as a copy.
//!
//! Exact types only: an instance of a subclass may carry attributes of its own.

use std::collections::HashSet;
use std::sync::atomic::{AtomicPtr, Ordering};

use parking_lot::Mutex;
use pyo3::exceptions::{PyException, PyTypeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{
    PyComplex, PyDate, PyDateTime, PyDelta, PyRange, PyString, PyTime, PyType, PyTzInfo,
};
use pyo3::{ffi, intern};

use crate::bindings::outside;

/// IANA knows about 600 zones; each one that was met is kept.
const MAX_ZONES: usize = 1_000;

/// What an immutable type's objects weigh, as `sys.getsizeof` has it with what they hold themselves.
mod bytes {
    pub(super) const COMPLEX: u64 = 32;
    pub(super) const DATE: u64 = 32;
    pub(super) const DELTA: u64 = 40;
    pub(super) const RANGE: u64 = 48;
    /// A Decimal of up to 19 digits needs no more.
    pub(super) const DECIMAL: u64 = 104;
    /// The object and its 128-bit int.
    pub(super) const UUID: u64 = 100;
}

/// A type whose objects hold nothing that could be changed.
pub(in crate::bindings) struct Scalar {
    kind: Py<PyType>,
    pub(in crate::bindings) bytes: u64,
    /// Hashing and comparing its objects runs no Python code.
    pub(in crate::bindings) is_native_key: bool,
}

/// The types of the standard library that values are told apart by.
pub(in crate::bindings) struct Kinds {
    scalars: [Scalar; 6],
    date_time: Py<PyType>,
    time: Py<PyType>,
    timezone: Py<PyType>,
    zone: Py<PyType>,
    last_zone: AtomicPtr<ffi::PyObject>,
    zones: Mutex<Zones>,
}

/// Zones that can be pickled, by address: the references see to it that no other object gets one of these addresses.
#[derive(Default)]
struct Zones {
    addresses: HashSet<usize>,
    held: Vec<Py<PyAny>>,
}

static KINDS: PyOnceLock<Kinds> = PyOnceLock::new();

/// The types; the first call imports the modules that have them.
pub(in crate::bindings) fn kinds(py: Python<'_>) -> PyResult<&Kinds> {
    KINDS.get_or_try_init(py, || {
        let scalar = |kind: Bound<'_, PyType>, bytes, is_native_key| Scalar {
            kind: kind.unbind(),
            bytes,
            is_native_key,
        };
        // The types of datetime come from its C interface, whatever a test has put into the module.
        Ok(Kinds {
            scalars: [
                scalar(py.get_type::<PyDate>(), bytes::DATE, true),
                scalar(
                    imported(intern!(py, "decimal"), intern!(py, "Decimal"))?,
                    bytes::DECIMAL,
                    false,
                ),
                scalar(
                    imported(intern!(py, "uuid"), intern!(py, "UUID"))?,
                    bytes::UUID,
                    false,
                ),
                scalar(py.get_type::<PyDelta>(), bytes::DELTA, true),
                scalar(py.get_type::<PyRange>(), bytes::RANGE, true),
                scalar(py.get_type::<PyComplex>(), bytes::COMPLEX, true),
            ],
            date_time: py.get_type::<PyDateTime>().unbind(),
            time: py.get_type::<PyTime>().unbind(),
            timezone: PyTzInfo::utc(py)?.get_type().unbind(),
            zone: imported(intern!(py, "zoneinfo"), intern!(py, "ZoneInfo"))?.unbind(),
            last_zone: AtomicPtr::default(),
            zones: Mutex::default(),
        })
    })
}

fn imported<'py>(
    module: &Bound<'py, PyString>,
    name: &Bound<'py, PyString>,
) -> PyResult<Bound<'py, PyType>> {
    Ok(outside::attribute(&outside::import(module)?, name)?.cast_into()?)
}

/// A subclass of str whose instances are nothing but text: Django's `SafeString`, which rendered templates are.
static TEXT: AtomicPtr<ffi::PyObject> = AtomicPtr::new(std::ptr::null_mut());

/// Say that exact instances of this subclass of str can't be changed either; None takes it back.
#[pyfunction]
#[pyo3(signature = (kind, /))]
pub(in crate::bindings) fn set_text_type(kind: Option<&Bound<'_, PyType>>) -> PyResult<()> {
    let Some(kind) = kind else {
        TEXT.store(std::ptr::null_mut(), Ordering::Relaxed);
        return Ok(());
    };
    let py = kind.py();
    let text = py.get_type::<PyString>();
    let size = intern!(py, "__basicsize__");
    if !kind.is_subclass(&text)?
        || kind
            .getattr(intern!(py, "__dictoffset__"))?
            .extract::<isize>()?
            != 0
        || !kind.getattr(size)?.eq(text.getattr(size)?)?
    {
        return Err(PyTypeError::new_err(format!(
            "{} is not a subclass of str without attributes of its own; give it `__slots__ = ()`",
            kind.qualname()?
        )));
    }
    // Never let go, so that no other type gets its address: there is one, or a few in tests.
    TEXT.store(kind.clone().into_ptr(), Ordering::Relaxed);
    Ok(())
}

impl Kinds {
    #[inline]
    pub(in crate::bindings) fn is_text(&self, kind: *mut ffi::PyObject) -> bool {
        TEXT.load(Ordering::Relaxed) == kind
    }

    /// What is known of a type by its address.
    #[inline]
    pub(in crate::bindings) fn scalar(&self, kind: *mut ffi::PyObject) -> Option<&Scalar> {
        self.scalars
            .iter()
            .find(|scalar| scalar.kind.as_ptr() == kind)
    }

    #[inline]
    pub(in crate::bindings) fn is_date_time(&self, kind: *mut ffi::PyObject) -> bool {
        self.date_time.as_ptr() == kind
    }

    #[inline]
    pub(in crate::bindings) fn is_time(&self, kind: *mut ffi::PyObject) -> bool {
        self.time.as_ptr() == kind
    }

    #[inline]
    pub(in crate::bindings) fn is_timezone(&self, kind: *mut ffi::PyObject) -> bool {
        self.timezone.as_ptr() == kind
    }

    #[inline]
    pub(in crate::bindings) fn is_zone(&self, kind: *mut ffi::PyObject) -> bool {
        self.zone.as_ptr() == kind
    }

    /// Was this `ZoneInfo` found good before?
    #[inline]
    pub(in crate::bindings) fn knows_zone(&self, zone: *mut ffi::PyObject) -> bool {
        if self.last_zone.load(Ordering::Relaxed) == zone {
            return true;
        }
        let is_known = self.zones.lock().addresses.contains(&zone.addr());
        if is_known {
            self.last_zone.store(zone, Ordering::Relaxed);
        }
        is_known
    }

    /// Find out whether a `ZoneInfo` can be pickled (one made from a file can't), and keep it if so.
    pub(in crate::bindings) fn learn_zone(&self, zone: &Bound<'_, PyAny>) -> PyResult<bool> {
        let py = zone.py();
        match outside::call_method(zone, intern!(py, "__reduce__")) {
            Ok(_) => {
                let mut zones = self.zones.lock();
                if zones.held.len() >= MAX_ZONES {
                    return Ok(false);
                }
                if zones.addresses.insert(zone.as_ptr().addr()) {
                    zones.held.push(zone.clone().unbind());
                }
                Ok(true)
            }
            Err(error) if error.is_instance_of::<PyException>(py) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
