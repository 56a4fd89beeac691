//! The control socket: how a live worker answers operators, even while Python is stuck.
//!
//! Caches are locked by the GIL, so the control thread touches none of them: it reads counters, bumps version words and
//! leaves orders. What needs Python is left at the `desk` for the clerk, a native thread that takes the GIL.
//!
//! - [`wire`]: lines of JSON; `arguments`: what a request may say; `verbs`: what is answered to it.
//! - `ordered`: what changes caches; `log`: what was ordered lately; `marker`: what disables workers to come; `process`:
//!   what is known without asking.
//! - `socket`, `peer`, `serve`, `running`: the socket in its folder, one client, the thread, and how it is stopped;
//!   `descriptor`: what they hold. Linux only.

mod arguments;
#[cfg(target_os = "linux")]
mod descriptor;
mod desk;
mod log;
mod marker;
mod ordered;
mod patterns;
#[cfg(target_os = "linux")]
mod peer;
mod process;
#[cfg(target_os = "linux")]
mod running;
#[cfg(not(target_os = "linux"))]
#[path = "control/no_running.rs"]
mod running;
#[cfg(target_os = "linux")]
mod serve;
#[cfg(target_os = "linux")]
mod socket;
mod verbs;
pub mod wire;

use std::panic::catch_unwind;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use serde::Serialize;

pub use desk::Python;
pub use log::{Ordered, orders};
pub use process::{describe, set_methods};
pub use verbs::{COUNTED, Outcome, Task};

use super::place::Place;
use running::Running;
use verbs::Step;
use wire::{Answer, Code, Failure, Request};

/// How long a lock may be held that a fork could have left so: longer than any is.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

static CONTROL: Mutex<Control> = Mutex::new(Control {
    pid: 0,
    place: None,
    running: None,
    reason: None,
    is_over: false,
});

/// The control socket of this process.
struct Control {
    /// Whose this is: a child begins anew.
    pid: u32,
    place: Option<Place>,
    running: Option<Running>,
    /// Why nothing is served, or what went wrong at the last stop.
    reason: Option<String>,
    /// The process is about to end.
    is_over: bool,
}

/// What can be told of the control socket.
#[derive(Clone, Debug, Serialize)]
pub struct State {
    /// Whether operators are answered.
    pub serving: bool,
    /// The socket.
    pub path: Option<String>,
    /// Why nobody is answered, or what went wrong.
    pub reason: Option<String>,
    /// How many requests were answered.
    pub answered: u64,
    /// How many were refused.
    pub refused: u64,
}

/// Serves a socket in the folder of a place, unless that is done already. Python's part is done by `python`.
pub fn start(place: &Place, python: &'static dyn Python) -> State {
    let Some(mut control) = own() else {
        return unknown();
    };
    let is_there = control.place.as_ref() == Some(place)
        && control
            .running
            .as_ref()
            .is_some_and(|running| running.trouble().is_none() && running.is_there());
    if is_there || control.is_over {
        return control.state();
    }
    let before = control.running.take();
    drop(control);
    if let Some(running) = before {
        let _ = running.stop();
    }
    let started = Running::start(place, python);
    let Some(mut control) = own() else {
        return unknown();
    };
    control.place = Some(place.clone());
    match started {
        Ok(running) => {
            // Another thread may have been quicker; two sockets would be counted as two workers. Or the end has come.
            if control.running.is_some() || control.is_over {
                drop(control);
                let _ = running.stop();
                return state();
            }
            control.running = Some(running);
            control.reason = None;
        }
        Err(reason) => control.reason = Some(format!("no control socket: {reason}")),
    }
    control.state()
}

/// Removes the socket and ends its threads; returns when they are gone, after a second at most.
pub fn stop() {
    let Some(mut control) = own() else {
        return;
    };
    let running = control.running.take();
    drop(control);
    let Some(running) = running else {
        return;
    };
    let trouble = running.trouble();
    let stopped = running.stop();
    if let Some(mut control) = own()
        && !control.is_over
    {
        control.reason = stopped.err().or(trouble);
    }
}

/// As [`stop`], for ever: the process ends, and no late request may start a thread in it.
pub fn end() {
    if let Some(mut control) = own() {
        control.is_over = true;
        control.reason = Some("the process is about to end".to_owned());
    }
    stop();
}

/// Whether operators are answered, where, and what went wrong.
pub fn state() -> State {
    own().map_or_else(unknown, |control| control.state())
}

/// Answers one request line in this process, without the socket; `carry_out` does at once what the clerk would do.
pub fn ask(line: &[u8], carry_out: impl FnOnce(&Task) -> Answer) -> String {
    let answer = match perform_line(line) {
        Step::Ready(answer) => answer,
        Step::Ask { task, finish, .. } => {
            let begun = Instant::now();
            finish(Outcome::Done(carry_out(&task), begun.elapsed()))
        }
    };
    process::speaker().line(&answer)
}

/// Carries out a line. A defect is an answer as well: the thread goes on.
fn perform_line(line: &[u8]) -> Step {
    let step = catch_unwind(|| match Request::parse(line) {
        Ok(request) => verbs::perform(request),
        Err(failure) => Step::Ready(Err(failure)),
    });
    step.unwrap_or_else(|_| Step::Ready(Err(Failure::new(Code::Failed, "a panic: a defect"))))
}

/// The control socket of this very process: what a fork copied is let go. None when a fork left it locked.
fn own() -> Option<MutexGuard<'static, Control>> {
    let mut control = CONTROL.try_lock_for(LOCK_PATIENCE)?;
    let pid = std::process::id();
    if control.pid != pid {
        if control.pid != 0 {
            process::count_anew();
        }
        if let Some(running) = control.running.take() {
            running.abandon();
        }
        *control = Control {
            pid,
            place: None,
            running: None,
            reason: None,
            is_over: false,
        };
    }
    Some(control)
}

impl Control {
    fn state(&self) -> State {
        let running = self.running.as_ref();
        let trouble = running.map(Running::trouble);
        let counted = process::counted();
        State {
            serving: trouble == Some(None),
            path: running.map(|running| running.path.to_string_lossy().into_owned()),
            reason: trouble.flatten().or_else(|| self.reason.clone()),
            answered: counted.answered,
            refused: counted.refused,
        }
    }
}

/// The place of this process's socket, as long as it is served.
fn served() -> Option<Place> {
    let control = own()?;
    control.running.as_ref().and(control.place.clone())
}

fn unknown() -> State {
    State {
        serving: false,
        path: None,
        reason: Some(
            "the control socket was being changed when this process was forked".to_owned(),
        ),
        answered: 0,
        refused: 0,
    }
}
