//! A bottom layer of a user's own for datagrams, over the standard library's socket.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex};

use socketserver::layer::{DatagramSocket, GetRequestError, LayerHandle, run_handler};
use socketserver::{
    Address, BaseServer, DatagramRequest, Error, HandlerFactory, HandlerResult, Limits,
    ReactorMixIn, Serve, ThreadPoolMixIn, ThreadingMixIn,
};
use support::clients::DatagramClient;
use support::running_server::RunningServer;
use support::services::{EchoLine, datagram_handler};

use crate::datagrams::answers_bursts;

/// The most bytes of a datagram that the layer keeps.
const LONGEST: usize = 100;

/// Receives from one socket everything that has come, and sends through another value.
struct Own<F> {
    handle: LayerHandle,
    receiving: UdpSocket,
    received: Mutex<VecDeque<(Vec<u8>, SocketAddr)>>,
    sending: Arc<dyn DatagramSocket>,
    handler_factory: F,
}

impl<F> Own<F> {
    /// A layer whose requests send through what `sending` makes of the socket.
    fn new<S: DatagramSocket + 'static>(
        sending: impl FnOnce(UdpSocket) -> S,
        handler_factory: F,
    ) -> Self {
        let receiving = UdpSocket::bind("127.0.0.1:0").unwrap();
        receiving.set_nonblocking(true).unwrap();
        let handle = LayerHandle::new();
        handle.set_server_address(Address::from(receiving.local_addr().unwrap()));
        Self {
            handle,
            sending: Arc::new(sending(receiving.try_clone().unwrap())),
            receiving,
            received: Mutex::default(),
            handler_factory,
        }
    }
}

impl<F: HandlerFactory<DatagramRequest>> BaseServer for Own<F> {
    type Request = DatagramRequest;

    fn layer_handle(&self) -> &LayerHandle {
        &self.handle
    }

    fn socket(&self) -> Result<Arc<OwnedFd>, Error> {
        let failed = |source| Error::create_socket(self.handle.server().server_address(), source);
        let copy = self.receiving.as_fd().try_clone_to_owned();
        copy.map(Arc::new).map_err(failed)
    }

    fn server_bind(&self) -> Result<(), Error> {
        Ok(())
    }

    fn server_activate(&self) -> Result<(), Error> {
        Ok(())
    }

    fn get_request(&self) -> Result<DatagramRequest, GetRequestError> {
        let mut received = self.received.lock().unwrap();
        let mut packet = [0; LONGEST + 1];
        while let Ok((length, client)) = self.receiving.recv_from(&mut packet) {
            received.push_back((packet[..length].to_owned(), client));
        }
        let (mut packet, client) = received.pop_front().ok_or(GetRequestError::Empty)?;
        let is_truncated = packet.len() > LONGEST;
        packet.truncate(LONGEST);
        let guard = self.handle.register_request(Address::from(client));
        let socket = self.sending.clone();
        Ok(DatagramRequest::new(packet, is_truncated, socket, guard))
    }

    fn finish_request(&self, request: &mut DatagramRequest) -> HandlerResult {
        let mut handler = self.handler_factory.make_handler();
        run_handler(&mut handler, request)
    }

    fn server_close(&self) {}
}

/// Sends back the packet in two datagrams and a written one, and whether the packet is truncated.
fn conversation() -> impl HandlerFactory<DatagramRequest> {
    datagram_handler(|request| {
        request.send(request.packet())?;
        request.send_to(b"", request.client_address())?;
        Ok(write!(request, "truncated: {}", request.is_truncated())?)
    })
}

fn serves(layers: impl BaseServer) {
    let running = RunningServer::start(layers.bind().unwrap());
    let client = DatagramClient::connect(&running.address());
    for (length, last) in [
        (LONGEST, "truncated: false"),
        (LONGEST + 1, "truncated: true"),
    ] {
        client.send(&vec![b'x'; length]);
        assert_eq!(client.receive(), [b'x'; LONGEST]);
        assert_eq!(client.receive(), b"");
        assert_eq!(client.receive(), last.as_bytes());
    }
    let handle = running.handle();
    running.close();
    let statistics = handle.statistics();
    assert_eq!((statistics.accepted, statistics.finished), (2, 2));
    let received = 2 * LONGEST;
    let sent = received + "truncated: false".len() + "truncated: true".len();
    let bytes = (received as u64, sent as u64);
    assert_eq!((statistics.received, statistics.sent), bytes);
}

#[test]
fn datagrams_that_a_bottom_layer_of_one_s_own_receives_are_served_and_counted() {
    let layer = || Own::new(|socket| socket, conversation());
    serves(layer());
    serves(layer().mix_in(ThreadingMixIn::new));
    serves(layer().mix_in(ThreadPoolMixIn::new));
    serves(layer().mix_in(ReactorMixIn::new));
}

#[test]
fn datagrams_that_a_bottom_layer_of_one_s_own_has_received_ahead_are_served() {
    let layer = || Own::new(|socket| socket, EchoLine::default);
    answers_bursts(layer());
    answers_bursts(layer().mix_in(ThreadingMixIn::new));
    answers_bursts(layer().mix_in(ThreadPoolMixIn::new));
    answers_bursts(layer().mix_in(ReactorMixIn::new));
}

/// Marks each datagram with the method that has sent it.
#[derive(Debug)]
struct Marking(UdpSocket);

impl DatagramSocket for Marking {
    fn send_to(&self, packet: &[u8], receiver: &Address) -> io::Result<()> {
        let packet = [b"waits: ", packet].concat();
        DatagramSocket::send_to(&self.0, &packet, receiver)
    }

    fn send_to_now(&self, packet: &[u8], receiver: &Address) -> io::Result<()> {
        let packet = [b"does not wait: ", packet].concat();
        self.0.send_to_now(&packet, receiver)
    }
}

#[test]
fn a_refused_client_receives_its_message_without_a_wait_of_the_loop() {
    let layer = Own::new(Marking, EchoLine::default);
    let running = RunningServer::start(layer.bind().unwrap());
    let client = DatagramClient::connect(&running.address());
    client.send(b"hello");
    assert_eq!(client.receive(), b"waits: hello");
    let limits = Limits::none()
        .with_max_connections_per_address(0)
        .refuse_with("busy");
    running.handle().set_limits(limits);
    client.send(b"hello");
    assert_eq!(client.receive(), b"does not wait: busy");
    running.close();
}

#[test]
fn the_standard_library_s_sockets_send_to_addresses_of_their_family_alone() {
    let directory = support::short_paths::directory();
    let path = directory.path().join("receiver");
    let receiver = UnixDatagram::bind(&path).unwrap();
    let unix = UnixDatagram::unbound().unwrap();
    let path = Address::Unix(path);
    DatagramSocket::send_to(&unix, b"hello", &path).unwrap();
    let mut packet = [0; 10];
    assert_eq!(receiver.recv(&mut packet).unwrap(), 5);
    unix.send_to_now(b"bye", &path).unwrap();
    assert_eq!(receiver.recv(&mut packet).unwrap(), 3);

    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let udp_address = Address::from(udp.local_addr().unwrap());
    DatagramSocket::send_to(&udp, b"hello", &path).unwrap_err();
    DatagramSocket::send_to(&unix, b"hello", &udp_address).unwrap_err();
    unix.send_to_now(b"hello", &Address::UnixUnnamed)
        .unwrap_err();
}
