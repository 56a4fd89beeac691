//! The folder that the processes of one user and namespace share: version words and control sockets lie in it.

use std::path::PathBuf;

use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::place::Place;

/// The folder that this user's processes share, made when it is missing. One that others could write is not trusted.
///
/// # Errors
/// Why there can be none: a clause that goes on after a colon.
pub(super) fn open(place: &Place) -> Result<(OwnedFd, PathBuf), String> {
    let directory = place.directory();
    let user = rustix::process::geteuid().as_raw();
    let name = place.folder(user);
    let path = directory.join(&name);
    let failed = |error: Errno| format!("{}: {error}", path.display());

    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = rustix::fs::openat(CWD, directory, flags | OFlags::PATH, Mode::empty())
        .map_err(|error| format!("{}: {error}", directory.display()))?;
    let made = match rustix::fs::mkdirat(&parent, &name, Mode::RWXU) {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        Err(error) => return Err(failed(error)),
    };
    let folder = match rustix::fs::openat(
        &parent,
        &name,
        flags | OFlags::RDONLY | OFlags::NOFOLLOW,
        Mode::empty(),
    ) {
        Ok(folder) => folder,
        Err(Errno::LOOP | Errno::NOTDIR) => {
            return Err(format!(
                "{} is not a folder: links are not followed",
                path.display()
            ));
        }
        Err(error) => return Err(failed(error)),
    };
    if made {
        // The umask may have taken away more than it should.
        rustix::fs::fchmod(&folder, Mode::RWXU).map_err(failed)?;
    }
    let stat = rustix::fs::fstat(&folder).map_err(failed)?;
    let mode = stat.st_mode & 0o777;
    if stat.st_uid != user {
        return Err(format!(
            "{} belongs to user {}, not to user {user} of this process",
            path.display(),
            stat.st_uid
        ));
    }
    if mode != 0o700 {
        return Err(format!(
            "{} has mode {mode:04o}, but must have 0700, as nobody else may write there",
            path.display()
        ));
    }
    Ok((folder, path))
}
