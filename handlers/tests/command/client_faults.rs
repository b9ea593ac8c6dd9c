//! Servers that fail their clients, and clients that make no sense.

use std::io::{Read, Write};
use std::net::UdpSocket;

use crate::client::{Client, answering, fake_server, refusing_tcp, refusing_udp};
use crate::served::Served;

#[test]
fn a_server_that_is_not_there_is_named_with_what_to_do() {
    let (_tcp, tcp) = refusing_tcp();
    let (_udp, udp) = refusing_udp();
    let directory = support::short_paths::directory();
    let file = |scheme| format!("{scheme}://{}", directory.path().join("none").display());
    let (unix, unixgram) = (file("unix"), file("unixgram"));
    for (program, urls) in [
        ("upper", &[&tcp, &unix][..]),
        ("upper-loop", &[&tcp, &unix]),
        ("greeting", &[&tcp, &unix]),
        ("hello", &[&tcp, &unix, &udp, &unixgram]),
        ("echo", &[&tcp, &unix, &udp, &unixgram]),
        ("time", &[&tcp, &unix, &udp, &unixgram]),
        ("chat", &[&tcp, &unix, &udp, &unixgram]),
        ("shell", &[&tcp, &unix, &udp, &unixgram]),
    ] {
        for url in urls {
            let ended = Client::run(&[program, url], "hello\n");
            assert_eq!(ended.screen, "");
            let message = format!("socketserver: {url}: there is no server: ");
            ended.failed(
                1,
                &[&message, "check the address, and that the server runs"],
            );
        }
    }
    let friend = format!("Jack={udp}");
    let ended = Client::run(&["chat", "--friend", &friend], "Jack\nhi\n");
    ended.failed(1, &[&format!("{udp}: there is no server")]);
}

#[test]
fn a_server_that_leaves_before_its_answer_is_whole_is_named() {
    for (arguments, answer, shown) in [
        (&["upper"][..], b"".as_slice(), ""),
        (&["hello"], b"", ""),
        (&["upper-loop"], b"HEL", ""),
        (&["time"], b"2026", ""),
        (&["chat"], b"", ""),
        (&["shell", "--framing", "raw"], b"", ""),
        (&["shell", "--framing", "ready"], b"5", ""),
        (&["shell", "--framing", "header"], b"\x05\0\0\0he", "he"),
        (&["shell"], b"\x0f\0\0\0{\"data_size\":5}he", "he"),
        (&["shell"], b"\x0f\0\0\0{\"data", ""),
    ] {
        let url = answering(answer);
        let arguments = [arguments, &[&url]].concat();
        let ended = Client::run(&arguments, "hello\n");
        assert_eq!(ended.screen, shown, "{arguments:?}");
        ended.failed(
            1,
            &[&url, "the server closed the connection before its answer"],
        );
    }
}

#[test]
fn an_answer_that_makes_no_sense_is_refused_with_the_reason() {
    for (framing, answer, reason) in [
        ("ready", b"hello".as_slice(), "it begins with \"hello\""),
        (
            "header",
            b"\xff\xff\xff\xff",
            "the announced length is negative: -1",
        ),
        ("json", b"HTTP/1.1 400 Bad Request", "is above the limit"),
        ("json", b"\x05\0\0\0hello", "the header is not JSON"),
        (
            "json",
            b"\x02\0\0\0[]",
            "the header is JSON, but not an object",
        ),
        (
            "json",
            b"\x02\0\0\0{}",
            "the header is not of the expected form",
        ),
    ] {
        let url = answering(answer);
        let ended = Client::run(&["shell", &url, "--framing", framing], "ls\n");
        assert_eq!(ended.screen, "");
        ended.failed(1, &[&url, "the answer breaks the protocol", reason]);
    }
}

#[test]
fn a_server_that_does_not_answer_is_given_up_in_time() {
    let silent = || {
        fake_server(|mut stream| {
            // Returns when the client has left.
            let _ = stream.read_to_end(&mut Vec::new());
        })
    };
    for program in ["upper", "upper-loop", "hello", "time", "chat", "shell"] {
        let url = silent();
        let ended = Client::run(&[program, &url, "--timeout", "0.5"], "hello\n");
        ended.failed(1, &[&url, "no answer came in time", "--timeout"]);
    }
    let lost = UdpSocket::bind("127.0.0.1:0").unwrap();
    let url = format!("udp://{}", lost.local_addr().unwrap());
    for program in ["hello", "time", "chat", "shell"] {
        let ended = Client::run(&[program, &url, "--timeout", "0.5"], "hello\n");
        ended.failed(1, &[&url, "no answer came in time", "--timeout"]);
    }
}

