//! What a client of the shell does that ends its connection.

use super::reply::READY;

/// What a client does that ends its connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ConversationError {
    #[error("the client left while its command ran, which was ended")]
    ClientLeft,
    #[error("the client closed after the length, and did not say {READY:?}")]
    ClosedBeforeReady,
    /// As far as it was read.
    #[error("the client was to say {READY:?} after the length, and said {0:?}")]
    NotReady(String),
}
