//! Why a client was refused.

use std::io;
use std::time::Duration;

/// Why [`Authenticated`](crate::auth::Authenticated) refuses a client.
///
/// It is the handler's error, so the server logs it with the client's address.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthenticationError {
    /// The answer has the right length and wrong bytes.
    #[error(
        "the client's answer to the challenge is wrong; check that both sides have the same key \
         and digest"
    )]
    WrongAnswer,

    /// The client closed before its answer was complete.
    #[error(
        "the client closed after {received} of {expected} bytes of its answer to the challenge"
    )]
    Closed {
        /// How many bytes of the answer came.
        received: usize,
        /// How many bytes an answer has.
        expected: usize,
    },

    /// The client did not answer in time.
    #[error(
        "{received} of {expected} bytes of the answer to the challenge came within {timeout:?}; \
         check that the client authenticates itself, and with the same digest"
    )]
    TooLate {
        /// How many bytes of the answer came.
        received: usize,
        /// How many bytes an answer has.
        expected: usize,
        /// How long the client had.
        timeout: Duration,
    },

    /// The server was stopped before the client had begun its answer.
    #[error("the server is stopping, and the client has not authenticated itself")]
    Stopping,

    /// The connection failed before the answer was complete.
    #[error("cannot authenticate the client: {0}")]
    Io(#[source] io::Error),

    /// The operating system has no random bytes for a challenge.
    #[error("cannot make a challenge: no random bytes: {0}")]
    NoRandomness(#[source] getrandom::Error),
}
