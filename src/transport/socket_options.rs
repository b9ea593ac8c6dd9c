//! The options that a server sets before bind(2).

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use socket2::SockRef;

use crate::transport::socket_error::SocketError;
use crate::values::address::Address;

/// The options that bind sets before bind(2); `None` where the caller has chosen nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SocketOptions {
    /// `SO_REUSEADDR`.
    pub(crate) reuse_address: Option<bool>,
    /// `SO_REUSEPORT`.
    pub(crate) reuse_port: Option<bool>,
    /// `IPV6_V6ONLY`, for IPv6 sockets.
    pub(crate) only_v6: Option<bool>,
}

impl SocketOptions {
    /// Sets the options of a socket that is to be bound to `address`. `only_v6` is the value of
    /// `IPV6_V6ONLY` where the caller has chosen none.
    pub(crate) fn set(
        &self,
        socket: &OwnedFd,
        address: &Address,
        only_v6: bool,
    ) -> Result<(), SocketError> {
        let socket = SockRef::from(socket);
        let failed = |option| move |source| SocketError::Option(option, address.clone(), source);
        if self.reuse_address == Some(true) {
            let set = socket.set_reuse_address(true);
            set.map_err(failed("SO_REUSEADDR"))?;
        }
        if self.reuse_port == Some(true) {
            let set = socket.set_reuse_port(true);
            set.map_err(failed("SO_REUSEPORT"))?;
        }
        if let Address::Inet(SocketAddr::V6(_)) = address {
            // Systems differ in their default, so the option is set to either value.
            let set = socket.set_only_v6(self.only_v6.unwrap_or(only_v6));
            set.map_err(failed("IPV6_V6ONLY"))?;
        }
        Ok(())
    }

    /// Fails if the caller has chosen an option, since `address` is bound already.
    pub(crate) fn refuse(&self, address: &Address) -> Result<(), SocketError> {
        let chosen = [
            ("SO_REUSEADDR", self.reuse_address),
            ("SO_REUSEPORT", self.reuse_port),
            ("IPV6_V6ONLY", self.only_v6),
        ];
        match chosen.into_iter().find(|(_, value)| value.is_some()) {
            None => Ok(()),
            Some((option, _)) => {
                let what = "the socket was given to the server, and is bound already; set the \
                            option where the socket is made, before bind(2)";
                let source = io::Error::new(io::ErrorKind::InvalidInput, what);
                Err(SocketError::Option(option, address.clone(), source))
            }
        }
    }
}
