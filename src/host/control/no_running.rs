//! Where no sockets are served: operators ask a process in itself only, and it says so.

use std::path::PathBuf;

use super::desk::Python;
use crate::host::place::Place;

/// A control thread; there is none.
pub(super) struct Running {
    pub(super) path: PathBuf,
}

impl Running {
    pub(super) fn start(_place: &Place, _python: &'static dyn Python) -> Result<Self, String> {
        Err("control sockets are served on Linux hosts only".to_owned())
    }

    pub(super) fn is_there(&self) -> bool {
        true
    }

    pub(super) fn trouble(&self) -> Option<String> {
        None
    }

    pub(super) fn stop(self) -> Result<(), String> {
        Ok(())
    }

    pub(super) fn abandon(self) {}
}
