//! Version words for Python: captured before a load, bumped by an invalidation. Names are strings, hashed here.

use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use super::{clock, outside};
use crate::engine::Stamp;
use crate::engine::clock::{self as engine_clock, Nanos, Source};
use crate::host::segment::{DEFAULT_WORDS, MAX_WORDS, MIN_WORDS};
use crate::host::versions;

/// An entry may depend on so many names; each costs it 8 bytes and a comparison at every hit.
const MAX_STAMPS: usize = 32;

/// How many words this process bumped.
static BUMPS: AtomicU64 = AtomicU64::new(0);

/// Version words as they were when captured. Immutable.
#[pyclass(frozen, module = "oxicache._native")]
pub(super) struct Stamps {
    pub(super) stamps: Box<[Stamp]>,
}

#[pymethods]
impl Stamps {
    /// The numbers of the words.
    #[getter]
    fn words<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.stamps.iter().map(|stamp| stamp.word))
    }

    /// Whether none of the words was bumped since, by any process that shares them.
    fn is_current(&self) -> bool {
        versions::current().are_current(&self.stamps)
    }

    fn __len__(&self) -> usize {
        self.stamps.len()
    }
}

/// The words of these names as they are now. To be called before the load whose result depends on them.
#[pyfunction]
#[pyo3(signature = (names, /))]
pub(super) fn capture(names: &Bound<'_, PyAny>) -> PyResult<Stamps> {
    let names = encoded(names)?;
    if names.len() > MAX_STAMPS {
        return Err(PyValueError::new_err(format!(
            "an entry may depend on at most {MAX_STAMPS} version words, not on {}",
            names.len()
        )));
    }
    let versions = versions::current();
    let stamps = names
        .iter()
        .map(|name| versions.capture(versions.word(name)))
        .collect();
    Ok(Stamps { stamps })
}

/// Make stale whatever was captured of these names, in every process that shares the words; how many words that were.
#[pyfunction]
#[pyo3(signature = (names, /))]
pub(super) fn bump(py: Python<'_>, names: &Bound<'_, PyAny>) -> PyResult<usize> {
    let names = encoded(names)?;
    let seconds = whole_seconds(now(py)?);
    let versions = versions::current();
    for name in &names {
        versions.bump(versions.word(name), seconds);
    }
    BUMPS.fetch_add(names.len() as u64, Ordering::Relaxed);
    Ok(names.len())
}

/// Use words of this process alone; what was captured before is not current any more.
#[pyfunction]
#[pyo3(signature = (words = DEFAULT_WORDS, reason = None))]
pub(super) fn versions_keep_private(words: u32, reason: Option<String>) -> PyResult<()> {
    if !words.is_power_of_two() || !(MIN_WORDS..=MAX_WORDS).contains(&words) {
        return Err(PyValueError::new_err(format!(
            "words must be a power of two from {MIN_WORDS} to {MAX_WORDS}, not {words}"
        )));
    }
    versions::keep_private(words);
    let _ = reason;
    Ok(())
}

/// Whether the words are shared, where, how many there are, and why not or why no longer the same.
#[pyfunction]
pub(super) fn versions_state(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let state = PyDict::new(py);
    state.set_item("shared", false)?;
    state.set_item("directory", py.None())?;
    state.set_item("path", py.None())?;
    state.set_item("words", versions::current().words())?;
    state.set_item("reason", py.None())?;
    state.set_item("replaced", 0)?;
    state.set_item("bumps", BUMPS.load(Ordering::Relaxed))?;
    Ok(state)
}

/// The present on the engine's clock, which for system time is the one that all processes of the host share.
fn now(py: Python<'_>) -> PyResult<Nanos> {
    match engine_clock::source() {
        Source::System => Ok(engine_clock::precise()),
        _ => Ok(clock::now(py)?.at()),
    }
}

fn whole_seconds(now: Nanos) -> u32 {
    u32::try_from(now / 1_000_000_000).unwrap_or(0)
}

/// Names as UTF-8, lone surrogates as they come. A single string is refused: its letters are never what was meant.
fn encoded(names: &Bound<'_, PyAny>) -> PyResult<Vec<Vec<u8>>> {
    if names.is_instance_of::<PyString>() {
        return Err(PyTypeError::new_err(format!(
            "names must be an iterable of strings such as ['model:app.book'], not the single string {}",
            outside::repr(names)?
        )));
    }
    outside::iterate(names)?.map(|name| one(&name?)).collect()
}

fn one(name: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    let py = name.py();
    let Ok(text) = name.cast::<PyString>() else {
        return Err(PyTypeError::new_err(format!(
            "the name of a version word must be a string, not {}",
            outside::repr(name)?
        )));
    };
    if let Ok(text) = text.to_str() {
        return Ok(text.as_bytes().to_vec());
    }
    let encode = py.get_type::<PyString>().getattr(intern!(py, "encode"))?;
    outside::call_with(&encode, (text, "utf-8", "surrogatepass"))?.extract()
}
