//! Stopping: idle requests are asked to end, busy requests may end, the rest is aborted, and each
//! is counted.
//!
//! The same for a forking server is in `tests/own_process/forking.rs`.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use socketserver::{
    BaseServer, DrainReport, HandlerFactory, ReactorTcpServer, Serve, Server, StreamRequest,
    TcpServer, ThreadPoolMixIn, ThreadPoolTcpServer, ThreadingMixIn, ThreadingTcpServer,
    ThreadingUnixStreamServer, UdpServer,
};
use support::clients::{DatagramClient, StreamClient};
use support::conversation::Conversation;
use support::reports::{Reporter, Reports, gate, reports};
use support::running_server::{RunningServer, close};
use support::services::{datagram_handler, read_line, silent_panic, stream_handler};
use support::waiting::{eventually, within_limit};

const LOOPBACK: &str = "127.0.0.1:0";
const SOON: Option<Duration> = Some(Duration::from_millis(50));

fn counts(report: DrainReport) -> (usize, usize, usize, usize) {
    (report.idle, report.ended, report.aborted, report.running)
}

fn conversations() -> (Reports, impl HandlerFactory<StreamRequest>) {
    let (reporter, reports) = reports();
    (reports, move || Conversation(reporter.clone()))
}

fn idle_clients_are_interrupted<S: BaseServer>(server: Server<S>, reports: &mut Reports) {
    let running = RunningServer::start(server);
    let mut clients: Vec<_> = (0..3)
        .map(|_| StreamClient::connect(&running.address()))
        .collect();
    for client in &mut clients {
        assert_eq!(client.line(), "welcome");
        client.send("hello\n");
        assert_eq!(client.line(), "hello");
    }
    // The clients keep the connections open, so `shutdown` alone ends the handlers' `wait`.
    let server = running.stop();
    assert_eq!(reports.take(3), ["told"; 3]);
    for client in &mut clients {
        assert_eq!(client.rest(), b"goodbye\n");
    }
    assert_eq!(close(server).running, 0);
}

#[test]
fn an_idle_client_s_handler_is_interrupted_by_a_shutdown_at_once() {
    let (mut reports, factory) = conversations();
    idle_clients_are_interrupted(
        ThreadingTcpServer::bind(LOOPBACK, factory).unwrap(),
        &mut reports,
    );
    let (mut reports, factory) = conversations();
    idle_clients_are_interrupted(
        ThreadPoolTcpServer::bind(LOOPBACK, factory).unwrap(),
        &mut reports,
    );
    let (mut reports, factory) = conversations();
    idle_clients_are_interrupted(
        ReactorTcpServer::bind(LOOPBACK, factory).unwrap(),
        &mut reports,
    );
    let directory = support::short_paths::directory();
    let (mut reports, factory) = conversations();
    idle_clients_are_interrupted(
        ThreadingUnixStreamServer::bind(directory.path().join("socket"), factory).unwrap(),
        &mut reports,
    );
}

#[test]
fn an_idle_client_s_handler_is_interrupted_by_a_close_without_a_shutdown() {
    let (mut reports, factory) = conversations();
    let server = ThreadingTcpServer::bind(LOOPBACK, factory).unwrap();
    let mut client = StreamClient::connect(&server.server_address());
    server.handle_request().unwrap();
    assert_eq!(client.line(), "welcome");
    let handle = server.handle();
    eventually("the client is idle", || handle.statistics().idle == 1);
    assert_eq!(counts(close(server)), (1, 0, 0, 0));
    assert_eq!(reports.next_report(), "told");
    assert_eq!(client.rest(), b"goodbye\n");
}

#[test]
fn an_idle_client_of_a_server_without_a_mix_in_does_not_hold_up_its_shutdown() {
    let (mut reports, factory) = conversations();
    let running = RunningServer::start(TcpServer::new(LOOPBACK, factory).bind().unwrap());
    let mut client = StreamClient::connect(&running.address());
    assert_eq!(client.line(), "welcome");
    running.close();
    assert_eq!(reports.next_report(), "told");
    assert_eq!(client.rest(), b"goodbye\n");
}

