//! What ends a program before its time.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use socket2::Socket;
use support::waiting::eventually;

use super::{began, exec, script};
use crate::served::rest;

/// Waits until the process has ended, and whoever is its parent has reaped it.
fn wait_for_end(process: Pid) {
    eventually(&format!("{process} has ended"), || {
        kill(process, None) == Err(Errno::ESRCH)
    });
}

fn reset(client: TcpStream) {
    let client = Socket::from(client);
    client.set_linger(Some(Duration::ZERO)).unwrap();
}

/// A program with a process of its own, which both run for ever.
const FOR_EVER: &str = "sleep 1000 & echo began $! >&2; wait";

/// The same, and neither is ended by SIGTERM.
const STUBBORN: &str = "trap '' TERM; sleep 1000 & echo began $! >&2; while :; do wait; done";

#[test]
fn at_the_drain_timeout_the_whole_group_is_ended_and_killed_if_it_does_not_end() {
    for mixin in ["threading", "none", "pool", "reactor", "forking"] {
        for count in [None, Some("--count")] {
            for (program, signal) in [(FOR_EVER, "SIGTERM"), (STUBBORN, "SIGKILL")] {
                let options = ["--drain-timeout", "0.2", "--mixin", mixin];
                let options = Vec::from_iter(options.into_iter().chain(count));
                let mut served = script(&options, program);
                let client = served.connect();
                let process = began(&mut served);
                served.signal(Signal::SIGTERM);
                assert_eq!(rest(client), b"");
                let (status, _, log) = served.exit();
                assert_eq!(status, Some(0), "{mixin}: {log}");
                wait_for_end(process);
                if mixin == "forking" {
                    // The program ends with the child that serves the client.
                    continue;
                }
                let expected = format!("ended: signal {signal}");
                assert!(log.contains(&expected), "{mixin}: {log}");
                assert!(log.contains("ended at the drain timeout"), "{mixin}: {log}");
            }
        }
    }
}

#[test]
fn a_program_that_works_in_silence_ends_its_work_within_the_drain_timeout() {
    for count in [None, Some("--count")] {
        let options = Vec::from_iter(count);
        let program = "echo began $$ >&2; sleep 1; echo done";
        let mut served = script(&options, program);
        let client = served.connect();
        began(&mut served);
        served.signal(Signal::SIGTERM);
        assert_eq!(rest(client), b"done\n", "{count:?}");
        let (status, _, log) = served.exit();
        assert_eq!(status, Some(0), "{log}");
        assert!(log.contains("ended: status 0"), "{log}");
    }
}

#[test]
fn a_lifetime_ends_the_program_and_the_connection() {
    for count in [None, Some("--count")] {
        let options = ["--lifetime", "0.2", "--kill-after", "0.1"];
        let options = Vec::from_iter(options.into_iter().chain(count));
        let mut served = script(&options, STUBBORN);
        let client = served.connect();
        let process = began(&mut served);
        assert_eq!(rest(client), b"");
        wait_for_end(process);
        let line = served.wait_for_log("ended: ");
        assert!(line.contains("signal SIGKILL"), "{line}");
        assert!(line.contains("ended at its lifetime of 200ms"), "{line}");
        served.wait_for_log("lifetime");
        served.stop();
    }
}

#[test]
fn an_idle_client_ends_its_program_and_bytes_in_either_direction_keep_it() {
    let mut served = script(&["--idle-timeout", "0.3"], FOR_EVER);
    let client = served.connect();
    let process = began(&mut served);
    assert_eq!(rest(client), b"");
    wait_for_end(process);
    let line = served.wait_for_log("ended: ");
    assert!(line.contains("its client was idle"), "{line}");
    served.stop();
    let program = "for i in 1 2 3 4 5 6 7 8; do sleep 0.1; echo $i; done";
    let served = script(&["--idle-timeout", "0.5"], program);
    assert_eq!(rest(served.connect()), b"1\n2\n3\n4\n5\n6\n7\n8\n");
    served.stop();
}

#[test]
fn a_client_that_is_gone_ends_its_program_if_it_should() {
    for count in [None, Some("--count")] {
        let options = ["--on-hangup", "end-if-gone"];
        let options = Vec::from_iter(options.into_iter().chain(count));
        let mut served = script(&options, FOR_EVER);
        let client = served.connect();
        let process = began(&mut served);
        reset(client);
        let line = served.wait_for_log("ended: ");
        assert!(line.contains("its client left"), "{line}");
        wait_for_end(process);
        served.stop();

        let directory = support::short_paths::directory();
        let path = directory.path().join("socket");
        let url = format!("unix://{}", path.display());
        let mut served = exec(&url, &options, &["sh", "-c", FOR_EVER]);
        let client = UnixStream::connect(&path).unwrap();
        let process = began(&mut served);
        drop(client);
        wait_for_end(process);
        served.wait_for_log("its client left");
        served.stop();
    }
}

#[test]
fn a_client_that_closes_ends_its_program_if_it_should_and_a_half_close_does_not_otherwise() {
    for count in [None, Some("--count")] {
        for (choice, is_ended) in [("end-if-closed", true), ("end-if-gone", false)] {
            let options = ["--on-hangup", choice];
            let options = Vec::from_iter(options.into_iter().chain(count));
            let mut served = script(&options, "echo began $$ >&2; cat; sleep 1; echo later");
            let client = served.connect();
            began(&mut served);
            client.shutdown(Shutdown::Write).unwrap();
            let line = served.wait_for_log("ended: ");
            assert_eq!(line.contains("its client left"), is_ended, "{line}");
            if !is_ended {
                assert_eq!(rest(client), b"later\n");
            }
            served.stop();
        }
    }
}

#[test]
fn a_program_goes_on_without_its_client_unless_it_should_end() {
    for count in [None, Some("--count")] {
        let options = Vec::from_iter(count);
        let mut served = script(
            &options,
            "echo began $$ >&2; cat; sleep 0.5; echo later >&2",
        );
        let client = served.connect();
        began(&mut served);
        reset(client);
        served.wait_for_log("later");
        served.wait_for_log("ended: status 0");
        served.stop();
    }
}

#[test]
fn the_program_of_a_client_that_is_gone_is_ended_at_the_drain_timeout() {
    let mut served = script(&["--drain-timeout", "0.2"], FOR_EVER);
    let client = served.connect();
    let process = began(&mut served);
    reset(client);
    // The server sees that the client is gone before it stops.
    thread::sleep(Duration::from_millis(50));
    served.signal(Signal::SIGTERM);
    let (status, _, log) = served.exit();
    assert_eq!(status, Some(0), "{log}");
    wait_for_end(process);
    assert!(log.contains("ended at the drain timeout"), "{log}");
}

#[test]
fn programs_of_a_stopped_group_are_ended_too() {
    let mut served = script(&["--lifetime", "0.3"], "echo began $$ >&2; kill -STOP $$");
    let mut client = served.connect();
    client.write_all(b"x").unwrap();
    let process = began(&mut served);
    wait_for_end(process);
    served.stop();
}

#[test]
fn a_conversation_that_has_ended_well_is_no_client_that_is_gone() {
    // Both sides have ended the connection, and the program still works.
    let options = ["--count", "--on-hangup", "end-if-gone"];
    let mut served = script(&options, "cat; exec 0<&- 1>&-; sleep 0.5; echo later >&2");
    let client = served.connect();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(client), b"");
    served.wait_for_log("later");
    let line = served.wait_for_log("ended: ");
    assert!(
        line.contains("status 0") && !line.contains("left"),
        "{line}"
    );
    served.stop();
}
