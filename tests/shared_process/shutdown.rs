//! `shutdown` ends a loop: whoever calls it, and whenever.

use socketserver::{
    BaseServer, Error, HandlerResult, ReactorMixIn, Serve, Server, StreamRequest, TcpServer,
    ThreadPoolMixIn, ThreadPoolUdpServer, ThreadingMixIn, ThreadingTcpServer, ThreadingUdpServer,
    UdpServer, UnixStreamServer,
};
use support::clients::{DatagramClient, StreamClient};
use support::reports::{gate, reports};
use support::running_server::{RunningServer, close};
use support::services::{EchoLine, datagram_handler, read_line, stream_handler};
use support::waiting::within_limit;

const LOOPBACK: &str = "127.0.0.1:0";

fn echo_server() -> Server<impl BaseServer> {
    TcpServer::new(LOOPBACK, EchoLine::default).bind().unwrap()
}

#[test]
fn shutdown_always_ends_a_loop_in_another_thread() {
    // Twenty times, since the call meets the new thread at a different point each time.
    let servers: Vec<_> = (0..20).map(|_| echo_server()).collect();
    let mut running = Vec::new();
    for server in servers {
        let server = RunningServer::start(server);
        let handle = server.handle();
        within_limit("shutdown", move || handle.shutdown());
        running.push(server);
    }
    for server in running {
        close(server.wait_for_end());
    }
}

#[test]
fn shutdown_always_ends_a_loop_that_serves_already() {
    for _ in 0..20 {
        let running = RunningServer::start(echo_server());
        let mut client = StreamClient::connect(&running.address());
        client.send("hello\n");
        assert_eq!(client.line(), "hello");
        running.close();
    }
}

#[test]
fn shutdown_before_the_loop_begins_ends_it_at_once() {
    for _ in 0..20 {
        let server = echo_server();
        server.shutdown();
        drop(RunningServer::start(server).wait_for_end());
    }
}

#[test]
fn shutdown_returns_when_the_loop_has_ended() {
    let (reporter, mut reports) = reports();
    let (gate, key) = gate();
    let server = TcpServer::new(
        LOOPBACK,
        stream_handler(move |_| {
            reporter.say("handling");
            gate.pass();
            reporter.say("handled");
            Ok(())
        }),
    );
    let running = RunningServer::start(server.bind().unwrap());
    let _client = StreamClient::connect(&running.address());
    assert_eq!(reports.next_report(), "handling");
    let handle = running.handle();
    let stopping = std::thread::spawn(move || handle.shutdown());
    // The loop is in the handler, so the call can only be seen to wait by its effect.
    while !running.handle().is_draining() {
        std::thread::yield_now();
    }
    assert!(!stopping.is_finished());
    key.let_pass(1);
    within_limit("shutdown", move || stopping.join().unwrap());
    assert_eq!(reports.so_far(), ["handled"]);
    drop(running.wait_for_end());
}

#[test]
fn a_requested_shutdown_ends_the_loop_and_does_not_wait_for_it() {
    let (reporter, mut reports) = reports();
    let (gate, key) = gate();
    let factory = stream_handler(move |_| {
        reporter.say("handling");
        gate.pass();
        Ok(())
    });
    let running = RunningServer::start(TcpServer::new(LOOPBACK, factory).bind().unwrap());
    let _client = StreamClient::connect(&running.address());
    assert_eq!(reports.next_report(), "handling");
    // It returns although the loop is held in the handler.
    let handle = running.handle();
    within_limit("request_shutdown", move || handle.request_shutdown());
    assert!(running.handle().is_draining());
    key.let_pass(1);
    close(running.wait_for_end());
}

#[test]
fn a_shutdown_requested_before_the_loop_begins_ends_it_at_once() {
    let server = echo_server();
    server.handle().request_shutdown();
    drop(RunningServer::start(server).wait_for_end());
}

#[test]
fn a_loop_that_is_woken_again_and_again_still_stops() {
    for _ in 0..20 {
        let running = RunningServer::start(echo_server());
        let handle = running.server().stack().layer_handle().clone();
        // Each wake-up meets the loop while the loop handles the one before.
        let waking = std::thread::spawn(move || (0..10_000).for_each(|_| handle.wake()));
        within_limit("wake", move || waking.join().unwrap());
        drop(running.stop());
    }
}

