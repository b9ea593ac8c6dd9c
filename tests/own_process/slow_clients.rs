//! Two thousand clients that send a byte now and then harm neither those that are served beside
//! them nor the server.
//!
//! The test counts what the whole process has, and takes most of what a process may have.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socketserver::{Address, Deadlines, HandlerResult, StreamRequest, ThreadingTcpServer};
use support::clients::StreamClient;
use support::own_process::alone;
use support::processes::{descriptors, threads};
use support::running_server::RunningServer;
use support::services::{read_line, stream_handler};
use support::waiting::{LIMIT, eventually};

const SLOW: usize = 2_000;
const ORDINARY: usize = 8;
const CONVERSATIONS: usize = 25;
/// Between two bytes of each slow client.
const PACE: Duration = Duration::from_millis(100);
const SHORT: Duration = Duration::from_millis(60);

/// Answers lines, the last of which may take as long as its client likes until `patience_ends`, and
/// then no longer than its deadline.
fn answer_lines(request: &mut StreamRequest, patience_ends: &AtomicBool) -> HandlerResult {
    while request.wait()? {
        let line = read_line(request)?;
        writeln!(request, "{line}")?;
        if line == "slowly" {
            while !patience_ends.load(SeqCst) {
                request.read_exact(&mut [0])?;
            }
            request.set_deadlines(Deadlines::none().with_read(SHORT));
            read_line(request)?;
        }
    }
    Ok(())
}

fn converse(address: &Address, number: usize) {
    let mut client = StreamClient::connect(address);
    for line in 0..10 {
        let line = format!("line {line} of conversation {number}");
        client.send(&format!("{line}\n"));
        assert_eq!(client.line(), line);
    }
    client.finish_sending();
    assert_eq!(client.rest(), b"");
}

#[test]
fn ordinary_clients_are_served_beside_two_thousand_slow_ones_which_a_deadline_clears_away() {
    alone(|| {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        // Both ends of each, and what the server's limits leave to other uses.
        let needed = 2 * SLOW as u64 * 10 / 9 + 200;
        if hard < needed {
            println!("skipped: of {needed} descriptors the process may have {hard}");
            return;
        }
        setrlimit(Resource::RLIMIT_NOFILE, soft.max(needed), hard).unwrap();
        let threads_before = threads();
        let descriptors_before = descriptors();
        let patience_ends = Arc::new(AtomicBool::new(false));
        let until = patience_ends.clone();
        let factory = stream_handler(move |request| answer_lines(request, &until));
        let server = ThreadingTcpServer::bind("127.0.0.1:0", factory).unwrap();
        let running = RunningServer::start(server);
        let (address, handle) = (running.address(), running.handle());
        let slow: Vec<_> = (0..SLOW)
            .map(|_| {
                let mut client = StreamClient::connect(&address);
                client.send("slowly\n");
                assert_eq!(client.line(), "slowly");
                client
            })
            .collect();
        let are_gone = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let begin = Instant::now();
                while !are_gone.load(SeqCst) && begin.elapsed() < 2 * LIMIT {
                    for client in &slow {
                        // It fails when the server has given it up.
                        let _ = client.socket().send(b"x");
                    }
                    std::thread::sleep(PACE);
                }
            });
            std::thread::scope(|scope| {
                for _ in 0..ORDINARY {
                    scope.spawn(|| (0..CONVERSATIONS).for_each(|it| converse(&address, it)));
                }
            });
            assert!(handle.active_request_count() >= SLOW);
            patience_ends.store(true, SeqCst);
            eventually("the slow clients are given up", || {
                handle.statistics().timed_out == SLOW as u64
            });
            are_gone.store(true, SeqCst);
        });
        drop(slow);
        assert_eq!(running.close().running, 0);
        let statistics = handle.statistics();
        // It has a pair of descriptors of its own.
        drop(handle);
        assert_eq!(statistics.finished, (ORDINARY * CONVERSATIONS) as u64);
        assert_eq!((statistics.failed, statistics.panicked), (0, 0));
        assert_eq!(descriptors(), descriptors_before);
        eventually("all threads have ended", || threads() == threads_before);
    });
}
