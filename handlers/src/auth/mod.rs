//! Handlers for some clients alone: clients that know a key, or clients of the same user.
//!
//! [`Authenticated`] is the tutorial's *authenticated link*, for any handler: its clients have to
//! know a key. [`SameUser`] needs no key, and serves the clients of the same user.
//!
//! Over the link, the server first sends a *challenge* of 32 random bytes. The client answers with
//! the HMAC of the challenge under the key that both know: 16 bytes with MD5, 32 with SHA-256.
//! After a right answer the conversation begins. After a wrong answer the server closes the
//! connection. The key itself is never sent, and an intercepted answer is wrong for the next
//! challenge.
//!
//! [`Authenticated`] is the server's half of the link, around a stream handler.
//! [`answer_challenge`] is the client's half.
//!
//! # What the link does not do
//!
//! The link proves to the server, at the beginning of the connection, that the client knows the
//! key. The link does not prove the identity of the server to the client. The conversation is
//! neither encrypted nor authenticated, so a machine in between can read and change it. Over a
//! network that others use, put the link inside a tunnel that does both, such as TLS or SSH.

mod answer;
mod authenticated;
mod digest;
mod error;
mod key;
mod peer_user;
mod same_user;

pub use answer::answer_challenge;
pub use authenticated::{AUTHENTICATION_TIMEOUT, Authenticated};
pub use digest::{Digest, UnknownDigest};
pub use error::AuthenticationError;
pub use key::{Key, KeyError, MAX_KEY_LENGTH};
pub use same_user::{SameUser, SameUserError, permit_file, permit_udp_socket};

/// The length of a challenge, in bytes.
pub const CHALLENGE_LENGTH: usize = 32;
