//! The socket through which a datagram server receives and replies.

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
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

/// Sends datagrams to clients: the server's socket, or a mock.
pub(crate) trait DatagramSocket: fmt::Debug + Send + Sync {
    /// Sends `packet` as one datagram.
    fn send_to(&self, packet: &[u8], client: &Address) -> io::Result<()>;

    /// Sends `packet` as one datagram, without waiting for room.
    fn send_to_now(&self, packet: &[u8], client: &Address) -> io::Result<()> {
        self.send_to(packet, client)
    }

    /// Receives the buffers of an ended request, for another request. Drops the buffers unless
    /// overridden.
    fn recycle(&self, buffers: Buffers) {
        drop(buffers);
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
}

impl DatagramSocket for ReplySocket {
    fn send_to(&self, packet: &[u8], client: &Address) -> io::Result<()> {
        send(&self.descriptor, packet, client, 0).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => io::Error::new(
                io::ErrorKind::TimedOut,
                format!("the receiver has not taken its datagrams for {REPLY_TIMEOUT:?}"),
            ),
            _ => error,
        })
    }

    fn send_to_now(&self, packet: &[u8], client: &Address) -> io::Result<()> {
        send(&self.descriptor, packet, client, MSG_DONTWAIT)
    }

    fn recycle(&self, mut buffers: Buffers) {
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

/// Sends one datagram; tries again after a signal.
fn send(socket: &OwnedFd, packet: &[u8], client: &Address, flags: c_int) -> io::Result<()> {
    let client = to_sockaddr(client)?;
    loop {
        match SockRef::from(socket).send_to_with_flags(packet, &client, flags) {
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
