//! The calls of the hooks are shown, each with its layer, its arguments and its result.

use std::io::Write;
use std::sync::{Arc, Mutex};

use socketserver::layer::RequestOf;
use socketserver::{
    BaseServer, ExchangeHandler, HandlerResult, MixIn, ReactorMixIn, RequestHandler, Serve,
    StreamRequest, TcpServer, ThreadingMixIn, TraceHandler, TraceMixIn, Tracer, UdpServer,
};
use support::clients::{DatagramClient, StreamClient};
use support::running_server::RunningServer;
use support::services::silent_panic;

const LOOPBACK: &str = "127.0.0.1:0";

/// The lines of a trace: the thread of each, and the line without its thread, with "client" for the
/// client's address.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<(String, String)>>>);

impl Lines {
    fn tracer(&self) -> Tracer {
        let lines = self.0.clone();
        Tracer::new(move |line| {
            let text = line.to_string();
            let text = text.strip_prefix(&format!("{:15}  ", line.thread)).unwrap();
            lines
                .lock()
                .unwrap()
                .push((line.thread.clone(), text.to_owned()));
        })
    }

    /// The lines, without the threads and without the passes of the loop that find no client.
    fn all(&self) -> Vec<String> {
        let lines = self.0.lock().unwrap();
        let lines = lines.iter().map(|(_, line)| without_address(line));
        let is_idle = |line: &String| {
            [
                "is_ready",
                "get_request()",
                "service_actions",
                "get_request -> no request",
            ]
            .iter()
            .any(|hook| line.contains(hook))
                && !line.contains("client")
        };
        lines.filter(|line| !is_idle(line)).collect()
    }

    /// The lines of the threads whose name is, or is not, that of a worker.
    fn of_worker(&self, is_worker: bool) -> Vec<String> {
        let lines = Self::default();
        let of = |(thread, _): &&(String, String)| thread.ends_with(" serve") == is_worker;
        let kept = self.0.lock().unwrap().iter().filter(of).cloned().collect();
        *lines.0.lock().unwrap() = kept;
        lines.all()
    }
}

/// An address of the loopback is the client's.
fn without_address(line: &str) -> String {
    match line.split_once("127.0.0.1:") {
        None => line.to_owned(),
        Some((before, after)) => {
            let rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
            format!("{before}client{rest}")
        }
    }
}

/// Answers with the line in upper case.
struct Upper;

impl RequestHandler for Upper {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        while let Some(line) = request.next_line(100)? {
            writeln!(request, "{}", line.to_ascii_uppercase())?;
        }
        Ok(())
    }
}

#[test]
fn every_layer_shows_its_calls_from_the_bind_to_the_close() {
    let lines = Lines::default();
    let (tracer, of_handler) = (lines.tracer(), lines.tracer());
    let traced = move || TraceHandler::new(Upper).tracer(&of_handler);
    let server = TcpServer::new(LOOPBACK, traced)
        .mix_in(|next| TraceMixIn::optional(next, Some(&tracer)))
        .mix_in(ThreadingMixIn::new)
        .mix_in(|next| TraceMixIn::optional(next, Some(&tracer)))
        .bind()
        .unwrap();
    let running = RunningServer::start(server);
    let mut client = StreamClient::connect(&running.address());
    client.send("hi\n");
    client.finish_sending();
    assert_eq!(client.rest(), b"HI\n");
    running.close();
    assert_eq!(
        lines.of_worker(true),
        [
            "ThreadingMixIn.observe(client, Started)",
            "  TcpServer.observe(client, Started)",
            "ThreadingMixIn.prepare_request(client)",
            "  TcpServer.prepare_request(client) -> Ready",
            "ThreadingMixIn.finish_request(client)",
            "  TcpServer.finish_request(client)",
            "    Upper.setup(client)",
            "    Upper.handle(client)",
            "    Upper.finish(client)",
            "ThreadingMixIn.shutdown_request(client)",
            "  TcpServer.shutdown_request(client)",
            "    ThreadingMixIn.close_request(client)",
            "      TcpServer.close_request(client)",
            "        ThreadingMixIn.observe(client, Ended: Finished)",
            "          TcpServer.observe(client, Ended: Finished)",
        ]
    );
    assert_eq!(
        lines.of_worker(false),
        [
            "ThreadingMixIn.server_bind()",
            "  TcpServer.server_bind()",
            "ThreadingMixIn.server_activate()",
            "  TcpServer.server_activate()",
            "  TcpServer.get_request() -> client",
            "ThreadingMixIn.observe(client, Accepted)",
            "  TcpServer.observe(client, Accepted)",
            "ThreadingMixIn.verify_request(client)",
            "  TcpServer.verify_request(client) -> true",
            "ThreadingMixIn.process_request(client)",
            "ThreadingMixIn.server_close()",
            "  TcpServer.server_close()",
        ]
    );
}

#[test]
fn datagrams_are_shown_as_connections_are() {
    let lines = Lines::default();
    let tracer = lines.tracer();
    let answer = socketserver::datagram_handler_fn(|request| Ok(request.write_all(b"answer")?));
    let server = UdpServer::new(LOOPBACK, answer)
        .mix_in(|next| TraceMixIn::optional(next, Some(&tracer)))
        .bind()
        .unwrap();
    let running = RunningServer::start(server);
    let client = DatagramClient::connect(&running.address());
    client.send(b"hi");
    assert_eq!(client.receive(), b"answer");
    running.close();
    assert_eq!(
        lines.all(),
        [
            "UdpServer.server_bind()",
            "UdpServer.server_activate()",
            "UdpServer.get_request() -> client",
            "UdpServer.observe(client, Accepted)",
            "UdpServer.verify_request(client) -> true",
            "UdpServer.process_request(client)",
            "  UdpServer.observe(client, Started)",
            "  UdpServer.prepare_request(client) -> Ready",
            "  UdpServer.finish_request(client)",
            "  UdpServer.shutdown_request(client)",
            "    UdpServer.close_request(client)",
            "      UdpServer.observe(client, Ended: Finished)",
            "UdpServer.server_close()",
        ]
    );
}

