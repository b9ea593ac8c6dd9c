//! The datagrams that a server has received and not yet served.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use nix::errno::Errno;

use crate::transport::datagram_socket::{Buffers, ReplySocket, receive_now};
use crate::transport::destination::Destination;
use crate::transport::own_address::OwnAddress;
use crate::transport::receive_batch::{
    Destinations, Inet, LONGEST_BATCH, family_for_batches, receive_batch,
};
use crate::transport::sys;
use crate::values::address::Address;

/// The most bytes that the datagrams of a batch have together.
const MOST_BYTES: usize = 1 << 20;

/// Receives datagrams, one by one or in batches (`recvmmsg`), and returns them in their order.
///
/// A batch saves system calls, but hides datagrams from a program that polls the socket itself. So
/// the caller decides whether to receive ahead.
#[derive(Debug)]
pub(crate) struct DatagramInbox {
    /// The most bytes that are kept of a datagram.
    longest: usize,
    socket: Option<Arc<ReplySocket>>,
    /// Recognises the datagrams whose sender is the socket itself.
    own_address: OwnAddress,
    /// The kind of socket for recvmmsg(2); `None` for a socket that does not support this call.
    inet: Option<(Inet, Destinations)>,
    /// The memory for received datagrams: a slot each, one byte longer than `longest`. A datagram
    /// that fills its slot is truncated.
    slots: Vec<u8>,
    /// The datagrams of the batch that `next` has not returned yet.
    batch: VecDeque<Received>,
    /// Empty buffers for the datagrams that `next` returns.
    spare: Vec<Buffers>,
    /// The number of datagrams in the last batch.
    last: usize,
    /// Whether the last batch was a single datagram, so that the socket is probably empty.
    is_drained: bool,
    /// The process that received the batch: see [`sys::forks`].
    forks: u32,
}

impl DatagramInbox {
    /// Makes an inbox for datagrams of at most `longest` bytes; longer datagrams are truncated.
    pub(crate) fn new(longest: usize) -> Self {
        Self {
            longest,
            socket: None,
            own_address: OwnAddress::default(),
            inet: None,
            slots: Vec::new(),
            batch: VecDeque::new(),
            spare: Vec::new(),
            last: 0,
            is_drained: false,
            forks: 0,
        }
    }

    /// Returns whether datagrams of the last batch are left, which cost no system call.
    pub(crate) fn has_batch(&self) -> bool {
        !self.batch.is_empty() && self.forks == sys::forks()
    }

    pub(crate) fn descriptor(&self) -> Option<&OwnedFd> {
        self.socket.as_ref().map(|socket| socket.descriptor())
    }

    /// Receives from `socket` from now on.
    pub(crate) fn open(&mut self, socket: Arc<OwnedFd>) {
        let socket = Arc::new(ReplySocket::new(socket));
        let destinations = match socket.reports_destinations() {
            true => Destinations::Reported,
            false => Destinations::Unknown,
        };
        let family = family_for_batches(socket.descriptor().as_fd());
        self.inet = family.map(|family| (family, destinations));
        self.own_address = OwnAddress::new(socket.bound_address().cloned());
        self.socket = Some(socket);
    }

    /// Returns the address that the socket is bound to.
    pub(crate) fn bound_address(&self) -> Option<&Address> {
        self.socket.as_ref()?.bound_address()
    }

    /// Sets the addresses of all sockets of the server, if the server has several.
    pub(crate) fn set_own_addresses(&mut self, addresses: &[Address]) {
        self.own_address = OwnAddress::new(addresses.iter().cloned());
    }

