//! Files below a directory, and none outside, whatever links there are.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

/// The most tries of openat2(2), which fails if another process moves a directory meanwhile.
const TRIES: usize = 16;

/// The directory whose files are served.
#[derive(Debug, Clone)]
pub(super) struct Root {
    path: PathBuf,
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
    /// The directory at `path`, which is opened anew for each file: a build that replaces the
    /// directory is served.
    ///
    /// # Errors
    ///
    /// If there is no such directory, or the system has no openat2(2).
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let root = Self { path };
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

    /// The metadata of the file at a path below the root, at the end of all links.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), but the file need not be readable.
    pub(super) fn look(&self, path: &Path) -> io::Result<Metadata> {
        self.open_with(path, OFlags::PATH)?.metadata()
    }

    fn open_with(&self, path: &Path, flags: OFlags) -> io::Result<File> {
        let of_directory = OFlags::PATH | OFlags::DIRECTORY;
        let root = rustix::fs::open(&self.path, of_directory | OFlags::CLOEXEC, Mode::empty())?;
        let flags = flags | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let open = || openat2(&root, path, flags, Mode::empty(), resolve);
        for _ in 1..TRIES {
            match open() {
                Err(Errno::AGAIN) => {}
                opened => return Ok(opened?.into()),
            }
        }
        Ok(open()?.into())
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
