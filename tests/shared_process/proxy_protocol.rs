//! The PROXY protocol: who is believed, whose address counts, and what ends a connection.

use std::io::{Read, Write};
use std::time::Duration;

use socketserver::layer::{Preparation, RequestOf, Stream};
use socketserver::mock::MockStream;
use socketserver::{
    Address, AnyMixIn, BaseServer, Deadlines, HandlerError, Limits, MixIn, ProxyProtocolMixIn,
    ReactorMixIn, Request, Serve, Statistics, StreamRequest, TcpServer, ThreadPoolMixIn,
    ThreadingMixIn, TrustedNetwork, UnixStreamServer, Untrusted,
};
use support::clients::StreamClient;
use support::impl_stream_of_inner;
use support::proxies::{BLOCK, LINE, LOCAL, address_echo, line_for};
use support::reports::reports;
use support::running_server::RunningServer;
use support::services::stream_handler;
use support::task_limit::ErrorReports;
use support::waiting::eventually;

const LOOPBACK: &str = "127.0.0.1:0";

fn here() -> TrustedNetwork {
    "127.0.0.0/8".parse().unwrap()
}

/// The mix-ins that serve in this process.
fn mix_ins<S: BaseServer>(next: impl Fn() -> S) -> Vec<AnyMixIn<S>> {
    vec![
        AnyMixIn::None(next()),
        AnyMixIn::Threading(ThreadingMixIn::new(next())),
        AnyMixIn::ThreadPool(ThreadPoolMixIn::new(next()).workers(3)),
        AnyMixIn::Reactor(ReactorMixIn::new(next())),
    ]
}

fn trusting<S: BaseServer<Request = StreamRequest>>(next: S) -> ProxyProtocolMixIn<S> {
    ProxyProtocolMixIn::new(next).trust(here())
}

fn threading() -> impl BaseServer<Request = StreamRequest> {
    TcpServer::new(LOOPBACK, address_echo()).mix_in(ThreadingMixIn::new)
}

/// What the client of a proxy reads, whose connection begins with these bytes.
fn answer<S: BaseServer<Request = StreamRequest>>(
    running: &RunningServer<S>,
    begin: &[u8],
) -> String {
    let mut client = StreamClient::connect(&running.address());
    client.socket().write_all(begin).unwrap();
    client.send("hello\n");
    client.line()
}

#[test]
fn the_handler_sees_the_real_client_and_the_proxy_with_each_mix_in_on_either_side() {
    let tcp = || TcpServer::new(LOOPBACK, address_echo());
    let expect = |running: RunningServer<_>| {
        for header in [LINE.as_bytes(), BLOCK] {
            let answer = answer(&running, header);
            assert_eq!(answer, "192.0.2.7:1000 127.0.0.1 hello");
        }
        running.close();
    };
    for layers in mix_ins(tcp) {
        expect(RunningServer::start(
            layers.mix_in(trusting).bind().unwrap(),
        ));
    }
    let expect_inside = |running: RunningServer<_>| {
        let answer = answer(&running, BLOCK);
        assert_eq!(answer, "192.0.2.7:1000 127.0.0.1 hello");
        running.close();
    };
    for layers in mix_ins(|| tcp().mix_in(trusting)) {
        expect_inside(RunningServer::start(layers.bind().unwrap()));
    }
}

#[test]
fn a_header_in_any_pieces_is_read_and_holds_up_nobody() {
    let tcp = || TcpServer::new(LOOPBACK, address_echo());
    for layers in mix_ins(tcp).into_iter().skip(1) {
        let running = RunningServer::start(layers.mix_in(trusting).bind().unwrap());
        let mut slow = StreamClient::connect(&running.address());
        let _silent = StreamClient::connect(&running.address());
        for byte in BLOCK {
            slow.socket().write_all(&[*byte]).unwrap();
            if *byte == b'.' {
                let quick = answer(&running, LINE.as_bytes());
                assert_eq!(quick, "192.0.2.7:1000 127.0.0.1 hello");
            }
        }
        slow.send("hello\n");
        assert_eq!(slow.line(), "192.0.2.7:1000 127.0.0.1 hello");
        running.close();
    }
}

#[test]
fn a_header_that_states_no_client_keeps_the_addresses_of_the_connection() {
    let running = RunningServer::start(threading().mix_in(trusting).bind().unwrap());
    let unspecified = b"\r\n\r\n\0\r\nQUIT\n\x21\0\0\0";
    for header in [&b"PROXY UNKNOWN\r\n"[..], LOCAL, unspecified] {
        let answer = answer(&running, header);
        assert!(answer.starts_with("127.0.0.1:"), "{answer}");
        assert!(answer.ends_with(" 127.0.0.1 hello"), "{answer}");
    }
    running.close();
}

