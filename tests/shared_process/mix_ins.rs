//! Mix-ins of a user's own: called from every layer and every thread, at any place in the stack.
//!
//! The same for a forking server is in `tests/own_process/forking.rs`.

use std::collections::HashSet;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use socketserver::layer::{LayerHandle, RequestOf};
use socketserver::{
    BaseServer, HandlerFactory, HandlerResult, MixIn, ReactorMixIn, Request, Serve, Server,
    StreamRequest, TcpServer, ThreadPoolMixIn, ThreadingMixIn, UdpServer, UnixDatagramServer,
};
use support::clients::{DatagramClient, StreamClient};
use support::observer::Observer;
use support::reports::{GateKey, Reports, gate, reports};
use support::running_server::{RunningServer, close};
use support::services::{EchoLine, stream_handler};
use support::waiting::within_limit;

const LOOPBACK: &str = "127.0.0.1:0";

/// One report, such as "outer finish_request in ThreadId(3) of 4711".
struct Seen {
    hook: String,
    place: String,
}

fn seen(reports: Vec<String>) -> Vec<Seen> {
    let seen = |line: String| {
        let (hook, place) = line.split_once(" in ").unwrap();
        Seen {
            hook: hook.to_owned(),
            place: place.to_owned(),
        }
    };
    reports.into_iter().map(seen).collect()
}

/// The handler fails, so that every hook runs.
fn failing() -> TcpServer<impl HandlerFactory<StreamRequest>> {
    TcpServer::new(LOOPBACK, stream_handler(|_| Err("fails".into())))
}

/// Serves one client, and returns the reports of the loop's thread and those of the worker's.
fn serve_one<S: BaseServer>(
    server: Server<S>,
    reports: &mut Reports,
) -> (Vec<String>, Vec<String>) {
    let running = RunningServer::start(server);
    let mut client = StreamClient::connect(&running.address());
    client.finish_sending();
    client.wait_for_close();
    running.close();
    let seen = seen(reports.so_far());
    let loop_s = seen[0].place.clone();
    let places: HashSet<_> = seen.iter().map(|seen| &seen.place).collect();
    assert_eq!(
        places.len(),
        2,
        "one thread for the loop, and one for the request"
    );
    let (in_loop, in_worker): (Vec<_>, Vec<_>) =
        seen.into_iter().partition(|seen| seen.place == loop_s);
    let hooks = |seen: Vec<Seen>| seen.into_iter().map(|seen| seen.hook).collect();
    (hooks(in_loop), hooks(in_worker))
}

#[test]
fn a_mix_in_outside_of_the_threads_is_seen_from_the_worker_thread() {
    let expected_in_worker = [
        "outer finish_request",
        "outer handle_error (error: fails)",
        "outer shutdown_request",
        "outer close_request",
    ];
    let (reporter, mut reports) = reports();
    let layers = failing().mix_in(ThreadingMixIn::new);
    let server = layers.mix_in(|next| Observer::new(next, "outer", reporter.clone()));
    let (in_loop, in_worker) = serve_one(server.bind().unwrap(), &mut reports);
    assert_eq!(in_loop, ["outer verify_request", "outer process_request"]);
    assert_eq!(in_worker, expected_in_worker);

    let layers = failing().mix_in(ThreadPoolMixIn::new);
    let server = layers.mix_in(|next| Observer::new(next, "outer", reporter.clone()));
    let (in_loop, in_worker) = serve_one(server.bind().unwrap(), &mut reports);
    assert_eq!(in_loop, ["outer verify_request", "outer process_request"]);
    assert_eq!(in_worker, expected_in_worker);

    let layers = failing().mix_in(ReactorMixIn::new);
    let server = layers.mix_in(|next| Observer::new(next, "outer", reporter));
    let (in_loop, in_worker) = serve_one(server.bind().unwrap(), &mut reports);
    assert_eq!(in_loop, ["outer verify_request", "outer process_request"]);
    assert_eq!(in_worker, expected_in_worker);
}

