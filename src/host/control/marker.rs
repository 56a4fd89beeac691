//! A file in the host's folder that says that workers to come are to begin disabled.

#[cfg(target_os = "linux")]
use rustix::fs::{AtFlags, Mode, OFlags};

use super::served;
#[cfg(target_os = "linux")]
use crate::host::folder;

/// Its name in the folder. Its content means nothing.
#[cfg(target_os = "linux")]
const NAME: &str = "disabled";

/// Leaves the file, or removes it. Nothing happens where no socket is served: there are no workers to come then.
///
/// # Errors
/// Why it could not: a clause that goes on after a colon.
#[cfg(target_os = "linux")]
pub(super) fn leave(is_disabled: bool) -> Result<(), String> {
    let Some(place) = served() else {
        return Ok(());
    };
    let (folder, path) = folder::open(&place)?;
    let done = if is_disabled {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&folder, NAME, flags, Mode::RUSR | Mode::WUSR).map(drop)
    } else {
        match rustix::fs::unlinkat(&folder, NAME, AtFlags::empty()) {
            Err(rustix::io::Errno::NOENT) => Ok(()),
            done => done,
        }
    };
    done.map_err(|error| format!("{}: {error}", path.join(NAME).display()))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn leave(_is_disabled: bool) -> Result<(), String> {
    debug_assert!(served().is_none(), "no socket is served here");
    Ok(())
}
