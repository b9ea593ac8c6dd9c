//! A link whose client has to know a key: the tutorial's authenticated link, for any service.
//!
//! The server sends a *challenge* of 32 random bytes. The client answers with the HMAC of the
//! challenge under the key that both know: 16 bytes with MD5, 32 with SHA-256. If the answer is right
//! the conversation begins, else the server closes. The key itself never travels, and an answer that
//! was overheard is worth nothing for the next challenge.
//!
//! [`Authenticated`] is the server's half, around a stream handler, and [`answer_challenge`] the
//! client's.
//!
//! # What it does not do
//!
//! It tells the server that the client knows the key, when the connection begins. It does not tell
//! the client who the server is, and what follows is neither encrypted nor protected: somebody who
//! sits between the two can read and change it. Over a network that others use, put it inside a
//! tunnel that does both, such as TLS or SSH.

mod answer;
mod authenticated;
mod digest;
mod error;
mod key;

pub use answer::answer_challenge;
pub use authenticated::{AUTHENTICATION_TIMEOUT, Authenticated};
pub use digest::{Digest, UnknownDigest};
pub use error::AuthenticationError;
pub use key::{Key, KeyError, MAX_KEY_LENGTH};

/// The length of a challenge, in bytes.
pub const CHALLENGE_LENGTH: usize = 32;
