//! `socketserver client shell`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Sender, channel};

use crate::client::{Client, fake_server};
use crate::served::Served;

const ANYWHERE: &str = "tcp://127.0.0.1:0";

#[test]
fn commands_are_run_at_the_server_in_every_framing() {
    for framing in ["raw", "ready", "header", "json"] {
        let options = ["--framing", framing];
        let served = Served::start("shell", ANYWHERE, &options);
        let mut client = Client::start(&["shell", served.url(), "--framing", framing]);
        client.type_in("echo hi\n");
        assert_eq!(client.line(), "hi\n");
        client.type_in("\n echo 你好 >&2 \n");
        assert_eq!(client.line(), "你好\n");
        client.type_in("quit\necho lost\n");
        client.end().showed("");
        served.stop();
    }
}

#[test]
fn an_answer_of_any_length_comes_whole_where_there_is_a_frame() {
    for framing in ["ready", "header", "json"] {
        let served = Served::start("shell", ANYWHERE, &["--framing", framing]);
        let input = "head -c 3000000 /dev/zero | tr '\\0' x\ntrue\necho hi\n";
        let arguments = ["shell", served.url(), "--framing", framing];
        let ended = Client::run(&arguments, input);
        assert_eq!((ended.status, &*ended.stderr), (Some(0), ""));
        assert_eq!(ended.screen.len(), 3_000_003);
        assert!(ended.screen.ends_with("xhi\n"));
        served.stop();
    }
}

#[test]
fn over_datagrams_each_answer_is_one() {
    let directory = support::short_paths::directory();
    let file = format!("unixgram://{}", directory.path().join("shell").display());
    for url in ["udp://127.0.0.1:0", &file] {
        let served = Served::start("shell", url, &[]);
        let input = "echo hi\ntrue\necho oops >&2\n";
        Client::run(&["shell", served.url()], input).showed("hi\noops\n");
        served.stop();
    }
}

/// One of the tutorial's servers: after each read it sends one of these pieces. It sends what it
/// has read to the receiver, up to the end.
fn play(answers: Vec<Vec<&'static [u8]>>, told: Sender<Vec<u8>>) -> String {
    fake_server(move |mut stream| {
        let read_once = |stream: &mut TcpStream| {
            let mut message = [0; 1024];
            let length = stream.read(&mut message).unwrap();
            told.send(message[..length].to_vec()).unwrap();
        };
        for pieces in &answers {
            read_once(&mut stream);
            for piece in pieces {
                stream.write_all(piece).unwrap();
            }
        }
        read_once(&mut stream);
    })
}

/// The bytes of the tutorial's servers, and those of their clients.
#[test]
fn the_tutorial_s_servers_are_understood() {
    for (framing, answers, expected) in [
        ("raw", vec![vec![b"hi\n".as_slice()]], &["echo hi", ""][..]),
        (
            "ready",
            vec![vec![b"3"], vec![b"hi\n"]],
            &["echo hi", "recv_ready", ""],
        ),
        (
            "header",
            vec![vec![b"\x03\0\0\0", b"hi\n"]],
            &["echo hi", ""],
        ),
        (
            "json",
            vec![vec![b"\x10\0\0\0", b"{\"data_size\": 3}", b"hi\n"]],
            &["echo hi", ""],
        ),
    ] {
        let (told, messages) = channel();
        let url = play(answers, told);
        let mut client = Client::start(&["shell", &url, "--framing", framing]);
        client.type_in("echo hi\n");
        assert_eq!(client.line(), "hi\n", "{framing}");
        client.end().showed("");
        for message in expected {
            assert_eq!(messages.recv().unwrap(), message.as_bytes(), "{framing}");
        }
    }
}

#[test]
fn in_raw_framing_a_command_without_output_is_logged_when_its_time_is_over() {
    let served = Served::start("shell", ANYWHERE, &["--framing", "raw"]);
    let arguments = ["shell", served.url(), "--framing", "raw", "--timeout", "1"];
    let mut client = Client::start(&arguments);
    client.type_in("true\n");
    client.wait_for_log("without output has no answer");
    // On a busy machine another command may also exceed its time.
    client.type_in(&"echo hi\n".repeat(50));
    assert_eq!(client.line(), "hi\n");
    assert_eq!(client.end().status, Some(0));
    served.stop();
}

#[test]
fn a_reader_that_has_enough_ends_it_quietly() {
    let served = Served::start("shell", ANYWHERE, &[]);
    let mut client = Client::start(&["shell", served.url()]);
    client.type_in("yes | head -c 3000000\n");
    assert_eq!(client.line(), "y\n");
    assert_eq!(client.close_screen(), (Some(0), String::new()));
    served.stop();
}
