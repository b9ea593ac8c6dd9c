//! The end of a connection without the notice of the end that its layer expects.

use std::io::{self, ErrorKind};

/// The client, or an attacker on the way, has ended the connection without the notice of the end
/// that the protocol of a layer demands. So the last message may be cut short.
///
/// The [`Stream`](crate::layer::Stream) of a layer returns this error from `read`, inside an
/// [`io::Error`] of the kind [`UnexpectedEof`](ErrorKind::UnexpectedEof). Between two messages
/// nothing is cut short: there [`wait`](crate::StreamRequest::wait) treats the error as the
/// client's end. Python's counterpart is `ssl.SSLEOFError`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection has ended without the notice of {protocol}, and may be cut short")]
pub struct EndWithoutNotice {
    protocol: &'static str,
}

impl EndWithoutNotice {
    /// Makes the error for a connection with this protocol.
    #[must_use]
    pub fn new(protocol: &'static str) -> Self {
        Self { protocol }
    }

    /// Turns this error into the end of file, for a reader between two messages.
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