#[test]
fn a_mix_in_inside_of_the_threads_is_seen_from_the_worker_thread() {
    let expected_in_worker = [
        "inner finish_request",
        "inner handle_error (error: fails)",
        "inner shutdown_request",
        "inner close_request",
    ];
    let (reporter, mut reports) = reports();
    let inside = || Observer::new(failing(), "inner", reporter.clone());
    let server = inside().mix_in(ThreadingMixIn::new).bind().unwrap();
    let (in_loop, in_worker) = serve_one(server, &mut reports);
    // The process_request of ThreadingMixIn runs first, and does not call the inner layer's.
    assert_eq!(in_loop, ["inner verify_request"]);
    assert_eq!(in_worker, expected_in_worker);

    let server = inside().mix_in(ThreadPoolMixIn::new).bind().unwrap();
    let (in_loop, in_worker) = serve_one(server, &mut reports);
    assert_eq!(in_loop, ["inner verify_request"]);
    assert_eq!(in_worker, expected_in_worker);

    let server = inside().mix_in(ReactorMixIn::new).bind().unwrap();
    let (in_loop, in_worker) = serve_one(server, &mut reports);
    assert_eq!(in_loop, ["inner verify_request"]);
    assert_eq!(in_worker, expected_in_worker);
}

#[test]
fn the_outer_of_two_mix_ins_comes_first() {
    let (reporter, mut reports) = reports();
    let layers = Observer::new(
        TcpServer::new(LOOPBACK, EchoLine::default),
        "inner",
        reporter.clone(),
    )
    .mix_in(ThreadingMixIn::new)
    .mix_in(|next| Observer::new(next, "outer", reporter));
    let server = layers.bind().unwrap();
    let (in_loop, in_worker) = serve_one(server, &mut reports);
    assert_eq!(
        in_loop,
        [
            "outer verify_request",
            "inner verify_request",
            "outer process_request"
        ]
    );
    assert_eq!(
        in_worker,
        [
            "outer finish_request",
            "inner finish_request",
            "outer shutdown_request",
            "inner shutdown_request",
            "outer close_request",
            "inner close_request"
        ]
    );
}

/// Serves the clients of one address only.
struct OnlyFrom<S> {
    next: S,
    ip: IpAddr,
}

impl<S: BaseServer> MixIn for OnlyFrom<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.next
    }

    fn verify_request(&self, request: &mut RequestOf<Self>) -> bool {
        request.client_address().ip() == Some(self.ip) && self.next.verify_request(request)
    }
}

#[test]
fn an_allow_list_works_over_streams_and_datagrams_inside_and_outside() {
    fn is_served<S: BaseServer>(server: Server<S>) -> bool {
        let running = RunningServer::start(server);
        let mut client = StreamClient::connect(&running.address());
        // Refused, the write may fail already.
        let _ = (&mut client.socket()).write_all(b"hello\n");
        let served = client.try_rest().is_ok_and(|bytes| bytes == b"hello\n");
        running.close();
        served
    }
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let elsewhere: IpAddr = "192.0.2.1".parse().unwrap();
    for (ip, expected) in [(here, true), (elsewhere, false)] {
        let bottom = || TcpServer::new(LOOPBACK, EchoLine::default);
        let outside = bottom()
            .mix_in(ThreadingMixIn::new)
            .mix_in(|next| OnlyFrom { next, ip });
        assert_eq!(is_served(outside.bind().unwrap()), expected);
        let inside = bottom()
            .mix_in(|next| OnlyFrom { next, ip })
            .mix_in(ThreadPoolMixIn::new);
        assert_eq!(is_served(inside.bind().unwrap()), expected);
        let reactor = bottom()
            .mix_in(ReactorMixIn::new)
            .mix_in(|next| OnlyFrom { next, ip });
        assert_eq!(is_served(reactor.bind().unwrap()), expected);
    }
    let layers =
        UdpServer::new(LOOPBACK, EchoLine::default).mix_in(|next| OnlyFrom { next, ip: here });
    let running = RunningServer::start(layers.bind().unwrap());
    let client = DatagramClient::connect(&running.address());
    client.send(b"hello");
    assert_eq!(client.receive(), b"hello");
    running.close();
}