#[test]
fn what_has_arrived_is_answered_before_the_handler_is_interrupted() {
    let (reporter, mut reports) = reports();
    let (gate, key) = gate();
    let factory = stream_handler(move |request| {
        while request.wait()? {
            let line = read_line(request)?;
            if line == "hold" {
                reporter.say("held");
                gate.pass();
            }
            writeln!(request, "{line}")?;
        }
        reporter.say("told");
        Ok(())
    });
    let running = RunningServer::start(ThreadingTcpServer::bind(LOOPBACK, factory).unwrap());
    let mut client = StreamClient::connect(&running.address());
    client.send("hold\n");
    assert_eq!(reports.next_report(), "held");
    // Sent while the handler is busy, and here before the server stops.
    client.send("one more\n");
    let server = running.stop();
    key.let_pass(1);
    assert_eq!(client.rest(), b"hold\none more\n");
    assert_eq!(reports.next_report(), "told");
    close(server);
}

#[test]
fn a_busy_request_ends_by_itself_and_is_counted_so() {
    let (reporter, mut reports) = reports();
    let (gate, key) = gate();
    let factory = stream_handler(move |request| {
        let line = read_line(request)?;
        reporter.say("busy");
        gate.pass();
        Ok(writeln!(request, "{line} to the end")?)
    });
    let running = RunningServer::start(ThreadingTcpServer::bind(LOOPBACK, factory).unwrap());
    let mut clients: Vec<_> = (0..3)
        .map(|_| StreamClient::connect(&running.address()))
        .collect();
    for client in &clients {
        client.send("served\n");
    }
    reports.take(3);
    let server = running.stop();
    key.let_pass(3);
    assert_eq!(counts(close(server)), (0, 3, 0, 0));
    for client in &mut clients {
        assert_eq!(client.rest(), b"served to the end\n");
    }
}

/// Reads in one way and reports how that ended.
fn reading<F>(reporter: Reporter, read: F) -> impl HandlerFactory<StreamRequest>
where
    F: Fn(&mut StreamRequest) -> std::io::Result<usize> + Clone + Send + Sync + 'static,
{
    stream_handler(move |request| {
        reporter.say("reading");
        match read(request) {
            Ok(count) => reporter.say(format_args!("read {count}")),
            Err(error) => reporter.say(format_args!("{:?}", error.kind())),
        }
        Ok(())
    })
}

fn a_blocked_read_is_aborted<S: BaseServer>(server: Server<S>, reports: &mut Reports) {
    server.set_drain_timeout(SOON);
    let running = RunningServer::start(server);
    let mut client = StreamClient::connect(&running.address());
    assert_eq!(reports.next_report(), "reading");
    assert_eq!(counts(running.close()), (0, 0, 1, 0));
    assert_eq!(
        reports.next_report(),
        format!("{:?}", ErrorKind::ConnectionAborted)
    );
    client.wait_for_close();
}

#[test]
fn a_blocked_read_is_aborted_at_the_drain_timeout_and_not_by_an_end_of_file() {
    type Reading = fn(&mut StreamRequest) -> std::io::Result<usize>;
    let ways: [Reading; 3] = [
        |request| Ok(read_line(request)?.len()),
        // Large enough to pass the buffer by.
        |request| request.read(&mut [0; 100_000]),
        |request| {
            let mut bytes = Vec::new();
            request.read_to_end(&mut bytes)
        },
    ];
    for read in ways {
        let (reporter, mut reports) = reports();
        let factory = reading(reporter.clone(), read);
        let server = ThreadingTcpServer::bind(LOOPBACK, factory).unwrap();
        a_blocked_read_is_aborted(server, &mut reports);
        let factory = reading(reporter.clone(), read);
        let server = ThreadPoolTcpServer::bind(LOOPBACK, factory).unwrap();
        a_blocked_read_is_aborted(server, &mut reports);
        let factory = reading(reporter, read);
        let server = ReactorTcpServer::bind(LOOPBACK, factory).unwrap();
        a_blocked_read_is_aborted(server, &mut reports);
    }
}

