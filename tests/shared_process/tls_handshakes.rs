//! TLS handshakes that do not come to their end, and what a server makes of them.

use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use socketserver::mock::MockStream;
use socketserver::{
    Address, BaseServer, Deadlines, HandlerResult, Limits, MixIn, ReactorMixIn, RequestEvent,
    RequestHandler, Serve, Server, StreamRequest, TcpServer, ThreadPoolMixIn, ThreadingMixIn,
    TlsConfig, TlsMixIn, TlsOptions,
};
use support::certificates::Authority;
use support::clients::StreamClient;
use support::reports::{Reporter, reports};
use support::running_server::RunningServer;
use support::services::TlsEcho;
use support::tls_clients::TlsClients;
use support::waiting::eventually;

const LOOPBACK: &str = "127.0.0.1:0";

/// The time for a handshake in tests that wait for its end.
const SHORT: Duration = Duration::from_millis(200);

/// The fatal alert `unexpected_message` or `decode_error`, unencrypted: its first five bytes.
const ALERT: &[u8] = &[21, 3, 3, 0, 2];

/// Reports the results of handshakes and the ends of requests.
struct Events<S> {
    next: S,
    reporter: Reporter,
}

impl<S: BaseServer> MixIn for Events<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.next
    }

    fn observe(&self, client: &Address, event: &RequestEvent) {
        match event {
            RequestEvent::Handshake { result, lasted, .. } => {
                assert!(*lasted > Duration::ZERO);
                assert!(matches!(client, Address::Inet(_)));
                self.reporter.say(format_args!("{result:?}"));
            }
            RequestEvent::Ended { outcome, .. } => self.reporter.say(outcome),
            _ => {}
        }
    }
}

fn localhost(authority: &Authority) -> TlsConfig {
    let identity = authority.server(&["localhost"]);
    let options = TlsOptions::new(&identity.certificate, &identity.key);
    options.load().unwrap()
}

fn threading(config: &TlsConfig, timeout: Duration) -> Server<impl BaseServer> {
    let layers = TcpServer::new(LOOPBACK, || TlsEcho).mix_in(ThreadingMixIn::new);
    let layers = layers.mix_in(|next| TlsMixIn::new(next, config.clone()));
    layers.handshake_timeout(Some(timeout)).bind().unwrap()
}

/// A silent client and one that sends a byte now and then: others are served beside them, and both
/// are gone in time.
fn slow_clients_hold_up_nobody<S: BaseServer>(
    authority: &Authority,
    config: &TlsConfig,
    server: Server<S>,
) {
    let running = RunningServer::start(server);
    let clients = TlsClients::new(authority);
    let before = config.statistics().abandoned;
    let mut silent = StreamClient::connect(&running.address());
    let dripping = StreamClient::connect(&running.address());
    let address = running.address();
    let drips = thread::spawn(move || {
        // The header of a record that never becomes complete.
        let mut sent = 0;
        for byte in [22_u8, 3, 1, 2, 0, 1, 0, 1].into_iter().chain([0; 200]) {
            if dripping.socket().send(&[byte]).is_err() {
                break;
            }
            sent += 1;
            thread::sleep(Duration::from_millis(5));
        }
        sent
    });
    for _ in 0..5 {
        let mut client = clients.connect(&address);
        assert_eq!(client.exchange("hello"), "hello");
    }
    silent.wait_for_close();
    assert!(drips.join().unwrap() < 200, "the slow client was kept");
    eventually("both are counted", || {
        config.statistics().abandoned == before + 2
    });
    let handle = running.handle();
    eventually("both were late", || handle.statistics().timed_out == 2);
    assert_eq!(running.close().running, 0);
}

