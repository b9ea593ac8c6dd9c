//! Why the shell ends the connection of a client.

use std::io::{self, ErrorKind};

use super::foreign::Foreign;
use super::framing::READY;

/// Why the shell ends the connection of a client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ConversationError {
    #[error("the client left while its command ran; the command was ended")]
    ClientLeft,
    #[error("the client closed after the length, in the middle of {READY:?}")]
    ClosedBeforeReady,
    /// The bytes that the client has sent, up to the first wrong one.
    #[error("the client had to send {READY:?} after the length, and sent {0:?}")]
    NotReady(String),
    /// A web page can make a browser send such bytes, and choose a part of them.
    #[error(
        "attack: the client speaks {}, as a web page can make a browser do; nothing of it was run",
        .0.name()
    )]
    Foreign(Foreign),
}

impl ConversationError {
    /// The error of the connection: its kind shows whether the client has ended it.
    pub(super) fn into_error(self) -> io::Error {
        let kind = match self {
            Self::ClientLeft => ErrorKind::ConnectionReset,
            Self::ClosedBeforeReady => ErrorKind::UnexpectedEof,
            Self::NotReady(_) | Self::Foreign(_) => ErrorKind::InvalidData,
        };
        io::Error::new(kind, self)
    }
}
