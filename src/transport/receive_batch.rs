//! recvmmsg(2): several datagrams with one system call.

use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

#[cfg(any(target_os = "android", target_os = "linux"))]
use {
    nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6, SockaddrLike, recvmmsg},
    socket2::SockRef,
    std::cell::RefCell,
    std::io::IoSliceMut,
    std::os::fd::AsRawFd,
};

use crate::transport::destination::Destination;
#[cfg(any(target_os = "android", target_os = "linux"))]
use crate::transport::destination::find_destination;

/// The most datagrams that [`receive_batch`] receives.
#[cfg(any(target_os = "android", target_os = "linux"))]
pub(crate) const LONGEST_BATCH: usize = 32;
#[cfg(not(any(target_os = "android", target_os = "linux")))]
pub(crate) const LONGEST_BATCH: usize = 1;

/// The families of sockets that [`receive_batch`] supports: none on a system without recvmmsg(2).
#[cfg(any(target_os = "android", target_os = "linux"))]
#[derive(Debug, Clone, Copy)]
pub(crate) enum Inet {
    V4,
    V6,
}
#[cfg(not(any(target_os = "android", target_os = "linux")))]
#[derive(Debug, Clone, Copy)]
pub(crate) enum Inet {}

/// Returns the family of `socket` if [`receive_batch`] supports it: an internet socket on Linux.
///
/// Unix sockets are excluded: the system writes no address for a client without a name, and `nix`
/// reads the memory for that address as initialised.
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

/// Whether [`receive_batch`] looks for the destinations of the datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Destinations {
    Reported,
    Unknown,
}

/// A datagram in a slot of [`receive_batch`].
#[derive(Debug)]
pub(crate) struct InSlot {
    /// The length, at most that of the slot.
    pub(crate) length: usize,
    pub(crate) client: SocketAddr,
    pub(crate) destination: Option<Destination>,
}

/// recvmmsg(2): receives the datagrams that have arrived, one into each of the `count` `slots`,
/// which are at most [`LONGEST_BATCH`], without waiting. Calls `each` for each datagram.
#[cfg(any(target_os = "android", target_os = "linux"))]
pub(crate) fn receive_batch<'a>(
    socket: BorrowedFd<'_>,
    (family, destinations): (Inet, Destinations),
    count: usize,
    slots: impl Iterator<Item = &'a mut [u8]>,
    each: impl FnMut(InSlot),
) -> io::Result<()> {
    let slots = slots.take(count);
    match (destinations, family) {
        (Destinations::Unknown, Inet::V4) => {
            V4_HEADERS.with_borrow_mut(|it| receive_with(it, socket, slots, each))
        }
        (Destinations::Unknown, Inet::V6) => {
            V6_HEADERS.with_borrow_mut(|it| receive_with(it, socket, slots, each))
        }
        // The headers are made again for each call. The system writes the length of the control
        // messages of each datagram over the length of their memory, and `nix` does not reset that
        // length.
        (Destinations::Reported, Inet::V4) => {
            let room = Vec::with_capacity(ROOM_FOR_DESTINATION);
            let mut headers = MultiHeaders::<SockaddrIn>::preallocate(count, Some(room));
            receive_with(&mut headers, socket, slots, each)
        }
        (Destinations::Reported, Inet::V6) => {
            let room = Vec::with_capacity(ROOM_FOR_DESTINATION);
            let mut headers = MultiHeaders::<SockaddrIn6>::preallocate(count, Some(room));
            receive_with(&mut headers, socket, slots, each)
        }
    }
}
#[cfg(not(any(target_os = "android", target_os = "linux")))]
pub(crate) fn receive_batch<'a>(
    _: BorrowedFd<'_>,
    (family, _): (Inet, Destinations),
    _: usize,
    _: impl Iterator<Item = &'a mut [u8]>,
    _: impl FnMut(InSlot),
) -> io::Result<()> {
    match family {}
}

/// Room for the control messages of one datagram. A program may have set options of its own that
/// add messages, such as a time stamp. If there is no room for all messages, the destination is
/// unknown.
#[cfg(any(target_os = "android", target_os = "linux"))]
const ROOM_FOR_DESTINATION: usize = 128;

#[cfg(any(target_os = "android", target_os = "linux"))]
fn receive_with<'a, A: SockaddrLike + Copy + Into<SocketAddr>>(
    headers: &mut MultiHeaders<A>,
    socket: BorrowedFd<'_>,
    slots: impl Iterator<Item = &'a mut [u8]>,
    mut each: impl FnMut(InSlot),
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
        let client = datagram
            .address
            .expect("recvmmsg writes an address for each datagram");
        each(InSlot {
            length: datagram.bytes,
            client: client.into(),
            destination: datagram.cmsgs().ok().and_then(find_destination),
        });
    }
    Ok(())
}

#[cfg(any(target_os = "android", target_os = "linux"))]
thread_local! {
    // The memory in which recvmmsg(2) writes addresses. Each thread has its own, since the headers
    // are not `Send`; and each family, since `nix` does not reset the length of an address, which
    // is constant within an internet family. `None` makes no room for control messages.
    static V4_HEADERS: RefCell<MultiHeaders<SockaddrIn>> =
        RefCell::new(MultiHeaders::preallocate(LONGEST_BATCH, None));
    static V6_HEADERS: RefCell<MultiHeaders<SockaddrIn6>> =
        RefCell::new(MultiHeaders::preallocate(LONGEST_BATCH, None));
}