#[test]
fn with_each_mix_in_slow_handshakes_hold_up_nobody_and_end_in_time() {
    let authority = Authority::new();
    let config = localhost(&authority);
    let tcp = || TcpServer::new(LOOPBACK, || TlsEcho);
    macro_rules! bind {
        ($layers:expr) => {{
            let layers = $layers.mix_in(|next| TlsMixIn::new(next, config.clone()));
            layers.handshake_timeout(Some(SHORT)).bind().unwrap()
        }};
    }
    let threads = bind!(tcp().mix_in(ThreadingMixIn::new));
    slow_clients_hold_up_nobody(&authority, &config, threads);
    let pool = bind!(tcp().mix_in(ThreadPoolMixIn::new).workers(4));
    slow_clients_hold_up_nobody(&authority, &config, pool);
    let reactor = bind!(tcp().mix_in(ReactorMixIn::new));
    slow_clients_hold_up_nobody(&authority, &config, reactor);
}

#[test]
fn the_handshake_has_its_own_time_also_where_the_preparation_has_more() {
    let authority = Authority::new();
    let config = localhost(&authority);
    let running = RunningServer::start(threading(&config, SHORT));
    // As the command sets them.
    let long = Deadlines::uniform(Duration::from_secs(300));
    running.handle().set_deadlines(long);
    StreamClient::connect(&running.address()).wait_for_close();
    // Behind the handshake, the server's deadlines are in force again.
    let mut client = TlsClients::new(&authority).connect(&running.address());
    thread::sleep(SHORT * 2);
    assert_eq!(client.exchange("hello"), "hello");
    running.close();
}

#[test]
fn a_shorter_time_of_the_preparation_holds_for_the_handshake() {
    let authority = Authority::new();
    let config = localhost(&authority);
    let running = RunningServer::start(threading(&config, Duration::from_secs(300)));
    let handle = running.handle();
    handle.set_deadlines(Deadlines::none().with_prepare(SHORT));
    StreamClient::connect(&running.address()).wait_for_close();
    eventually("the client was late", || handle.statistics().timed_out == 1);
    running.close();
}

#[test]
fn each_end_of_a_handshake_is_an_event_and_a_count_of_its_own() {
    let authority = Authority::new();
    let config = localhost(&authority);
    let (reporter, mut reports) = reports();
    let layers = TcpServer::new(LOOPBACK, || TlsEcho).mix_in(ThreadingMixIn::new);
    let layers = layers
        .mix_in(|next| TlsMixIn::new(next, config.clone()))
        .mix_in(|next| Events { next, reporter });
    let running = RunningServer::start(layers.bind().unwrap());
    let clients = TlsClients::new(&authority);
    for expected in ["Full", "Resumed"] {
        let mut client = clients.connect(&running.address());
        assert_eq!(client.exchange("hello"), "hello");
        drop(client);
        assert_eq!(reports.take(2), [expected, "finished"]);
    }
    // A client that does not speak TLS gets an alert, and the close.
    let mut plain = StreamClient::connect(&running.address());
    plain.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(plain.rest().starts_with(ALERT));
    assert_eq!(reports.take(2), ["Failed", "failed"]);
    // A probe connects and leaves.
    drop(StreamClient::connect(&running.address()));
    assert_eq!(reports.take(2), ["Abandoned", "failed"]);
    // Another leaves in the middle.
    let leaving = StreamClient::connect(&running.address());
    leaving.socket().send(&[22, 3, 1, 2, 0]).unwrap();
    drop(leaving);
    assert_eq!(reports.take(2), ["Abandoned", "failed"]);
    StreamClient::connect(&running.address()).reset();
    assert_eq!(reports.take(2), ["Abandoned", "failed"]);
    let statistics = config.statistics();
    assert_eq!((statistics.full, statistics.resumed), (1, 1));
    assert_eq!((statistics.failed, statistics.abandoned), (1, 3));
    running.close();
}

