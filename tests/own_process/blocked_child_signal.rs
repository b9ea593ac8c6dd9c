//! A forking server in a program in which the signal of a child's end never arrives.
//!
//! The signal goes to any thread that does not block it, the test harness's own among them; so the
//! thread that starts the test's process blocks the signal, and all threads of that process do.

use std::io::Write;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use socketserver::{ForkingMixIn, Limits, Serve, TcpServer};
use support::clients::StreamClient;
use support::own_process::{alone, is_alone};
use support::processes::children;
use support::reports::{gate, reports};
use support::running_server::RunningServer;
use support::services::stream_handler;

#[test]
fn a_server_with_as_many_children_as_it_may_have_sees_without_a_signal_that_one_ended() {
    // The threads of the test's own process block what the thread blocks that starts the process.
    let mask = SigSet::thread_get_mask().unwrap();
    if !is_alone() {
        SigSet::from(Signal::SIGCHLD).thread_block().unwrap();
    }
    alone(|| {
        assert!(SigSet::thread_get_mask().unwrap().contains(Signal::SIGCHLD));
        a_further_client_is_served(1, Limits::none());
        a_further_client_is_served(40, Limits::none().with_max_connections(1));
    });
    mask.thread_set_mask().unwrap();
}

/// Whichever of the two bounds is one.
fn a_further_client_is_served(max_children: usize, limits: Limits) {
    let (reporter, mut begun) = reports();
    let (gate, key) = gate();
    let factory = stream_handler(move |request| {
        reporter.say("begun");
        gate.pass();
        Ok(request.write_all(b"served")?)
    });
    let layers = TcpServer::new("127.0.0.1:0", factory)
        .mix_in(ForkingMixIn::new)
        .max_children(max_children);
    let server = layers.bind().unwrap();
    server.handle().set_limits(limits);
    let running = RunningServer::start(server);
    for _ in 0..2 {
        let mut first = StreamClient::connect(&running.address());
        assert_eq!(begun.next_report(), "begun");
        // The loop does not accept it as long as the first is served, and waits.
        let mut second = StreamClient::connect(&running.address());
        key.let_pass(2);
        assert_eq!(first.rest(), b"served");
        // The loop looks twice a second.
        let patience = Some(Duration::from_secs(10));
        second.socket().set_read_timeout(patience).unwrap();
        assert_eq!(second.rest(), b"served");
        assert_eq!(begun.next_report(), "begun");
    }
    running.close();
    assert_eq!(children(), [0; 0]);
}
