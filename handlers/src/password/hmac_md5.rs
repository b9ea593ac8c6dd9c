//! A password stored as in the tutorial.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;

use crate::password::PasswordError;

/// The length of the key of a user, in bytes, as in the tutorial's authenticated link.
const KEY_LENGTH: usize = 32;

/// A password as the tutorial stores it: a random key for each user, and the HMAC-MD5 of the
/// password under that key, in Python `hmac.new(key, password, 'md5').digest()`.
///
/// This type is for study. For a real program there is
/// [`StoredPassword`](crate::password::StoredPassword).
#[derive(Clone, PartialEq, Eq)]
pub struct TutorialPassword {
    key: [u8; KEY_LENGTH],
    digest: [u8; 16],
}

impl TutorialPassword {
    /// Makes a random key for the user, and the digest of the password under it.
    ///
    /// # Errors
    ///
    /// [`NoRandomness`](PasswordError::NoRandomness).
    pub fn new(password: impl AsRef<[u8]>) -> Result<Self, PasswordError> {
        let mut key = [0; KEY_LENGTH];
        getrandom::fill(&mut key).map_err(PasswordError::NoRandomness)?;
        let digest = mac(&key, password.as_ref()).finalize().into_bytes().into();
        Ok(Self { key, digest })
    }

    /// The password with the two stored parts.
    #[must_use]
    pub fn from_parts(key: [u8; KEY_LENGTH], digest: [u8; 16]) -> Self {
        Self { key, digest }
    }

    /// The two parts that are stored: the user's key, and the digest.
    #[must_use]
    pub fn parts(&self) -> ([u8; KEY_LENGTH], [u8; 16]) {
        (self.key, self.digest)
    }

    /// Returns true if this is the password. The comparison takes the same time wherever the first
    /// difference is.
    #[must_use]
    pub fn is(&self, password: impl AsRef<[u8]>) -> bool {
        let candidate = mac(&self.key, password.as_ref());
        candidate.verify_slice(&self.digest).is_ok()
    }
}

fn mac(key: &[u8], password: &[u8]) -> Hmac<Md5> {
    let mac = Hmac::new_from_slice(key).expect("a key of an HMAC may have any length");
    mac.chain_update(password)
}

impl fmt::Debug for TutorialPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TutorialPassword").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_python_s_hmac() {
        let key = std::array::from_fn(|index| index as u8);
        // hmac.new(bytes(range(32)), b'open sesame', 'md5').hexdigest()
        let digest = 0x5f83933e_e4d83a6d_4f4a21cb_96959a92_u128.to_be_bytes();
        assert!(TutorialPassword::from_parts(key, digest).is("open sesame"));
    }

    #[test]
    fn the_password_is_recognised_and_no_other() {
        let stored = TutorialPassword::new("open sesame").unwrap();
        let (key, digest) = stored.parts();
        let stored = TutorialPassword::from_parts(key, digest);
        assert!(stored.is("open sesame"));
        for other in ["", "open sesam", "open sesame ", "Open sesame"] {
            assert!(!stored.is(other), "{other:?}");
        }
    }

    #[test]
    fn the_same_password_has_two_entries_that_differ() {
        let [one, other] = [(); 2].map(|()| TutorialPassword::new("open sesame").unwrap());
        assert_ne!(one.parts().0, other.parts().0);
        assert_ne!(one.parts().1, other.parts().1);
    }
}