#[test]
fn a_blocked_write_is_aborted_at_the_drain_timeout() {
    let (reporter, mut reports) = reports();
    let factory = stream_handler(move |request| {
        reporter.say("writing");
        // More than the buffers of both sockets take from one that does not read.
        let error = request.write_all(&vec![0; 64 << 20]).unwrap_err();
        reporter.say(format_args!("{:?}", error.kind()));
        Ok(())
    });
    let server = ThreadingTcpServer::bind(LOOPBACK, factory).unwrap();
    server.set_drain_timeout(SOON);
    let running = RunningServer::start(server);
    let mut client = StreamClient::connect(&running.address());
    assert_eq!(reports.next_report(), "writing");
    // The first bytes: the handler is in the write.
    client.receive_exactly(1);
    assert_eq!(counts(running.close()), (0, 0, 1, 0));
    assert_eq!(
        reports.next_report(),
        format!("{:?}", ErrorKind::ConnectionAborted)
    );
}

#[test]
fn the_drain_timeout_can_be_set_while_the_server_runs() {
    let (reporter, mut reports) = reports();
    let factory = stream_handler(move |request| {
        reporter.say("reading");
        let error = read_line(request).unwrap_err();
        reporter.say(format_args!("{:?}", error.kind()));
        Ok(())
    });
    let server = ThreadingTcpServer::bind(LOOPBACK, factory).unwrap();
    server.set_drain_timeout(None);
    let running = RunningServer::start(server);
    let _client = StreamClient::connect(&running.address());
    assert_eq!(reports.next_report(), "reading");
    let handle = running.handle();
    assert_eq!(handle.drain_timeout(), None);
    handle.set_drain_timeout(SOON);
    assert_eq!(handle.drain_timeout(), SOON);
    // Without the new timeout, this waits for the client without end.
    assert_eq!(counts(running.close()), (0, 0, 1, 0));
    assert_eq!(
        reports.next_report(),
        format!("{:?}", ErrorKind::ConnectionAborted)
    );
}

#[test]
fn those_that_end_and_those_that_are_aborted_are_counted_apart() {
    let (reporter, mut reports) = reports();
    let factory = stream_handler(move |request| {
        match &*read_line(request)? {
            "wait" => {
                reporter.say("ready");
                while request.wait()? {}
            }
            _ => {
                reporter.say("ready");
                read_line(request)?;
            }
        }
        Ok(())
    });
    let server = ThreadingTcpServer::bind(LOOPBACK, factory).unwrap();
    server.set_drain_timeout(SOON);
    let running = RunningServer::start(server);
    let clients: Vec<_> = ["wait\n", "read\n", "wait\n", "read\n", "wait\n"]
        .into_iter()
        .map(|how| {
            let client = StreamClient::connect(&running.address());
            client.send(how);
            client
        })
        .collect();
    reports.take(5);
    eventually("three clients are idle", || {
        running.handle().statistics().idle == 3
    });
    // The counting begins with the shutdown in it, so none ends uncounted.
    let report = running.close();
    assert_eq!(report.aborted, 2, "{report}");
    assert_eq!(report.running, 0, "{report}");
    assert_eq!(report.idle, 3, "{report}");
    drop(clients);
}

#[test]
fn a_request_that_neither_reads_nor_writes_is_given_up_a_second_after_the_drain_timeout() {
    let (reporter, mut reports) = reports();
    let (gate, key) = gate();
    let factory = stream_handler(move |_| {
        reporter.say("working");
        gate.pass();
        reporter.say("done");
        Ok(())
    });
    let server = ThreadingTcpServer::bind(LOOPBACK, factory).unwrap();
    server.set_drain_timeout(SOON);
    let running = RunningServer::start(server);
    let _client = StreamClient::connect(&running.address());
    assert_eq!(reports.next_report(), "working");
    let report = running.close();
    assert_eq!(report.running, 1, "{report}");
    assert_eq!(reports.so_far(), [""; 0]);
    key.let_pass(1);
    assert_eq!(reports.next_report(), "done");
}

#[test]
fn a_datagram_that_is_being_served_is_waited_for() {
    let (reporter, mut reports) = reports();
    let (gate, key) = gate();
    let factory = datagram_handler(move |request| {
        reporter.say("busy");
        gate.pass();
        Ok(request.write_all(b"served")?)
    });
    let layers = UdpServer::new(LOOPBACK, factory).mix_in(ThreadingMixIn::new);
    let running = RunningServer::start(layers.bind().unwrap());
    let client = DatagramClient::connect(&running.address());
    client.send(b"?");
    assert_eq!(reports.next_report(), "busy");
    let server = running.stop();
    key.let_pass(1);
    assert_eq!(counts(close(server)), (0, 1, 0, 0));
    assert_eq!(client.receive(), b"served");
}

