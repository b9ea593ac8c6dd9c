//! The file of a Unix socket: taken over if stale, removed in the end.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::base_server::BaseServer;
use crate::support::lock::lock;
use crate::support::log::{Level, log};
use crate::values::address::Address;
use crate::values::error::Error;

/// How long a server waits for others that are being set up in the same directory.
const LONGEST_TURN: Duration = Duration::from_secs(1);

/// The path that a Unix server binds to.
///
/// A server that was killed leaves its file behind, and bind fails on it ever after. So a file with
/// nobody listening behind it is removed before bind. What is not a socket, or has a live server,
/// stays as it is.
///
/// Between the look and the time when it listens itself, a server has a lock on the directory: else
/// two that start at once could each take the other for stale.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    kind: Type,
    /// The file that bind made, so that no other is removed.
    ours: Mutex<Option<Bound>>,
    /// The locked directory, until the server listens.
    turn: Mutex<Option<File>>,
}

/// A file by its path from the root, whatever directory the program is in by now, and its identity.
#[derive(Debug, PartialEq, Eq)]
struct Bound {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    pub(crate) fn new(path: PathBuf, kind: Type) -> Self {
        Self {
            path,
            kind,
            ours: Mutex::new(None),
            turn: Mutex::new(None),
        }
    }

    /// Makes room for bind.
    fn claim(&self) -> Result<(), Error> {
        let failed = |source| Error::SocketFile {
            path: self.path.clone(),
            source,
        };
        if self.is_abstract() {
            return Ok(());
        }
        let file_type = match fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
            Ok(metadata) => metadata.file_type(),
        };
        if !file_type.is_socket() {
            let what = "a file that is not a socket is there; remove it, or choose another path";
            return Err(failed(io::Error::new(io::ErrorKind::AlreadyExists, what)));
        }
        if self.is_live().map_err(failed)? {
            return Err(Error::AddressInUse {
                address: Address::Unix(self.path.clone()),
            });
        }
        log(
            Level::Info,
            format_args!(
                "removing {}, a socket that nobody listens behind",
                self.path.display()
            ),
        );
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        }
    }

    /// Waits for other servers that are being set up in the same directory, a short while: one that is
    /// never activated must not keep others from starting. Where the directory cannot be locked, it
    /// goes without.
    fn take_turn(&self) -> Option<File> {
        if self.is_abstract() {
            return None;
        }
        let directory = match self.path.parent() {
            Some(parent) if parent != "" => parent,
            _ => Path::new("."),
        };
        let directory = File::open(directory).ok()?;
        let give_up = Instant::now() + LONGEST_TURN;
        while let Err(TryLockError::WouldBlock) = directory.try_lock() {
            if Instant::now() >= give_up {
                return None;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Some(directory)
    }

    fn end_turn(&self) {
        if let Some(directory) = lock(&self.turn).take() {
            // Closing it would do, but for copies that a child forked meanwhile may have.
            let _ = directory.unlock();
        }
    }

    /// Whether somebody listens behind the socket. The only way to know is to connect: a live server
    /// sees a client that leaves without a word.
    fn is_live(&self) -> io::Result<bool> {
        let address = SockAddr::unix(&self.path)?;
        let probe = Socket::new(Domain::UNIX, self.kind, None)?;
        // A server whose queue is full is alive as well; it is not to be waited for.
        probe.set_nonblocking(true)?;
        match probe.connect(&address) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            // Connected; or it is busy, of another type, or not for us: all of them signs of life.
            _ => Ok(true),
        }
    }

    /// Binds the layer below to the path: `server_bind` of both Unix servers.
    pub(crate) fn bind(&self, next: &impl BaseServer) -> Result<(), Error> {
        *lock(&self.turn) = self.take_turn();
        let bound = self.claim().and_then(|()| next.server_bind());
        match bound {
            Ok(()) => self.bound(),
            Err(_) => self.end_turn(),
        }
        bound
    }

    /// Activates the layer below, after which others see that the file is not stale.
    pub(crate) fn activate(&self, next: &impl BaseServer) -> Result<(), Error> {
        let activated = next.server_activate();
        self.end_turn();
        activated
    }

    /// Closes the layer below, then removes the file: `server_close` of both Unix servers.
    pub(crate) fn close(&self, next: &impl BaseServer) {
        self.end_turn();
        next.server_close();
        self.remove();
    }

    /// Remembers the file that bind has made.
    fn bound(&self) {
        if !self.is_abstract() {
            let path = std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone());
            *lock(&self.ours) = Bound::at(path);
        }
    }

    /// Removes the file, if it is still the one that bind made.
    fn remove(&self) {
        let Some(ours) = lock(&self.ours).take() else {
            return;
        };
        let there_is = Bound::at(ours.path.clone());
        if there_is.as_ref() == Some(&ours)
            && let Err(error) = fs::remove_file(&ours.path)
        {
            let path = ours.path.display();
            log(
                Level::Warn,
                format_args!("cannot remove the socket {path}: {error}"),
            );
        }
    }

    fn is_abstract(&self) -> bool {
        self.path.as_os_str().as_bytes().first() == Some(&0)
    }
}

impl Bound {
    fn at(path: PathBuf) -> Option<Self> {
        let metadata = fs::symlink_metadata(&path).ok()?;
        let (device, inode) = (metadata.dev(), metadata.ino());
        Some(Self {
            path,
            device,
            inode,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixDatagram, UnixListener};

    use super::*;

    fn file(directory: &tempfile::TempDir, kind: Type) -> SocketFile {
        SocketFile::new(directory.path().join("socket"), kind)
    }

    #[test]
    fn a_stale_socket_makes_way() {
        let directory = tempfile::tempdir().unwrap();
        let file = file(&directory, Type::STREAM);
        drop(UnixListener::bind(&file.path).unwrap());
        assert!(file.path.exists());
        file.claim().unwrap();
        assert!(!file.path.exists());
    }

    #[test]
    fn a_live_socket_of_either_type_is_in_use() {
        for kind in [Type::STREAM, Type::DGRAM] {
            let directory = tempfile::tempdir().unwrap();
            let file = file(&directory, kind);
            let _stream;
            let _datagram;
            if kind == Type::DGRAM {
                _stream = UnixListener::bind(&file.path).unwrap();
            } else {
                _datagram = UnixDatagram::bind(&file.path).unwrap();
            }
            let error = file.claim().unwrap_err();
            assert!(matches!(error, Error::AddressInUse { .. }), "{error}");
            assert!(file.path.exists());
        }
    }

    #[test]
    fn a_file_that_is_no_socket_stays() {
        let directory = tempfile::tempdir().unwrap();
        let file = file(&directory, Type::STREAM);
        fs::write(&file.path, "precious").unwrap();
        let error = file.claim().unwrap_err().to_string();
        assert!(error.contains("not a socket"), "{error}");
        assert_eq!(fs::read_to_string(&file.path).unwrap(), "precious");
    }

    #[test]
    fn a_successor_s_file_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        let file = file(&directory, Type::STREAM);
        let _ours = UnixListener::bind(&file.path).unwrap();
        file.bound();
        fs::remove_file(&file.path).unwrap();
        let _successor = UnixListener::bind(&file.path).unwrap();
        file.remove();
        assert!(file.path.exists());
    }
}
