//! The workers of `ThreadPoolMixIn`: how many they are, and what happens when all are busy.

use std::collections::HashSet;
use std::io::Write;

use socketserver::{
    BaseServer, HandlerFactory, MixIn, Serve, Server, StreamRequest, TcpServer, ThreadPoolMixIn,
    UdpServer,
};
use support::clients::{DatagramClient, StreamClient};
use support::reports::{Gate, GateKey, Reporter, Reports, gate, reports};
use support::running_server::{RunningServer, close};
use support::services::{datagram_handler, read_line, silent_panic, stream_handler};

const LOOPBACK: &str = "127.0.0.1:0";

/// Reports each pass of the loop.
struct Passes<S>(S, Reporter);

impl<S: BaseServer> MixIn for Passes<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.0
    }

    fn service_actions(&self) {
        self.1.say("pass");
    }
}

/// Handlers that report that they begin, and end when the gate lets them pass.
struct Held {
    begun: Reports,
    key: GateKey,
}

fn held() -> (Held, impl HandlerFactory<StreamRequest>) {
    let (reporter, begun) = reports();
    let (gate, key): (Gate, GateKey) = gate();
    let factory = stream_handler(move |request| {
        reporter.say("begun");
        gate.pass();
        Ok(request.write_all(b"served")?)
    });
    (Held { begun, key }, factory)
}

/// A pool of `workers` with `queue_size` places, and the passes of its loop.
fn pool(
    workers: usize,
    queue_size: usize,
    factory: impl HandlerFactory<StreamRequest>,
) -> (Server<impl BaseServer>, Reports) {
    let (reporter, passes) = reports();
    let layers = TcpServer::new(LOOPBACK, factory)
        .mix_in(ThreadPoolMixIn::new)
        .workers(workers)
        .queue_size(queue_size)
        .mix_in(|next| Passes(next, reporter));
    (layers.bind().unwrap(), passes)
}

/// Makes the loop look three times more whether it may accept.
fn let_the_loop_look<S: BaseServer>(running: &RunningServer<S>, passes: &mut Reports) {
    passes.so_far();
    for _ in 0..3 {
        running.server().stack().layer_handle().wake();
        passes.next_report();
    }
}

#[test]
fn when_all_workers_are_busy_and_the_queue_is_full_the_rest_waits_and_nothing_is_dropped() {
    let (mut held, factory) = held();
    let (server, mut passes) = pool(2, 3, factory);
    let running = RunningServer::start(server);
    let clients: Vec<_> = (0..12)
        .map(|_| StreamClient::connect(&running.address()))
        .collect();
    held.begun.take(2);
    while running.handle().active_request_count() < 5 {
        std::thread::yield_now();
    }
    let_the_loop_look(&running, &mut passes);
    // Two are served, three wait for a worker, seven are with the kernel.
    assert_eq!(held.begun.so_far(), [""; 0]);
    assert_eq!(running.handle().active_request_count(), 5);
    // One ends: one that waited is begun, and one more is accepted.
    held.key.let_pass(1);
    held.begun.next_report();
    while running.handle().active_request_count() < 5 {
        std::thread::yield_now();
    }
    let_the_loop_look(&running, &mut passes);
    assert_eq!(held.begun.so_far(), [""; 0]);
    assert_eq!(running.handle().active_request_count(), 5);
    held.key.let_pass(11);
    for mut client in clients {
        assert_eq!(client.rest(), b"served");
    }
    assert_eq!(held.begun.take(9).len(), 9);
    assert_eq!(running.close().running, 0);
}

#[test]
fn without_a_queue_no_more_is_accepted_than_is_served() {
    let (mut held, factory) = held();
    let (server, mut passes) = pool(1, 0, factory);
    let running = RunningServer::start(server);
    let clients: Vec<_> = (0..3)
        .map(|_| StreamClient::connect(&running.address()))
        .collect();
    for mut client in clients {
        held.begun.next_report();
        let_the_loop_look(&running, &mut passes);
        assert_eq!(running.handle().active_request_count(), 1);
        held.key.let_pass(1);
        assert_eq!(client.rest(), b"served");
    }
    running.close();
}

