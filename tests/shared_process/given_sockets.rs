//! Servers over sockets that were opened and bound before.

use std::fs::File;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener};

use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use socketserver::{
    Address, BaseServer, Error, Serve, Server, TcpServer, ThreadingMixIn, UdpServer,
    UnixDatagramServer, UnixStreamServer,
};
use support::clients::{DatagramClient, StreamClient};
use support::running_server::{RunningServer, close};
use support::services::EchoLine;

const LOOPBACK: &str = "127.0.0.1:0";

fn tcp_listener() -> (TcpListener, Address) {
    let listener = TcpListener::bind(LOOPBACK).unwrap();
    let address = Address::from(listener.local_addr().unwrap());
    (listener, address)
}

fn udp_socket() -> (UdpSocket, Address) {
    let socket = UdpSocket::bind(LOOPBACK).unwrap();
    let address = Address::from(socket.local_addr().unwrap());
    (socket, address)
}

fn over_tcp(socket: impl Into<OwnedFd>) -> TcpServer<fn() -> EchoLine> {
    TcpServer::from_listener(TcpListener::from(socket.into()), EchoLine::default)
}

fn over_udp(socket: impl Into<OwnedFd>) -> UdpServer<fn() -> EchoLine> {
    UdpServer::from_socket(UdpSocket::from(socket.into()), EchoLine::default)
}

/// Serves a client that has connected before the server was made, and one that connects later.
/// Returns the server's address.
fn serves_streams(layers: impl BaseServer, mut waiting: StreamClient) -> Address {
    let running = RunningServer::start(layers.bind().unwrap());
    let address = running.address();
    waiting.send("early\n");
    assert_eq!(waiting.rest(), b"early\n");
    let mut client = StreamClient::connect(&address);
    client.send("late\n");
    assert_eq!(client.rest(), b"late\n");
    running.close();
    address
}

/// Serves a datagram that was sent before the server was made, and one that is sent later. Returns
/// the server's address.
fn serves_datagrams(layers: impl BaseServer, client: &DatagramClient) -> Address {
    let running = RunningServer::start(layers.bind().unwrap());
    let address = running.address();
    assert_eq!(client.receive(), b"early");
    client.send(b"late");
    assert_eq!(client.receive(), b"late");
    running.close();
    address
}

#[test]
fn a_given_tcp_listener_is_served_and_its_copy_outlives_the_server() {
    let (listener, address) = tcp_listener();
    let copy = listener.try_clone().unwrap();
    let waiting = StreamClient::connect(&address);
    let layers = over_tcp(listener).mix_in(ThreadingMixIn::new);
    assert_eq!(serves_streams(layers, waiting), address);

    // Not shut down: whoever has a copy accepts clients.
    let _client = StreamClient::connect(&address);
    copy.set_nonblocking(false).unwrap();
    copy.accept().unwrap();
}

#[test]
fn a_given_udp_socket_is_served_and_its_copy_outlives_the_server() {
    let (socket, address) = udp_socket();
    let copy = socket.try_clone().unwrap();
    let client = DatagramClient::connect(&address);
    client.send(b"early");
    assert_eq!(serves_datagrams(over_udp(socket), &client), address);

    client.send(b"for the copy");
    let mut packet = [0; 100];
    let (length, _) = copy.recv_from(&mut packet).unwrap();
    assert_eq!(packet[..length], *b"for the copy");
}

#[test]
fn the_file_of_a_given_unix_socket_stays() {
    let directory = support::short_paths::directory();
    let path = directory.path().join("stream");
    let listener = UnixListener::bind(&path).unwrap();
    let address = Address::Unix(path.clone());
    let waiting = StreamClient::connect(&address);
    let layers = UnixStreamServer::from_listener(listener, EchoLine::default);
    assert_eq!(serves_streams(layers, waiting), address);
    assert!(path.exists());

    let path = directory.path().join("datagram");
    let socket = UnixDatagram::bind(&path).unwrap();
    let address = Address::Unix(path.clone());
    let client = DatagramClient::connect(&address);
    client.send(b"early");
    let layers = UnixDatagramServer::from_socket(socket, EchoLine::default);
    assert_eq!(serves_datagrams(layers, &client), address);
    assert!(path.exists());
}

#[test]
fn a_given_socket_is_closed_with_its_server_or_its_layer() {
    // Over Unix sockets, since another test could listen on a released port.
    let directory = support::short_paths::directory();
    let make_layer = |name: &str| {
        let path = directory.path().join(name);
        let listener = UnixListener::bind(&path).unwrap();
        let layer = UnixStreamServer::from_listener(listener, EchoLine::default);
        let address = Address::Unix(path);
        drop(StreamClient::connect(&address));
        (layer, address)
    };
    let assert_closed = |address: &Address| {
        let refused = StreamClient::try_connect(address).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    };
    let (layer, address) = make_layer("server");
    close(layer.bind().unwrap());
    assert_closed(&address);

    let (layer, address) = make_layer("layer");
    drop(layer);
    assert_closed(&address);

    // Closed by hook, before anything has opened the socket.
    let (layer, address) = make_layer("hook");
    layer.server_close();
    assert_closed(&address);
    let error = layer.socket().unwrap_err();
    assert!(matches!(error, Error::Closed { .. }), "{error:?}");
}

