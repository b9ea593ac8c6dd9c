//! A password stored with Argon2id.

use std::fmt;
use std::str::FromStr;

use argon2::password_hash::PasswordHasher;
use argon2::password_hash::phc::{Output, PasswordHash};
use argon2::{Algorithm, Argon2, Block, Params, Version};

use crate::password::PasswordError;

/// The most memory that an entry may ask for, in KiB: 2 GiB, the highest that RFC 9106 recommends.
const MAX_MEMORY: u32 = 2 << 20;

/// The most memory times passes, in KiB: about ten seconds of work.
const MAX_WORK: u64 = 16 << 20;

/// An allocation of this many blocks, of 1 KiB each, is always a mapping of its own, which the
/// system takes back when it is freed. glibc takes smaller allocations from its heap
/// (`M_MMAP_THRESHOLD`, which grows to 32 MiB). There the next small allocation would use the freed
/// space, and each check would need new space.
const NOT_IN_THE_HEAP: usize = 33 << 10;

/// A password as Argon2id stores it. The value is written as text, and parsed again.
///
/// The text has the form `$argon2id$v=19$m=…,t=…,p=…$salt$hash`, which Python's `argon2-cffi` and
/// others read too. The parser refuses an entry that asks for more than 2 GiB, or for passes that
/// write more than 16 GiB together, since each check would cost that much. `{:?}` does not show the
/// hash.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredPassword(PasswordHash);

impl StoredPassword {
    /// Hashes a password with a random salt, at the costs that OWASP recommends: some tens of
    /// milliseconds, and 19 MiB of memory during that time.
    ///
    /// # Errors
    ///
    /// If there are no random bytes, or the password is longer than Argon2 takes, 4 GiB.
    pub fn new(password: impl AsRef<[u8]>) -> Result<Self, PasswordError> {
        let hashed = Argon2::default().hash_password(password.as_ref());
        hashed.map(Self).map_err(PasswordError::Hashing)
    }

    /// Returns true if this is the password. The check has the costs that the entry names. The
    /// comparison takes the same time wherever the first difference is.
    #[must_use]
    pub fn is(&self, password: impl AsRef<[u8]>) -> bool {
        let hash = self.hash_of(password.as_ref());
        hash.is_some_and(|hash| self.0.hash == Some(hash))
    }

    /// The hash of a password with the salt and the costs of this entry.
    fn hash_of(&self, password: &[u8]) -> Option<Output> {
        let Self(entry) = self;
        let algorithm = Algorithm::try_from(entry.algorithm.as_str()).ok()?;
        let version = entry.version.map(Version::try_from).transpose().ok()?;
        let costs = Params::try_from(entry).ok()?;
        let mut memory = memory(costs.block_count())?;
        let mut hash = [0; Output::MAX_LENGTH];
        let hash = hash.get_mut(..entry.hash?.as_bytes().len())?;
        let argon2 = Argon2::new(algorithm, version.unwrap_or_default(), costs);
        let salt = entry.salt?;
        let hashed = argon2.hash_password_into_with_memory(password, &salt, hash, &mut *memory);
        hashed.ok()?;
        Output::new(hash).ok()
    }
}

impl fmt::Display for StoredPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for StoredPassword {
    type Err = PasswordError;

    fn from_str(entry: &str) -> Result<Self, PasswordError> {
        let hash = PasswordHash::new(entry).map_err(PasswordError::Parse)?;
        if Algorithm::try_from(hash.algorithm.as_str()).is_err() {
            return Err(PasswordError::UnknownFunction(hash.algorithm.to_string()));
        }
        check_parts(&hash)?;
        check_costs(&hash)?;
        Ok(Self(hash))
    }
}

/// The memory for a check. `None` if the system has not enough memory.
fn memory(blocks: usize) -> Option<Vec<Block>> {
    let mut memory = Vec::new();
    // The unused part takes addresses, and no memory.
    memory.try_reserve_exact(blocks.max(NOT_IN_THE_HEAP)).ok()?;
    memory.resize(blocks, Block::default());
    Some(memory)
}

