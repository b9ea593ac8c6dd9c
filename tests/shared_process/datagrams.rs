//! Datagrams: how much of one is received, and what is sent in reply.

use std::io::{BufRead, Write};
use std::sync::{Arc, Mutex};

use nix::sys::socket::MsgFlags;
use socket2::SockRef;
use socketserver::{
    BaseServer, DatagramRequest, HandlerFactory, HandlerResult, ReactorMixIn, RequestHandler,
    Serve, Server, ThreadPoolMixIn, ThreadingMixIn, ThreadingUdpServer, UdpServer,
    UnixDatagramServer,
};
use support::clients::{DatagramClient, StreamClient};
use support::observer::Observer;
use support::reports::reports;
use support::running_server::RunningServer;
use support::services::{EchoLine, datagram_handler};

const LOOPBACK: &str = "127.0.0.1:0";

/// Handlers that reply with the length of their packet, and whether the packet is truncated.
fn measure() -> impl HandlerFactory<DatagramRequest> {
    datagram_handler(|request| {
        let (length, truncated) = (request.packet().len(), request.is_truncated());
        Ok(write!(request, "{length} {truncated}")?)
    })
}

fn measures(server: Server<impl BaseServer>, cases: &[(usize, &str)]) {
    let running = RunningServer::start(server);
    let client = DatagramClient::connect(&running.address());
    for &(length, expected) in cases {
        client.send(&vec![b'x'; length]);
        assert_eq!(client.receive(), expected.as_bytes());
    }
    running.close();
}

#[test]
fn a_datagram_longer_than_max_packet_size_is_truncated_and_one_of_exactly_that_size_is_not() {
    let cases = [
        (99, "99 false"),
        (100, "100 false"),
        (101, "100 true"),
        (5000, "100 true"),
        (100, "100 false"),
    ];
    let server = UdpServer::new(LOOPBACK, measure()).max_packet_size(100);
    measures(server.bind().unwrap(), &cases);
    let directory = support::short_paths::directory();
    let path = directory.path().join("socket");
    let server = UnixDatagramServer::new(path, measure()).max_packet_size(100);
    measures(server.bind().unwrap(), &cases);
}

#[test]
fn the_first_8192_bytes_are_received_unless_set() {
    let cases = [(8192, "8192 false"), (8193, "8192 true")];
    measures(UdpServer::new(LOOPBACK, measure()).bind().unwrap(), &cases);
}

#[test]
fn the_longest_datagram_of_ipv4_is_received_and_sent_whole() {
    let layer = UdpServer::new(LOOPBACK, EchoLine::default).max_packet_size(65_507);
    let running = RunningServer::start(layer.bind().unwrap());
    let client = DatagramClient::connect(&running.address());
    let packet: Vec<u8> = (0..65_507).map(|at| (at % 251) as u8).collect();
    client.send(&packet);
    assert!(client.receive() == packet);
    running.close();
}

#[test]
fn a_max_packet_size_beyond_every_bound_means_the_longest_that_there_is() {
    let server = UdpServer::new(LOOPBACK, measure()).max_packet_size(usize::MAX);
    measures(
        server.bind().unwrap(),
        &[(0, "0 false"), (65_507, "65507 false")],
    );
}

#[test]
fn an_empty_datagram_is_a_request() {
    let cases = [(0, "0 false"), (1, "1 false"), (0, "0 false")];
    measures(UdpServer::new(LOOPBACK, measure()).bind().unwrap(), &cases);
    measures(
        ThreadingUdpServer::bind(LOOPBACK, measure()).unwrap(),
        &cases,
    );
    let directory = support::short_paths::directory();
    let path = directory.path().join("socket");
    measures(
        UnixDatagramServer::new(path, measure()).bind().unwrap(),
        &cases,
    );
    // None fits, and yet it is one.
    let none_fits = UdpServer::new(LOOPBACK, measure()).max_packet_size(0);
    measures(none_fits.bind().unwrap(), &[(0, "0 false"), (1, "0 true")]);
}

#[test]
fn what_is_written_leaves_as_one_datagram_and_nothing_if_nothing_is_written() {
    let factory = datagram_handler(|request| {
        if request.packet() == b"silence" {
            return Ok(());
        }
        let words: Vec<_> = request.split(b' ').collect::<Result<_, _>>()?;
        for word in words {
            request.write_all(&word)?;
            request.write_all(b"!")?;
            request.flush()?;
        }
        Ok(())
    });
    let running = RunningServer::start(UdpServer::new(LOOPBACK, factory).bind().unwrap());
    let client = DatagramClient::connect(&running.address());
    client.send(b"silence");
    client.send(b"one two three");
    assert_eq!(client.receive(), b"one!two!three!");
    running.close();
}

