//! What fails in a handler or a hook reaches `handle_error`, and nothing else happens.
//!
//! The same for a forking server is in `tests/own_process/forking.rs`.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use nix::errno::Errno;
use socketserver::layer::{GetRequestError, RequestOf};
use socketserver::{
    BaseServer, Error, HandlerError, HandlerFactory, HandlerResult, MixIn, ReactorMixIn,
    RequestHandler, Serve, Server, StreamRequest, TcpServer, ThreadPoolMixIn, ThreadingMixIn,
    UdpServer,
};
use support::clients::{DatagramClient, StreamClient};
use support::observer::Observer;
use support::reports::{Reporter, reports};
use support::running_server::RunningServer;
use support::services::{EchoLine, datagram_handler, read_line, silent_panic, stream_handler};

const LOOPBACK: &str = "127.0.0.1:0";

/// Fails or panics if the first line asks for that, else sends the line back.
fn as_ordered(request: &mut StreamRequest) -> HandlerResult {
    match &*read_line(request)? {
        "fail" => Err("told to fail".into()),
        "panic" => silent_panic("told to panic"),
        line => Ok(io::Write::write_all(request, line.as_bytes())?),
    }
}

fn failing_handlers() -> TcpServer<impl HandlerFactory<StreamRequest>> {
    TcpServer::new(LOOPBACK, stream_handler(as_ordered))
}

/// The hooks without the place where they ran.
fn hooks(reports: Vec<String>) -> Vec<String> {
    let hook = |line: String| {
        line.split_once(" in ")
            .map_or(line.clone(), |it| it.0.to_owned())
    };
    reports.into_iter().map(hook).collect()
}

fn handled_errors(reports: Vec<String>) -> Vec<String> {
    let mut hooks = hooks(reports);
    hooks.retain(|hook| hook.contains("handle_error"));
    hooks
}

fn errors_and_panics_are_handled<S: BaseServer>(layers: S) {
    let (reporter, mut reports) = reports();
    let server = Observer::new(layers, "own", reporter).bind().unwrap();
    let running = RunningServer::start(server);
    for (line, said) in [
        ("fail\n", "error: told to fail"),
        ("panic\n", "panic: panicked: told to panic"),
    ] {
        let mut client = StreamClient::connect(&running.address());
        client.send(line);
        client.wait_for_close();
        assert_eq!(
            hooks(reports.take(6)),
            [
                "own verify_request",
                "own process_request",
                "own finish_request",
                &format!("own handle_error ({said})"),
                "own shutdown_request",
                "own close_request"
            ]
        );
    }
    let mut client = StreamClient::connect(&running.address());
    client.send("unharmed\n");
    assert_eq!(client.rest(), b"unharmed");
    running.close();
    assert_eq!(handled_errors(reports.so_far()), [""; 0]);
}

#[test]
fn a_handler_s_error_or_panic_reaches_handle_error_without_a_mix_in() {
    errors_and_panics_are_handled(failing_handlers());
}

#[test]
fn a_handler_s_error_or_panic_reaches_handle_error_in_a_thread() {
    errors_and_panics_are_handled(failing_handlers().mix_in(ThreadingMixIn::new));
}

#[test]
fn a_handler_s_error_or_panic_reaches_handle_error_in_a_pool() {
    errors_and_panics_are_handled(failing_handlers().mix_in(ThreadPoolMixIn::new));
}

#[test]
fn a_handler_s_error_or_panic_reaches_handle_error_in_a_reactor() {
    errors_and_panics_are_handled(failing_handlers().mix_in(ReactorMixIn::new));
}

