//! The entries of a directory that a listing shows.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::Dir;

use super::request_path::is_hidden;
use super::root::Directory;

/// The most entries of a listing.
const MOST: usize = 10_000;

/// A file or a directory in a listing.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: OsString,
    pub(super) is_directory: bool,
    pub(super) length: u64,
    pub(super) modified: SystemTime,
}

/// The entries of a directory, in an order.
#[derive(Debug)]
pub(super) struct Entries {
    pub(super) entries: Vec<Entry>,
    /// Whether the directory has more entries than a listing has.
    pub(super) are_incomplete: bool,
}

/// The property by which entries are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Key {
    #[default]
    Name,
    Size,
    Time,
}

/// An order of entries. Directories come first in every order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Order {
    pub(super) key: Key,
    pub(super) is_reversed: bool,
}

impl Key {
    pub(super) const ALL: [Self; 3] = [Self::Name, Self::Size, Self::Time];

    /// The key in the query of a URL.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Size => "size",
            Self::Time => "time",
        }
    }
}

impl Order {
    /// The order in the query of a URL: `sort=size&order=desc`. Unknown keys and values are
    /// skipped.
    pub(super) fn parse(query: &str) -> Self {
        let mut order = Self::default();
        for (name, value) in query.split('&').filter_map(|it| it.split_once('=')) {
            match name {
                "sort" => {
                    let key = Key::ALL.into_iter().find(|key| key.name() == value);
                    order.key = key.unwrap_or_default();
                }
                "order" => order.is_reversed = value == "desc",
                _ => {}
            }
        }
        order
    }
}

impl Entries {
    /// Reads the directory at `path` below `root`. The result lacks hidden files, and links that
    /// lead nowhere or out of the root.
    ///
    /// # Errors
    ///
    /// If the directory cannot be read.
    pub(super) fn read(
        root: &Directory,
        path: &Path,
        directory: OwnedFd,
        order: Order,
    ) -> io::Result<Self> {
        let mut entries = Vec::new();
        let mut are_incomplete = false;
        for entry in Dir::new(directory)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if is_hidden(name) {
                continue;
            }
            let Ok(metadata) = root.look(&path.join(name)) else {
                continue;
            };
            if !metadata.is_file() && !metadata.is_dir() {
                continue;
            }
            if entries.len() == MOST {
                are_incomplete = true;
                break;
            }
            entries.push(Entry {
                name: name.to_owned(),
                is_directory: metadata.is_dir(),
                length: metadata.len(),
                modified: metadata.modified()?,
            });
        }
        sort(&mut entries, order);
        Ok(Self {
            entries,
            are_incomplete,
        })
    }
}

fn sort(entries: &mut [Entry], order: Order) {
    // By name first: the sorts are stable, so that entries of one size are in the order of names.
    entries.sort_by_cached_key(|entry| (entry.name.to_ascii_lowercase(), entry.name.clone()));
    match order.key {
        Key::Name => {}
        // The size of a directory is not that of its files.
        Key::Size => entries.sort_by_key(|entry| (!entry.is_directory, entry.length)),
        Key::Time => entries.sort_by_key(|entry| entry.modified),
    }
    if order.is_reversed {
        entries.reverse();
    }
    entries.sort_by_key(|entry| !entry.is_directory);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn names(query: &str) -> Vec<String> {
        let entry = |name: &str, is_directory, length, age| Entry {
            name: name.into(),
            is_directory,
            length,
            modified: SystemTime::now() - Duration::from_secs(age),
        };
        let mut entries = [
            entry("b", false, 1, 3),
            entry("A", false, 2, 2),
            entry("c", false, 2, 1),
            entry("z", true, 9, 4),
        ];
        sort(&mut entries, Order::parse(query));
        let names = entries
            .iter()
            .map(|it| it.name.to_str().unwrap().to_owned());
        names.collect()
    }

    #[test]
    fn directories_come_first_and_the_query_orders_the_rest() {
        assert_eq!(names(""), ["z", "A", "b", "c"]);
        assert_eq!(names("sort=name&order=desc"), ["z", "c", "b", "A"]);
        assert_eq!(names("sort=size"), ["z", "b", "A", "c"]);
        assert_eq!(names("sort=size&order=desc"), ["z", "c", "A", "b"]);
        assert_eq!(names("sort=time&order=asc"), ["z", "b", "A", "c"]);
        assert_eq!(names("sort=colour&order=up&&=&x"), ["z", "A", "b", "c"]);
    }
}
