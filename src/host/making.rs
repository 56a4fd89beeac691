//! A new file of version words: finished before anybody sees it, and put where none is, or where a broken one is.
//!
//! Makers may be killed or stopped at any instant. What they leave has another name, and their lock is not waited for.

use std::thread;
use std::time::Duration;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Dir, FallocateFlags, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

use super::identity::{Identity, size};
use super::place::{HEADER_BYTES, Header, Place};

/// What a file is called while it is made.
const UNFINISHED: &str = ".making-";
/// Milliseconds to wait for another maker; it may be stopped, and then its lock does not count.
const PATIENCE: u32 = 200;

/// Puts a new file where there is none, or where the judged one is.
///
/// # Errors
/// `EXIST` or `NOENT` when others were quicker; else why no file can be made.
pub(super) fn make(
    folder: &OwnedFd,
    place: &Place,
    judged: Option<Identity>,
    seconds: u32,
) -> Result<(), Errno> {
    let _making = Making::begin(folder);
    let name = place.file();
    match rustix::fs::statat(folder, &name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if Some(Identity::of(&stat)) == judged => {}
        Err(Errno::NOENT) if judged.is_none() => {}
        Ok(_) => return Err(Errno::EXIST),
        Err(error) => return Err(error),
    }
    remove_unfinished(folder);
    let [id, base] = random()?;
    if let Some(judged) = judged {
        let _ = lengthen(folder, place, judged, base, seconds);
    }
    let unfinished = format!("{UNFINISHED}{id:08x}");
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, &unfinished, flags, Mode::RUSR | Mode::WUSR)?;
    let header = Header {
        words: place.words(),
        base,
        made: seconds.saturating_add(1),
        seed: place.seed(),
    };
    let finished = fill(&file, place, &header).and_then(|()| {
        if judged.is_some() {
            rustix::fs::renameat(folder, &unfinished, folder, &name)
        } else {
            // A link fails where a rename would put two makers' files over each other.
            rustix::fs::linkat(folder, &unfinished, folder, &name, AtFlags::empty())
        }
    });
    // After a rename there is nothing left to remove.
    let _ = rustix::fs::unlinkat(folder, &unfinished, AtFlags::empty());
    finished
}

/// Gives a truncated file its length back before it is replaced: whoever has it mapped would die of the next access, and
/// hits do not look first. What was cut off is gone, so nothing captured may look current: the words become random.
fn lengthen(
    folder: &OwnedFd,
    place: &Place,
    judged: Identity,
    random: u32,
    seconds: u32,
) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = rustix::fs::openat(folder, place.file(), flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&file)?;
    let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    if !regular || Identity::of(&stat) != judged || size(&stat) >= place.bytes() {
        return Ok(());
    }
    let words = place.words() as usize * size_of::<u32>();
    let mut page = [0; HEADER_BYTES];
    for at in (HEADER_BYTES as u64..place.bytes()).step_by(page.len()) {
        // Behind the words lies when they were bumped: now, for all that can be known.
        let is_word = at < (HEADER_BYTES + words) as u64;
        let value = if is_word {
            random
        } else {
            seconds.saturating_add(1)
        };
        for place in page.chunks_exact_mut(size_of::<u32>()) {
            place.copy_from_slice(&value.to_ne_bytes());
        }
        write_all(&file, &page, at)?;
    }
    Ok(())
}

/// Gives the file its length, and what its first page says.
fn fill(file: &OwnedFd, place: &Place, header: &Header) -> Result<(), Errno> {
    rustix::fs::fchmod(file, Mode::RUSR | Mode::WUSR)?;
    lengthen_by_zeros(file, 0, place.bytes())?;
    write_all(file, &header.encode(), 0)
}

/// Gives a file its length, all of it backed by memory or disk: a hole that cannot be filled later is a SIGBUS. What it
/// holds up to `from` stays.
pub(super) fn lengthen_by_zeros(file: &OwnedFd, from: u64, bytes: u64) -> Result<(), Errno> {
    let allocate = || rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes);
    match rustix::io::retry_on_intr(allocate) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => write_zeros(file, from, bytes),
        done => done,
    }
}

/// What `posix_fallocate` does where the file system cannot allocate by itself.
fn write_zeros(file: &OwnedFd, from: u64, bytes: u64) -> Result<(), Errno> {
    let zeros = [0; HEADER_BYTES];
    let mut at = from;
    while at < bytes {
        let part = usize::try_from(bytes - at).map_or(zeros.len(), |left| left.min(zeros.len()));
        write_all(file, &zeros[..part], at)?;
        at += part as u64;
    }
    Ok(())
}

fn write_all(file: impl AsFd, mut bytes: &[u8], mut at: u64) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::pwrite(&file, bytes, at) {
            Ok(0) => return Err(Errno::NOSPC),
            Ok(written) => {
                bytes = &bytes[written..];
                at += written as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What makers left behind that were killed. One that was only stopped finds its file gone, and begins anew.
fn remove_unfinished(folder: &OwnedFd) {
    let Ok(entries) = Dir::read_from(folder) else {
        return;
    };
    for entry in entries.flatten() {
        if entry
            .file_name()
            .to_bytes()
            .starts_with(UNFINISHED.as_bytes())
        {
            let _ = rustix::fs::unlinkat(folder, entry.file_name(), AtFlags::empty());
        }
    }
}

fn random() -> Result<[u32; 2], Errno> {
    let mut bytes = [0; 8];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    let bits = u64::from_ne_bytes(bytes);
    #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
    Ok([bits as u32, (bits >> 32) as u32])
}

/// The lock of the folder, which keeps two processes from replacing a broken file by one each. Only a courtesy: without
/// it both still end with one file, the later one, at the next look.
struct Making<'a> {
    folder: &'a OwnedFd,
}

impl<'a> Making<'a> {
    fn begin(folder: &'a OwnedFd) -> Self {
        for _ in 0..PATIENCE {
            match rustix::fs::flock(folder, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK | Errno::INTR) => thread::sleep(Duration::from_millis(1)),
                _ => break,
            }
        }
        Self { folder }
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        // Said, and not left to the closing: a child that was forked meanwhile has the descriptor too.
        let _ = rustix::fs::flock(self.folder, FlockOperation::Unlock);
    }
}