/// Refuses an entry without salt or hash.
fn check_parts(hash: &PasswordHash) -> Result<(), PasswordError> {
    let missing = match (&hash.salt, &hash.hash) {
        (None, _) => "salt",
        (_, None) => "hash",
        _ => return Ok(()),
    };
    Err(PasswordError::Incomplete(missing))
}

fn check_costs(hash: &PasswordHash) -> Result<(), PasswordError> {
    let costs = Params::try_from(hash).map_err(PasswordError::Costs)?;
    let (memory, passes) = (costs.m_cost(), costs.t_cost());
    let work = u64::from(memory) * u64::from(passes);
    if memory > MAX_MEMORY || work > MAX_WORK {
        return Err(PasswordError::TooCostly { memory, passes });
    }
    Ok(())
}

impl fmt::Debug for StoredPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredPassword").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_password_is_recognised_and_no_other() {
        let stored = StoredPassword::new("open sesame").unwrap();
        assert!(stored.is("open sesame"));
        for other in ["", "open sesam", "open sesame ", "Open sesame"] {
            assert!(!stored.is(other), "{other:?}");
        }
    }

    #[test]
    fn an_entry_is_parsed_from_its_text() {
        let stored = StoredPassword::new(b"\xff\0 any bytes").unwrap();
        let entry = stored.to_string();
        assert!(
            entry.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{entry}"
        );
        let read: StoredPassword = entry.parse().unwrap();
        assert_eq!(read, stored);
        assert!(read.is(b"\xff\0 any bytes"));
    }

    #[test]
    fn the_same_password_has_two_entries_that_differ() {
        let [one, other] = [(); 2].map(|()| StoredPassword::new("open sesame").unwrap());
        assert_ne!(one.to_string(), other.to_string());
    }

    #[test]
    fn an_entry_of_another_function_is_refused_by_name() {
        let entry = "$scrypt$ln=15,r=8,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo";
        let error = entry.parse::<StoredPassword>().unwrap_err();
        assert!(error.to_string().contains("scrypt"), "{error}");
    }

    #[test]
    fn the_debug_form_does_not_show_the_hash() {
        let stored = StoredPassword::new("open sesame").unwrap();
        assert_eq!(format!("{stored:?}"), "StoredPassword { .. }");
    }

    const SALT: &str = "wmdXlCCHiWQWzURktywvtg";
    const HASH: &str = "rkiJ8eyigr92+TDPBnsXC6e8+DYyHyURJN6cEpHUkF4";

    fn refusal(entry: &str) -> String {
        entry.parse::<StoredPassword>().unwrap_err().to_string()
    }

    #[test]
    fn an_entry_that_lacks_a_part_is_refused_with_its_name() {
        let costs = "$argon2id$v=19$m=19456,t=2,p=1";
        for (entry, missing) in [
            ("$argon2id", "salt"),
            (costs, "salt"),
            (&format!("{costs}${SALT}"), "hash"),
        ] {
            let expected = format!("the entry of the stored password has no {missing}");
            assert_eq!(refusal(entry), expected, "{entry}");
        }
    }

    /// Such an entry is damaged, or made to keep the server busy for years.
    #[test]
    fn an_entry_with_absurd_costs_is_refused() {
        for costs in [
            "m=4294967295,t=1,p=1",
            "m=2097153,t=1,p=1",
            "m=2097152,t=9,p=1",
            "m=19456,t=4294967295,p=1",
            "m=19456,t=0,p=1",
            "m=1,t=1,p=1",
            "m=19456,t=1,p=0",
            "m=19456,t=x,p=1",
        ] {
            let refusal = refusal(&format!("$argon2id$v=19${costs}${SALT}${HASH}"));
            let is_explained = refusal.contains("costs") || refusal.contains("too expensive");
            assert!(is_explained, "{costs}: {refusal}");
        }
        // The highest costs that RFC 9106 recommends.
        let entry = format!("$argon2id$v=19$m=2097152,t=1,p=4${SALT}${HASH}");
        assert!(entry.parse::<StoredPassword>().is_ok());
    }

    proptest! {
        #[test]
        fn any_text_is_an_entry_or_an_error(text: String) {
            let _ = text.parse::<StoredPassword>();
            let _ = format!("$argon2id$v=19${text}").parse::<StoredPassword>();
        }
    }
}
