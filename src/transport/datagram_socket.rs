//! The socket through which a datagram server receives and replies.

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::net::UdpSocket;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::{MSG_DONTWAIT, c_int};
use socket2::SockRef;

use crate::support::sync::Mutex;
use crate::transport::destination::{Destination, report_destinations, send_from};
use crate::transport::socket_address::{from_sockaddr, to_sockaddr};
use crate::values::address::Address;

/// How long a reply may wait for room. A Unix client that does not read its datagrams could
/// otherwise delay the server without end; a UDP client cannot.
const REPLY_TIMEOUT: Duration = Duration::from_secs(1);

/// Sends the datagrams of a [`DatagramRequest`](crate::DatagramRequest): the replies, and the
/// datagrams to other receivers.
///
/// The framework implements this trait for the socket of [`UdpServer`](crate::UdpServer), for the
/// [`mock`](crate::mock), and for the two sockets of the standard library. A bottom layer of your
/// own passes an implementation to [`DatagramRequest::new`](crate::DatagramRequest::new). Python's
/// counterpart is the socket in the `request` tuple of a `DatagramRequestHandler`.
///
/// All requests of a server may call the methods at the same time.
pub trait DatagramSocket: fmt::Debug + Send + Sync {
    /// Sends `packet`, which may be empty, to `receiver` as one datagram.
    ///
    /// # Errors
    ///
    /// If the datagram cannot be sent. The request adds the length of the packet to the text.
    fn send_to(&self, packet: &[u8], receiver: &Address) -> io::Result<()>;

    /// Sends as [`send_to`](Self::send_to) does, without waiting for room. The loop's thread sends
    /// the message to a refused client in this way. Calls `send_to` unless overridden.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`send_to`](Self::send_to), and an error if there is no room. The
    /// caller ignores the error.
    fn send_to_now(&self, packet: &[u8], receiver: &Address) -> io::Result<()> {
        self.send_to(packet, receiver)
    }
}

/// Waits for room as long as the socket's own timeout and mode allow.
impl DatagramSocket for UdpSocket {
    fn send_to(&self, packet: &[u8], receiver: &Address) -> io::Result<()> {
        send(self, packet, receiver, 0)
    }

    fn send_to_now(&self, packet: &[u8], receiver: &Address) -> io::Result<()> {
        send(self, packet, receiver, MSG_DONTWAIT)
    }
}

/// Waits for room as long as the socket's own timeout and mode allow.
impl DatagramSocket for UnixDatagram {
    fn send_to(&self, packet: &[u8], receiver: &Address) -> io::Result<()> {
        send(self, packet, receiver, 0)
    }

    fn send_to_now(&self, packet: &[u8], receiver: &Address) -> io::Result<()> {
        send(self, packet, receiver, MSG_DONTWAIT)
    }
}

/// The memory of a request's packet and reply.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    pub(crate) packet: Vec<u8>,
    pub(crate) reply: Vec<u8>,
}

/// The most spare buffers that a server keeps, and the most bytes of each.
const MOST_SPARE: usize = 32;
const LONGEST_SPARE: usize = 16 << 10;

/// The socket of a server, which its requests share.
#[derive(Debug)]
pub(crate) struct ReplySocket {
    descriptor: Arc<OwnedFd>,
    /// The address that the socket is bound to.
    local: Option<Address>,
    /// Whether the system reports the [`Destination`] of each datagram.
    reports_destinations: bool,
    /// Only `try_lock` is used: in a forked child the mutex may be locked for ever.
    spare: Mutex<Vec<Buffers>>,
}

impl ReplySocket {
    pub(crate) fn new(descriptor: Arc<OwnedFd>) -> Self {
        Self {
            local: local_address(&descriptor),
            reports_destinations: report_destinations_of(&descriptor),
            descriptor,
            spare: Mutex::default(),
        }
    }

    pub(crate) fn descriptor(&self) -> &OwnedFd {
        &self.descriptor
    }

    /// Returns the address that the socket is bound to, which may be a wildcard address.
    pub(crate) fn bound_address(&self) -> Option<&Address> {
        self.local.as_ref()
    }

    pub(crate) fn reports_destinations(&self) -> bool {
        self.reports_destinations
    }

    /// Returns the address to which a datagram was sent whose destination is not reported. This is
    /// the address that the socket is bound to, unless that is a wildcard address.
    pub(crate) fn local_address(&self) -> Option<&Address> {
        let is_wildcard = |address: &&Address| address.ip().is_some_and(|ip| ip.is_unspecified());
        self.local.as_ref().filter(|address| !is_wildcard(address))
    }

    /// Sends `packet` to the client of a datagram, from the address to which the client has sent.
    pub(crate) fn reply(
        &self,
        packet: &[u8],
        client: &Address,
        asked: Option<&Destination>,
    ) -> io::Result<()> {
        let sent = self.send_reply(packet, client, asked, 0);
        sent.map_err(explain_timeout)
    }

    /// Sends as [`reply`](Self::reply) does, without waiting for room.
    pub(crate) fn reply_now(
        &self,
        packet: &[u8],
        client: &Address,
        asked: Option<&Destination>,
    ) -> io::Result<()> {
        self.send_reply(packet, client, asked, MSG_DONTWAIT)
    }

