//! Python's hand on the engine's clock: driven by tests, or following a Python callable.

use parking_lot::Mutex;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyTuple;

use super::args::exact_nanos;
use super::attend;
use super::outside;
use crate::engine::clock::{self, Nanos, Now, Source};

/// The callable that `clock_follow` was given, and what turns its readings into engine time.
struct Followed {
    read: Py<PyAny>,
    offset: Nanos,
}

static FOLLOWED: Mutex<Option<Followed>> = Mutex::new(None);

/// Engine time minus wall-clock time, read once: for display only, so that one deadline always shows as one second.
static WALL_OFFSET: PyOnceLock<Nanos> = PyOnceLock::new();

/// The instant an operation happens at. What was ordered is carried out first: whatever the operation reads, it reads after.
///
/// Runs Python where a callable is followed or something is heeded, so never under a table's lock.
#[inline(always)]
#[expect(clippy::inline_always, reason = "one relaxed load on every hit")]
pub(super) fn now(py: Python<'_>) -> PyResult<Now> {
    match clock::ready() {
        Some(Source::System) => Ok(Now::coarse()),
        Some(Source::Driven) => Ok(clock::now()),
        Some(Source::External) => followed_now(py),
        None => heeded_now(py),
    }
}

#[cold]
fn heeded_now(py: Python<'_>) -> PyResult<Now> {
    heed(py);
    instant(py)
}

/// Carry out what was ordered. For operations that need no time: the others do it by asking for the time.
#[inline]
pub(super) fn heed(py: Python<'_>) {
    if clock::is_attention_asked() {
        attend::attend(py);
    }
}

/// Are caches disabled, once everything that was ordered is done?
#[inline]
pub(super) fn is_disabled(py: Python<'_>) -> bool {
    heed(py);
    clock::is_disabled()
}

/// The instant, whatever was ordered.
pub(super) fn instant(py: Python<'_>) -> PyResult<Now> {
    match clock::source() {
        Source::System => Ok(Now::coarse()),
        Source::Driven => Ok(clock::now()),
        Source::External => followed_now(py),
    }
}

#[cold]
fn followed_now(py: Python<'_>) -> PyResult<Now> {
    let followed = FOLLOWED
        .lock()
        .as_ref()
        .map(|followed| (followed.read.clone_ref(py), followed.offset));
    let Some((read, offset)) = followed else {
        return Ok(Now::coarse());
    };
    let at = exact_nanos(outside::float(&outside::call(
        read.bind(py),
        &PyTuple::empty(py),
        None,
    )?)?)?;
    Ok(Now::exactly(at.saturating_add(offset)))
}

/// The engine's time in seconds; only differences mean anything.
#[pyfunction(name = "now")]
pub(super) fn now_seconds(py: Python<'_>) -> PyResult<f64> {
    let now = match clock::source() {
        Source::System => clock::precise(),
        _ => now(py)?.at(),
    };
    Ok(clock::seconds(now))
}

/// Let time run by itself again.
#[pyfunction]
pub(super) fn clock_system() {
    clock::system();
    let followed = FOLLOWED.lock().take();
    drop(followed);
}

/// Stop time at `at` seconds on the engine's time line; call again to move it.
#[pyfunction]
#[pyo3(signature = (at, /))]
pub(super) fn clock_drive(at: f64) -> PyResult<()> {
    clock::drive(exact_nanos(at)?);
    Ok(())
}

/// Ask `read` (seconds, such as `time.time`) for the time at every operation, going on from the present instant.
#[pyfunction]
#[pyo3(signature = (read, /))]
pub(super) fn clock_follow(py: Python<'_>, read: Py<PyAny>) -> PyResult<()> {
    let first = exact_nanos(outside::float(&outside::call(
        read.bind(py),
        &PyTuple::empty(py),
        None,
    )?)?)?;
    let offset = clock::precise().saturating_sub(first);
    let before = FOLLOWED.lock().replace(Followed { read, offset });
    drop(before);
    clock::external();
    Ok(())
}

/// `time.time()`, looked up at the call: callers patch it.
pub(super) fn python_time(py: Python<'_>) -> PyResult<f64> {
    static TIME: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    // The module is kept from import on: late at exit nothing can be imported any more.
    let time = TIME.get_or_try_init(py, || Ok::<_, PyErr>(py.import("time")?.unbind()))?;
    let time = time.bind(py).getattr(intern!(py, "time"))?;
    outside::float(&outside::call(&time, &PyTuple::empty(py), None)?)
}

fn wall_offset(py: Python<'_>) -> PyResult<Nanos> {
    if let (Source::External, Some(followed)) = (clock::source(), &*FOLLOWED.lock()) {
        return Ok(followed.offset);
    }
    WALL_OFFSET
        .get_or_try_init(py, || {
            Ok(clock::precise().saturating_sub(exact_nanos(python_time(py)?)?))
        })
        .copied()
}

/// An engine instant as a wall-clock second; inf for never.
pub(super) fn wall(py: Python<'_>, at: Nanos) -> PyResult<f64> {
    if at == clock::FOREVER {
        return Ok(f64::INFINITY);
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "seconds for display, as time.time gives them"
    )]
    Ok(at.saturating_sub(wall_offset(py)?) as f64 / 1e9)
}

/// A wall-clock second as an engine instant; inf is never.
pub(super) fn from_wall(py: Python<'_>, seconds: f64) -> PyResult<Nanos> {
    if seconds == f64::INFINITY {
        return Ok(clock::FOREVER);
    }
    Ok(exact_nanos(seconds)?.saturating_add(wall_offset(py)?))
}
