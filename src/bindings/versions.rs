//! Version words for Python: captured before a load, bumped by an invalidation. Names are strings, hashed here.

use std::path::PathBuf;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use super::{clock, outside};
use crate::engine::clock::{self as engine_clock, Nanos, Source};
use crate::engine::{MAX_STAMPS, Stamp};
use crate::host::place::{DEFAULT_WORDS, Place, checked_words};
use crate::host::versions;

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

    /// Whether any of the words may have been bumped in so many seconds before now, by anybody. Never says no wrongly;
    /// yes too often, as words share what is noted, and seconds are whole.
    #[pyo3(signature = (seconds, /))]
    fn was_bumped_within(&self, py: Python<'_>, seconds: f64) -> PyResult<bool> {
        let span = engine_clock::nanos(seconds)?;
        Ok(versions::current().were_bumped_within(&self.stamps, now(py)?, span))
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

/// Make stale whatever was captured of these names, in every process that shares the words; how many names that were.
#[pyfunction]
#[pyo3(signature = (names, /))]
pub(super) fn bump(py: Python<'_>, names: &Bound<'_, PyAny>) -> PyResult<usize> {
    let names = encoded(names)?;
    // A clock that Python reads may fail: the words are bumped first, by the machine's own.
    let read = now(py);
    let first = *read.as_ref().unwrap_or(&engine_clock::precise());
    versions::bump(&names, || whole_seconds(now(py).unwrap_or(first)));
    read.map(|_| names.len())
}

/// Share the words of a directory and namespace with all processes of this user that name the same; see
/// `versions_state`. Where that cannot be, the words are this process's own and `reason` says why.
///
/// Raises ValueError for a relative directory, a namespace that cannot be part of a file's name, or a number of words that
/// is no power of two from 2**16 to 2**24.
#[pyfunction]
#[pyo3(signature = (directory, namespace, words, /))]
pub(super) fn versions_share(
    py: Python<'_>,
    directory: PathBuf,
    namespace: String,
    words: u32,
) -> PyResult<Bound<'_, PyAny>> {
    let place = Place::new(directory, namespace, words)?;
    versions::share(&place, whole_seconds(now(py)?));
    versions_state(py)
}

/// Use words of this process alone; what was captured before is not current any more.
#[pyfunction]
#[pyo3(signature = (words = DEFAULT_WORDS, reason = None))]
pub(super) fn versions_keep_private(words: u32, reason: Option<String>) -> PyResult<()> {
    versions::keep_private(checked_words(words)?, reason);
    Ok(())
}

/// Whether the words are shared, in which `directory` and `path`, how many `words` there are; the `reason` why they are not,
/// or why they were `replaced` so often; how many `bumps` this process made.
#[pyfunction]
pub(super) fn versions_state(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    Ok(pythonize::pythonize(py, &versions::current().state())?)
}

/// Look, at most once a second, whether the file is still the one at its path; whether it was replaced, lost or found.
#[pyfunction]
pub(super) fn versions_refresh(py: Python<'_>) -> PyResult<bool> {
    let now = clock::now(py)?.at();
    Ok(versions::refresh(now, whole_seconds(now)))
}

/// The present on the engine's clock, which for system time is the one that all processes of the host share.
fn now(py: Python<'_>) -> PyResult<Nanos> {
    match engine_clock::source() {
        Source::System => Ok(engine_clock::precise()),
        _ => Ok(clock::now(py)?.at()),
    }
}

pub(super) fn whole_seconds(now: Nanos) -> u32 {
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
    let Ok(text) = name.cast::<PyString>() else {
        return Err(PyTypeError::new_err(format!(
            "the name of a version word must be a string, not {}",
            outside::repr(name)?
        )));
    };
    let mut bytes = Vec::new();
    encode(text, &mut bytes)?;
    Ok(bytes)
}

/// A text as UTF-8, lone surrogates as they come.
pub(super) fn encode(text: &Bound<'_, PyString>, bytes: &mut Vec<u8>) -> PyResult<()> {
    if let Ok(text) = text.to_str() {
        bytes.extend_from_slice(text.as_bytes());
        return Ok(());
    }
    let py = text.py();
    let encode = py.get_type::<PyString>().getattr(intern!(py, "encode"))?;
    let encoded = outside::call_with(&encode, (text, "utf-8", "surrogatepass"))?;
    bytes.extend_from_slice(&encoded.extract::<Vec<u8>>()?);
    Ok(())
}
