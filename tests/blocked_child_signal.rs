//! A forking server in a program in which the signal of a child's end never arrives.
//!
//! A single test, which runs again in a process of its own: the signal goes to any thread that does
//! not block it, the test harness's own among them, and a new process's threads block what the
//! thread did that has started it.

mod clients;
mod processes;
mod reports;
mod running_server;
mod services;

use std::io::Write;
use std::process::Command;
use std::time::Duration;

use clients::StreamClient;
use nix::sys::signal::{SigSet, Signal};
use processes::{children, forking_alone};
use reports::{gate, reports};
use running_server::RunningServer;
use services::stream_handler;
use socketserver::{BaseServer, ForkingMixIn, Limits, TcpServer};

/// Set in the process whose threads block the signal.
const IS_BLOCKED: &str = "SOCKETSERVER_TEST_CHILD_SIGNAL_IS_BLOCKED";
const NAME: &str =
    "a_server_with_as_many_children_as_it_may_have_sees_without_a_signal_that_one_ended";

#[test]
fn a_server_with_as_many_children_as_it_may_have_sees_without_a_signal_that_one_ended() {
    if std::env::var_os(IS_BLOCKED).is_some() {
        assert!(SigSet::thread_get_mask().unwrap().contains(Signal::SIGCHLD));
        a_further_client_is_served(1, Limits::none());
        a_further_client_is_served(40, Limits::none().max_connections(1));
    } else {
        SigSet::from(Signal::SIGCHLD).thread_block().unwrap();
        let program = std::env::current_exe().unwrap();
        let mut again = Command::new(program);
        let again = again.args(["--exact", NAME]).env(IS_BLOCKED, "1");
        let output = again.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}");
        assert!(said.contains("1 passed"), "{said}");
    }
}

/// Whichever of the two bounds is one.
fn a_further_client_is_served(max_children: usize, limits: Limits) {
    let _alone = forking_alone();
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
        assert_eq!(begun.next(), "begun");
        // The loop does not accept it as long as the first is served, and waits.
        let mut second = StreamClient::connect(&running.address());
        key.let_pass(2);
        assert_eq!(first.rest(), b"served");
        // The loop looks twice a second.
        let patience = Some(Duration::from_secs(10));
        second.socket().set_read_timeout(patience).unwrap();
        assert_eq!(second.rest(), b"served");
        assert_eq!(begun.next(), "begun");
    }
    running.close();
    assert_eq!(children(), [0; 0]);
}