    /// Returns the next datagram, without waiting for one. If `ahead` is true, the call may receive
    /// further datagrams together with this one; otherwise it receives no other.
    ///
    /// Fails with `EBADF` if the inbox is not open, and with `WouldBlock` if no datagram has
    /// arrived. After a batch of a single datagram, the next call fails with `WouldBlock` without a
    /// system call. The loop polls the socket then, as it would in most cases after a receive.
    pub(crate) fn next(&mut self, ahead: bool) -> io::Result<Datagram> {
        let socket = self.socket.clone().ok_or(Errno::EBADF)?;
        if !self.batch.is_empty() && self.forks != sys::forks() {
            // The batch belongs to the parent, which serves it.
            self.batch.clear();
        }
        if self.batch.is_empty() {
            let was_drained = std::mem::take(&mut self.is_drained);
            let ahead = ahead && self.most() > 1;
            match self.inet {
                Some(_) if ahead && was_drained => return Err(io::ErrorKind::WouldBlock.into()),
                Some(inet) if ahead => self.receive_batch(&socket, inet)?,
                Some(inet @ (_, Destinations::Reported)) => self.receive_with(&socket, inet, 1)?,
                _ => self.receive_one(&socket)?,
            }
        }
        let received = self.batch.pop_front().ok_or(io::ErrorKind::WouldBlock)?;
        let start = received.slot * self.slot_length();
        let length = received.length.min(self.longest);
        if self.spare.is_empty() {
            socket.fill(&mut self.spare);
        }
        let mut buffers = self.spare.pop().unwrap_or_default();
        buffers
            .packet
            .extend_from_slice(&self.slots[start..start + length]);
        Ok(Datagram {
            buffers,
            truncated: received.length > self.longest,
            is_own: (self.own_address).is_sender(&received.client, received.destination.as_ref()),
            client: received.client,
            destination: received.destination,
            socket,
        })
    }

    fn receive_one(&mut self, socket: &ReplySocket) -> io::Result<()> {
        self.make_slots(1);
        let slot_length = self.slot_length();
        let (length, client) = receive_now(socket.descriptor(), &mut self.slots[..slot_length])?;
        self.batch.push_back(Received {
            slot: 0,
            length,
            client,
            destination: None,
        });
        self.forks = sys::forks();
        Ok(())
    }

    fn receive_batch(
        &mut self,
        socket: &ReplySocket,
        inet: (Inet, Destinations),
    ) -> io::Result<()> {
        // Even an empty slot costs time, so the number of slots follows the traffic.
        let most = self.most();
        self.make_slots(most);
        self.receive_with(socket, inet, (2 * self.last).clamp(2, most))?;
        self.last = self.batch.len();
        self.is_drained = self.last == 1;
        Ok(())
    }

    /// Receives at most `count` datagrams with one system call.
    fn receive_with(
        &mut self,
        socket: &ReplySocket,
        inet: (Inet, Destinations),
        count: usize,
    ) -> io::Result<()> {
        self.make_slots(count);
        let (slot_length, batch) = (self.slot_length(), &mut self.batch);
        let slots = self.slots.chunks_exact_mut(slot_length);
        let socket = socket.descriptor().as_fd();
        receive_batch(socket, inet, count, slots, |datagram| {
            batch.push_back(Received {
                slot: batch.len(),
                length: datagram.length,
                client: Address::from(datagram.client),
                destination: datagram.destination,
            });
        })?;
        self.forks = sys::forks();
        Ok(())
    }

    fn make_slots(&mut self, count: usize) {
        let length = count * self.slot_length();
        if self.slots.len() < length {
            // The memory is allocated anew and not lengthened, so that the system maps the pages
            // only when they are used.
            self.slots = vec![0; length];
        }
    }

    /// Returns the most datagrams of a batch.
    fn most(&self) -> usize {
        (MOST_BYTES / self.slot_length()).clamp(1, LONGEST_BATCH)
    }

    fn slot_length(&self) -> usize {
        self.longest + 1
    }
}

/// A datagram for the caller.
#[derive(Debug)]
pub(crate) struct Datagram {
    /// The packet, and an empty reply.
    pub(crate) buffers: Buffers,
    /// Whether the packet is only the beginning of the datagram.
    pub(crate) truncated: bool,
    /// Whether the sender is the socket itself, or another socket of this machine with its port.
    pub(crate) is_own: bool,
    pub(crate) client: Address,
    /// The address to which the client sent, if the system reports it.
    pub(crate) destination: Option<Destination>,
    /// The socket for the reply.
    pub(crate) socket: Arc<ReplySocket>,
}

/// A datagram in a slot.
#[derive(Debug)]
struct Received {
    slot: usize,
    length: usize,
    client: Address,
    destination: Option<Destination>,
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::net::UdpSocket;
    use std::os::unix::net::UnixDatagram;

    use super::*;
    use crate::transport::datagram_socket::DatagramSocket;