#[test]
fn a_datagram_handler_s_error_or_panic_reaches_handle_error_and_no_reply_is_sent() {
    let (reporter, mut reports) = reports();
    let as_ordered = datagram_handler(|request| {
        io::Write::write_all(request, b"the beginning of a reply")?;
        match request.packet() {
            b"fail" => Err("told to fail".into()),
            b"panic" => silent_panic("told to panic"),
            _ => Ok(()),
        }
    });
    let layers = Observer::new(UdpServer::new(LOOPBACK, as_ordered), "own", reporter);
    let running = RunningServer::start(layers.bind().unwrap());
    let client = DatagramClient::connect(&running.address());
    for packet in ["fail", "panic", "well"] {
        client.send(packet.as_bytes());
    }
    assert_eq!(client.receive(), b"the beginning of a reply");
    running.close();
    assert_eq!(
        handled_errors(reports.so_far()),
        [
            "own handle_error (error: told to fail)",
            "own handle_error (panic: panicked: told to panic)"
        ]
    );
}

/// Runs `finish` and fails in the step that the first line names.
#[derive(Clone)]
struct Steps(Reporter);

impl RequestHandler for Steps {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        self.0.say("handle");
        as_ordered(request)
    }

    fn finish(&mut self, _request: &mut StreamRequest) -> HandlerResult {
        self.0.say("finish");
        Ok(())
    }
}

#[test]
fn finish_has_run_before_handle_error() {
    let (reporter, mut reports) = reports();
    let steps = Steps(reporter.clone());
    let layers = Observer::new(
        TcpServer::new(LOOPBACK, move || steps.clone()),
        "own",
        reporter,
    );
    let running = RunningServer::start(layers.bind().unwrap());
    for line in ["fail\n", "panic\n"] {
        let mut client = StreamClient::connect(&running.address());
        client.send(line);
        client.wait_for_close();
        let mut order = hooks(reports.until_starts_with("own close_request"));
        order.retain(|said| ["handle", "finish"].contains(&&**said) || said.contains("error"));
        let said = line.trim_end();
        assert_eq!(order.len(), 3, "{order:?}");
        assert_eq!(order[..2], ["handle", "finish"]);
        assert!(order[2].contains(&format!("told to {said}")), "{order:?}");
    }
    running.close();
}

/// Tells the client what went wrong.
struct Apology<S>(S);

impl<S: BaseServer<Request = StreamRequest>> MixIn for Apology<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.0
    }

    fn handle_error(&self, request: &mut StreamRequest, error: &HandlerError) {
        let client = request.client_address().clone();
        io::Write::write_all(request, format!("{client}: {error}\n").as_bytes()).unwrap();
    }
}

#[test]
fn handle_error_may_write_to_the_client() {
    let layers = TcpServer::new(LOOPBACK, stream_handler(as_ordered))
        .mix_in(Apology)
        .mix_in(ThreadingMixIn::new);
    let running = RunningServer::start(layers.bind().unwrap());
    let mut client = StreamClient::connect(&running.address());
    let name = client.socket().local_addr().unwrap().as_socket().unwrap();
    client.send("fail\n");
    assert_eq!(client.rest(), format!("{name}: told to fail\n").as_bytes());
    running.close();
}

/// Panics in every hook in which a layer of the user's own could, one after the other.
struct Clumsy<S> {
    next: S,
    requests: AtomicUsize,
}

impl<S: BaseServer<Request = StreamRequest>> Clumsy<S> {
    fn stumble(&self, at: usize) {
        if self.requests.load(SeqCst) == at {
            silent_panic("stumbled");
        }
    }
}

const STUMBLES: usize = 5;

