//! The control socket for Python: started and stopped, and answered for where only Python can answer.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pyo3::exceptions::{PyLookupError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::{attend, clock, manager, outside};
use crate::host::control::wire::{Answer, Code, Failure};
use crate::host::control::{self, Task};
use crate::host::place::{DEFAULT_WORDS, Place};

/// How long the clerk counts until it lets others have the GIL, and for how long it does.
const BITE: Duration = Duration::from_micros(300);
const BREATH: Duration = Duration::from_micros(200);

/// The callable that answers what only Python can.
static ANSWERER: Mutex<Option<Py<PyAny>>> = Mutex::new(None);

/// Python, as the host sees it.
struct Interpreter;

impl control::Python for Interpreter {
    fn carry_out(&self, task: &Task, attached: &dyn Fn()) -> Option<Answer> {
        if let Task::Count(names) = task {
            return count_in_bites(names.as_deref(), attached);
        }
        outside::attached(|py| {
            attached();
            carry_out(py, task)
        })
    }

    fn tidy(&self) -> bool {
        outside::attached(attend::tidy) == Some(true)
    }
}

fn carry_out(py: Python<'_>, task: &Task) -> Answer {
    match task {
        Task::Attend => {
            attend::attend_to_all(py);
            Ok(String::new())
        }
        Task::Count(names) => {
            let mut counted = Counted::default();
            counted.go_on(py, names.as_deref(), Duration::MAX);
            Ok(counted.is_exact().to_string())
        }
        Task::Call { verb, arguments } => call(py, verb, arguments),
    }
}

/// Count what has expired in some of the registered caches, with the GIL for a moment at a time.
fn count_in_bites(names: Option<&[String]>, attached: &dyn Fn()) -> Option<Answer> {
    let mut counted = Counted::default();
    loop {
        outside::attached(|py| {
            if counted.caches == 0 {
                attached();
            }
            counted.go_on(py, names, BITE);
        })?;
        if counted.is_done {
            return Some(Ok(counted.is_exact().to_string()));
        }
        // A thread that gives the GIL away and wants it back at once is often quicker than those that wait for it.
        std::thread::sleep(BREATH);
    }
}

/// How far counting has come.
#[derive(Default)]
struct Counted {
    /// How many of the registered caches were looked at; others may come and go meanwhile.
    caches: usize,
    is_partial: bool,
    is_done: bool,
}

impl Counted {
    /// Count until the time is up; at least one cache, of which 20,000 entries are looked at.
    fn go_on(&mut self, py: Python<'_>, names: Option<&[String]>, time: Duration) {
        let Ok(now) = clock::now(py) else {
            self.is_partial = true;
            self.is_done = true;
            return;
        };
        let begun = Instant::now();
        for (name, shared) in manager::registered(py).into_iter().skip(self.caches) {
            self.caches += 1;
            if names.is_none_or(|names| names.contains(&name)) {
                self.is_partial |= !shared.count_expired(now);
                if begun.elapsed() >= time {
                    return;
                }
            }
        }
        self.is_done = true;
    }

    fn is_exact(&self) -> bool {
        !self.is_partial
    }
}

fn call(py: Python<'_>, verb: &str, arguments: &str) -> Answer {
    let answerer = ANSWERER.lock().as_ref().map(|known| known.clone_ref(py));
    let Some(answerer) = answerer else {
        let message = format!("{verb} is answered by Python, which is not configured to");
        return Err(Failure::new(Code::Failed, message));
    };
    let answer = outside::call_with(answerer.bind(py), (verb, arguments));
    outside::release(answerer, py);
    match answer {
        Ok(answer) => answer
            .extract()
            .map_err(|_| Failure::new(Code::Failed, "Python's answer is no text")),
        Err(error) => {
            let failure = failure(py, &error);
            outside::release(error.into_value(py).into_any(), py);
            Err(failure)
        }
    }
}

