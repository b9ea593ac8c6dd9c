//! Where a server listens: families, names, ports, options, and the errors of a server that cannot.

use std::io::{ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use socketserver::{
    Address, BaseServer, Error, HandlerFactory, InetAddress, Serve, Server, StreamRequest,
    TcpServer, ThreadingTcpServer, UdpServer, UnixDatagramServer, UnixStreamServer,
};
use support::clients::{DatagramClient, StreamClient, has_ipv6};
use support::reports::{Reports, reports};
use support::running_server::{RunningServer, close};
use support::services::{EchoLine, datagram_handler, stream_handler};

const LOOPBACK: &str = "127.0.0.1:0";

/// Handlers that report the client's address to the test and to the client.
fn introductions() -> (Reports, impl HandlerFactory<StreamRequest>) {
    let (reporter, reports) = reports();
    let factory = stream_handler(move |request| {
        let client = request.client_address().clone();
        reporter.say(client.ip().unwrap());
        Ok(write!(request, "{client}")?)
    });
    (reports, factory)
}

/// The client's address as the client sees it.
fn own_address(client: &StreamClient) -> String {
    let address = client.socket().local_addr().unwrap();
    address.as_socket().unwrap().to_string()
}

fn at(ip: impl Into<IpAddr>, server: &Server<impl BaseServer>) -> Address {
    Address::from((ip.into(), server.server_address().port().unwrap()))
}

#[test]
fn port_0_is_any_free_port_which_can_be_read() {
    let server = TcpServer::new(LOOPBACK, EchoLine::default).bind().unwrap();
    let address = server.local_addr().unwrap();
    assert_ne!(address.port(), 0);
    assert_eq!(server.server_address(), Address::from(address));
    assert_eq!(server.server_address().to_string(), address.to_string());
    assert_eq!(server.handle().server_address(), server.server_address());
    let real = SockRef::from(&server).local_addr().unwrap();
    assert_eq!(real.as_socket(), Some(address));
}

#[test]
fn an_address_in_use_is_named_in_the_error() {
    fn assert_names(error: Error, address: SocketAddr) {
        assert!(matches!(error, Error::AddressInUse { .. }), "{error:?}");
        let message = error.to_string();
        assert!(message.contains(&address.to_string()), "{message}");
        assert!(message.contains("in use"), "{message}");
    }
    let tcp = ThreadingTcpServer::bind(LOOPBACK, EchoLine::default).unwrap();
    let address = tcp.local_addr().unwrap();
    let second = ThreadingTcpServer::bind(address, EchoLine::default);
    assert_names(second.unwrap_err(), address);

    let udp = UdpServer::new(LOOPBACK, EchoLine::default).bind().unwrap();
    let address = udp.local_addr().unwrap();
    let second = UdpServer::new(address, EchoLine::default).bind();
    assert_names(second.unwrap_err(), address);
}

#[test]
#[cfg(target_os = "linux")]
fn an_address_at_which_another_socket_has_listened_since_the_bind_is_in_use() {
    let bound = |address: SocketAddr| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&address.into()).unwrap();
        socket
    };
    let in_use = |error: Error| assert!(matches!(error, Error::AddressInUse { .. }), "{error:?}");

    let server = TcpServer::new(LOOPBACK, EchoLine::default).into_server();
    let server = server.unwrap();
    server.server_bind().unwrap();
    let other = bound(server.local_addr().unwrap());
    other.listen(1).unwrap();
    in_use(server.server_activate().unwrap_err());

    let given = bound("127.0.0.1:0".parse().unwrap());
    let other = bound(given.local_addr().unwrap().as_socket().unwrap());
    other.listen(1).unwrap();
    let given = std::net::TcpListener::from(given);
    in_use(
        TcpServer::from_listener(given, EchoLine::default)
            .bind()
            .unwrap_err(),
    );
}

#[test]
#[cfg(target_os = "linux")]
fn a_name_or_an_option_that_another_socket_has_is_in_use() {
    let in_use = |error: Error| assert!(matches!(error, Error::AddressInUse { .. }), "{error:?}");
    // A file of its own, so that no other test has the name.
    let directory = support::short_paths::directory();
    let name = format!("\0{}", directory.path().display());
    let stream = UnixStreamServer::new(&name, EchoLine::default).bind();
    let second = UnixStreamServer::new(&name, EchoLine::default).bind();
    in_use(second.unwrap_err());
    drop(stream);
    let datagrams = UnixDatagramServer::new(&name, EchoLine::default).bind();
    let second = UnixDatagramServer::new(&name, EchoLine::default).bind();
    in_use(second.unwrap_err());
    drop(datagrams);

    // One of the two shares its port, the other does not.
    let first = UdpServer::new(LOOPBACK, EchoLine::default).bind().unwrap();
    let address = first.local_addr().unwrap();
    let second = UdpServer::new(address, EchoLine::default).allow_reuse_port(true);
    in_use(second.bind().unwrap_err());
    let first = TcpServer::new(LOOPBACK, EchoLine::default).bind().unwrap();
    let address = first.local_addr().unwrap();
    let second = TcpServer::new(address, EchoLine::default).allow_reuse_port(true);
    in_use(second.bind().unwrap_err());
}