#[test]
fn several_replies_can_be_sent_an_empty_one_included() {
    let factory = datagram_handler(|request| {
        request.send(b"first")?;
        request.send(b"")?;
        Ok(request.write_all(b"last")?)
    });
    let running = RunningServer::start(UdpServer::new(LOOPBACK, factory).bind().unwrap());
    let client = DatagramClient::connect(&running.address());
    client.send(b"?");
    assert_eq!(client.receive(), b"first");
    assert_eq!(client.receive(), b"");
    assert_eq!(client.receive(), b"last");
    running.close();
}

/// Sends each packet to every client so far.
fn publish() -> impl HandlerFactory<DatagramRequest> {
    let clients = Arc::new(Mutex::new(Vec::new()));
    datagram_handler(move |request| {
        let mut clients = clients.lock().unwrap();
        clients.push(request.client_address().clone());
        for client in &*clients {
            request.send_to(request.packet(), client)?;
        }
        Ok(())
    })
}

#[test]
fn a_datagram_to_another_client_leaves_through_the_server_s_socket_and_is_counted() {
    fn publishes(server: Server<impl BaseServer>) {
        let running = RunningServer::start(server);
        // Connected, so that they receive nothing from another socket than the server's.
        let first = DatagramClient::connect(&running.address());
        first.send(b"one");
        assert_eq!(first.receive(), b"one");
        let second = DatagramClient::connect(&running.address());
        second.send(b"three");
        assert_eq!(first.receive(), b"three");
        assert_eq!(second.receive(), b"three");
        let handle = running.handle();
        running.close();
        let statistics = handle.statistics();
        assert_eq!((statistics.received, statistics.sent), (3 + 5, 3 + 5 + 5));
    }
    publishes(UdpServer::new(LOOPBACK, publish()).bind().unwrap());
    let directory = support::short_paths::directory();
    let path = directory.path().join("socket");
    publishes(UnixDatagramServer::new(path, publish()).bind().unwrap());
}

#[test]
fn each_client_gets_its_own_reply() {
    let running =
        RunningServer::start(ThreadingUdpServer::bind(LOOPBACK, EchoLine::default).unwrap());
    let clients: Vec<_> = (0..10)
        .map(|_| DatagramClient::connect(&running.address()))
        .collect();
    for (number, client) in clients.iter().enumerate() {
        client.send(format!("client {number}").as_bytes());
    }
    for (number, client) in clients.iter().enumerate() {
        assert_eq!(client.receive(), format!("client {number}").as_bytes());
    }
    running.close();
}

#[test]
fn a_reply_that_is_too_long_is_an_error_and_the_server_goes_on() {
    let (reporter, mut reports) = reports();
    let factory = datagram_handler(|request| {
        let length = if request.packet() == b"long" {
            65_508
        } else {
            5
        };
        Ok(request.write_all(&vec![b'x'; length])?)
    });
    let layers = Observer::new(UdpServer::new(LOOPBACK, factory), "own", reporter);
    let running = RunningServer::start(layers.bind().unwrap());
    let client = DatagramClient::connect(&running.address());
    client.send(b"long");
    client.send(b"short");
    assert_eq!(client.receive(), b"xxxxx");
    running.close();
    let errors = reports.so_far();
    let errors: Vec<_> = errors
        .iter()
        .filter(|said| said.contains("handle_error"))
        .collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("65508 bytes"), "{errors:?}");
}

/// How many datagrams `server` has in its socket, which they leave by being counted.
fn left_in_socket(server: &Server<impl BaseServer>) -> usize {
    let socket = SockRef::from(server);
    let receive = || socket.recv_with_flags(&mut [], MsgFlags::MSG_DONTWAIT.bits());
    std::iter::from_fn(|| receive().ok()).count()
}

#[test]
fn datagrams_that_came_at_once_are_served_in_their_order() {
    let server = UdpServer::new(LOOPBACK, EchoLine::default).bind().unwrap();
    let client = DatagramClient::connect(&server.server_address());
    // More than are received by one system call.
    let packets = Vec::from_iter((0..100).map(|number: u8| vec![number; number.into()]));
    packets.iter().for_each(|packet| client.send(packet));
    let running = RunningServer::start(server);
    // Nothing is sent in reply to the empty one.
    for packet in &packets[1..] {
        assert_eq!(&client.receive(), packet);
    }
    running.close();
}

