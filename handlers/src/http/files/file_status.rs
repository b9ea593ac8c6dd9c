//! What the system notes of a file: [`FileStatus`].

use rustix::fs::{FileType, Stat};

/// What the system notes of a file: the answer of stat(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileStatus {
    pub(super) device: u64,
    inode: u64,
    /// The type, and the permissions.
    mode: u32,
    owner: (u32, u32),
    /// In bytes.
    pub(super) length: u64,
    /// The time of the last write, in seconds since 1970 and nanoseconds.
    pub(super) modified: (i64, i64),
    /// The time of the last change of the content, the permissions or the names.
    changed: (i64, i64),
}

impl FileStatus {
    pub(super) fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.mode)
    }
}

impl From<&Stat> for FileStatus {
    fn from(stat: &Stat) -> Self {
        let nanoseconds = |count| i64::try_from(count).unwrap_or(0);
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            mode: stat.st_mode,
            owner: (stat.st_uid, stat.st_gid),
            length: u64::try_from(stat.st_size).unwrap_or(0),
            modified: (stat.st_mtime, nanoseconds(stat.st_mtime_nsec)),
            changed: (stat.st_ctime, nanoseconds(stat.st_ctime_nsec)),
        }
    }
}