/// A layer whose `verify_request` panics.
struct Panics<S>(S);

impl<S: BaseServer> MixIn for Panics<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.0
    }

    fn verify_request(&self, _: &mut RequestOf<Self>) -> bool {
        silent_panic("a layer panics")
    }
}

#[test]
fn a_panic_is_shown_and_the_next_call_has_its_own_depth() {
    let lines = Lines::default();
    let tracer = lines.tracer();
    let server = TcpServer::new(LOOPBACK, || Upper)
        .mix_in(Panics)
        .mix_in(|next| TraceMixIn::optional(next, Some(&tracer)))
        .bind()
        .unwrap();
    let running = RunningServer::start(server);
    StreamClient::connect(&running.address()).wait_for_close();
    running.close();
    let shown = lines.all();
    assert_eq!(
        shown[3..],
        [
            "Panics.observe(client, Accepted)",
            "Panics.verify_request(client) -> panics",
            "Panics.handle_error(client, panicked: a layer panics)",
            "Panics.shutdown_request(client)",
            "  Panics.close_request(client)",
            "    Panics.observe(client, Ended: Panicked)",
            "Panics.server_close()",
        ]
    );
}

/// Counts its exchanges.
struct Exchanges;

impl ExchangeHandler for Exchanges {
    fn is_complete(&self, unread: &[u8]) -> bool {
        unread.contains(&b'\n')
    }

    fn exchange(&mut self, request: &mut StreamRequest) -> HandlerResult {
        if let Some(line) = request.next_line(100)? {
            writeln!(request, "{line}")?;
        }
        Ok(())
    }
}

#[test]
fn a_reactor_still_parks_a_traced_handler_and_each_exchange_is_shown() {
    let lines = Lines::default();
    let (tracer, of_handler) = (lines.tracer(), lines.tracer());
    let traced = move || {
        TraceHandler::new(Exchanges)
            .tracer(&of_handler)
            .name("Echo")
    };
    let server = TcpServer::new(LOOPBACK, traced)
        .mix_in(ReactorMixIn::new)
        .mix_in(|next| TraceMixIn::optional(next, Some(&tracer)))
        .bind()
        .unwrap();
    let running = RunningServer::start(server);
    let mut client = StreamClient::connect(&running.address());
    for _ in 0..2 {
        client.send("one\n");
        assert_eq!(client.line(), "one");
    }
    client.finish_sending();
    client.wait_for_close();
    running.close();
    let shown = lines.all();
    let steps = shown
        .iter()
        .filter_map(|line| line.trim_start().strip_prefix("Echo."));
    let steps = Vec::from_iter(steps.filter(|step| !step.starts_with("is_complete")));
    let expected = [
        "setup(client)",
        "exchange(client)",
        "exchange(client)",
        "finish(client)",
    ];
    assert_eq!(steps, expected, "{shown:#?}");
    assert!(
        shown
            .iter()
            .any(|line| line.contains("is_complete(4 bytes) -> true")),
        "{shown:#?}"
    );
}

#[test]
fn an_error_is_the_result_of_its_call() {
    let taken = std::net::TcpListener::bind(LOOPBACK).unwrap();
    let lines = Lines::default();
    let tracer = lines.tracer();
    let server = TcpServer::new(taken.local_addr().unwrap(), || Upper)
        .mix_in(|next| TraceMixIn::optional(next, Some(&tracer)))
        .bind();
    server.unwrap_err();
    let shown = lines.all();
    let begin = "TcpServer.server_bind() -> error: address client is in use";
    assert!(shown[0].starts_with(begin), "{shown:?}");
    assert_eq!(shown[1..], ["TcpServer.server_close()"]);
}

#[test]
fn control_characters_in_an_error_cannot_write_to_the_terminal() {
    let lines = Lines::default();
    let tracer = lines.tracer();
    let fails = socketserver::handler_fn(|_| Err("a\nb\u{1b}[31m é".into()));
    let server = TcpServer::new(LOOPBACK, fails)
        .mix_in(|next| TraceMixIn::optional(next, Some(&tracer)))
        .bind()
        .unwrap();
    let running = RunningServer::start(server);
    StreamClient::connect(&running.address()).wait_for_close();
    running.close();
    let shown = lines.all();
    let line = r"  TcpServer.handle_error(client, a\nb\u{1b}[31m é)";
    assert!(shown.iter().any(|it| it == line), "{shown:#?}");
}

#[test]
fn without_a_tracer_the_layer_shows_nothing_and_serves() {
    let server = TcpServer::new(LOOPBACK, || Upper)
        .mix_in(|next| TraceMixIn::optional(next, None))
        .bind()
        .unwrap();
    let running = RunningServer::start(server);
    let mut client = StreamClient::connect(&running.address());
    client.send("hi\n");
    client.finish_sending();
    assert_eq!(client.rest(), b"HI\n");
    running.close();
}
