//! The control thread: one loop over the listener, the clients and whoever wants to wake it. It never takes the GIL.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, SigmaskHow};
use parking_lot::Mutex;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::fd::OwnedFd;
use rustix::io::Errno;

use super::desk::{Desk, Python};
use super::peer::{Next, Peer};
use super::perform_line;
use super::process;
use super::socket::Bound;
use super::verbs::Outcome;
use super::wire::{Code, Failure};
use crate::host::place::Place;

/// As many clients as are served at once.
pub(super) const MOST_PEERS: usize = 8;
/// How long no client is accepted after the process ran out of descriptors.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the clerk may take to go: it may be inside Python code, which nothing can stop.
const FAREWELL: Duration = Duration::from_secs(1);

/// What the control thread and those who started it both know.
struct Shared {
    wake: OwnedFd,
    is_stopping: AtomicBool,
    /// Why the thread ended by itself.
    reason: Mutex<Option<String>>,
    thread: AtomicI32,
}

impl Shared {
    fn wake(&self) {
        // A counter that is full wakes as well.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }
}

/// A control thread that was started.
pub(super) struct Running {
    pub(super) path: PathBuf,
    shared: Arc<Shared>,
    desk: Arc<Desk>,
    thread: JoinHandle<()>,
    listener: Inherited,
}

impl Running {
    /// Listens in the folder of a place, on a thread of its own.
    ///
    /// # Errors
    /// Why it cannot: a clause that goes on after a colon.
    pub(super) fn start(place: &Place, python: &'static dyn Python) -> Result<Self, String> {
        let bound = Bound::new(place)?;
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let wake = rustix::event::eventfd(0, flags).map_err(|error| format!("eventfd: {error}"))?;
        let shared = Arc::new(Shared {
            wake,
            is_stopping: AtomicBool::new(false),
            reason: Mutex::new(None),
            thread: AtomicI32::new(0),
        });
        let told = Arc::clone(&shared);
        let desk = Desk::new(python, move || told.wake());
        let path = bound.path.clone();
        let listener = Inherited::of(&bound.listener);
        let server = Server {
            bound,
            shared: Arc::clone(&shared),
            desk: Arc::clone(&desk),
            peers: Vec::new(),
            paused_until: None,
        };
        let thread = without_signals(|| {
            std::thread::Builder::new()
                .name("oxicache-ctl".to_owned())
                .spawn(move || server.run())
        })
        .map_err(|error| format!("no thread: {error}"))?;
        Ok(Self {
            path,
            shared,
            desk,
            thread,
            listener,
        })
    }

    /// Whether it still serves; why not.
    pub(super) fn trouble(&self) -> Option<String> {
        if !self.thread.is_finished() {
            return None;
        }
        let reason = self.shared.reason.lock().clone();
        Some(reason.unwrap_or_else(|| "the control thread ended".to_owned()))
    }

    /// Removes the socket and ends both threads; whether the clerk went as well.
    pub(super) fn stop(self) -> bool {
        self.shared.is_stopping.store(true, Ordering::Release);
        self.shared.wake();
        let has_gone = self.desk.close(FAREWELL);
        let _ = self.thread.join();
        process::wait_until_gone(self.shared.thread.load(Ordering::Relaxed));
        has_gone
    }

    /// In a child whose parent did not stop before the fork: there is no thread here, and the socket is the parent's.
    pub(super) fn abandon(self) {
        self.listener.close();
        // Joining or detaching a thread that was not forked along is undefined.
        std::mem::forget(self.thread);
        std::mem::forget(self.desk);
        std::mem::forget(self.shared);
    }
}

/// A listener that a child may have been forked with.
struct Inherited {
    number: i32,
    identity: Option<(u64, u64)>,
}

impl Inherited {
    fn of(listener: &OwnedFd) -> Self {
        let number = std::os::fd::AsRawFd::as_raw_fd(listener);
        Self {
            number,
            identity: identity(number),
        }
    }

    /// Closes the descriptor, unless it is another's by now. Nobody owns it here: its owner was the thread's.
    fn close(&self) {
        if self.identity.is_some() && self.identity == identity(self.number) {
            let _ = nix::unistd::close(self.number);
        }
    }
}

fn identity(number: i32) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;

    let stat = std::fs::metadata(format!("/proc/self/fd/{number}")).ok()?;
    Some((stat.dev(), stat.ino()))
}

/// Starts a thread that no signal is delivered to.
fn without_signals<R>(start: impl FnOnce() -> R) -> R {
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK);
    let result = start();
    if let Ok(before) = before {
        let _ = before.thread_set_mask();
    }
    result
}

struct Server {
    bound: Bound,
    shared: Arc<Shared>,
    desk: Arc<Desk>,
    peers: Vec<Peer>,
    paused_until: Option<Instant>,
}

impl Server {
    fn run(mut self) {
        let number = process::thread_number();
        self.shared.thread.store(number, Ordering::Relaxed);
        let served = catch_unwind(AssertUnwindSafe(|| {
            self.bound.reap();
            self.serve()
        }));
        self.bound.remove();
        let reason = match served {
            Ok(Ok(())) => return,
            Ok(Err(reason)) => reason,
            Err(_) => "the control thread panicked, which is a defect".to_owned(),
        };
        *self.shared.reason.lock() = Some(reason);
    }

