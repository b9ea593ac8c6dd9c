//! The key of an authenticated link.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The longest key, in bytes. An HMAC is no stronger for a key longer than its hash's block, which
/// has 64 bytes.
pub const MAX_KEY_LENGTH: usize = 4096;

/// The key of an authenticated link: any bytes, at least one and at most [`MAX_KEY_LENGTH`].
///
/// A clone shares the bytes. `{:?}` does not show them.
#[derive(Clone)]
pub struct Key(Arc<[u8]>);

impl Key {
    /// Makes a key of these bytes.
    ///
    /// # Errors
    ///
    /// [`Empty`](KeyError::Empty) and [`TooLong`](KeyError::TooLong).
    pub fn new(bytes: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        match bytes.as_ref() {
            [] => Err(KeyError::Empty),
            bytes if bytes.len() > MAX_KEY_LENGTH => Err(KeyError::TooLong),
            bytes => Ok(Self(bytes.into())),
        }
    }

    /// Reads the key in a file.
    ///
    /// One line end at the end of the file, `\n` or `\r\n`, is not part of the key, since editors
    /// and `echo` add one. All other bytes are, white space too. If other users than the owner may
    /// read the file, the log has a warning.
    ///
    /// # Errors
    ///
    /// [`Read`](KeyError::Read) and [`InFile`](KeyError::InFile), each with the path.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, KeyError> {
        let path = path.as_ref();
        let read = read_bounded(path).map_err(|source| KeyError::Read {
            path: path.to_owned(),
            source,
        });
        Self::new(without_line_end(&read?)).map_err(|source| KeyError::InFile {
            path: path.to_owned(),
            source: Box::new(source),
        })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").finish_non_exhaustive()
    }
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The key has no bytes, so that everybody knows it.
    #[error("the key is empty")]
    Empty,

    /// The key has more than [`MAX_KEY_LENGTH`] bytes.
    #[error("the key is longer than {} bytes", MAX_KEY_LENGTH)]
    TooLong,

    /// The file cannot be opened or read.
    #[error("cannot read the key file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },

    /// The content of the file is no key.
    #[error("the key file {} has no key that can be used: {source}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// Why the content is no key.
        source: Box<KeyError>,
    },
}

/// Reads the content of the file, up to one byte more than the longest key.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let others_may_read = metadata.permissions().mode() & 0o044 != 0;
    // The permissions of a pipe, such as a shell's `<(…)`, have no meaning.
    if metadata.is_file() && others_may_read {
        let path = path.display();
        log::warn!(
            "the key file {path} can be read by others than its owner; run: chmod 600 {path}"
        );
    }
    let longest = MAX_KEY_LENGTH + "\r\n".len();
    let mut bytes = Vec::new();
    file.take(longest as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn without_line_end(bytes: &[u8]) -> &[u8] {
    match bytes {
        [key @ .., b'\r', b'\n'] | [key @ .., b'\n'] => key,
        key => key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_file_with(content: &[u8]) -> Result<Key, KeyError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        std::fs::write(&path, content).unwrap();
        Key::from_file(path)
    }

    #[test]
    fn one_line_end_and_nothing_else_is_removed_from_the_key_in_a_file() {
        for (content, key) in [
            ("Jedan has a big key!", "Jedan has a big key!"),
            ("Jedan has a big key!\n", "Jedan has a big key!"),
            ("Jedan has a big key!\r\n", "Jedan has a big key!"),
            (" key\n\n", " key\n"),
            ("key \r\n\r\n", "key \r\n"),
            ("key\r", "key\r"),
            ("\nkey", "\nkey"),
        ] {
            let read = from_file_with(content.as_bytes()).unwrap();
            assert_eq!(read.bytes(), key.as_bytes());
        }
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_a_key() {
        assert_eq!(
            from_file_with(b"\xff\0\xfe").unwrap().bytes(),
            b"\xff\0\xfe"
        );
    }

    #[test]
    fn an_empty_key_is_refused() {
        assert!(matches!(Key::new(""), Err(KeyError::Empty)));
        for content in [b"".as_slice(), b"\n", b"\r\n"] {
            let error = from_file_with(content).unwrap_err();
            assert!(error.to_string().ends_with("the key is empty"), "{error}");
        }
    }

    #[test]
    fn a_key_of_the_longest_length_passes_and_one_byte_more_does_not() {
        let longest = [b'k'; MAX_KEY_LENGTH];
        let longer = [b'k'; MAX_KEY_LENGTH + 1];
        assert!(Key::new(longest).is_ok());
        assert!(matches!(Key::new(longer), Err(KeyError::TooLong)));
        for line_end in ["", "\n", "\r\n"] {
            let content = [&longest, line_end.as_bytes()].concat();
            assert_eq!(from_file_with(&content).unwrap().bytes(), longest);
            let content = [&longer, line_end.as_bytes()].concat();
            let error = from_file_with(&content).unwrap_err();
            assert!(error.to_string().contains("longer than 4096"), "{error}");
        }
    }

    #[test]
    fn a_file_without_end_is_not_read_for_ever() {
        let error = Key::from_file("/dev/zero").unwrap_err();
        assert!(error.to_string().contains("longer than 4096"), "{error}");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = Key::from_file("/nonexistent/key").unwrap_err();
        assert!(matches!(error, KeyError::Read { .. }));
        let expected = "cannot read the key file /nonexistent/key: ";
        assert!(error.to_string().starts_with(expected), "{error}");
    }

    #[test]
    fn the_debug_form_does_not_show_the_key() {
        let key = Key::new("Jedan").unwrap();
        assert_eq!(format!("{key:?}"), "Key { .. }");
    }
}