    /// An inbox, and a client of its socket.
    fn inbox(longest: usize) -> (DatagramInbox, UdpSocket) {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(server.local_addr().unwrap()).unwrap();
        let mut inbox = DatagramInbox::new(longest);
        inbox.open(Arc::new(server.into()));
        (inbox, client)
    }

    fn packet(inbox: &mut DatagramInbox, ahead: bool) -> Vec<u8> {
        inbox.next(ahead).unwrap().buffers.packet
    }

    /// The next datagram, even if the first call returns `WouldBlock` after a batch of one.
    fn received(inbox: &mut DatagramInbox) -> Datagram {
        inbox.next(true).or_else(|_| inbox.next(true)).unwrap()
    }

    fn would_block(inbox: &mut DatagramInbox, ahead: bool) -> bool {
        let error = inbox.next(ahead).unwrap_err();
        error.kind() == io::ErrorKind::WouldBlock
    }

    /// How many datagrams the socket itself still has.
    fn left_in_socket(inbox: &mut DatagramInbox) -> usize {
        let socket = inbox.socket.clone().unwrap();
        let left = std::iter::from_fn(|| receive_now(socket.descriptor(), &mut [0; 10]).ok());
        left.count()
    }

    #[test]
    fn batches_grow_with_the_traffic_and_keep_the_order() {
        let (mut inbox, client) = inbox(100);
        for number in 0..100 {
            client.send(&[number; 3]).unwrap();
        }
        let mut batches = Vec::new();
        for number in 0..100 {
            let begins = inbox.batch.is_empty();
            assert_eq!(packet(&mut inbox, true), [number; 3]);
            if begins {
                batches.push(inbox.batch.len() + 1);
            }
        }
        assert_eq!(batches, [2, 4, 8, 16, 32, 32, 6]);
        assert!(would_block(&mut inbox, true));
        assert!(would_block(&mut inbox, false));
    }

    #[test]
    fn what_comes_after_a_batch_is_received_when_the_batch_is_served() {
        let (mut inbox, client) = inbox(100);
        client.send(b"one").unwrap();
        assert_eq!(packet(&mut inbox, true), b"one");
        client.send(b"two").unwrap();
        // The loop polls the socket now.
        assert!(would_block(&mut inbox, true));
        assert_eq!(packet(&mut inbox, true), b"two");
    }

    #[test]
    fn without_receiving_ahead_one_datagram_leaves_the_socket() {
        let (mut inbox, client) = inbox(100);
        for number in 0..3 {
            client.send(&[number]).unwrap();
        }
        assert_eq!(packet(&mut inbox, false), [0]);
        assert_eq!(left_in_socket(&mut inbox), 2);
        assert!(would_block(&mut inbox, false));
    }

    #[test]
    fn what_is_left_of_a_batch_comes_before_new_datagrams() {
        let (mut inbox, client) = inbox(100);
        client.send(b"one").unwrap();
        client.send(b"two").unwrap();
        assert_eq!(packet(&mut inbox, true), b"one");
        client.send(b"three").unwrap();
        assert_eq!(packet(&mut inbox, false), b"two");
        assert_eq!(packet(&mut inbox, false), b"three");
        assert!(would_block(&mut inbox, false));
    }

    #[test]
    fn an_empty_and_a_truncated_datagram_are_known_among_others() {
        let (mut inbox, client) = inbox(4);
        for sent in [&b"abcd"[..], b"", b"abcde", b"x"] {
            client.send(sent).unwrap();
        }
        for (expected, truncated) in [
            (&b"abcd"[..], false),
            (b"", false),
            (b"abcd", true),
            (b"x", false),
        ] {
            let datagram = inbox.next(true).unwrap();
            assert_eq!(datagram.buffers.packet, expected);
            assert_eq!(datagram.truncated, truncated);
        }
    }

    #[test]
    fn a_batch_takes_a_mebibyte_at_most() {
        let memory = |longest| {
            let (mut inbox, client) = inbox(longest);
            for number in 0..40 {
                client.send(&[number]).unwrap();
            }
            for number in 0..40 {
                assert_eq!(packet(&mut inbox, true), [number]);
            }
            assert!(inbox.batch.capacity() <= 2 * LONGEST_BATCH);
            inbox.slots.len()
        };
        assert_eq!(memory(8192), LONGEST_BATCH * 8193);
        assert!(memory(65_507) <= MOST_BYTES);
        // Longer datagrams are received one by one.
        assert_eq!(memory(MOST_BYTES), MOST_BYTES + 1);
    }