#[test]
fn a_line_that_is_longer_than_a_message_is_not_sent() {
    let served = Served::start("upper-loop", "tcp://127.0.0.1:0", &[]);
    let input = format!("{}\n{}\n", "a".repeat(1024), "b".repeat(1025));
    let ended = Client::run(&["upper-loop", served.url()], &input);
    assert_eq!(ended.screen, format!("{}\n", "A".repeat(1024)));
    ended.failed(1, &["more than the 1024 bytes of a message"]);
    served.stop();
}

#[test]
fn a_command_line_without_sense_has_status_2() {
    for (arguments, reason) in [
        (
            &["upper", "udp://127.0.0.1:1"][..],
            "upper does not run over udp; choose one of: tcp unix",
        ),
        (
            &["operated", "tcp://127.0.0.1:1"],
            "operator does not run over tcp",
        ),
        (&["upper", "127.0.0.1:1"], "the URL has no scheme"),
        (&["uper"], "uper"),
        (&[], "Usage"),
        (&["upper", "--framing", "raw"], "--framing"),
        (
            &["shell", "udp://127.0.0.1:1", "--framing", "raw"],
            "--framing is for streams",
        ),
        (&["chat", "--friend", "Jack"], "write NAME=URL"),
        (
            &[
                "chat",
                "tcp://127.0.0.1:1",
                "--friend",
                "Jack=udp://127.0.0.1:1",
            ],
            "cannot be used with",
        ),
        (
            &[
                "chat",
                "--friend",
                "a=udp://127.0.0.1:1",
                "--friend",
                "a=udp://127.0.0.1:2",
            ],
            "there are two friends named \"a\"",
        ),
        (&["hello", "--timeout", "0"], "a time of 0 seconds"),
        (&["upper", "--auth-digest", "md5"], "--auth-key-file"),
        (
            &["hello", "udp://127.0.0.1:1", "--auth-key-file", "none"],
            "--auth-key-file is for connections",
        ),
        (
            &["chat", "udp://127.0.0.1:1", "--auth-key-file", "none"],
            "--auth-key-file is for connections",
        ),
    ] {
        let ended = Client::run(arguments, "hello\n");
        assert_eq!(ended.screen, "", "{arguments:?}");
        ended.failed(2, &[reason]);
    }
    let url = "tcp://127.0.0.1:1";
    let ended = Client::run(&["upper", url, "--auth-key-file", "/no/such/key"], "");
    ended.failed(1, &["cannot read the key file /no/such/key"]);
}

#[test]
fn a_unix_server_that_takes_nothing_is_given_up_in_time() {
    let directory = support::short_paths::directory();
    let path = directory.path().join("stream");
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    let address = socket2::SockAddr::unix(&path).unwrap();
    socket.bind(&address).unwrap();
    socket.listen(0).unwrap();
    // Fills the queue of clients.
    let mut waiting = Vec::new();
    loop {
        let client = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None);
        let client = client.unwrap();
        client.set_nonblocking(true).unwrap();
        if client.connect(&address).is_err() {
            break;
        }
        waiting.push(client);
    }
    let url = format!("unix://{}", path.display());
    let ended = Client::run(&["upper", &url, "--timeout", "0.5"], "hello\n");
    ended.failed(1, &[&url, "there is no server", "does not accept"]);

    let path = directory.path().join("datagram");
    let _server = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    let sender = std::os::unix::net::UnixDatagram::unbound().unwrap();
    sender.set_nonblocking(true).unwrap();
    while sender.send_to(b"x", &path).is_ok() {}
    let url = format!("unixgram://{}", path.display());
    let ended = Client::run(&["time", &url, "--timeout", "0.5"], "%Y\n");
    ended.failed(1, &[&url, "no answer came in time"]);
}

#[test]
fn a_server_that_sends_a_byte_now_and_then_does_not_hold_a_client() {
    let dripping = || {
        fake_server(|mut stream| {
            let _ = stream.read(&mut [0; 100]);
            // No answer of any program has a line end after one of these bytes.
            while stream.write_all(b"1").is_ok() {
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
        })
    };
    for program in ["upper", "hello", "time", "greeting"] {
        let url = dripping();
        let ended = Client::run(&[program, &url, "--timeout", "1"], "hello\n");
        ended.failed(1, &[&url, "no answer came in time"]);
    }
}
