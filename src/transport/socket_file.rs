//! The file of a Unix socket: a stale file is replaced, and the server's own file is removed at its
//! close.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::support::log::{Level, log_line};

/// How long a server waits for another server that has locked the same directory.
const LONGEST_WAIT_FOR_LOCK: Duration = Duration::from_secs(1);

/// The path that a Unix server binds to.
///
/// A server that was killed leaves its file behind, and bind(2) fails as long as the file exists.
/// So [`claim`](Self::claim) removes a socket without a server before bind(2). A file that is not a
/// socket, or has a live server, stays.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
}

impl SocketFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Locks the directory and removes a stale socket, so that a socket of type `kind` can be
    /// bound.
    pub(crate) fn claim(&self, kind: Type) -> Result<Claim, ClaimError> {
        let claim = Claim {
            directory: self.lock_directory(),
        };
        self.remove_if_stale(kind)?;
        Ok(claim)
    }

    /// Locks the directory, and waits at most [`LONGEST_WAIT_FOR_LOCK`] for another server's lock:
    /// a server that is bound and never activated must not keep others from starting. If the
    /// directory cannot be locked, the server goes on without the lock.
    fn lock_directory(&self) -> Option<File> {
        let directory = match self.path.parent() {
            Some(parent) if parent != "" => parent,
            _ => Path::new("."),
        };
        let directory = File::open(directory).ok()?;
        let give_up = Instant::now() + LONGEST_WAIT_FOR_LOCK;
        while let Err(TryLockError::WouldBlock) = directory.try_lock() {
            if Instant::now() >= give_up {
                return None;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Some(directory)
    }

    fn remove_if_stale(&self, kind: Type) -> Result<(), ClaimError> {
        let unusable = ClaimError::Unusable;
        let file_type = match fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(unusable(error)),
            Ok(metadata) => metadata.file_type(),
        };
        if !file_type.is_socket() {
            let what = "a file that is not a socket is there; remove it, or choose another path";
            return Err(unusable(io::Error::new(io::ErrorKind::AlreadyExists, what)));
        }
        if self.is_live(kind).map_err(unusable)? {
            return Err(ClaimError::InUse);
        }
        let path = self.path.display();
        log_line!(
            Level::Info,
            "removing {path}, a socket on which no server listens"
        );
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unusable(error)),
            _ => Ok(()),
        }
    }

    /// Whether a server listens on the socket. Only connect(2) can answer: a live server sees a
    /// client that leaves without sending anything.
    fn is_live(&self, kind: Type) -> io::Result<bool> {
        let address = SockAddr::unix(&self.path)?;
        let probe = Socket::new(Domain::UNIX, kind, None)?;
        // Non-blocking: connect(2) would wait for a live server whose queue is full.
        probe.set_nonblocking(true)?;
        match probe.connect(&address) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            // Connected; or the server is busy, of another type, or closed to this user: alive.
            _ => Ok(true),
        }
    }

    /// The file at the path, which bind(2) has just made. `None` if the file does not exist any
    /// more.
    pub(crate) fn bound(&self) -> Option<BoundFile> {
        let path = std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone());
        BoundFile::at(path)
    }
}

/// Why a path cannot be claimed.
#[derive(Debug)]
pub(crate) enum ClaimError {
    /// A live server has the path.
    InUse,
    /// The path leads to a file that is not a socket, or that cannot be examined or removed.
    Unusable(io::Error),
}

/// A path that is free for bind(2): a lock (flock) on its directory, from the check for a stale
/// file until the server listens.
///
/// Without the lock, two servers that start at once could each find the other's file stale.
#[derive(Debug)]
pub(crate) struct Claim {
    directory: Option<File>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(directory) = &self.directory {
            // The close of the descriptor is not enough: a child that was forked meanwhile has a
            // copy.
            let _ = directory.unlock();
        }
    }
}

/// The file that bind(2) has made: its absolute path, device and inode. So the server removes no
/// other file, even after a change of its working directory.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BoundFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl BoundFile {
    fn at(path: PathBuf) -> Option<Self> {
        let metadata = fs::symlink_metadata(&path).ok()?;
        let (device, inode) = (metadata.dev(), metadata.ino());
        Some(Self {
            path,
            device,
            inode,
        })
    }

    /// Removes the file, if the path still leads to it.
    pub(crate) fn remove(self) {
        let is_ours = Self::at(self.path.clone()).as_ref() == Some(&self);
        if is_ours && let Err(error) = fs::remove_file(&self.path) {
            let path = self.path.display();
            log_line!(Level::Warn, "cannot remove the socket {path}: {error}");
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::os::unix::net::{UnixDatagram, UnixListener};

    use super::*;

    fn file(directory: &tempfile::TempDir) -> SocketFile {
        SocketFile::new(directory.path().join("socket"))
    }

    #[test]
    fn a_stale_socket_makes_way() {
        let directory = tempfile::tempdir().unwrap();
        let file = file(&directory);
        drop(UnixListener::bind(&file.path).unwrap());
        assert!(file.path.exists());
        file.claim(Type::STREAM).unwrap();
        assert!(!file.path.exists());
    }

    #[test]
    fn a_live_socket_of_either_type_is_in_use() {
        for kind in [Type::STREAM, Type::DGRAM] {
            let directory = tempfile::tempdir().unwrap();
            let file = file(&directory);
            let _stream;
            let _datagram;
            if kind == Type::DGRAM {
                _stream = UnixListener::bind(&file.path).unwrap();
            } else {
                _datagram = UnixDatagram::bind(&file.path).unwrap();
            }
            let error = file.claim(kind).unwrap_err();
            assert!(matches!(error, ClaimError::InUse), "{error:?}");
            assert!(file.path.exists());
        }
    }

    #[test]
    fn a_file_that_is_no_socket_stays() {
        let directory = tempfile::tempdir().unwrap();
        let file = file(&directory);
        fs::write(&file.path, "precious").unwrap();
        let Err(ClaimError::Unusable(error)) = file.claim(Type::STREAM) else {
            panic!("the file was claimed");
        };
        let error = error.to_string();
        assert!(error.contains("not a socket"), "{error}");
        assert_eq!(fs::read_to_string(&file.path).unwrap(), "precious");
    }

    #[test]
    fn a_successor_s_file_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        let file = file(&directory);
        let _ours = UnixListener::bind(&file.path).unwrap();
        let bound = file.bound().unwrap();
        fs::remove_file(&file.path).unwrap();
        let _successor = UnixListener::bind(&file.path).unwrap();
        bound.remove();
        assert!(file.path.exists());
    }

    #[test]
    fn a_claim_keeps_the_directory_locked_until_it_ends() {
        let directory = tempfile::tempdir().unwrap();
        let claim = file(&directory).claim(Type::STREAM).unwrap();
        let other = File::open(directory.path()).unwrap();
        assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));
        drop(claim);
        other.try_lock().unwrap();
    }
}
