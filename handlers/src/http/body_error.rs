//! Why a request's body cannot be read.

use std::error::Error as StdError;
use std::io::{self, ErrorKind};

use ::http::StatusCode;
use socketserver::DeadlineExceeded;

use super::refusal::Refusal;

/// Why a request's body was not read to its end.
///
/// The [`io::Error`] of a read of [`RequestBody`](super::RequestBody) contains this error. A
/// handler that returns the error with `?` causes the response that belongs to the reason: 400 or
/// 413. Python's `rfile` has no counterpart, since it has no bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// The body is longer than [`HttpLimits::body`](super::HttpLimits::body) allows.
    #[error("the body of the request has more than {max} bytes")]
    #[non_exhaustive]
    TooLarge {
        /// The most bytes that are allowed.
        max: u64,
    },
    /// The chunks of the body are not valid.
    #[error("the body of the request is not valid: {reason}")]
    #[non_exhaustive]
    Malformed {
        /// What is wrong.
        reason: &'static str,
    },
    /// The client ended its side before the end of the body.
    #[error("the client left before the end of the body")]
    Incomplete,
}

impl BodyError {
    pub(super) fn malformed(reason: &'static str) -> Self {
        Self::Malformed { reason }
    }

    pub(super) fn into_error(self) -> io::Error {
        let kind = match self {
            Self::Incomplete => ErrorKind::UnexpectedEof,
            _ => ErrorKind::InvalidData,
        };
        io::Error::new(kind, self)
    }

    fn refusal(self) -> Refusal {
        match self {
            Self::TooLarge { .. } => Refusal::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "The body of the request is too large.",
            ),
            Self::Malformed { reason } => Refusal::bad(reason),
            Self::Incomplete => Refusal::bad("The body of the request is incomplete."),
        }
    }
}

/// The refusal of a request whose client is the reason of `error`; `None` for another error.
pub(super) fn refusal_of(error: &(dyn StdError + 'static)) -> Option<Refusal> {
    if DeadlineExceeded::find_in(error).is_some() {
        return Some(TIMEOUT);
    }
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<BodyError>() {
            return Some(error.refusal());
        }
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        cause = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// The refusal of a client that takes too long.
pub(super) const TIMEOUT: Refusal = Refusal::new(
    StatusCode::REQUEST_TIMEOUT,
    "The request has not arrived in time.",
);
