//! Clients that leave in disorder cost the server nothing.

use std::io::{self, Read, Write};

use nix::poll::{PollFd, PollFlags, PollTimeout};
use socketserver::{
    BaseServer, HandlerFactory, HandlerResult, ReactorMixIn, Serve, Server, StreamRequest,
    TcpServer, ThreadPoolMixIn, ThreadingMixIn, UnixStreamServer,
};
use support::clients::StreamClient;
use support::reports::{Reporter, gate, reports};
use support::running_server::{RunningServer, close};
use support::services::{EchoLine, read_line, stream_handler};
use support::waiting::LIMIT;

const LOOPBACK: &str = "127.0.0.1:0";

fn survives_resets_in_its_queue<S: BaseServer>(server: Server<S>) {
    let address = server.server_address();
    for number in 0..20 {
        let client = StreamClient::connect(&address);
        if number % 2 == 0 {
            client.send("never answered\n");
        }
        client.reset();
    }
    let mut client = StreamClient::connect(&address);
    client.send("patient\n");
    // All of them are in the queue before the first is accepted.
    let running = RunningServer::start(server);
    assert_eq!(client.rest(), b"patient\n");
    assert_eq!(running.close().running, 0);
}

#[test]
fn the_loop_survives_clients_that_reset_before_they_are_accepted() {
    let layer = || TcpServer::new(LOOPBACK, EchoLine::default);
    survives_resets_in_its_queue(layer().bind().unwrap());
    survives_resets_in_its_queue(layer().mix_in(ThreadingMixIn::new).bind().unwrap());
    survives_resets_in_its_queue(layer().mix_in(ThreadPoolMixIn::new).bind().unwrap());
    survives_resets_in_its_queue(layer().mix_in(ReactorMixIn::new).bind().unwrap());
    let directory = support::short_paths::directory();
    let path = directory.path().join("socket");
    survives_resets_in_its_queue(
        UnixStreamServer::new(path, EchoLine::default)
            .bind()
            .unwrap(),
    );
}

#[test]
fn a_client_that_resets_while_it_is_served_is_an_error_of_its_handler_alone() {
    let (reporter, mut reports) = reports();
    let (gate, key) = gate();
    let factory = stream_handler(move |request| {
        if read_line(request)? == "reset" {
            gate.pass();
            let error = read_line(request).unwrap_err();
            reporter.say(format_args!("{:?}", error.kind()));
            return Err(error.into());
        }
        Ok(request.write_all(b"unharmed")?)
    });
    let layers = TcpServer::new(LOOPBACK, factory).mix_in(ThreadingMixIn::new);
    let running = RunningServer::start(layers.bind().unwrap());
    let client = StreamClient::connect(&running.address());
    client.send("reset\n");
    client.reset();
    key.let_pass(1);
    assert_eq!(reports.next_report(), "ConnectionReset");
    let mut client = StreamClient::connect(&running.address());
    client.send("hello\n");
    assert_eq!(client.rest(), b"unharmed");
    running.close();
}

#[test]
fn a_client_that_resets_before_its_answer_is_sent_does_not_end_the_server() {
    let (gate, key) = gate();
    let factory = stream_handler(move |request| {
        read_line(request)?;
        gate.pass();
        Ok(request.write_all(&[b'x'; 100_000])?)
    });
    let server = TcpServer::new(LOOPBACK, factory).bind().unwrap();
    let client = StreamClient::connect(&server.server_address());
    client.send("big\n");
    client.reset();
    key.let_pass(1);
    server.handle_request().unwrap();
    let mut client = StreamClient::connect(&server.server_address());
    client.send("big\n");
    key.let_pass(1);
    let running = RunningServer::start(server);
    assert_eq!(client.rest().len(), 100_000);
    close(running.stop());
}

/// Waits until the system knows that the client has reset the connection.
fn wait_for_reset(request: &StreamRequest) -> HandlerResult {
    let socket = request.socket().ok_or("no descriptor")?;
    // Without any event asked for: poll always reports an error.
    let mut sockets = [PollFd::new(socket, PollFlags::empty())];
    let limit = PollTimeout::try_from(LIMIT)?;
    match nix::poll::poll(&mut sockets, limit)? {
        0 => Err("no reset has come".into()),
        _ => Ok(()),
    }
}

