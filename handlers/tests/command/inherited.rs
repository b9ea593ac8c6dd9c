//! The command under a program that has blocked or ignored signals.

use std::os::unix::process::CommandExt;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigHandler, SigSet, Signal, signal};

use crate::served::{Served, exchange, rest, socketserver};

/// Serves with these signals blocked and ignored at the start.
#[allow(unsafe_code)]
fn start(arguments: &[&str], blocked: SigSet, ignored: &'static [Signal]) -> Served {
    let mut command = socketserver(arguments);
    let prepare = move || {
        for &it in ignored {
            // SAFETY: no function is installed.
            unsafe { signal(it, SigHandler::SigIgn) }?;
        }
        Ok(blocked.thread_block()?)
    };
    // SAFETY: between fork and exec, the function calls sigaction(2) and pthread_sigmask(3) alone,
    // which are async-signal-safe.
    unsafe { command.pre_exec(prepare) };
    Served::run(command)
}

fn serve_upper(mixin: &str) -> [&str; 6] {
    [
        "serve",
        "upper",
        "--listen",
        "tcp://127.0.0.1:0",
        "--mixin",
        mixin,
    ]
}

#[test]
fn a_stop_signal_that_is_blocked_at_the_start_stops_the_server() {
    for mixin in ["none", "threading", "forking", "pool"] {
        for stop in [Signal::SIGTERM, Signal::SIGINT] {
            let served = start(&serve_upper(mixin), SigSet::all(), &[]);
            assert_eq!(exchange(&mut served.connect(), b"hello", 5), b"HELLO");
            served.signal(stop);
            let (status, _, log) = served.exit();
            assert_eq!(status, Some(0), "{mixin} {stop}: {log}");
        }
    }
}

#[test]
fn sigterm_that_is_ignored_at_the_start_stops_the_server() {
    let served = start(
        &serve_upper("threading"),
        SigSet::empty(),
        &[Signal::SIGTERM],
    );
    served.stop();
}

#[test]
fn a_signal_that_is_ignored_at_the_start_and_is_no_stop_request_stays_ignored() {
    // As in the background of a script, and under nohup.
    let ignored = &[Signal::SIGINT, Signal::SIGHUP];
    let served = start(&serve_upper("threading"), SigSet::empty(), ignored);
    for signal in ignored {
        served.signal(*signal);
        assert_eq!(exchange(&mut served.connect(), b"hello", 5), b"HELLO");
    }
    served.stop();
}

/// The states of the server's children, as in the third field of `/proc/PID/stat`.
fn children_of(process_id: u32) -> Vec<String> {
    let file = format!("/proc/{process_id}/task/{process_id}/children");
    let children = std::fs::read_to_string(file).unwrap();
    Vec::from_iter(children.split_ascii_whitespace().map(str::to_owned))
}

#[test]
fn an_idle_forking_server_leaves_no_zombie_whatever_became_of_the_child_signal() {
    for (blocked, ignored) in [
        (SigSet::all(), &[][..]),
        (SigSet::empty(), &[Signal::SIGCHLD][..]),
    ] {
        let mut arguments = Vec::from(serve_upper("forking"));
        arguments.extend(["--workers", "1"]);
        let served = start(&arguments, blocked, ignored);
        for _ in 0..20 {
            let client = &mut served.connect();
            assert_eq!(exchange(client, b"hello", 5), b"HELLO");
            assert_eq!(rest(client), b"");
        }
        let since = Instant::now();
        while !children_of(served.process_id()).is_empty() {
            assert!(since.elapsed() < Duration::from_secs(20), "a zombie stays");
            std::thread::yield_now();
        }
        served.stop();
    }
}

#[test]
fn a_command_of_the_shell_begins_without_blocked_signals() {
    for mixin in ["threading", "forking"] {
        let arguments = [
            "serve",
            "shell",
            "--framing",
            "raw",
            "--listen",
            "tcp://127.0.0.1:0",
            "--mixin",
            mixin,
        ];
        let served = start(&arguments, SigSet::all(), &[]);
        let command = b"grep SigBlk /proc/self/status\n";
        let blocked = exchange(&mut served.connect(), command, 24);
        assert_eq!(
            String::from_utf8_lossy(&blocked),
            "SigBlk:\t0000000000000000"
        );
        served.stop();
    }
}
