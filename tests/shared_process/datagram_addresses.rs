//! The address to which a datagram was sent: the reply leaves from there, and a handler sees it.

use std::io::Write;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use socketserver::layer::DatagramSocket;
use socketserver::mock::MockDatagram;
use socketserver::{
    Address, BaseServer, DatagramRequest, HandlerFactory, Limits, Serve, Server,
    ThreadPoolUdpServer, ThreadingUdpServer, UdpServer, UnixDatagramServer,
};
use support::clients::{DatagramClient, has_ipv6};
use support::running_server::RunningServer;
use support::services::{EchoLine, datagram_handler};
use support::waiting::{LIMIT, eventually};

const WILDCARD: &str = "0.0.0.0:0";

/// The addresses of this machine at which a server on `wildcard` can be asked.
fn hosts(wildcard: &str) -> Vec<IpAddr> {
    let mut hosts = vec!["127.0.0.1", "127.0.0.2", "127.9.9.9"];
    if wildcard.starts_with('[') {
        hosts.push("::1");
    }
    hosts
        .into_iter()
        .map(|host| host.parse().unwrap())
        .collect()
}

/// The wildcard addresses of the families that the machine has.
fn wildcards() -> Vec<&'static str> {
    let mut wildcards = vec![WILDCARD];
    if has_ipv6() {
        wildcards.push("[::]:0");
    }
    wildcards
}

/// A client that takes datagrams from one address of the server alone.
fn client_of(host: IpAddr, server: &Address) -> DatagramClient {
    let port = server.port().unwrap();
    DatagramClient::connect(&SocketAddr::from((host, port)).into())
}

/// Handlers that reply with the address to which the client has sent: written, sent, and sent to
/// the client's address.
fn name_asked() -> impl HandlerFactory<DatagramRequest> {
    datagram_handler(|request| {
        let asked = request.local_address().unwrap().to_string();
        request.send(asked.as_bytes())?;
        request.send_to(asked.as_bytes(), request.client_address())?;
        Ok(write!(request, "{asked}")?)
    })
}

fn replies_come_from_the_address_that_was_asked(server: Server<impl BaseServer>, wildcard: &str) {
    let running = RunningServer::start(server);
    let port = running.address().port().unwrap();
    let clients: Vec<_> = hosts(wildcard)
        .into_iter()
        .map(|host| (host, client_of(host, &running.address())))
        .collect();
    // Several times, and several clients at once, so that batches have datagrams to each address.
    for _ in 0..5 {
        for _ in 0..3 {
            clients.iter().for_each(|(_, client)| client.send(b""));
        }
        for (host, client) in &clients {
            let asked = SocketAddr::from((*host, port)).to_string();
            for _ in 0..9 {
                assert_eq!(String::from_utf8(client.receive()).unwrap(), asked);
            }
        }
    }
    running.close();
}

