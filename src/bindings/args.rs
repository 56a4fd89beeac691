//! Python arguments -> engine types: seconds or timedelta, sizes, tags. Wrong ones are refused by name.

use parking_lot::Mutex;
use pyo3::exceptions::{PyKeyError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDelta, PyFloat, PyInt, PyString, PyTuple};

use super::outside;
use crate::engine::clock::{self, FOREVER, Nanos};
use crate::engine::{Limits, MAX_ENTRIES, PolicyKind};

/// Seconds between two sweeps, entries a cache and seconds an entry lives, when nobody says otherwise.
/// Source: API reference (akvo), "Default Settings".
const DEFAULT_MAX_SIZE: usize = 1000;
const DEFAULT_TTL: Nanos = 3_600_000_000_000;

/// Gives (`max_size`, `ttl`) for caches that name neither; `oxicache.django` installs one that reads the settings.
static RESOLVER: Mutex<Option<Py<PyAny>>> = Mutex::new(None);

/// A `ttl` argument: left out, or a length of time (`FOREVER` for None).
#[derive(Clone, Copy)]
pub(super) enum TtlArg {
    Omitted,
    Given(Nanos),
}

impl TtlArg {
    pub(super) fn or(self, default: Nanos) -> Nanos {
        match self {
            Self::Omitted => default,
            Self::Given(ttl) => ttl,
        }
    }

    pub(super) fn is_given(self) -> bool {
        matches!(self, Self::Given(_))
    }
}

impl<'py> FromPyObject<'_, 'py> for TtlArg {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if super::keys::is_missing(&object) {
            return Ok(Self::Omitted);
        }
        if object.is_none() {
            return Ok(Self::Given(FOREVER));
        }
        duration(&object, "ttl", "0: dead at once, None: for ever").map(Self::Given)
    }
}

/// A `grace` argument.
#[derive(Clone, Copy)]
pub(super) struct GraceArg(pub(super) Nanos);

impl<'py> FromPyObject<'_, 'py> for GraceArg {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        duration(&object, "grace", "0: none").map(Self)
    }
}

/// Seconds between two sweeps.
#[derive(Clone, Copy)]
pub(super) struct IntervalArg(pub(super) Nanos);

impl<'py> FromPyObject<'_, 'py> for IntervalArg {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        duration(&object, "cleanup_interval", "0: sweep at every set").map(Self)
    }
}

/// A `max_size` argument: left out, or a number of entries.
#[derive(Clone, Copy)]
pub(super) enum SizeArg {
    Omitted,
    Given(usize),
}

impl<'py> FromPyObject<'_, 'py> for SizeArg {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if super::keys::is_missing(&object) {
            return Ok(Self::Omitted);
        }
        let size = whole_number(&object, "max_size", "entries")?;
        let limits = usize::try_from(size).map(Limits::new);
        match limits.map(Limits::validated) {
            Ok(Ok(limits)) => Ok(Self::Given(limits.max_size)),
            _ => Err(PyValueError::new_err(format!(
                "max_size must be at most {MAX_ENTRIES} entries, not {}",
                shown(&object)
            ))),
        }
    }
}

/// A `max_bytes` argument: None for no limit.
#[derive(Clone, Copy)]
pub(super) struct BytesArg(pub(super) Option<u64>);

impl<'py> FromPyObject<'_, 'py> for BytesArg {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if object.is_none() {
            return Ok(Self(None));
        }
        whole_number(&object, "max_bytes", "bytes, or None for no limit")
            .map(|bytes| Self(Some(bytes)))
    }
}

/// A `policy` argument.
#[derive(Clone, Copy)]
pub(super) struct PolicyArg(pub(super) PolicyKind);

impl<'py> FromPyObject<'_, 'py> for PolicyArg {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let Ok(name) = object.cast::<PyString>() else {
            return Err(PyTypeError::new_err(format!(
                "policy must be 'lru' or 's3fifo', not {}",
                shown(&object)
            )));
        };
        match name.to_str()? {
            "lru" => Ok(Self(PolicyKind::Lru)),
            "s3fifo" => Ok(Self(PolicyKind::S3Fifo)),
            _ => Err(PyValueError::new_err(format!(
                "policy must be 'lru' or 's3fifo', not {}",
                shown(&object)
            ))),
        }
    }
}