#[test]
fn what_was_sent_before_a_reset_is_read_before_the_reset_is_seen() {
    let (reporter, mut reports) = reports();
    let factory = stream_handler(move |request| {
        wait_for_reset(request)?;
        let waited = request.wait();
        let mut bytes = Vec::new();
        let read = request.read_to_end(&mut bytes);
        let (waited, read) = (waited.map_err(|it| it.kind()), read.map_err(|it| it.kind()));
        reporter.say(format_args!("{waited:?} {} {read:?}", bytes.len()));
        Ok(())
    });
    let server = TcpServer::new(LOOPBACK, factory).bind().unwrap();
    // A read takes 512 bytes at first, and twice as many whenever that was all that fits.
    for length in [1, 511, 512, 513, 1024, 2048, 4096, 8192] {
        let client = StreamClient::connect(&server.server_address());
        client.send(&"x".repeat(length));
        client.reset();
        server.handle_request().unwrap();
        let expected = format!("Ok(true) {length} Err(ConnectionReset)");
        assert_eq!(reports.next_report(), expected);
    }
    close(server);
}

/// Reads as many bytes as the first line asks for, or, after a "-", writes as many.
fn count_ordered(reporter: &Reporter, request: &mut StreamRequest) -> io::Result<()> {
    let line = read_line(request)?;
    let count = line.trim_start_matches('-').parse().unwrap();
    let mut bytes = vec![b'x'; count];
    if line.starts_with('-') {
        return request.write_all(&bytes);
    }
    request.read_exact(&mut bytes[..1])?;
    reporter.say("reads");
    request.read_exact(&mut bytes[1..])?;
    request.write_all(&bytes)
}

fn counting(reporter: Reporter) -> TcpServer<impl HandlerFactory<StreamRequest>> {
    let factory = stream_handler(move |request: &mut StreamRequest| {
        let ended = count_ordered(&reporter, request);
        if let Err(error) = &ended {
            reporter.say(format_args!("{:?}", error.kind()));
        }
        Ok(ended?)
    });
    TcpServer::new(LOOPBACK, factory)
}

/// A client resets in the midst of a read, and one in the midst of a write.
fn survives_resets_in_the_midst<S: BaseServer>(layers: impl FnOnce(Reporter) -> S) {
    let (reporter, mut reports) = reports();
    let running = RunningServer::start(layers(reporter).bind().unwrap());
    let client = StreamClient::connect(&running.address());
    client.send("1000000\nthe beginning");
    assert_eq!(reports.next_report(), "reads");
    client.reset();
    assert_eq!(reports.next_report(), "ConnectionReset");
    let mut client = StreamClient::connect(&running.address());
    // More than the buffers of both sides hold: the handler cannot have sent it all.
    client.send("-67108864\n");
    assert_eq!(client.receive_exactly(100), [b'x'; 100]);
    client.reset();
    let kind = reports.next_report();
    assert!(
        ["ConnectionReset", "BrokenPipe"].contains(&&*kind),
        "{kind}"
    );
    let mut client = StreamClient::connect(&running.address());
    client.send("5\nhello");
    assert_eq!(client.rest(), b"hello");
    assert_eq!(reports.next_report(), "reads");
    let handle = running.handle();
    assert_eq!(running.close().running, 0);
    let statistics = handle.statistics();
    assert_eq!((statistics.failed, statistics.finished), (2, 1));
    assert_eq!((statistics.panicked, statistics.active), (0, 0));
}

#[test]
fn a_client_that_resets_in_the_midst_of_a_read_or_write_costs_its_own_request_alone() {
    survives_resets_in_the_midst(counting);
    survives_resets_in_the_midst(|reporter| counting(reporter).mix_in(ThreadingMixIn::new));
    survives_resets_in_the_midst(|reporter| {
        counting(reporter).mix_in(ThreadPoolMixIn::new).workers(1)
    });
    survives_resets_in_the_midst(|reporter| counting(reporter).mix_in(ReactorMixIn::new));
}
