//! Clients that have always more to say leave their places to the clients that wait.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use socketserver::mock::MockStream;
use socketserver::{
    Address, BaseServer, HandlerFactory, Limits, Serve, Server, StreamRequest, TcpServer,
    ThreadPoolMixIn, ThreadingMixIn,
};
use support::clients::StreamClient;
use support::running_server::RunningServer;
use support::services::stream_handler;

const LOOPBACK: &str = "127.0.0.1:0";

/// As soon as another client waits, each connection ends after one exchange.
fn shortest_turn() -> Limits {
    Limits::none().with_turn(Duration::ZERO)
}

/// The first lines of the connections, in the order in which they were served.
type Served = Arc<Mutex<Vec<String>>>;

/// Answers lines.
fn lines(served: Served) -> impl HandlerFactory<StreamRequest> {
    stream_handler(move |request: &mut StreamRequest| {
        let mut is_first = true;
        while let Some(line) = request.next_line(1000)? {
            writeln!(request, "{line}")?;
            if std::mem::take(&mut is_first) {
                served.lock().unwrap().push(line);
            }
        }
        Ok(())
    })
}

/// Sends lines without a pause, and takes the answers, on one connection after another, until the
/// test has ended.
fn be_greedy(address: &Address, has_ended: &AtomicBool) {
    let batch = "greedy\n".repeat(100);
    while !has_ended.load(SeqCst) {
        let client = StreamClient::connect(address);
        thread::scope(|scope| {
            scope.spawn(|| io::copy(&mut client.socket(), &mut io::sink()));
            while !has_ended.load(SeqCst) && client.socket().write_all(batch.as_bytes()).is_ok() {}
            let _ = client.socket().shutdown(std::net::Shutdown::Both);
        });
    }
}

/// Runs `greedy` clients against the server, and returns how many of their connections are served
/// between the connect of a polite client and its answer.
fn served_before_a_polite_client<S: BaseServer>(
    server: Server<S>,
    greedy: usize,
    served: &Served,
) -> usize {
    let running = RunningServer::start(server);
    let (address, has_ended) = (running.address(), AtomicBool::new(false));
    let before = thread::scope(|scope| {
        for _ in 0..greedy {
            scope.spawn(|| be_greedy(&address, &has_ended));
        }
        support::waiting::eventually("a greedy client is served", || {
            !served.lock().unwrap().is_empty()
        });
        let mut polite = StreamClient::connect(&address);
        let ahead = served.lock().unwrap().len();
        polite.send("polite\n");
        let answer = polite.line();
        has_ended.store(true, SeqCst);
        assert_eq!(answer, "polite");
        support::waiting::eventually("the polite client is noted", || {
            served.lock().unwrap().contains(&"polite".to_owned())
        });
        let served = served.lock().unwrap();
        let polite = served.iter().position(|line| line == "polite").unwrap();
        polite.saturating_sub(ahead)
    });
    running.close();
    before
}

#[test]
fn a_polite_client_of_a_server_without_a_mix_in_waits_for_those_before_it_alone() {
    let served = Served::default();
    let server = TcpServer::bind(LOOPBACK, lines(served.clone())).unwrap();
    server.handle().set_limits(shortest_turn());
    let before = served_before_a_polite_client(server, 6, &served);
    // The queue is in order, and each greedy client has one connection at a time.
    assert!(before <= 6, "{before}");
}

#[test]
fn a_dozen_greedy_clients_do_not_hold_a_pool_of_four() {
    for queue_size in [0, 4, 100] {
        let served = Served::default();
        let layers = TcpServer::new(LOOPBACK, lines(served.clone()))
            .mix_in(ThreadPoolMixIn::new)
            .workers(4)
            .queue_size(queue_size);
        let server = layers.bind().unwrap();
        server.handle().set_limits(shortest_turn());
        served_before_a_polite_client(server, 12, &served);
    }
}

#[test]
fn greedy_clients_at_the_limit_of_a_threading_server_leave_their_places() {
    let served = Served::default();
    let layers = TcpServer::new(LOOPBACK, lines(served.clone())).mix_in(ThreadingMixIn::new);
    let server = layers.bind().unwrap();
    server
        .handle()
        .set_limits(shortest_turn().with_max_connections(2));
    served_before_a_polite_client(server, 6, &served);
}

#[test]
fn while_nobody_waits_a_turn_has_no_end() {
    let served = Served::default();
    let layers = TcpServer::new(LOOPBACK, lines(served)).mix_in(ThreadPoolMixIn::new);
    let running = RunningServer::start(layers.workers(2).bind().unwrap());
    running.handle().set_limits(shortest_turn());
    let mut clients = [(); 2].map(|()| StreamClient::connect(&running.address()));
    for _ in 0..10 {
        for client in &mut clients {
            client.send("one\n");
            assert_eq!(client.line(), "one");
        }
    }
    drop(clients);
    running.close();
}

#[test]
fn a_connection_whose_turn_is_over_ends_a_drain_with_messages_in_its_buffer() {
    for (limits, expected) in [
        (shortest_turn(), &["one"][..]),
        (Limits::none(), &["one", "two"][..]),
    ] {
        let client = MockStream::new().chunk("one\ntwo\n").chunk("three\n");
        let (mut request, _) = client.into_request();
        request.server().set_limits(limits);
        let mut lines = Vec::new();
        while let Some(line) = request.next_line(10).unwrap() {
            lines.push(line);
            request.server().request_shutdown();
        }
        assert_eq!(lines, expected);
    }
}