/// Sends bursts of datagrams, each after the replies to the last. The server answers a datagram
/// with itself.
pub fn answers_bursts(layers: impl BaseServer) {
    let running = RunningServer::start(layers.bind().unwrap());
    let client = DatagramClient::connect(&running.address());
    // The server receives batches of more datagrams and of fewer.
    for burst in (1..=70).chain((1..70).rev()) {
        let packets = Vec::from_iter((1..=burst).map(|length: usize| vec![b'x'; length]));
        packets.iter().for_each(|packet| client.send(packet));
        let mut replies = Vec::from_iter(packets.iter().map(|_| client.receive()));
        replies.sort();
        assert_eq!(replies, packets);
    }
    running.close();
}

#[test]
fn each_datagram_of_a_burst_is_served_though_no_further_one_comes() {
    let layer = || UdpServer::new(LOOPBACK, EchoLine::default);
    answers_bursts(layer());
    answers_bursts(layer().mix_in(ThreadingMixIn::new));
    answers_bursts(layer().mix_in(ThreadPoolMixIn::new));
    answers_bursts(layer().mix_in(ReactorMixIn::new));
}

#[test]
fn handle_request_leaves_the_other_datagrams_to_who_waits_for_the_socket() {
    let server = UdpServer::new(LOOPBACK, EchoLine::default).bind().unwrap();
    let client = DatagramClient::connect(&server.server_address());
    for packet in [b"one", b"two", b"six"] {
        client.send(packet);
    }
    server.handle_request().unwrap();
    assert_eq!(client.receive(), b"one");
    assert_eq!(left_in_socket(&server), 2);
}

/// A server that has served until it received "stop", and has left other datagrams.
fn stopped_in_the_middle() -> (Server<impl BaseServer>, DatagramClient) {
    let factory = datagram_handler(|request| {
        if request.packet() == b"stop" {
            request.server().request_shutdown();
        }
        let packet = request.packet().to_owned();
        Ok(request.write_all(&packet)?)
    });
    let server = UdpServer::new(LOOPBACK, factory).bind().unwrap();
    let client = DatagramClient::connect(&server.server_address());
    // The first two are received together, then four, of which two are left.
    let served = ["one", "two", "three", "stop"];
    for packet in served.into_iter().chain(["left", "stop", "behind"]) {
        client.send(packet.as_bytes());
    }
    server.serve_forever().unwrap();
    for packet in served {
        assert_eq!(client.receive(), packet.as_bytes());
    }
    client.send(b"new");
    (server, client)
}

