//! Where the cells of the journal lie: in a file beside that of the version words, or in this process's own memory.
//!
//! The file has no header, and nobody makes it aside and moves it in: zeros are a ring without records, and so is whatever
//! else lies there. It is opened by the first who has something to say or to look up.

#[cfg(target_os = "linux")]
use std::fs::File;
#[cfg(target_os = "linux")]
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;

#[cfg(target_os = "linux")]
use rustix::fd::OwnedFd;
#[cfg(target_os = "linux")]
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
#[cfg(target_os = "linux")]
use rustix::io::Errno;

use super::CELLS;
#[cfg(target_os = "linux")]
use super::{LAYOUT, RECORDS};
#[cfg(target_os = "linux")]
use crate::host::identity::{Identity, size};
use crate::host::place::Place;
#[cfg(target_os = "linux")]
use crate::host::{folder, making, segment};

/// The ring of words that are shared with nobody, of all such words one after the other: their seeds differ. A library's zeros take
/// no memory until they are touched.
static OWN: [AtomicU64; CELLS] = [const { AtomicU64::new(0) }; CELLS];

#[cfg(target_os = "linux")]
const BYTES: u64 = (CELLS * size_of::<u64>()) as u64;

/// The cells that a process knows of.
#[derive(Clone)]
pub(in crate::host) enum Cells {
    /// Nobody has asked for them yet.
    Unopened,
    /// This process's own, and those of children that it forked, which copy them.
    Own,
    /// A file's.
    #[cfg(target_os = "linux")]
    Shared {
        cells: &'static [AtomicU64],
        path: PathBuf,
        identity: Identity,
    },
}

impl Cells {
    /// The cells, if they may be touched now.
    pub(in crate::host) fn get(&self) -> Option<&'static [AtomicU64]> {
        match self {
            Self::Unopened => None,
            Self::Own => Some(&OWN),
            #[cfg(target_os = "linux")]
            Self::Shared {
                cells,
                path,
                identity,
            } => {
                // Touching what was cut off would be the end of this process; and what others don't find tells them nothing.
                let stat = rustix::fs::lstat(path).ok()?;
                let is_same = Identity::of(&stat) == *identity && judge(&stat).is_ok();
                (is_same && size(&stat) == BYTES).then_some(*cells)
            }
        }
    }
}

/// What the journal of these layouts is called.
#[cfg(target_os = "linux")]
fn name() -> String {
    format!("journal-{LAYOUT}-{RECORDS}")
}

/// The cells beside the version words of a place. Unless they are to be made, there need not be any.
///
/// # Errors
/// Why there are none.
#[cfg(target_os = "linux")]
pub(in crate::host) fn open(place: &Place, is_making: bool) -> Result<Cells, String> {
    let (folder, path) = folder::open(place)?;
    let path = path.join(name());
    let opened = match open_file(&folder, is_making) {
        // Another is put in the place of what cannot be used. Those who have it mapped find that it is gone.
        Err(Fault::Broken(_)) if is_making => {
            let _ = rustix::fs::unlinkat(&folder, name(), AtFlags::empty());
            open_file(&folder, true)
        }
        opened => opened,
    };
    let (file, identity) = opened.map_err(|fault| match fault {
        Fault::Broken(reason) => format!("{} {reason}", path.display()),
        Fault::Failed(error) => format!("{}: {error}", path.display()),
    })?;
    let cells = segment::cells(&file, CELLS)
        .map_err(|error| format!("{} cannot be mapped: {error}", path.display()))?;
    Ok(Cells::Shared {
        cells,
        path,
        identity,
    })
}

#[cfg(not(target_os = "linux"))]
pub(in crate::host) fn open(_place: &Place, _is_making: bool) -> Result<Cells, String> {
    Err("memory is shared by the processes of a Linux host only".to_owned())
}

/// What is wrong with a file.
#[cfg(target_os = "linux")]
enum Fault {
    Broken(&'static str),
    Failed(Errno),
}

#[cfg(target_os = "linux")]
impl From<Errno> for Fault {
    fn from(error: Errno) -> Self {
        Self::Failed(error)
    }
}

#[cfg(target_os = "linux")]
fn open_file(folder: &OwnedFd, is_making: bool) -> Result<(File, Identity), Fault> {
    let file = find_or_make(folder, is_making)?;
    let stat = rustix::fs::fstat(&file)?;
    judge(&stat).map_err(Fault::Broken)?;
    match size(&stat) {
        BYTES => {}
        // Whoever made it was stopped before it had its length, or it was truncated: all may give it that.
        short if short < BYTES => making::lengthen_by_zeros(&file, short, BYTES)?,
        _ => return Err(Fault::Broken("is too long")),
    }
    Ok((file.into(), Identity::of(&stat)))
}

#[cfg(target_os = "linux")]
fn find_or_make(folder: &OwnedFd, is_making: bool) -> Result<OwnedFd, Errno> {
    let name = name();
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let owner = Mode::RUSR | Mode::WUSR;
    match rustix::fs::openat(folder, &name, flags, Mode::empty()) {
        Err(Errno::NOENT) if is_making => {}
        opened => return opened,
    }
    match rustix::fs::openat(folder, &name, flags | OFlags::CREATE | OFlags::EXCL, owner) {
        Ok(file) => {
            // The umask may have taken away what its owner needs.
            rustix::fs::fchmod(&file, owner)?;
            Ok(file)
        }
        Err(Errno::EXIST) => rustix::fs::openat(folder, &name, flags, Mode::empty()),
        Err(error) => Err(error),
    }
}

/// Type, owner and mode.
#[cfg(target_os = "linux")]
fn judge(stat: &Stat) -> Result<(), &'static str> {
    let user = rustix::process::geteuid().as_raw();
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err("is no regular file");
    }
    if stat.st_uid != user {
        return Err("belongs to another user");
    }
    if stat.st_mode & 0o077 != 0 {
        return Err("may be touched by others");
    }
    if stat.st_nlink == 0 {
        return Err("was deleted");
    }
    Ok(())
}
