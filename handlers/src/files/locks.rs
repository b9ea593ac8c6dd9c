//! Locks between the sessions of all threads and processes: [`Locks`].

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rustix::fs::{Mode, OFlags, openat};
use sha2::{Digest, Sha256};

use crate::files::refusal::{Code, Refusal};

/// The first byte of the locks of names. The bytes before belong to the checks of passwords.
const NAMES: i64 = 1 << 32;

/// The locks of a service: byte ranges of one file. The kernel releases the locks of a session that
/// ends, in whatever way. The locks exclude threads and processes alike (`F_OFD_SETLK`), so that
/// they work under a forking server too.
#[derive(Debug)]
pub(super) struct Locks {
    directory: OwnedFd,
    /// How many passwords are checked at a time.
    checks: u64,
    next_check: AtomicU64,
}

/// A lock, until it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    /// Each lock has an open file of its own, since the locks of one open file exclude nothing.
    _file: File,
}

impl Locks {
    /// The locks of the service that has its state in `directory`.
    pub(super) fn new(directory: OwnedFd) -> Self {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        Self {
            directory,
            checks: processors.min(4) as u64,
            next_check: AtomicU64::new(0),
        }
    }

    /// Waits for one of the few places for the check of a password. Each check takes 19 MiB.
    pub(super) fn wait_for_check(&self) -> io::Result<Lock> {
        // Relaxed: the number only spreads the checks.
        let turn = self.next_check.fetch_add(1, Ordering::Relaxed);
        // A forked child begins with the number of its parent, and its process is another.
        let place = (turn + u64::from(std::process::id())) % self.checks;
        let file = self.open()?;
        set(
            &file,
            Range::byte(place.cast_signed()),
            Wanted::Write,
            Wait::Yes,
        )?;
        Ok(Lock { _file: file })
    }

    /// The lock of a name in a directory. `None` if another session has it.
    fn try_name(&self, directory: impl AsFd, name: &[u8]) -> io::Result<Option<Lock>> {
        let stat = rustix::fs::fstat(directory)?;
        let hash = Sha256::new()
            .chain_update(stat.st_dev.to_le_bytes())
            .chain_update(stat.st_ino.to_le_bytes())
            .chain_update(name)
            .finalize();
        let start = hash
            .iter()
            .take(8)
            .fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        // Two names may have the same place, and would then be busy for each other.
        let place = NAMES + (start >> 2).cast_signed();
        let file = self.open()?;
        Ok(
            set(&file, Range::byte(place), Wanted::Write, Wait::No)?
                .then_some(Lock { _file: file }),
        )
    }

    /// The lock of a name in a directory. So a name that an upload replaces stays until then, and
    /// its bytes are given back once.
    ///
    /// # Errors
    ///
    /// [`Code::Busy`] if another session has the lock, and those of the system.
    pub(super) fn name(&self, directory: impl AsFd, name: &[u8]) -> Result<Lock, Refusal> {
        let lock = self.try_name(directory, name)?;
        lock.ok_or_else(|| Refusal::new(Code::Busy))
    }

    fn open(&self) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        Ok(openat(&self.directory, "locks", flags, Mode::RUSR | Mode::WUSR)?.into())
    }
}

/// The bytes of a lock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    start: i64,
    length: i64,
}

impl Range {
    pub(super) const fn byte(place: i64) -> Self {
        Self {
            start: place,
            length: 1,
        }
    }
}

/// What a lock excludes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted {
    /// Nothing: the lock is given back.
    Nothing,
    /// The lock excludes writers.
    Read,
    /// The lock excludes readers and writers.
    Write,
}

/// Whether to wait for others.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wait {
    Yes,
    No,
}

/// Sets the lock of an open file on a range. Returns false if somebody else has it.
pub(super) fn set(file: &File, range: Range, wanted: Wanted, wait: Wait) -> io::Result<bool> {
    let kind = match wanted {
        Wanted::Nothing => libc::F_UNLCK,
        Wanted::Read => libc::F_RDLCK,
        Wanted::Write => libc::F_WRLCK,
    };
    let lock = libc::flock {
        l_type: kind.try_into().expect("a kind of lock is a small number"),
        l_whence: libc::SEEK_SET.try_into().expect("SEEK_SET is 0"),
        l_start: range.start,
        l_len: range.length,
        l_pid: 0,
    };
    loop {
        let argument = match wait {
            Wait::Yes => FcntlArg::F_OFD_SETLKW(&lock),
            Wait::No => FcntlArg::F_OFD_SETLK(&lock),
        };
        match fcntl(file, argument) {
            Ok(_) => return Ok(true),
            Err(Errno::EAGAIN | Errno::EACCES) => return Ok(false),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locks(directory: &tempfile::TempDir) -> Locks {
        Locks::new(File::open(directory.path()).unwrap().into())
    }

    #[test]
    fn a_name_is_locked_once_until_its_lock_is_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let locks = locks(&directory);
        let place = File::open(directory.path()).unwrap();
        let lock = locks.try_name(&place, b"a").unwrap();
        assert!(lock.is_some());
        assert!(locks.try_name(&place, b"a").unwrap().is_none());
        assert!(locks.try_name(&place, b"b").unwrap().is_some());
        drop(lock);
        assert!(locks.try_name(&place, b"a").unwrap().is_some());
    }

    #[test]
    fn no_more_passwords_are_checked_at_a_time_than_there_are_places() {
        let directory = tempfile::tempdir().unwrap();
        let locks = locks(&directory);
        let held = Vec::from_iter((0..locks.checks).map(|_| locks.wait_for_check().unwrap()));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| locks.wait_for_check().map(drop));
            let file = locks.open().unwrap();
            for place in 0..locks.checks {
                let range = Range::byte(place.cast_signed());
                assert!(!set(&file, range, Wanted::Write, Wait::No).unwrap());
            }
            assert!(!waiting.is_finished());
            drop(held);
            waiting.join().unwrap().unwrap();
        });
    }
}
