//! The desk between the control thread and the clerk: tasks that need the GIL, and what became of them.
//!
//! The clerk is a native thread of its own, since whoever waits for the GIL may wait long. It starts with the first task
//! and ends when it has been idle for a while.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::process;
use super::verbs::Task;
use super::wire::{Answer, Code, Failure};

/// How long the clerk waits for another task before it ends.
const IDLE: Duration = Duration::from_secs(5);
/// How long Python code may run for the clerk until it counts as silence.
const BUSY: Duration = Duration::from_secs(1);
/// How long others have the GIL between two bites of what is dropped.
const BREATH: Duration = Duration::from_millis(1);

/// Python, as the host sees it.
pub trait Python: Sync {
    /// Attaches to the interpreter, tells `attached`, and does the task; None where there is no interpreter any more.
    fn carry_out(&self, task: &Task, attached: &dyn Fn()) -> Option<Answer>;

    /// Drops a little of what orders took out, in a moment nobody waits for; whether anything is left.
    fn tidy(&self) -> bool;
}

/// Tells one task from others.
pub(super) type Ticket = u64;

/// Where tasks are left and fetched.
pub(super) struct Desk {
    python: &'static dyn Python,
    /// Tells the control thread that something was done.
    tell: Box<dyn Fn() + Send + Sync>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    last: Ticket,
    waiting: VecDeque<(Ticket, Task)>,
    doing: Option<Doing>,
    done: Vec<(Ticket, Answer, Duration)>,
    is_closed: bool,
    clerk: Option<JoinHandle<()>>,
    /// The kernel's number of its thread.
    number: i32,
    /// The clerk has not taken its leave.
    is_staffed: bool,
}

/// What the clerk is at.
#[derive(Clone, Copy)]
struct Doing {
    ticket: Ticket,
    /// When it began to wait for the GIL, or when it got it.
    since: Instant,
    /// How long it waited; None while it does.
    waited: Option<Duration>,
    /// Nobody wants to know any more.
    is_dropped: bool,
}

impl Desk {
    pub(super) fn new(
        python: &'static dyn Python,
        tell: impl Fn() + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            python,
            tell: Box::new(tell),
            state: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// Leaves a task for the clerk, and hires one if there is none.
    pub(super) fn leave(self: &Arc<Self>, task: Task) -> Result<Ticket, Failure> {
        let mut state = self.state.lock();
        if state.is_closed {
            // Nobody would wait for a clerk that is hired now, and a fork is next.
            return Err(Failure::new(
                Code::Busy,
                "this process is about to fork or to end",
            ));
        }
        state.last += 1;
        let ticket = state.last;
        state.waiting.push_back((ticket, task));
        if !state.is_staffed {
            let desk = Arc::clone(self);
            let clerk = std::thread::Builder::new()
                .name("oxicache-clerk".to_owned())
                .spawn(move || desk.work())
                .map_err(|error| {
                    state.waiting.pop_back();
                    Failure::new(Code::Busy, format!("no thread for Python: {error}"))
                })?;
            state.is_staffed = true;
            // One that took its leave is gone, or about to be.
            state.clerk = Some(clerk);
        }
        drop(state);
        self.changed.notify_all();
        Ok(ticket)
    }

    /// What was done since the last time.
    pub(super) fn collect(&self) -> Vec<(Ticket, Answer, Duration)> {
        std::mem::take(&mut self.state.lock().done)
    }

    /// Whether Python is doing this task now, and not only waited for.
    pub(super) fn is_at(&self, ticket: Ticket) -> bool {
        let doing = self.state.lock().doing;
        doing.is_some_and(|doing| doing.ticket == ticket && doing.waited.is_some())
    }

    /// Forgets a task that nobody waits for any more; for how long Python has been silent, zero when it is only busy.
    pub(super) fn drop_task(&self, ticket: Ticket, left: Instant) -> Duration {
        let mut state = self.state.lock();
        state.waiting.retain(|(waiting, _)| *waiting != ticket);
        let Some(doing) = &mut state.doing else {
            return left.elapsed();
        };
        if doing.ticket == ticket {
            doing.is_dropped = true;
        }
        let since = doing.since.elapsed();
        match doing.waited {
            Some(_) if since < BUSY => Duration::ZERO,
            _ => since,
        }
    }

    /// Sends the clerk home, and waits for that so long; whether it went.
    pub(super) fn close(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let mut state = self.state.lock();
        state.is_closed = true;
        state.waiting.clear();
        self.changed.notify_all();
        while state.is_staffed {
            if self.changed.wait_until(&mut state, until).timed_out() {
                return !state.is_staffed;
            }
        }
        let clerk = state.clerk.take();
        let number = state.number;
        drop(state);
        if let Some(clerk) = clerk {
            // A panic of the clerk's was caught where it happened.
            let _ = clerk.join();
            process::wait_until_gone(number);
        }
        true
    }

    fn work(&self) {
        self.state.lock().number = process::thread_number();
        while let Some((ticket, task)) = self.fetch() {
            let attached = || {
                if let Some(doing) = &mut self.state.lock().doing {
                    doing.waited = Some(doing.since.elapsed());
                    doing.since = Instant::now();
                }
            };
            let work = std::panic::AssertUnwindSafe(|| self.python.carry_out(&task, &attached));
            let answer = match std::panic::catch_unwind(work) {
                Ok(Some(answer)) => answer,
                Ok(None) => Err(Failure::new(Code::Busy, "Python is about to end")),
                Err(_) => Err(Failure::new(Code::Failed, "the clerk panicked: a defect")),
            };
            let mut state = self.state.lock();
            if let Some(doing) = state.doing.take()
                && !doing.is_dropped
                && !state.is_closed
            {
                let waited = doing.waited.unwrap_or_default();
                state.done.push((ticket, answer, waited));
                drop(state);
                (self.tell)();
            } else {
                drop(state);
            }
            self.tidy();
        }
    }

    /// Drops what orders took out, until there is something else to do.
    fn tidy(&self) {
        let work = || self.python.tidy();
        while std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or(false) {
            let mut state = self.state.lock();
            if state.is_closed || !state.waiting.is_empty() {
                return;
            }
            // A thread that gives the GIL away and wants it back at once is often quicker than those that wait for it.
            self.changed.wait_for(&mut state, BREATH);
        }
    }

    /// The next task; None when the clerk is to end, which is noted before it is let known.
    fn fetch(&self) -> Option<(Ticket, Task)> {
        let until = Instant::now() + IDLE;
        let mut state = self.state.lock();
        loop {
            if !state.is_closed
                && let Some((ticket, task)) = state.waiting.pop_front()
            {
                state.doing = Some(Doing {
                    ticket,
                    since: Instant::now(),
                    waited: None,
                    is_dropped: false,
                });
                return Some((ticket, task));
            }
            if state.is_closed || self.changed.wait_until(&mut state, until).timed_out() {
                if !state.is_closed && !state.waiting.is_empty() {
                    continue;
                }
                state.is_staffed = false;
                drop(state);
                self.changed.notify_all();
                return None;
            }
        }
    }
}
