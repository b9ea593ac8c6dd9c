//! Clients that send lines, and show an answer to each.

use std::io::{Read, Write};
use std::net::{Shutdown, UdpSocket};
use std::sync::mpsc::channel;

use nix::sys::signal::Signal;

use crate::client::{Client, fake_server};
use crate::served::{SAFETY_NET, Served};

#[test]
fn upper_has_each_line_sent_back_in_upper_case() {
    let served = Served::start("upper", "tcp://127.0.0.1:0", &[]);
    let ended = Client::run(
        &["upper", served.url()],
        "hello\n nice day \n\nquit\nlost\n",
    );
    ended.showed("HELLO\nNICE DAY\n\n");
    served.stop();
}

#[test]
fn upper_sends_the_line_with_its_end_and_reads_until_the_server_closes() {
    let (messages, sent) = channel();
    let url = fake_server(move |mut stream| {
        let mut message = [0; 1024];
        let length = stream.read(&mut message).unwrap();
        stream.write_all(b"HEL").unwrap();
        stream.write_all(b"LO").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut message = message[..length].to_vec();
        stream.read_to_end(&mut message).unwrap();
        messages.send(message).unwrap();
    });
    Client::run(&["upper", &url], "hello\n").showed("HELLO\n");
    assert_eq!(sent.recv().unwrap(), b"hello\n");
}

#[test]
fn hello_is_answered_over_every_transport() {
    let directory = support::short_paths::directory();
    let file = |scheme| format!("{scheme}://{}", directory.path().join(scheme).display());
    for url in [
        "tcp://127.0.0.1:0",
        "tcp://[::1]:0",
        &file("unix"),
        "udp://127.0.0.1:0",
        "udp://[::1]:0",
        &file("unixgram"),
    ] {
        if url.contains("[::1]") && !crate::served::has_ipv6() {
            continue;
        }
        let served = Served::start("hello", url, &[]);
        Client::run(&["hello", served.url()], "hello!\nyou").showed("hi\nhi\n");
        served.stop();
    }
}

#[test]
fn an_empty_line_is_a_message_over_datagrams_and_none_over_a_stream() {
    for (url, shown) in [("udp://127.0.0.1:0", "hi\n"), ("tcp://127.0.0.1:0", "")] {
        let served = Served::start("hello", url, &[]);
        Client::run(&["hello", served.url()], "\n").showed(shown);
        served.stop();
    }
}

#[test]
fn the_greeting_is_shown() {
    let served = Served::start("greeting", "tcp://127.0.0.1:0", &[]);
    let expected = "你好,欢迎光临! Hello and welcome!\n";
    Client::run(&["greeting", served.url()], "hi\n").showed(expected);
    served.stop();
}

#[test]
fn the_time_is_shown_in_each_format_over_every_transport() {
    let directory = support::short_paths::directory();
    let file = |scheme| format!("{scheme}://{}", directory.path().join(scheme).display());
    for url in [
        "udp://127.0.0.1:0",
        &file("unixgram"),
        "tcp://127.0.0.1:0",
        &file("unix"),
    ] {
        let served = Served::start("time", url, &[]);
        let mut client = Client::start(&["time", served.url()]);
        client.type_in(" %%a \n");
        assert_eq!(client.line(), "%a\n");
        client.type_in("\n");
        let shape = client.line().replace(|c: char| c.is_ascii_digit(), "9");
        assert_eq!(shape, "9999-99-99 99:99:99\n");
        client.end().showed("");
        served.stop();
    }
}

#[test]
fn over_udp_each_line_is_a_datagram() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(SAFETY_NET)).unwrap();
    let url = format!("udp://{}", server.local_addr().unwrap());
    for (program, line, datagram, answer) in [
        ("hello", "hello\n", "hello", "hi"),
        ("hello", " a \n", " a ", ""),
        ("time", " %Y 年 \n", "%Y 年", "2026 年"),
        ("time", "\n", "", "2026-11-23 04:05:06"),
    ] {
        let mut client = Client::start(&[program, &url]);
        client.type_in(line);
        let mut packet = [0; 1024];
        let (length, address) = server.recv_from(&mut packet).unwrap();
        assert_eq!(&packet[..length], datagram.as_bytes());
        server.send_to(answer.as_bytes(), address).unwrap();
        client.end().showed(&format!("{answer}\n"));
    }
}

