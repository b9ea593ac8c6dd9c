//! Connections that the program accepts itself, served by a server.

use std::io::{ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use socketserver::{
    Address, BaseServer, Error, Limits, Serve, Server, StreamRequest, TcpServer, ThreadPoolMixIn,
    ThreadingMixIn,
};
use support::clients::StreamClient;
use support::reports::{GateKey, gate};
use support::running_server::{RunningServer, close};
use support::services::{EchoLine, stream_handler};
use support::waiting::eventually;

fn without_listener() -> TcpServer<fn() -> EchoLine> {
    TcpServer::without_listener(EchoLine::default)
}

/// A listener of the program's own, and its address.
fn listener() -> (TcpListener, Address) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().into();
    (listener, address)
}

fn serves_three(layers: impl BaseServer<Request = StreamRequest>) {
    let server = layers.bind().unwrap();
    let (listener, address) = listener();
    for _ in 0..3 {
        let mut client = StreamClient::connect(&address);
        let (connection, _) = listener.accept().unwrap();
        let request = server.accepted(connection).unwrap();
        assert_eq!(request.client_address().ip(), address.ip());
        client.send("hello\n");
        server.serve(request).unwrap();
        assert_eq!(client.rest(), b"hello\n");
    }
    let handle = server.handle();
    close(server);
    let statistics = handle.statistics();
    assert_eq!((statistics.accepted, statistics.finished), (3, 3));
    assert_eq!((statistics.failed, statistics.active), (0, 0));
}

#[test]
fn an_accepted_connection_is_served_and_counted_with_every_mix_in() {
    serves_three(without_listener());
    serves_three(without_listener().mix_in(ThreadingMixIn::new));
    serves_three(without_listener().mix_in(ThreadPoolMixIn::new));
    serves_three(TcpServer::new("127.0.0.1:0", EchoLine::default));
}

#[test]
fn a_unix_connection_is_served_and_its_peer_has_no_name() {
    let server = without_listener().bind().unwrap();
    let (mut client, connection) = UnixStream::pair().unwrap();
    // As another program may leave it.
    connection.set_nonblocking(true).unwrap();
    client.write_all(b"hello\n").unwrap();
    let request = server.accepted(connection).unwrap();
    assert_eq!(*request.client_address(), Address::UnixUnnamed);
    server.serve(request).unwrap();
    assert_eq!(std::io::read_to_string(client).unwrap(), "hello\n");
}

#[test]
fn a_descriptor_that_is_no_connection_is_refused_with_the_reason() {
    let server = without_listener().bind().unwrap();
    let file = OwnedFd::from(tempfile::tempfile().unwrap());
    let (listener, _) = listener();
    let datagrams = std::os::unix::net::UnixDatagram::unbound().unwrap();
    for descriptor in [file, listener.into(), datagrams.into()] {
        let error = server.accepted(descriptor).unwrap_err();
        assert!(
            error.to_string().contains("connected stream socket"),
            "{error}"
        );
    }
    assert_eq!(server.handle().statistics().accepted, 0);
}

#[test]
fn a_refused_connection_is_counted_as_refused() {
    let server = without_listener().bind().unwrap();
    let limits = Limits::default()
        .with_max_connections(1)
        .refuse_with("full\n");
    server.handle().set_limits(limits);
    let (first, connection) = UnixStream::pair().unwrap();
    let first_request = server.accepted(connection).unwrap();
    let (second, connection) = UnixStream::pair().unwrap();
    server.serve(server.accepted(connection).unwrap()).unwrap();
    assert_eq!(std::io::read_to_string(second).unwrap(), "full\n");
    assert_eq!(server.handle().statistics().refused, 1);
    drop((first_request, first));
}

