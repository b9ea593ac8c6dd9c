//! Closing a server: at once, by dropping it, and what it frees.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::time::Duration;

use socketserver::{
    Address, BaseServer, Deadlines, DrainReport, Limits, ReactorTcpServer, Serve, Server,
    TcpServer, ThreadPoolMixIn, ThreadPoolTcpServer, ThreadPoolUdpServer, ThreadingMixIn,
    ThreadingTcpServer, ThreadingUdpServer, UdpServer,
};
use support::clients::{DatagramClient, StreamClient};
use support::reports::{gate, reports};
use support::running_server::{RunningServer, close};
use support::services::{EchoLine, silent_panic, stream_handler};
use support::waiting::within_limit;

const LOOPBACK: &str = "127.0.0.1:0";

fn is_refused(address: &Address) -> bool {
    match StreamClient::try_connect(address) {
        Ok(_) => false,
        Err(error) => error.kind() == ErrorKind::ConnectionRefused,
    }
}

fn closes_before_it_serves<S: BaseServer>(server: Server<S>) {
    assert_eq!(close(server), DrainReport::default());
}

#[test]
fn a_server_can_be_closed_before_it_serves() {
    closes_before_it_serves(TcpServer::new(LOOPBACK, EchoLine::default).bind().unwrap());
    closes_before_it_serves(ThreadingTcpServer::bind(LOOPBACK, EchoLine::default).unwrap());
    closes_before_it_serves(ThreadPoolTcpServer::bind(LOOPBACK, EchoLine::default).unwrap());
    closes_before_it_serves(ReactorTcpServer::bind(LOOPBACK, EchoLine::default).unwrap());
    closes_before_it_serves(UdpServer::new(LOOPBACK, EchoLine::default).bind().unwrap());
    closes_before_it_serves(ThreadingUdpServer::bind(LOOPBACK, EchoLine::default).unwrap());
    closes_before_it_serves(ThreadPoolUdpServer::bind(LOOPBACK, EchoLine::default).unwrap());
}

#[test]
fn a_server_can_be_closed_before_it_is_bound() {
    closes_before_it_serves(
        TcpServer::new(LOOPBACK, EchoLine::default)
            .into_server()
            .unwrap(),
    );
}

#[test]
fn a_closed_server_refuses_connections() {
    let server = ThreadingTcpServer::bind(LOOPBACK, EchoLine::default).unwrap();
    let address = server.server_address();
    assert!(!is_refused(&address));
    server.server_close();
    assert!(is_refused(&address));
}

#[test]
fn dropping_a_server_closes_it() {
    let address = {
        let server = TcpServer::new(LOOPBACK, EchoLine::default).bind().unwrap();
        server.server_address()
    };
    assert!(is_refused(&address));
}

#[test]
fn a_thread_that_panics_closes_its_server() {
    let server = TcpServer::new(LOOPBACK, EchoLine::default).bind().unwrap();
    let address = server.server_address();
    let panicked = std::thread::spawn(move || {
        let _server = server;
        silent_panic("with a server in its hands");
    });
    panicked.join().unwrap_err();
    assert!(is_refused(&address));
}

#[test]
fn a_connection_that_was_never_accepted_ends_when_the_server_is_closed() {
    let server = TcpServer::new(LOOPBACK, EchoLine::default).bind().unwrap();
    let mut client = StreamClient::connect(&server.server_address());
    close(server);
    client.wait_for_close();
}

#[test]
fn the_address_is_free_after_close_although_clients_were_served() {
    let running =
        RunningServer::start(ThreadingTcpServer::bind(LOOPBACK, EchoLine::default).unwrap());
    let address = running.server().local_addr().unwrap();
    let mut client = StreamClient::connect(&running.address());
    client.send("hello\n");
    // The server ends the connection first, so it is the one that lingers in TIME_WAIT.
    assert_eq!(client.rest(), b"hello\n");
    drop(client);
    running.close();
    drop(TcpListener::bind(address).unwrap());
    let again = ThreadingTcpServer::bind(address, EchoLine::default).unwrap();
    assert_eq!(again.local_addr(), Some(address));
}

#[test]
fn a_handle_outlives_its_server_without_harm() {
    let server = ThreadingUdpServer::bind(LOOPBACK, EchoLine::default).unwrap();
    let address = server.server_address();
    let handle = server.handle();
    close(server);
    assert_eq!(handle.server_address(), address);
    assert_eq!(handle.active_request_count(), 0);
    handle.shutdown();
}

#[test]
fn a_datagram_server_that_is_closed_frees_its_address() {
    let running =
        RunningServer::start(ThreadingUdpServer::bind(LOOPBACK, EchoLine::default).unwrap());
    let address = running.server().local_addr().unwrap();
    let client = DatagramClient::connect(&running.address());
    client.send(b"hello");
    assert_eq!(client.receive(), b"hello");
    running.close();
    std::net::UdpSocket::bind(address).unwrap();
}

#[test]
fn a_handle_does_no_harm_when_its_server_is_gone() {
    let server = ThreadingTcpServer::bind(LOOPBACK, EchoLine::default).unwrap();
    let running = RunningServer::start(server);
    let (address, handle) = (running.address(), running.handle());
    let layer_handle = running.server().stack().layer_handle().clone();
    let mut client = StreamClient::connect(&address);
    client.send("hello\n");
    assert_eq!(client.rest(), b"hello\n");
    drop(client);
    running.close();
    let other = ThreadingTcpServer::bind(LOOPBACK, EchoLine::default).unwrap();
    let other = RunningServer::start(other);
    handle.suspend();
    assert!(handle.is_suspended());
    handle.resume();
    handle.set_limits(
        Limits::none()
            .with_max_connections(0)
            .with_max_connections_per_address(0),
    );
    handle.set_deadlines(Deadlines::uniform(Duration::ZERO));
    layer_handle.wake();
    handle.request_shutdown();
    let at_once = handle.clone();
    within_limit("shutdown", move || at_once.shutdown());
    assert!(within_limit("wait", move || layer_handle.wait_for_requests()));
    assert_eq!(handle.server_address(), address);
    assert_eq!(handle.active_request_count(), 0);
    let statistics = handle.statistics();
    assert_eq!((statistics.accepted, statistics.finished), (1, 1));
    assert!(handle.is_draining());
    // None of it reaches another server.
    let mut client = StreamClient::connect(&other.address());
    client.send("hello\n");
    assert_eq!(client.rest(), b"hello\n");
    assert_eq!(other.handle().limits(), Limits::default());
    other.close();
}

#[test]
fn two_layers_that_wait_for_the_requests_wait_no_longer_than_one() {
    let (gate, key) = gate();
    let (reporter, mut held) = reports();
    let factory = stream_handler(move |_| {
        reporter.say("held");
        gate.pass();
        Ok(())
    });
    let layers = TcpServer::new(LOOPBACK, factory)
        .mix_in(ThreadPoolMixIn::new)
        .mix_in(ThreadingMixIn::new);
    let server = layers.bind().unwrap();
    server.set_drain_timeout(Some(Duration::from_millis(20)));
    let running = RunningServer::start(server);
    let mut client = StreamClient::connect(&running.address());
    assert_eq!(held.next_report(), "held");
    // The handler neither reads nor writes, so it is left running.
    let server = running.stop();
    assert_eq!(close(server).running, 1);
    key.let_pass(1);
    client.wait_for_close();
}
