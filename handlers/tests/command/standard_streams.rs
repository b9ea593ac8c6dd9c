//! Standard streams as they come: full, non-blocking, without a reader.

use std::io::{self, BufRead, BufReader, PipeReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::served::{SAFETY_NET, Served, exchange, socketserver};

/// A pipe that nobody reads, and that is full.
pub fn full_pipe() -> (PipeReader, io::PipeWriter) {
    let (reader, mut writer) = io::pipe().unwrap();
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    for size in [4096, 1] {
        while writer.write(&[b'.'; 4096][..size]).is_ok() {}
    }
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
    (reader, writer)
}

/// Starts a server whose standard output is a pipe, and returns the server and its address.
fn start(mut command: Command) -> (Child, String) {
    let mut server = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let stdout = server.stdout.as_mut().unwrap();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on tcp://");
    let address = address.expect(&line).to_owned();
    (server, address)
}

fn stop(mut server: Child) {
    kill(
        Pid::from_raw(server.id().try_into().unwrap()),
        Signal::SIGTERM,
    )
    .unwrap();
    assert_eq!(server.wait().unwrap().code(), Some(0));
}

#[test]
fn a_log_that_nobody_reads_holds_neither_the_requests_nor_the_stop() {
    for mixin in ["none", "threading", "forking", "pool"] {
        let (mut reader, writer) = full_pipe();
        let mut serve = socketserver(&["serve", "hello", "--mixin", mixin]);
        serve
            .args(["--listen", "tcp://127.0.0.1:0"])
            .env("RUST_LOG", "trace");
        serve.stderr(writer);
        let (server, address) = start(serve);
        for _ in 0..20 {
            let mut client = TcpStream::connect(&address).unwrap();
            client.set_read_timeout(Some(SAFETY_NET)).unwrap();
            assert_eq!(exchange(&mut client, b"hello", 2), b"hi", "{mixin}");
        }
        stop(server);
        let mut log = Vec::new();
        reader.read_to_end(&mut log).unwrap();
        assert!(log.ends_with(b"."), "{mixin}");
    }
}

/// Makes the open file of the pipe's end non-blocking, as another program may have done.
fn set_nonblocking(end: impl std::os::fd::AsFd) {
    fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
}

#[test]
fn what_is_typed_late_into_a_standard_input_that_does_not_block_is_sent() {
    let served = Served::start("upper-loop", "tcp://127.0.0.1:0", &[]);
    let (keyboard, mut typist) = io::pipe().unwrap();
    set_nonblocking(&keyboard);
    let mut client = socketserver(&["client", "upper-loop", served.url()]);
    client.stdin(keyboard).stdout(Stdio::piped());
    let mut client = client.spawn().unwrap();
    let mut screen = BufReader::new(client.stdout.take().unwrap());
    for (typed, shown) in [("one\n", "ONE\n"), ("two\n", "TWO\n")] {
        typist.write_all(typed.as_bytes()).unwrap();
        let mut line = String::new();
        screen.read_line(&mut line).unwrap();
        assert_eq!(line, shown);
    }
    drop(typist);
    assert_eq!(client.wait().unwrap().code(), Some(0));
    served.stop();
}

#[test]
fn an_answer_passes_whole_through_a_standard_output_that_does_not_block() {
    let served = Served::start("shell", "tcp://127.0.0.1:0", &[]);
    let (mut screen, writer) = io::pipe().unwrap();
    set_nonblocking(&writer);
    let mut client = socketserver(&["client", "shell", served.url()]);
    client.stdin(Stdio::piped()).stdout(writer);
    let mut running = client.spawn().unwrap();
    drop(client);
    let mut typist = running.stdin.take().unwrap();
    typist.write_all(b"head -c 1000000 /dev/zero\n").unwrap();
    drop(typist);
    let mut shown = Vec::new();
    screen.read_to_end(&mut shown).unwrap();
    assert_eq!(shown.len(), 1_000_000);
    assert_eq!(running.wait().unwrap().code(), Some(0));
    served.stop();
}

#[test]
fn the_operator_of_a_chat_may_have_a_keyboard_that_does_not_block() {
    let (keyboard, mut typist) = io::pipe().unwrap();
    set_nonblocking(&keyboard);
    let mut serve = socketserver(&["serve", "chat", "--listen", "tcp://127.0.0.1:0"]);
    serve.stdin(keyboard);
    let mut served = Served::run(serve);
    let mut caller = served.connect();
    caller.write_all(b"hi").unwrap();
    // The message is shown, so the server is about to read the keyboard.
    assert_eq!(served.shown(), "hi\n");
    typist.write_all(b"good day\n").unwrap();
    assert_eq!(exchange(&mut caller, b"", 8), b"good day");
    served.stop();
}

#[test]
fn a_reader_who_has_enough_ends_a_list_and_a_help_quietly_and_a_full_disk_fails_them() {
    for arguments in [
        &["list"][..],
        &["--help"],
        &["serve", "--help"],
        &["--version"],
    ] {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let output = socketserver(arguments).stdout(writer).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(output.stderr.is_empty(), "{arguments:?}");

        let full = std::fs::File::options().write(true).open("/dev/full");
        let output = socketserver(arguments)
            .stdout(full.unwrap())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(
            message.contains("cannot write to standard output"),
            "{message}"
        );
    }
}