#[test]
fn over_a_unix_socket_a_header_without_addresses_may_be_a_health_check() {
    let directory = support::short_paths::directory();
    let path = directory.path().join("socket");
    let factory = stream_handler(|_| Err("a handler ran".into()));
    let layers = UnixStreamServer::new(path, factory).mix_in(ThreadingMixIn::new);
    let layers = layers.mix_in(ProxyProtocolMixIn::new).trust_unix();
    let running = RunningServer::start(layers.bind().unwrap());
    let mut client = StreamClient::connect(&running.address());
    client.send("PROXY UNKNOWN\r\n");
    client.finish_sending();
    client.wait_for_close();
    let handle = running.handle();
    running.close();
    let it = handle.statistics();
    assert_eq!((it.finished, it.failed), (1, 0));
}

#[test]
fn a_handler_that_speaks_first_serves_a_client_whose_address_is_unknown_at_once() {
    let factory = stream_handler(|request| Ok(request.write_all(b"ready\n")?));
    let layers = TcpServer::new(LOOPBACK, factory).mix_in(ThreadingMixIn::new);
    let running = RunningServer::start(layers.mix_in(trusting).bind().unwrap());
    for header in [LINE, "PROXY UNKNOWN\r\n"] {
        let mut client = StreamClient::connect(&running.address());
        client.send(header);
        assert_eq!(client.line(), "ready");
    }
    running.close();
}

#[test]
fn the_values_of_the_header_are_for_the_handler() {
    let factory = stream_handler(|request| {
        let header = request.proxy_header().ok_or("no header")?;
        let authority = header.authority().unwrap_or_default().to_owned();
        Ok(request.write_all(authority.as_bytes())?)
    });
    let layers = TcpServer::new(LOOPBACK, factory).mix_in(trusting);
    let recording = MockStream::new().chunk(BLOCK).run_layers(layers);
    assert_eq!(recording.written(), b"example.com");
}

#[test]
fn who_is_not_trusted_is_refused_or_passed_by_choice() {
    let elsewhere: TrustedNetwork = "192.0.2.0/24".parse().unwrap();
    let refusing = threading().mix_in(ProxyProtocolMixIn::new).trust(elsewhere);
    let running = RunningServer::start(refusing.bind().unwrap());
    let mut client = StreamClient::connect(&running.address());
    client.send(LINE);
    client.wait_for_close();
    let handle = running.handle();
    running.close();
    let it = handle.statistics();
    assert_eq!((it.accepted, it.refused, it.failed), (1, 1, 0));

    let passing = threading()
        .mix_in(ProxyProtocolMixIn::new)
        .trust(elsewhere)
        .untrusted(Untrusted::Pass);
    let running = RunningServer::start(passing.bind().unwrap());
    // The header is a line for the handler, which sees no proxy.
    let answer = answer(&running, LINE.as_bytes());
    assert!(answer.starts_with("127.0.0.1:"), "{answer}");
    assert!(answer.contains(" - PROXY TCP4"), "{answer}");
    running.close();
}

#[test]
fn a_new_layer_trusts_nobody() {
    let layers = TcpServer::new(LOOPBACK, address_echo()).mix_in(ProxyProtocolMixIn::new);
    let recording = MockStream::new().chunk(LINE).run_layers(layers);
    assert_eq!(recording.server().statistics().refused, 1);
}

#[test]
fn over_a_unix_socket_the_proxy_is_trusted_only_if_that_is_set() {
    let directory = support::short_paths::directory();
    let server = |name: &str| {
        let path = directory.path().join(name);
        UnixStreamServer::new(path, address_echo()).mix_in(ThreadingMixIn::new)
    };
    let trusting = server("one").mix_in(ProxyProtocolMixIn::new).trust_unix();
    let running = RunningServer::start(trusting.bind().unwrap());
    let line = answer(&running, BLOCK);
    assert_eq!(line, "192.0.2.7:1000 unix:unnamed hello");
    running.close();

    let anywhere = "0.0.0.0/0".parse().unwrap();
    let refusing = server("two")
        .mix_in(ProxyProtocolMixIn::new)
        .trust(anywhere);
    let running = RunningServer::start(refusing.bind().unwrap());
    StreamClient::connect(&running.address()).wait_for_close();
    running.close();
}

