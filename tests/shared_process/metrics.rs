//! The numbers of servers as metrics, and the small server that shows them.

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use socketserver::mock::MockStream;
use socketserver::{
    BaseServer, Deadlines, HandlerFactory, Limits, Metrics, MetricsFormat, MetricsMixIn,
    ReactorMixIn, Serve, StreamRequest, TcpServer, ThreadPoolMixIn, ThreadingMixIn, TlsMixIn,
    TlsOptions, UdpServer, UnixDatagramServer, UnixStreamServer,
};
use support::certificates::Authority;
use support::clients::{DatagramClient, StreamClient};
use support::reports::{Gate, Reporter, gate, reports};
use support::running_server::{RunningServer, close};
use support::scrapes::Scrape;
use support::services::{EchoLine, TlsEcho, read_line, stream_handler};
use support::tls_clients::TlsClients;
use support::waiting::{LIMIT, eventually};

const LOOPBACK: &str = "127.0.0.1:0";

const IT: &str = "listener=\"it\"";

/// Puts the layer around a stack, with the name `it`.
fn measured<S: BaseServer>(layers: S, metrics: &Metrics) -> MetricsMixIn<S> {
    MetricsMixIn::new(layers, metrics).listener("it")
}

/// Answers each line when the gate is open.
fn gated(gate: Gate, reporter: Reporter) -> impl HandlerFactory<StreamRequest> {
    stream_handler(move |request| {
        while request.wait()? {
            let line = read_line(request)?;
            reporter.say("busy");
            gate.pass();
            writeln!(request, "{line}")?;
        }
        Ok(())
    })
}

#[test]
fn what_the_statistics_count_is_in_the_metrics_with_every_mix_in_and_at_any_place() {
    fn is_measured<S: BaseServer>(layers: S, metrics: &Metrics) {
        let running = RunningServer::start(layers.bind().unwrap());
        let mut client = StreamClient::connect(&running.address());
        client.send("hello\n");
        assert_eq!(client.line(), "hello");
        client.wait_for_close();
        let handle = running.handle();
        eventually("the request has ended", || {
            handle.statistics().finished == 1 && handle.statistics().active == 0
        });
        let now = Scrape::of(metrics);
        for (name, labels, expected) in [
            ("connections_accepted_total", "", 1.0),
            ("connections_ended_total", ",outcome=\"finished\"", 1.0),
            ("connections_ended_total", ",outcome=\"failed\"", 0.0),
            ("connections_refused_total", ",reason=\"stopping\"", 0.0),
            ("connections_active", "", 0.0),
            ("connections_idle", "", 0.0),
            ("connections_queued", "", 0.0),
            ("received_bytes_total", "", 6.0),
            ("sent_bytes_total", "", 6.0),
            ("queue_duration_seconds_count", "", 1.0),
            ("service_duration_seconds_count", "", 1.0),
            ("connection_duration_seconds_count", "", 1.0),
            ("draining", "", 0.0),
            ("suspended", "", 0.0),
        ] {
            assert_eq!(now.get(name, &format!("{IT}{labels}")), expected, "{name}");
        }
        let time = |name: &str| now.get(&format!("{name}_duration_seconds_sum"), IT);
        let (queue, service) = (time("queue"), time("service"));
        assert!(queue > 0.0 && service > 0.0);
        assert!(time("connection") >= service);
        running.close();
    }
    let tcp = || TcpServer::new(LOOPBACK, EchoLine::default);
    for place in ["inside", "outside"] {
        macro_rules! try_both {
            ($mix_in:expr) => {{
                let metrics = Metrics::new();
                match place {
                    "inside" => is_measured(measured(tcp(), &metrics).mix_in($mix_in), &metrics),
                    _ => is_measured(measured(tcp().mix_in($mix_in), &metrics), &metrics),
                }
            }};
        }
        try_both!(ThreadingMixIn::new);
        try_both!(ThreadPoolMixIn::new);
        try_both!(ReactorMixIn::new);
    }
    let metrics = Metrics::new();
    is_measured(measured(tcp(), &metrics), &metrics);
}