    fn send_reply(
        &self,
        packet: &[u8],
        client: &Address,
        asked: Option<&Destination>,
        flags: c_int,
    ) -> io::Result<()> {
        let (Some(asked), Address::Inet(receiver)) = (asked, client) else {
            return send(&*self.descriptor, packet, client, flags);
        };
        let socket = self.descriptor.as_fd();
        let sent = retry(|| send_from(socket, packet, asked, receiver, flags));
        match &sent {
            // The address does not belong to this machine any more, or never did: a router in the
            // kernel has brought the datagram to this socket.
            Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => {
                send(&*self.descriptor, packet, client, flags)
            }
            _ => sent,
        }
    }

    /// Fills the empty `buffers` with those of ended requests and, up to [`MOST_SPARE`], with new
    /// buffers, so that the lock is seldom taken.
    pub(crate) fn fill(&self, buffers: &mut Vec<Buffers>) {
        if let Ok(mut spare) = self.spare.try_lock() {
            std::mem::swap(&mut *spare, buffers);
        }
        buffers.resize_with(MOST_SPARE, Buffers::default);
    }

    /// Keeps the buffers of an ended request for another request.
    pub(crate) fn recycle(&self, mut buffers: Buffers) {
        let is_long = |buffer: &Vec<u8>| buffer.capacity() > LONGEST_SPARE;
        if is_long(&buffers.packet) || is_long(&buffers.reply) {
            return;
        }
        if let Ok(mut spare) = self.spare.try_lock()
            && spare.len() < MOST_SPARE
        {
            buffers.packet.clear();
            buffers.reply.clear();
            spare.push(buffers);
        }
    }
}

impl DatagramSocket for ReplySocket {
    fn send_to(&self, packet: &[u8], receiver: &Address) -> io::Result<()> {
        send(&*self.descriptor, packet, receiver, 0).map_err(explain_timeout)
    }

    fn send_to_now(&self, packet: &[u8], receiver: &Address) -> io::Result<()> {
        send(&*self.descriptor, packet, receiver, MSG_DONTWAIT)
    }
}

fn explain_timeout(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::Error::new(
            io::ErrorKind::TimedOut,
            format!("the receiver has not taken its datagrams for {REPLY_TIMEOUT:?}"),
        ),
        _ => error,
    }
}

/// Sends one datagram. If the socket has no source address, the system chooses one.
fn send(socket: &impl AsFd, packet: &[u8], receiver: &Address, flags: c_int) -> io::Result<()> {
    let receiver = to_sockaddr(receiver)?;
    let socket = SockRef::from(socket);
    retry(|| {
        let sent = socket.send_to_with_flags(packet, &receiver, flags);
        sent.map(drop)
    })
}

/// Calls `send`, and calls it again after a signal. Also calls it once again after an error that
/// may belong to an earlier datagram to another receiver. Linux reports such an error, which came
/// with ICMP, to the next call, on a socket with `IP_RECVERR` and on a connected socket.
fn retry(mut send: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    let mut may_be_earlier = true;
    loop {
        match send() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if may_be_earlier && is_of_network(&error) => may_be_earlier = false,
            sent => return sent,
        }
    }
}

/// Returns whether an ICMP message can be the cause of the error.
fn is_of_network(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    errno.is_some_and(|errno| {
        matches!(
            errno,
            Errno::ECONNREFUSED
                | Errno::EHOSTUNREACH
                | Errno::ENETUNREACH
                | Errno::EHOSTDOWN
                | Errno::ENOPROTOOPT
                | Errno::EOPNOTSUPP
                | Errno::EPROTO
                | Errno::EACCES
                | Errno::EMSGSIZE
        )
    })
}

fn local_address(socket: &OwnedFd) -> Option<Address> {
    let address = SockRef::from(socket).local_addr().ok()?;
    Some(from_sockaddr(&address))
}

/// Makes the system report destinations if the socket is bound to a wildcard address. Returns
/// whether the system does.
fn report_destinations_of(socket: &OwnedFd) -> bool {
    match local_address(socket) {
        Some(Address::Inet(address)) => report_destinations(socket.as_fd(), &address),
        _ => false,
    }
}

/// Sets `SO_SNDTIMEO`, which bounds the time that a reply waits for room. Sets blocking mode, in
/// which a reply waits at all: a given socket may have `O_NONBLOCK`. From now on the system notes
/// the destination of each datagram, which becomes the source of the reply.
pub(crate) fn prepare_replies(socket: &OwnedFd) -> io::Result<()> {
    report_destinations_of(socket);
    let socket = SockRef::from(socket);
    socket.set_nonblocking(false)?;
    socket.set_write_timeout(Some(REPLY_TIMEOUT))
}

/// Receives one datagram into `buffer`, without waiting for one. Returns its length, which is at
/// most that of the buffer, and the client.
#[allow(unsafe_code)]
pub(crate) fn receive_now(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<(usize, Address)> {
    // SAFETY: `MaybeUninit<u8>` has the layout of `u8`. `recv_from_with_flags` promises to write
    // initialised bytes only, so `buffer` holds initialised bytes afterwards as well.
    let buffer = unsafe { &mut *(std::ptr::from_mut(buffer) as *mut [MaybeUninit<u8>]) };
    // The flag is necessary because the socket is in blocking mode for its replies.
    let (length, client) = SockRef::from(socket).recv_from_with_flags(buffer, MSG_DONTWAIT)?;
    Ok((length, from_sockaddr(&client)))
}
