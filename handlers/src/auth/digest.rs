//! The hash functions of the HMAC.

use std::fmt;
use std::str::FromStr;

use hmac::{EagerHash, Hmac, KeyInit, Mac};
use md5::Md5;
use sha2::Sha256;

use crate::auth::key::Key;

/// The hash function of the answer to a challenge. Both sides have to use the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Digest {
    /// MD5, 16 bytes: the tutorial's, from Python's `hmac.new(key, challenge)` before 3.8. HMAC-MD5
    /// is not broken, but MD5 is, so choose SHA-256 for new programs.
    Md5,
    /// SHA-256, 32 bytes: Python's `hmac.new(key, challenge, 'sha256')`.
    #[default]
    Sha256,
}

impl Digest {
    /// Every digest.
    pub const ALL: [Self; 2] = [Self::Md5, Self::Sha256];

    /// The length of an answer, in bytes.
    #[must_use]
    pub const fn length(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha256 => 32,
        }
    }

    /// The name, as [`FromStr`] parses it: `md5` or `sha256`, the names of Python's `hashlib`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha256 => "sha256",
        }
    }

    /// The right answer.
    pub(super) fn answer(self, key: &Key, challenge: &[u8]) -> Vec<u8> {
        match self {
            Self::Md5 => answer::<Md5>(key, challenge),
            Self::Sha256 => answer::<Sha256>(key, challenge),
        }
    }

    /// True if the answer is right. The comparison takes the same time wherever the first wrong
    /// byte is.
    pub(super) fn verify(self, key: &Key, challenge: &[u8], candidate: &[u8]) -> bool {
        match self {
            Self::Md5 => verify::<Md5>(key, challenge, candidate),
            Self::Sha256 => verify::<Sha256>(key, challenge, candidate),
        }
    }
}

fn mac<D: EagerHash>(key: &Key, challenge: &[u8]) -> Hmac<D> {
    let mac = Hmac::new_from_slice(key.bytes()).expect("a key of an HMAC may have any length");
    mac.chain_update(challenge)
}

fn answer<D: EagerHash>(key: &Key, challenge: &[u8]) -> Vec<u8> {
    mac::<D>(key, challenge).finalize().into_bytes().to_vec()
}

fn verify<D: EagerHash>(key: &Key, challenge: &[u8], candidate: &[u8]) -> bool {
    mac::<D>(key, challenge).verify_slice(candidate).is_ok()
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Digest {
    type Err = UnknownDigest;

    fn from_str(name: &str) -> Result<Self, UnknownDigest> {
        let mut all = Self::ALL.into_iter();
        all.find(|digest| digest.name() == name)
            .ok_or_else(|| UnknownDigest(name.to_owned()))
    }
}

/// A text that names no [`Digest`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no digest {0:?}; choose md5 or sha256")]
pub struct UnknownDigest(String);

#[cfg(test)]
mod tests {
    use super::*;

    /// Python's `hmac.new(b'Jedan has a big key!', bytes(range(32)), name).hexdigest()`.
    const FROM_PYTHON: [(Digest, &str); 2] = [
        (Digest::Md5, "7ec2e52c5cf839ff570620bc2bf0b465"),
        (
            Digest::Sha256,
            "56beb5875b1968dfce7afd26a614ad9b93d19908a68ea395a07795667aa10dd3",
        ),
    ];

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn answers_are_those_of_python_s_hmac() {
        let key = Key::new("Jedan has a big key!").unwrap();
        let challenge = Vec::from_iter(0..32);
        for (digest, expected) in FROM_PYTHON {
            let answer = digest.answer(&key, &challenge);
            assert_eq!(hex(&answer), expected);
            assert_eq!(answer.len(), digest.length());
            assert!(digest.verify(&key, &challenge, &answer));
        }
    }

    #[test]
    fn an_answer_with_any_bit_changed_is_wrong_and_so_is_one_of_another_length() {
        let key = Key::new("key").unwrap();
        for digest in Digest::ALL {
            let answer = digest.answer(&key, b"challenge");
            for bit in 0..answer.len() * 8 {
                let mut changed = answer.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                assert!(!digest.verify(&key, b"challenge", &changed));
            }
            let short = &answer[..answer.len() - 1];
            let long = [&answer[..], &[0]].concat();
            for changed in [b"".as_slice(), short, &long] {
                assert!(!digest.verify(&key, b"challenge", changed));
            }
        }
    }

    #[test]
    fn the_answer_to_one_challenge_or_with_one_key_is_wrong_for_another() {
        let [key, other] = ["key", "other"].map(|key| Key::new(key).unwrap());
        for digest in Digest::ALL {
            let answer = digest.answer(&key, b"challenge");
            assert!(!digest.verify(&key, b"another", &answer));
            assert!(!digest.verify(&other, b"challenge", &answer));
        }
    }

    #[test]
    fn a_name_is_parsed_as_it_is_shown_and_any_other_is_answered_with_the_names() {
        for digest in Digest::ALL {
            assert_eq!(digest.to_string().parse(), Ok(digest));
        }
        let error = "sha1".parse::<Digest>().unwrap_err().to_string();
        assert_eq!(error, "there is no digest \"sha1\"; choose md5 or sha256");
    }
}
