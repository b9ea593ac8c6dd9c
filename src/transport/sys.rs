//! What differs between operating systems, so that the other files here read as if there were one.

use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use nix::libc::c_int;
use nix::poll::PollFlags;
use socket2::{SockAddr, Socket, Type};

#[cfg(any(target_os = "android", target_os = "linux"))]
use {
    nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6, SockaddrLike, recvmmsg},
    socket2::SockRef,
    std::cell::RefCell,
    std::io::IoSliceMut,
    std::os::fd::AsRawFd,
};

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

/// The event of a half-closed socket of datagrams, which poll(2) reports only if asked:
/// `POLLRDHUP`.
#[cfg(any(target_os = "android", target_os = "linux"))]
pub(crate) const HALF_CLOSED: PollFlags = PollFlags::from_bits_retain(nix::libc::POLLRDHUP);
#[cfg(not(any(target_os = "android", target_os = "linux")))]
pub(crate) const HALF_CLOSED: PollFlags = PollFlags::empty();

/// The type of a pair of Unix sockets that keeps each message whole. Apple has no `SOCK_SEQPACKET`
/// for Unix sockets; its `SOCK_STREAM` keeps small messages whole in practice.
#[cfg(not(target_vendor = "apple"))]
pub(crate) const MESSAGES: Type = Type::SEQPACKET;
#[cfg(target_vendor = "apple")]
pub(crate) const MESSAGES: Type = Type::STREAM;

/// How many datagrams [`receive_batch`] receives at most.
#[cfg(any(target_os = "android", target_os = "linux"))]
pub(crate) const LONGEST_BATCH: usize = 32;
#[cfg(not(any(target_os = "android", target_os = "linux")))]
pub(crate) const LONGEST_BATCH: usize = 1;

/// The families of the sockets that [`receive_batch`] works for: of none where there is no
/// recvmmsg(2).
#[cfg(any(target_os = "android", target_os = "linux"))]
#[derive(Debug, Clone, Copy)]
pub(crate) enum Inet {
    V4,
    V6,
}
#[cfg(not(any(target_os = "android", target_os = "linux")))]
#[derive(Debug, Clone, Copy)]
pub(crate) enum Inet {}

/// The family of `socket`, if [`receive_batch`] works for it: that of an internet socket on Linux.
///
/// Not of a Unix socket: the system gives no address for a client without a name, and `nix` takes
/// the memory for that address as initialised.
#[cfg(any(target_os = "android", target_os = "linux"))]
pub(crate) fn family_for_batches(socket: BorrowedFd<'_>) -> Option<Inet> {
    let address = SockRef::from(&socket).local_addr().ok()?;
    match address.as_socket()? {
        SocketAddr::V4(_) => Some(Inet::V4),
        SocketAddr::V6(_) => Some(Inet::V6),
    }
}
#[cfg(not(any(target_os = "android", target_os = "linux")))]
pub(crate) fn family_for_batches(_: BorrowedFd<'_>) -> Option<Inet> {
    None
}

/// recvmmsg(2): receives the datagrams that are there, without waiting for any: one for each of
/// `slots`, up to [`LONGEST_BATCH`]. Calls `each` with the length of each datagram, which is at
/// most that of its slot, and its client.
#[cfg(any(target_os = "android", target_os = "linux"))]
pub(crate) fn receive_batch<'a>(
    socket: BorrowedFd<'_>,
    family: Inet,
    slots: impl Iterator<Item = &'a mut [u8]>,
    each: impl FnMut(usize, SocketAddr),
) -> io::Result<()> {
    match family {
        Inet::V4 => V4_HEADERS.with_borrow_mut(|it| receive_with(it, socket, slots, each)),
        Inet::V6 => V6_HEADERS.with_borrow_mut(|it| receive_with(it, socket, slots, each)),
    }
}
#[cfg(not(any(target_os = "android", target_os = "linux")))]
pub(crate) fn receive_batch<'a>(
    _: BorrowedFd<'_>,
    family: Inet,
    _: impl Iterator<Item = &'a mut [u8]>,
    _: impl FnMut(usize, SocketAddr),
) -> io::Result<()> {
    match family {}
}

#[cfg(any(target_os = "android", target_os = "linux"))]
fn receive_with<'a, A: SockaddrLike + Copy + Into<SocketAddr>>(
    headers: &mut MultiHeaders<A>,
    socket: BorrowedFd<'_>,
    slots: impl Iterator<Item = &'a mut [u8]>,
    mut each: impl FnMut(usize, SocketAddr),
) -> io::Result<()> {
    let mut vectors: [_; LONGEST_BATCH] = std::array::from_fn(|_| [IoSliceMut::new(&mut [])]);
    let mut count = 0;
    for (vector, slot) in vectors.iter_mut().zip(slots) {
        *vector = [IoSliceMut::new(slot)];
        count += 1;
    }
    let received = recvmmsg(
        socket.as_raw_fd(),
        headers,
        &mut vectors[..count],
        MsgFlags::MSG_DONTWAIT,
        None,
    )?;
    for datagram in received {
        let client = datagram.address.expect("recvmmsg gives it for each");
        each(datagram.bytes, client.into());
    }
    Ok(())
}

#[cfg(any(target_os = "android", target_os = "linux"))]
thread_local! {
    // Where recvmmsg(2) writes addresses: for each thread, since they are not `Send`, and for each
    // family, since `nix` does not set the length of an address again that the system has set. That
    // of an internet address is always the same. Control messages, for which `None` makes no room,
    // would need new headers each time.
    static V4_HEADERS: RefCell<MultiHeaders<SockaddrIn>> =
        RefCell::new(MultiHeaders::preallocate(LONGEST_BATCH, None));
    static V6_HEADERS: RefCell<MultiHeaders<SockaddrIn6>> =
        RefCell::new(MultiHeaders::preallocate(LONGEST_BATCH, None));
}

/// How many forks have led from the program's first process to this one, since the first call: what
/// differs from the number of before was done in another process. getpid(2) would be a system call.
#[allow(unsafe_code)]
pub(crate) fn forks() -> u32 {
    static FORKS: AtomicU32 = AtomicU32::new(0);
    static COUNTED: Once = Once::new();

    extern "C" fn count() {
        FORKS.fetch_add(1, Relaxed);
    }

    COUNTED.call_once(|| {
        // SAFETY: `count` is a function for the whole life of the program, and increments an
        // atomic, as a child of a program with threads may. Failure means that memory has run out:
        // then a child of a fork is not recognised, and nothing worse.
        unsafe {
            nix::libc::pthread_atfork(None, None, Some(count));
        }
    });
    FORKS.load(Relaxed)
}
