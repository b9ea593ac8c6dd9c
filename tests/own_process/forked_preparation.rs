//! `prepare_request` in a forked child: the parent accepts others meanwhile, and counts what the
//! child reports.

use std::time::Duration;

use socketserver::{Deadlines, ForkingMixIn, Serve, TcpServer};
use support::clients::StreamClient;
use support::own_process::alone;
use support::preamble::{Preamble, named_echo};
use support::processes::children;
use support::running_server::{RunningServer, close};
use support::waiting::eventually;

const LOOPBACK: &str = "127.0.0.1:0";

#[test]
fn with_children_a_slow_preamble_holds_up_nobody() {
    alone(|| {
        let layers = TcpServer::new(LOOPBACK, named_echo()).mix_in(ForkingMixIn::new);
        let running = RunningServer::start(layers.mix_in(Preamble::new).bind().unwrap());
        let mut slow = StreamClient::connect(&running.address());
        for byte in ["s", "l", "o", "w"] {
            slow.send(byte);
            let mut quick = StreamClient::connect(&running.address());
            quick.send("quick\nhello\n");
            assert_eq!(quick.line(), "quick: hello");
        }
        slow.send("\nhello\n");
        assert_eq!(slow.line(), "slow: hello");
        drop(slow);
        running.close();
        assert_eq!(children(), []);
    });
}

#[test]
fn what_a_child_refuses_the_parent_counts_as_refused() {
    alone(|| {
        let layers = TcpServer::new(LOOPBACK, named_echo()).mix_in(ForkingMixIn::new);
        let running = RunningServer::start(layers.mix_in(Preamble::new).bind().unwrap());
        let mut client = StreamClient::connect(&running.address());
        client.send("stranger\n");
        assert_eq!(client.rest(), b"who are you?\n");
        let handle = running.handle();
        eventually("the child is collected", || {
            handle.statistics().refused == 1
        });
        running.close();
        let statistics = handle.statistics();
        assert_eq!((statistics.accepted, statistics.active), (1, 0));
        assert_eq!((statistics.finished, statistics.failed), (0, 0));
    });
}

#[test]
fn a_child_gives_up_a_silent_client_at_the_prepare_deadline() {
    alone(|| {
        let layers = TcpServer::new(LOOPBACK, named_echo()).mix_in(ForkingMixIn::new);
        let server = layers.mix_in(Preamble::new).bind().unwrap();
        let limit = Duration::from_millis(50);
        let deadlines = Deadlines::none().with_prepare(limit);
        server.handle().set_deadlines(deadlines);
        let running = RunningServer::start(server);
        StreamClient::connect(&running.address()).wait_for_close();
        let handle = running.handle();
        eventually("the child is collected", || {
            handle.statistics().timed_out == 1
        });
        running.close();
    });
}

#[test]
fn a_drain_ends_a_child_in_its_preamble_at_once() {
    alone(|| {
        let layers = TcpServer::new(LOOPBACK, named_echo()).mix_in(ForkingMixIn::new);
        let running = RunningServer::start(layers.mix_in(Preamble::new).bind().unwrap());
        let mut client = StreamClient::connect(&running.address());
        client.send("half");
        eventually("the child runs", || children().len() == 1);
        let server = running.stop();
        let report = close(server);
        assert_eq!((report.aborted, report.running), (0, 0));
        assert_eq!(report.idle + report.ended, 1);
        assert_eq!(client.rest(), b"");
    });
}
