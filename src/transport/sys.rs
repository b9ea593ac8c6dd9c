//! What differs between operating systems, so that the other files here read as if there were one.

use std::io;

use nix::libc::c_int;
use nix::poll::PollFlags;
use socket2::{SockAddr, Socket, Type};

/// The flag by which a send to a client that has left is an error, and not a signal to the whole
/// process: `MSG_NOSIGNAL`. Apple has the option `SO_NOSIGPIPE` instead, which `socket2` sets.
#[cfg(not(target_vendor = "apple"))]
pub(crate) const NO_SIGNAL: c_int = nix::libc::MSG_NOSIGNAL;
#[cfg(target_vendor = "apple")]
pub(crate) const NO_SIGNAL: c_int = 0;

/// accept(2) on a listening socket that does not block, for a connection that does.
#[cfg(any(target_os = "android", target_os = "linux"))]
pub(crate) fn accept(listening: &Socket) -> io::Result<(Socket, SockAddr)> {
    listening.accept()
}

/// accept(2) on a listening socket that does not block, for a connection that does: the connection
/// inherits `O_NONBLOCK` here.
#[cfg(not(any(target_os = "android", target_os = "linux")))]
pub(crate) fn accept(listening: &Socket) -> io::Result<(Socket, SockAddr)> {
    let (connection, client) = listening.accept()?;
    connection.set_nonblocking(false)?;
    Ok((connection, client))
}

/// The name of a Unix socket in the abstract namespace, without the NUL byte in front.
#[cfg(any(target_os = "android", target_os = "linux"))]
pub(crate) fn abstract_name(address: &SockAddr) -> Option<&[u8]> {
    address.as_abstract_namespace()
}

/// The name of a Unix socket in the abstract namespace, which only Linux has.
#[cfg(not(any(target_os = "android", target_os = "linux")))]
pub(crate) fn abstract_name(_: &SockAddr) -> Option<&[u8]> {
    None
}

/// The event of a half-closed socket of datagrams, which poll(2) reports only if asked: `POLLRDHUP`.
#[cfg(any(target_os = "android", target_os = "linux"))]
pub(crate) const HALF_CLOSED: PollFlags = PollFlags::from_bits_retain(nix::libc::POLLRDHUP);
#[cfg(not(any(target_os = "android", target_os = "linux")))]
pub(crate) const HALF_CLOSED: PollFlags = PollFlags::empty();

/// The type of a pair of Unix sockets that keeps each message whole. Apple has no `SOCK_SEQPACKET` for
/// Unix sockets; its `SOCK_STREAM` keeps small messages whole in practice.
#[cfg(not(target_vendor = "apple"))]
pub(crate) const MESSAGES: Type = Type::SEQPACKET;
#[cfg(target_vendor = "apple")]
pub(crate) const MESSAGES: Type = Type::STREAM;
