//! The errors of a server, and those of its handlers.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::values::address::Address;
use crate::values::inet_address::AddressError;

/// An error in setting up a server, or in its loop.
///
/// Each variant names the operation and the address, and its message has the remedy where one is
/// known. The error of a *handler* is a [`HandlerError`], which goes to
/// [`handle_error`](crate::BaseServer::handle_error) and never ends the loop.
///
/// `Debug` prints the message too, followed by the causes that the message does not mention. So a
/// program whose `main` returns this error ends with the remedy. In Python, a traceback ends with
/// the text of an `OSError`.
///
/// ```
/// use socketserver::{Error, ThreadingTcpServer, handler_fn};
///
/// fn bind(address: &str) -> Result<(), Error> {
///     ThreadingTcpServer::bind(address, handler_fn(|_| Ok(())))?;
///     Ok(())
/// }
///
/// let error = bind("localhost").unwrap_err();
/// assert!(format!("{error:?}").contains("write HOST:PORT"));
/// ```
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is not an address.
    #[non_exhaustive]
    #[error(
        "{address:?} is not an address: {source}; write HOST:PORT, with an IPv6 address in brackets"
    )]
    InvalidAddress {
        /// The address as the caller wrote it.
        address: String,
        /// What is wrong with the text.
        source: io::Error,
    },

    /// The host name has no address, or the resolver failed.
    #[non_exhaustive]
    #[error("cannot find the host of {address:?}: {source}; check the name, or use an IP address")]
    Resolve {
        /// The address as the caller wrote it.
        address: String,
        /// The resolver's error.
        source: io::Error,
    },

    /// socket(2) failed.
    #[non_exhaustive]
    #[error("cannot create a socket for {address}: {source}")]
    CreateSocket {
        /// The address that the socket was for.
        address: Address,
        /// The operating system's error.
        source: io::Error,
    },

    /// The descriptor given to the server is not a socket, or is a socket of another type.
    #[non_exhaustive]
    #[error("cannot serve on the given socket: {source}")]
    GivenSocket {
        /// The reason.
        source: io::Error,
    },

    /// socketpair(2) failed. The loop needs a pair of sockets, through which other threads wake it.
    #[non_exhaustive]
    #[error("cannot create the sockets that wake the loop of {address}: {source}")]
    CreateWaker {
        /// The server's address.
        address: Address,
        /// The operating system's error.
        source: io::Error,
    },

    /// The server has been closed, and a closed server cannot be used again.
    #[non_exhaustive]
    #[error("the server on {address} has been closed; make a new server")]
    Closed {
        /// The server's address.
        address: Address,
    },

    /// A socket option could not be set before bind(2), or the program chose it for a given socket,
    /// which is bound already.
    #[non_exhaustive]
    #[error("cannot set {option} on the socket for {address}: {source}")]
    SetOption {
        /// The option by its name in C, such as `SO_REUSEADDR`.
        option: &'static str,
        /// The address that the socket is for.
        address: Address,
        /// The operating system's error.
        source: io::Error,
    },

    /// Another socket listens on the address: `EADDRINUSE` of bind(2) or of listen(2).
    #[non_exhaustive]
    #[error(
        "address {address} is in use; stop the program that listens there{}{}",
        match address {
            // A predecessor without SO_REUSEADDR leaves connections in TIME-WAIT.
            Address::Inet(_) => "; if there is none, connections of an earlier server linger: wait \
                a minute; or choose another address (port 0 takes any free port)",
            _ => ", or choose another path",
        },
        Others(others)
    )]
    AddressInUse {
        /// The address that was asked for.
        address: Address,
        /// The other addresses of the host name, each with its error.
        others: Vec<(Address, io::Error)>,
    },

    /// The program may not listen on the address: `EACCES` or `EPERM`.
    #[non_exhaustive]
    #[error(
        "no permission to listen on {address}; {}{}",
        match address {
            Address::Inet(_) => "ports below 1024 need privileges: choose a higher port",
            _ => "choose a directory that this program may write to",
        },
        Others(others)
    )]
    PermissionDenied {
        /// The address that was asked for.
        address: Address,
        /// The other addresses of the host name, each with its error.
        others: Vec<(Address, io::Error)>,
    },

    /// The address belongs to another machine.
    #[non_exhaustive]
    #[error(
        "address {address} is not an address of this machine; use 127.0.0.1 for local clients \
         only, or 0.0.0.0 or [::] for all{}",
        Others(others)
    )]
    AddressNotAvailable {
        /// The address that was asked for.
        address: Address,
        /// The other addresses of the host name, each with its error.
        others: Vec<(Address, io::Error)>,
    },

    /// Binding failed for another reason.
    #[non_exhaustive]
    #[error(
        "cannot bind to {address}: {source}{}{}",
        zone_hint(address),
        Others(others)
    )]
    Bind {
        /// The address that was asked for.
        address: Address,
        /// The operating system's error.
        source: io::Error,
        /// The other addresses of the host name, each with its error.
        others: Vec<(Address, io::Error)>,
    },

    /// The path of a Unix socket leads to a file that is not a socket, or that cannot be examined
    /// or removed.
    #[non_exhaustive]
    #[error("cannot use {} for a Unix socket: {source}", path.display())]
    SocketFile {
        /// The path that was asked for.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },

    /// The socket is bound, but listen(2) failed.
    #[non_exhaustive]
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address that was asked for.
        address: Address,
        /// The operating system's error.
        source: io::Error,
    },

    /// A layer's [`server_activate`](crate::BaseServer::server_activate) failed.
    #[non_exhaustive]
    #[error("cannot get ready to serve {address}: {source}")]
    Activate {
        /// The server's address.
        address: Address,
        /// The operating system's error.
        source: io::Error,
    },

    /// `serve_forever` or `handle_request` was called while the loop runs, by another thread or by
    /// a handler.
    #[non_exhaustive]
    #[error("the server on {address} is already serving; stop it first")]
    AlreadyServing {
        /// The server's address.
        address: Address,
    },

    /// The loop cannot receive further requests, because poll(2) or the listening socket failed in
    /// a way that does not pass.
    #[non_exhaustive]
    #[error("cannot accept requests on {address} any more: {source}; make a new server")]
    GetRequest {
        /// The server's address.
        address: Address,
        /// The operating system's error.
        source: io::Error,
    },
}