#[test]
fn a_drain_ends_the_handshakes_that_wait_for_their_clients() {
    let authority = Authority::new();
    let config = localhost(&authority);
    let tcp = || TcpServer::new(LOOPBACK, || TlsEcho);
    macro_rules! drains {
        ($layers:expr) => {{
            let layers = $layers.mix_in(|next| TlsMixIn::new(next, config.clone()));
            let running = RunningServer::start(layers.bind().unwrap());
            let mut silent = StreamClient::connect(&running.address());
            let mut within = StreamClient::connect(&running.address());
            within.socket().send(&[22, 3, 1, 2, 0]).unwrap();
            let handle = running.handle();
            eventually("both are served", || handle.statistics().active == 2);
            let before = config.statistics().abandoned;
            let report = running.close();
            assert_eq!(report.running, 0);
            silent.wait_for_close();
            within.wait_for_close();
            assert_eq!(config.statistics().abandoned, before + 2);
        }};
    }
    drains!(tcp().mix_in(ThreadingMixIn::new));
    drains!(tcp().mix_in(ThreadPoolMixIn::new));
    drains!(tcp().mix_in(ReactorMixIn::new));
}

#[test]
fn a_refused_client_gets_no_text_that_it_cannot_read() {
    let authority = Authority::new();
    let config = localhost(&authority);
    let running = RunningServer::start(threading(&config, SHORT));
    let limits = Limits::none().with_max_connections(1);
    let handle = running.handle();
    handle.set_limits(limits.refuse_with("too busy\n"));
    let clients = TlsClients::new(&authority);
    let mut first = clients.connect(&running.address());
    assert_eq!(first.exchange("hello"), "hello");
    let mut refused = StreamClient::connect(&running.address());
    refused.wait_for_close();
    eventually("the client is counted", || handle.statistics().refused == 1);
    drop(first);
    eventually("the place is free", || handle.statistics().active == 0);
    assert_eq!(
        clients.connect(&running.address()).exchange("hello"),
        "hello"
    );
    running.close();
}

#[test]
fn a_layer_outside_can_read_the_connection_before_its_encryption() {
    let authority = Authority::new();
    let config = localhost(&authority);
    let layers = TcpServer::new(LOOPBACK, || TlsEcho).mix_in(ReactorMixIn::new);
    let layers = layers
        .mix_in(|next| TlsMixIn::new(next, config.clone()))
        .mix_in(support::preamble::Preamble::new);
    let running = RunningServer::start(layers.bind().unwrap());
    // The first bytes of the handshake come together with the preamble.
    let connection = StreamClient::connect(&running.address());
    connection.send("192.0.2.1:99\n");
    let mut client = TlsClients::new(&authority).over(connection);
    assert_eq!(client.exchange("hello"), "hello");
    running.close();
}

/// A handshake whose client sends arbitrary bytes, without a network.
fn fails_with(chunks: &[Vec<u8>]) -> bool {
    struct StartTls;
    impl RequestHandler for StartTls {
        fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
            request.start_tls(&SITE.1)
        }
    }
    let client = chunks.iter().fold(MockStream::new(), MockStream::chunk);
    client.run(StartTls).result().is_err()
}

/// An authority and the configuration of a server, for all random cases.
static SITE: LazyLock<(Authority, TlsConfig)> = LazyLock::new(|| {
    let authority = Authority::new();
    let config = localhost(&authority);
    (authority, config)
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_bytes_make_a_handshake_panic_or_succeed(
        record in prop::sample::select(vec![20_u8, 21, 22, 23, 0]),
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..600), 1..6),
        has_header: bool,
    ) {
        let mut chunks = chunks;
        if has_header {
            let length = u16::try_from(chunks[0].len()).unwrap().to_be_bytes();
            let header = [record, 3, 3, length[0], length[1]];
            chunks[0].splice(0..0, header);
        }
        prop_assert!(fails_with(&chunks));
    }

    #[test]
    fn a_changed_byte_of_a_client_s_first_message_makes_no_handshake_panic(
        place in 0..250_usize,
        byte: u8,
    ) {
        let mut hello = Vec::new();
        TlsClients::new(&SITE.0).begin().write_tls(&mut hello).unwrap();
        let place = place % hello.len();
        hello[place] = byte;
        prop_assert!(fails_with(&[hello]));
    }
}
