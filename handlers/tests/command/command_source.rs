//! `socketserver serve operator`: a command source, whose clients run what its operator types.

use std::io::{self, PipeWriter, Write};
use std::net::UdpSocket;

use nix::sys::signal::Signal;

use crate::served::{SAFETY_NET, Served, socketserver};

/// The server, and its keyboard.
fn serve() -> (Served, PipeWriter) {
    let (keyboard, typist) = io::pipe().unwrap();
    let mut command = socketserver(&["serve", "operator", "--listen", "udp://127.0.0.1:0"]);
    command.stdin(keyboard);
    (Served::run(command), typist)
}

fn connect(served: &Served) -> UdpSocket {
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(SAFETY_NET)).unwrap();
    client.connect(served.address()).unwrap();
    client
}

fn receive(client: &UdpSocket) -> Vec<u8> {
    let mut packet = [0; 1024];
    let length = client.recv(&mut packet).unwrap();
    packet[..length].to_vec()
}

/// The tutorial's client sends first, runs what comes, and sends the output back.
#[test]
fn what_is_typed_is_sent_to_the_client_and_what_comes_back_is_shown_until_q() {
    let (served, mut typist) = serve();
    let client = connect(&served);
    client.send(b"hi").unwrap();
    typist.write_all(b"ls -l\n").unwrap();
    assert_eq!(receive(&client), b"ls -l");
    client.send(b"total 0\n").unwrap();
    typist.write_all("\necho 你好\n".as_bytes()).unwrap();
    assert_eq!(receive(&client), "echo 你好".as_bytes());
    client.send("你好\n\x1b[2J".as_bytes()).unwrap();
    typist.write_all(b"q\n").unwrap();
    let address = client.local_addr().unwrap();
    let (status, screen, log) = served.exit();
    assert_eq!(status, Some(0), "{log}");
    let expected = format!(
        "2 bytes from {address}:\n  hi\n\
         8 bytes from {address}:\n  total 0\n\
         11 bytes from {address}:\n  你好\n  \\u{{1b}}[2J\n"
    );
    assert_eq!(screen, expected);
}

#[test]
fn the_end_of_the_input_stops_the_server() {
    let (served, typist) = serve();
    drop(typist);
    // The client stays: the user of one that has left cannot be known.
    let client = connect(&served);
    client.send(b"hi").unwrap();
    let (status, _, log) = served.exit();
    assert_eq!(status, Some(0), "{log}");
}

#[test]
fn a_signal_stops_a_server_that_waits_for_its_operator() {
    let (served, mut typist) = serve();
    let client = connect(&served);
    client.send(b"hi").unwrap();
    typist.write_all(b"ls\n").unwrap();
    assert_eq!(receive(&client), b"ls");
    client.send(b"what is next?").unwrap();
    served.signal(Signal::SIGTERM);
    let (status, _, log) = served.exit();
    assert_eq!(status, Some(0), "{log}");
}