/// What `handle_error` receives, and what the server counts, of a connection over a mock.
fn course_of(client: MockStream) -> (Result<(), String>, Statistics) {
    let layers = TcpServer::new(LOOPBACK, address_echo()).mix_in(trusting);
    let recording = client.run_layers(layers);
    let statistics = recording.server().statistics();
    let result = recording.result().as_ref().map(|_| ());
    (result.map_err(|error| error.to_string()), statistics)
}

#[test]
fn a_header_that_is_missing_broken_or_cut_short_is_an_error_and_no_handler_runs() {
    for (sent, expected) in [
        ("GET / HTTP/1.0\r\n\r\n", "no PROXY header"),
        (
            "PROXY TCP4 192.0.2.7 198.51.100.1 011 443\r\nhello\n",
            "a port is",
        ),
        (
            "PROXY TCP4 192.0.2.7",
            "left before its PROXY header was complete",
        ),
    ] {
        let (result, statistics) = course_of(MockStream::new().chunk(sent));
        let error = result.unwrap_err();
        assert!(error.contains(expected), "{error}");
        assert_eq!((statistics.failed, statistics.finished), (1, 0));
        assert_eq!(statistics.sent, 0);
    }
}

#[test]
fn a_header_of_version_2_may_be_as_long_as_is_set() {
    // A value of 4096 bytes without a meaning (NOOP).
    let long = [
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x10\x0f",
        &BLOCK[16..28],
        b"\x04\x10\0",
        &[0; 4096],
        b"hello\n",
    ]
    .concat();
    let (result, _) = course_of(MockStream::new().chunk(&long));
    assert!(result.unwrap_err().contains("4127 bytes, and at most 536"));
    let layers = TcpServer::new(LOOPBACK, address_echo())
        .mix_in(trusting)
        .max_header(100_000);
    let recording = MockStream::new().chunk(&long).run_layers(layers);
    assert_eq!(recording.written(), b"192.0.2.7:1000 127.0.0.1 hello\n");
}

#[test]
fn a_health_check_ends_well_without_a_handler() {
    use std::io::ErrorKind::ConnectionReset;
    let own = line_for(&Address::from(([127, 0, 0, 1], 49152)));
    let mapped: std::net::SocketAddr = "[::ffff:127.0.0.1]:49152".parse().unwrap();
    for client in [
        MockStream::new().chunk(LOCAL),
        MockStream::new().chunk(LOCAL).read_error(ConnectionReset),
        MockStream::new().chunk(&own),
        MockStream::new().chunk(&own).read_error(ConnectionReset),
        // The proxy's address as a server on [::] sees it.
        MockStream::new().chunk(&own).client_address(mapped),
        MockStream::new(),
        MockStream::new().read_error(ConnectionReset),
    ] {
        let (result, statistics) = course_of(client);
        assert_eq!(result, Ok(()));
        assert_eq!((statistics.finished, statistics.failed), (1, 0));
        assert_eq!((statistics.refused, statistics.timed_out), (0, 0));
    }
    // After the header of a client, a reset is the handler's.
    let client = MockStream::new().chunk(LINE).read_error(ConnectionReset);
    let (result, statistics) = course_of(client);
    assert!(result.is_err());
    assert_eq!((statistics.finished, statistics.failed), (0, 1));
}

#[test]
fn with_each_mix_in_a_real_health_check_counts_as_finished() {
    let tcp = || TcpServer::new(LOOPBACK, stream_handler(|_| Err("a handler ran".into())));
    for layers in mix_ins(tcp) {
        let running = RunningServer::start(layers.mix_in(trusting).bind().unwrap());
        for is_local in [true, false] {
            let client = StreamClient::connect(&running.address());
            let own = client.socket().local_addr().unwrap().as_socket().unwrap();
            match is_local {
                true => client.socket().write_all(LOCAL).unwrap(),
                false => client.send(&line_for(&own.into())),
            }
            client.reset();
            let client = StreamClient::connect(&running.address());
            client.socket().write_all(LOCAL).unwrap();
            client.finish_sending();
        }
        let handle = running.handle();
        eventually("the checks have ended", || {
            handle.statistics().finished == 4
        });
        running.close();
        let it = handle.statistics();
        assert_eq!((it.accepted, it.finished, it.failed), (4, 4, 0));
    }
}

