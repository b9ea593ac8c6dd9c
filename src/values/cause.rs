//! Looking for a reason in an error and its causes.

use std::error::Error as StdError;
use std::io::{self, ErrorKind};

/// The first error of type `T` among `error` and its causes.
pub(crate) fn find_in<T: StdError + Copy + 'static>(error: &(dyn StdError + 'static)) -> Option<T> {
    causes(error).find_map(|cause| cause.downcast_ref().copied())
}

/// Returns a reference to the error, as [`find_in`] returns a copy.
#[cfg(feature = "tls")]
pub(crate) fn find<'a, T: StdError + 'static>(
    error: &'a (dyn StdError + 'static),
) -> Option<&'a T> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// Returns whether `error`, or one of its causes, is the end of a connection in a read or write.
/// The other side has ended or broken the connection, or the network has given it up.
pub(crate) fn is_end_of_connection(error: &(dyn StdError + 'static)) -> bool {
    causes(error).any(|cause| {
        let error: Option<&io::Error> = cause.downcast_ref();
        error.is_some_and(ends_connection)
    })
}

/// Checks as [`is_end_of_connection`] does, but only the error itself.
pub(crate) fn ends_connection(error: &io::Error) -> bool {
    match error.kind() {
        ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe
        | ErrorKind::NotConnected
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable
        | ErrorKind::NetworkDown
        | ErrorKind::UnexpectedEof => true,
        // `ETIMEDOUT` alone: the others are the ends of a timeout or a deadline.
        ErrorKind::TimedOut => error.raw_os_error().is_some(),
        _ => false,
    }
}

/// `error` and its causes, from the outside in.
fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| {
        // `source` of an `io::Error` is the source of the error inside, not that error.
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        }
    })
}