#[test]
fn datagrams_that_a_loop_leaves_are_served_by_the_next_one_before_others() {
    let (server, client) = stopped_in_the_middle();
    server.serve_forever().unwrap();
    assert_eq!(client.receive(), b"left");
    assert_eq!(client.receive(), b"stop");
    let running = RunningServer::start(server);
    assert_eq!(client.receive(), b"behind");
    assert_eq!(client.receive(), b"new");
    running.close();

    let (server, client) = stopped_in_the_middle();
    for packet in [&b"left"[..], b"stop", b"behind", b"new"] {
        server.handle_request().unwrap();
        assert_eq!(client.receive(), packet);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn while_it_serves_for_ever_a_server_receives_several_datagrams_at_once() {
    let (server, _client) = stopped_in_the_middle();
    // Those that were received with "stop" are not among them.
    assert_eq!(left_in_socket(&server), 2);
}

/// Says who asked.
#[derive(Default)]
struct Introduce;

impl RequestHandler<DatagramRequest> for Introduce {
    fn handle(&mut self, request: &mut DatagramRequest) -> HandlerResult {
        let client = request.client_address().clone();
        Ok(write!(request, "hello {client}")?)
    }
}

#[test]
fn a_unix_client_without_a_name_gets_no_reply_and_the_server_goes_on() {
    let (reporter, mut reports) = reports();
    let directory = support::short_paths::directory();
    let path = directory.path().join("socket");
    let server = UnixDatagramServer::new(path, Introduce::default);
    let running = RunningServer::start(Observer::new(server, "own", reporter).bind().unwrap());
    let unnamed = DatagramClient::connect_without_name(&running.address());
    unnamed.send(b"who am I?");
    let named = DatagramClient::connect(&running.address());
    named.send(b"who am I?");
    let reply = String::from_utf8(named.receive()).unwrap();
    assert!(reply.starts_with("hello unix:/"), "{reply}");
    running.close();
    let errors = reports.so_far();
    let errors: Vec<_> = errors
        .iter()
        .filter(|said| said.contains("handle_error"))
        .collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("has no name"), "{errors:?}");
}

#[test]
fn a_client_that_has_gone_before_its_reply_costs_nobody_else_anything() {
    let directory = support::short_paths::directory();
    let path = directory.path().join("socket");
    let unix = UnixDatagramServer::new(path, EchoLine::default)
        .bind()
        .unwrap();
    let udp = UdpServer::new(LOOPBACK, EchoLine::default).bind().unwrap();
    fn goes_on(server: Server<impl BaseServer>) {
        let gone = DatagramClient::connect(&server.server_address());
        gone.send(b"farewell");
        drop(gone);
        let client = DatagramClient::connect(&server.server_address());
        client.send(b"hello");
        let running = RunningServer::start(server);
        assert_eq!(client.receive(), b"hello");
        running.close();
    }
    goes_on(unix);
    goes_on(udp);
}

#[test]
fn a_unix_client_that_does_not_read_its_replies_does_not_hold_the_server_for_ever() {
    let (reporter, mut reports) = reports();
    let directory = support::short_paths::directory();
    let path = directory.path().join("socket");
    // A few of them are more than the buffer between the two sockets.
    let factory = datagram_handler(|request| Ok(request.write_all(&[b'x'; 150_000])?));
    let layers = Observer::new(UnixDatagramServer::new(path, factory), "own", reporter);
    let running = RunningServer::start(layers.bind().unwrap());
    let deaf = DatagramClient::connect(&running.address());
    for _ in 0..4 {
        deaf.send(b"?");
    }
    reports.until_starts_with("own handle_error (error: cannot send a datagram");
    // What it has not read goes with it, and the room is there for others.
    drop(deaf);
    let client = DatagramClient::connect(&running.address());
    client.send(b"?");
    assert!(client.receive().starts_with(b"xxx"));
    running.close();
}

#[test]
fn one_handler_type_serves_datagrams_and_streams() {
    let datagrams =
        RunningServer::start(ThreadingUdpServer::bind(LOOPBACK, EchoLine::default).unwrap());
    let streams = RunningServer::start(
        socketserver::ThreadingTcpServer::bind(LOOPBACK, EchoLine::default).unwrap(),
    );
    let client = DatagramClient::connect(&datagrams.address());
    client.send(b"same\n");
    assert_eq!(client.receive(), b"same\n");
    let mut client = StreamClient::connect(&streams.address());
    client.send("same\n");
    assert_eq!(client.rest(), b"same\n");
    datagrams.close();
    streams.close();
}

#[test]
#[cfg(target_os = "linux")]
fn datagrams_that_do_not_fit_into_the_receive_buffer_are_counted_as_dropped() {
    const SENT: u64 = 100;
    let server = UdpServer::new(LOOPBACK, measure()).receive_buffer_size(4000);
    let server = server.bind().unwrap();
    let handle = server.handle();
    assert_eq!(SockRef::from(&server).recv_buffer_size().unwrap(), 8000);
    assert_eq!(handle.statistics().dropped, 0);
    // Over the loopback a datagram is in the buffer, or dropped, when the send returns.
    let client = DatagramClient::connect(&server.server_address());
    for _ in 0..SENT {
        client.send(&[b'x'; 1000]);
    }
    let dropped = handle.statistics().dropped;
    assert!((1..SENT).contains(&dropped), "{dropped}");
    let running = RunningServer::start(server);
    for _ in dropped..SENT {
        assert_eq!(client.receive(), b"1000 false");
    }
    assert_eq!(handle.statistics().accepted, SENT - dropped);
    running.close();
    assert_eq!(handle.statistics().dropped, dropped);
}

#[test]
fn a_receive_buffer_is_not_set_on_a_socket_that_is_given_to_the_server() {
    let socket = std::net::UdpSocket::bind(LOOPBACK).unwrap();
    let server = UdpServer::from_socket(socket, measure()).receive_buffer_size(4000);
    let error = server.bind().unwrap_err();
    assert!(error.to_string().contains("SO_RCVBUF"), "{error}");
}
