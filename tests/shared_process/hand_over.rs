//! A server that leaves its sockets to another, as in a restart without a lost client.

use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::thread;
use std::time::Duration;

use socketserver::{
    BaseServer, ReactorMixIn, Serve, Server, ServerHandle, TcpServer, ThreadPoolMixIn,
    ThreadingMixIn, UdpServer, UnixDatagramServer, UnixStreamServer,
};
use support::clients::{DatagramClient, StreamClient};
use support::running_server::RunningServer;
use support::services::EchoLine;
use support::waiting::{eventually, within_limit};

const LOOPBACK: &str = "127.0.0.1:0";

/// A copy of the only socket of a server.
fn copy(handle: &ServerHandle) -> OwnedFd {
    let mut sockets = handle.listening_sockets().unwrap();
    assert_eq!(sockets.len(), 1);
    sockets.remove(0)
}

fn successor(handle: &ServerHandle) -> Server<impl BaseServer> {
    let server = TcpServer::from_listener(TcpListener::from(copy(handle)), EchoLine::default);
    server.mix_in(ThreadingMixIn::new).bind().unwrap()
}

/// A request of the predecessor goes on, and a client that comes after the hand-over is the
/// successor's.
fn hands_over(server: Server<impl BaseServer>) {
    let before = RunningServer::start(server);
    let handle = before.handle();
    let mut old = StreamClient::connect(&before.address());
    old.send("unfinished");
    eventually("the request runs", || handle.active_request_count() == 1);
    let after = RunningServer::start(successor(&handle));
    handle.hand_over();
    let accepted = handle.statistics().accepted;
    for _ in 0..20 {
        let mut client = StreamClient::connect(&before.address());
        client.send("new\n");
        assert_eq!(client.rest(), b"new\n");
    }
    // The loop may have been about to accept one when it was told.
    assert!(handle.statistics().accepted <= accepted + 1);
    old.send("\n");
    assert_eq!(old.rest(), b"unfinished\n");
    before.close();
    let mut client = StreamClient::connect(&after.address());
    client.send("last\n");
    assert_eq!(client.rest(), b"last\n");
    after.close();
}

#[test]
fn with_each_mix_in_a_server_that_has_handed_over_accepts_nothing_and_ends_its_requests() {
    let tcp = || TcpServer::new(LOOPBACK, EchoLine::default);
    hands_over(tcp().mix_in(ThreadingMixIn::new).bind().unwrap());
    hands_over(tcp().mix_in(ThreadPoolMixIn::new).bind().unwrap());
    hands_over(tcp().mix_in(ReactorMixIn::new).bind().unwrap());
}

#[test]
fn a_wait_for_requests_ends_with_the_last_request_or_at_its_timeout() {
    let running = RunningServer::start(
        TcpServer::new(LOOPBACK, EchoLine::default)
            .mix_in(ThreadingMixIn::new)
            .bind()
            .unwrap(),
    );
    let handle = running.handle();
    assert!(handle.wait_for_requests(Duration::ZERO), "before a request");
    let mut clients = [(); 2].map(|()| StreamClient::connect(&running.address()));
    eventually("both run", || handle.active_request_count() == 2);
    handle.suspend();
    assert!(!handle.wait_for_requests(Duration::ZERO));
    assert!(!handle.wait_for_requests(Duration::from_millis(10)));
    let waiting = [(); 2].map(|()| {
        let handle = handle.clone();
        thread::spawn(move || handle.wait_for_requests(Duration::MAX))
    });
    for client in &mut clients {
        client.send("hello\n");
        assert_eq!(client.rest(), b"hello\n");
    }
    for thread in waiting {
        assert!(within_limit("the wait", || thread.join().unwrap()));
    }
    assert!(!handle.is_draining(), "the wait stops nothing");
    handle.resume();
    let mut client = StreamClient::connect(&running.address());
    client.send("again\n");
    assert_eq!(client.rest(), b"again\n");
    running.close();
}

#[test]
fn the_copies_are_those_of_every_address_in_their_order() {
    let server = TcpServer::new([LOOPBACK, "127.0.0.2:0"], EchoLine::default)
        .bind()
        .unwrap();
    let handle = server.handle();
    let sockets = handle.listening_sockets().unwrap();
    let addresses = sockets.into_iter().map(|socket| {
        let address = TcpListener::from(socket).local_addr().unwrap();
        socketserver::Address::from(address)
    });
    assert_eq!(Vec::from_iter(addresses), server.server_addresses());
    server.server_close();
    assert!(handle.listening_sockets().unwrap().is_empty());
    let none = TcpServer::without_listener(EchoLine::default)
        .bind()
        .unwrap();
    assert!(none.handle().listening_sockets().unwrap().is_empty());
}

#[test]
fn the_file_of_a_unix_socket_passes_to_the_successor() {
    let directory = support::short_paths::directory();
    let [stream, datagram] = ["s", "d"].map(|name| directory.path().join(name));
    let before = UnixStreamServer::new(&stream, EchoLine::default)
        .bind()
        .unwrap();
    let socket = UnixListener::from(copy(&before.handle()));
    let after = UnixStreamServer::from_listener(socket, EchoLine::default).remove_file(true);
    let after = RunningServer::start(after.bind().unwrap());
    before.handle().hand_over();
    before.server_close();
    assert!(stream.exists());
    let mut client = StreamClient::connect(&after.address());
    client.send("hello\n");
    assert_eq!(client.rest(), b"hello\n");
    after.close();
    assert!(!stream.exists());

    let before = UnixDatagramServer::new(&datagram, EchoLine::default)
        .bind()
        .unwrap();
    let socket = UnixDatagram::from(copy(&before.handle()));
    let after = UnixDatagramServer::from_socket(socket, EchoLine::default).remove_file(true);
    let after = after.bind().unwrap();
    // A successor that never serves leaves the file to the predecessor.
    after.server_close();
    assert!(datagram.exists());
    before.server_close();
    assert!(!datagram.exists());
}

#[test]
fn datagrams_that_were_received_are_answered_and_later_ones_are_the_successor_s() {
    let before = UdpServer::new(LOOPBACK, EchoLine::default).bind().unwrap();
    let handle = before.handle();
    let socket = UdpSocket::from(copy(&handle));
    let after = UdpServer::from_socket(socket, EchoLine::default)
        .bind()
        .unwrap();
    let clients =
        Vec::from_iter((0..40).map(|_| DatagramClient::connect(&before.server_address())));
    for client in &clients {
        client.send(b"early");
    }
    let before = RunningServer::start(before);
    // Some are in a batch of the first server, and the others in the socket.
    assert_eq!(clients[0].receive(), b"early");
    handle.hand_over();
    let after = RunningServer::start(after);
    before.close();
    for client in &clients[1..] {
        assert_eq!(client.receive(), b"early");
    }
    clients[0].send(b"late");
    assert_eq!(clients[0].receive(), b"late");
    let served = after.handle().statistics().accepted;
    assert!(served >= 1, "{served}");
    after.close();
}
