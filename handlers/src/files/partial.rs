//! A content that is not complete yet: [`Partial`].

use std::fmt::Write;
use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RenameFlags, fstat, openat, renameat, renameat_with, statat,
    unlinkat,
};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use crate::files::digest::{ContentDigest, ContentHasher};
use crate::files::protocol::IfExists;

/// The hexadecimal digits in the name of a partial file.
const DIGITS: usize = 48;

/// The name of the partial file of a content that will have the name `target`. `identity`
/// distinguishes contents: another content has another partial file.
#[must_use]
pub fn partial_name(target: &[u8], identity: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    for part in [&[target], identity].concat() {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut name = String::from(".");
    for byte in hasher.finalize().iter().take(DIGITS / 2) {
        write!(name, "{byte:02x}").expect("writing to a String succeeds");
    }
    name + ".part"
}

/// Whether a name is that of a partial file.
#[must_use]
pub fn is_partial_name(name: &[u8]) -> bool {
    let digits = name
        .strip_prefix(b".")
        .and_then(|name| name.strip_suffix(b".part"));
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    digits.is_some_and(|digits| digits.len() == DIGITS && digits.iter().all(is_digit))
}

/// A file that is being received. It has a name of its own until it is complete and its hash is
/// right.
///
/// The name is made of the name of the later file and of the identity of its content. So another
/// program, or this program after a crash, finds the bytes that have arrived, and never the bytes
/// of another version. A partial file without bytes is removed when it is dropped.
///
/// Two sessions must not have the same partial file at a time: a value that is dropped without
/// bytes would remove the file of the other session. The caller of [`open`](Self::open) has to make
/// sure of that, and [`open_locked`](Self::open_locked) makes sure of that between programs.
#[derive(Debug)]
pub struct Partial {
    directory: OwnedFd,
    name: String,
    file: File,
    digest: ContentDigest,
    hasher: ContentHasher,
    /// The bytes that the file has, and the hasher has seen.
    length: u64,
    size: u64,
    is_done: bool,
}

impl Partial {
    /// Opens the partial file in `directory`, or makes it with these permissions, for a content of
    /// `size` bytes. Reads and hashes the bytes that the file has already; empties a file that is
    /// longer than the content.
    ///
    /// The caller has to make sure that no other session or program has the same partial file:
    /// [`open_locked`](Self::open_locked) does so by itself.
    ///
    /// # Errors
    ///
    /// Returns the errors of the system.
    pub fn open(
        directory: OwnedFd,
        target: &[u8],
        identity: &[&[u8]],
        size: u64,
        digest: ContentDigest,
        permissions: u32,
    ) -> io::Result<Self> {
        let name = partial_name(target, identity);
        let file = open_or_make(&directory, &name, permissions)?;
        Self::own(directory, name, file, size, digest)
    }

    /// Does what [`open`](Self::open) does, and excludes other programs that open the same partial
    /// file with this function, until the value is dropped (flock). Returns `None` if another
    /// program has the file. Then nothing has been read or changed.
    ///
    /// # Errors
    ///
    /// Returns the errors of the system.
    pub fn open_locked(
        directory: OwnedFd,
        target: &[u8],
        identity: &[&[u8]],
        size: u64,
        digest: ContentDigest,
        permissions: u32,
    ) -> io::Result<Option<Self>> {
        let name = partial_name(target, identity);
        loop {
            let file = open_or_make(&directory, &name, permissions)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // Between the two calls another program may have given this file its final name, or
            // removed it. Then the lock excludes nobody, and the name is free for a new file.
            if has_name(&file, &directory, &name)? {
                return Self::own(directory, name, file, size, digest).map(Some);
            }
        }
    }

    /// Takes over a file that no other session or program has.
    fn own(
        directory: OwnedFd,
        name: String,
        file: File,
        size: u64,
        digest: ContentDigest,
    ) -> io::Result<Self> {
        let length = u64::try_from(fstat(&file)?.st_size).unwrap_or(0);
        let is_too_long = length > size;
        let known = if is_too_long { 0 } else { length };
        // After an error of this read the bytes stay: no value exists yet that could remove them.
        let (hasher, length) = digest.of_file(&file, known, |_| Ok::<_, io::Error>(()))?;
        let mut partial = Self {
            directory,
            name,
            file,
            digest,
            hasher,
            length,
            size,
            is_done: false,
        };
        if is_too_long {
            partial.restart()?;
        }
        Ok(partial)
    }

    /// The number of bytes that are there.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The number of bytes of the whole content.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The hash of the bytes that are there.
    #[must_use]
    pub fn hash(&self) -> String {
        self.hasher.hex()
    }

    /// Discards the bytes that are there.
    ///
    /// # Errors
    ///
    /// Returns the errors of the system.
    pub fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.length = 0;
        self.hasher = self.digest.hasher();
        Ok(())
    }

    /// Writes bytes behind those that are there. After an error, the bytes before the error are
    /// there, and [`length`](Self::length) counts them.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) if the content would be longer than its size, and
    /// those of the system.
    pub fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        if bytes.len() as u64 > self.size - self.length {
            return Err(ErrorKind::InvalidInput.into());
        }
        while !bytes.is_empty() {
            match self.file.write_at(bytes, self.length) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.hasher.update(&bytes[..count]);
                    self.length += count as u64;
                    bytes = &bytes[count..];
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Gives the content its name, if it is complete and has this hash: flushes it to the disk,
    /// renames it, and flushes the directory.
    ///
    /// # Errors
    ///
    /// [`FinishError`]; after [`WrongHash`](FinishError::WrongHash) and
    /// [`NotFlushed`](FinishError::NotFlushed) nothing is kept.
    pub fn finish(
        mut self,
        target: &[u8],
        hash: &str,
        if_exists: IfExists,
    ) -> Result<(), FinishError> {
        if self.length < self.size {
            return Err(FinishError::Incomplete);
        }
        if self.hasher.hex() != hash {
            self.remove();
            return Err(FinishError::WrongHash);
        }
        if let Err(error) = self.file.sync_all() {
            // The system has perhaps dropped the bytes that it could not write. The next try must
            // not continue after bytes that only seem to be on the disk.
            self.remove();
            return Err(FinishError::NotFlushed(error));
        }
        let (directory, name) = (&self.directory, &*self.name);
        match if_exists {
            IfExists::Replace => renameat(directory, name, directory, target)?,
            IfExists::Refuse => {
                renameat_with(directory, name, directory, target, RenameFlags::NOREPLACE)?;
            }
        }
        self.is_done = true;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(self.directory.as_fd(), ".", flags, Mode::empty())?;
        Ok(rustix::fs::fsync(directory)?)
    }

    /// Removes the partial file.
    fn remove(&mut self) {
        if !self.is_done {
            self.is_done = true;
            // If the file cannot be removed, it is in the list of the directory, where its owner
            // can remove it.
            let _ = unlinkat(&self.directory, &*self.name, AtFlags::empty());
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if self.length == 0 {
            self.remove();
        }
    }
}

/// Opens the regular file of this name, or makes it.
fn open_or_make(directory: &OwnedFd, name: &str, permissions: u32) -> io::Result<File> {
    let flags =
        OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(permissions);
    let file = File::from(openat(directory, name, flags, mode)?);
    match FileType::from_raw_mode(fstat(&file)?.st_mode) {
        FileType::RegularFile => Ok(file),
        _ => Err(Errno::NODEV.into()),
    }
}

/// Whether the open file has this name.
fn has_name(file: &File, directory: &OwnedFd, name: &str) -> io::Result<bool> {
    let own = fstat(file)?;
    match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(named) => Ok((named.st_dev, named.st_ino) == (own.st_dev, own.st_ino)),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Why a content does not receive its name.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FinishError {
    /// Bytes are missing.
    #[error("the content is not complete")]
    Incomplete,
    /// The content differs from the announced content.
    #[error("the content has another hash than it should have; nothing of it was kept")]
    WrongHash,
    /// The content cannot be written to the disk: nothing is kept.
    #[error("the content does not reach the disk: {0}")]
    NotFlushed(#[source] io::Error),
    /// The operating system refuses: the partial file stays.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<Errno> for FinishError {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    fn open(directory: &Path, identity: &[u8]) -> Partial {
        let directory = File::open(directory).unwrap().into();
        Partial::open(
            directory,
            b"a",
            &[identity],
            5,
            ContentDigest::Sha256,
            0o600,
        )
        .unwrap()
    }

    fn names(directory: &Path) -> Vec<String> {
        let names = fs::read_dir(directory).unwrap();
        let mut names =
            Vec::from_iter(names.map(|name| name.unwrap().file_name().into_string().unwrap()));
        names.sort();
        names
    }

    #[test]
    fn a_name_depends_on_the_target_and_the_content_and_fits_every_file_system() {
        let name = partial_name(&[b'x'; 255], &[b"1", b"2"]);
        assert_eq!(name.len(), 54);
        assert!(is_partial_name(name.as_bytes()));
        for other in [
            partial_name(&[b'x'; 254], &[b"1", b"2"]),
            partial_name(&[b'x'; 255], &[b"12", b""]),
            partial_name(&[b'x'; 255], &[b"1"]),
        ] {
            assert_ne!(other, name);
        }
        assert!(!is_partial_name(&name.as_bytes()[1..]));
        assert!(!is_partial_name(name.to_uppercase().as_bytes()));
    }

    #[test]
    fn a_content_has_its_name_only_when_it_is_whole_and_right() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let mut partial = open(path, b"1");
        partial.write(b"hel").unwrap();
        assert!(matches!(
            partial.finish(b"a", HELLO, IfExists::Refuse),
            Err(FinishError::Incomplete)
        ));
        // As after a crash.
        let mut partial = open(path, b"1");
        assert_eq!(partial.length(), 3);
        assert_eq!(
            partial.write(b"lo!").unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
        partial.write(b"lo").unwrap();
        assert_eq!(names(path).len(), 1);
        partial.finish(b"a", HELLO, IfExists::Refuse).unwrap();
        assert_eq!(names(path), ["a"]);
        assert_eq!(fs::read(path.join("a")).unwrap(), b"hello");
    }

    #[test]
    fn a_wrong_content_is_removed_and_the_old_one_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        fs::write(path.join("a"), "old").unwrap();
        let mut partial = open(path, b"1");
        partial.write(b"hallo").unwrap();
        assert!(matches!(
            partial.finish(b"a", HELLO, IfExists::Replace),
            Err(FinishError::WrongHash)
        ));
        assert_eq!(names(path), ["a"]);
        assert_eq!(fs::read(path.join("a")).unwrap(), b"old");
    }

    #[test]
    fn another_version_never_finds_the_bytes_of_this_one() {
        let directory = tempfile::tempdir().unwrap();
        let mut partial = open(directory.path(), b"1");
        partial.write(b"hel").unwrap();
        drop(partial);
        assert_eq!(open(directory.path(), b"2").length(), 0);
        assert_eq!(open(directory.path(), b"1").length(), 3);
    }

    #[test]
    fn a_partial_file_that_is_too_long_is_emptied_and_an_empty_one_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let name = partial_name(b"a", &[b"1"]);
        fs::write(directory.path().join(&name), "too long").unwrap();
        let partial = open(directory.path(), b"1");
        assert_eq!(partial.length(), 0);
        assert_eq!(names(directory.path()), [name]);
        drop(partial);
        assert_eq!(names(directory.path()), [] as [&str; 0]);
    }

    fn open_locked(directory: &Path, size: u64) -> Option<Partial> {
        let directory = File::open(directory).unwrap().into();
        let digest = ContentDigest::Sha256;
        Partial::open_locked(directory, b"a", &[b"1"], size, digest, 0o600).unwrap()
    }

    #[test]
    fn only_the_program_that_has_the_lock_removes_or_empties_a_partial_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let mut owner = open_locked(path, 5).unwrap();
        // The file is empty, and the second program leaves.
        assert!(open_locked(path, 5).is_none());
        assert_eq!(names(path), [partial_name(b"a", &[b"1"])]);
        owner.write(b"hello").unwrap();
        // Longer than the content, as a program with another size would see the file.
        assert!(open_locked(path, 3).is_none());
        owner.finish(b"a", HELLO, IfExists::Refuse).unwrap();
        assert_eq!(names(path), ["a"]);
        // The lock has ended with its owner, and the content with its name is left alone.
        drop(open_locked(path, 5).unwrap());
        assert_eq!(names(path), ["a"]);
        assert_eq!(fs::read(path.join("a")).unwrap(), b"hello");
    }

    #[test]
    fn programs_that_want_one_partial_file_at_the_same_moment_never_remove_each_others() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let Some(mut owner) = open_locked(path, 5) else {
                            continue;
                        };
                        owner.write(b"hello").unwrap();
                        owner.finish(b"a", HELLO, IfExists::Replace).unwrap();
                    }
                });
            }
        });
        assert_eq!(names(path), ["a"]);
    }

    #[test]
    fn a_name_that_exists_is_kept_unless_it_may_be_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        fs::write(path.join("a"), "old").unwrap();
        let mut partial = open(path, b"1");
        partial.write(b"hello").unwrap();
        match partial.finish(b"a", HELLO, IfExists::Refuse) {
            Err(FinishError::Io(error)) => assert_eq!(error.kind(), ErrorKind::AlreadyExists),
            other => panic!("{other:?}"),
        }
        assert_eq!(fs::read(path.join("a")).unwrap(), b"old");
        let partial = open(path, b"1");
        assert_eq!(partial.length(), 5);
        partial.finish(b"a", HELLO, IfExists::Replace).unwrap();
        assert_eq!(fs::read(path.join("a")).unwrap(), b"hello");
    }
}
