//! The bytes that the files of a user have, and the bytes that they may have: [`Ledger`].

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{Mode, OFlags, mkdirat, openat};
use rustix::io::Errno;

use crate::files::home::readable;
use crate::files::locks::{Range, Wait, Wanted, set};
use crate::files::refusal::{Code, Refusal};
use crate::files::walk::Usage;

/// The range that is locked while the number is read and written.
const NUMBER: Range = Range::byte(0);

/// The range on which every session of the user has a lock for reading.
const SESSIONS: Range = Range::byte(1);

/// The range on which a session has a lock for reading while it changes the files and the number.
const CHANGES: Range = Range::byte(2);

/// The bytes of the number in the file: 20 digits and a line end.
const DIGITS: usize = 20;

/// How many bytes the files of a user have, with the bytes that uploads have reserved.
///
/// The number is in a file, since the sessions of a user may be in several processes. A session
/// counts the home again if it begins while the user has no other session, and, before it refuses
/// an upload, if no other session changes anything. So a process that was killed leaves no wrong
/// number behind.
#[derive(Debug)]
pub(super) struct Ledger {
    file: File,
    limit: u64,
}

impl Ledger {
    /// Opens the ledger of a user whose home is `home`.
    pub(super) fn open(
        state: BorrowedFd<'_>,
        user: &str,
        home: BorrowedFd<'_>,
        limit: u64,
    ) -> Result<Self, Refusal> {
        match mkdirat(state, "quota", Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = File::from(openat(state, format!("quota/{user}"), flags, mode)?);
        let ledger = Self { file, limit };
        if set(&ledger.file, SESSIONS, Wanted::Write, Wait::No)? {
            ledger.write(count(home)?)?;
        }
        // Waits while another session counts.
        set(&ledger.file, SESSIONS, Wanted::Read, Wait::Yes)?;
        Ok(ledger)
    }

    /// The most bytes.
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// The bytes in use, those reserved included.
    pub(super) fn used(&self) -> Result<u64, Refusal> {
        self.change(Ok)
    }

    /// Begins a change of the files and of the number, which waits while a session counts.
    pub(super) fn begin_change(&self) -> Result<Change<'_>, Refusal> {
        set(&self.file, CHANGES, Wanted::Read, Wait::Yes)?;
        Ok(Change { ledger: self })
    }

    /// Reserves bytes, if the quota has room for them.
    fn reserve(&self, bytes: u64) -> Result<(), Refusal> {
        self.change(|used| {
            let used = used.saturating_add(bytes);
            match bytes > 0 && used > self.limit {
                true => Err(Refusal::new(Code::Quota)),
                false => Ok(used),
            }
        })
        .map(drop)
    }

    /// Gives bytes back.
    pub(super) fn release(&self, bytes: u64) -> Result<(), Refusal> {
        self.change(|used| Ok(used.saturating_sub(bytes))).map(drop)
    }

    /// Changes the number under its lock, and returns the new number.
    fn change(&self, change: impl FnOnce(u64) -> Result<u64, Refusal>) -> Result<u64, Refusal> {
        set(&self.file, NUMBER, Wanted::Write, Wait::Yes)?;
        let changed = self.read().and_then(change).and_then(|used| {
            self.write(used)?;
            Ok(used)
        });
        set(&self.file, NUMBER, Wanted::Nothing, Wait::No)?;
        changed
    }

    fn read(&self) -> Result<u64, Refusal> {
        let mut digits = [0; DIGITS];
        self.file.read_exact_at(&mut digits, 0)?;
        let number = str::from_utf8(&digits).ok().and_then(|it| it.parse().ok());
        number.ok_or_else(|| {
            let what = "the number of bytes of this user is damaged; it is counted anew when no \
                        session of the user is left";
            Refusal::because(Code::Unavailable, what)
        })
    }

    fn write(&self, used: u64) -> Result<(), Refusal> {
        Ok(self
            .file
            .write_all_at(format!("{used:020}\n").as_bytes(), 0)?)
    }
}

/// A change of the files and of the number, which are counted when it has ended.
#[derive(Debug)]
pub(super) struct Change<'a> {
    ledger: &'a Ledger,
}