/// Constructors for the hooks of a program's own layers: all four for a bottom layer,
/// [`Error::activate`] for a mix-in.
impl Error {
    /// Makes the error of a socket that could not be created for `address`.
    #[must_use]
    pub fn create_socket(address: Address, source: io::Error) -> Self {
        Self::CreateSocket { address, source }
    }

    /// Makes the error of a socket that could not be bound to `address`:
    /// [`AddressInUse`](Self::AddressInUse), [`PermissionDenied`](Self::PermissionDenied),
    /// [`AddressNotAvailable`](Self::AddressNotAvailable) or, for any other reason,
    /// [`Bind`](Self::Bind).
    #[must_use]
    pub fn bind(address: Address, source: io::Error) -> Self {
        Self::bind_one_of(address, source, Vec::new())
    }

    /// Makes the error of [`bind`](Self::bind) if `others` could not be bound either.
    pub(crate) fn bind_one_of(
        address: Address,
        source: io::Error,
        others: Vec<(Address, io::Error)>,
    ) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::AddressInUse { address, others },
            io::ErrorKind::PermissionDenied => Self::PermissionDenied { address, others },
            io::ErrorKind::AddrNotAvailable => Self::AddressNotAvailable { address, others },
            _ => Self::Bind {
                address,
                source,
                others,
            },
        }
    }

    /// Makes the error of a socket that is bound to `address`, and for which listen(2) failed. This
    /// is [`AddressInUse`](Self::AddressInUse) if another socket listens on the address meanwhile,
    /// as two sockets with `SO_REUSEADDR` may be bound to one address. For any other reason it is
    /// [`Listen`](Self::Listen).
    #[must_use]
    pub fn listen(address: Address, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::bind(address, source),
            _ => Self::Listen { address, source },
        }
    }

    /// Makes the error of a layer that could not be activated for `address`.
    #[must_use]
    pub fn activate(address: Address, source: io::Error) -> Self {
        Self::Activate { address, source }
    }
}

impl From<AddressError> for Error {
    fn from(error: AddressError) -> Self {
        match error {
            AddressError::Invalid { address, source } => Self::InvalidAddress { address, source },
            AddressError::Unresolved { address, source } => Self::Resolve { address, source },
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&WithCauses(self), f)
    }
}

/// The end of a message: the other addresses that were tried.
struct Others<'a>(&'a [(Address, io::Error)]);

impl fmt::Display for Others<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = "; also tried: ";
        for (address, error) in self.0 {
            write!(f, "{before}{address} ({error})")?;
            before = ", ";
        }
        Ok(())
    }
}

/// An error and its causes, in one line.
pub(crate) struct WithCauses<'a>(pub(crate) &'a (dyn std::error::Error + 'static));

impl fmt::Display for WithCauses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = self.0.to_string();
        f.write_str(&line)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Many errors repeat their cause in their own text.
            if !line.contains(&text) {
                write!(f, ": {text}")?;
                line = text;
            }
            cause = error.source();
        }
        Ok(())
    }
}

