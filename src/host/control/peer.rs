//! One connection: reads a line, waits for what answers it, writes, and begins anew.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::SendFlags;

use super::descriptor::Descriptor;
use super::desk::{Desk, Ticket};
use super::log;
use super::process;
use super::verbs::{Finish, Outcome, Patience, Step, Task};
use super::wire::{Answer, Code, Failure, Lines};

/// How long a client may take to complete a line, and to take an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// Read at a time: requests are short.
const CHUNK_BYTES: usize = 8 * 1024;

/// Turns a line into what is to be done.
pub(super) type Perform = fn(&[u8]) -> Step;

/// Whether a connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    On,
    Closed,
}

enum State {
    Reading,
    Waiting {
        ticket: Ticket,
        finish: Finish,
        left: Instant,
        /// Until when, if Python is at it when the deadline comes.
        last: Instant,
    },
    Writing {
        bytes: Vec<u8>,
        at: usize,
        is_last: bool,
    },
}

/// One client.
pub(super) struct Peer {
    stream: Descriptor,
    user: u32,
    lines: Lines,
    state: State,
    deadline: Instant,
    /// It has had an answer.
    was_answered: bool,
    /// It will send no more.
    has_ended: bool,
}

impl Peer {
    pub(super) fn new(stream: OwnedFd, user: u32, now: Instant) -> Self {
        Self {
            stream: Descriptor::new(stream),
            user,
            lines: Lines::default(),
            state: State::Reading,
            deadline: now + PATIENCE,
            was_answered: false,
            has_ended: false,
        }
    }

