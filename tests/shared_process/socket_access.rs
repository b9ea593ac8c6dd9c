//! What a handler does with the socket under its request: it gives it away, or asks for its peer.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use socketserver::mock::MockStream;
use socketserver::{
    OutboxError, Serve, StreamRequest, TcpServer, ThreadingMixIn, ThreadingUnixStreamServer,
};
use support::clients::StreamClient;
use support::reports::{gate, reports};
use support::running_server::RunningServer;
use support::services::stream_handler;

#[test]
fn a_detached_connection_outlives_its_request_and_has_what_was_read_ahead() {
    let (gate, key) = gate();
    let factory = stream_handler(move |request: &mut StreamRequest| {
        let line = request.next_line(100)?;
        write!(request, "{} ", line.unwrap_or_default())?;
        let outbox = request.outbox()?;
        outbox.send(b"push ")?;
        let detached = request.detach()?;
        assert_eq!(outbox.send(b"late"), Err(OutboxError::Closed));
        let gate = gate.clone();
        std::thread::spawn(move || {
            gate.pass();
            let mut connection = TcpStream::from(detached.socket);
            connection.write_all(&detached.unread).unwrap();
            let mut rest = Vec::new();
            connection.read_to_end(&mut rest).unwrap();
            connection.write_all(&rest).unwrap();
        });
        let error = request.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected);
        assert!(error.to_string().contains("detached"), "{error}");
        Ok(())
    });
    let layers = TcpServer::new("127.0.0.1:0", factory).mix_in(ThreadingMixIn::new);
    let running = RunningServer::start(layers.bind().unwrap());
    let mut client = StreamClient::connect(&running.address());
    client.send("hello\nahead");
    let handle = running.handle();
    // The request has ended, its server too, and the connection goes on.
    assert_eq!(client.receive_exactly(11), b"hello push ");
    running.close();
    assert_eq!(handle.statistics().finished, 1);
    key.let_pass(1);
    client.send(" and later");
    client.finish_sending();
    assert_eq!(client.rest(), b"ahead and later");
}

#[test]
fn a_request_without_a_socket_of_its_own_cannot_be_detached() {
    let (mut request, _) = MockStream::new().into_request();
    let error = request.detach().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let error = request.peer_credentials().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[test]
#[cfg(target_os = "linux")]
fn the_peer_of_a_unix_socket_is_known_and_that_of_a_tcp_connection_is_not() {
    let (reporter, mut peers) = reports();
    let factory = stream_handler(move |request: &mut StreamRequest| {
        match request.peer_credentials() {
            Ok(peer) => reporter.say(peer.process_id),
            Err(error) => reporter.say(format_args!("{:?}", error.kind())),
        }
        Ok(())
    });
    let directory = support::short_paths::directory();
    let path = directory.path().join("socket");
    let server = ThreadingUnixStreamServer::bind(path, factory.clone()).unwrap();
    let running = RunningServer::start(server);
    StreamClient::connect(&running.address()).wait_for_close();
    assert_eq!(peers.next_report(), std::process::id().to_string());
    running.close();
    let server = TcpServer::new("127.0.0.1:0", factory);
    let running = RunningServer::start(Serve::bind(server).unwrap());
    StreamClient::connect(&running.address()).wait_for_close();
    assert_eq!(peers.next_report(), "Unsupported");
    running.close();
}
