//! `--metrics`: the numbers of the servers, on an address of their own.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use nix::sys::signal::Signal;

use crate::served::{SAFETY_NET, Served, socketserver};

/// The text of `GET /metrics` over this connection.
fn scrape(mut connection: impl Read + Write) -> String {
    let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    connection.write_all(request).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    body.to_owned()
}

/// Where the metrics of a server are.
pub struct Metrics(String);

impl Metrics {
    /// Reads the line that shows the address.
    pub fn of(served: &mut Served) -> Self {
        let line = served.shown();
        let place = line.strip_prefix("metrics at http://");
        let place = place.and_then(|it| it.strip_suffix("/metrics\n"));
        Self(place.unwrap_or_else(|| panic!("{line:?}")).to_owned())
    }

    fn scrape(&self) -> String {
        let connection = TcpStream::connect(&self.0).unwrap();
        connection.set_read_timeout(Some(SAFETY_NET)).unwrap();
        scrape(connection)
    }

    /// Waits until a line of the metrics is there.
    pub fn wait_for(&self, line: &str) {
        let deadline = std::time::Instant::now() + SAFETY_NET;
        loop {
            let text = self.scrape();
            if text.lines().any(|it| it == line) {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "no {line} in\n{text}");
            std::thread::yield_now();
        }
    }
}

pub const AT_ANY_PORT: [&str; 2] = ["--metrics", "tcp://127.0.0.1:0"];

fn exchange(served: &Served) {
    let mut client = served.connect();
    client.write_all(b"hello").unwrap();
    let mut answer = [0; 5];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HELLO");
}

#[test]
fn the_numbers_of_a_server_have_its_url_with_each_mix_in() {
    for mixin in ["none", "threading", "forking", "pool", "reactor"] {
        let options = [&AT_ANY_PORT[..], &["--mixin", mixin]].concat();
        let mut served = Served::start("upper-loop", "tcp://127.0.0.1:0", &options);
        let metrics = Metrics::of(&mut served);
        exchange(&served);
        let url = served.url();
        let ended = "socketserver_connections_ended_total";
        metrics.wait_for(&format!(
            "{ended}{{listener=\"{url}\",outcome=\"finished\"}} 1"
        ));
        for bytes in ["received", "sent"] {
            metrics.wait_for(&format!(
                "socketserver_{bytes}_bytes_total{{listener=\"{url}\"}} 5"
            ));
        }
        let text = metrics.scrape();
        assert!(text.contains("\nprocess_open_fds "), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}

#[test]
fn several_listeners_are_several_labels() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("echo.sock");
    let unix = format!("unix://{}", path.display());
    let more = ["--listen", "udp://127.0.0.1:0", "--listen", &unix];
    let options = [&AT_ANY_PORT[..], &more].concat();
    let mut served = Served::start("echo", "tcp://127.0.0.1:0", &options);
    let urls = [
        served.url().to_owned(),
        served.next_url(),
        served.next_url(),
    ];
    let metrics = Metrics::of(&mut served);
    let text = metrics.scrape();
    for url in &urls {
        let line = format!("socketserver_connections_active{{listener=\"{url}\"}} 0");
        assert!(text.lines().any(|it| it == line), "{line}\n{text}");
    }
    assert!(urls[1].starts_with("udp://127.0.0.1:") && urls[2] == unix);
}

#[test]
fn the_metrics_are_shown_while_the_server_is_full_and_until_the_drain_is_over() {
    let full = ["--max-connections", "1", "--serve-any-user"];
    let options = [&AT_ANY_PORT[..], &full].concat();
    let mut served = Served::start("shell", "tcp://127.0.0.1:0", &options);
    let metrics = Metrics::of(&mut served);
    let label = format!("{{listener=\"{}\"}}", served.url());
    let directory = tempfile::tempdir().unwrap();
    let gate = directory.path().join("gate");
    let mut client = served.connect();
    // Busy until the file is there.
    let command = format!("until [ -e {} ]; do sleep 0.05; done", gate.display());
    client.write_all(command.as_bytes()).unwrap();
    // It waits in the kernel's queue.
    let _second = served.connect();
    metrics.wait_for(&format!("socketserver_connections_active{label} 1"));
    metrics.wait_for(&format!("socketserver_limit_connections{label} 1"));
    metrics.wait_for(&format!("socketserver_connections_idle{label} 0"));
    served.signal(Signal::SIGTERM);
    metrics.wait_for(&format!("socketserver_draining{label} 1"));
    std::fs::write(&gate, "").unwrap();
    served.wait_for_log("stopped; requests: 0 idle, 1 ended");
    assert!(TcpStream::connect(&metrics.0).is_err());
}

#[test]
fn the_metrics_can_be_at_a_unix_socket_which_is_gone_in_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("metrics.sock");
    let url = format!("unix://{}", path.display());
    let mut served = Served::start("echo", "tcp://127.0.0.1:0", &["--metrics", &url]);
    assert_eq!(served.shown(), format!("metrics at {url}\n"));
    let text = scrape(UnixStream::connect(&path).unwrap());
    assert!(
        text.contains(&format!("listener=\"{}\"", served.url())),
        "{text}"
    );
    served.signal(Signal::SIGTERM);
    served.wait_for_log("stopped; ");
    assert!(!path.exists());
}

/// The status and the error of a server that does not start.
fn refused(options: &[&str]) -> (Option<i32>, String) {
    let arguments = ["serve", "echo", "--listen", "tcp://127.0.0.1:0"];
    let output = socketserver(&[&arguments, options].concat())
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    (output.status.code(), error)
}

#[test]
fn metrics_where_other_machines_may_read_them_need_another_option() {
    for url in ["tcp://0.0.0.0:0", "tcp://[::]:0", "tcp://192.0.2.1:9100"] {
        let (status, error) = refused(&["--metrics", url]);
        assert_eq!(status, Some(2), "{error}");
        assert!(error.contains("--metrics-allow-remote"), "{error}");
    }
    let options = ["--metrics", "tcp://0.0.0.0:0", "--metrics-allow-remote"];
    let mut served = Served::start("echo", "tcp://127.0.0.1:0", &options);
    let line = served.shown();
    assert!(line.starts_with("metrics at http://0.0.0.0:"), "{line}");
}

#[test]
fn metrics_at_an_address_of_another_kind_or_that_is_taken_start_no_server() {
    for url in ["udp://127.0.0.1:0", "tls://127.0.0.1:0", "unixgram:///x"] {
        let (status, error) = refused(&["--metrics", url]);
        assert_eq!(status, Some(2), "{error}");
        assert!(
            error.contains("--metrics is for tcp:// and unix://"),
            "{error}"
        );
    }
    let (status, error) = refused(&["--metrics-allow-remote"]);
    assert_eq!(status, Some(2), "{error}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", taken.local_addr().unwrap());
    let (status, error) = refused(&["--metrics", &url]);
    assert_eq!(status, Some(1), "{error}");
    assert!(error.contains(url.trim_start_matches("tcp://")), "{error}");
}