    /// Its socket.
    ///
    /// # Errors
    /// When somebody else closed it.
    pub(super) fn stream(&self) -> Result<&OwnedFd, Errno> {
        self.stream.get()
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// What it waits for. While its task is done, or its answer written, nothing more is read from it.
    pub(super) fn interest(&self) -> PollFlags {
        match self.state {
            State::Reading => PollFlags::IN,
            State::Waiting { .. } => PollFlags::empty(),
            State::Writing { .. } => PollFlags::OUT,
        }
    }

    /// Goes on as far as it can without waiting, by one request at most: others have their turn.
    pub(super) fn step(&mut self, ready: PollFlags, perform: Perform, desk: &Arc<Desk>) -> Next {
        let gone = PollFlags::ERR | PollFlags::NVAL;
        if ready.intersects(gone) {
            return Next::Closed;
        }
        match &mut self.state {
            State::Reading => {
                if ready.intersects(PollFlags::IN | PollFlags::HUP) && self.read() == Next::Closed {
                    return Next::Closed;
                }
                self.next_line(perform, desk)
            }
            State::Waiting { .. } if ready.contains(PollFlags::HUP) => Next::Closed,
            State::Waiting { .. } => Next::On,
            State::Writing { .. } => self.write(),
        }
    }

    /// Whether there is a line that nothing has to be waited for.
    pub(super) fn is_ready(&self) -> bool {
        matches!(self.state, State::Reading) && self.lines.has_line()
    }

    /// Its time is up.
    pub(super) fn expire(&mut self, desk: &Desk) -> Next {
        match std::mem::replace(&mut self.state, State::Reading) {
            State::Reading if self.was_answered && self.lines.is_empty() => Next::Closed,
            State::Reading => {
                let message = format!("no line was complete within {} s", PATIENCE.as_secs());
                self.refuse(&Failure::new(Code::Slow, message))
            }
            waiting @ State::Waiting { ticket, last, .. }
                if self.deadline < last && desk.is_at(ticket) =>
            {
                self.state = waiting;
                self.deadline = last;
                Next::On
            }
            waiting @ State::Waiting { ticket, left, .. } => {
                let silent = desk.drop_task(ticket, left);
                self.state = waiting;
                self.conclude(Outcome::Late(silent))
            }
            // It took too long to take its answer; there is no use in telling it so.
            State::Writing { .. } => {
                process::count_refused();
                Next::Closed
            }
        }
    }

    /// The task that it waits for.
    pub(super) fn ticket(&self) -> Option<Ticket> {
        match &self.state {
            State::Waiting { ticket, .. } => Some(*ticket),
            _ => None,
        }
    }

    /// Answers, now that its task has come to something.
    pub(super) fn conclude(&mut self, outcome: Outcome) -> Next {
        match std::mem::replace(&mut self.state, State::Reading) {
            State::Waiting { finish, .. } => self.answer(&finish(outcome)),
            other => {
                self.state = other;
                Next::On
            }
        }
    }

    /// Nobody waits for its task any more.
    pub(super) fn leave(self, desk: &Desk) {
        if let State::Waiting { ticket, left, .. } = self.state {
            desk.drop_task(ticket, left);
        }
    }

    /// Answers with a refusal that ends the connection.
    pub(super) fn refuse(&mut self, failure: &Failure) -> Next {
        self.answer(&Err(failure.clone()))
    }

    fn read(&mut self) -> Next {
        let mut chunk = [0; CHUNK_BYTES];
        let room = self.lines.room().min(CHUNK_BYTES);
        if room == 0 {
            return Next::On;
        }
        let read = self
            .stream
            .get()
            .and_then(|stream| rustix::io::read(stream, &mut chunk[..room]));
        match read {
            Ok(0) => self.has_ended = true,
            Ok(count) => self.lines.push(&chunk[..count]),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => return Next::Closed,
        }
        Next::On
    }

    fn next_line(&mut self, perform: Perform, desk: &Arc<Desk>) -> Next {
        let line = match self.lines.take() {
            Ok(Some(line)) => line,
            Ok(None) if !self.has_ended => return Next::On,
            Ok(None) if self.lines.is_empty() => return Next::Closed,
            Ok(None) => {
                let failure = Failure::new(Code::Malformed, "the line has no end");
                return self.refuse(&failure);
            }
            Err(failure) => return self.refuse(&failure),
        };
        log::asked_by(Some(self.user));
        match perform(&line) {
            Step::Ready(answer) => self.answer(&answer),
            Step::Ask {
                task,
                patience,
                finish,
            } => self.ask(task, patience, finish, desk),
        }
    }

    fn ask(&mut self, task: Task, patience: Patience, finish: Finish, desk: &Arc<Desk>) -> Next {
        match desk.leave(task) {
            Ok(ticket) => {
                let left = Instant::now();
                self.deadline = left + patience.begun;
                self.state = State::Waiting {
                    ticket,
                    finish,
                    left,
                    last: left + patience.done,
                };
                Next::On
            }
            Err(failure) => self.answer(&finish(Outcome::Done(Err(failure), Duration::ZERO))),
        }
    }

    fn answer(&mut self, answer: &Answer) -> Next {
        let is_last = match answer {
            Ok(_) => false,
            Err(failure) => failure.code.ends_connection(),
        };
        match answer {
            Err(failure) if failure.code.is_refusal() => process::count_refused(),
            _ => process::count_answered(),
        }
        self.was_answered = true;
        self.deadline = Instant::now() + PATIENCE;
        self.state = State::Writing {
            bytes: process::speaker().line(answer).into_bytes(),
            at: 0,
            is_last,
        };
        self.write()
    }

    fn write(&mut self) -> Next {
        let State::Writing { bytes, at, is_last } = &mut self.state else {
            return Next::On;
        };
        let Ok(stream) = self.stream.get() else {
            return Next::Closed;
        };
        while *at < bytes.len() {
            match rustix::net::send(stream, &bytes[*at..], SendFlags::NOSIGNAL) {
                Ok(count) => *at += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Next::On,
                Err(_) => return Next::Closed,
            }
        }
        if *is_last {
            return Next::Closed;
        }
        self.deadline = Instant::now() + PATIENCE;
        self.state = State::Reading;
        Next::On
    }
}
