//! The end of a connection without the notice that its layer gives of an end.

use std::io::{self, ErrorKind};

/// The client, or somebody between, has ended the connection, and the protocol of a layer expects a
/// notice of the end, which did not come: the last message may be cut short.
///
/// A layer's [`Stream`](crate::layer::Stream) returns it from `read`, inside an [`io::Error`] of
/// the kind [`UnexpectedEof`](ErrorKind::UnexpectedEof). Between two messages nothing is cut short:
/// there [`wait`](crate::StreamRequest::wait) takes it for the client's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection has ended without the notice of {protocol}, and may be cut short")]
pub struct EndWithoutNotice {
    protocol: &'static str,
}

impl EndWithoutNotice {
    /// The end of a connection with this protocol.
    #[must_use]
    pub fn new(protocol: &'static str) -> Self {
        Self { protocol }
    }

    /// Makes the end of file of such an end, for a reader between two messages.
    pub(crate) fn as_end(read: io::Result<usize>) -> io::Result<usize> {
        match read {
            Err(error) if Self::is_in(&error) => Ok(0),
            read => read,
        }
    }

    fn is_in(error: &io::Error) -> bool {
        let inner = error.get_ref();
        inner.is_some_and(|inner| inner.is::<Self>())
    }
}

impl From<EndWithoutNotice> for io::Error {
    fn from(end: EndWithoutNotice) -> Self {
        Self::new(ErrorKind::UnexpectedEof, end)
    }
}