/// What an exception says to an operator: what is wrong with the request, or what went wrong.
fn failure(py: Python<'_>, error: &PyErr) -> Failure {
    let text = py.get_type::<PyString>();
    let message = outside::call_with(text.as_any(), (error.value(py),))
        .and_then(|text| text.extract::<String>())
        .unwrap_or_else(|_| "its message cannot be shown".to_owned());
    // That very class: one that inherits from it may come from a defect in what answers.
    if error.get_type(py).is(py.get_type::<PyLookupError>()) {
        return Failure::new(Code::UnknownCache, message);
    }
    let is_about_request = error.is_instance_of::<PyValueError>(py)
        || error.is_instance_of::<PyTypeError>(py)
        || error.is_instance_of::<PyLookupError>(py);
    if is_about_request {
        return Failure::new(Code::WrongArgument, message);
    }
    let kind = error.get_type(py).name();
    let kind = kind.map_or_else(|_| "an exception".to_owned(), |name| name.to_string());
    Failure::new(Code::Failed, format!("{kind}: {message}"))
}

/// Serve the control socket of this process in the folder of a directory and namespace, as `versions_share` has it.
/// Returns `control_state()`; where it cannot be served, `reason` says why. Does nothing where it is served already.
///
/// Raises ValueError for a relative directory, or a namespace that cannot be part of a folder's name.
#[pyfunction]
#[pyo3(signature = (directory, namespace, /))]
pub(super) fn control_start(
    py: Python<'_>,
    directory: PathBuf,
    namespace: String,
) -> PyResult<Bound<'_, PyAny>> {
    let place = Place::new(directory, namespace, DEFAULT_WORDS)?;
    let state = outside::detached(py, || control::start(&place, &Interpreter));
    Ok(pythonize::pythonize(py, &state)?)
}

/// Remove the socket and end the threads behind it; returns when they are gone, after about a second at most: one that is
/// inside Python code is left behind then. To be called before a fork, and at exit with `for_good`, after which none starts.
#[pyfunction]
#[pyo3(signature = (*, for_good = false))]
pub(super) fn control_stop(py: Python<'_>, for_good: bool) {
    outside::detached(
        py,
        if for_good {
            control::end
        } else {
            control::stop
        },
    );
}

/// Whether operators are answered (`serving`) and at which `path`; the `reason` why not, or what went wrong; how many
/// requests were `answered` and `refused`.
#[pyfunction]
pub(super) fn control_state(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    Ok(pythonize::pythonize(py, &control::state())?)
}

/// Have `answer(verb, arguments)` answer what only Python can: both are strings, and so is the result; the last two are
/// JSON. It is called by a thread that Python did not start. ValueError and TypeError tell the operator what is wrong with
/// the request, LookupError which cache there is not. None: nobody answers.
#[pyfunction]
#[pyo3(signature = (answer, /))]
pub(super) fn control_answer(py: Python<'_>, answer: Option<Py<PyAny>>) {
    let before = std::mem::replace(&mut *ANSWERER.lock(), answer);
    if let Some(before) = before {
        outside::release(before, py);
    }
}

/// Keep a JSON object of facts about this process, which the verb `config` shows.
#[pyfunction]
#[pyo3(signature = (text, /))]
pub(super) fn control_describe(text: &str) -> PyResult<()> {
    control::describe(text).map_err(PyValueError::new_err)
}

/// Answer one request line in this very process, as its socket would; Python's part is done by the calling thread.
#[pyfunction]
#[pyo3(signature = (request, /))]
pub(super) fn control_ask(py: Python<'_>, request: &str) -> String {
    let mut line = control::ask(request.as_bytes(), |task| carry_out(py, task));
    line.truncate(line.trim_end().len());
    line
}

/// What operators ordered of this process lately that changed caches, newest first; `user` None is this process itself.
#[pyfunction]
pub(super) fn control_orders(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    Ok(pythonize::pythonize(py, &control::orders())?)
}
