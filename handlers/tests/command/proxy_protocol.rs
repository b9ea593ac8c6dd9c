//! A server behind a proxy: `--proxy-protocol` and `--trust`.

use std::io::Write;
use std::os::unix::net::UnixStream;

use crate::served::{Served, exchange, rest, socketserver};

const LOOPBACK: &str = "tcp://127.0.0.1:0";
const HEADER: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 1000 443\r\n";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// Runs the command, which must fail, and returns its message.
fn refused(arguments: &[&str]) -> String {
    let output = socketserver(arguments).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
    message
}

#[test]
fn with_each_mix_in_a_client_is_served_behind_the_header_of_its_proxy() {
    for mixin in ["none", "threading", "forking", "pool", "reactor"] {
        let options = [
            "--proxy-protocol",
            "--trust",
            "10.0.0.0/8",
            "--trust",
            "127.0.0.1",
        ];
        let served = Served::start(
            "upper-loop",
            LOOPBACK,
            &[&options[..], &["--mixin", mixin]].concat(),
        );
        let mut client = served.connect();
        client.write_all(HEADER).unwrap();
        assert_eq!(exchange(&mut client, b"hello", 5), b"HELLO", "{mixin}");
        // With no mix-in the next client is served after this one.
        drop(client);
        let mut check = served.connect();
        check.write_all(LOCAL).unwrap();
        check.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(rest(check), b"");
        served.stop();
    }
}

#[test]
fn over_a_unix_socket_the_proxy_is_trusted_as_unix() {
    let directory = support::short_paths::directory();
    let path = directory.path().join("socket");
    let url = format!("unix://{}", path.display());
    let options = ["--proxy-protocol", "--trust", "unix"];
    let served = Served::start("upper-loop", &url, &options);
    let mut client = UnixStream::connect(&path).unwrap();
    client.write_all(HEADER).unwrap();
    assert_eq!(exchange(&mut client, b"hello", 5), b"HELLO");
    drop(client);
    served.stop();
}

#[test]
fn the_log_names_the_real_client_and_a_health_check_is_no_line() {
    let options = [
        "--proxy-protocol",
        "--trust",
        "127.0.0.0/8",
        "--idle-timeout",
        "0.2",
    ];
    let mut served = Served::start("time", LOOPBACK, &options);
    let mut check = served.connect();
    check.write_all(LOCAL).unwrap();
    drop(check);
    let mut client = served.connect();
    client.write_all(HEADER).unwrap();
    client.write_all(b"half a line").unwrap();
    // The first line of the log.
    let line = served.wait_for_log(" ");
    assert!(line.contains("192.0.2.7:1000"), "{line}");
    assert!(line.contains("read deadline"), "{line}");
    let _ = rest_of(client);
    served.stop();
}

/// Reads until the connection ends in any way.
fn rest_of(mut client: impl std::io::Read) -> std::io::Result<usize> {
    client.read_to_end(&mut Vec::new())
}

#[test]
fn a_client_that_comes_without_a_proxy_or_without_a_header_is_closed() {
    let options = ["--proxy-protocol", "--trust", "192.0.2.0/24"];
    let mut served = Served::start("upper-loop", LOOPBACK, &options);
    let mut client = served.connect();
    client.write_all(HEADER).unwrap();
    served.wait_for_log("refused: not verified");
    let _ = rest_of(client);
    served.stop();

    let options = ["--proxy-protocol", "--trust", "127.0.0.1"];
    let mut served = Served::start("upper-loop", LOOPBACK, &options);
    let mut client = served.connect();
    client.write_all(b"hello").unwrap();
    let line = served.wait_for_log("has sent no PROXY header");
    assert!(line.contains("send-proxy"), "{line}");
    let _ = rest_of(client);
    served.stop();
}

#[test]
fn options_that_contradict_one_another_are_refused_with_what_to_do() {
    let tcp = ["serve", "echo", "--listen", LOOPBACK];
    let udp = ["serve", "echo", "--listen", "udp://127.0.0.1:0"];
    let unix = ["serve", "echo", "--listen", "unix:///nowhere/socket"];
    let shell = ["serve", "shell", "--listen", LOOPBACK];
    let both = ["--proxy-protocol", "--trust", "127.0.0.1"];
    for (begin, options, expected) in [
        (tcp, &["--proxy-protocol"][..], "give --trust"),
        (tcp, &["--trust", "127.0.0.1"], "give --proxy-protocol"),
        (
            tcp,
            &["--proxy-protocol", "--trust", "unix"],
            "give --trust",
        ),
        (unix, &both, "needs --trust unix"),
        (udp, &both, "is for connections"),
        (
            tcp,
            &["--proxy-protocol", "--trust", "haproxy"],
            "such as 10.0.0.0/8",
        ),
        (shell, &both, "give --allow-remote"),
    ] {
        let message = refused(&[&begin[..], options].concat());
        assert!(message.contains(expected), "{message}");
    }
}