/// Counts requests, and answers for what is in the middle of a stack.
struct Counter<S> {
    next: S,
    begun: AtomicUsize,
    closed: AtomicUsize,
}

impl<S: BaseServer> Counter<S> {
    fn new(next: S) -> Self {
        Self {
            next,
            begun: AtomicUsize::new(0),
            closed: AtomicUsize::new(0),
        }
    }
}

impl<S: BaseServer> MixIn for Counter<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.next
    }

    fn finish_request(&self, request: &mut RequestOf<Self>) -> HandlerResult {
        self.begun.fetch_add(1, SeqCst);
        self.next.finish_request(request)
    }

    fn close_request<T>(&self, top: &Arc<T>, request: RequestOf<Self>)
    where
        T: BaseServer<Request = RequestOf<Self>>,
    {
        self.next.close_request(top, request);
        self.closed.fetch_add(1, SeqCst);
    }
}

#[test]
fn the_outermost_layer_can_be_asked_while_the_server_runs() {
    let layers = TcpServer::new(LOOPBACK, EchoLine::default)
        .mix_in(ThreadingMixIn::new)
        .mix_in(Counter::new);
    let running = RunningServer::start(layers.bind().unwrap());
    for _ in 0..10 {
        let mut client = StreamClient::connect(&running.address());
        client.send("hello\n");
        assert_eq!(client.rest(), b"hello\n");
    }
    let stack = running.server().stack();
    assert_eq!(stack.begun.load(SeqCst), 10);
    let running = running.stop();
    // A client sees the end of its connection a moment before the request is closed.
    while running.stack().closed.load(SeqCst) < 10 {
        std::thread::yield_now();
    }
    close(running);
}

/// A mix-in that serves each request in a scoped thread of its own making.
struct OwnThreads<S>(S);

impl<S: BaseServer> MixIn for OwnThreads<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.0
    }

    fn process_request<T>(&self, top: &Arc<T>, request: RequestOf<Self>)
    where
        T: BaseServer<Request = RequestOf<Self>>,
    {
        let top = top.clone();
        std::thread::spawn(move || top.process_request_thread(request));
    }

    fn server_close(&self) {
        self.0.server_close();
        self.layer_handle().wait_for_requests();
    }
}

#[test]
fn a_user_can_write_a_mix_in_that_serves_requests_elsewhere() {
    let (reporter, mut reports) = reports();
    let layers = failing()
        .mix_in(OwnThreads)
        .mix_in(|next| Observer::new(next, "own", reporter));
    let (in_loop, in_worker) = serve_one(layers.bind().unwrap(), &mut reports);
    assert_eq!(in_loop, ["own verify_request", "own process_request"]);
    assert_eq!(
        in_worker,
        [
            "own finish_request",
            "own handle_error (error: fails)",
            "own shutdown_request",
            "own close_request"
        ]
    );
}

/// Says good evening before every handler, through `finish_request`.
struct Greeting<S>(S);

impl<S: BaseServer<Request = StreamRequest>> MixIn for Greeting<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.0
    }

    fn finish_request(&self, request: &mut StreamRequest) -> HandlerResult {
        request.write_all(b"good evening\n")?;
        self.0.finish_request(request)
    }
}

#[test]
fn a_mix_in_can_speak_before_the_handler() {
    let layers = TcpServer::new(LOOPBACK, EchoLine::default)
        .mix_in(Greeting)
        .mix_in(ThreadingMixIn::new);
    let running = RunningServer::start(layers.bind().unwrap());
    let mut client = StreamClient::connect(&running.address());
    assert_eq!(client.line(), "good evening");
    client.send("hello\n");
    assert_eq!(client.rest(), b"hello\n");
    running.close();
}

