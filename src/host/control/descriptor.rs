//! A file descriptor of threads that live beside code which may close whatever it does not know, as daemons do.
//!
//! A number that was closed is soon another file's. So each use looks whether it is still the same file, which costs a
//! quarter of a microsecond, and what is somebody else's by now is neither used nor closed.

use std::os::fd::AsRawFd;

use rustix::fd::OwnedFd;
use rustix::io::Errno;

use crate::host::identity::Identity;

/// A descriptor of a file that has a number of its own: a socket or a folder, but no eventfd.
pub(super) struct Descriptor {
    /// Always there until it is dropped.
    owned: Option<OwnedFd>,
    identity: Option<Identity>,
}

impl Descriptor {
    pub(super) fn new(owned: OwnedFd) -> Self {
        Self {
            identity: rustix::fs::fstat(&owned)
                .ok()
                .map(|stat| Identity::of(&stat)),
            owned: Some(owned),
        }
    }

    /// The file.
    ///
    /// # Errors
    /// `BADF` where somebody else closed it.
    pub(super) fn get(&self) -> Result<&OwnedFd, Errno> {
        let owned = self.owned.as_ref().ok_or(Errno::BADF)?;
        let stat = rustix::fs::fstat(owned)?;
        if self.identity == Some(Identity::of(&stat)) {
            Ok(owned)
        } else {
            Err(Errno::BADF)
        }
    }

    /// Closes it in a child process, where the thread that it belongs to is not.
    pub(super) fn close_in_child(&self) {
        if let Ok(owned) = self.get() {
            let _ = nix::unistd::close(owned.as_raw_fd());
        }
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        let is_same = self.get().is_ok();
        if let Some(owned) = self.owned.take()
            && !is_same
        {
            std::mem::forget(owned);
        }
    }
}