/// The error and the counts of a client that keeps a server with these settings waiting.
fn late(
    set: impl FnOnce(ProxyProtocolMixIn<ThreadedEcho>) -> ProxyProtocolMixIn<ThreadedEcho>,
    deadlines: Deadlines,
    sent: &str,
) -> (String, Statistics) {
    let (reporter, mut errors) = reports();
    let layer = set(trusting(threaded_echo()));
    let layers = layer.mix_in(|next| ErrorReports::new(next, reporter));
    let server = layers.bind().unwrap();
    server.handle().set_deadlines(deadlines);
    let running = RunningServer::start(server);
    let mut client = StreamClient::connect(&running.address());
    client.send(sent);
    let error = errors.next_report();
    client.wait_for_close();
    let handle = running.handle();
    running.close();
    (error, handle.statistics())
}

type ThreadedEcho = ThreadingMixIn<TcpServer<fn() -> support::services::EchoLine>>;

fn threaded_echo() -> ThreadedEcho {
    let factory: fn() -> support::services::EchoLine = Default::default;
    TcpServer::new(LOOPBACK, factory).mix_in(ThreadingMixIn::new)
}

#[test]
fn a_header_has_its_own_time_unless_that_of_the_preparation_is_shorter() {
    let short = Duration::from_millis(50);
    let long = Duration::from_secs(600);
    for sent in ["", "PROXY TCP4 192.0.2.7 "] {
        let own = |layer: ProxyProtocolMixIn<_>| layer.header_timeout(Some(short));
        for deadlines in [Deadlines::none(), Deadlines::uniform(long)] {
            let (error, statistics) = late(own, deadlines, sent);
            assert!(error.contains("50ms (prepare deadline)"), "{error}");
            assert_eq!((statistics.timed_out, statistics.failed), (1, 0));
        }
        let own = |layer: ProxyProtocolMixIn<_>| layer.header_timeout(Some(long));
        let deadlines = Deadlines::none().with_prepare(short);
        let (error, _) = late(own, deadlines, sent);
        assert!(error.contains("50ms (prepare deadline)"), "{error}");
    }
}

#[test]
fn after_the_header_the_deadlines_are_those_of_the_server() {
    for header in [LINE.as_bytes(), LOCAL, b"PROXY UNKNOWN\r\n"] {
        let (reporter, mut seen) = reports();
        let factory = stream_handler(move |request| {
            reporter.say(format_args!("{:?}", request.deadlines()));
            Ok(())
        });
        let layers = TcpServer::new(LOOPBACK, factory).mix_in(trusting);
        let client = MockStream::new().chunk(header).chunk("hello\n");
        let recording = client.run_layers(layers);
        assert!(recording.result().is_ok());
        assert_eq!(seen.next_report(), format!("{:?}", Deadlines::none()));
    }
}

#[test]
fn a_limit_per_address_counts_the_clients_and_not_their_proxy() {
    let tcp = || TcpServer::new(LOOPBACK, address_echo());
    for layers in mix_ins(tcp).into_iter().skip(1) {
        let layers = match layers {
            AnyMixIn::ThreadPool(pool) => AnyMixIn::ThreadPool(pool.workers(16)),
            other => other,
        };
        let server = layers.mix_in(trusting).bind().unwrap();
        let limits = Limits::none().with_max_connections_per_address(2);
        server.handle().set_limits(limits.refuse_with("too many\n"));
        let running = RunningServer::start(server);
        // More connections whose client is not known yet than an address may have.
        let slow = Vec::from_iter((0..5).map(|_| StreamClient::connect(&running.address())));
        let connect = |client: &str| {
            let mut connected = StreamClient::connect(&running.address());
            connected.send(&line_for(&Address::from(
                client.parse::<std::net::SocketAddr>().unwrap(),
            )));
            connected.send("hello\n");
            let line = connected.line();
            (connected, line)
        };
        let same = ["192.0.2.7:1", "192.0.2.7:2"].map(connect);
        assert_eq!(same[1].1, "192.0.2.7:2 127.0.0.1 hello");
        assert_eq!(connect("192.0.2.7:3").1, "too many");
        let other = connect("192.0.2.8:1");
        assert_eq!(other.1, "192.0.2.8:1 127.0.0.1 hello");
        // A client whose address is unknown counts for the proxy.
        let unknown = [(), ()].map(|()| {
            let mut client = StreamClient::connect(&running.address());
            client.send("PROXY UNKNOWN\r\nhello\n");
            let line = client.line();
            (client, line)
        });
        assert!(unknown[1].1.ends_with(" 127.0.0.1 hello"));
        assert_eq!(answer(&running, b"PROXY UNKNOWN\r\n"), "too many");
        drop((slow, same, other, unknown));
        running.close();
    }
}

