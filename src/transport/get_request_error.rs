//! The errors of `get_request`, by the reaction of the loop.

use std::io;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use socket2::{SockRef, Type};

/// The reason why [`get_request`](crate::BaseServer::get_request) returned no request. Each variant
/// is one reaction of the loop.
///
/// A bottom layer converts an error of accept(2) with [`from_accept`](Self::from_accept), and an
/// error of recv(2) and its siblings with [`from_receive`](Self::from_receive), as `?` does. Python
/// has no counterpart: its loop ignores every `OSError` of `get_request`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GetRequestError {
    /// No request is waiting. The loop waits until the socket is readable.
    #[error("no request is waiting")]
    Empty,
    /// One request was lost, or a signal came. The loop tries again at once.
    #[error("a request was lost: {0}")]
    Retry(#[source] io::Error),
    /// The system has no descriptor or memory for another request, or the error is unknown. The
    /// loop pauses until a request ends, at most 10 ms at first and later at most a second, and
    /// tries again.
    #[error("no request can be received now: {0}")]
    Exhausted(#[source] io::Error),
    /// The socket does not work any more. The loop ends with
    /// [`Error::GetRequest`](crate::Error::GetRequest).
    #[error("the socket does not work any more: {0}")]
    Broken(#[source] io::Error),
}

impl GetRequestError {
    /// Converts an error of accept(2) on `socket`.
    ///
    /// `EOPNOTSUPP` has two meanings: a network error of one connection, or a socket that is not a
    /// stream socket. The type of the socket decides: [`Retry`](Self::Retry) for a stream socket,
    /// [`Broken`](Self::Broken) for another socket.
    #[must_use]
    pub fn from_accept(error: io::Error, socket: BorrowedFd<'_>) -> Self {
        let socket = SockRef::from(&socket);
        let is_unsupported = error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32);
        if is_unsupported && socket.r#type().is_ok_and(|it| it != Type::STREAM) {
            return Self::Broken(error);
        }
        Self::from_receive(error)
    }

    /// Converts an error of recv(2) and its siblings.
    #[must_use]
    pub fn from_receive(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock => return Self::Empty,
            io::ErrorKind::Interrupted => return Self::Retry(error),
            _ => {}
        }
        let errno = error.raw_os_error().map(Errno::from_raw);
        if errno.is_some_and(|errno| BROKEN.contains(&errno)) {
            Self::Broken(error)
        } else if errno.is_some_and(|errno| LOST.contains(&errno)) {
            Self::Retry(error)
        } else {
            // `EMFILE`, `ENFILE`, `ENOBUFS` and `ENOMEM` pass when descriptors or memory are
            // released. An unknown error must neither end the loop nor make it spin.
            Self::Exhausted(error)
        }
    }
}

/// Converts as [`from_receive`](GetRequestError::from_receive) does. The result is right for
/// accept(2) too, except for `EOPNOTSUPP`.
impl From<io::Error> for GetRequestError {
    fn from(error: io::Error) -> Self {
        Self::from_receive(error)
    }
}

/// Errors of a descriptor that is closed, is not a socket, or does not listen. accept(2) has
/// `EBADF`, `ENOTSOCK` and `EINVAL` ("Socket is not listening for connections"), recv(2) has
/// `ENOTCONN`. A loop that tried again would spin.
const BROKEN: [Errno; 4] = [
    Errno::EBADF,
    Errno::EINVAL,
    Errno::ENOTCONN,
    Errno::ENOTSOCK,
];

/// Errors of the connection that was next in the backlog, or of its network. According to the
/// manual of accept(2), Linux "passes already-pending network errors on the new socket as an error
/// code from accept()", to be treated like `EAGAIN`. `ECONNABORTED`: the client ended the
/// connection in the backlog. `EPERM`: a firewall forbids the connection. `ECONNREFUSED` and its
/// siblings: a reply that a datagram socket sent before did not arrive.
const LOST: [Errno; 12] = [
    Errno::ECONNABORTED,
    Errno::ECONNREFUSED,
    Errno::ECONNRESET,
    Errno::EHOSTDOWN,
    Errno::EHOSTUNREACH,
    Errno::ENETDOWN,
    Errno::ENETUNREACH,
    Errno::ENOPROTOOPT,
    Errno::EOPNOTSUPP,
    Errno::EPERM,
    Errno::EPROTO,
    Errno::ETIMEDOUT,
];

#[cfg(all(test, not(loom)))]
mod tests {
    use std::net::{TcpListener, UdpSocket};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn an_errno_means_what_the_loop_can_do_about_it() {
        let from = |errno: Errno| GetRequestError::from_receive(errno.into());
        assert!(matches!(from(Errno::EAGAIN), GetRequestError::Empty));
        assert!(matches!(from(Errno::EINTR), GetRequestError::Retry(_)));
        assert!(matches!(
            from(Errno::ECONNABORTED),
            GetRequestError::Retry(_)
        ));
        assert!(matches!(from(Errno::EMFILE), GetRequestError::Exhausted(_)));
        assert!(matches!(from(Errno::EBADF), GetRequestError::Broken(_)));
        let unknown = GetRequestError::from(io::Error::other("unknown"));
        assert!(matches!(unknown, GetRequestError::Exhausted(_)));
    }

    #[test]
    fn an_accept_that_is_not_supported_is_lost_on_a_stream_socket_and_broken_elsewhere() {
        let stream = TcpListener::bind("127.0.0.1:0").unwrap();
        let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
        let from = |socket| GetRequestError::from_accept(Errno::EOPNOTSUPP.into(), socket);
        assert!(matches!(from(stream.as_fd()), GetRequestError::Retry(_)));
        assert!(matches!(
            from(datagrams.as_fd()),
            GetRequestError::Broken(_)
        ));
    }
}
