//! SIGINT and SIGTERM.

use std::io::{Read, Write};
use std::net::TcpStream;

use nix::sys::signal::Signal;

use crate::served::{SAFETY_NET, Served, exchange, rest};

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
fn an_idle_server_ends_at_either_signal() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        for url in ["tcp://127.0.0.1:0", "udp://127.0.0.1:0"] {
            let served = Served::start("time", url, &[]);
            served.signal(signal);
            let (status, _, log) = served.exit();
            assert_eq!(status, Some(0), "{log}");
        }
    }
}
