//! A child that is killed, by itself or from outside, is collected and has failed; the server
//! serves on.

use std::io::Write;

use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, kill, raise};
use nix::unistd::Pid;
use socketserver::{BaseServer, ForkingTcpServer, ForkingUdpServer, HandlerResult, StreamRequest};
use support::clients::{DatagramClient, StreamClient};
use support::own_process::alone;
use support::processes::children;
use support::running_server::RunningServer;
use support::services::{datagram_handler, read_line, stream_handler};
use support::waiting::eventually;

const LOOPBACK: &str = "127.0.0.1:0";

/// Ends this process as a crash would.
fn crash(signal: Signal) -> HandlerResult {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    // The first SIGSEGV goes to the runtime, which looks for an overflown stack.
    loop {
        raise(signal)?;
    }
}

/// Answers lines, and crashes when a line asks for a crash.
fn answer_lines(request: &mut StreamRequest) -> HandlerResult {
    while request.wait()? {
        match &*read_line(request)? {
            "segmentation fault" => crash(Signal::SIGSEGV)?,
            "abort" => crash(Signal::SIGABRT)?,
            "kill" => crash(Signal::SIGKILL)?,
            line => writeln!(request, "{line}")?,
        }
        request.flush()?;
    }
    Ok(())
}

fn ends_with_counts<S: BaseServer>(running: RunningServer<S>, finished: u64, failed: u64) {
    eventually("the killed children are collected", || {
        running.handle().statistics().failed == failed
    });
    let handle = running.handle();
    let report = running.close();
    assert_eq!((report.aborted, report.running), (0, 0), "{report}");
    let statistics = handle.statistics();
    assert_eq!((statistics.finished, statistics.failed), (finished, failed));
    assert_eq!((statistics.panicked, statistics.active), (0, 0));
    assert_eq!(statistics.accepted, finished + failed);
    assert_eq!(children(), [0; 0]);
}

#[test]
fn a_child_that_crashes_has_failed_and_others_go_on() {
    alone(|| {
        let server = ForkingTcpServer::bind(LOOPBACK, stream_handler(answer_lines)).unwrap();
        let running = RunningServer::start(server);
        let mut early = StreamClient::connect(&running.address());
        early.send("hello\n");
        assert_eq!(early.line(), "hello");
        for crash in ["segmentation fault\n", "abort\n", "kill\n"] {
            let mut client = StreamClient::connect(&running.address());
            client.send("hello\n");
            assert_eq!(client.line(), "hello");
            client.send(crash);
            client.wait_for_close();
            early.send("unharmed\n");
            assert_eq!(early.line(), "unharmed");
        }
        early.finish_sending();
        assert_eq!(early.rest(), b"");
        ends_with_counts(running, 1, 3);
    });
}

#[test]
fn children_that_are_killed_from_outside_have_failed_and_the_next_client_is_served() {
    alone(|| {
        let server = ForkingTcpServer::bind(LOOPBACK, stream_handler(answer_lines)).unwrap();
        let running = RunningServer::start(server);
        let converse = || {
            let mut client = StreamClient::connect(&running.address());
            client.send("hello\n");
            assert_eq!(client.line(), "hello");
            client
        };
        let mut clients: Vec<_> = (0..10).map(|_| converse()).collect();
        let children_now = || running.server().stack().child_pids();
        // The last child may have answered before its parent knows of it.
        eventually("all children are known", || children_now().len() == 10);
        for child in children_now() {
            kill(Pid::from_raw(child.cast_signed()), Signal::SIGKILL).unwrap();
        }
        for client in &mut clients {
            client.wait_for_close();
        }
        let mut client = converse();
        client.finish_sending();
        assert_eq!(client.rest(), b"");
        ends_with_counts(running, 1, 10);
    });
}

#[test]
fn a_datagram_whose_child_is_killed_has_failed_and_the_next_is_answered() {
    alone(|| {
        let factory = datagram_handler(|request| {
            if request.packet() == b"kill" {
                crash(Signal::SIGKILL)?;
            }
            Ok(request.write_all(b"served")?)
        });
        let server = ForkingUdpServer::bind(LOOPBACK, factory).unwrap();
        let running = RunningServer::start(server);
        let client = DatagramClient::connect(&running.address());
        client.send(b"kill");
        client.send(b"serve");
        assert_eq!(client.receive(), b"served");
        ends_with_counts(running, 1, 1);
    });
}
