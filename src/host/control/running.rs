//! The control thread as those see it who start and stop it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow};
use parking_lot::Mutex;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::descriptor::Descriptor;
use super::desk::{Desk, Python};
use super::process;
use super::serve::Server;
use super::socket::Bound;
use crate::host::place::Place;

/// How long the clerk may take to go: it may be inside Python code, which nothing can stop.
const FAREWELL: Duration = Duration::from_secs(1);
/// What is said where descriptors are somebody else's by now.
pub(super) const CLOSED: &str = "its descriptors were closed by other code of this process";

/// What the control thread and those who started it both know.
pub(super) struct Shared {
    pub(super) bound: Bound,
    pub(super) wake: Arc<Wake>,
    pub(super) is_stopping: AtomicBool,
    /// Why the thread ended by itself.
    pub(super) reason: Mutex<Option<String>>,
    /// The kernel's number of the thread.
    pub(super) thread: AtomicI32,
}

/// A way to wake the control thread. Sockets, since an eventfd cannot be told from another.
pub(super) struct Wake {
    sender: Descriptor,
    pub(super) receiver: Descriptor,
}

impl Wake {
    fn new() -> Result<Self, Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (sender, receiver) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        Ok(Self {
            sender: Descriptor::new(sender),
            receiver: Descriptor::new(receiver),
        })
    }

    /// Wakes the thread; whether that can be.
    fn wake(&self) -> bool {
        let Ok(sender) = self.sender.get() else {
            return false;
        };
        let sent = rustix::net::send(sender, &[1], SendFlags::NOSIGNAL);
        // When there is no room, the thread has not yet seen what was sent before, and wakes all the same.
        matches!(sent, Ok(_) | Err(Errno::AGAIN))
    }

    /// Takes note of having been woken.
    ///
    /// # Errors
    /// When the descriptor is somebody else's.
    pub(super) fn heed(&self) -> Result<(), Errno> {
        let mut bytes = [0; 64];
        match rustix::net::recv(self.receiver.get()?, &mut bytes[..], RecvFlags::DONTWAIT) {
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// A control thread that was started.
pub(super) struct Running {
    pub(super) path: PathBuf,
    shared: Arc<Shared>,
    desk: Arc<Desk>,
    thread: JoinHandle<()>,
}

impl Running {
    /// Listens in the folder of a place, on a thread of its own.
    ///
    /// # Errors
    /// Why it cannot: a clause that goes on after a colon.
    pub(super) fn start(place: &Place, python: &'static dyn Python) -> Result<Self, String> {
        let bound = Bound::new(place)?;
        let path = bound.path.clone();
        let wake = Arc::new(Wake::new().map_err(|error| format!("socketpair: {error}"))?);
        let told = Arc::clone(&wake);
        let desk = Desk::new(python, move || {
            told.wake();
        });
        let shared = Arc::new(Shared {
            bound,
            wake,
            is_stopping: AtomicBool::new(false),
            reason: Mutex::new(None),
            thread: AtomicI32::new(0),
        });
        let server = Server::new(Arc::clone(&shared), Arc::clone(&desk));
        let thread = without_signals(|| {
            std::thread::Builder::new()
                .name("oxicache-ctl".to_owned())
                .spawn(move || server.run())
        });
        match thread {
            Ok(thread) => Ok(Self {
                path,
                shared,
                desk,
                thread,
            }),
            Err(error) => {
                shared.bound.remove();
                Err(format!("no thread: {error}"))
            }
        }
    }

    /// Whether the socket can be found: somebody may have emptied the folder.
    pub(super) fn is_there(&self) -> bool {
        std::fs::symlink_metadata(&self.path).is_ok()
    }

    /// Why it serves no longer.
    pub(super) fn trouble(&self) -> Option<String> {
        if !self.thread.is_finished() {
            return None;
        }
        let reason = self.shared.reason.lock().clone();
        Some(reason.unwrap_or_else(|| "the control thread ended".to_owned()))
    }

    /// Removes the socket and ends both threads.
    ///
    /// # Errors
    /// Which of them did not go, and why.
    pub(super) fn stop(self) -> Result<(), String> {
        self.shared.is_stopping.store(true, Ordering::Release);
        let is_woken = self.shared.wake.wake() || self.thread.is_finished();
        let has_gone = self.desk.close(FAREWELL);
        if !is_woken {
            // It waits for what is not there any more, and may do so for a while.
            self.shared.bound.remove();
            return Err(format!("the control thread was left behind: {CLOSED}"));
        }
        let _ = self.thread.join();
        process::wait_until_gone(self.shared.thread.load(Ordering::Relaxed));
        if has_gone {
            Ok(())
        } else {
            Err("the thread that asks Python was left behind inside Python code".to_owned())
        }
    }

    /// In a child whose parent did not stop before the fork: there is no thread here, and the socket is the parent's.
    pub(super) fn abandon(self) {
        self.shared.bound.close_in_child();
        // Joining or detaching a thread that was not forked along is undefined; the rest may be locked by it.
        std::mem::forget(self);
    }
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