#[test]
#[cfg(target_os = "linux")]
fn under_a_wildcard_address_every_reply_leaves_from_the_address_that_was_asked() {
    for wildcard in wildcards() {
        let server = UdpServer::bind(wildcard, name_asked()).unwrap();
        replies_come_from_the_address_that_was_asked(server, wildcard);
        let server = ThreadingUdpServer::bind(wildcard, name_asked()).unwrap();
        replies_come_from_the_address_that_was_asked(server, wildcard);
        let server = ThreadPoolUdpServer::bind(wildcard, name_asked()).unwrap();
        replies_come_from_the_address_that_was_asked(server, wildcard);
        // Datagrams that are received one by one.
        let server = UdpServer::new(wildcard, name_asked()).max_packet_size(1 << 20);
        replies_come_from_the_address_that_was_asked(server.bind().unwrap(), wildcard);
        let socket = UdpSocket::bind(wildcard).unwrap();
        let server = UdpServer::from_socket(socket, name_asked()).bind().unwrap();
        replies_come_from_the_address_that_was_asked(server, wildcard);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn the_message_to_a_refused_client_leaves_from_the_address_that_was_asked() {
    for wildcard in wildcards() {
        let server = UdpServer::bind(wildcard, EchoLine::default).unwrap();
        let limits = Limits::none()
            .with_max_connections(0)
            .refuse_with("too busy");
        server.handle().set_limits(limits);
        let running = RunningServer::start(server);
        for host in hosts(wildcard) {
            let client = client_of(host, &running.address());
            client.send(b"hello");
            assert_eq!(client.receive(), b"too busy");
        }
        running.close();
    }
}

#[test]
#[cfg(target_os = "linux")]
fn datagrams_that_came_before_the_server_was_made_are_answered_from_where_they_were_sent_to() {
    for wildcard in wildcards() {
        let socket = UdpSocket::bind(wildcard).unwrap();
        let address = Address::from(socket.local_addr().unwrap());
        let clients: Vec<_> = hosts(wildcard)
            .into_iter()
            .map(|host| client_of(host, &address))
            .collect();
        clients.iter().for_each(|client| client.send(b"early"));
        let server = UdpServer::from_socket(socket, EchoLine::default);
        let server = server.bind().unwrap();
        for client in &clients {
            server.handle_request().unwrap();
            assert_eq!(client.receive(), b"early");
        }
    }
}

/// A client that takes datagrams from every address, and may send to a broadcast address.
fn unconnected_client() -> UdpSocket {
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    client.set_broadcast(true).unwrap();
    client
}

#[test]
#[cfg(target_os = "linux")]
fn a_datagram_to_a_broadcast_address_is_answered_from_an_address_of_the_machine() {
    let broadcast = IpAddr::from([127, 255, 255, 255]);
    for wildcard in wildcards() {
        let client = unconnected_client();
        let socket = UdpSocket::bind(wildcard).unwrap();
        let port = socket.local_addr().unwrap().port();
        let early = "came before the server was made";
        client.send_to(early.as_bytes(), (broadcast, port)).unwrap();
        let server = UdpServer::from_socket(socket, name_asked()).bind().unwrap();
        let running = RunningServer::start(server);
        for _ in 0..2 {
            for _ in 0..3 {
                let mut reply = [0; 100];
                let (length, from) = client.recv_from(&mut reply).unwrap();
                let asked = SocketAddr::from((broadcast, port)).to_string();
                assert_eq!(reply[..length], *asked.as_bytes());
                assert_eq!(from, SocketAddr::from(([127, 0, 0, 1], port)));
            }
            client.send_to(b"", (broadcast, port)).unwrap();
        }
        running.close();
    }
}

#[test]
fn under_an_address_of_its_own_a_server_was_asked_at_that_address() {
    let server = UdpServer::bind("127.0.0.2:0", name_asked()).unwrap();
    let running = RunningServer::start(server);
    let client = DatagramClient::connect(&running.address());
    client.send(b"");
    assert_eq!(client.receive(), running.address().to_string().as_bytes());
    running.close();

    let directory = support::short_paths::directory();
    let path = directory.path().join("socket");
    let running = RunningServer::start(UnixDatagramServer::bind(path, name_asked()).unwrap());
    let client = DatagramClient::connect(&running.address());
    client.send(b"");
    assert_eq!(client.receive(), running.address().to_string().as_bytes());
    running.close();
}

#[test]
fn a_test_and_a_bottom_layer_of_ones_own_set_the_address_that_was_asked() {
    let asked = Address::from(([192, 0, 2, 7], 53));
    let client = MockDatagram::new("").local_address(asked.clone());
    let recording = client.run(name_asked().make_handler());
    assert_eq!(recording.sent()[0], b"192.0.2.7:53");
    let (request, _) = MockDatagram::new("").into_request();
    assert_eq!(request.local_address(), None);
    assert_eq!(
        request.with_local_address(asked.clone()).local_address(),
        Some(asked)
    );
}

/// Sends `packet` to the server from the server's own address.
fn send_from_itself(server: &Server<impl BaseServer>, packet: &[u8], host: [u8; 4]) {
    let copy = std::os::fd::AsFd::as_fd(server).try_clone_to_owned();
    let port = server.local_addr().unwrap().port();
    let socket = UdpSocket::from(copy.unwrap());
    DatagramSocket::send_to(&socket, packet, &Address::from((host, port))).unwrap();
}

#[test]
fn a_datagram_whose_sender_is_the_server_itself_is_refused_and_not_answered() {
    for (address, host) in [
        ("127.0.0.1:0", [127, 0, 0, 1]),
        (WILDCARD, [127, 0, 0, 1]),
        (WILDCARD, [127, 0, 0, 2]),
    ] {
        let server = UdpServer::bind(address, EchoLine::default).unwrap();
        // The limit has a message, which the server is not sent either.
        let limits = Limits::none()
            .with_max_connections(1)
            .refuse_with("too busy");
        server.handle().set_limits(limits);
        send_from_itself(&server, b"hello", host);
        let running = RunningServer::start(server);
        let client = client_of(host.into(), &running.address());
        client.send(b"one");
        assert_eq!(client.receive(), b"one");
        let statistics = running.stop().handle().statistics();
        assert_eq!((statistics.accepted, statistics.refused), (2, 1));
        assert_eq!((statistics.finished, statistics.sent), (1, 3));
    }
}

#[test]
fn two_servers_that_refuse_each_other_s_datagrams_do_not_answer_without_end() {
    let full = || {
        let server = UdpServer::bind("127.0.0.1:0", EchoLine::default).unwrap();
        let limits = Limits::none().with_max_connections(0);
        server.handle().set_limits(limits.refuse_with("too busy"));
        server
    };
    let [one, other] = [full(), full()];
    // As a forged sender does: the first server takes the datagram for one of the other's.
    let copy = std::os::fd::AsFd::as_fd(&other).try_clone_to_owned();
    let socket = UdpSocket::from(copy.unwrap());
    DatagramSocket::send_to(&socket, b"hello", &one.server_address()).unwrap();
    let running = [one, other].map(RunningServer::start);
    let refused = || {
        running
            .each_ref()
            .map(|it| it.handle().statistics().refused)
    };
    eventually("the exchange has begun", || refused()[1] > 0);
    // A client of each is answered in between, and shows that its server goes on.
    eventually("the exchange has ended", || {
        let before = refused();
        for server in &running {
            for _ in 0..50 {
                let client = DatagramClient::connect(&server.address());
                client.send(b"hello");
                assert_eq!(client.receive(), b"too busy");
            }
        }
        refused() == before.map(|count| count + 50)
    });
    for server in running {
        server.close();
    }
}

#[test]
fn an_icmp_error_for_one_client_does_not_cost_another_its_reply() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    enable_error_queue(&socket);
    let address = Address::from(socket.local_addr().unwrap());
    let server = UdpServer::from_socket(socket, EchoLine::default);
    let server = server.bind().unwrap();
    let client = DatagramClient::connect(&address);
    for _ in 0..10 {
        // The datagram of a client that has left is answered to nobody.
        DatagramClient::connect(&address).send(b"bye");
        client.send(b"here");
        server.handle_request().unwrap();
        server.handle_request().unwrap();
        assert_eq!(client.receive(), b"here");
    }
    // Errors are no requests.
    server.set_timeout(Some(Duration::ZERO));
    server.handle_request().unwrap();
    let statistics = server.handle().statistics();
    assert_eq!((statistics.accepted, statistics.finished), (20, 20));
}

#[cfg(target_os = "linux")]
fn enable_error_queue(socket: &UdpSocket) {
    use nix::sys::socket::{setsockopt, sockopt};
    setsockopt(socket, sockopt::Ipv4RecvErr, &true).unwrap();
}
#[cfg(not(target_os = "linux"))]
fn enable_error_queue(_: &UdpSocket) {}
