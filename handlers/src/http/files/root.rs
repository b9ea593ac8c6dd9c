//! Files below a directory, and no files outside of it, even if links lead there.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

/// The most tries of openat2(2), which fails if another process moves a directory meanwhile.
const TRIES: usize = 16;

/// The directory whose files are served.
#[derive(Debug)]
pub(super) struct Root {
    path: PathBuf,
    /// The directory that the last look-up found at the path.
    last: Mutex<Arc<Directory>>,
}

/// An open directory, and its number, which distinguishes it from all others while it is open.
#[derive(Debug)]
struct Directory {
    fd: OwnedFd,
    device: u64,
    inode: u64,
}

/// What is at a path.
#[derive(Debug)]
pub(super) enum Found {
    File(File, Metadata),
    Directory(OwnedFd),
    /// Neither: a pipe, a socket or a device.
    Other,
}

impl Root {
    /// The directory at `path`, which is looked up again for each file. So the server serves the
    /// new directory if a build replaces the old one.
    ///
    /// # Errors
    ///
    /// If there is no such directory, or the system has no openat2(2).
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let last = Mutex::new(Arc::new(Directory::open(&path)?));
        let root = Self { path, last };
        root.look(Path::new("."))?;
        Ok(root)
    }

    /// Opens the file at a path below the root.
    ///
    /// # Errors
    ///
    /// Those of openat2(2). A link that leads out of the root is `EXDEV`.
    pub(super) fn open(&self, path: &Path) -> io::Result<Found> {
        // `O_NONBLOCK`: the open of a pipe would wait for somebody who writes.
        let file = self.open_with(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        let metadata = file.metadata()?;
        Ok(if metadata.is_file() {
            Found::File(file, metadata)
        } else if metadata.is_dir() {
            Found::Directory(file.into())
        } else {
            Found::Other
        })
    }

    /// The metadata of the file at a path below the root. Links are followed.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), but the file need not be readable.
    pub(super) fn look(&self, path: &Path) -> io::Result<Metadata> {
        self.open_with(path, OFlags::PATH)?.metadata()
    }

    /// The directory that is at the path now. This look-up costs a fifth of an open and a close.
    /// While a directory is open, no other directory has its number.
    fn present(&self) -> io::Result<Arc<Directory>> {
        let stat = rustix::fs::stat(&self.path)?;
        // A forked child may find a lock that nobody will release.
        let Ok(mut last) = self.last.try_lock() else {
            return Ok(Arc::new(Directory::open(&self.path)?));
        };
        if (last.device, last.inode) != (stat.st_dev, stat.st_ino) {
            *last = Arc::new(Directory::open(&self.path)?);
        }
        Ok(last.clone())
    }

    fn open_with(&self, path: &Path, flags: OFlags) -> io::Result<File> {
        let root = self.present()?;
        let flags = flags | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let open = || openat2(&root.fd, path, flags, Mode::empty(), resolve);
        for _ in 1..TRIES {
            match open() {
                Err(Errno::AGAIN) => {}
                opened => return Ok(opened?.into()),
            }
        }
        Ok(open()?.into())
    }
}

impl Directory {
    fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&fd)?;
        Ok(Self {
            fd,
            device: stat.st_dev,
            inode: stat.st_ino,
        })
    }
}

/// Whether the error of an open means that there is no such file for a client.
pub(super) fn is_absent(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    // `ENXIO` is the open of a socket. `EXDEV` is a link that leads out of the root.
    matches!(
        errno,
        Some(
            Errno::NOENT
                | Errno::NOTDIR
                | Errno::LOOP
                | Errno::NAMETOOLONG
                | Errno::NXIO
                | Errno::XDEV
                | Errno::NODEV
        )
    )
}