impl Change<'_> {
    /// Reserves bytes, if the quota has room for them. Before it refuses, it counts the home again,
    /// unless another session changes something: a process that was killed may have left a
    /// reservation.
    pub(super) fn reserve(&self, bytes: u64, home: BorrowedFd<'_>) -> Result<(), Refusal> {
        let ledger = self.ledger;
        match ledger.reserve(bytes) {
            Err(refusal) if refusal.code() == Code::Quota && self.count_again(home)? => {
                ledger.reserve(bytes)
            }
            reserved => reserved,
        }
    }

    /// Gives bytes back.
    pub(super) fn release(&self, bytes: u64) -> Result<(), Refusal> {
        self.ledger.release(bytes)
    }

    /// Counts the home, unless another session changes something. Returns whether it has counted.
    fn count_again(&self, home: BorrowedFd<'_>) -> Result<bool, Refusal> {
        let file = &self.ledger.file;
        if !set(file, CHANGES, Wanted::Write, Wait::No)? {
            return Ok(false);
        }
        let counted = count(home).and_then(|used| self.ledger.change(|_| Ok(used)));
        set(file, CHANGES, Wanted::Read, Wait::Yes)?;
        counted.map(|_| true)
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        // If this fails, the lock ends with the session.
        let _ = set(&self.ledger.file, CHANGES, Wanted::Nothing, Wait::No);
    }
}

/// The bytes of the files in a home.
fn count(home: BorrowedFd<'_>) -> Result<u64, Refusal> {
    match Usage::of(readable(home)?.as_fd()) {
        Ok(usage) => Ok(usage.bytes),
        // The user may store nothing more in a tree that is too deep to be counted.
        Err(refusal) if refusal.code() == Code::TooDeep => Ok(i64::MAX.unsigned_abs()),
        Err(refusal) => Err(refusal),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    /// A home with a file of five bytes, and the state of its service.
    struct Site {
        home: File,
        state: File,
        _directories: [TempDir; 2],
    }

    impl Site {
        fn new() -> Self {
            let directories = [(); 2].map(|()| tempfile::tempdir().unwrap());
            fs::write(directories[0].path().join("five"), "12345").unwrap();
            let [home, state] = directories
                .each_ref()
                .map(|directory| File::open(directory.path()).unwrap());
            Self {
                home,
                state,
                _directories: directories,
            }
        }

        /// The ledger of a session, whose limit is ten bytes.
        fn open(&self) -> Ledger {
            Ledger::open(self.state.as_fd(), "ada", self.home.as_fd(), 10).unwrap()
        }
    }

    #[test]
    fn the_first_session_counts_and_all_sessions_share_the_number() {
        let site = Site::new();
        let open = || site.open();
        let one = open();
        assert_eq!(one.used().unwrap(), 5);
        one.reserve(4).unwrap();
        let other = open();
        assert_eq!(other.used().unwrap(), 9);
        let refusal = other.reserve(2).unwrap_err();
        assert_eq!(refusal.code(), Code::Quota);
        other.reserve(1).unwrap();
        one.release(4).unwrap();
        assert_eq!(other.used().unwrap(), 6);
        // As after a server that was killed with a reservation.
        drop((one, other));
        assert_eq!(open().used().unwrap(), 5);
    }

    #[test]
    fn the_home_is_counted_before_a_refusal_unless_another_session_changes_something() {
        let site = Site::new();
        let open = || site.open();
        let (one, other, killed) = (open(), open(), open());
        let home = site.home.as_fd();
        let upload = killed.begin_change().unwrap();
        upload.reserve(4, home).unwrap();
        let change = one.begin_change().unwrap();
        // The upload is under way.
        assert_eq!(change.reserve(3, home).unwrap_err().code(), Code::Quota);
        // Its process is killed: the kernel releases the locks, and the number stays.
        drop(upload);
        drop(killed);
        assert_eq!(other.used().unwrap(), 9);
        assert_eq!(change.reserve(6, home).unwrap_err().code(), Code::Quota);
        change.reserve(3, home).unwrap();
        assert_eq!(other.used().unwrap(), 8);
        // The session's own change lasts.
        let second = other.begin_change().unwrap();
        assert_eq!(second.reserve(3, home).unwrap_err().code(), Code::Quota);
        assert_eq!(one.used().unwrap(), 8);
    }
}