#[test]
fn the_label_of_a_server_is_its_address_and_servers_with_one_name_are_added_up() {
    let metrics = Metrics::new();
    let layer = |next| MetricsMixIn::new(next, &metrics);
    let directory = support::short_paths::directory();
    let file = directory.path().join("socket");
    let tcp = TcpServer::new(LOOPBACK, EchoLine::default).mix_in(layer);
    let tcp = tcp.bind().unwrap();
    let port = tcp.server_address().port().unwrap();
    let unix = UnixStreamServer::new(&file, EchoLine::default);
    let unix = unix.mix_in(|next| MetricsMixIn::new(next, &metrics));
    let unix = unix.bind().unwrap();
    // Datagrams on the same port.
    let udp = UdpServer::new(("127.0.0.1", port), EchoLine::default);
    let udp = udp.mix_in(|next| MetricsMixIn::new(next, &metrics));
    let udp = udp.bind().unwrap();
    let ours = [
        format!("listener=\"tcp://127.0.0.1:{port}\""),
        format!("listener=\"udp://127.0.0.1:{port}\""),
        format!("listener=\"unix://{}\"", file.display()),
    ];
    for label in &ours {
        let now = Scrape::of(&metrics);
        assert_eq!(now.get("connections_accepted_total", label), 0.0);
    }
    // The numbers of a server cease with the server.
    udp.server_close();
    let now = Scrape::of(&metrics);
    assert_eq!(now.find("connections_active", &ours[1]), None);
    assert_eq!(now.find("connections_active", &ours[0]), Some(0.0));
    tcp.server_close();
    unix.server_close();
    assert!(
        !Scrape::of(&metrics)
            .names()
            .any(|it| it.contains("listener"))
    );

    let shards = [(); 2].map(|()| {
        let tcp = TcpServer::new(LOOPBACK, EchoLine::default);
        RunningServer::start(measured(tcp, &metrics).bind().unwrap())
    });
    for shard in &shards {
        let mut client = StreamClient::connect(&shard.address());
        client.send("hello\n");
        assert_eq!(client.rest(), b"hello\n");
        eventually("it has ended", || shard.handle().statistics().finished == 1);
    }
    let now = Scrape::of(&metrics);
    assert_eq!(now.get("connections_accepted_total", IT), 2.0);
    assert_eq!(now.get("queue_duration_seconds_count", IT), 2.0);
    for shard in shards {
        shard.close();
    }
}

#[test]
fn a_layer_without_metrics_does_nothing_and_a_name_can_come_after_the_port() {
    let metrics = Metrics::new();
    let tcp = || TcpServer::new(LOOPBACK, EchoLine::default);
    let unmeasured = MetricsMixIn::optional(tcp(), None)
        .listener("nobody")
        .bind();
    let server = MetricsMixIn::new(tcp(), &metrics).bind().unwrap();
    let name = format!("web on {}", server.server_address());
    server.stack().set_listener(&name);
    server.stack().set_listener("too late");
    let label = format!("listener=\"{name}\"");
    let now = Scrape::of(&metrics);
    assert_eq!(now.get("connections_active", &label), 0.0);
    assert!(
        !now.names()
            .any(|it| it.contains("nobody") || it.contains("late"))
    );
    drop((unmeasured, server));
}

#[test]
fn a_name_may_have_any_characters() {
    let metrics = Metrics::new();
    let name = "a \"b\"\\\n{c},d=ü";
    let tcp = TcpServer::new(LOOPBACK, EchoLine::default);
    let server = MetricsMixIn::new(tcp, &metrics).listener(name).bind();
    let label = "listener=\"a \\\"b\\\"\\\\\\n{c},d=ü\"";
    assert_eq!(Scrape::of(&metrics).get("draining", label), 0.0);
    drop(server);
}

