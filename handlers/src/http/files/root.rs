//! Files below a directory, and no files outside of it, even if links lead there.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use super::file_status::FileStatus;
use super::open_files::OpenFiles;

/// The most tries of openat2(2), which fails if another process moves a directory meanwhile.
const TRIES: usize = 16;

/// How long the open directory is used without a look whether it is still at the path. A look costs
/// a twentieth of a request for a small file.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The directory whose files are served.
#[derive(Debug)]
pub(super) struct Root {
    path: PathBuf,
    last: Mutex<Seen>,
    open_files: OpenFiles,
}

/// The directory that was at the path at the last look.
#[derive(Debug)]
struct Seen {
    directory: Arc<Directory>,
    looked: Instant,
}

/// An open directory, and its number, which distinguishes it from all others while it is open.
#[derive(Debug)]
pub(super) struct Directory {
    fd: OwnedFd,
    device: u64,
    inode: u64,
}

/// What is at a path.
#[derive(Debug)]
pub(super) enum Found {
    File(Arc<File>, FileStatus),
    Directory,
    /// Neither: a pipe, a socket or a device.
    Other,
}

impl Root {
    /// The directory at `path`. If another directory is put at the path, its files are served
    /// within [`LOOK_EVERY`], and at once if the earlier directory lacks the file.
    ///
    /// # Errors
    ///
    /// If there is no such directory, or the system has no openat2(2).
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let last = Mutex::new(Seen {
            directory: Arc::new(Directory::open(&path)?),
            looked: Instant::now(),
        });
        let root = Self {
            path,
            last,
            open_files: OpenFiles::default(),
        };
        let seen = root.seen(LOOK_EVERY)?;
        seen.open_below(Path::new("."), OFlags::PATH)?;
        Ok(root)
    }

    /// Opens the file at a path below the root.
    ///
    /// # Errors
    ///
    /// Returns the errors of openat2(2). A link that leads out of the root is `EXDEV`.
    pub(super) fn open(&self, path: &Path) -> io::Result<Found> {
        let seen = self.seen(LOOK_EVERY)?;
        if let Some((file, status)) = self.open_files.find(&seen.fd, path) {
            return Ok(Found::File(file, status));
        }
        let file = match self.open_anew(&seen, path) {
            Err(error) if is_out_of_descriptors(&error) && self.open_files.close() => {
                self.open_anew(&seen, path)?
            }
            opened => opened?,
        };
        let status = FileStatus::from(&rustix::fs::fstat(&file)?);
        Ok(match status.file_type() {
            FileType::RegularFile => {
                let file = Arc::new(file);
                // An open file of another file system would keep that one mounted.
                if status.device == seen.device {
                    self.open_files.keep(path, &file, status);
                }
                Found::File(file, status)
            }
            FileType::Directory => Found::Directory,
            _ => Found::Other,
        })
    }

    /// Opens the directory at a path below the root, and returns it with the root that it is in:
    /// the one that is at the path now. A list of a directory needs both, since the links among
    /// its entries are followed from the root.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub(super) fn open_directory(&self, path: &Path) -> io::Result<(Arc<Directory>, OwnedFd)> {
        let present = self.seen(Duration::ZERO)?;
        let directory = present.open_below(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        Ok((present, directory.into()))
    }

    /// The directory that was at the path not longer ago than `at_most`. While a directory is open,
    /// no other directory has its number.
    fn seen(&self, at_most: Duration) -> io::Result<Arc<Directory>> {
        // A forked child may find a lock that nobody will release.
        let Ok(mut last) = self.last.try_lock() else {
            return Ok(Arc::new(Directory::open(&self.path)?));
        };
        let now = Instant::now();
        if now.saturating_duration_since(last.looked) >= at_most {
            let stat = rustix::fs::stat(&self.path)?;
            if (last.directory.device, last.directory.inode) != (stat.st_dev, stat.st_ino) {
                last.directory = Arc::new(Directory::open(&self.path)?);
            }
            last.looked = now;
        }
        Ok(last.directory.clone())
    }

    /// Opens the file at a path below the directory that was seen, or below the one that is at the
    /// root's path now.
    fn open_anew(&self, seen: &Arc<Directory>, path: &Path) -> io::Result<File> {
        // `O_NONBLOCK`: the open of a pipe would wait for somebody who writes.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        match seen.open_below(path, flags) {
            Err(error) if is_absent(&error) => {
                let present = self.seen(Duration::ZERO)?;
                match Arc::ptr_eq(seen, &present) {
                    true => Err(error),
                    false => present.open_below(path, flags),
                }
            }
            opened => opened,
        }
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

    /// The metadata of the file at a path below this directory. Links are followed.
    ///
    /// # Errors
    ///
    /// As [`Root::open`], but the file need not be readable.
    pub(super) fn look(&self, path: &Path) -> io::Result<Metadata> {
        self.open_below(path, OFlags::PATH)?.metadata()
    }

    fn open_below(&self, path: &Path, flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let open = || openat2(&self.fd, path, flags, Mode::empty(), resolve);
        for _ in 1..TRIES {
            match open() {
                Err(Errno::AGAIN) => {}
                opened => return Ok(opened?.into()),
            }
        }
        Ok(open()?.into())
    }
}

/// Whether an open has failed because this process, or the system, has too many open files.
pub(super) fn is_out_of_descriptors(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE))
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
