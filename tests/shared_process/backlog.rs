//! The clients in the kernel's queue when a server stops.

use std::io::Write;
use std::time::Duration;

use socketserver::{
    Backlog, BaseServer, DrainReport, HandlerFactory, Limits, Serve, Server, StreamRequest,
    TcpServer, ThreadPoolMixIn, ThreadingMixIn, UnixStreamServer,
};
use support::clients::StreamClient;
use support::reports::{Gate, Reporter, Reports, gate, reports};
use support::running_server::{RunningServer, close};
use support::services::{read_line, stream_handler};

const LOOPBACK: &str = "127.0.0.1:0";

/// Announces the first client, which waits at the gate, and answers every client with its line.
fn gated(reporter: Reporter, gate: Gate) -> impl HandlerFactory<StreamRequest> {
    stream_handler(move |request: &mut StreamRequest| {
        while request.wait()? {
            let line = read_line(request)?;
            if line == "first" {
                reporter.say("begun");
                gate.pass();
            }
            request.write_all(line.as_bytes())?;
        }
        Ok(())
    })
}

/// Stops the server while one client is served and three wait in the queue. Returns what the three
/// read.
fn stop_before_three<S: BaseServer>(
    server: Server<S>,
    mut reports: Reports,
    release: impl FnOnce(),
) -> (Vec<Result<Vec<u8>, std::io::Error>>, DrainReport) {
    let running = RunningServer::start(server);
    let mut first = StreamClient::connect(&running.address());
    first.send("first\n");
    assert_eq!(reports.next_report(), "begun");
    let mut waiting = Vec::from_iter((0..3).map(|number| {
        let client = StreamClient::connect(&running.address());
        client.send(&format!("client {number}\n"));
        client
    }));
    running.handle().request_shutdown();
    release();
    let answers = waiting.iter_mut().map(StreamClient::try_rest).collect();
    assert_eq!(first.rest(), b"first");
    (answers, close(running.wait_for_end()))
}

fn serves_three<S: BaseServer>(layers: impl FnOnce(Reporter, Gate) -> S, limit: Option<usize>) {
    let (reporter, reports) = reports();
    let (gate, key) = gate();
    let server = layers(reporter, gate).bind().unwrap();
    if let Some(max) = limit {
        let limits = Limits::none().with_max_connections(max);
        server.handle().set_limits(limits);
    }
    server.handle().set_backlog(Backlog::Serve);
    let (answers, report) = stop_before_three(server, reports, || key.let_pass(1));
    for (number, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer.unwrap(), format!("client {number}").into_bytes());
    }
    assert_eq!((report.backlog, report.aborted, report.running), (3, 0, 0));
    assert!(
        report.to_string().contains("3 from the backlog"),
        "{report}"
    );
}

#[test]
fn clients_in_the_queue_are_served_without_a_mix_in() {
    serves_three(
        |reporter, gate| TcpServer::new(LOOPBACK, gated(reporter, gate)),
        None,
    );
}

#[test]
fn clients_in_the_queue_are_served_over_a_unix_socket() {
    let directory = support::short_paths::directory();
    let path = directory.path().join("socket");
    serves_three(
        |reporter, gate| UnixStreamServer::new(path, gated(reporter, gate)),
        None,
    );
}

#[test]
fn clients_in_the_queue_are_served_by_a_full_pool() {
    let layers = |reporter, gate| {
        let bottom = TcpServer::new(LOOPBACK, gated(reporter, gate));
        bottom.mix_in(ThreadPoolMixIn::new).workers(1).queue_size(0)
    };
    serves_three(layers, None);
}

#[test]
fn clients_in_the_queue_are_served_by_threads_at_their_limit() {
    let layers = |reporter, gate| {
        TcpServer::new(LOOPBACK, gated(reporter, gate)).mix_in(ThreadingMixIn::new)
    };
    serves_three(layers, Some(1));
}

#[test]
fn clients_in_the_queue_are_refused_with_the_message_of_the_limit() {
    let (reporter, reports) = reports();
    let (gate, key) = gate();
    let layers = TcpServer::new(LOOPBACK, gated(reporter, gate)).mix_in(ThreadPoolMixIn::new);
    let server = layers.workers(1).queue_size(0).bind().unwrap();
    let handle = server.handle();
    handle.set_limits(Limits::default().refuse_with("stopping"));
    handle.set_backlog(Backlog::Refuse);
    let (answers, report) = stop_before_three(server, reports, || key.let_pass(1));
    for answer in answers {
        assert_eq!(answer.unwrap(), b"stopping");
    }
    assert_eq!((report.backlog, report.running), (3, 0));
    assert_eq!(handle.statistics().refused, 3);
}

#[test]
fn by_default_the_clients_in_the_queue_are_reset() {
    let (reporter, mut reports) = reports();
    let (gate, key) = gate();
    let server = TcpServer::bind(LOOPBACK, gated(reporter, gate)).unwrap();
    let running = RunningServer::start(server);
    let first = StreamClient::connect(&running.address());
    first.send("first\n");
    assert_eq!(reports.next_report(), "begun");
    let mut waiting = StreamClient::connect(&running.address());
    waiting.send("never answered\n");
    running.handle().request_shutdown();
    key.let_pass(1);
    let report = close(running.wait_for_end());
    let error = waiting.try_rest().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(report.backlog, 0);
}

#[test]
fn the_drain_timeout_bounds_the_time_for_the_queue() {
    let (reporter, mut reports) = reports();
    let (gate, _key) = gate();
    let layers = TcpServer::new(LOOPBACK, gated(reporter, gate)).mix_in(ThreadPoolMixIn::new);
    let server = layers.workers(1).queue_size(0).bind().unwrap();
    server.handle().set_backlog(Backlog::Serve);
    server.set_drain_timeout(Some(Duration::from_millis(50)));
    let running = RunningServer::start(server);
    let first = StreamClient::connect(&running.address());
    first.send("first\n");
    assert_eq!(reports.next_report(), "begun");
    let waiting = StreamClient::connect(&running.address());
    waiting.send("never answered\n");
    running.handle().request_shutdown();
    // The one worker is held at the gate: the loop ends by itself.
    drop(running.wait_for_end().handle());
}

#[test]
fn a_tcp_client_that_comes_after_the_stop_request_is_not_accepted() {
    let (reporter, mut reports) = reports();
    let (gate, key) = gate();
    let factory = stream_handler(move |request: &mut StreamRequest| {
        let line = read_line(request)?;
        reporter.say("begun");
        gate.pass();
        Ok(request.write_all(line.as_bytes())?)
    });
    let server = TcpServer::bind(LOOPBACK, factory).unwrap();
    server.handle().set_backlog(Backlog::Serve);
    let running = RunningServer::start(server);
    let client = |line: &str| {
        let client = StreamClient::connect(&running.address());
        client.send(line);
        client
    };
    let mut first = client("first\n");
    assert_eq!(reports.next_report(), "begun");
    let mut second = client("second\n");
    running.handle().request_shutdown();
    key.let_pass(1);
    assert_eq!(first.rest(), b"first");
    // The second is being served, and is the last of the queue.
    assert_eq!(reports.next_report(), "begun");
    let mut late = client("late\n");
    key.let_pass(1);
    assert_eq!(second.rest(), b"second");
    let report = close(running.wait_for_end());
    assert_eq!(report.backlog, 1);
    assert!(late.try_rest().is_err());
}
