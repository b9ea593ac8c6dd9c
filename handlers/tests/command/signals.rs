//! SIGINT, SIGTERM and SIGHUP.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::served::{SAFETY_NET, Served, exchange, rest, socketserver};
use crate::standard_streams::full_pipe;

/// A client whose handler is in the middle of a line: the answer to the line before it came because
/// the handler waits for the rest.
fn busy_client(served: &Served) -> TcpStream {
    let mut client = served.connect();
    assert_eq!(exchange(&mut client, b"before\nun", 7), b"before\n");
    client
}

/// A client whose handler waits for a line.
fn idle_client(served: &Served) -> TcpStream {
    let mut client = served.connect();
    assert_eq!(exchange(&mut client, b"before\n", 7), b"before\n");
    client
}

fn a_signal_lets_running_requests_end(signal: Signal, mixin: &str) {
    let options = ["--mixin", mixin];
    let served = Served::start("time", "tcp://127.0.0.1:0", &options);
    let mut busy = busy_client(&served);
    let idle = idle_client(&served);
    served.signal(signal);
    // The idle client is closed at once, so from here on the server is stopping.
    assert_eq!(rest(idle), b"");
    if let Ok(mut late) = TcpStream::connect(served.address()) {
        // The connection is in the backlog, which is not served any more.
        late.set_read_timeout(Some(SAFETY_NET)).unwrap();
        let _ = late.write_all(b"late\n");
        let answer = late.read(&mut [0; 100]);
        assert!(matches!(answer, Ok(0) | Err(_)), "{answer:?}");
    }
    busy.write_all(b"finished\n").unwrap();
    assert_eq!(rest(busy), b"unfinished\n");
    let (status, stdout, log) = served.exit();
    assert_eq!(status, Some(0), "{log}");
    assert_eq!(stdout, "");
    let last = log.lines().last().unwrap();
    assert!(last.contains("stopped"), "{log}");
}

#[test]
fn sigint_lets_running_requests_in_threads_end() {
    a_signal_lets_running_requests_end(Signal::SIGINT, "threading");
}

#[test]
fn sigterm_lets_running_requests_in_threads_end() {
    a_signal_lets_running_requests_end(Signal::SIGTERM, "threading");
}

#[test]
fn sigint_lets_running_requests_in_children_end() {
    a_signal_lets_running_requests_end(Signal::SIGINT, "forking");
}

#[test]
fn sigterm_lets_running_requests_in_children_end() {
    a_signal_lets_running_requests_end(Signal::SIGTERM, "forking");
}

#[test]
fn sigint_lets_running_requests_in_a_pool_end() {
    a_signal_lets_running_requests_end(Signal::SIGINT, "pool");
}

#[test]
fn sigterm_lets_running_requests_in_a_pool_end() {
    a_signal_lets_running_requests_end(Signal::SIGTERM, "pool");
}

#[test]
fn a_signal_lets_the_running_request_of_a_server_without_mix_in_end() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let served = Served::start("time", "tcp://127.0.0.1:0", &["--mixin", "none"]);
        let mut busy = busy_client(&served);
        served.signal(signal);
        busy.write_all(b"finished\n").unwrap();
        assert_eq!(rest(busy), b"unfinished\n");
        let (status, _, log) = served.exit();
        assert_eq!(status, Some(0), "{log}");
    }
}

#[test]
fn an_interrupt_from_the_terminal_lets_the_requests_of_children_end() {
    let served = Served::start("time", "tcp://127.0.0.1:0", &["--mixin", "forking"]);
    let mut busy = busy_client(&served);
    let idle = idle_client(&served);
    // A terminal sends the signal to the whole process group.
    let group = nix::unistd::Pid::from_raw(served.process_id().try_into().unwrap());
    nix::sys::signal::killpg(group, Signal::SIGINT).unwrap();
    assert_eq!(rest(idle), b"");
    busy.write_all(b"finished\n").unwrap();
    assert_eq!(rest(busy), b"unfinished\n");
    let (status, _, log) = served.exit();
    assert_eq!(status, Some(0), "{log}");
}

#[test]
fn a_second_signal_does_not_wait_for_running_requests() {
    for mixin in ["threading", "forking", "pool"] {
        for (second, expected) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
            let options = ["--mixin", mixin];
            let served = Served::start("time", "tcp://127.0.0.1:0", &options);
            let _busy = busy_client(&served);
            let idle = idle_client(&served);
            served.signal(Signal::SIGTERM);
            assert_eq!(rest(idle), b"");
            served.signal(second);
            let (status, _, log) = served.exit();
            assert_eq!(status, Some(expected), "{mixin}: {log}");
        }
    }
}

