//! `verify_request` refuses clients.
//!
//! A layer that refuses by address over a forking server is in `tests/own_process/forking.rs`.

use std::io::Write;

use socketserver::layer::RequestOf;
use socketserver::{
    BaseServer, MixIn, ReactorMixIn, Request, Serve, Server, StreamRequest, TcpServer,
    ThreadPoolMixIn, ThreadingMixIn, UdpServer,
};
use support::clients::{DatagramClient, StreamClient};
use support::observer::{Observer, place};
use support::reports::{Reporter, Reports, reports};
use support::running_server::{RunningServer, close};
use support::services::EchoLine;
use support::waiting::within_limit;

const LOOPBACK: &str = "127.0.0.1:0";

/// Refuses every client.
struct Closed<S>(S);

impl<S: BaseServer> MixIn for Closed<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.0
    }

    fn verify_request(&self, _request: &mut RequestOf<Self>) -> bool {
        false
    }
}

fn without_places(reports: Vec<String>) -> Vec<String> {
    let name = |line: String| line.split_once(" in ").unwrap().0.to_owned();
    reports.into_iter().map(name).collect()
}

fn refuses<S: BaseServer>(server: Server<S>, reports: &mut Reports) {
    let mut client = StreamClient::connect(&server.server_address());
    server.handle_request().unwrap();
    client.wait_for_close();
    close(server);
    assert_eq!(
        without_places(reports.so_far()),
        [
            "own verify_request",
            "own shutdown_request",
            "own close_request"
        ]
    );
}

#[test]
fn shutdown_request_is_called_when_verify_request_refuses() {
    let (reporter, mut reports) = reports();
    let layers = || {
        let closed = TcpServer::new(LOOPBACK, EchoLine::default).mix_in(Closed);
        Observer::new(closed, "own", reporter.clone())
    };
    refuses(layers().bind().unwrap(), &mut reports);
    refuses(
        layers().mix_in(ThreadingMixIn::new).bind().unwrap(),
        &mut reports,
    );
    refuses(
        layers().mix_in(ThreadPoolMixIn::new).bind().unwrap(),
        &mut reports,
    );
    refuses(
        layers().mix_in(ReactorMixIn::new).bind().unwrap(),
        &mut reports,
    );
}

/// A layer that refuses every second client, and reports where `verify_request` runs.
struct EverySecond<S> {
    next: S,
    asked: std::sync::atomic::AtomicUsize,
    reporter: Reporter,
}

impl<S: BaseServer> MixIn for EverySecond<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.next
    }

    fn verify_request(&self, request: &mut RequestOf<Self>) -> bool {
        assert!(request.client_address().ip().unwrap().is_loopback());
        self.reporter.say(place());
        let asked = self.asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        asked.is_multiple_of(2)
    }
}

#[test]
fn the_loop_goes_on_after_a_refusal_and_asks_in_its_own_thread() {
    let (reporter, mut reports) = reports();
    let layers = TcpServer::new(LOOPBACK, EchoLine::default)
        .mix_in(|next| EverySecond {
            next,
            asked: std::sync::atomic::AtomicUsize::new(0),
            reporter,
        })
        .mix_in(ThreadingMixIn::new);
    let running = RunningServer::start(layers.bind().unwrap());
    for _ in 0..3 {
        let mut served = StreamClient::connect(&running.address());
        served.send("hello\n");
        assert_eq!(served.rest(), b"hello\n");
        StreamClient::connect(&running.address()).wait_for_close();
    }
    running.close();
    let mut places = reports.so_far();
    assert_eq!(places.len(), 6);
    places.dedup();
    assert_eq!(places.len(), 1, "{places:?}");
}

#[test]
fn a_refused_datagram_is_not_handled() {
    let (reporter, mut reports) = reports();
    let layers = UdpServer::new(LOOPBACK, EchoLine::default)
        .mix_in(Closed)
        .mix_in(|next| Observer::new(next, "own", reporter));
    let server = layers.bind().unwrap();
    DatagramClient::connect(&server.server_address()).send(b"hello");
    server.handle_request().unwrap();
    close(server);
    assert_eq!(
        without_places(reports.so_far()),
        [
            "own verify_request",
            "own shutdown_request",
            "own close_request"
        ]
    );
}

/// Refuses every client with a reason.
struct WithReason<S>(S);

impl<S> MixIn for WithReason<S>
where
    S: BaseServer,
    S::Request: Write,
{
    type Next = S;

    fn next(&self) -> &S {
        &self.0
    }

    fn verify_request(&self, request: &mut RequestOf<Self>) -> bool {
        request.write_all(b"closed until Monday").unwrap();
        false
    }
}

#[test]
fn a_refused_client_reads_the_reason_even_if_it_has_sent_something() {
    let layers = TcpServer::new(LOOPBACK, EchoLine::default).mix_in(WithReason);
    let server = layers.bind().unwrap();
    let mut client = StreamClient::connect(&server.server_address());
    client.send("unread\n");
    server.handle_request().unwrap();
    assert_eq!(client.rest(), b"closed until Monday");
    close(server);
}

#[test]
fn a_refused_client_that_does_not_read_holds_up_nobody() {
    /// Writes more than the system's buffers take.
    struct TooMuch<S>(S);

    impl<S: BaseServer<Request = StreamRequest>> MixIn for TooMuch<S> {
        type Next = S;

        fn next(&self) -> &S {
            &self.0
        }

        fn verify_request(&self, request: &mut StreamRequest) -> bool {
            request.set_wbufsize(64 << 20).unwrap();
            request.write_all(&vec![b'.'; 64 << 20]).unwrap();
            false
        }
    }

    let layers = TcpServer::new(LOOPBACK, EchoLine::default).mix_in(TooMuch);
    let server = layers.bind().unwrap();
    let _client = StreamClient::connect(&server.server_address());
    within_limit("handle_request", move || {
        server.handle_request().unwrap();
        server.server_close()
    });
}

#[test]
fn a_refused_client_of_datagrams_receives_the_reason() {
    let layers = UdpServer::new(LOOPBACK, EchoLine::default).mix_in(WithReason);
    let server = layers.bind().unwrap();
    let client = DatagramClient::connect(&server.server_address());
    client.send(b"hello");
    server.handle_request().unwrap();
    assert_eq!(client.receive(), b"closed until Monday");
    close(server);
}