impl<S: BaseServer<Request = StreamRequest>> MixIn for Clumsy<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.next
    }

    fn verify_request(&self, _request: &mut RequestOf<Self>) -> bool {
        self.requests.fetch_add(1, SeqCst);
        self.stumble(1);
        true
    }

    fn process_request<T>(&self, top: &std::sync::Arc<T>, request: RequestOf<Self>)
    where
        T: BaseServer<Request = RequestOf<Self>>,
    {
        self.stumble(2);
        self.next.process_request(top, request);
    }

    fn finish_request(&self, request: &mut RequestOf<Self>) -> HandlerResult {
        self.stumble(3);
        if self.requests.load(SeqCst) == 4 {
            return Err("so that handle_error is called".into());
        }
        self.next.finish_request(request)
    }

    fn handle_error(&self, _request: &mut RequestOf<Self>, _error: &HandlerError) {
        self.stumble(4);
    }

    fn shutdown_request<T>(&self, top: &std::sync::Arc<T>, request: RequestOf<Self>)
    where
        T: BaseServer<Request = RequestOf<Self>>,
    {
        self.stumble(5);
        self.next.shutdown_request(top, request);
    }
}

#[test]
fn a_panic_in_a_hook_costs_one_connection_and_not_the_loop() {
    let layers = TcpServer::new(LOOPBACK, EchoLine::default).mix_in(|next| Clumsy {
        next,
        requests: AtomicUsize::new(0),
    });
    let running = RunningServer::start(layers.bind().unwrap());
    for stumble in 1..=STUMBLES {
        let mut client = StreamClient::connect(&running.address());
        client.finish_sending();
        assert_eq!(client.rest(), b"", "{stumble}");
    }
    let mut client = StreamClient::connect(&running.address());
    client.send("unharmed\n");
    assert_eq!(client.rest(), b"unharmed\n");
    assert_eq!(running.close().running, 0);
}

/// Gives each of these errors once before the first request.
struct Failing<S> {
    next: S,
    errors: std::sync::Mutex<Vec<Errno>>,
}

impl<S: BaseServer> MixIn for Failing<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.next
    }

    fn get_request(&self) -> Result<RequestOf<Self>, GetRequestError> {
        match self.errors.lock().unwrap().pop() {
            Some(error) => Err(io::Error::from(error).into()),
            None => self.next.get_request(),
        }
    }
}

fn failing(errors: &[Errno]) -> Server<impl BaseServer> {
    let errors = std::sync::Mutex::new(errors.to_vec());
    TcpServer::new(LOOPBACK, EchoLine::default)
        .mix_in(|next| Failing { next, errors })
        .bind()
        .unwrap()
}

#[test]
fn a_request_whose_get_request_fails_is_passed_over() {
    let running = RunningServer::start(failing(&[
        Errno::ECONNABORTED,
        Errno::EINTR,
        Errno::EPROTO,
        Errno::ECONNRESET,
        Errno::EPERM,
        Errno::ENETUNREACH,
        // A Unix datagram client, or an ICMP message, can have an error waiting on the socket.
        Errno::ECONNREFUSED,
    ]));
    let mut client = StreamClient::connect(&running.address());
    client.send("hello\n");
    assert_eq!(client.rest(), b"hello\n");
    running.close();
}

#[test]
fn the_loop_survives_a_lack_of_descriptors_or_memory() {
    let running = RunningServer::start(failing(&[
        Errno::EMFILE,
        Errno::ENFILE,
        Errno::ENOBUFS,
        Errno::ENOMEM,
    ]));
    let mut client = StreamClient::connect(&running.address());
    client.send("hello\n");
    assert_eq!(client.rest(), b"hello\n");
    running.close();
}

