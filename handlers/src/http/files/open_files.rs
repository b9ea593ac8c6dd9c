//! Small files that stay open between requests: [`OpenFiles`].

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use rustix::fs::{AtFlags, statat};

use super::file_status::FileStatus;

/// The most files that stay open. The command leaves a hundred descriptors to the handlers where
/// the system's bound is 1,024.
const MOST: usize = 32;

/// The most bytes of a file that stays open. While a file is open, its bytes stay on the disk even
/// if the file is removed.
const LONGEST: u64 = 64 * 1024;

/// The small files that were served last. They stay open, since open and close cost a tenth of a
/// request. nginx's `open_file_cache`.
///
/// Such a file is served only if a look at its path finds the same file with the same status. The
/// bytes are read for each request.
#[derive(Debug, Default)]
pub(super) struct OpenFiles {
    latest: Mutex<Latest>,
}

#[derive(Debug, Default)]
struct Latest {
    files: HashMap<OsString, OpenFile>,
    /// The number of uses so far.
    uses: u64,
}

#[derive(Debug)]
struct OpenFile {
    file: Arc<File>,
    status: FileStatus,
    /// The number of uses of all files up to the last use of this one.
    last_use: u64,
}

impl OpenFiles {
    /// The open file that is at a path below the directory. `None` if that file is not open, or if
    /// its status has changed since its open.
    pub(super) fn find(
        &self,
        directory: impl AsFd,
        path: &Path,
    ) -> Option<(Arc<File>, FileStatus)> {
        let name = path.as_os_str();
        let (file, status) = self.latest()?.find(name)?;
        // Without the lock: a look at a disk may take long.
        let present = statat(directory, path, AtFlags::empty());
        if present.is_ok_and(|present| FileStatus::from(&present) == status) {
            return Some((file, status));
        }
        self.latest()?.files.remove(name);
        None
    }

    /// Lets a file stay open, if the file is small. When there are too many, the file closes whose
    /// last use is the longest ago.
    pub(super) fn keep(&self, path: &Path, file: &Arc<File>, status: FileStatus) {
        if status.length <= LONGEST
            && let Some(mut latest) = self.latest()
        {
            latest.keep(path.as_os_str(), file.clone(), status);
        }
    }

    /// Closes the files that no request uses. Returns whether there were files.
    pub(super) fn close(&self) -> bool {
        let files = self
            .latest()
            .map(|mut latest| std::mem::take(&mut latest.files));
        files.is_some_and(|files| !files.is_empty())
    }

    /// `None` if another thread is at work here, or was when the process was forked.
    fn latest(&self) -> Option<MutexGuard<'_, Latest>> {
        self.latest.try_lock().ok()
    }
}

impl Latest {
    fn find(&mut self, name: &OsStr) -> Option<(Arc<File>, FileStatus)> {
        let open = self.files.get_mut(name)?;
        self.uses += 1;
        open.last_use = self.uses;
        Some((open.file.clone(), open.status))
    }

    fn keep(&mut self, name: &OsStr, file: Arc<File>, status: FileStatus) {
        if self.files.len() >= MOST {
            let oldest = self.files.iter().min_by_key(|(_, open)| open.last_use);
            if let Some(name) = oldest.map(|(name, _)| name.clone()) {
                self.files.remove(&name);
            }
        }
        self.uses += 1;
        let open = OpenFile {
            file,
            status,
            last_use: self.uses,
        };
        self.files.insert(name.to_owned(), open);
    }
}
