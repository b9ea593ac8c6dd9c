//! The key of an authenticated link.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::unistd::geteuid;

/// A key of fewer bytes causes a warning. 16 bytes are 128 bits.
const SHORTEST_SAFE: usize = 16;

/// The byte order marks of UTF-8 and UTF-16.
const BYTE_ORDER_MARKS: [&[u8]; 3] = [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"];

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
    /// and `echo` add one. All other bytes are part of the key, white space too.
    ///
    /// The log has a warning if users other than the owner may read the file, and if the owner is
    /// neither this user nor root. The log also has a warning if the key has fewer than 16 bytes,
    /// since short keys can be guessed.
    ///
    /// # Errors
    ///
    /// [`Read`](KeyError::Read), [`InFile`](KeyError::InFile) and
    /// [`Writable`](KeyError::Writable), each with the path.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, KeyError> {
        let path = path.as_ref();
        let in_file = |source| KeyError::InFile {
            path: path.to_owned(),
            source: Box::new(source),
        };
        let read = read_bounded(path)?;
        if BYTE_ORDER_MARKS.iter().any(|mark| read.starts_with(mark)) {
            return Err(in_file(KeyError::ByteOrderMark));
        }
        let key = Self::new(without_line_end(&read)).map_err(in_file)?;
        if key.0.len() < SHORTEST_SAFE {
            log::warn!(
                "the key in {} has {} bytes, and can be guessed; use at least {SHORTEST_SAFE}: \
                 head -c 32 /dev/urandom | base64",
                path.display(),
                key.0.len()
            );
        }
        Ok(key)
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

/// Why a key cannot be used.
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

    /// Other users than the owner may write the file, and so choose the key.
    #[error(
        "the key file {path} can be written by others than its owner; run: chmod 600 {path}",
        path = path.display()
    )]
    Writable {
        /// The file.
        path: PathBuf,
    },

    /// The file begins with a byte order mark, which editors add and do not show: the peer's file
    /// may have none.
    #[error("a byte order mark is before the key; save the file without one, as plain UTF-8")]
    ByteOrderMark,

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
fn read_bounded(path: &Path) -> Result<Vec<u8>, KeyError> {
    let failed = |source| KeyError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    // The permissions of a pipe, such as a shell's `<(…)`, have no meaning.
    if metadata.is_file() {
        let (mode, owner) = (metadata.permissions().mode(), metadata.uid());
        let shown = path.display();
        if mode & 0o022 != 0 {
            return Err(KeyError::Writable {
                path: path.to_owned(),
            });
        }
        if mode & 0o044 != 0 {
            log::warn!(
                "the key file {shown} can be read by others than its owner; run: chmod 600 {shown}"
            );
        }
        if owner != 0 && owner != geteuid().as_raw() {
            log::warn!("the key file {shown} belongs to user {owner}, who can change the key");
        }
    }
    let longest = MAX_KEY_LENGTH + "\r\n".len();
    let mut bytes = Vec::new();
    let mut bounded = file.take(longest as u64 + 1);
    bounded.read_to_end(&mut bytes).map_err(failed)?;
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
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
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
    fn a_key_file_that_others_may_write_is_refused() {
        for mode in [0o620, 0o602, 0o666] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("key");
            std::fs::write(&path, "Jedan has a big key!").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let error = Key::from_file(&path).unwrap_err();
            assert!(matches!(error, KeyError::Writable { .. }), "{error}");
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
    }

    #[test]
    fn a_byte_order_mark_before_the_key_is_refused() {
        for content in [
            b"\xef\xbb\xbfJedan has a big key!\n".as_slice(),
            b"\xff\xfeJ\0e\0",
            b"\xfe\xff\0J\0e",
        ] {
            let error = from_file_with(content).unwrap_err().to_string();
            assert!(error.contains("a byte order mark"), "{error}");
        }
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
