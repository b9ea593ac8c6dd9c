//! The socket through which a datagram server receives and replies.

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::net::UdpSocket;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::time::Duration;

use nix::libc::{MSG_DONTWAIT, c_int};
use socket2::SockRef;

use crate::support::sync::Mutex;
use crate::transport::socket_address::{from_sockaddr, to_sockaddr};
use crate::values::address::Address;

/// How long a reply may wait for room. A Unix client that does not read its datagrams must not hold
/// up the server; a UDP client cannot.
const REPLY_TIMEOUT: Duration = Duration::from_secs(1);

/// Sends the datagrams of a [`DatagramRequest`](crate::DatagramRequest): the replies, and those to
/// others.
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

    /// As [`send_to`](Self::send_to), without waiting for room: for the message to a refused
    /// client, which the loop's thread sends. Calls `send_to` unless overridden.
    ///
    /// # Errors
    ///
    /// As [`send_to`](Self::send_to), and if there is no room. The error is ignored.
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
    /// Locked with `try_lock` alone: in a forked child the mutex may be locked for ever.
    spare: Mutex<Vec<Buffers>>,
}

impl ReplySocket {
    pub(crate) fn new(descriptor: Arc<OwnedFd>) -> Self {
        Self {
            descriptor,
            spare: Mutex::default(),
        }
    }

    pub(crate) fn descriptor(&self) -> &OwnedFd {
        &self.descriptor
    }

    /// Fills `buffers`, which is empty, with those of ended requests and, up to [`MOST_SPARE`],
    /// with new ones, so that the lock is seldom taken.
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
        send(&*self.descriptor, packet, receiver, 0).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => io::Error::new(
                io::ErrorKind::TimedOut,
                format!("the receiver has not taken its datagrams for {REPLY_TIMEOUT:?}"),
            ),
            _ => error,
        })
    }

    fn send_to_now(&self, packet: &[u8], receiver: &Address) -> io::Result<()> {
        send(&*self.descriptor, packet, receiver, MSG_DONTWAIT)
    }
}

/// Sends one datagram; tries again after a signal.
fn send(socket: &impl AsFd, packet: &[u8], receiver: &Address, flags: c_int) -> io::Result<()> {
    let receiver = to_sockaddr(receiver)?;
    loop {
        match SockRef::from(socket).send_to_with_flags(packet, &receiver, flags) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            sent => return sent.map(drop),
        }
    }
}

/// Sets `SO_SNDTIMEO`, which bounds the time that a reply waits for room, and blocking mode, in
/// which a reply waits at all: a given socket may have `O_NONBLOCK`.
pub(crate) fn prepare_replies(socket: &OwnedFd) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.set_nonblocking(false)?;
    socket.set_write_timeout(Some(REPLY_TIMEOUT))
}

/// Receives one datagram into `buffer`, without waiting for one. Returns its length, at most that
/// of the buffer, and the client.
#[allow(unsafe_code)]
pub(crate) fn receive_now(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<(usize, Address)> {
    // SAFETY: `MaybeUninit<u8>` has the layout of `u8`. `recv_from_with_flags` promises to write
    // initialised bytes only, so `buffer` holds initialised bytes afterwards as well.
    let buffer = unsafe { &mut *(std::ptr::from_mut(buffer) as *mut [MaybeUninit<u8>]) };
    // The flag, because the socket is in blocking mode for its replies.
    let (length, client) = SockRef::from(socket).recv_from_with_flags(buffer, MSG_DONTWAIT)?;
    Ok((length, from_sockaddr(&client)))
}
