//! The sum of a tree: [`Usage`].

use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;

use crate::files::home::size;
use crate::files::refusal::{Code, Refusal};

/// The most directories one inside the other. Each is an open file while it is read.
const DEPTH: usize = 128;

/// What is in a tree, links not followed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// The sizes of all files.
    pub(super) bytes: u64,
    /// Everything that is no directory.
    pub(super) files: u64,
    /// The directories below the root of the tree.
    pub(super) directories: u64,
}

impl Usage {
    /// Sums the tree below an open directory.
    pub(super) fn of(directory: BorrowedFd<'_>) -> Result<Self, Refusal> {
        let mut usage = Self::default();
        usage.add(directory, 0)?;
        Ok(usage)
    }

    fn add(&mut self, directory: BorrowedFd<'_>, depth: usize) -> Result<(), Refusal> {
        if depth > DEPTH {
            return Err(Refusal::new(Code::TooDeep));
        }
        for name in Dir::read_from(directory)? {
            let name = name?;
            let name = name.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let stat = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                stat => stat?,
            };
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {
                    let flags =
                        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    match openat(directory, name, flags, Mode::empty()) {
                        // Removed, or replaced by a file, meanwhile.
                        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                        inner => {
                            self.directories += 1;
                            self.add(std::os::fd::AsFd::as_fd(&inner?), depth + 1)?;
                        }
                    }
                }
                FileType::RegularFile => {
                    self.files += 1;
                    self.bytes = self.bytes.saturating_add(size(&stat));
                }
                _ => self.files += 1,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::fd::AsFd;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_tree_is_summed_without_following_links() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("a/b")).unwrap();
        fs::write(root.path().join("a/b/five"), "12345").unwrap();
        fs::write(root.path().join("two"), "12").unwrap();
        symlink("..", root.path().join("a/up")).unwrap();
        let root = File::open(root.path()).unwrap();
        let expected = Usage {
            bytes: 7,
            files: 3,
            directories: 2,
        };
        assert_eq!(Usage::of(root.as_fd()).unwrap(), expected);
    }

    #[test]
    fn a_tree_that_is_too_deep_is_refused_with_bounded_descriptors() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("d/".repeat(DEPTH));
        fs::create_dir_all(&deep).unwrap();
        let opened = File::open(root.path()).unwrap();
        assert_eq!(Usage::of(opened.as_fd()).unwrap().directories, DEPTH as u64);
        fs::create_dir(deep.join("d")).unwrap();
        let refusal = Usage::of(opened.as_fd()).unwrap_err();
        assert_eq!(refusal.code(), Code::TooDeep);
    }
}
