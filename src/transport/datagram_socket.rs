//! The socket that a server of datagrams receives from and replies through.

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::libc::{MSG_DONTWAIT, c_int};
use socket2::SockRef;

use crate::transport::socket_address::{from_sockaddr, to_sockaddr};
use crate::values::address::Address;

/// How long a reply may wait for room at the client. Over UDP there always is room; a Unix client
/// that does not read its datagrams must not hold the server.
const REPLY_TIMEOUT: Duration = Duration::from_secs(1);

/// What sends a datagram to a client: the server's socket, or a mock.
pub(crate) trait DatagramSocket: fmt::Debug + Send + Sync {
    /// Sends `packet` whole, or fails.
    fn send_to(&self, packet: &[u8], client: &Address) -> io::Result<()>;

    /// Sends `packet` whole if there is room for it now, or fails.
    fn send_to_now(&self, packet: &[u8], client: &Address) -> io::Result<()> {
        self.send_to(packet, client)
    }
}

impl DatagramSocket for OwnedFd {
    fn send_to(&self, packet: &[u8], client: &Address) -> io::Result<()> {
        send(self, packet, client, 0).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => io::Error::new(
                io::ErrorKind::TimedOut,
                format!("the client has not taken its datagrams for {REPLY_TIMEOUT:?}"),
            ),
            _ => error,
        })
    }

    fn send_to_now(&self, packet: &[u8], client: &Address) -> io::Result<()> {
        send(self, packet, client, MSG_DONTWAIT)
    }
}

/// Sends one datagram, and begins anew after a signal.
fn send(socket: &OwnedFd, packet: &[u8], client: &Address, flags: c_int) -> io::Result<()> {
    let client = to_sockaddr(client)?;
    loop {
        match SockRef::from(socket).send_to_with_flags(packet, &client, flags) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            sent => return sent.map(drop),
        }
    }
}

/// Bounds the time that a reply waits for room: `SO_SNDTIMEO`.
pub(crate) fn bound_replies(socket: &OwnedFd) -> io::Result<()> {
    SockRef::from(socket).set_write_timeout(Some(REPLY_TIMEOUT))
}

/// Receives one datagram into `buffer`, without waiting for one. Returns its length, at most that
/// of the buffer, and the client.
#[allow(unsafe_code)]
pub(crate) fn receive_now(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<(usize, Address)> {
    // SAFETY: `MaybeUninit<u8>` has the layout of `u8`. `recv_from_with_flags` promises to write
    // initialised bytes only, so `buffer` holds initialised bytes afterwards as well.
    let buffer = unsafe { &mut *(std::ptr::from_mut(buffer) as *mut [MaybeUninit<u8>]) };
    // The socket itself blocks, for the sake of the replies.
    let (length, client) = SockRef::from(socket).recv_from_with_flags(buffer, MSG_DONTWAIT)?;
    Ok((length, from_sockaddr(&client)))
}
