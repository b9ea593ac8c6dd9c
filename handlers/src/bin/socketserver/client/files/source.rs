//! A local file that is sent: [`Source`].

use std::fs::{File, FileType, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::libc;
use socketserver_handlers::files::{ContentDigest, ContentHasher};

use super::trouble::Trouble;
use super::words::quoted;

/// The kernel's clock for the times of files moves at least once in this time: two ticks at 100 Hz.
const TICK: Duration = Duration::from_millis(20);

/// How many times the client waits for the end of the tick in which the file has changed.
const TRIES: u32 = 3;

/// A local file, and the version of it that is sent.
///
/// The hash of a content is computed while the content is sent, so that the hash alone does not
/// show that the file has changed meanwhile. [`check`](Self::check) does.
pub struct Source<'a> {
    name: &'a [u8],
    file: File,
    version: Version,
}

/// What the system notes of a file. Each write changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl<'a> Source<'a> {
    /// Opens a file.
    pub fn open(local: &'a Path) -> Result<Self, Trouble> {
        let name = local.as_os_str().as_encoded_bytes();
        let failed = |error| Trouble::local("read", name, &error);
        // The open does not wait: a FIFO may have no writer.
        let mut options = File::options();
        let file = options
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(local)
            .map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            let what = kind(metadata.file_type());
            return Err(Trouble::Here(format!("{} is {what}", quoted(name))));
        }
        let look = || file.metadata().map(|metadata| Version::of(&metadata));
        let version = settled(look).map_err(failed)?.ok_or_else(|| {
            let name = quoted(name);
            Trouble::Here(format!(
                "{name} is being written; put it again when it is complete"
            ))
        })?;
        Ok(Self {
            name,
            file,
            version,
        })
    }

    /// The path of the file, as the user knows it.
    pub fn name(&self) -> &[u8] {
        self.name
    }

    /// The number of bytes.
    pub fn size(&self) -> u64 {
        self.version.size
    }

    /// Reads the bytes from `offset`.
    pub fn read(&self, buffer: &mut [u8], offset: u64) -> Result<(), Trouble> {
        let read = self.file.read_exact_at(buffer, offset);
        read.map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => self.ended_early(),
            _ => self.unreadable(&error),
        })
    }

    /// Hashes the first `length` bytes.
    pub fn hash(&self, digest: ContentDigest, length: u64) -> Result<ContentHasher, Trouble> {
        let hashed = digest.of_file(&self.file, length, |_| Ok(()));
        match hashed {
            Ok((hasher, seen)) if seen == length => Ok(hasher),
            Ok(_) => Err(self.ended_early()),
            Err(error) => Err(self.unreadable(&error)),
        }
    }

    /// Makes sure that everything that was read belongs to one version of the file, and is all of
    /// it. The files of /proc, for example, have more bytes than their size shows.
    pub fn check(&self) -> Result<(), Trouble> {
        self.check_version()?;
        let behind = self.file.read_at(&mut [0], self.size());
        match behind.map_err(|error| self.unreadable(&error))? {
            0 => Ok(()),
            _ => Err(self.has_other_size()),
        }
    }

    fn check_version(&self) -> Result<(), Trouble> {
        let metadata = self.file.metadata();
        let metadata = metadata.map_err(|error| self.unreadable(&error))?;
        match Version::of(&metadata) == self.version {
            true => Ok(()),
            false => Err(self.changed()),
        }
    }

    /// Why the file has ended before its size.
    fn ended_early(&self) -> Trouble {
        let changed = self.check_version().err();
        changed.unwrap_or_else(|| self.has_other_size())
    }

    fn has_other_size(&self) -> Trouble {
        let name = quoted(self.name);
        Trouble::Here(format!(
            "{name} has another size than the system shows; put a copy of this file"
        ))
    }

    fn changed(&self) -> Trouble {
        let name = quoted(self.name);
        Trouble::Here(format!(
            "{name} has changed while it was sent; put it again"
        ))
    }

    fn unreadable(&self, error: &io::Error) -> Trouble {
        Trouble::local("read", self.name, error)
    }
}