#[test]
fn a_given_socket_that_is_bound_alone_listens_when_the_server_is_activated() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any_port = LOOPBACK.parse::<std::net::SocketAddr>().unwrap();
    socket.bind(&any_port.into()).unwrap();
    let bound = socket.local_addr().unwrap().as_socket().unwrap();
    let server = over_tcp(socket).into_server().unwrap();
    // Known before `server_bind`.
    assert_eq!(server.server_address(), Address::from(bound));
    server.server_bind().unwrap();
    assert_eq!(server.server_address(), Address::from(bound));
    StreamClient::try_connect(&Address::from(bound)).unwrap_err();
    server.server_activate().unwrap();
    let running = RunningServer::start(server);
    let mut client = StreamClient::connect(&running.address());
    client.send("hello\n");
    assert_eq!(client.rest(), b"hello\n");
    running.close();
}

#[test]
fn the_loop_never_waits_in_accept_and_a_reply_waits_for_room() {
    fn is_nonblocking(server: &Server<impl BaseServer>) -> bool {
        SockRef::from(&server.as_fd()).nonblocking().unwrap()
    }
    let (listener, _) = tcp_listener();
    assert!(is_nonblocking(&over_tcp(listener).bind().unwrap()));

    let (socket, _) = udp_socket();
    socket.set_nonblocking(true).unwrap();
    assert!(!is_nonblocking(&over_udp(socket).bind().unwrap()));
}

#[test]
#[cfg(target_os = "linux")]
fn a_given_socket_is_not_for_the_programs_that_a_handler_starts() {
    let (listener, _) = tcp_listener();
    // As a supervisor passes the descriptor.
    SockRef::from(&listener).set_cloexec(false).unwrap();
    let server = over_tcp(listener).bind().unwrap();
    let descriptor = server.as_fd().as_raw_fd();
    let facts = std::fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}")).unwrap();
    let flags = facts.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = i32::from_str_radix(flags.unwrap().trim(), 8).unwrap();
    let close_on_exec = nix::libc::O_CLOEXEC;
    assert_eq!(flags & close_on_exec, close_on_exec, "{facts}");
}

#[test]
fn an_option_of_bind_is_refused_on_a_given_socket() {
    fn assert_refused(layers: impl BaseServer, option: &str, address: &Address) {
        let error = layers.bind().map(drop).unwrap_err();
        assert!(matches!(error, Error::SetOption { .. }), "{error:?}");
        let error = error.to_string();
        assert!(error.contains(option), "{error}");
        assert!(error.contains(&address.to_string()), "{error}");
        assert!(error.contains("given to the server"), "{error}");
    }
    for value in [true, false] {
        let tcp = || {
            let (listener, address) = tcp_listener();
            (over_tcp(listener), address)
        };
        let (layer, address) = tcp();
        let layer = layer.allow_reuse_address(value);
        assert_refused(layer, "SO_REUSEADDR", &address);
        let (layer, address) = tcp();
        let layer = layer.allow_reuse_port(value);
        assert_refused(layer, "SO_REUSEPORT", &address);
        let (layer, address) = tcp();
        assert_refused(layer.only_v6(value), "IPV6_V6ONLY", &address);

        let (socket, address) = udp_socket();
        let layer = over_udp(socket).allow_reuse_port(value);
        assert_refused(layer, "SO_REUSEPORT", &address);
    }
}

#[test]
fn options_of_the_server_itself_are_kept() {
    let directory = support::short_paths::directory();
    let path = directory.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let layer = UnixStreamServer::from_listener(listener, EchoLine::default);
    let server = layer.request_queue_size(0).bind().unwrap();
    let _waiting = StreamClient::connect(&server.server_address());
    let one_too_many = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    one_too_many.set_nonblocking(true).unwrap();
    let full = one_too_many.connect(&SockAddr::unix(&path).unwrap());
    assert_eq!(full.unwrap_err().kind(), io::ErrorKind::WouldBlock);

    let (socket, address) = udp_socket();
    let layer = over_udp(socket).max_packet_size(3);
    let running = RunningServer::start(layer.bind().unwrap());
    let client = DatagramClient::connect(&address);
    client.send(b"four");
    assert_eq!(client.receive(), b"fou");
    running.close();
}

#[test]
fn a_descriptor_of_another_kind_is_refused_with_the_reason() {
    fn refusal(layers: impl BaseServer) -> String {
        let error = layers.bind().map(drop).unwrap_err();
        assert!(matches!(error, Error::GivenSocket { .. }), "{error:?}");
        error.to_string()
    }
    let error = refusal(over_tcp(udp_socket().0));
    assert!(error.contains("type is SOCK_DGRAM"), "{error}");
    assert!(error.contains("needs SOCK_STREAM"), "{error}");
    let error = refusal(over_udp(tcp_listener().0));
    assert!(error.contains("type is SOCK_STREAM"), "{error}");
    let file = File::open("/dev/null").unwrap();
    let error = refusal(over_tcp(file));
    assert!(error.contains("on non-socket"), "{error}");
}