#[test]
fn datagrams_are_measured_too_and_those_that_the_kernel_drops() {
    let metrics = Metrics::new();
    let udp = measured(UdpServer::new(LOOPBACK, EchoLine::default), &metrics);
    let running = RunningServer::start(udp.mix_in(ThreadingMixIn::new).bind().unwrap());
    let client = DatagramClient::connect(&running.address());
    client.send(b"hello");
    assert_eq!(client.receive(), b"hello");
    let handle = running.handle();
    eventually("it has ended", || handle.statistics().finished == 1);
    let now = Scrape::of(&metrics);
    assert_eq!(now.get("connections_accepted_total", IT), 1.0);
    assert_eq!(now.get("received_bytes_total", IT), 5.0);
    assert_eq!(now.get("service_duration_seconds_count", IT), 1.0);
    assert_eq!(now.get("datagrams_dropped_total", IT), 0.0);
    running.close();

    let metrics = Metrics::new();
    let directory = support::short_paths::directory();
    let unix = UnixDatagramServer::new(directory.path().join("socket"), EchoLine::default);
    let server = MetricsMixIn::new(unix, &metrics).bind().unwrap();
    let text = metrics.text(MetricsFormat::OpenMetrics).unwrap();
    assert!(text.contains("listener=\"unixgram:///"), "{text}");
    drop(server);
}

#[test]
fn a_request_that_waits_for_a_worker_is_queued_and_its_wait_is_measured_apart() {
    let (gate, key) = gate();
    let (reporter, mut reports) = reports();
    let metrics = Metrics::new();
    let pool = TcpServer::new(LOOPBACK, gated(gate, reporter)).mix_in(ThreadPoolMixIn::new);
    let server = measured(pool.workers(1).queue_size(4), &metrics).bind();
    let running = RunningServer::start(server.unwrap());
    let mut clients = [(); 2].map(|()| {
        let client = StreamClient::connect(&running.address());
        client.send("hello\n");
        client
    });
    assert_eq!(reports.next_report(), "busy");
    eventually("one is queued", || {
        Scrape::of(&metrics).get("connections_queued", IT) == 1.0
    });
    let now = Scrape::of(&metrics);
    assert_eq!(now.get("connections_active", IT), 2.0);
    assert_eq!(now.get("queue_duration_seconds_count", IT), 1.0);
    key.let_pass(2);
    for client in &mut clients {
        assert_eq!(client.line(), "hello");
        client.finish_sending();
        client.wait_for_close();
    }
    eventually("both have ended", || {
        running.handle().statistics().finished == 2
    });
    let now = Scrape::of(&metrics);
    assert_eq!(now.get("connections_queued", IT), 0.0);
    let sum = |name: &str| now.get(&format!("{name}_duration_seconds_sum"), IT);
    let whole = sum("connection");
    // Each part was rounded to a nanosecond at a look at the clock of its own.
    assert!(sum("queue") + sum("service") <= whole * 1.1 && sum("service") < whole);
    assert_eq!(now.get("service_duration_seconds_count", IT), 2.0);
    running.close();
}

#[test]
fn refusals_are_counted_by_their_reasons_and_have_no_time_of_service() {
    let metrics = Metrics::new();
    let tcp = TcpServer::new(LOOPBACK, EchoLine::default).mix_in(ThreadingMixIn::new);
    let running = RunningServer::start(measured(tcp, &metrics).bind().unwrap());
    running.handle().set_limits(Limits::none());
    assert_eq!(Scrape::of(&metrics).find("limit_connections", IT), None);
    let refuse = |limits: Limits| {
        running.handle().set_limits(limits.refuse_with("full"));
        assert_eq!(StreamClient::connect(&running.address()).rest(), b"full");
    };
    refuse(Limits::none().with_max_connections(0));
    assert_eq!(Scrape::of(&metrics).get("limit_connections", IT), 0.0);
    refuse(Limits::none().with_max_connections_per_address(0));
    eventually("both are counted", || {
        running.handle().statistics().active == 0
    });
    let now = Scrape::of(&metrics);
    for reason in ["too_many_connections", "too_many_from_address"] {
        let labels = format!("{IT},reason=\"{reason}\"");
        assert_eq!(now.get("connections_refused_total", &labels), 1.0);
    }
    assert_eq!(now.get("service_duration_seconds_count", IT), 0.0);
    running.handle().suspend();
    assert_eq!(Scrape::of(&metrics).get("suspended", IT), 1.0);
    running.close();
}

