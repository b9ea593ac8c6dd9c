//! The tree that a user sees: [`Home`].

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, ResolveFlags, Stat, fstat, fsync, mkdirat,
    openat, openat2, readlinkat, renameat, renameat_with, statat, unlinkat,
};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use crate::files::names::{escape, unescape};
use crate::files::partial::is_partial_name;
use crate::files::protocol::{Entry, IfExists, Kind, bad};
use crate::files::refusal::{Code, Refusal};

/// How often a path is looked up again, if somebody renames directories meanwhile.
const TRIES: usize = 64;

/// The mode of new directories.
const DIRECTORY: Mode = Mode::RWXU;

/// The home of a user, and the current directory in it.
///
/// The home is an open directory, and every path is looked up below that directory by the kernel
/// (openat2 with `RESOLVE_BENEATH`). No path leads out, even if somebody changes directories and
/// links meanwhile. Actions that openat2 does not have, such as a rename, use a single name in a
/// directory that openat2 has opened.
#[derive(Debug)]
pub(super) struct Home {
    root: OwnedFd,
    /// The current directory, relative to the root, without links; empty for the root.
    current: Vec<u8>,
}

/// A name in an open directory.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) directory: OwnedFd,
    pub(super) name: Vec<u8>,
    /// Whether a slash came after the name, which is then that of a directory.
    wants_directory: bool,
}

impl Home {
    /// Opens the home with this name in the directory of all homes, and makes it if it is missing.
    pub(super) fn open(homes: BorrowedFd<'_>, name: &str) -> Result<Self, Refusal> {
        match mkdirat(homes, name, DIRECTORY) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let root = openat(homes, name, flags, Mode::empty())?;
        let current = Vec::new();
        Ok(Self { root, current })
    }

    /// The current directory as the user sees it.
    pub(super) fn current(&self) -> String {
        format!("/{}", escape(&self.current))
    }

    /// The root of the home.
    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Changes the current directory.
    pub(super) fn change(&mut self, path: &str) -> Result<(), Refusal> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let directory = self.open_beneath(&self.resolve(path)?, flags)?;
        let (root, path) = (path_of(self.root.as_fd())?, path_of(directory.as_fd())?);
        let below = path.strip_prefix(root.as_slice());
        self.current = match below {
            Some([]) => Vec::new(),
            Some([b'/', rest @ ..]) => rest.to_vec(),
            // The home itself is the root of the file system.
            Some(rest) if root == b"/" => rest.to_vec(),
            // Somebody has moved the directory away meanwhile.
            _ => return Err(Refusal::new(Code::NotFound)),
        };
        Ok(())
    }

    /// Opens a directory to read its names.
    pub(super) fn directory(&self, path: &str) -> Result<OwnedFd, Refusal> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        self.open_beneath(&self.resolve(path)?, flags)
    }

    /// Opens a file to read its content. A FIFO or a device is not waited for.
    pub(super) fn file(&self, path: &str) -> Result<(File, Stat), Refusal> {
        let path = self.resolve(path)?;
        let file = self.open_beneath(&path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        let stat = fstat(&file)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok((file.into(), stat)),
            FileType::Directory => Err(Refusal::new(Code::IsADirectory)),
            _ => Err(Refusal::new(Code::NotAFile)),
        }
    }

    /// What a path means, links followed.
    pub(super) fn entry(&self, path: &str) -> Result<Entry, Refusal> {
        let path = self.resolve(path)?;
        let opened = self.open_beneath(&path, OFlags::PATH)?;
        let mut names = path.split(|byte| *byte == b'/').rev();
        let name = names.find(|name| !name.is_empty()).unwrap_or_default();
        let name = if name == b"." { b"" } else { name };
        Ok(entry(name, &fstat(&opened)?))
    }

    /// The directory and the last name of a path that is to be made, written or removed.
    pub(super) fn place(&self, path: &str) -> Result<Place, Refusal> {
        let path = self.resolve(path)?;
        let end = path
            .iter()
            .rposition(|byte| *byte != b'/')
            .map_or(0, |last| last + 1);
        let begin = path[..end]
            .iter()
            .rposition(|byte| *byte == b'/')
            .map_or(0, |slash| slash + 1);
        let name = &path[begin..end];
        if matches!(name, b"" | b"." | b"..") {
            return Err(Refusal::new(Code::BadName));
        }
        let parent = match &path[..begin] {
            b"" => b".",
            parent => parent,
        };
        Ok(Place {
            directory: self.open_beneath(parent, OFlags::PATH | OFlags::DIRECTORY)?,
            name: name.to_vec(),
            wants_directory: end < path.len(),
        })
    }

    /// The path of a client, relative to the root.
    fn resolve(&self, path: &str) -> Result<Vec<u8>, Refusal> {
        let path = unescape(path).ok_or_else(|| Refusal::new(Code::BadName))?;
        let begin = path
            .iter()
            .position(|byte| *byte != b'/')
            .unwrap_or(path.len());
        let (is_absolute, rest) = (begin > 0, &path[begin..]);
        let resolved = match (is_absolute || self.current.is_empty(), rest) {
            (true, b"") => b".".to_vec(),
            (true, rest) => rest.to_vec(),
            (false, rest) => [&self.current, b"/".as_slice(), rest].concat(),
        };
        match resolved.len() {
            0..4096 => Ok(resolved),
            _ => Err(Refusal::new(Code::NameTooLong)),
        }
    }

    fn open_beneath(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Refusal> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let (flags, mode) = (flags | OFlags::CLOEXEC, Mode::empty());
        for _ in 0..TRIES {
            match openat2(&self.root, path, flags, mode, resolve) {
                // Somebody renames a directory of the path at this moment.
                Err(Errno::AGAIN | Errno::INTR) => {}
                opened => return Ok(opened?),
            }
        }
        Err(Refusal::new(Code::Busy))
    }
}