impl Version {
    fn of(metadata: &Metadata) -> Self {
        Self {
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            // No program can set this time back.
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// The version of a file whose last change lies in an earlier tick, so that another change gives
/// another version. `None` if the file has changed during each wait for the end of the tick.
fn settled(mut look: impl FnMut() -> io::Result<Version>) -> io::Result<Option<Version>> {
    let mut version = look()?;
    for _ in 0..TRIES {
        let Some(wait) = left_of_tick(version.changed) else {
            return Ok(Some(version));
        };
        thread::sleep(wait);
        let later = look()?;
        // The tick is over, even if the clock of another machine, whose file this is, is ahead.
        if later == version {
            return Ok(Some(version));
        }
        version = later;
    }
    Ok(left_of_tick(version.changed).is_none().then_some(version))
}

/// How long the tick lasts in which the file has changed. `None` if it is over.
fn left_of_tick((seconds, nanoseconds): (i64, i64)) -> Option<Duration> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let seconds = u64::try_from(seconds).ok()?;
    let nanoseconds = u32::try_from(nanoseconds).ok()?;
    let changed = Duration::new(seconds, nanoseconds);
    let left = (changed + TICK).checked_sub(now)?;
    Some(left.min(TICK))
}

fn kind(file: FileType) -> &'static str {
    match file.is_dir() {
        true => "a directory; give -r to put all that is in it",
        false => "neither a file nor a directory",
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_that_changes_during_each_wait_for_the_tick_has_no_version() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        // The tick is not over as far as the clock shows.
        let second = i64::try_from(now.as_secs()).unwrap() + 3600;
        let version = |size| Version {
            size,
            modified: (second, 0),
            changed: (second, 0),
        };
        // The number of changes, and the size at the end.
        for (changes, expected) in [(0, Some(0)), (1, Some(1)), (2, Some(2)), (u64::MAX, None)] {
            let mut looks = 0..;
            let look = || Ok(version(looks.next().unwrap().min(changes)));
            let settled = settled(look).unwrap();
            assert_eq!(settled.map(|it| it.size), expected, "{changes} changes");
        }
    }

    #[test]
    fn a_file_of_proc_that_has_more_bytes_than_its_size_shows_is_refused() {
        let path = Path::new("/proc/self/status");
        if !path.exists() {
            eprintln!("skipped: /proc is not mounted");
            return;
        }
        let source = Source::open(path).unwrap();
        assert_eq!(source.size(), 0);
        let trouble = source.check().unwrap_err().to_string();
        assert!(trouble.contains("has another size than"), "{trouble}");
        let trouble = source.read(&mut [0; 1 << 20], 0).unwrap_err().to_string();
        assert!(trouble.contains("has another size than"), "{trouble}");
    }

    #[test]
    fn every_kind_of_change_is_noticed_although_it_comes_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        type Change = fn(&Path);
        let changes: [(&str, Change); 4] = [
            ("written in place", |path| {
                let mut file = File::options().write(true).open(path).unwrap();
                file.write_all(b"J").unwrap();
            }),
            ("longer", |path| {
                let mut file = File::options().append(true).open(path).unwrap();
                file.write_all(b"!").unwrap();
            }),
            ("shorter", |path| {
                let file = File::options().write(true).open(path).unwrap();
                file.set_len(3).unwrap();
            }),
            ("with the time of before", |path| {
                let before = fs::metadata(path).unwrap().modified().unwrap();
                fs::write(path, "jello").unwrap();
                let file = File::options().write(true).open(path).unwrap();
                file.set_modified(before).unwrap();
            }),
        ];
        for (what, change) in changes {
            fs::write(&path, "hello").unwrap();
            let source = Source::open(&path).unwrap();
            source.check().unwrap();
            change(&path);
            assert!(source.check().is_err(), "{what}");
        }
    }

    #[test]
    fn reads_change_no_version_and_bytes_beyond_the_end_are_a_change() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        fs::write(&path, "hello").unwrap();
        let source = Source::open(&path).unwrap();
        let mut buffer = [0; 5];
        source.read(&mut buffer, 0).unwrap();
        assert_eq!(&buffer, b"hello");
        assert!(source.read(&mut buffer, 1).is_err());
        assert!(source.hash(ContentDigest::Sha256, 6).is_err());
        source.check().unwrap();
    }
}
