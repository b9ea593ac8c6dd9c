//! `socketserver client operated`: a command runner, whose server sends the commands.

use std::io::{self, Write};
use std::net::UdpSocket;

use nix::sys::signal::{Signal, kill};

use crate::client::{Client, refusing_udp};
use crate::served::{SAFETY_NET, Served, socketserver};

/// A server whose commands the test sends, and its URL.
fn operator() -> (UdpSocket, String) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(SAFETY_NET)).unwrap();
    let url = format!("udp://{}", socket.local_addr().unwrap());
    (socket, url)
}

fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut packet = vec![0; 65_536];
    let (length, client) = socket.recv_from(&mut packet).unwrap();
    socket.connect(client).unwrap();
    packet.truncate(length);
    packet
}

/// The tutorial's remote shell over UDP.
#[test]
fn the_client_sends_first_and_then_the_output_of_each_command_as_a_datagram() {
    let (socket, url) = operator();
    let client = Client::start(&["operated", &url]);
    assert_eq!(receive(&socket), b"hi");
    for (command, output) in [
        ("echo hi", "hi\n"),
        ("echo 你好; echo oops >&2", "oops\n你好\n"),
        ("true", ""),
        (" ", "[not run: the command is empty]\n"),
    ] {
        socket.send(command.as_bytes()).unwrap();
        assert_eq!(receive(&socket), output.as_bytes(), "{command}");
    }
    socket.send(b"head -c 70000 /dev/zero").unwrap();
    let cut = receive(&socket);
    assert!(cut.ends_with(b" bytes did not fit into the datagram]\n"));
    kill(client.pid(), Signal::SIGTERM).unwrap();
    let ended = client.end();
    assert_eq!((ended.status, &*ended.screen), (Some(0), ""));
    assert!(
        ended.stderr.contains("running \"echo hi\""),
        "{}",
        ended.stderr
    );
}

#[test]
fn what_is_typed_at_the_server_is_run_here() {
    let (keyboard, mut typist) = io::pipe().unwrap();
    let mut command = socketserver(&["serve", "operator", "--listen", "udp://127.0.0.1:0"]);
    command.stdin(keyboard);
    let served = Served::run(command);
    let client = Client::start(&["operated", served.url()]);
    typist.write_all(b"echo $((6 * 7))\nq\n").unwrap();
    let (status, screen, log) = served.exit();
    assert_eq!(status, Some(0), "{log}");
    let lines = Vec::from_iter(screen.lines().map(str::trim_start));
    assert_eq!((lines[1], lines[3]), ("hi", "42"), "{screen}");
    kill(client.pid(), Signal::SIGINT).unwrap();
    assert_eq!(client.end().status, Some(0));
}

#[test]
fn a_signal_ends_the_command_that_runs_too() {
    let directory = support::short_paths::directory();
    let fifo = directory.path().join("process");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status();
    assert!(made.unwrap().success());
    let (socket, url) = operator();
    let client = Client::start(&["operated", &url, "--command-timeout", "3600"]);
    receive(&socket);
    let command = format!("echo $$ > '{}'; exec sleep 3600", fifo.display());
    socket.send(command.as_bytes()).unwrap();
    let process = std::fs::read_to_string(&fifo).unwrap();
    kill(client.pid(), Signal::SIGTERM).unwrap();
    assert_eq!(client.end().status, Some(0));
    let process = nix::unistd::Pid::from_raw(process.trim().parse().unwrap());
    assert_eq!(kill(process, None), Err(nix::errno::Errno::ESRCH));
}

#[test]
fn a_command_that_goes_too_far_is_ended_and_the_answer_has_the_reason() {
    let (socket, url) = operator();
    let options = ["--command-timeout", "0.2", "--output-limit", "1KiB"];
    let client = Client::start(&[&["operated", &url], &options[..]].concat());
    receive(&socket);
    socket.send(b"sleep 3600").unwrap();
    assert_eq!(receive(&socket), b"[ended: it ran for more than 200ms]\n");
    socket.send(b"yes").unwrap();
    let note = b"[ended: it wrote more than 1024 bytes]\n";
    assert!(receive(&socket).ends_with(note));
    kill(client.pid(), Signal::SIGTERM).unwrap();
    assert_eq!(client.end().status, Some(0));
}

#[test]
fn another_machine_is_refused_unless_that_is_wanted() {
    let refused = Client::run(&["operated", "udp://192.0.2.1:8090"], "");
    refused.failed(
        2,
        &["192.0.2.1", "would run commands here", "--allow-remote"],
    );
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let (_socket, url) = refusing_udp();
    let ended = Client::run(&["operated", &url], "");
    ended.failed(1, &[&format!("{url}: there is no server")]);
}