/// Serves one client address alone.
struct OnlyFrom<S>(S, &'static str);

impl<S: BaseServer> MixIn for OnlyFrom<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.0
    }

    fn verify_request(&self, request: &mut RequestOf<Self>) -> bool {
        let ip = request.client_address().ip();
        ip.is_some_and(|ip| ip.to_string() == self.1) && self.0.verify_request(request)
    }
}

#[test]
fn a_layer_inside_verifies_the_client_and_a_layer_around_the_proxy() {
    let statistics = |inside: &'static str, around: &'static str| {
        let layers = TcpServer::new(LOOPBACK, address_echo())
            .mix_in(|next| OnlyFrom(next, inside))
            .mix_in(trusting)
            .mix_in(|next| OnlyFrom(next, around));
        let recording = MockStream::new().chunk(LINE).run_layers(layers);
        let it = recording.server().statistics();
        (it.finished, it.refused)
    };
    assert_eq!(statistics("192.0.2.7", "127.0.0.1"), (1, 0));
    assert_eq!(statistics("127.0.0.1", "127.0.0.1"), (0, 1));
    assert_eq!(statistics("192.0.2.7", "192.0.2.7"), (0, 1));
}

#[test]
fn a_drain_ends_a_connection_in_its_header_at_once() {
    let running = RunningServer::start(threading().mix_in(trusting).bind().unwrap());
    let mut clients = ["", "PROXY TCP4", "PROXY UNKNOWN\r\n"].map(|sent| {
        let client = StreamClient::connect(&running.address());
        client.send(sent);
        client
    });
    let local = StreamClient::connect(&running.address());
    local.socket().write_all(LOCAL).unwrap();
    let handle = running.handle();
    eventually("all wait", || handle.statistics().idle == 4);
    let report = running.close();
    assert_eq!((report.aborted, report.running), (0, 0));
    for client in &mut clients {
        client.wait_for_close();
    }
}

/// Inverts every bit on its way, in both directions: encryption, for these tests.
#[derive(Debug)]
struct Inverted(Box<dyn Stream>);

impl Read for Inverted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.0.read(buffer)?;
        buffer[..count].iter_mut().for_each(|byte| *byte = !*byte);
        Ok(count)
    }
}

impl Write for Inverted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(&inverted(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

impl_stream_of_inner!(Inverted);

fn inverted(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| !byte).collect()
}

/// Puts [`Inverted`] around the connection.
struct Inverting<S>(S);

/// The mark of a connection that is inverted already.
struct IsInverted;

impl<S: BaseServer<Request = StreamRequest>> MixIn for Inverting<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.0
    }

    fn prepare_request(&self, request: &mut RequestOf<Self>) -> Result<Preparation, HandlerError> {
        if request.extensions_mut().insert(IsInverted).is_none() {
            request.map_stream(|inner| Box::new(Inverted(inner)));
        }
        self.0.prepare_request(request)
    }
}

/// Sends in pieces of this length, and returns the answer to a line.
fn inverted_answer<S: BaseServer>(
    running: &RunningServer<S>,
    sent: &[u8],
    length: usize,
) -> String {
    let mut client = StreamClient::connect(&running.address());
    for piece in sent.chunks(length) {
        client.socket().write_all(piece).unwrap();
    }
    let answer = client.receive_exactly("192.0.2.7:1000 127.0.0.1 hello\n".len());
    String::from_utf8(inverted(&answer)).unwrap()
}

#[test]
fn the_header_comes_before_the_encryption_or_inside_of_it_as_the_layers_are_stacked() {
    let tcp = || TcpServer::new(LOOPBACK, address_echo()).mix_in(ThreadingMixIn::new);
    let before = tcp().mix_in(Inverting).mix_in(trusting);
    let before = RunningServer::start(before.bind().unwrap());
    let inside = tcp().mix_in(trusting).mix_in(Inverting);
    let inside = RunningServer::start(inside.bind().unwrap());
    for header in [LINE.as_bytes(), BLOCK] {
        let behind = inverted(b"hello\n");
        for length in [1, 1000] {
            let sent = [header, &behind].concat();
            let answer = inverted_answer(&before, &sent, length);
            assert_eq!(answer, "192.0.2.7:1000 127.0.0.1 hello\n");
            let sent = [&inverted(header)[..], &behind].concat();
            let answer = inverted_answer(&inside, &sent, length);
            assert_eq!(answer, "192.0.2.7:1000 127.0.0.1 hello\n");
        }
    }
    before.close();
    inside.close();
}
