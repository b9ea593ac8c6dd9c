//! Stored passwords of users. A thief of the stored data does not learn the passwords.
//!
//! [`TutorialPassword`] is what the tutorial does: an HMAC-MD5 under a random key for each user.
//! Two users with the same password have different entries, so a table that was made in advance
//! does not help a thief. But MD5 is fast by design: a thief tries many millions of passwords a
//! second.
//!
//! [`StoredPassword`] is what programs do today: Argon2id, which is slow and takes memory by
//! design. Each try costs the thief as much as the server. The entry is one line of text that names
//! the function and its costs. So the costs can rise later, and old entries stay valid.
//!
//! ```
//! use socketserver_handlers::password::StoredPassword;
//!
//! let stored = StoredPassword::new("open sesame")?;
//! let line = stored.to_string(); // Goes into a file or a database.
//! let stored: StoredPassword = line.parse()?;
//! assert!(stored.is("open sesame"));
//! assert!(!stored.is("open barley"));
//! # Ok::<(), socketserver_handlers::password::PasswordError>(())
//! ```

mod argon2id;
mod hmac_md5;

pub use argon2id::StoredPassword;
pub use hmac_md5::TutorialPassword;

/// Why a password cannot be stored, or an entry cannot be parsed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordError {
    /// The operating system has no random bytes.
    #[error("cannot store a password: no random bytes: {0}")]
    NoRandomness(#[source] getrandom::Error),

    /// Argon2 does not accept the password, or has no random bytes.
    #[error("cannot store a password: {0}")]
    Hashing(#[source] argon2::password_hash::Error),

    /// The text is not the entry of a password.
    #[error("not the entry of a stored password: {0}")]
    Parse(#[source] argon2::password_hash::phc::Error),

    /// The entry lacks this part.
    #[error("the entry of the stored password has no {0}")]
    Incomplete(&'static str),

    /// The entry names costs that Argon2 does not accept.
    #[error("the entry of the stored password has costs that Argon2 does not accept: {0}")]
    Costs(#[source] argon2::password_hash::Error),

    /// The entry names costs that are too high to check.
    #[error("the stored password is too expensive to check: {memory} KiB, {passes} passes")]
    TooCostly {
        /// The memory, in KiB.
        memory: u32,
        /// How often the whole memory is written.
        passes: u32,
    },

    /// The entry was made by another function than Argon2.
    #[error("the password was stored with {0} and not with Argon2; set the password again")]
    UnknownFunction(String),
}