impl Place {
    /// What the name is, if it is there; a link is not followed.
    pub(super) fn stat(&self) -> Result<Option<Stat>, Refusal> {
        match statat(
            &self.directory,
            self.name.as_slice(),
            AtFlags::SYMLINK_NOFOLLOW,
        ) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Refuses a name of the server's own, and one that ends with a slash.
    pub(super) fn check_file_name(&self) -> Result<(), Refusal> {
        if self.wants_directory {
            return Err(Refusal::new(Code::IsADirectory));
        }
        self.check_not_reserved()
    }

    /// Whether the other place is the same name in the same directory.
    pub(super) fn is_same_name(&self, other: &Self) -> Result<bool, Refusal> {
        let number = |place: &Self| {
            let stat = rustix::fs::fstat(&place.directory)?;
            Ok::<_, Errno>((stat.st_dev, stat.st_ino))
        };
        Ok(self.name == other.name && number(self)? == number(other)?)
    }

    fn check_not_reserved(&self) -> Result<(), Refusal> {
        match is_partial_name(&self.name) {
            true => Err(Refusal::new(Code::ReservedName)),
            false => Ok(()),
        }
    }

    /// Makes a directory of this name.
    pub(super) fn make_directory(&self) -> Result<(), Refusal> {
        self.check_not_reserved()?;
        Ok(mkdirat(&self.directory, self.name.as_slice(), DIRECTORY)?)
    }

    /// Removes a file, a link or an empty directory, and returns what it was.
    pub(super) fn remove(&self) -> Result<Stat, Refusal> {
        let stat = self.stat()?.ok_or_else(|| Refusal::new(Code::NotFound))?;
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if self.wants_directory && !is_directory {
            return Err(Refusal::new(Code::NotADirectory));
        }
        let flags = match is_directory {
            true => AtFlags::REMOVEDIR,
            false => AtFlags::empty(),
        };
        unlinkat(&self.directory, self.name.as_slice(), flags)?;
        Ok(stat)
    }

    /// Gives what has this name the name of `new`.
    pub(super) fn rename(&self, new: &Self, if_exists: IfExists) -> Result<(), Refusal> {
        self.check_not_reserved()?;
        new.check_not_reserved()?;
        let (old_name, new_name) = (self.name.as_slice(), new.name.as_slice());
        let renamed = match if_exists {
            IfExists::Replace => renameat(&self.directory, old_name, &new.directory, new_name),
            IfExists::Refuse => {
                let flags = RenameFlags::NOREPLACE;
                renameat_with(&self.directory, old_name, &new.directory, new_name, flags)
            }
        };
        renamed.map_err(|error| match error {
            Errno::XDEV => Refusal::new(Code::OtherFileSystem),
            Errno::INVAL => bad("a directory cannot become a part of itself"),
            error => error.into(),
        })?;
        sync_directory(self.directory.as_fd())?;
        sync_directory(new.directory.as_fd())
    }
}

/// Flushes the names of a directory to the disk.
pub(super) fn sync_directory(directory: BorrowedFd<'_>) -> Result<(), Refusal> {
    Ok(fsync(&readable(directory)?)?)
}

/// Opens a directory again, to read or to flush it: the descriptor of a home is a path only.
pub(super) fn readable(directory: BorrowedFd<'_>) -> Result<OwnedFd, Refusal> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(directory, ".", flags, Mode::empty())?)
}

/// The entries of an open directory, in the order of the file system.
pub(super) fn entries(
    directory: &OwnedFd,
) -> Result<impl Iterator<Item = Result<Entry, Refusal>> + '_, Refusal> {
    let names = Dir::read_from(directory)?;
    Ok(names.filter_map(move |name| {
        let name = match name {
            Ok(name) => name,
            Err(error) => return Some(Err(error.into())),
        };
        let name = name.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            return None;
        }
        match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Some(Ok(entry(name, &stat))),
            // Removed meanwhile.
            Err(Errno::NOENT) => None,
            Err(error) => Some(Err(error.into())),
        }
    }))
}

fn entry(name: &[u8], stat: &Stat) -> Entry {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile if is_partial_name(name) => Kind::Partial,
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Link,
        _ => Kind::Other,
    };
    let version = matches!(kind, Kind::File | Kind::Partial).then(|| version(stat));
    Entry {
        name: escape(name),
        kind,
        size: size(stat),
        modified: stat.st_mtime,
        version,
    }
}

/// The size in bytes. No file has a negative one.
pub(super) fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

/// A text that changes whenever the content of a file does: it depends on the file itself, its size
/// and the time of its last change. It does not show them.
pub(super) fn version(stat: &Stat) -> String {
    let hash = Sha256::new()
        .chain_update(stat.st_dev.to_le_bytes())
        .chain_update(stat.st_ino.to_le_bytes())
        .chain_update(stat.st_size.to_le_bytes())
        .chain_update(stat.st_mtime.to_le_bytes())
        .chain_update(stat.st_mtime_nsec.to_le_bytes())
        .finalize();
    hash.iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The path of an open directory, from the kernel.
fn path_of(directory: BorrowedFd<'_>) -> Result<Vec<u8>, Refusal> {
    use std::os::fd::AsRawFd;

    let link = format!("/proc/self/fd/{}", directory.as_raw_fd());
    let link = Path::new(OsStr::from_bytes(link.as_bytes()));
    Ok(readlinkat(rustix::fs::CWD, link, Vec::new())?.into_bytes())
}