#[test]
fn an_address_of_another_machine_is_named_in_the_error() {
    // An address for documentation, which no machine has.
    let error = TcpServer::new("192.0.2.1:0", EchoLine::default)
        .bind()
        .unwrap_err();
    assert!(
        matches!(error, Error::AddressNotAvailable { .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("192.0.2.1:0"), "{error}");
}

#[test]
fn an_ipv6_server_serves_ipv6_clients() {
    if !has_ipv6() {
        return;
    }
    let (_reports, factory) = introductions();
    let running = RunningServer::start(ThreadingTcpServer::bind("[::1]:0", factory).unwrap());
    assert!(running.address().to_string().starts_with("[::1]:"));
    let mut client = StreamClient::connect(&running.address());
    let expected = own_address(&client);
    assert_eq!(client.rest(), expected.as_bytes());
    running.close();
}

#[test]
fn an_ipv6_server_on_every_address_serves_ipv4_clients_whose_address_prints_as_ipv4() {
    if !has_ipv6() {
        return;
    }
    let (mut reports, factory) = introductions();
    let server = ThreadingTcpServer::bind("[::]:0", factory).unwrap();
    let (v4, v6) = (
        at(Ipv4Addr::LOCALHOST, &server),
        at(Ipv6Addr::LOCALHOST, &server),
    );
    let running = RunningServer::start(server);
    for (address, ip) in [(v4, "127.0.0.1"), (v6, "::1")] {
        let mut client = StreamClient::connect(&address);
        let expected = own_address(&client);
        assert_eq!(client.rest(), expected.as_bytes());
        assert_eq!(reports.next_report(), ip);
    }
    running.close();
}

#[test]
fn a_udp_server_on_every_address_answers_both_families() {
    if !has_ipv6() {
        return;
    }
    let factory = datagram_handler(|request| {
        let client = request.client_address().clone();
        Ok(write!(request, "{client}")?)
    });
    let server = UdpServer::new("[::]:0", factory).bind().unwrap();
    let (v4, v6) = (
        at(Ipv4Addr::LOCALHOST, &server),
        at(Ipv6Addr::LOCALHOST, &server),
    );
    let running = RunningServer::start(server);
    for address in [v4, v6] {
        let client = DatagramClient::connect(&address);
        client.send(b"who am I?");
        let expected = client.socket().local_addr().unwrap().as_socket().unwrap();
        assert_eq!(client.receive(), expected.to_string().as_bytes());
    }
    running.close();
}

#[test]
fn an_ipv6_server_with_only_v6_keeps_ipv4_clients_out() {
    if !has_ipv6() {
        return;
    }
    let (mut reports, factory) = introductions();
    let layer = TcpServer::new("[::]:0", factory).only_v6(true);
    let server = layer.bind().unwrap();
    assert!(SockRef::from(&server).only_v6().unwrap());
    let (v4, v6) = (
        at(Ipv4Addr::LOCALHOST, &server),
        at(Ipv6Addr::LOCALHOST, &server),
    );
    let running = RunningServer::start(server);
    // Usually it is refused; but the port is free for another program's IPv4 server.
    let _elsewhere = StreamClient::try_connect(&v4);
    let mut client = StreamClient::connect(&v6);
    let expected = own_address(&client);
    assert_eq!(client.rest(), expected.as_bytes());
    running.close();
    assert_eq!(reports.so_far(), ["::1"]);
}

#[test]
fn host_names_are_resolved() {
    fn serves(server: Server<impl BaseServer>) {
        let running = RunningServer::start(server);
        assert!(running.address().ip().unwrap().is_loopback());
        let mut client = StreamClient::connect(&running.address());
        client.send("hello\n");
        assert_eq!(client.rest(), b"hello\n");
        running.close();
    }
    serves(
        TcpServer::new("localhost:0", EchoLine::default)
            .bind()
            .unwrap(),
    );
    serves(
        TcpServer::new(("localhost", 0), EchoLine::default)
            .bind()
            .unwrap(),
    );
    serves(
        TcpServer::new("localhost:0".to_owned(), EchoLine::default)
            .bind()
            .unwrap(),
    );
}

#[test]
fn addresses_can_be_written_as_numbers_and_as_borrowed_text() {
    let tcp = |address: InetAddress| {
        let server = TcpServer::new(address, EchoLine::default).bind().unwrap();
        server.local_addr().unwrap().ip()
    };
    assert_eq!(tcp(([127, 0, 0, 1], 0).into()), Ipv4Addr::LOCALHOST);
    assert_eq!(tcp((Ipv4Addr::LOCALHOST, 0).into()), Ipv4Addr::LOCALHOST);
    if has_ipv6() {
        assert_eq!(tcp((Ipv6Addr::LOCALHOST, 0).into()), Ipv6Addr::LOCALHOST);
    }
    assert_eq!(tcp((&LOOPBACK.to_owned()).into()), Ipv4Addr::LOCALHOST);

    // As people write them.
    drop(
        TcpServer::new(([127, 0, 0, 1], 0), EchoLine::default)
            .bind()
            .unwrap(),
    );
    drop(
        UdpServer::new((Ipv4Addr::LOCALHOST, 0), EchoLine::default)
            .bind()
            .unwrap(),
    );
    if has_ipv6() {
        let layer = UdpServer::new((Ipv6Addr::LOCALHOST, 0), EchoLine::default);
        drop(layer.bind().unwrap());
    }
    let text = LOOPBACK.to_owned();
    drop(ThreadingTcpServer::bind(&text, EchoLine::default).unwrap());
    drop(ThreadingTcpServer::bind(text, EchoLine::default).unwrap());
}

#[test]
fn an_option_can_be_set_between_the_socket_s_creation_and_its_binding() {
    let factory = stream_handler(|request| {
        // Linux hands the option down from the listening socket to its connections.
        let socket = request.socket().ok_or("no descriptor")?;
        let keepalive = SockRef::from(&socket).keepalive()?;
        Ok(write!(request, "{keepalive}")?)
    });
    let server = TcpServer::new(LOOPBACK, factory).into_server().unwrap();
    SockRef::from(&server).set_keepalive(true).unwrap();
    server.server_bind().unwrap();
    let address = server.server_address();
    assert_ne!(address.port(), Some(0));
    // It has its address, and does not listen yet.
    let refused = StreamClient::try_connect(&address).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    server.server_activate().unwrap();
    let running = RunningServer::start(server);
    assert_eq!(StreamClient::connect(&address).rest(), b"true");
    running.close();
}

#[test]
fn an_unbound_server_that_cannot_be_bound_returns_an_error_and_can_be_closed() {
    let taken = TcpServer::new(LOOPBACK, EchoLine::default).bind().unwrap();
    let address = taken.local_addr().unwrap();
    let server = TcpServer::new(address, EchoLine::default)
        .into_server()
        .unwrap();
    let error = server.server_bind().unwrap_err();
    assert!(matches!(error, Error::AddressInUse { .. }), "{error:?}");
    close(server);
}

#[test]
fn address_reuse_is_on_for_tcp_and_off_for_udp_unless_set() {
    fn reuses(server: &Server<impl BaseServer>) -> bool {
        SockRef::from(server).reuse_address().unwrap()
    }
    let tcp = || TcpServer::new(LOOPBACK, EchoLine::default);
    assert!(reuses(&tcp().bind().unwrap()));
    assert!(!reuses(&tcp().allow_reuse_address(false).bind().unwrap()));
    let udp = || UdpServer::new(LOOPBACK, EchoLine::default);
    assert!(!reuses(&udp().bind().unwrap()));
    assert!(reuses(&udp().allow_reuse_address(true).bind().unwrap()));
}

#[test]
fn servers_that_allow_it_share_a_port() {
    let tcp =
        |address: SocketAddr| TcpServer::new(address, EchoLine::default).allow_reuse_port(true);
    let first = tcp(LOOPBACK.parse().unwrap()).bind().unwrap();
    let address = first.local_addr().unwrap();
    let second = tcp(address).bind().unwrap();
    assert_eq!(second.local_addr(), Some(address));
    // One that does not allow it gets no share.
    TcpServer::new(address, EchoLine::default)
        .bind()
        .unwrap_err();

    let udp =
        |address: SocketAddr| UdpServer::new(address, EchoLine::default).allow_reuse_port(true);
    let first = udp(LOOPBACK.parse().unwrap()).bind().unwrap();
    let address = first.local_addr().unwrap();
    drop(udp(address).bind().unwrap());
}

#[test]
fn as_many_connections_wait_to_be_accepted_as_was_asked_for() {
    // Over a Unix socket the queue is exact on Linux: it holds one more than its size, and a client
    // that does not block is refused by a full queue.
    let directory = support::short_paths::directory();
    let path = directory.path().join("socket");
    let _server = UnixStreamServer::new(&path, EchoLine::default)
        .request_queue_size(2)
        .bind()
        .unwrap();
    let connect = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
            .connect(&SockAddr::unix(&path).unwrap())
            .map(|()| socket)
    };
    let _waiting = [connect().unwrap(), connect().unwrap(), connect().unwrap()];
    assert_eq!(connect().unwrap_err().kind(), ErrorKind::WouldBlock);
}
