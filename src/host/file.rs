//! The file of version words: found and judged; looked for while it is mapped. It is made in `making.rs`.
//!
//! No descriptor is kept, so that daemons may close what they do not know, and nothing has to be told of a fork.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawMode, Stat};
use rustix::io::Errno;

use super::folder;
pub(super) use super::identity::Identity;
use super::identity::size;
use super::making::make;
use super::place::{HEADER_BYTES, Header, Place};
use super::segment::Segment;

/// How often opening begins anew because other processes were quicker.
const ATTEMPTS: u32 = 16;
const PERMISSIONS: RawMode = 0o7777;

/// A file that was opened and mapped.
pub(super) struct Opened {
    pub(super) segment: Segment,
    pub(super) identity: Identity,
    pub(super) path: PathBuf,
    /// What was wrong with the file that this one replaced.
    pub(super) replaced: Option<String>,
}

/// What became of a file that is mapped.
pub(super) enum Look {
    /// It is at its path, as it should be.
    Same,
    /// It is not, and others will not find it; its memory is still there.
    Other(String),
    /// It was truncated: touching its memory would be the end of this process.
    Shrunk(String),
}

/// What is wrong with a file.
enum Fault {
    /// It was replaced while it was looked at.
    Gone,
    /// Another file has to be put in its place.
    Broken(String),
    /// It can be neither used nor replaced.
    Hopeless(String),
}

/// Opens the file of a place, or makes it. `seconds` is now.
///
/// # Errors
/// Why there can be none: a clause that goes on after "words are not shared:".
pub(super) fn open(place: &Place, seconds: u32) -> Result<Opened, String> {
    let mut replaced = None;
    for _ in 0..ATTEMPTS {
        let (folder, path) = folder::open(place)?;
        let path = path.join(place.file());
        let (judged, fault) = match open_file(&folder, place) {
            Ok((file, stat, header)) => {
                let segment = Segment::shared(&file, &header)
                    .map_err(|error| format!("{} cannot be mapped: {error}", path.display()))?;
                return Ok(Opened {
                    segment,
                    identity: Identity::of(&stat),
                    path,
                    replaced,
                });
            }
            Err((_, Fault::Gone)) => continue,
            Err((_, Fault::Hopeless(reason))) => {
                return Err(format!("{} {reason}", path.display()));
            }
            Err((judged, Fault::Broken(reason))) => (judged, reason),
        };
        if judged.is_some() {
            replaced = Some(fault);
        }
        match make(&folder, place, judged, seconds) {
            Ok(()) | Err(Errno::EXIST | Errno::NOENT) => {}
            Err(error) => return Err(format!("{} cannot be made: {error}", path.display())),
        }
    }
    Err(format!(
        "{} is replaced over and over by others",
        place.directory().display()
    ))
}

/// What became of a mapped file. One system call, some 1 us.
pub(super) fn look(path: &Path, identity: Identity, place: &Place) -> Look {
    let stat = match rustix::fs::lstat(path) {
        Ok(stat) => stat,
        Err(error) => return Look::Other(format!("the file is gone ({error})")),
    };
    if Identity::of(&stat) != identity {
        return Look::Other("another file was put in its place".to_owned());
    }
    match judge(&stat, place) {
        Ok(()) => Look::Same,
        Err(Fault::Broken(reason)) if size(&stat) < place.bytes() => Look::Shrunk(reason),
        Err(Fault::Broken(reason) | Fault::Hopeless(reason)) => Look::Other(reason),
        Err(Fault::Gone) => Look::Other("the file was deleted".to_owned()),
    }
}

type Found = (File, Stat, Header);

/// The file, if it is as it should be; else which one was judged, and what is wrong.
fn open_file(folder: &OwnedFd, place: &Place) -> Result<Found, (Option<Identity>, Fault)> {
    let name = place.file();
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    match rustix::fs::openat(folder, &name, flags, Mode::empty()) {
        Ok(file) => {
            let stat = rustix::fs::fstat(&file)
                .map_err(|error| (None, Fault::Hopeless(format!("cannot be judged: {error}"))))?;
            let file = File::from(file);
            let header = judge(&stat, place).and_then(|()| read_header(&file, place));
            match header {
                Ok(header) => Ok((file, stat, header)),
                Err(fault) => Err((Some(Identity::of(&stat)), fault)),
            }
        }
        Err(Errno::NOENT) => Err((None, Fault::Broken("is missing".to_owned()))),
        Err(Errno::LOOP) => {
            let reason = "is a symbolic link, which is not followed".to_owned();
            Err((None, Fault::Hopeless(reason)))
        }
        // What may not be opened may still be replaced, where its mode or owner says why it may not.
        Err(error) => {
            let stat = rustix::fs::statat(folder, &name, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|_| (None, Fault::Gone))?;
            match judge(&stat, place) {
                Ok(()) => Err((None, Fault::Hopeless(format!("cannot be opened: {error}")))),
                Err(fault) => Err((Some(Identity::of(&stat)), fault)),
            }
        }
    }
}

/// Type, owner, mode and size.
fn judge(stat: &Stat, place: &Place) -> Result<(), Fault> {
    let user = rustix::process::geteuid().as_raw();
    let mode = stat.st_mode & PERMISSIONS;
    let broken = |reason: String| Err(Fault::Broken(reason));
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {}
        FileType::Directory => return Err(Fault::Hopeless("is a folder".to_owned())),
        kind => return broken(format!("it was no file, but a {kind:?}")),
    }
    if stat.st_nlink == 0 {
        return Err(Fault::Gone);
    }
    if stat.st_uid != user {
        return broken(format!("it belonged to user {}", stat.st_uid));
    }
    if mode != 0o600 {
        return broken(format!("it had mode {mode:04o}, not 0600"));
    }
    if size(stat) != place.bytes() {
        return broken(format!(
            "it had {} bytes, not {}",
            size(stat),
            place.bytes()
        ));
    }
    Ok(())
}

fn read_header(file: &File, place: &Place) -> Result<Header, Fault> {
    let mut page = [0; HEADER_BYTES];
    file.read_exact_at(&mut page, 0)
        .map_err(|error| Fault::Broken(format!("it could not be read: {error}")))?;
    Header::decode(&page, place).map_err(|reason| Fault::Broken(reason.to_owned()))
}