#[test]
fn handshakes_are_counted_by_result_version_and_kind() {
    let authority = Authority::new();
    let identity = authority.server(&["localhost"]);
    let options = TlsOptions::new(&identity.certificate, &identity.key);
    let config = options.load().unwrap();
    let metrics = Metrics::new();
    let layers = TcpServer::new(LOOPBACK, || TlsEcho).mix_in(ThreadingMixIn::new);
    let layers = layers.mix_in(|next| TlsMixIn::new(next, config.clone()));
    let layers = measured(layers, &metrics).certificates({
        let config = config.clone();
        move || config.expiries()
    });
    let running = RunningServer::start(layers.bind().unwrap());
    let clients = TlsClients::new(&authority);
    for _ in 0..2 {
        let mut client = clients.connect(&running.address());
        assert_eq!(client.exchange("hello"), "hello");
    }
    // No client of TLS, and one that leaves.
    let mut plain = StreamClient::connect(&running.address());
    plain.send("hello\n");
    let _ = plain.try_rest();
    drop(StreamClient::connect(&running.address()));
    let statistics = || running.handle().statistics();
    eventually("all have ended", || {
        (statistics().accepted, statistics().active) == (4, 0)
    });
    let now = Scrape::of(&metrics);
    for (result, version, kind) in [
        ("complete", "TLSv1.3", "full"),
        ("complete", "TLSv1.3", "resumed"),
        ("failed", "", ""),
        ("abandoned", "", ""),
    ] {
        let labels = format!("{IT},result=\"{result}\",version=\"{version}\",kind=\"{kind}\"");
        assert_eq!(now.get("tls_handshakes_total", &labels), 1.0, "{result}");
    }
    assert_eq!(now.get("tls_handshake_duration_seconds_count", IT), 4.0);
    let (name, end) = config.expiries().remove(0);
    assert_eq!(name, "localhost");
    let end = end.duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let label = format!("{IT},name=\"localhost\"");
    assert_eq!(now.get("tls_certificate_not_after_seconds", &label), end);
    assert!(SystemTime::now() < config.expiries()[0].1);
    running.close();
}

#[test]
fn the_metrics_answer_while_their_server_is_full_and_while_it_drains() {
    let (gate, key) = gate();
    let (reporter, mut reports) = reports();
    let metrics = Metrics::new();
    let layers = TcpServer::new(LOOPBACK, gated(gate, reporter)).mix_in(ThreadPoolMixIn::new);
    let layers = measured(layers.workers(1).queue_size(0), &metrics);
    let running = RunningServer::start(layers.bind().unwrap());
    running.handle().set_drain_timeout(Some(LIMIT));
    let scrapes = TcpServer::new(LOOPBACK, metrics).mix_in(ThreadPoolMixIn::new);
    let scrapes = RunningServer::start(scrapes.workers(2).bind().unwrap());
    let scrape = || {
        let mut client = StreamClient::connect(&scrapes.address());
        client.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let answer = String::from_utf8(client.rest()).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        Scrape::parse(body)
    };

    let mut client = StreamClient::connect(&running.address());
    client.send("hello\n");
    assert_eq!(reports.next_report(), "busy");
    assert_eq!(scrape().get("connections_active", IT), 1.0);

    let server = running.stop();
    let closing = std::thread::spawn(|| close(server));
    assert_eq!(scrape().get("draining", IT), 1.0);
    key.let_pass(1);
    assert_eq!(client.line(), "hello");
    assert_eq!(closing.join().unwrap().running, 0);
    scrapes.close();
}

/// The status of the answer to these chunks, its header fields, and its body.
fn answer(chunks: &[&str]) -> (String, String, String) {
    let mock = chunks.iter().fold(MockStream::new(), MockStream::chunk);
    let recording = mock.run(Metrics::new().make_handler());
    assert!(recording.result().is_ok(), "{:?}", recording.result());
    let text = String::from_utf8(recording.written()).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let (status, fields) = head.split_once("\r\n").unwrap();
    let status = status.strip_prefix("HTTP/1.1 ").unwrap();
    assert!(fields.ends_with("Connection: close"));
    (status.to_owned(), fields.to_owned(), body.to_owned())
}