#[test]
fn shutdown_ends_a_loop_whose_pool_is_full() {
    let (mut held, factory) = held();
    let (server, mut passes) = pool(1, 0, factory);
    let running = RunningServer::start(server);
    let mut served = StreamClient::connect(&running.address());
    let mut never_accepted = StreamClient::connect(&running.address());
    held.begun.next_report();
    let_the_loop_look(&running, &mut passes);
    let server = running.stop();
    held.key.let_pass(1);
    assert_eq!(served.rest(), b"served");
    close(server);
    never_accepted.wait_for_close();
}

#[test]
fn a_panic_does_not_cost_a_worker() {
    let factory = stream_handler(|request| match &*read_line(request)? {
        "panic" => silent_panic("told to"),
        _ => Ok(write!(request, "{:?}", std::thread::current().id())?),
    });
    let (server, _passes) = pool(1, 0, factory);
    let running = RunningServer::start(server);
    let thread = |running: &RunningServer<_>| {
        let mut client = StreamClient::connect(&running.address());
        client.send("which thread?\n");
        String::from_utf8(client.rest()).unwrap()
    };
    let before = thread(&running);
    for _ in 0..5 {
        let mut client = StreamClient::connect(&running.address());
        client.send("panic\n");
        client.wait_for_close();
    }
    assert_eq!(thread(&running), before);
    running.close();
}

#[test]
fn requests_are_served_by_the_workers_alone_and_by_all_of_them() {
    let barrier = std::sync::Arc::new(std::sync::Barrier::new(4));
    let factory = stream_handler(move |request| {
        // Four at a time, or it does not end.
        barrier.wait();
        Ok(write!(request, "{:?}", std::thread::current().id())?)
    });
    let (server, _passes) = pool(4, 4, factory);
    let running = RunningServer::start(server);
    let mut threads = HashSet::new();
    for _ in 0..3 {
        let clients: Vec<_> = (0..4)
            .map(|_| StreamClient::connect(&running.address()))
            .collect();
        threads.extend(clients.into_iter().map(|mut client| client.rest()));
    }
    assert_eq!(threads.len(), 4);
    running.close();
}

#[test]
fn closing_waits_for_what_runs_and_for_what_waits_for_a_worker() {
    let (mut held, factory) = held();
    let (server, _passes) = pool(1, 2, factory);
    let running = RunningServer::start(server);
    let clients: Vec<_> = (0..3)
        .map(|_| StreamClient::connect(&running.address()))
        .collect();
    held.begun.next_report();
    while running.handle().active_request_count() < 3 {
        std::thread::yield_now();
    }
    let server = running.stop();
    held.key.let_pass(3);
    let report = close(server);
    assert_eq!(
        (report.idle, report.ended, report.aborted, report.running),
        (0, 3, 0, 0)
    );
    for mut client in clients {
        assert_eq!(client.rest(), b"served");
    }
}

#[test]
fn closing_does_not_wait_without_block_on_close_and_what_was_accepted_is_served() {
    let (mut held, factory) = held();
    let layers = TcpServer::new(LOOPBACK, factory)
        .mix_in(ThreadPoolMixIn::new)
        .workers(1)
        .queue_size(1)
        .block_on_close(false);
    let running = RunningServer::start(layers.bind().unwrap());
    let clients: Vec<_> = (0..2)
        .map(|_| StreamClient::connect(&running.address()))
        .collect();
    held.begun.next_report();
    while running.handle().active_request_count() < 2 {
        std::thread::yield_now();
    }
    assert_eq!(running.close().running, 2);
    held.key.let_pass(2);
    for mut client in clients {
        assert_eq!(client.rest(), b"served");
    }
}

#[test]
fn datagrams_that_find_no_place_wait_in_the_kernel() {
    let (gate, key) = gate();
    let factory = datagram_handler(move |request| {
        gate.pass();
        let packet = request.packet().to_owned();
        Ok(request.write_all(&packet)?)
    });
    let layers = UdpServer::new(LOOPBACK, factory)
        .mix_in(ThreadPoolMixIn::new)
        .workers(1)
        .queue_size(1);
    let running = RunningServer::start(layers.bind().unwrap());
    let client = DatagramClient::connect(&running.address());
    for number in 0..10 {
        client.send(&[number]);
    }
    while running.handle().active_request_count() < 2 {
        std::thread::yield_now();
    }
    for number in 0..10 {
        assert!(running.handle().active_request_count() <= 2);
        key.let_pass(1);
        assert_eq!(client.receive(), [number]);
    }
    running.close();
}
