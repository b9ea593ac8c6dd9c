//! The socket of a bottom layer, together with the handle that reports its address.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use nix::errno::Errno;
use socket2::Type;

use crate::running::layer_handle::LayerHandle;
use crate::transport::listening_socket::ListeningSocket;
use crate::transport::socket_error::SocketError;
use crate::transport::socket_file::ClaimError;
use crate::values::address::Address;
use crate::values::error::Error;
use crate::values::inet_address::InetAddress;

/// The common part of [`TcpServer`](crate::TcpServer) and [`UdpServer`](crate::UdpServer): a
/// handle, and a socket whose addresses the handle reports, and whose errors become an [`Error`].
#[derive(Debug)]
pub(crate) struct ServerSocket {
    handle: LayerHandle,
    pub(crate) listening: ListeningSocket,
}

impl ServerSocket {
    pub(crate) fn inet(address: InetAddress, kind: Type) -> Self {
        Self::over(ListeningSocket::inet(address, kind))
    }

    pub(crate) fn unix(path: PathBuf, kind: Type) -> Self {
        Self::over(ListeningSocket::unix(path, kind))
    }

    pub(crate) fn given(socket: OwnedFd, kind: Type) -> Self {
        Self::over(ListeningSocket::given(socket, kind))
    }

    /// Makes the value without a socket, so that no client can connect.
    pub(crate) fn none(kind: Type) -> Self {
        Self::over(ListeningSocket::none(kind))
    }

    fn over(listening: ListeningSocket) -> Self {
        let handle = LayerHandle::new();
        match listening.kind() {
            Type::DGRAM => handle.note_datagrams(),
            // accept(2) takes one connection, and a connection that is left keeps the socket
            // readable.
            _ => handle.shared().set_socket_reports_all(true),
        }
        Self { handle, listening }
    }

    pub(crate) fn handle(&self) -> &LayerHandle {
        &self.handle
    }

    pub(crate) fn address(&self) -> Address {
        self.handle.server().server_address()
    }

    /// Returns the socket, which the first call creates unless the caller has given one. From then
    /// on the handle reports the requested address.
    pub(crate) fn open(&self) -> Result<Arc<OwnedFd>, Error> {
        let (socket, address) = self.listening.open().map_err(|error| self.explain(error))?;
        self.handle.set_requested_address(address);
        Ok(socket)
    }

    /// Binds the socket, or each socket of several addresses. From then on the handle reports the
    /// real addresses.
    pub(crate) fn bind(&self) -> Result<(), Error> {
        self.open()?;
        let addresses = self.listening.bind().map_err(|error| self.explain(error))?;
        self.handle.set_server_addresses(addresses);
        if self.listening.is_listening()
            && let Ok(sockets) = self.listening.opened()
        {
            let sockets = sockets.iter().map(Arc::downgrade).collect();
            self.handle.shared().set_listening_sockets(sockets);
        }
        Ok(())
    }

    /// Closes the socket. Removes its file, unless another process continues to use both.
    pub(crate) fn close(&self) {
        let lifecycle = self.handle.shared().lifecycle();
        let is_foreign = !self.listening.has_made_socket() && !lifecycle.has_served();
        if lifecycle.is_handed_over() || is_foreign {
            self.listening.leave_file();
        }
        self.listening.close();
    }

    fn explain(&self, error: SocketError) -> Error {
        match error {
            SocketError::Closed => Error::Closed {
                address: self.address(),
            },
            SocketError::Given(source) => Error::GivenSocket { source },
            SocketError::Address(error) => error.into(),
            SocketError::Create(address, source) => Error::create_socket(address, source),
            SocketError::Option(option, address, source) => Error::SetOption {
                option,
                address,
                source,
            },
            SocketError::Claim(path, ClaimError::InUse) => {
                Error::bind(Address::Unix(path), Errno::EADDRINUSE.into())
            }
            SocketError::Claim(path, ClaimError::Unusable(source)) => {
                Error::SocketFile { path, source }
            }
            SocketError::Bind {
                address,
                source,
                others,
            } => Error::bind_one_of(address, source, others),
            SocketError::Several(address, source) => Error::create_socket(address, source),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_closed_socket_is_not_opened_again_and_the_error_names_its_address() {
        let socket = ServerSocket::inet("127.0.0.1:0".into(), Type::STREAM);
        socket.bind().unwrap();
        let address = socket.address();
        socket.listening.close();
        let error = socket.open().unwrap_err();
        assert!(
            matches!(&error, Error::Closed { address: named } if *named == address),
            "{error:?}"
        );
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }

    #[test]
    fn the_handle_reports_the_requested_address_and_once_bound_the_real_one() {
        let socket = ServerSocket::inet("127.0.0.1:0".into(), Type::STREAM);
        socket.open().unwrap();
        assert_eq!(socket.address(), Address::from(([127, 0, 0, 1], 0)));
        socket.bind().unwrap();
        assert_ne!(socket.address().port(), Some(0));
    }

    #[test]
    fn a_server_that_is_closed_before_it_listens_releases_its_path_and_directory() {
        let directory = support::short_paths::directory();
        let path = directory.path().join("socket");
        let socket = ServerSocket::unix(path.clone(), Type::STREAM);
        socket.bind().unwrap();
        assert!(path.exists());
        socket.listening.close();
        assert!(!path.exists());
        std::fs::File::open(directory.path())
            .unwrap()
            .try_lock()
            .unwrap();
    }
}
