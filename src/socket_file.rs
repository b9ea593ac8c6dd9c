//! The file of a Unix socket: taken over if stale, removed in the end.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;
use std::sync::Mutex;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::address::Address;
use crate::base_server::BaseServer;
use crate::error::Error;
use crate::lock::lock;
use crate::logging::{Level, log};

/// The path that a Unix server binds to.
///
/// A server that was killed leaves its file behind, and bind fails on it ever after. So a file with
/// nobody listening behind it is removed before bind. What is not a socket, or has a live server,
/// stays as it is.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    kind: Type,
    /// Device and inode of the file that bind made, so that no other is removed.
    ours: Mutex<Option<(u64, u64)>>,
}

impl SocketFile {
    pub(crate) fn new(path: PathBuf, kind: Type) -> Self {
        Self {
            path,
            kind,
            ours: Mutex::new(None),
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

    /// Whether somebody listens behind the socket.
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
        self.claim()?;
        next.server_bind()?;
        self.bound();
        Ok(())
    }

    /// Closes the layer below, then removes the file: `server_close` of both Unix servers.
    pub(crate) fn close(&self, next: &impl BaseServer) {
        next.server_close();
        self.remove();
    }

    /// Remembers the file that bind has made.
    fn bound(&self) {
        *lock(&self.ours) = self.identity();
    }

    /// Removes the file, if it is still the one that bind made.
    fn remove(&self) {
        let ours = lock(&self.ours).take();
        if ours.is_some()
            && ours == self.identity()
            && let Err(error) = fs::remove_file(&self.path)
        {
            log(
                Level::Warn,
                format_args!("cannot remove the socket {}: {error}", self.path.display()),
            );
        }
    }

    fn identity(&self) -> Option<(u64, u64)> {
        if self.is_abstract() {
            return None;
        }
        let metadata = fs::symlink_metadata(&self.path).ok()?;
        Some((metadata.dev(), metadata.ino()))
    }

    fn is_abstract(&self) -> bool {
        self.path.as_os_str().as_bytes().first() == Some(&0)
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
