//! The path of a Unix socket: a stale file is replaced, and every other file is left alone.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::support::log::{Level, log_line};
use crate::transport::bound_file::{BoundFile, Identity, remove_only};
use crate::transport::socket_address::to_sockaddr;
use crate::transport::sys;
use crate::values::address::Address;

/// How long a server waits for another server that has locked the same directory.
const LONGEST_WAIT_FOR_LOCK: Duration = Duration::from_secs(1);

/// The path that a Unix server binds to.
///
/// A server that was killed leaves its file behind, and bind(2) fails as long as the file exists.
/// So [`claim`](Self::claim) removes a socket without a server before bind(2). It never removes a
/// file that is not a socket, or whose server is live.
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
            forks: sys::forks(),
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
        // The file is held open, so that no other file has its inode number while it is examined.
        let pinned = match sys::pin(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            pinned => pinned.map_err(unusable)?,
        };
        let metadata = match &pinned {
            Some(file) => file.metadata(),
            None => fs::symlink_metadata(&self.path),
        };
        let metadata = match metadata {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            metadata => metadata.map_err(unusable)?,
        };
        if !metadata.file_type().is_socket() {
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
        remove_only(&self.path, Identity::of(&metadata))
            .map(drop)
            .map_err(unusable)
    }

    /// Returns whether a server listens on the socket. Only connect(2) can find out. To a live
    /// server, this looks like a client that leaves without sending anything.
    fn is_live(&self, kind: Type) -> io::Result<bool> {
        let address = to_sockaddr(&Address::Unix(self.path.clone()))?;
        let probe = Socket::new(Domain::UNIX, kind, None)?;
        // The probe is non-blocking, because connect(2) would wait for a live server whose backlog
        // is full.
        probe.set_nonblocking(true)?;
        match probe.connect(&address) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            // The probe is connected; or the server is busy, of another type, or closed to this
            // user. In all cases it is live.
            _ => Ok(true),
        }
    }

    /// Returns the file at the path, which bind(2) has just made; `None` if the file does not exist
    /// any more.
    pub(crate) fn bound(&self) -> Option<BoundFile> {
        BoundFile::at(&self.path)
    }
}

/// The reason why a path cannot be claimed.
#[derive(Debug)]
pub(crate) enum ClaimError {
    /// A live server listens on the path.
    InUse,
    /// The path leads to a file that is not a socket, or that cannot be examined or removed.
    Unusable(io::Error),
}

/// A path that is free for bind(2): a lock (flock) on its directory, from the check for a stale
/// file until the server listens.
///
/// Without the lock, each of two servers that start at once could find the other's file stale.
#[derive(Debug)]
pub(crate) struct Claim {
    directory: Option<File>,
    /// The process that has the lock: see [`sys::forks`].
    forks: u32,
}

impl Drop for Claim {
    fn drop(&mut self) {
        // A process that was forked meanwhile shares the lock, and leaves the unlocking to its
        // parent.
        if let Some(directory) = &self.directory
            && self.forks == sys::forks()
        {
            // The close of the descriptor is not enough: the forked process has a copy.
            let _ = directory.unlock();
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
        let directory = support::short_paths::directory();
        let file = file(&directory);
        drop(UnixListener::bind(&file.path).unwrap());
        assert!(file.path.exists());
        file.claim(Type::STREAM).unwrap();
        assert!(!file.path.exists());
    }

    #[test]
    fn a_live_socket_of_either_type_is_in_use() {
        for kind in [Type::STREAM, Type::DGRAM] {
            let directory = support::short_paths::directory();
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
        let directory = support::short_paths::directory();
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
    fn a_claim_keeps_the_directory_locked_until_it_ends() {
        let directory = support::short_paths::directory();
        let claim = file(&directory).claim(Type::STREAM).unwrap();
        let other = File::open(directory.path()).unwrap();
        assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));
        drop(claim);
        other.try_lock().unwrap();
    }
}
