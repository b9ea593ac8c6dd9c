//! Hundreds of requests by the load generators that people have: no request may fail. A test whose
//! load generator is not installed prints that it skips.

use std::process::Command;

use socketserver::{AnyMixIn, ReactorMixIn, Serve, TcpServer, ThreadingMixIn};
use socketserver_handlers::http::{Http, HttpHandler};
use support::running_server::RunningServer;

use crate::programs::run;
use crate::services::Reflect;
use crate::site::Site;

const REQUESTS: usize = 300;

#[test]
fn ab_sees_no_failure_over_connections_that_close_or_stay() {
    // Both speak HTTP/1.0.
    on_each_server(|url, length| {
        if let Some(report) = ab(&[], url, length) {
            assert_eq!(value(&report, "Keep-Alive requests:"), None, "{report}");
        }
        if let Some(report) = ab(&["-k"], url, length) {
            let kept = value(&report, "Keep-Alive requests:");
            assert_eq!(kept, Some(REQUESTS.to_string().as_str()), "{report}");
        }
    });
}

#[test]
fn wrk_sees_no_failure() {
    on_each_server(|url, _| {
        let mut command = Command::new("wrk");
        command.args(["-t", "1", "-c", "8", "-d", "1s", "--timeout", "30s", url]);
        let Some(report) = report(&mut command) else {
            return;
        };
        let (requests, _) = report.split_once(" requests in ").expect(&report);
        let requests = requests.split_whitespace().next_back().expect(&report);
        assert!(requests.parse::<u64>().expect(&report) > 0, "{report}");
        // wrk prints these lines only for failures.
        assert_eq!(value(&report, "Socket errors:"), None, "{report}");
        assert_eq!(
            value(&report, "Non-2xx or 3xx responses:"),
            None,
            "{report}"
        );
    });
}

#[test]
fn h2load_sees_no_failure_with_and_without_pipelining() {
    on_each_server(|url, length| {
        for pipelined in ["1", "8"] {
            let requests = REQUESTS.to_string();
            let mut command = Command::new("h2load");
            command.args(["--h1", "-n", &requests, "-c", "8", "-m", pipelined]);
            command.args(["--connection-inactivity-timeout", "30", url]);
            let Some(report) = report(&mut command) else {
                return;
            };
            let all = format!(
                "{REQUESTS} total, {REQUESTS} started, {REQUESTS} done, {REQUESTS} succeeded, \
                 0 failed, 0 errored, 0 timeout"
            );
            assert_eq!(value(&report, "requests:"), Some(all.as_str()), "{report}");
            let all = format!("{REQUESTS} 2xx, 0 3xx, 0 4xx, 0 5xx");
            let statuses = value(&report, "status codes:");
            assert_eq!(statuses, Some(all.as_str()), "{report}");
            let bodies = format!("({}) data", REQUESTS * length);
            assert!(report.contains(&bodies), "{report}");
        }
    });
}

/// Calls `load` with the URL of a file, and with that of a text that a handler writes, each under
/// both mix-ins. The second argument of `load` is the length of the body.
fn on_each_server(load: impl Fn(&str, usize)) {
    let site = Site::new(&[("file.bin", &"x".repeat(5000))]);
    let files = site.files();
    serve(
        move || Http::new(files.clone()),
        |url| load(&format!("{url}/file.bin"), 5000),
    );
    serve(
        || Http::new(Reflect::default()),
        |url| load(&format!("{url}/text"), "GET /text ".len()),
    );
}

/// Calls `load` with the URL of a server under each mix-in.
fn serve<H: HttpHandler + Send + 'static>(
    factory: impl Fn() -> Http<H> + Clone + Send + Sync + 'static,
    load: impl Fn(&str),
) {
    let bottom = || TcpServer::new("127.0.0.1:0", factory.clone());
    for stack in [
        AnyMixIn::Threading(ThreadingMixIn::new(bottom())),
        AnyMixIn::Reactor(ReactorMixIn::new(bottom())),
    ] {
        let server = RunningServer::start(stack.bind().unwrap());
        load(&format!("http://{}", server.address()));
        server.close();
    }
}

/// The report of ab, in which no request has failed and each body has the same length.
fn ab(options: &[&str], url: &str, length: usize) -> Option<String> {
    let requests = REQUESTS.to_string();
    let mut command = Command::new("ab");
    command.args(["-q", "-n", &requests, "-c", "8"]);
    let report = report(command.args(options).arg(url))?;
    let bodies = format!("{} bytes", REQUESTS * length);
    for (label, expected) in [
        ("Complete requests:", Some(requests.as_str())),
        ("Failed requests:", Some("0")),
        ("HTML transferred:", Some(bodies.as_str())),
        // ab prints these lines only for failures.
        ("Write errors:", None),
        ("Non-2xx responses:", None),
    ] {
        assert_eq!(value(&report, label), expected, "{report}");
    }
    Some(report)
}

/// What a program prints.
fn report(command: &mut Command) -> Option<String> {
    let output = run(command, b"")?;
    Some(String::from_utf8(output.stdout).unwrap())
}

/// The rest of the line that begins with a label.
fn value<'a>(report: &'a str, label: &str) -> Option<&'a str> {
    let mut lines = report.lines().map(str::trim);
    Some(lines.find_map(|line| line.strip_prefix(label))?.trim())
}
