//! The socket that a server of datagrams receives from and replies through.

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

    /// Takes the buffers of a request that has ended, for another one. Drops them unless
    /// overridden.
    fn recycle(&self, buffers: Buffers) {
        drop(buffers);
    }
}

/// Where a request has its packet and its reply.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    pub(crate) packet: Vec<u8>,
    pub(crate) reply: Vec<u8>,
}

/// How many requests' buffers a server keeps for others, and how long each may be.
const MOST_SPARE: usize = 32;
const LONGEST_SPARE: usize = 16 << 10;

/// The socket of a server, as its requests share it.
#[derive(Debug)]
pub(crate) struct ReplySocket {
    descriptor: Arc<OwnedFd>,
    /// Only tried and never waited for: a forked child may have a copy that is locked for ever.
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

    /// Fills `buffers`, which is empty, with those of ended requests and, up to a fixed number,
    /// with new ones: so the lock is seldom taken.
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
                format!("the client has not taken its datagrams for {REPLY_TIMEOUT:?}"),
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
