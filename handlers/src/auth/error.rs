//! Why a client was refused.

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::LazyLock;
use std::time::Duration;

/// Why [`Authenticated`](crate::auth::Authenticated) refuses a client.
///
/// The handler returns this error, so the server logs the error with the client's address.
#[derive(Debug)]
#[non_exhaustive]
pub enum AuthenticationError {
    /// The answer has the right length and wrong bytes.
    WrongAnswer,

    /// The client closed before its answer was complete. The source is an [`io::Error`] of the kind
    /// [`UnexpectedEof`](ErrorKind::UnexpectedEof), so that the server logs the error as that of a
    /// client that has left.
    Closed {
        /// How many bytes of the answer arrived.
        received: usize,
        /// How many bytes an answer has.
        expected: usize,
    },

    /// The client did not answer in time.
    TooLate {
        /// How many bytes of the answer arrived.
        received: usize,
        /// How many bytes an answer has.
        expected: usize,
        /// How long the client had.
        timeout: Duration,
    },

    /// The server was stopped before the client had begun its answer.
    Stopping,

    /// The connection failed before the answer was complete.
    Io(io::Error),

    /// The operating system has no random bytes for a challenge.
    NoRandomness(getrandom::Error),
}

impl Error for AuthenticationError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        static END_OF_FILE: LazyLock<io::Error> = LazyLock::new(|| ErrorKind::UnexpectedEof.into());
        match self {
            Self::Closed { .. } => Some(&*END_OF_FILE),
            Self::Io(error) => Some(error),
            Self::NoRandomness(error) => Some(error),
            Self::WrongAnswer | Self::TooLate { .. } | Self::Stopping => None,
        }
    }
}

impl fmt::Display for AuthenticationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongAnswer => f.write_str(
                "the client's answer to the challenge is wrong; check that both sides have the \
                 same key and digest",
            ),
            Self::Closed { received, expected } => write!(
                f,
                "the client closed after {received} of {expected} bytes of its answer to the \
                 challenge"
            ),
            Self::TooLate {
                received,
                expected,
                timeout,
            } => write!(
                f,
                "{received} of {expected} bytes of the answer to the challenge came within \
                 {timeout:?}; check that the client authenticates itself, and with the same digest"
            ),
            Self::Stopping => {
                f.write_str("the server is stopping, and the client has not authenticated itself")
            }
            Self::Io(error) => write!(f, "cannot authenticate the client: {error}"),
            Self::NoRandomness(error) => {
                write!(f, "cannot make a challenge: no random bytes: {error}")
            }
        }
    }
}