    fn serve(&mut self) -> Result<(), String> {
        loop {
            let ready = self.wait()?;
            if self.shared.is_stopping.load(Ordering::Acquire) {
                return Ok(());
            }
            if !ready.woken.is_empty() {
                let mut count = [0; 8];
                let _ = rustix::io::read(&self.shared.wake, &mut count);
            }
            self.hand_out();
            self.advance(&ready.peers);
            if !ready.listener.is_empty() {
                self.accept()?;
            }
        }
    }

    /// Waits until there is something to do.
    fn wait(&mut self) -> Result<Ready, String> {
        let now = Instant::now();
        self.paused_until = self.paused_until.filter(|until| *until > now);
        let listening = if self.paused_until.is_some() {
            PollFlags::empty()
        } else {
            PollFlags::IN
        };
        let deadlines = self.peers.iter().map(Peer::deadline);
        let first = deadlines.chain(self.paused_until).min();
        let span = if self.peers.iter().any(Peer::is_ready) {
            Some(Duration::ZERO)
        } else {
            first.map(|first| first.saturating_duration_since(now))
        };
        let timeout = span.and_then(|span| Timespec::try_from(span).ok());
        let mut watched = vec![
            PollFd::new(&self.shared.wake, PollFlags::IN),
            PollFd::new(&self.bound.listener, listening),
        ];
        for peer in &self.peers {
            watched.push(PollFd::new(peer.stream(), peer.interest()));
        }
        match rustix::event::poll(&mut watched, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(format!("poll: {error}")),
        }
        let [woken, listener, peers @ ..] = watched.as_slice() else {
            return Err("nothing to poll".to_owned());
        };
        let (woken, listener) = (woken.revents(), listener.revents());
        let broken = PollFlags::NVAL | PollFlags::ERR | PollFlags::HUP;
        if woken.intersects(broken) || listener.intersects(broken) {
            return Err("its descriptors were closed by somebody else".to_owned());
        }
        Ok(Ready {
            woken,
            listener,
            peers: peers.iter().map(PollFd::revents).collect(),
        })
    }

    /// Gives what the clerk has done to those who wait for it.
    fn hand_out(&mut self) {
        for (ticket, answer, waited) in self.desk.collect() {
            let waits = |peer: &Peer| peer.ticket() == Some(ticket);
            if let Some(at) = self.peers.iter().position(waits) {
                let next = self.peers[at].conclude(Outcome::Done(answer, waited));
                self.end_if(next, at);
            }
        }
    }

    /// Lets every client go on.
    fn advance(&mut self, ready: &[PollFlags]) {
        let now = Instant::now();
        // From the last to the first: what is removed does not move those that are still to come.
        for at in (0..self.peers.len().min(ready.len())).rev() {
            let (peer, desk) = (&mut self.peers[at], &self.desk);
            let next = if ready[at].is_empty() && !peer.is_ready() {
                if peer.deadline() > now {
                    Next::On
                } else {
                    peer.expire(desk)
                }
            } else {
                peer.step(ready[at], perform_line, desk)
            };
            self.end_if(next, at);
        }
    }

    fn end_if(&mut self, next: Next, at: usize) {
        if next == Next::Closed {
            self.peers.remove(at).leave(&self.desk);
        }
    }

    fn accept(&mut self) -> Result<(), String> {
        let flags = rustix::net::SocketFlags::CLOEXEC | rustix::net::SocketFlags::NONBLOCK;
        match rustix::net::accept_with(&self.bound.listener, flags) {
            Ok(stream) => self.welcome(stream),
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => {}
            Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                self.paused_until = Some(Instant::now() + PAUSE);
            }
            Err(error) => return Err(format!("accept: {error}")),
        }
        Ok(())
    }

    fn welcome(&mut self, stream: OwnedFd) {
        let refusal = match rustix::net::sockopt::socket_peercred(&stream) {
            Ok(peer) if !is_welcome(peer.uid.as_raw()) => Some(Failure::new(
                Code::Forbidden,
                format!("user {} may not ask here", peer.uid.as_raw()),
            )),
            Ok(_) if self.peers.len() >= MOST_PEERS => Some(Failure::new(
                Code::TooMany,
                format!("{MOST_PEERS} clients are connected already"),
            )),
            Ok(_) => None,
            Err(error) => Some(Failure::new(Code::Forbidden, format!("who asks: {error}"))),
        };
        let mut peer = Peer::new(stream, Instant::now());
        match refusal {
            // An answer as short as this always finds room in a socket that nothing was written to.
            Some(failure) => drop(peer.refuse(&failure)),
            None => self.peers.push(peer),
        }
    }
}

struct Ready {
    woken: PollFlags,
    listener: PollFlags,
    peers: Vec<PollFlags>,
}

/// This user and root.
fn is_welcome(user: u32) -> bool {
    user == 0 || user == rustix::process::geteuid().as_raw()
}
