//! The socket's place in the folder: bound under another name and moved there, looked for, and removed.

use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Dir, Mode};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::rand::{GetRandomFlags, getrandom};

use super::descriptor::Descriptor;
use super::process;
use crate::host::folder;
use crate::host::place::Place;

/// The longest path that an address has room for, its final NUL apart.
const MAX_PATH_BYTES: usize = 107;
/// What a socket is called until it listens.
const UNFINISHED: &str = ".binding-";
const SUFFIX: &str = ".sock";
/// Connections that wait to be accepted: those of a few commands at once.
const BACKLOG: i32 = 16;
/// How often binding begins anew because another worker took the unfinished socket for a dead one's.
const ATTEMPTS: u32 = 16;

/// A socket that listens, and where.
pub(super) struct Bound {
    pub(super) listener: Descriptor,
    folder: Descriptor,
    name: String,
    pub(super) path: PathBuf,
}

impl Bound {
    /// Listens in the folder of a place.
    ///
    /// # Errors
    /// Why it cannot: a clause that goes on after a colon.
    pub(super) fn new(place: &Place) -> Result<Self, String> {
        let (folder, path) = folder::open(place)?;
        for _ in 0..ATTEMPTS {
            let nonce = nonce().map_err(|error| format!("no random number: {error}"))?;
            let pid = std::process::id();
            let name = format!("{pid}-{}-{nonce:08x}{SUFFIX}", process::start_tick());
            let unfinished = format!("{UNFINISHED}{pid}-{nonce:08x}");
            let bound = bind(&folder, &path, &unfinished).and_then(|listener| {
                match rustix::fs::renameat(&folder, &unfinished, &folder, &name) {
                    Ok(()) => Ok(Some(listener)),
                    Err(Errno::NOENT) => Ok(None),
                    Err(error) => Err(format!("{}: {error}", path.join(&name).display())),
                }
            });
            match bound {
                Ok(Some(listener)) => {
                    return Ok(Self {
                        listener: Descriptor::new(listener),
                        path: path.join(&name),
                        folder: Descriptor::new(folder),
                        name,
                    });
                }
                Ok(None) => {}
                Err(reason) => {
                    let _ = rustix::fs::unlinkat(&folder, &unfinished, AtFlags::empty());
                    return Err(reason);
                }
            }
        }
        Err(format!(
            "sockets in {} are removed over and over by others",
            path.display()
        ))
    }

    /// Takes the socket from the folder; whoever is connected stays so.
    pub(super) fn remove(&self) {
        let _ = match self.folder.get() {
            Ok(folder) => rustix::fs::unlinkat(folder, &self.name, AtFlags::empty()),
            // The name is nobody else's, wherever the path leads.
            Err(_) => rustix::fs::unlink(&self.path),
        };
    }

    /// Removes the sockets of processes that are gone: those that refuse.
    pub(super) fn reap(&self) {
        let Ok(folder) = self.folder.get() else {
            return;
        };
        let Ok(entries) = Dir::read_from(folder) else {
            return;
        };
        for name in entries.flatten().filter_map(|entry| {
            let name = entry.file_name().to_str().ok()?.to_owned();
            (name.ends_with(SUFFIX) || name.starts_with(UNFINISHED)).then_some(name)
        }) {
            if name != self.name && self.refuses(folder, &name) {
                let _ = rustix::fs::unlinkat(folder, &name, AtFlags::empty());
            }
        }
    }

    /// Closes in a child process what it was forked with.
    pub(super) fn close_in_child(&self) {
        self.listener.close_in_child();
        self.folder.close_in_child();
    }

    fn refuses(&self, folder: &OwnedFd, name: &str) -> bool {
        let parent = self.path.parent().unwrap_or(Path::new("/"));
        let refused = connectable(folder, parent, name, |address| {
            rustix::net::connect(socket()?, address)
        });
        matches!(refused, Ok(Err(Errno::CONNREFUSED)))
    }
}

fn nonce() -> Result<u32, Errno> {
    let mut bytes = [0; 4];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(u32::from_ne_bytes(bytes))
}

fn socket() -> Result<OwnedFd, Errno> {
    rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )
}

fn bind(folder: &OwnedFd, path: &Path, name: &str) -> Result<OwnedFd, String> {
    let mode = Mode::RUSR | Mode::WUSR;
    let listen = |address: &SocketAddrUnix| {
        let listener = socket()?;
        // Linux gives the file the socket's own mode, less the umask: nobody else may connect at any time.
        rustix::fs::fchmod(&listener, mode)?;
        rustix::net::bind(&listener, address)?;
        // The umask may have taken away more than it should.
        rustix::fs::chmodat(folder, name, mode, AtFlags::empty())?;
        rustix::net::listen(&listener, BACKLOG)?;
        Ok(listener)
    };
    connectable(folder, path, name, listen)?
        .map_err(|error: Errno| format!("{}: {error}", path.display()))
}

/// Calls `with` with the address of a name in the folder, of which neither a long path nor a moved folder makes another:
/// through the folder's descriptor, or, where there is no /proc, through its path.
fn connectable<R>(
    folder: &OwnedFd,
    path: &Path,
    name: &str,
    with: impl Fn(&SocketAddrUnix) -> Result<R, Errno>,
) -> Result<Result<R, Errno>, String> {
    let short = format!("/proc/self/fd/{}/{name}", folder.as_fd().as_raw_fd());
    let address = SocketAddrUnix::new(short.as_str()).map_err(|error| error.to_string())?;
    match with(&address) {
        Err(Errno::NOENT | Errno::ACCESS | Errno::NOTDIR) => {}
        result => return Ok(result),
    }
    let long = path.join(name);
    let bytes = long.as_os_str().len();
    if bytes > MAX_PATH_BYTES {
        return Err(format!(
            "the socket's path {} has {bytes} bytes, but may have {MAX_PATH_BYTES}: \
             let RUNTIME_DIR name a shorter directory",
            long.display()
        ));
    }
    let address = SocketAddrUnix::new(&long).map_err(|error| error.to_string())?;
    Ok(with(&address))
}