/// The strength of early refresh (`XFetch`'s beta): 0 is off, 1 the usual choice.
#[derive(Clone, Copy)]
pub(super) struct EarlyArg(pub(super) f64);

impl<'py> FromPyObject<'_, 'py> for EarlyArg {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let value = if object.is_instance_of::<PyBool>() {
            None
        } else {
            outside::float(&object).ok()
        };
        match value {
            Some(beta) if beta.is_finite() && beta >= 0.0 => Ok(Self(beta)),
            Some(_) => Err(PyValueError::new_err(format!(
                "early_refresh must be a number of at least 0 (0 is off, 1 the usual strength), not {}",
                shown(&object)
            ))),
            None => Err(PyTypeError::new_err(format!(
                "early_refresh must be a number (0 is off, 1 the usual strength), not {}",
                shown(&object)
            ))),
        }
    }
}

/// Names to invalidate an entry by. A single string is refused: its letters are never what was meant.
pub(super) fn tags(given: Option<&Bound<'_, PyAny>>) -> PyResult<Vec<String>> {
    let Some(given) = given else {
        return Ok(Vec::new());
    };
    if given.is_instance_of::<PyString>() {
        return Err(PyTypeError::new_err(format!(
            "tags must be an iterable of strings such as ['news'], not the single string {}",
            shown(given)
        )));
    }
    let mut names = Vec::new();
    for tag in outside::iterate(given)? {
        names.push(tag_name(&tag?)?);
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

/// One tag.
pub(super) fn tag_name(tag: &Bound<'_, PyAny>) -> PyResult<String> {
    match tag.cast::<PyString>() {
        Ok(name) => Ok(name.to_str()?.to_owned()),
        Err(_) => Err(PyTypeError::new_err(format!(
            "a tag must be a string, not {}",
            shown(tag)
        ))),
    }
}

fn duration(object: &Bound<'_, PyAny>, what: &str, special: &str) -> PyResult<Nanos> {
    let is_number = object.is_instance_of::<PyInt>() || object.is_instance_of::<PyFloat>();
    let seconds = if object.is_instance_of::<PyDelta>() {
        outside::call_method(object, intern!(object.py(), "total_seconds"))?
    } else if is_number && !object.is_instance_of::<PyBool>() {
        object.clone()
    } else {
        match indexed(object)? {
            Some(number) => number.into_any(),
            None => {
                return Err(PyTypeError::new_err(format!(
                    "{what} must be seconds as int or float, or a timedelta ({special}), not {}",
                    shown(object)
                )));
            }
        }
    };
    // An int too large for a float is as good as for ever, or as wrong as any negative number.
    let seconds = match outside::float(&seconds) {
        Ok(seconds) => seconds,
        Err(_) if outside::less(&seconds, PyInt::new(seconds.py(), 0).as_any())? => -1.0,
        Err(_) => f64::INFINITY,
    };
    clock::nanos(seconds).map_err(|_| {
        PyValueError::new_err(format!(
            "{what} must be at least 0 seconds ({special}), not {}",
            shown(object)
        ))
    })
}

/// The int that an object stands for through `__index__`; None for bools and for what is no whole number.
fn indexed<'py>(object: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyInt>>> {
    let py = object.py();
    if object.is_instance_of::<PyBool>()
        || outside::attribute_if_any(object, intern!(py, "__index__"))?.is_none()
    {
        return Ok(None);
    }
    outside::index(object).map(Some)
}

/// A whole number of at least 0; more than fit 64 bits are as many as do.
fn whole_number(object: &Bound<'_, PyAny>, what: &str, unit: &str) -> PyResult<u64> {
    let Some(number) = indexed(object)? else {
        return Err(PyTypeError::new_err(format!(
            "{what} must be a whole number of {unit}, not {}",
            shown(object)
        )));
    };
    if number.lt(0)? {
        return Err(PyValueError::new_err(format!(
            "{what} must be at least 0 {unit}, not {}",
            shown(object)
        )));
    }
    Ok(number.extract::<u64>().unwrap_or(u64::MAX))
}

/// A value as an error message shows it: its repr and type.
fn shown(object: &Bound<'_, PyAny>) -> String {
    let kind = object
        .get_type()
        .name()
        .map_or_else(|_| "?".to_owned(), |name| name.to_string());
    match outside::repr(object) {
        Ok(text) => format!("{text} ({kind})"),
        Err(_) => format!("a {kind}"),
    }
}

/// Seconds -> nanoseconds, to the microsecond: what clocks frozen by tests can express exactly.
pub(super) fn exact_nanos(seconds: f64) -> PyResult<Nanos> {
    let micros = (seconds * 1e6).round();
    if micros.is_nan() || micros.abs() >= 9e15 {
        return Err(PyValueError::new_err(format!(
            "clock reading out of range: {seconds} seconds"
        )));
    }
    #[expect(clippy::cast_possible_truncation, reason = "bounded just above")]
    Ok(micros as Nanos * 1_000)
}

/// A ttl as Python shows it: None for ever, an int when whole, else a float.
pub(super) fn ttl_to_python(py: Python<'_>, ttl: Nanos) -> PyResult<Py<PyAny>> {
    if ttl == FOREVER {
        return Ok(py.None());
    }
    if ttl % 1_000_000_000 == 0 {
        return Ok((ttl / 1_000_000_000).into_pyobject(py)?.into_any().unbind());
    }
    Ok(clock::seconds(ttl).into_pyobject(py)?.into_any().unbind())
}

/// What a cache gets that named no size or no ttl. Asks the resolver only when one of them is missing.
pub(super) fn resolved(py: Python<'_>, size: SizeArg, ttl: TtlArg) -> PyResult<(usize, Nanos)> {
    if let (SizeArg::Given(size), TtlArg::Given(ttl)) = (size, ttl) {
        return Ok((size, ttl));
    }
    let resolver = RESOLVER
        .lock()
        .as_ref()
        .map(|resolver| resolver.clone_ref(py));
    let (mut default_size, mut default_ttl) = (DEFAULT_MAX_SIZE, DEFAULT_TTL);
    if let Some(resolver) = resolver {
        let (given_size, given_ttl): (SizeArg, TtlArg) =
            outside::call(resolver.bind(py), &PyTuple::empty(py), None)?.extract()?;
        if let SizeArg::Given(given) = given_size {
            default_size = given;
        }
        default_ttl = given_ttl.or(default_ttl);
    }
    let size = match size {
        SizeArg::Given(size) => size,
        SizeArg::Omitted => default_size,
    };
    Ok((size, ttl.or(default_ttl)))
}

/// Install the callable that gives (`max_size`, `ttl`) to caches that name neither; None for the built-in 1000 and 3600 s.
#[pyfunction]
#[pyo3(signature = (resolve, /))]
pub(super) fn set_defaults(resolve: Option<Py<PyAny>>) {
    let before = std::mem::replace(&mut *RESOLVER.lock(), resolve);
    drop(before);
}

/// What `sizeof` answered.
pub(super) fn byte_count(answer: &Bound<'_, PyAny>) -> PyResult<u64> {
    whole_number(answer, "the result of sizeof", "bytes")
}

/// An argument that may be left out, where None would be a value.
#[derive(Clone, Copy)]
pub(super) enum Passed<T> {
    No,
    Yes(T),
}

impl<'a, 'py, T: FromPyObject<'a, 'py>> FromPyObject<'a, 'py> for Passed<T> {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        T::extract(object).map(Self::Yes).map_err(Into::into)
    }
}

impl<T> Passed<T> {
    pub(super) fn or(self, default: T) -> T {
        match self {
            Self::Yes(given) => given,
            Self::No => default,
        }
    }
}

impl Passed<Py<PyAny>> {
    /// What `pop` gives for a missing key.
    pub(super) fn or_key_error(self, key: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        match self {
            Self::Yes(default) => Ok(default),
            Self::No => Err(PyKeyError::new_err(key.clone().unbind())),
        }
    }
}