/// A server at its limit of one connection, the client of that connection, and the key to its
/// handler.
fn full_server() -> (
    Server<impl BaseServer<Request = StreamRequest>>,
    UnixStream,
    GateKey,
) {
    let (gate, key) = gate();
    let factory = stream_handler(move |request| {
        gate.pass();
        Ok(request.write_all(b"served")?)
    });
    let layers = TcpServer::without_listener(factory).mix_in(ThreadingMixIn::new);
    let server = layers.bind().unwrap();
    let limits = Limits::default().with_max_connections(1);
    server.handle().set_limits(limits);
    let (client, connection) = UnixStream::pair().unwrap();
    server.serve(server.accepted(connection).unwrap()).unwrap();
    (server, client, key)
}

#[test]
fn at_the_limit_a_connection_waits_until_another_has_ended() {
    let (server, first, key) = full_server();
    let (second, connection) = UnixStream::pair().unwrap();
    let request = server.accepted(connection).unwrap();
    std::thread::scope(|scope| {
        let serving = scope.spawn(|| server.serve(request));
        assert_eq!(server.handle().statistics().finished, 0);
        assert!(!serving.is_finished());
        key.let_pass(1);
        assert_eq!(std::io::read_to_string(first).unwrap(), "served");
        serving.join().unwrap().unwrap();
    });
    key.let_pass(1);
    assert_eq!(std::io::read_to_string(second).unwrap(), "served");
    close(server);
}

#[test]
fn a_connection_that_waits_at_the_limit_is_served_when_the_server_stops() {
    let (server, first, key) = full_server();
    let (second, connection) = UnixStream::pair().unwrap();
    let request = server.accepted(connection).unwrap();
    std::thread::scope(|scope| {
        let serving = scope.spawn(|| server.serve(request));
        server.handle().request_shutdown();
        serving.join().unwrap().unwrap();
    });
    key.let_pass(2);
    for client in [first, second] {
        assert_eq!(std::io::read_to_string(client).unwrap(), "served");
    }
    close(server);
}

#[test]
fn an_idle_connection_ends_when_the_server_is_closed() {
    let factory = stream_handler(|request| {
        while request.wait()? {}
        Ok(())
    });
    let layers = TcpServer::without_listener(factory).mix_in(ThreadingMixIn::new);
    let server = layers.bind().unwrap();
    let (client, connection) = UnixStream::pair().unwrap();
    server.serve(server.accepted(connection).unwrap()).unwrap();
    let handle = server.handle();
    eventually("the handler waits", || handle.statistics().idle == 1);
    assert_eq!(close(server).idle, 1);
    assert_eq!(std::io::read_to_string(client).unwrap(), "");
}

#[test]
fn beside_a_running_loop_an_accepted_connection_is_an_error_and_is_closed() {
    let running = RunningServer::start(
        TcpServer::new("127.0.0.1:0", EchoLine::default)
            .bind()
            .unwrap(),
    );
    // The loop runs once a client is served.
    let mut client = StreamClient::connect(&running.address());
    client.send("hello\n");
    assert_eq!(client.rest(), b"hello\n");
    let (client, connection) = UnixStream::pair().unwrap();
    let server: &Server<_> = running.server();
    let error = server
        .serve(server.accepted(connection).unwrap())
        .unwrap_err();
    assert!(matches!(error, Error::AlreadyServing { .. }), "{error:?}");
    assert_eq!(std::io::read_to_string(client).unwrap(), "");
    running.close();
}

#[test]
fn a_server_without_a_listener_can_wait_for_its_stop() {
    let running = RunningServer::start(without_listener().bind().unwrap());
    running.close();
}

#[test]
fn a_client_that_has_left_is_an_error_of_the_connection() {
    let server = without_listener().bind().unwrap();
    let (listener, address) = listener();
    let client = TcpStream::connect(address.to_string()).unwrap();
    let (connection, _) = listener.accept().unwrap();
    socket2::SockRef::from(&client)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(client);
    // The reset has come once a read fails.
    let error = std::io::Read::read(&mut &connection, &mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    server.accepted(connection).unwrap_err();
}