    #[test]
    fn a_client_is_known_by_its_address_over_ipv4_and_ipv6() {
        for loopback in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(server) = UdpSocket::bind(loopback) else {
                // A system without IPv6.
                continue;
            };
            let server_address = server.local_addr().unwrap();
            let clients = [(); 3].map(|()| UdpSocket::bind(loopback).unwrap());
            for client in &clients {
                client.send_to(b"", server_address).unwrap();
            }
            let mut inbox = DatagramInbox::new(10);
            inbox.open(Arc::new(server.into()));
            // The second and third pass use the headers of the first.
            for _ in 0..3 {
                for client in &clients {
                    let datagram = received(&mut inbox);
                    assert_eq!(datagram.client, client.local_addr().unwrap().into());
                    datagram.socket.send_to(b"reply", &datagram.client).unwrap();
                    let mut reply = [0; 10];
                    assert_eq!(client.recv(&mut reply).unwrap(), 5);
                    client.send_to(b"", server_address).unwrap();
                }
            }
        }
    }

    #[test]
    fn the_datagrams_of_a_unix_socket_are_received_one_by_one() {
        let (server, client) = UnixDatagram::pair().unwrap();
        let mut inbox = DatagramInbox::new(10);
        inbox.open(Arc::new(server.into()));
        client.send(b"one").unwrap();
        client.send(b"two").unwrap();
        let first = inbox.next(true).unwrap();
        assert_eq!(first.buffers.packet, b"one");
        assert_eq!(first.client, Address::UnixUnnamed);
        assert_eq!(left_in_socket(&mut inbox), 1);
    }

    #[test]
    #[allow(unsafe_code)]
    fn a_forked_child_leaves_a_batch_to_its_parent_and_receives_its_own() {
        let (mut inbox, client) = inbox(10);
        client.send(b"one").unwrap();
        client.send(b"two").unwrap();
        assert_eq!(packet(&mut inbox, true), b"one");
        client.send(b"three").unwrap();
        // SAFETY: the child allocates memory, which fork of the C library prepares for, calls
        // sockets and ends with _exit; it takes no lock that another thread may have held.
        match unsafe { nix::unistd::fork() }.unwrap() {
            nix::unistd::ForkResult::Child => {
                let received = inbox.next(false).map(|it| it.buffers.packet);
                let right = received.is_ok_and(|packet| packet == b"three");
                signal_hook::low_level::exit(i32::from(!right));
            }
            nix::unistd::ForkResult::Parent { child } => {
                let status = nix::sys::wait::waitpid(child, None).unwrap();
                assert_eq!(status, nix::sys::wait::WaitStatus::Exited(child, 0));
            }
        }
        assert_eq!(packet(&mut inbox, true), b"two");
        assert!(would_block(&mut inbox, true));
    }

    #[test]
    fn buffers_come_back_empty_and_keep_their_memory() {
        let (mut inbox, client) = inbox(100);
        let mut capacities = |packet: &[u8]| {
            client.send(packet).unwrap();
            let mut datagram = inbox.next(false).unwrap();
            assert_eq!(datagram.buffers.packet, packet);
            assert_eq!(datagram.buffers.reply, b"");
            let Buffers { packet, reply } = &mut datagram.buffers;
            let capacities = [packet.capacity(), reply.capacity()];
            reply.extend([2; 100]);
            datagram.socket.recycle(datagram.buffers);
            capacities
        };
        // Uses each of the kept buffers once.
        for _ in 0..100 {
            capacities(&[1; 100]);
        }
        assert!(capacities(b"short").iter().all(|it| *it >= 100));
    }

    #[test]
    fn buffers_that_are_long_are_not_kept() {
        let (mut inbox, client) = inbox(100);
        for _ in 0..1000 {
            client.send(b"packet").unwrap();
            let mut datagram = inbox.next(false).unwrap();
            assert_eq!(datagram.buffers.reply.capacity(), 0);
            datagram.buffers.reply.reserve(1 << 20);
            datagram.socket.recycle(datagram.buffers);
        }
    }
}
