//! Servers whose clients take every descriptor that the process may open.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use support::waiting::eventually;

use crate::served::{Served, socketserver};

const LOOPBACK: &str = "tcp://127.0.0.1:0";

/// More clients than a process with so many descriptors can have.
const CLIENTS: usize = 80;
const DESCRIPTORS: u32 = 64;

/// The command with at most `limit` descriptors.
fn with_descriptors(limit: u32, arguments: &[&str]) -> Command {
    let inner = socketserver(arguments);
    let mut command = Command::new("sh");
    let script = format!("ulimit -n {limit}; exec \"$@\"");
    command.args(["-c", &script, "sh"]).arg(inner.get_program());
    command.args(inner.get_args()).env_remove("RUST_LOG");
    command.stdin(Stdio::null());
    command
}

/// Sends `message` and the end of the stream. Returns the answer, which is incomplete if the server
/// has no place yet.
fn answer(mut client: TcpStream, message: &[u8]) -> Vec<u8> {
    let mut answer = Vec::new();
    let _ = client.write_all(message);
    let _ = client.shutdown(Shutdown::Write);
    let _ = client.read_to_end(&mut answer);
    answer
}

/// All clients leave. Then the server serves a further client, and stops in order.
fn assert_serves_afterwards(
    mut served: Served,
    clients: Vec<TcpStream>,
    (message, expected): (&[u8], &[u8]),
) {
    served.wait_for_log("Too many open files");
    drop(clients);
    eventually("the server serves again", || {
        answer(served.connect(), message).ends_with(expected)
    });
    served.signal(Signal::SIGTERM);
    let (status, _, log) = served.exit();
    assert!(!log.contains("panicked"), "{log}");
    assert_eq!(status, Some(0), "{log}");
}

#[test]
fn a_server_of_programs_survives_clients_that_take_every_descriptor() {
    for mixin in ["threading", "reactor"] {
        let options = ["--max-connections", "100", "--mixin", mixin, "--", "cat"];
        let arguments = [&["exec", "--listen", LOOPBACK], &options[..]].concat();
        let served = Served::run(with_descriptors(DESCRIPTORS, &arguments));
        let clients = Vec::from_iter((0..CLIENTS).map(|_| served.connect()));
        assert_serves_afterwards(served, clients, (b"again", b"again"));
    }
}

#[test]
fn by_default_no_more_programs_run_than_there_are_descriptors_for() {
    for (options, limit) in [
        (["--mixin", "threading"].as_slice(), 57),
        (&["--mixin", "reactor"], 57),
        (&["--mixin", "threading", "--count"], 28),
        (&["--mixin", "reactor", "--idle-timeout", "60"], 28),
    ] {
        let server = ["exec", "--listen", LOOPBACK];
        let arguments = [&server[..], options, &["--", "cat"]].concat();
        let mut served = Served::run(with_descriptors(256, &arguments));
        let clients = (0..limit + 10).map(|_| served.connect());
        let mut clients = Vec::from_iter(clients);
        for client in &mut clients {
            client.write_all(b"hello").unwrap();
        }
        let mut waiting = clients.split_off(limit);
        let read_hello = |client: &mut TcpStream| {
            let mut answer = [0; 5];
            client.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"hello", "{options:?}");
        };
        clients.iter_mut().for_each(read_hello);
        served.wait_for_log("which is the limit; new clients wait");
        clients.truncate(limit - waiting.len());
        waiting.iter_mut().for_each(read_hello);
        drop((clients, waiting));
        served.signal(Signal::SIGTERM);
        let (status, _, log) = served.exit();
        assert!(!log.contains("Too many open files"), "{log}");
        assert_eq!(status, Some(0), "{log}");
    }
}

#[cfg(feature = "http")]
#[test]
fn a_server_of_files_survives_clients_that_take_every_descriptor() {
    let site = tempfile::tempdir().unwrap();
    let file = std::fs::File::create(site.path().join("large")).unwrap();
    file.set_len(20_000_000).unwrap();
    std::fs::write(site.path().join("small"), "small").unwrap();
    let root = site.path().to_str().unwrap();
    let access = site.path().join("access.log");
    for options in [&[][..], &["--access-log", access.to_str().unwrap()]] {
        let server = ["serve", "http", "--listen", LOOPBACK, "--root", root];
        let limit = ["--max-connections", "100"];
        let arguments = [&server[..], &limit, options].concat();
        let served = Served::run(with_descriptors(DESCRIPTORS, &arguments));
        let mut clients = Vec::from_iter((0..CLIENTS).map(|_| served.connect()));
        for client in &mut clients {
            // A client that has no place yet is served later.
            let _ = client.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
        }
        let request = b"GET /small HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        assert_serves_afterwards(served, clients, (request, b"small"));
    }
}
