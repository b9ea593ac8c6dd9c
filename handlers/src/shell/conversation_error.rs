//! Why the shell ends the connection of a client.

use super::framing::READY;

/// Why the shell ends the connection of a client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ConversationError {
    #[error("the client left while its command ran; the command was ended")]
    ClientLeft,
    #[error("the client closed after the length, and did not send {READY:?}")]
    ClosedBeforeReady,
    /// The bytes that the client has sent, up to the first wrong one.
    #[error("the client had to send {READY:?} after the length, and sent {0:?}")]
    NotReady(String),
}