#[test]
fn a_server_that_serves_again_after_a_shutdown_is_not_draining() {
    let (mut reports, factory) = conversations();
    let running = RunningServer::start(ThreadingTcpServer::bind(LOOPBACK, factory).unwrap());
    let server = running.stop();
    assert!(server.handle().is_draining());
    let running = RunningServer::start(server);
    let mut client = StreamClient::connect(&running.address());
    assert_eq!(client.line(), "welcome");
    client.send("hello\n");
    assert_eq!(client.line(), "hello");
    assert!(!running.handle().is_draining());
    assert_eq!(reports.so_far(), [""; 0]);
    running.close();
}

#[test]
fn dropping_a_server_drains_it_too() {
    let (mut reports, factory) = conversations();
    let server = ThreadingTcpServer::bind(LOOPBACK, factory).unwrap();
    let mut client = StreamClient::connect(&server.server_address());
    server.handle_request().unwrap();
    assert_eq!(client.line(), "welcome");
    within_limit("drop", move || drop(server));
    assert_eq!(reports.so_far(), ["told"]);
    assert_eq!(client.rest(), b"goodbye\n");
}

#[test]
fn a_panicking_thread_cuts_its_server_s_requests_off() {
    let (reporter, mut reports) = reports();
    let factory = reading(reporter, |request| Ok(read_line(request)?.len()));
    let layers = TcpServer::new(LOOPBACK, factory)
        .mix_in(ThreadPoolMixIn::new)
        .workers(1);
    let server = layers.bind().unwrap();
    let mut client = StreamClient::connect(&server.server_address());
    server.handle_request().unwrap();
    assert_eq!(reports.next_report(), "reading");
    let panicked = std::thread::spawn(move || {
        let _server = server;
        silent_panic("with a server in its hands");
    });
    within_limit("the panic", move || panicked.join().unwrap_err());
    assert_eq!(
        reports.next_report(),
        format!("{:?}", ErrorKind::ConnectionAborted)
    );
    client.wait_for_close();
}

#[test]
fn a_client_cannot_hold_up_the_shutdown_of_a_server_without_a_mix_in() {
    let (reporter, mut reports) = reports();
    let factory = stream_handler(move |request| {
        reporter.say("reads");
        reporter.say(read_line(request).unwrap_err().kind());
        Ok(())
    });
    let server = TcpServer::new(LOOPBACK, factory).bind().unwrap();
    server.set_drain_timeout(SOON);
    let running = RunningServer::start(server);
    let client = StreamClient::connect(&running.address());
    client.send("the beginning of a line");
    assert_eq!(reports.next_report(), "reads");
    let server = running.stop();
    assert_eq!(
        reports.next_report(),
        ErrorKind::ConnectionAborted.to_string()
    );
    assert_eq!(counts(close(server)), (0, 0, 1, 0));
}

#[test]
fn what_waits_for_a_worker_when_the_time_is_over_is_not_begun() {
    let (reporter, mut begun) = reports();
    let (gate, key) = gate();
    let factory = datagram_handler(move |_| {
        reporter.say("begun");
        gate.pass();
        Ok(())
    });
    let layers = UdpServer::new(LOOPBACK, factory)
        .mix_in(ThreadPoolMixIn::new)
        .workers(1)
        .queue_size(2);
    let server = layers.bind().unwrap();
    server.set_drain_timeout(Some(Duration::from_millis(20)));
    let running = RunningServer::start(server);
    let client = DatagramClient::connect(&running.address());
    (0..3).for_each(|_| client.send(b"?"));
    assert_eq!(begun.next_report(), "begun");
    eventually("two wait", || running.handle().active_request_count() == 3);
    let server = running.stop();
    let handle = server.handle();
    // The first neither reads nor writes, and is given up.
    assert_eq!(counts(close(server)), (0, 0, 0, 3));
    key.let_pass(3);
    eventually("all have ended", || handle.active_request_count() == 0);
    assert_eq!(begun.so_far(), [""; 0]);
    let statistics = handle.statistics();
    assert_eq!((statistics.finished, statistics.aborted), (1, 2));
}
