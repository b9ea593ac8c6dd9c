//! Directories whose paths are short enough for the path of a Unix socket.

use std::path::Path;

use tempfile::TempDir;

/// The most bytes of such a directory's path: the path of a socket has at most 107 bytes on Linux,
/// and 103 elsewhere.
const LONGEST: usize = 60;

/// Makes a new directory for sockets: in the directory for temporary files, or in another directory
/// if that path is too long.
///
/// # Panics
///
/// If no directory can be made.
#[must_use]
pub fn directory() -> TempDir {
    let usual = std::env::temp_dir();
    let places = [&*usual, Path::new("/tmp"), Path::new("/dev/shm")];
    let mut short = places
        .into_iter()
        .filter(|it| it.as_os_str().len() <= LONGEST);
    short
        .find_map(|place| tempfile::tempdir_in(place).ok())
        .expect("a directory with a short path, such as /tmp, can be written to")
}
