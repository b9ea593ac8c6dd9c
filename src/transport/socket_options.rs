//! The options that a server sets before bind(2).

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use socket2::SockRef;

use crate::support::log::{Level, log_line};
use crate::transport::bound_file::FileAccess;
use crate::transport::socket_error::SocketError;
use crate::transport::sys;
use crate::values::address::Address;

/// The options that the server sets before bind(2); `None` where the caller has chosen nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SocketOptions {
    /// `SO_REUSEADDR`.
    pub(crate) reuse_address: Option<bool>,
    /// `SO_REUSEPORT`.
    pub(crate) reuse_port: Option<bool>,
    /// `IPV6_V6ONLY`, for IPv6 sockets.
    pub(crate) only_v6: Option<bool>,
    /// `SO_RCVBUF`, in bytes.
    pub(crate) receive_buffer: Option<usize>,
    /// The mode and the group of a Unix socket's file.
    pub(crate) access: FileAccess,
}

/// The names of the options of a file in an error.
const MODE: &str = "the mode of the file";
const GROUP: &str = "the group of the file";

impl SocketOptions {
    /// Sets the options of a socket that is to be bound to `address`. `only_v6` is the value of
    /// `IPV6_V6ONLY` if the caller has chosen none.
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
            // Systems differ in their default, so the option is set in either case.
            let set = socket.set_only_v6(self.only_v6.unwrap_or(only_v6));
            set.map_err(failed("IPV6_V6ONLY"))?;
        }
        if let Some(bytes) = self.receive_buffer {
            let set = set_receive_buffer(&socket, bytes, address);
            set.map_err(failed("SO_RCVBUF"))?;
        }
        self.set_mode(&socket, address)
    }

    fn set_mode(&self, socket: &SockRef<'_>, address: &Address) -> Result<(), SocketError> {
        let FileAccess { mode, group } = self.access;
        let invalid = |what| io::Error::new(io::ErrorKind::InvalidInput, what);
        let has_file = matches!(address, Address::Unix(_));
        let set = match (mode, self.access.mode_at_bind()) {
            (Some(0o1000..), _) => Err(invalid("a mode has three octal digits, such as 0o660")),
            _ if !has_file && (mode, group) != (None, None) => {
                Err(invalid("a name in the abstract namespace has no file"))
            }
            (_, Some(mode)) => sys::set_mode_before_bind(socket.as_fd(), mode),
            (_, None) => Ok(()),
        };
        let option = if mode.is_some() { MODE } else { GROUP };
        set.map_err(|source| SocketError::Option(option, address.clone(), source))
    }

    /// Fails if the caller has chosen an option, since `address` is bound already.
    pub(crate) fn refuse(&self, address: &Address) -> Result<(), SocketError> {
        let chosen = [
            ("SO_REUSEADDR", self.reuse_address.is_some()),
            ("SO_REUSEPORT", self.reuse_port.is_some()),
            ("IPV6_V6ONLY", self.only_v6.is_some()),
            ("SO_RCVBUF", self.receive_buffer.is_some()),
            (MODE, self.access.mode.is_some()),
            (GROUP, self.access.group.is_some()),
        ];
        match chosen.into_iter().find(|(_, is_chosen)| *is_chosen) {
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

/// Sets `SO_RCVBUF`, and warns if the system gives less.
fn set_receive_buffer(socket: &SockRef<'_>, bytes: usize, address: &Address) -> io::Result<()> {
    socket.set_recv_buffer_size(bytes)?;
    // Linux reports twice the number, since it includes its own bookkeeping.
    let given = socket.recv_buffer_size()?;
    if given < bytes {
        log_line!(
            Level::Warn,
            "{address}: a receive buffer of {bytes} bytes was asked for, and the system gives \
             {given}, its own bookkeeping included; on Linux, raise net.core.rmem_max"
        );
    }
    Ok(())
}
