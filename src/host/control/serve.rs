//! The control thread: one loop over the listener, the clients and whoever wants to wake it. It never takes the GIL.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::OwnedFd;
use rustix::io::Errno;

use super::desk::Desk;
use super::peer::{Next, Peer};
use super::perform_line;
use super::process;
use super::running::{CLOSED, Shared};
use super::verbs::Outcome;
use super::wire::{Code, Failure};

/// As many clients as are served at once.
pub(super) const MOST_PEERS: usize = 8;
/// How long no client is accepted after the process ran out of descriptors.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the thread waits when nothing happens. Descriptors that were closed wake nobody, so it looks after them.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// What the control thread has.
pub(super) struct Server {
    shared: Arc<Shared>,
    desk: Arc<Desk>,
    peers: Vec<Peer>,
    paused_until: Option<Instant>,
}

impl Server {
    pub(super) fn new(shared: Arc<Shared>, desk: Arc<Desk>) -> Self {
        Self {
            shared,
            desk,
            peers: Vec::new(),
            paused_until: None,
        }
    }

    /// Serves until it is stopped.
    pub(super) fn run(mut self) {
        let number = process::thread_number();
        self.shared.thread.store(number, Ordering::Relaxed);
        let served = catch_unwind(AssertUnwindSafe(|| {
            self.shared.bound.reap();
            self.serve()
        }));
        self.shared.bound.remove();
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
                self.shared.wake.heed().map_err(|_| CLOSED.to_owned())?;
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
            Duration::ZERO
        } else {
            first.map_or(LOOK_EVERY, |first| first.saturating_duration_since(now))
        };
        let timeout = Timespec::try_from(span).map_err(|error| error.to_string())?;
        let closed = |_| CLOSED.to_owned();
        let mut watched = vec![
            PollFd::new(
                self.shared.wake.receiver.get().map_err(closed)?,
                PollFlags::IN,
            ),
            PollFd::new(self.shared.bound.listener.get().map_err(closed)?, listening),
        ];
        for peer in &self.peers {
            watched.push(PollFd::new(peer.stream().map_err(closed)?, peer.interest()));
        }
        match rustix::event::poll(&mut watched, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(format!("poll: {error}")),
        }
        let [woken, listener, peers @ ..] = watched.as_slice() else {
            return Err("nothing to poll".to_owned());
        };
        let (woken, listener) = (woken.revents(), listener.revents());
        let broken = PollFlags::NVAL | PollFlags::ERR | PollFlags::HUP;
        if woken.intersects(broken) || listener.intersects(broken) {
            return Err(CLOSED.to_owned());
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
        let listener = &self.shared.bound.listener;
        match listener
            .get()
            .and_then(|listener| rustix::net::accept_with(listener, flags))
        {
            Ok(stream) => self.welcome(stream),
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => {}
            Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                self.paused_until = Some(Instant::now() + PAUSE);
            }
            Err(Errno::BADF) => return Err(CLOSED.to_owned()),
            Err(error) => return Err(format!("accept: {error}")),
        }
        Ok(())
    }

    fn welcome(&mut self, stream: OwnedFd) {
        let asking = rustix::net::sockopt::socket_peercred(&stream);
        let user = asking.map(|peer| peer.uid.as_raw());
        let refusal = match user {
            Ok(user) if !is_welcome(user) => Some(Failure::new(
                Code::Forbidden,
                format!("user {user} may not ask here"),
            )),
            Ok(_) if self.peers.len() >= MOST_PEERS => Some(Failure::new(
                Code::TooMany,
                format!("{MOST_PEERS} clients are connected already"),
            )),
            Ok(_) => None,
            Err(error) => Some(Failure::new(Code::Forbidden, format!("who asks: {error}"))),
        };
        let mut peer = Peer::new(stream, user.unwrap_or(u32::MAX), Instant::now());
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