#[test]
fn a_socket_that_gives_no_requests_any_more_ends_the_loop_with_an_error() {
    for errno in [Errno::EBADF, Errno::EINVAL, Errno::ENOTSOCK] {
        let running = RunningServer::start(failing(&[errno]));
        let address = running.address();
        match running.wait_for_failure() {
            Error::GetRequest {
                address: named,
                source,
                ..
            } => {
                assert_eq!(named, address);
                assert_eq!(source.raw_os_error(), Some(errno as i32));
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Panics the first time that it is asked for a request, in the one hook or the other.
struct ClumsyOnce<S> {
    next: S,
    accepting: AtomicBool,
    get_request: AtomicBool,
}

impl<S: BaseServer> MixIn for ClumsyOnce<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.next
    }

    fn is_ready(&self) -> bool {
        if self.accepting.swap(false, SeqCst) {
            silent_panic("stumbled over accepting");
        }
        self.next.is_ready()
    }

    fn get_request(&self) -> Result<RequestOf<Self>, GetRequestError> {
        if self.get_request.swap(false, SeqCst) {
            silent_panic("stumbled over get_request");
        }
        self.next.get_request()
    }
}

#[test]
fn a_panic_before_there_is_a_request_does_not_cost_the_loop() {
    for (accepting, get_request) in [(true, false), (false, true), (true, true)] {
        let layers = TcpServer::new(LOOPBACK, EchoLine::default).mix_in(|next| ClumsyOnce {
            next,
            accepting: AtomicBool::new(accepting),
            get_request: AtomicBool::new(get_request),
        });
        let running = RunningServer::start(layers.bind().unwrap());
        let mut client = StreamClient::connect(&running.address());
        client.send("unharmed\n");
        assert_eq!(client.rest(), b"unharmed\n");
        running.close();
    }
}

/// What a handler panics with that panics itself when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            silent_panic("dropped");
        }
    }
}

/// Panics in `finish_request` with a bomb, three times.
struct BombLayer<S> {
    next: S,
    requests: AtomicUsize,
}

impl<S: BaseServer> MixIn for BombLayer<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.next
    }

    fn finish_request(&self, request: &mut RequestOf<Self>) -> HandlerResult {
        if self.requests.fetch_add(1, SeqCst) < 3 {
            std::panic::resume_unwind(Box::new(Bomb));
        }
        self.next.finish_request(request)
    }
}

fn bombs_in_a_layer() -> impl BaseServer<Request = StreamRequest> {
    failing_handlers().mix_in(|next| BombLayer {
        next,
        requests: AtomicUsize::new(0),
    })
}

fn bombs_in_a_handler() -> impl BaseServer<Request = StreamRequest> {
    let factory = stream_handler(|request| match &*read_line(request)? {
        "panic" => std::panic::resume_unwind(Box::new(Bomb)),
        line => Ok(io::Write::write_all(request, line.as_bytes())?),
    });
    TcpServer::new(LOOPBACK, factory)
}

fn bombs_are_survived<S: BaseServer>(layers: S) {
    let (reporter, mut reports) = reports();
    let server = Observer::new(layers, "own", reporter).bind().unwrap();
    let running = RunningServer::start(server);
    for _ in 0..3 {
        let mut client = StreamClient::connect(&running.address());
        client.send("panic\n");
        client.wait_for_close();
        let errors = handled_errors(reports.until_starts_with("own close_request"));
        assert_eq!(errors.len(), 1, "{errors:?}");
        // Of the two panics it is the first.
        assert!(
            errors[0].starts_with("own handle_error (panic"),
            "{errors:?}"
        );
        assert!(!errors[0].contains("dropped"), "{errors:?}");
    }
    let mut client = StreamClient::connect(&running.address());
    client.send("unharmed\n");
    assert_eq!(client.rest(), b"unharmed");
    assert_eq!(running.close().running, 0);
}

fn bombs_are_survived_with_every_mix_in<S: BaseServer<Request = StreamRequest>>(bombs: fn() -> S) {
    bombs_are_survived(bombs());
    bombs_are_survived(bombs().mix_in(ThreadingMixIn::new));
    let pool = bombs().mix_in(ThreadPoolMixIn::new);
    bombs_are_survived(pool.workers(1).queue_size(0));
    bombs_are_survived(bombs().mix_in(ReactorMixIn::new));
}

#[test]
fn a_panic_with_a_value_that_cannot_be_dropped_is_handled_as_any_other() {
    bombs_are_survived_with_every_mix_in(bombs_in_a_handler);
    bombs_are_survived_with_every_mix_in(bombs_in_a_layer);
}