#[test]
fn a_second_signal_does_not_wait_for_the_request_of_a_server_without_mix_in() {
    let served = Served::start("time", "tcp://127.0.0.1:0", &["--mixin", "none"]);
    let _busy = busy_client(&served);
    // Two different signals: two pending signals of one kind count as one. Either may arrive first.
    served.signal(Signal::SIGTERM);
    served.signal(Signal::SIGINT);
    let (status, _, log) = served.exit();
    assert!(matches!(status, Some(130 | 143)), "{status:?}: {log}");
}

#[test]
fn the_end_of_the_terminal_lets_running_requests_end() {
    for mixin in ["none", "threading", "forking", "pool"] {
        let served = Served::start("time", "tcp://127.0.0.1:0", &["--mixin", mixin]);
        let mut busy = busy_client(&served);
        // A terminal that hangs up sends the signal to the whole process group.
        let group = Pid::from_raw(served.process_id().try_into().unwrap());
        nix::sys::signal::killpg(group, Signal::SIGHUP).unwrap();
        busy.write_all(b"finished\n").unwrap();
        assert_eq!(rest(busy), b"unfinished\n", "{mixin}");
        let (status, _, log) = served.exit();
        assert_eq!(status, Some(0), "{mixin}: {log}");
    }
}

#[test]
fn a_sighup_that_is_ignored_stays_ignored() {
    let mut nohup = Command::new("/bin/sh");
    let script = "trap '' HUP; exec \"$@\"";
    nohup.args(["-c", script, "sh", env!("CARGO_BIN_EXE_socketserver")]);
    nohup.args(["serve", "time", "--listen", "tcp://127.0.0.1:0"]);
    let served = Served::run(nohup);
    served.signal(Signal::SIGHUP);
    assert_eq!(exchange(&mut served.connect(), b"still\n", 6), b"still\n");
    served.stop();
}

/// Runs a program that waits before it has begun, sends it the signal, and returns how it ended.
fn ended_at_the_start(mut program: Command, signal: Signal, is_there: impl FnOnce()) -> i32 {
    let mut program = program.stderr(Stdio::null()).spawn().unwrap();
    is_there();
    kill(Pid::from_raw(program.id().try_into().unwrap()), signal).unwrap();
    let status = program.wait().unwrap();
    status
        .code()
        .or(status.signal().map(|it| 128 + it))
        .unwrap()
}

#[test]
fn the_first_signal_ends_a_server_whose_start_waits() {
    let directory = support::short_paths::directory();
    let fifo = directory.path().join("key");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for (signal, expected) in [
        (Signal::SIGINT, 130),
        (Signal::SIGTERM, 143),
        (Signal::SIGHUP, 129),
    ] {
        let mut serve = socketserver(&["serve", "upper", "--listen", "tcp://127.0.0.1:0"]);
        serve.arg("--auth-key-file").arg(&fifo);
        let mut key = None;
        // The open returns when the server has opened the file, and waits for the key.
        let status = ended_at_the_start(serve, signal, || {
            key = Some(File::options().write(true).open(&fifo).unwrap());
        });
        assert_eq!(status, expected);
    }
}

#[test]
fn the_first_signal_ends_a_server_whose_standard_output_nobody_reads() {
    let directory = support::short_paths::directory();
    let path = directory.path().join("socket");
    let (reader, writer) = full_pipe();
    let url = format!("unix://{}", path.display());
    let mut serve = socketserver(&["serve", "upper", "--listen", &url]);
    serve.stdout(writer);
    let status = ended_at_the_start(serve, Signal::SIGTERM, || {
        while std::os::unix::net::UnixStream::connect(&path).is_err() {
            std::thread::yield_now();
        }
    });
    assert_eq!(status, 143);
    drop(reader);
}

#[test]
fn an_idle_server_ends_at_either_signal() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        for url in ["tcp://127.0.0.1:0", "udp://127.0.0.1:0"] {
            let served = Served::start("time", url, &[]);
            served.signal(signal);
            let (status, _, log) = served.exit();
            assert_eq!(status, Some(0), "{log}");
        }
    }
}
