//! The file that bind(2) has made for a Unix socket, until the server removes it.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::support::log::{Level, log_line};
use crate::transport::sys;

/// The file of a bound socket: its absolute path, device and inode, and the process that has bound
/// the socket. So the server removes no other file, even after a change of its working directory. A
/// process that the program has forked since then removes no file.
#[derive(Debug)]
pub(crate) struct BoundFile {
    path: PathBuf,
    identity: Identity,
    /// The process that has bound the socket: see [`sys::forks`].
    forks: u32,
}

impl BoundFile {
    /// Returns the file at the path, to which a socket has just been bound. Returns `None` if the
    /// file does not exist any more.
    pub(crate) fn at(path: &Path) -> Option<Self> {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let metadata = fs::symlink_metadata(&path).ok()?;
        Some(Self {
            path,
            identity: Identity::of(&metadata),
            forks: sys::forks(),
        })
    }

    /// Sets the owner's group and the mode of the file.
    pub(crate) fn set_access(&self, access: FileAccess) -> io::Result<()> {
        if access == FileAccess::default() {
            return Ok(());
        }
        // The change goes to the descriptor. So another file that was put at the path meanwhile is
        // not changed.
        let pinned = sys::pin(&self.path)?;
        let metadata = match &pinned {
            Some(file) => file.metadata()?,
            None => fs::symlink_metadata(&self.path)?,
        };
        if !metadata.file_type().is_socket() || Identity::of(&metadata) != self.identity {
            let what = "another file has been put at its path meanwhile";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
        }
        let place = pinned.as_ref().map(sys::path_of_descriptor);
        let place = place.filter(|it| it.exists()).unwrap_or(self.path.clone());
        if let Some(group) = access.group {
            chown(&place, None, Some(group)).map_err(|error| {
                let text = format!(
                    "cannot give its file to the group {group}: {error}; only a privileged program \
                     can give a file to a group that its user is not a member of"
                );
                io::Error::new(error.kind(), text)
            })?;
        }
        if let Some(mode) = access.mode {
            fs::set_permissions(&place, Permissions::from_mode(mode)).map_err(|error| {
                let text = format!("cannot set the mode of its file to {mode:03o}: {error}");
                io::Error::new(error.kind(), text)
            })?;
        }
        Ok(())
    }

    /// Removes the file, if the path still leads to it, and if this process has bound the socket.
    ///
    /// The socket is still open. It keeps the inode in use, so no other file can have its number.
    /// If another server starts meanwhile, it finds the socket live, and leaves the file to this
    /// server.
    pub(crate) fn remove(&self) {
        if self.forks != sys::forks() {
            return;
        }
        if let Err(error) = remove_only(&self.path, self.identity) {
            let path = self.path.display();
            log_line!(Level::Warn, "cannot remove the socket {path}: {error}");
        }
    }
}

/// The mode and the owner's group that a socket's file is to have. With `None` the system chooses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct FileAccess {
    pub(crate) mode: Option<u32>,
    pub(crate) group: Option<u32>,
}

impl FileAccess {
    /// Returns the mode with which bind(2) is to make the file. This is the mode that the file is
    /// to have, without the rights of the group as long as the file has another group.
    pub(crate) fn mode_at_bind(self) -> Option<u32> {
        let before_chown = if self.group.is_some() { 0o707 } else { 0o777 };
        self.mode.map(|mode| mode & before_chown)
    }
}

/// The device and the inode of a file. The numbers mean one file as long as its inode is in use: by
/// a name, by a descriptor, or by a socket that is bound to the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }

    /// Returns the file at the path, if there is one. A symbolic link counts as a file itself.
    fn at(path: &Path) -> Option<Self> {
        fs::symlink_metadata(path).ok().as_ref().map(Self::of)
    }
}

/// Removes the file at `path` if it is the file with this identity. Returns false if there is
/// another file or none.
///
/// unlink(2) removes whatever file is at the path. A program that replaces the file at that instant
/// would lose its own file. So the file is first renamed to a name that no other process uses. If
/// the renamed file is another file, it is renamed back.
pub(crate) fn remove_only(path: &Path, identity: Identity) -> io::Result<bool> {
    if Identity::at(path) != Some(identity) {
        return Ok(false);
    }
    let aside = name_aside(path);
    match fs::rename(path, &aside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        renamed => renamed?,
    }
    if Identity::at(&aside) == Some(identity) {
        return fs::remove_file(&aside).map(|()| true);
    }
    put_back(&aside, path)?;
    Ok(false)
}

/// Gives the file its path back, unless a further file is there by now.
fn put_back(aside: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(aside, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        // On Linux, another user's socket may not be linked (`fs.protected_hardlinks`), and a
        // directory can be linked on no system.
        Err(_) if Identity::at(path).is_none() => return fs::rename(aside, path),
        linked => linked?,
    }
    fs::remove_file(aside)
}

/// A name in the same directory that no other process uses at this time.
fn name_aside(path: &Path) -> PathBuf {
    // Relaxed: the number is unique in the process, and orders nothing.
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Relaxed);
    let process = std::process::id();
    path.with_file_name(format!(".socketserver-{process}-{number}"))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let directory = support::short_paths::directory();
        let path = directory.path().join("socket");
        (directory, path)
    }

    fn names(directory: &tempfile::TempDir) -> Vec<std::ffi::OsString> {
        let entries = fs::read_dir(directory.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    }

    #[test]
    fn a_successor_s_file_is_not_removed() {
        let (directory, path) = place();
        let _ours = UnixListener::bind(&path).unwrap();
        let bound = BoundFile::at(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let _successor = UnixListener::bind(&path).unwrap();
        bound.remove();
        assert_eq!(names(&directory), ["socket"]);
    }

    #[test]
    fn the_file_is_removed_and_no_other_is_left() {
        let (directory, path) = place();
        let _ours = UnixListener::bind(&path).unwrap();
        BoundFile::at(&path).unwrap().remove();
        assert!(names(&directory).is_empty());
    }

    #[test]
    fn a_file_that_was_moved_aside_goes_back_unless_another_is_there() {
        let (directory, path) = place();
        let aside = name_aside(&path);
        fs::write(&aside, "moved").unwrap();
        put_back(&aside, &path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "moved");
        fs::write(&aside, "older").unwrap();
        put_back(&aside, &path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "moved");
        assert_eq!(names(&directory), ["socket"]);
        fs::remove_file(&path).unwrap();
        fs::create_dir(&aside).unwrap();
        put_back(&aside, &path).unwrap();
        assert!(path.is_dir());
    }

    #[test]
    fn a_file_at_a_socket_s_path_that_is_another_keeps_its_mode() {
        let (_directory, path) = place();
        let _ours = UnixListener::bind(&path).unwrap();
        let bound = BoundFile::at(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        let before = fs::metadata(&path).unwrap().mode();
        let access = FileAccess {
            mode: Some(0o777),
            group: None,
        };
        bound.set_access(access).unwrap_err();
        assert_eq!(fs::metadata(&path).unwrap().mode(), before);
    }
}
