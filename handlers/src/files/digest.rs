//! The hash of a content: [`ContentDigest`] and [`ContentHasher`].

use std::fmt::{self, Write};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// The bytes that are read at a time.
const PIECE: usize = 128 * 1024;

/// The hash function of a transfer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContentDigest {
    /// SHA-256: detects every change.
    #[default]
    Sha256,
    /// MD5, the tutorial's: detects errors of the transfer, but no change that was made on purpose.
    Md5,
}

impl ContentDigest {
    /// Every digest.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Md5];

    /// The name, as in Python's `hashlib`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Md5 => "md5",
        }
    }

    /// True for a hash in the protocol's form: lower-case hexadecimal digits of the right number.
    #[must_use]
    pub fn is_hash(self, text: &str) -> bool {
        let length = match self {
            Self::Sha256 => 64,
            Self::Md5 => 32,
        };
        let is_digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        text.len() == length && text.bytes().all(is_digit)
    }

    /// Begins a hash.
    #[must_use]
    pub fn hasher(self) -> ContentHasher {
        ContentHasher(match self {
            Self::Sha256 => Inner::Sha256(Sha256::new()),
            Self::Md5 => Inner::Md5(Md5::new()),
        })
    }

    /// Hashes the first `length` bytes of a file, or all if it is shorter. Returns the hasher, and
    /// how many bytes it has seen. `seen` is called after each piece, with its length.
    ///
    /// # Errors
    ///
    /// Returns the errors of a read, and of `seen`.
    pub fn of_file<E: From<io::Error>>(
        self,
        file: &File,
        length: u64,
        mut seen: impl FnMut(usize) -> Result<(), E>,
    ) -> Result<(ContentHasher, u64), E> {
        let mut hasher = self.hasher();
        let mut buffer = vec![0; piece(length)];
        let mut offset = 0;
        while offset < length {
            let count = piece(length - offset);
            match file.read_at(&mut buffer[..count], offset) {
                Ok(0) => break,
                Ok(count) => {
                    hasher.update(&buffer[..count]);
                    offset += count as u64;
                    seen(count)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok((hasher, offset))
    }
}

fn piece(length: u64) -> usize {
    usize::try_from(length).unwrap_or(PIECE).min(PIECE)
}

/// A hash under way.
#[derive(Clone)]
pub struct ContentHasher(Inner);

#[derive(Clone)]
enum Inner {
    Sha256(Sha256),
    Md5(Md5),
}

impl ContentHasher {
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Inner::Sha256(hasher) => hasher.update(bytes),
            Inner::Md5(hasher) => hasher.update(bytes),
        }
    }

    /// The hash of what was added so far, in hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> String {
        match self.clone().0 {
            Inner::Sha256(hasher) => hex(&hasher.finalize()),
            Inner::Md5(hasher) => hex(&hasher.finalize()),
        }
    }
}

impl fmt::Debug for ContentHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContentHasher").finish_non_exhaustive()
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(text, "{byte:02x}").expect("writing to a String succeeds");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hashes_are_those_of_python_s_hashlib() {
        for (digest, hash) in [
            (
                ContentDigest::Sha256,
                "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
            ),
            (ContentDigest::Md5, "5d41402abc4b2a76b9719d911017c592"),
        ] {
            let mut hasher = digest.hasher();
            hasher.update(b"hel");
            hasher.update(b"lo");
            assert_eq!(hasher.hex(), hash);
            assert!(digest.is_hash(hash));
            assert!(!digest.is_hash(&hash[1..]));
            assert!(!digest.is_hash(&hash.to_uppercase()));
            let name = serde_json::to_value(digest).unwrap();
            assert_eq!(name, digest.name());
        }
    }
}