/// The error of a handler. It can be of any error type, so that `?` works on all of them.
///
/// [`handle_error`](crate::BaseServer::handle_error) receives it together with the request.
pub type HandlerError = Box<dyn std::error::Error + Send + Sync>;

/// The result of every method of a handler.
pub type HandlerResult = Result<(), HandlerError>;

/// A panic in a handler or in a hook, as [`handle_error`](crate::BaseServer::handle_error) receives
/// it.
///
/// ```
/// use socketserver::{HandlerError, HandlerPanic};
///
/// fn was_a_panic(error: &HandlerError) -> bool {
///     error.is::<HandlerPanic>()
/// }
/// # assert!(!was_a_panic(&"failed".into()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("panicked: {message}")]
pub struct HandlerPanic {
    message: String,
}

impl HandlerPanic {
    /// Makes an error of the payload that `catch_unwind` has caught.
    pub(crate) fn new(payload: Box<dyn std::any::Any + Send>) -> Self {
        let message = match payload.downcast::<String>() {
            Ok(text) => *text,
            Err(payload) => match payload.downcast::<&'static str>() {
                Ok(text) => (*text).to_owned(),
                Err(payload) => {
                    // Never dropped: the drop of an unknown value could panic again.
                    std::mem::forget(payload);
                    "with a value that is not text".to_owned()
                }
            },
        };
        Self { message }
    }

    /// Returns the message of the panic.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// Runs `call`, and catches a panic in it.
pub(crate) fn catch_panic<T>(call: impl FnOnce() -> T) -> Result<T, HandlerPanic> {
    // Unwind safe: a panicking call may leave a value half-done. The value is dropped with its
    // request, or belongs to the user, who receives a report of the panic.
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).map_err(HandlerPanic::new)
}

/// Runs `step`, and makes an error of a panic in it.
pub(crate) fn run_step<T>(
    step: impl FnOnce() -> Result<T, HandlerError>,
) -> Result<T, HandlerError> {
    catch_panic(step).unwrap_or_else(|panic| Err(panic.into()))
}

/// The remedy for a link-local address, which `EINVAL` does not name.
fn zone_hint(address: &Address) -> &'static str {
    match address {
        Address::Inet(SocketAddr::V6(inet))
            if inet.ip().is_unicast_link_local() && inet.scope_id() == 0 =>
        {
            "; a link-local address needs its zone, as in [fe80::1%eth0]:80"
        }
        _ => "",
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::values::inet_address::InetAddress;

    #[test]
    fn an_address_without_a_port_is_refused_with_what_to_write() {
        for text in ["localhost", "", "127.0.0.1:http", "127.0.0.1:65536"] {
            let error = Error::from(InetAddress::from(text).resolve().unwrap_err()).to_string();
            assert!(error.contains(&format!("{text:?}")), "{error}");
            assert!(error.contains("HOST:PORT"), "{error}");
        }
    }

    #[test]
    fn a_link_local_address_without_its_zone_is_an_error_that_names_the_zone() {
        let failed = |text: &str| {
            let address = Address::Inet(text.parse().unwrap());
            Error::bind(address, io::ErrorKind::InvalidInput.into()).to_string()
        };
        assert!(failed("[fe80::1]:80").contains("needs its zone, as in [fe80::1%eth0]:80"));
        for other in ["[fe80::1%3]:80", "[fd00::1]:80", "127.0.0.1:80"] {
            assert!(!failed(other).contains("zone"), "{other}");
        }
    }

    #[test]
    fn the_debug_text_is_the_message_and_the_causes_that_it_does_not_mention() {
        #[derive(Debug, thiserror::Error)]
        #[error("the disk is full")]
        struct Full(#[source] io::Error);

        let address = || Address::from(([127, 0, 0, 1], 80));
        let error = Error::bind(address(), io::ErrorKind::AddrInUse.into());
        assert_eq!(
            format!("{error:?}"),
            "address 127.0.0.1:80 is in use; stop the program that listens there; if there is \
             none, connections of an earlier server linger: wait a minute; or choose another \
             address (port 0 takes any free port)"
        );
        assert_eq!(format!("{error:#?}"), error.to_string());
        // Its cause is in the middle of its message.
        let error = Error::from(InetAddress::from("localhost").resolve().unwrap_err());
        assert_eq!(format!("{error:?}"), error.to_string());
        let cause = Full(io::Error::other("quota exceeded"));
        let error = Error::activate(address(), io::Error::other(cause));
        assert_eq!(
            format!("{error:?}"),
            "cannot get ready to serve 127.0.0.1:80: the disk is full: quota exceeded"
        );
    }
}