#[test]
fn a_scrape_has_the_length_and_the_type_of_its_text() {
    let open = "Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n";
    let classic = "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n";
    let request = "GET /metrics?debug=1 HTTP/1.1\r\nHost: localhost\r\n";
    let (status, fields, body) = answer(&[request, "\r\n"]);
    assert_eq!(status, "200 OK");
    assert!(fields.starts_with(open), "{fields}");
    assert!(fields.contains(&format!("Content-Length: {}\r\n", body.len())));
    assert!(body.ends_with("\n# EOF\n"));
    assert!(body.contains("# TYPE socketserver_build info\n"));
    assert!(body.contains("\nprocess_start_time_seconds "));

    // A field may come in several lines, and its name is as good in other letters.
    let both = "aCCept: text/plain;q=0.5\r\naccept:\t*/*\r\n\r\n";
    let (_, fields, _) = answer(&[request, both]);
    assert!(fields.starts_with(open), "{fields}");
    let (_, fields, body) = answer(&[request, "Accept: text/plain\r\n\r\n"]);
    assert!(fields.starts_with(classic), "{fields}");
    assert!(
        body.contains("# TYPE socketserver_build_info gauge\n"),
        "{body}"
    );
    assert!(!body.contains("# EOF"));

    // Without its body, and with the same length.
    let (_, fields, body) = answer(&["HEAD /metrics HTTP/1.0\n\n"]);
    assert!(fields.starts_with(open) && !fields.contains("Content-Length: 0"));
    assert_eq!(body, "");
}

#[test]
fn a_request_for_something_else_has_its_status() {
    let status = |request: &str| answer(&[request]).0;
    assert_eq!(status("GET / HTTP/1.1\r\n\r\n"), "404 Not Found");
    assert_eq!(status("GET /metrics/ HTTP/1.1\r\n\r\n"), "404 Not Found");
    let (status_of_post, fields, _) = answer(&["POST /metrics HTTP/1.1\r\n\r\n"]);
    assert_eq!(status_of_post, "405 Method Not Allowed");
    assert!(fields.contains("\r\nAllow: GET, HEAD\r\n"));
    for request in [
        "hello\n",
        "\r\n",
        "GET /metrics\r\n",
        "GET /metrics HTTP/2.0\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nno field\r\n\r\n",
        "GET /metrics HTTP/1.1\r\n: empty\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost : space\r\n\r\n",
        "\u{16}\u{3}\u{1}\n",
    ] {
        assert_eq!(status(request), "400 Bad Request", "{request:?}");
    }
    let long = "x".repeat(9000);
    let too_large = "431 Request Header Fields Too Large";
    assert_eq!(status(&long), too_large);
    assert_eq!(status(&format!("GET /{long} HTTP/1.1\r\n\r\n")), too_large);
    let many = "A: b\r\n".repeat(2500);
    assert_eq!(
        status(&format!("GET /metrics HTTP/1.1\r\n{many}\r\n")),
        too_large
    );
}

#[test]
fn a_client_that_leaves_or_is_silent_holds_no_worker_of_the_metrics() {
    let recording = MockStream::new().run(Metrics::new().make_handler());
    assert!(recording.result().is_ok());
    assert_eq!(recording.written(), b"");
    let half = MockStream::new().chunk("GET /metrics HTTP/1.1\r\nHo");
    let recording = half.run(Metrics::new().make_handler());
    assert!(recording.result().is_err());
    assert_eq!(recording.written(), b"");

    let pool = TcpServer::new(LOOPBACK, Metrics::new()).mix_in(ThreadPoolMixIn::new);
    let running = RunningServer::start(pool.workers(1).bind().unwrap());
    let short = Deadlines::uniform(Duration::from_millis(50));
    running.handle().set_deadlines(short);
    let mut silent = StreamClient::connect(&running.address());
    let mut slow = StreamClient::connect(&running.address());
    slow.send("GET /metrics HTTP/1.1\r\nHost");
    silent.wait_for_close();
    slow.wait_for_close();
    let mut client = StreamClient::connect(&running.address());
    client.send("GET /metrics HTTP/1.1\r\n\r\n");
    assert!(client.rest().starts_with(b"HTTP/1.1 200 OK\r\n"));
    running.close();
}
