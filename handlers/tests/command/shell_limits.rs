//! Commands and clients of the shell that go too far.

use std::fs;
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use socket2::SockRef;

use crate::served::{Served, exchange, rest};

fn serve(options: &[&str]) -> Served {
    let options = [&["--framing", "header"], options].concat();
    Served::start("shell", "tcp://127.0.0.1:0", &options)
}

/// An answer in header framing.
fn framed(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap().to_le_bytes();
    [&length, text.as_bytes()].concat()
}

fn make_fifo(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
}

#[test]
fn a_command_that_takes_too_long_is_ended_and_the_next_one_is_run() {
    let served = serve(&["--command-timeout", "0.3"]);
    let mut client = served.connect();
    let note = framed("[ended: it ran for more than 300ms]\n");
    for command in [
        "sleep 3600",
        "sleep 3600 & sleep 3600 | cat",
        "trap '' TERM; sleep 3600",
    ] {
        let answer = exchange(&mut client, command.as_bytes(), note.len());
        assert_eq!(answer, note, "{command}");
    }
    served.stop();
}

#[test]
fn a_command_that_writes_too_much_is_ended_and_the_next_one_is_run() {
    let served = serve(&["--output-limit", "1KiB"]);
    let mut client = served.connect();
    let expected = framed(&("y\n".repeat(512) + "[ended: it wrote more than 1024 bytes]\n"));
    assert_eq!(exchange(&mut client, b"yes", expected.len()), expected);
    assert_eq!(exchange(&mut client, b"echo a", 6), framed("a\n"));
    served.stop();
}

#[test]
fn a_client_that_resets_ends_its_command_and_is_logged() {
    for mixin in ["none", "threading", "forking", "pool"] {
        let directory = support::short_paths::directory();
        let path = directory.path().join("process");
        make_fifo(&path);
        let mut served = serve(&["--mixin", mixin, "--command-timeout", "3600"]);
        let mut client = served.connect();
        let address = client.local_addr().unwrap();
        let command = format!("echo $$ > '{}'; exec sleep 3600", path.display());
        client.write_all(command.as_bytes()).unwrap();
        let process = fs::read_to_string(&path).unwrap().trim().parse();
        let socket = SockRef::from(&client);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
        drop(client);
        let line = served.wait_for_log("[ended: the client left]");
        assert!(line.contains(&address.to_string()), "{mixin}: {line}");
        let ended = kill(Pid::from_raw(process.unwrap()), None);
        assert_eq!(ended, Err(Errno::ESRCH), "{mixin}");
        let mut next = served.connect();
        assert_eq!(exchange(&mut next, b"echo a", 6), framed("a\n"));
        drop(next);
        served.stop();
    }
}

#[test]
fn a_client_that_has_ended_its_side_reads_its_answer_in_every_framing_over_tcp_and_unix() {
    let directory = support::short_paths::directory();
    let socket = directory.path().join("socket");
    let unix = format!("unix://{}", socket.display());
    for (framing, expected) in [
        ("raw", "hi\n"),
        ("ready", "3hi\n"),
        ("header", "\x03\0\0\0hi\n"),
        ("json", "\x0f\0\0\0{\"data_size\":3}hi\n"),
    ] {
        for command in ["echo hi\n", "sleep 0.2; echo hi\n"] {
            let options = ["--framing", framing];
            let served = Served::start("shell", "tcp://127.0.0.1:0", &options);
            let client = served.connect();
            (&client).write_all(command.as_bytes()).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            assert_eq!(rest(client), expected.as_bytes(), "{framing}: {command}");
            served.stop();

            let served = Served::start("shell", &unix, &options);
            let client = UnixStream::connect(&socket).unwrap();
            (&client).write_all(command.as_bytes()).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            assert_eq!(rest(client), expected.as_bytes(), "{framing}: {command}");
            served.stop();
        }
    }
}

#[test]
fn a_client_that_sends_nothing_after_the_length_is_closed_and_logged() {
    let options = ["--framing", "ready", "--command-timeout", "0.3"];
    let mut served = Served::start("shell", "tcp://127.0.0.1:0", &options);
    let mut client = served.connect();
    let address = client.local_addr().unwrap().to_string();
    client.write_all(b":").unwrap();
    assert_eq!(rest(&client), b"0");
    let line = served.wait_for_log("300ms");
    assert!(line.contains(&address), "{line}");
    served.stop();
}

#[test]
fn a_client_has_no_more_time_to_be_ready_than_the_idle_timeout() {
    let options = [
        "--framing",
        "ready",
        "--command-timeout",
        "3600",
        "--idle-timeout",
        "0.3",
    ];
    let mut served = Served::start("shell", "tcp://127.0.0.1:0", &options);
    let mut client = served.connect();
    client.write_all(b":").unwrap();
    assert_eq!(rest(&client), b"0");
    served.wait_for_log("300ms");
    served.stop();
}

#[test]
fn a_client_that_sends_anything_else_after_the_length_is_closed_and_logged() {
    let options = ["--framing", "ready"];
    let mut served = Served::start("shell", "tcp://127.0.0.1:0", &options);
    let mut client = served.connect();
    let address = client.local_addr().unwrap().to_string();
    assert_eq!(exchange(&mut client, b"echo hi", 1), b"3");
    client.write_all(b"quit").unwrap();
    assert_eq!(rest(&client), b"");
    let line = served.wait_for_log("sent \"quit\"");
    assert!(line.contains(&address), "{line}");
    served.stop();
}

#[test]
fn a_command_that_is_too_long_is_not_run_and_the_connection_is_closed() {
    let served = serve(&[]);
    let mut client = served.connect();
    let command = format!("{:1025}", "echo hi; exit #");
    client.write_all(command.as_bytes()).unwrap();
    let expected = framed("[not run: the command is longer than 1024 bytes]\n");
    assert_eq!(rest(&client), expected);
    served.stop();
}