#[test]
fn a_mix_in_works_around_a_bottom_that_is_itself_a_mix_in() {
    let directory = support::short_paths::directory();
    let path = directory.path().join("socket");
    let layers = UnixDatagramServer::new(&path, EchoLine::default).mix_in(Counter::new);
    let running = RunningServer::start(layers.bind().unwrap());
    let client = DatagramClient::connect(&running.address());
    client.send(b"hello");
    assert_eq!(client.receive(), b"hello");
    let server = running.stop();
    assert_eq!(server.stack().begun.load(SeqCst), 1);
    close(server);
    // The bottom's own server_close has run.
    assert!(!path.exists());
}

fn running_requests_are_waited_for<S: BaseServer>(
    server: Server<S>,
    mut held: Reports,
    key: GateKey,
) {
    let running = RunningServer::start(server);
    let wait = |handle: LayerHandle| move || handle.wait_for_requests();
    // There is none.
    assert!(within_limit(
        "waiting",
        wait(running.server().stack().layer_handle().clone())
    ));
    // Several times, since the end of the request meets the one who waits at a different point.
    for _ in 0..20 {
        let mut client = StreamClient::connect(&running.address());
        assert_eq!(held.next_report(), "held");
        let (reporter, mut begun) = reports();
        let wait = wait(running.server().stack().layer_handle().clone());
        let waiting = std::thread::spawn(move || {
            reporter.say("waiting");
            wait()
        });
        assert_eq!(begun.next_report(), "waiting");
        assert!(!waiting.is_finished());
        key.let_pass(1);
        assert!(within_limit("waiting", move || waiting.join().unwrap()));
        assert_eq!(running.handle().active_request_count(), 0);
        client.wait_for_close();
    }
    assert!(!running.handle().is_draining());
    assert!(within_limit(
        "waiting",
        wait(running.server().stack().layer_handle().clone())
    ));
    running.close();
}

/// Handlers that report that they run, and end when they are let go.
fn held() -> (
    TcpServer<impl HandlerFactory<StreamRequest>>,
    Reports,
    GateKey,
) {
    let (reporter, reports) = reports();
    let (gate, key) = gate();
    let factory = stream_handler(move |_| {
        reporter.say("held");
        gate.pass();
        Ok(())
    });
    (TcpServer::new(LOOPBACK, factory), reports, key)
}

#[test]
fn the_running_requests_of_a_server_that_goes_on_can_be_waited_for() {
    let (layer, held_now, key) = held();
    running_requests_are_waited_for(layer.bind().unwrap(), held_now, key);
    let (layer, held_now, key) = held();
    let server = layer.mix_in(ThreadingMixIn::new).bind().unwrap();
    running_requests_are_waited_for(server, held_now, key);
    let (layer, held_now, key) = held();
    let server = layer.mix_in(OwnThreads).bind().unwrap();
    running_requests_are_waited_for(server, held_now, key);
}

/// Handlers that answer with the name of their thread, as Rust and as the system have it.
fn names_of_its_thread() -> impl HandlerFactory<StreamRequest> {
    stream_handler(|request| {
        let thread = std::thread::current();
        let of_system = std::fs::read_to_string("/proc/thread-self/comm")?;
        let of_rust = thread.name().unwrap_or_default();
        Ok(write!(request, "{of_rust}, {}", of_system.trim_end())?)
    })
}

fn thread_is_named<S: BaseServer>(layers: S, role: &str) {
    let running = RunningServer::start(layers.bind().unwrap());
    let port = running.address().port().unwrap();
    let names = StreamClient::connect(&running.address()).rest();
    let name = format!("tcp:{port} {role}");
    assert_eq!(String::from_utf8(names).unwrap(), format!("{name}, {name}"));
    running.close();
}

#[test]
#[cfg(target_os = "linux")]
fn threads_are_named_for_their_server_and_their_role() {
    let bottom = || TcpServer::new(LOOPBACK, names_of_its_thread());
    thread_is_named(bottom().mix_in(ThreadingMixIn::new), "serve");
    thread_is_named(bottom().mix_in(ThreadPoolMixIn::new), "pool");
    thread_is_named(bottom().mix_in(ReactorMixIn::new), "react");
}
