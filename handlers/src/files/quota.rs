//! The bytes that the files of a user have, and the bytes that they may have: [`Ledger`].

use std::fs::File;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;

use rustix::fs::{Mode, OFlags, mkdirat, openat};
use rustix::io::Errno;

use crate::files::locks::{Range, Wait, Wanted, set};
use crate::files::refusal::{Code, Refusal};
use crate::files::walk::Usage;

/// The range that is locked while the number is read and written.
const NUMBER: Range = Range::byte(0);

/// The range on which every session of the user has a lock for reading.
const SESSIONS: Range = Range::byte(1);

/// The bytes of the number in the file: 20 digits and a line end.
const DIGITS: usize = 20;

/// How many bytes the files of a user have, with the bytes that uploads have reserved.
///
/// The number is in a file, since the sessions of a user may be in several processes. A session
/// that begins while the user has no other session counts the home again. So a server that was
/// killed leaves no wrong number behind.
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
            let directory = openat(
                home,
                ".",
                OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
            )?;
            let used = match Usage::of(std::os::fd::AsFd::as_fd(&directory)) {
                Ok(usage) => usage.bytes,
                // The user may store nothing more in a tree that is too deep to be counted.
                Err(refusal) if refusal.code() == Code::TooDeep => i64::MAX.unsigned_abs(),
                Err(refusal) => return Err(refusal),
            };
            ledger.write(used)?;
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

    /// Reserves bytes, if the quota has room for them.
    pub(super) fn reserve(&self, bytes: u64) -> Result<(), Refusal> {
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn the_first_session_counts_and_all_sessions_share_the_number() {
        let directory = tempfile::tempdir().unwrap();
        let state = File::open(directory.path()).unwrap();
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("five"), "12345").unwrap();
        let opened = File::open(home.path()).unwrap();
        let open = || Ledger::open(state.as_fd(), "ada", opened.as_fd(), 10).unwrap();
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
}
