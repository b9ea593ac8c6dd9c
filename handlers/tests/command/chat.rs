//! `socketserver serve chat`: clients, and the one operator at standard input and output.

use std::io::{self, PipeWriter, Write};
use std::net::UdpSocket;

use nix::sys::signal::Signal;

use crate::served::{SAFETY_NET, Served, exchange, rest, socketserver};

/// The server, and its operator's keyboard.
fn serve(url: &str, mixin: &str) -> (Served, PipeWriter) {
    let (keyboard, operator) = io::pipe().unwrap();
    let mut command = socketserver(&["serve", "chat", "--listen", url, "--mixin", mixin]);
    command.stdin(keyboard);
    (Served::run(command), operator)
}

#[test]
fn a_second_client_waits_until_the_call_of_the_first_has_ended() {
    for mixin in ["none", "threading", "pool"] {
        let (mut served, mut operator) = serve("tcp://127.0.0.1:0", mixin);
        let mut first = served.connect();
        first.write_all(b"first").unwrap();
        assert_eq!(served.shown(), "first\n");
        let mut second = served.connect();
        second.write_all(b"second").unwrap();
        operator.write_all(b"1\n").unwrap();
        assert_eq!(exchange(&mut first, b"", 1), b"1");
        operator.write_all(b"2\n").unwrap();
        assert_eq!(exchange(&mut first, b"more", 1), b"2");
        assert_eq!(served.shown(), "more\n");
        first.write_all(b"bye").unwrap();
        assert_eq!(rest(first), b"");
        assert_eq!(served.shown(), "bye\n");
        assert_eq!(served.shown(), "second\n");
        operator.write_all(b"bye\n").unwrap();
        assert_eq!(rest(second), b"bye");
        served.stop();
    }
}

#[test]
fn a_client_that_breaks_off_is_logged_and_the_next_is_served() {
    for mixin in ["none", "threading"] {
        let (mut served, mut operator) = serve("tcp://127.0.0.1:0", mixin);
        let mut first = served.connect();
        operator.write_all(b"1\n").unwrap();
        assert_eq!(exchange(&mut first, b"first", 1), b"1");
        let address = first.local_addr().unwrap();
        drop(first);
        let line = served.wait_for_log("without bye");
        assert!(line.contains(&address.to_string()), "{line}");
        let mut second = served.connect();
        operator.write_all(b"bye\n").unwrap();
        assert_eq!(exchange(&mut second, b"second", 3), b"bye");
        assert_eq!(rest(second), b"");
        assert_eq!(served.shown() + &served.shown(), "first\nsecond\n");
        served.stop();
    }
}

#[test]
fn a_signal_does_not_wait_for_the_operator() {
    for mixin in ["none", "threading", "pool"] {
        let (mut served, _operator) = serve("tcp://127.0.0.1:0", mixin);
        let mut client = served.connect();
        client.write_all(b"hello").unwrap();
        // From here on the server waits for the operator.
        assert_eq!(served.shown(), "hello\n");
        served.signal(Signal::SIGTERM);
        assert_eq!(rest(client), b"bye");
        let (status, screen, log) = served.exit();
        assert_eq!((status, screen.as_str()), (Some(0), ""), "{log}");
    }
}

#[test]
fn a_signal_does_not_wait_for_the_operator_s_reply_to_a_datagram() {
    let (mut served, _operator) = serve("udp://127.0.0.1:0", "none");
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(SAFETY_NET)).unwrap();
    client.send_to(b"hello", served.address()).unwrap();
    let address = client.local_addr().unwrap();
    assert_eq!(served.shown(), format!("from {address}: hello\n"));
    served.signal(Signal::SIGTERM);
    let mut reply = [0; 10];
    let length = client.recv(&mut reply).unwrap();
    assert_eq!(&reply[..length], b"bye");
    let (status, _, log) = served.exit();
    assert_eq!(status, Some(0), "{log}");
}

#[test]
fn an_operator_without_input_ends_every_call_with_bye() {
    let (mut served, operator) = serve("tcp://127.0.0.1:0", "threading");
    drop(operator);
    for _ in 0..3 {
        let mut client = served.connect();
        client.write_all(b"hello").unwrap();
        assert_eq!(rest(client), b"bye");
        assert_eq!(served.shown(), "hello\n");
    }
    served.stop();
}

#[test]
fn processes_cannot_share_the_operator() {
    let output = socketserver(&["serve", "chat", "--mixin", "forking"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8(output.stderr).unwrap();
    let expected =
        "chat cannot be served with --mixin forking; choose one of: threading, none, pool";
    assert!(message.contains(expected), "{message}");
}