#[test]
fn several_threads_may_shut_one_server_down() {
    let running = RunningServer::start(echo_server());
    let stopping: Vec<_> = (0..8)
        .map(|_| {
            let handle = running.handle();
            std::thread::spawn(move || handle.shutdown())
        })
        .collect();
    for thread in stopping {
        within_limit("shutdown", move || thread.join().unwrap());
    }
    drop(running.wait_for_end());
}

fn stop_when_ordered(request: &mut StreamRequest) -> HandlerResult {
    assert_eq!(read_line(request)?, "stop");
    request.server().shutdown();
    Ok(std::io::Write::write_all(request, b"stopped\n")?)
}

fn a_handler_stops<S: BaseServer>(server: Server<S>) {
    let running = RunningServer::start(server);
    let mut client = StreamClient::connect(&running.address());
    client.send("stop\n");
    assert_eq!(client.rest(), b"stopped\n");
    let report = close(running.wait_for_end());
    assert_eq!(report.running, 0);
}

#[test]
fn a_handler_can_call_shutdown() {
    let layer = || TcpServer::new(LOOPBACK, stream_handler(stop_when_ordered));
    a_handler_stops(layer().bind().unwrap());
    a_handler_stops(layer().mix_in(ThreadingMixIn::new).bind().unwrap());
    a_handler_stops(layer().mix_in(ThreadPoolMixIn::new).bind().unwrap());
    a_handler_stops(layer().mix_in(ReactorMixIn::new).bind().unwrap());
    let directory = support::short_paths::directory();
    let path = directory.path().join("socket");
    a_handler_stops(
        UnixStreamServer::new(path, stream_handler(stop_when_ordered))
            .bind()
            .unwrap(),
    );
}

#[test]
fn a_datagram_handler_can_call_shutdown() {
    fn stops<S: BaseServer>(server: Server<S>) {
        let running = RunningServer::start(server);
        DatagramClient::connect(&running.address()).send(b"stop");
        close(running.wait_for_end());
    }
    let stop = || {
        datagram_handler(|request| {
            request.server().shutdown();
            Ok(())
        })
    };
    stops(UdpServer::new(LOOPBACK, stop()).bind().unwrap());
    stops(ThreadingUdpServer::bind(LOOPBACK, stop()).unwrap());
    stops(ThreadPoolUdpServer::bind(LOOPBACK, stop()).unwrap());
}

#[test]
fn a_handler_can_call_shutdown_through_a_handle_of_its_own() {
    // A factory that received the handle before the server served, as a closure in `main` would.
    let (sender, receiver) = std::sync::mpsc::channel::<socketserver::ServerHandle>();
    let receiver = std::sync::Arc::new(std::sync::Mutex::new(receiver));
    let factory = stream_handler(move |_| {
        receiver.lock().unwrap().recv()?.shutdown();
        Ok(())
    });
    let server = TcpServer::new(LOOPBACK, factory).bind().unwrap();
    sender.send(server.handle()).unwrap();
    let running = RunningServer::start(server);
    StreamClient::connect(&running.address()).wait_for_close();
    drop(running.wait_for_end());
}

#[test]
fn after_a_shutdown_the_server_serves_again() {
    let mut server = ThreadingTcpServer::bind(LOOPBACK, EchoLine::default).unwrap();
    for round in ["first\n", "second\n", "third\n"] {
        let running = RunningServer::start(server);
        let mut client = StreamClient::connect(&running.address());
        client.send(round);
        assert_eq!(client.rest(), round.as_bytes());
        server = running.stop();
    }
}

#[test]
fn what_connects_between_two_loops_is_served_by_the_second() {
    let running = RunningServer::start(echo_server());
    let server = running.stop();
    let mut client = StreamClient::connect(&server.server_address());
    client.send("patient\n");
    let running = RunningServer::start(server);
    assert_eq!(client.rest(), b"patient\n");
    running.close();
}

#[test]
fn a_second_loop_on_the_same_server_is_refused() {
    let running = RunningServer::start(echo_server());
    let mut client = StreamClient::connect(&running.address());
    client.send("hello\n");
    // The loop has begun when this is answered.
    assert_eq!(client.line(), "hello");
    let address = running.address();
    for second in [
        running.server().serve_forever(),
        running.server().handle_request(),
    ] {
        match second {
            Err(Error::AlreadyServing { address: named, .. }) => assert_eq!(named, address),
            other => panic!("{other:?}"),
        }
    }
    // The first goes on.
    let mut client = StreamClient::connect(&address);
    client.send("still there\n");
    assert_eq!(client.line(), "still there");
    running.close();
}