/// As in the tutorial, no byte is added to the line.
#[test]
fn hello_sends_the_line_without_its_end() {
    let (messages, sent) = channel();
    let url = fake_server(move |mut stream| {
        let mut message = vec![0; 1024];
        let length = stream.read(&mut message).unwrap();
        message.truncate(length);
        stream.write_all(b"hi").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        stream.read_to_end(&mut message).unwrap();
        messages.send(message).unwrap();
    });
    Client::run(&["hello", &url], "hello!\n").showed("hi\n");
    assert_eq!(sent.recv().unwrap(), b"hello!");
}

#[test]
fn echo_and_upper_loop_send_each_line_in_one_connection() {
    let served = Served::start("upper-loop", "tcp://127.0.0.1:0", &[]);
    let ended = Client::run(
        &["upper-loop", served.url()],
        " hello \n\nday\nquit\nlost\n",
    );
    ended.showed("HELLO\nDAY\n");
    served.stop();
    for url in ["tcp://127.0.0.1:0", "udp://127.0.0.1:0"] {
        let served = Served::start("echo", url, &[]);
        Client::run(&["echo", served.url()], "hello\nday\n").showed("hello\nday\n");
        served.stop();
    }
}

/// The challenge and the check of the tutorial's server, with the answer of Python's
/// `hmac.new(b'Jedan has a big key!', bytes(range(32)), 'md5').digest()`.
#[test]
fn the_challenge_is_answered_before_the_first_line() {
    let (messages, sent) = channel();
    let url = fake_server(move |mut stream| {
        let challenge = Vec::from_iter(0..32);
        stream.write_all(&challenge).unwrap();
        let mut message = [0; 16 + 5];
        stream.read_exact(&mut message).unwrap();
        stream.write_all(b"HELLO").unwrap();
        messages.send(message).unwrap();
    });
    let directory = support::short_paths::directory();
    let key = directory.path().join("key");
    write_key(&key, "Jedan has a big key!\n");
    let options = [
        "--auth-key-file",
        key.to_str().unwrap(),
        "--auth-digest",
        "md5",
    ];
    Client::run(&[&["upper-loop", &url], &options[..]].concat(), "hello\n").showed("HELLO\n");
    let expected = b"\x7e\xc2\xe5\x2c\x5c\xf8\x39\xff\x57\x06\x20\xbc\x2b\xf0\xb4\x65hello";
    assert_eq!(sent.recv().unwrap(), *expected);
}

#[test]
fn a_link_may_be_before_any_conversation_over_a_stream() {
    let directory = support::short_paths::directory();
    let key = directory.path().join("key");
    write_key(&key, "a key of many bytes");
    let wrong = directory.path().join("wrong");
    write_key(&wrong, "another key of many bytes");
    for (handler, input, shown) in [
        ("upper", "a\nb\n", "A\nB\n"),
        ("upper-loop", "a\nb\n", "A\nB\n"),
        ("hello", "a\n", "hi\n"),
        ("shell", "echo a\n", "a\n"),
        ("time", "%%a\n", "%a\n"),
    ] {
        let options = ["--auth-key-file", key.to_str().unwrap()];
        let served = Served::start(handler, "tcp://127.0.0.1:0", &options);
        let arguments = [&[handler, served.url()], &options[..]].concat();
        Client::run(&arguments, input).showed(shown);
        let options = ["--auth-key-file", wrong.to_str().unwrap()];
        let arguments = [&[handler, served.url()], &options[..]].concat();
        let message = [served.url(), "if the key or the digest is wrong"];
        Client::run(&arguments, input).failed(1, &message);
        served.signal(Signal::SIGTERM);
        assert_eq!(served.exit().0, Some(0));
    }
}

fn write_key(path: &std::path::Path, key: &str) {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::File::options();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .unwrap();
    file.write_all(key.as_bytes()).unwrap();
}
