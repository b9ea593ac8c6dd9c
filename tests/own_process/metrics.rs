//! Metrics under forking, and as clients of Prometheus read them that others have written.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use socketserver::prometheus_client::metrics::gauge::Gauge;
use socketserver::{
    ForkingMixIn, Metrics, MetricsFormat, MetricsMixIn, Serve, TcpServer, ThreadingMixIn, TlsMixIn,
    TlsOptions, UdpServer,
};
use support::certificates::Authority;
use support::clients::StreamClient;
use support::own_process::alone;
use support::running_server::RunningServer;
use support::scrapes::Scrape;
use support::services::{EchoLine, TlsEcho};
use support::tls_clients::TlsClients;
use support::waiting::eventually;

const LOOPBACK: &str = "127.0.0.1:0";

const IT: &str = "listener=\"it\"";

#[test]
fn the_parent_has_the_numbers_of_its_forked_children() {
    alone(|| {
        let authority = Authority::new();
        let identity = authority.server(&["localhost"]);
        let options = TlsOptions::new(&identity.certificate, &identity.key);
        let config = options.load().unwrap();
        let metrics = Metrics::new();
        let layers = TcpServer::new(LOOPBACK, || TlsEcho).mix_in(ForkingMixIn::new);
        let layers = layers.mix_in(|next| TlsMixIn::new(next, config.clone()));
        let layers = layers.mix_in(|next| MetricsMixIn::new(next, &metrics));
        let running = RunningServer::start(layers.listener("it").bind().unwrap());
        let clients = TlsClients::new(&authority);
        for _ in 0..2 {
            let mut client = clients.connect(&running.address());
            assert_eq!(client.exchange("hello"), "hello");
            client.finish_sending();
        }
        let mut plain = StreamClient::connect(&running.address());
        plain.send("hello\n");
        let _ = plain.try_rest();
        let statistics = || running.handle().statistics();
        eventually("all children are collected", || {
            let statistics = statistics();
            (statistics.finished, statistics.failed) == (2, 1) && statistics.active == 0
        });
        let now = Scrape::of(&metrics);
        for (result, version, kind) in [
            ("complete", "TLSv1.3", "full"),
            ("complete", "TLSv1.3", "resumed"),
            ("failed", "", ""),
        ] {
            let labels = format!("{IT},result=\"{result}\",version=\"{version}\",kind=\"{kind}\"");
            assert_eq!(now.get("tls_handshakes_total", &labels), 1.0, "{result}");
        }
        let finished = format!("{IT},outcome=\"finished\"");
        assert_eq!(now.get("connections_ended_total", &finished), 2.0);
        assert_eq!(now.get("service_duration_seconds_count", IT), 3.0);
        assert_eq!(now.get("queue_duration_seconds_count", IT), 3.0);
        let statistics = statistics();
        assert!(statistics.received > 0);
        let received = now.get("received_bytes_total", IT);
        assert_eq!(received, statistics.received as f64);
        running.close();
    });
}

/// The metrics of servers of two kinds that have served, and of the program, and a
/// name that needs escapes.
fn with_metrics(check: impl FnOnce(&Metrics)) {
    let authority = Authority::new();
    let identity = authority.server(&["localhost"]);
    let options = TlsOptions::new(&identity.certificate, &identity.key);
    let config = options.load().unwrap();
    let metrics = Metrics::new();
    let layers = TcpServer::new(LOOPBACK, || TlsEcho).mix_in(ThreadingMixIn::new);
    let layers = layers.mix_in(|next| TlsMixIn::new(next, config.clone()));
    let layers = layers.mix_in(|next| MetricsMixIn::new(next, &metrics));
    let running = RunningServer::start(layers.listener("a \"b\" \\ {c}\n").bind().unwrap());
    let udp = UdpServer::new(LOOPBACK, EchoLine::default);
    let udp = udp.mix_in(|next| MetricsMixIn::new(next, &metrics));
    let udp = udp.bind().unwrap();
    let mut client = TlsClients::new(&authority).connect(&running.address());
    assert_eq!(client.exchange("hello"), "hello");
    client.finish_sending();
    eventually("it has ended", || running.handle().statistics().active == 0);
    metrics.register("shop", |registry| {
        let open = Gauge::<i64>::default();
        registry.register("open", "Whether the shop is open", open);
    });
    check(&metrics);
    udp.server_close();
    running.close();
}

/// Runs a program that checks the text; `None` if the program is not installed.
fn run(program: &str, arguments: &[&str], text: &str) -> Option<Output> {
    let mut command = Command::new(program);
    let command = command.args(arguments).stdin(Stdio::piped());
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().ok()?;
    let written = child.stdin.take().unwrap().write_all(text.as_bytes());
    let output = child.wait_with_output().unwrap();
    assert!(written.is_ok() || !output.status.success());
    Some(output)
}

/// Python's parsers of both formats. They print a line for each family.
const PYTHON: &str = "
import sys
try:
    from prometheus_client.openmetrics import parser as openmetrics
    from prometheus_client import parser as classic
except ImportError:
    sys.exit(77)
parse = openmetrics if sys.argv[1] == 'OpenMetrics' else classic
for family in parse.text_string_to_metric_families(sys.stdin.read()):
    print(family.type, family.name, len(family.samples))
";

#[test]
fn python_s_parsers_read_both_formats() {
    alone(|| {
        with_metrics(|metrics| {
            for format in [MetricsFormat::OpenMetrics, MetricsFormat::Prometheus] {
                let text = metrics.text(format).unwrap();
                let name = format!("{format:?}");
                let arguments = ["-c", PYTHON, &name];
                // The system's Python has the package, if another one is found first.
                let parsed = ["python3", "/usr/bin/python3"].iter().find_map(|python| {
                    let output = run(python, &arguments, &text)?;
                    (output.status.code() != Some(77)).then_some(output)
                });
                let Some(parsed) = parsed else {
                    println!("skipped: Python's prometheus_client is not installed");
                    return;
                };
                let errors = String::from_utf8_lossy(&parsed.stderr);
                assert!(parsed.status.success(), "{errors}\n{text}");
                let families = String::from_utf8_lossy(&parsed.stdout).into_owned();
                let build = match format {
                    MetricsFormat::OpenMetrics => "info socketserver_build 1",
                    _ => "gauge socketserver_build_info 1",
                };
                for family in [
                    "counter socketserver_connections_accepted 2",
                    "counter socketserver_connections_ended 10",
                    "histogram socketserver_queue_duration_seconds 34",
                    "counter socketserver_tls_handshakes 1",
                    "gauge socketserver_draining 2",
                    "gauge process_open_fds 1",
                    "counter process_cpu_seconds 1",
                    "gauge shop_open 1",
                    build,
                ] {
                    let found = families.lines().any(|it| it == family);
                    assert!(found, "{family} is not in\n{families}");
                }
            }
        });
    });
}

#[test]
fn promtool_finds_nothing_to_complain_of() {
    alone(|| {
        with_metrics(|metrics| {
            let text = metrics.text(MetricsFormat::Prometheus).unwrap();
            let Some(output) = run("promtool", &["check", "metrics"], &text) else {
                println!("skipped: promtool is not installed");
                return;
            };
            let complaints = [output.stdout, output.stderr].concat();
            let complaints = String::from_utf8_lossy(&complaints);
            assert!(output.status.success(), "{complaints}\n{text}");
            assert_eq!(complaints, "");
        });
    });
}
