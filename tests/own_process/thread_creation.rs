//! Where the system gives no thread, or no memory for one, the one client is closed, and the server
//! serves on.

use std::io::Write;

use socketserver::{
    Error, ExchangeHandler, HandlerResult, ReactorMixIn, Serve, StreamRequest, TcpServer,
    ThreadPoolMixIn, ThreadPoolTcpServer, ThreadingMixIn, UdpServer,
};
use support::clients::StreamClient;
use support::memory_limit::NoMoreMemory;
use support::own_process::alone;
use support::processes::descriptors;
use support::reports::{Gate, Reporter, gate, reports};
use support::running_server::RunningServer;
use support::services::{EchoLine, read_line, stream_handler};
use support::task_limit::{
    ErrorReports, NoMoreTasks, answer_lines, drop_privileges,
    only_connections_without_a_task_are_closed, only_datagrams_without_a_task_fail,
};

const LOOPBACK: &str = "127.0.0.1:0";

#[test]
fn a_connection_for_which_there_is_no_thread_is_closed_and_others_go_on() {
    alone(|| {
        if !drop_privileges() {
            return;
        }
        let (reporter, mut reports) = reports();
        let layers = TcpServer::new(LOOPBACK, stream_handler(answer_lines))
            .mix_in(ThreadingMixIn::new)
            .mix_in(|next| ErrorReports::new(next, reporter));
        let reason = "cannot start a thread for the request";
        only_connections_without_a_task_are_closed(
            layers,
            &mut reports,
            reason,
            0,
            NoMoreTasks::begin,
        );
    });
}

#[test]
fn a_datagram_for_which_there_is_no_thread_has_failed_and_the_next_is_answered() {
    alone(|| {
        if !drop_privileges() {
            return;
        }
        let (reporter, mut reports) = reports();
        let layers = UdpServer::new(LOOPBACK, EchoLine::default)
            .mix_in(ThreadingMixIn::new)
            .mix_in(|next| ErrorReports::new(next, reporter));
        let reason = "cannot start a thread for the request";
        only_datagrams_without_a_task_fail(layers, &mut reports, reason);
    });
}

#[test]
fn a_pool_for_which_there_are_no_threads_cannot_be_made_and_leaves_nothing() {
    alone(|| {
        if !drop_privileges() {
            return;
        }
        let before = descriptors();
        let none = NoMoreTasks::begin();
        let made = ThreadPoolTcpServer::bind(LOOPBACK, EchoLine::default);
        drop(none);
        match made {
            Err(Error::Activate {
                address, source, ..
            }) => {
                assert!(address.to_string().starts_with("127.0.0.1:"), "{address}");
                assert!(source.to_string().contains("workers"), "{source}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(descriptors(), before);
        let layers = TcpServer::new(LOOPBACK, EchoLine::default).mix_in(ThreadPoolMixIn::new);
        let running = RunningServer::start(layers.bind().unwrap());
        // A pool has all of its threads from the beginning.
        let none = NoMoreTasks::begin();
        for _ in 0..20 {
            let mut client = StreamClient::connect(&running.address());
            client.send("hello\n");
            assert_eq!(client.rest(), b"hello\n");
        }
        drop(none);
        assert_eq!(running.close().running, 0);
    });
}

/// Answers each line. "wait" is answered when the gate is open.
#[derive(Clone)]
struct Lines {
    gate: Gate,
    reporter: Reporter,
}

impl ExchangeHandler for Lines {
    fn is_complete(&self, unread: &[u8]) -> bool {
        unread.contains(&b'\n')
    }

    fn exchange(&mut self, request: &mut StreamRequest) -> HandlerResult {
        let line = read_line(request)?;
        if line == "wait" {
            self.reporter.say("waits");
            self.gate.pass();
        }
        Ok(writeln!(request, "{line}")?)
    }
}

#[test]
fn a_reactor_that_gets_no_thread_closes_its_first_client_and_serves_with_the_threads_it_has_later()
{
    alone(|| {
        if !drop_privileges() {
            return;
        }
        let (reporter, mut reports) = reports();
        let (gate, key) = gate();
        let lines = {
            let reporter = reporter.clone();
            move || Lines {
                gate: gate.clone(),
                reporter: reporter.clone(),
            }
        };
        let layers = TcpServer::new(LOOPBACK, lines)
            .mix_in(ReactorMixIn::new)
            .mix_in(|next| ErrorReports::new(next, reporter));
        let running = RunningServer::start(layers.bind().unwrap());
        let connect = || StreamClient::connect(&running.address());
        let none = NoMoreTasks::begin();
        connect().wait_for_close();
        let report = reports.next_report();
        assert!(
            report.contains(": cannot start a thread for the request: "),
            "{report}"
        );
        drop(none);
        let mut early = connect();
        early.send("hello\n");
        assert_eq!(early.line(), "hello");
        let none = NoMoreTasks::begin();
        // Further clients need no thread.
        let mut clients = Vec::from_iter((0..20).map(|_| connect()));
        for client in &mut clients {
            client.send("hello\n");
            assert_eq!(client.line(), "hello");
        }
        // While the only thread waits, the others wait too, and lose nothing.
        early.send("wait\n");
        assert_eq!(reports.next_report(), "waits");
        for client in &clients {
            client.send("later\n");
        }
        drop(none);
        // The sentinel tries again.
        for client in &mut clients {
            assert_eq!(client.line(), "later");
        }
        key.let_pass(1);
        assert_eq!(early.line(), "wait");
        assert_eq!(running.close().running, 0);
    });
}

#[test]
fn a_connection_for_whose_thread_there_is_no_memory_is_closed_and_others_go_on() {
    alone(|| {
        let (reporter, mut reports) = reports();
        let layers = TcpServer::new(LOOPBACK, stream_handler(answer_lines))
            .mix_in(ThreadingMixIn::new)
            .mix_in(|next| ErrorReports::new(next, reporter));
        only_connections_without_a_task_are_closed(
            layers,
            &mut reports,
            "cannot start a thread for the request",
            0,
            NoMoreMemory::begin,
        );
    });
}

#[test]
fn a_reactor_without_memory_for_a_further_thread_serves_what_waited_when_there_is_memory_again() {
    alone(|| {
        let (reporter, mut reports) = reports();
        let (gate, key) = gate();
        let lines = move || Lines {
            gate: gate.clone(),
            reporter: reporter.clone(),
        };
        let layers = TcpServer::new(LOOPBACK, lines).mix_in(ReactorMixIn::new);
        let running = RunningServer::start(layers.bind().unwrap());
        let connect = || StreamClient::connect(&running.address());
        let mut early = connect();
        early.send("hello\n");
        assert_eq!(early.line(), "hello");
        let none = NoMoreMemory::begin();
        // Connections, and exchanges that do not wait, need no thread.
        let mut clients = Vec::from_iter((0..20).map(|_| connect()));
        for client in &mut clients {
            client.send("hello\n");
            assert_eq!(client.line(), "hello");
        }
        // Each waiting exchange takes a thread, until none is left.
        let mut waiting = Vec::from_iter((0..10).map(|_| connect()));
        for client in &waiting {
            client.send("wait\n");
        }
        assert_eq!(reports.next_report(), "waits");
        for client in &clients {
            client.send("later\n");
        }
        drop(none);
        for client in &mut clients {
            assert_eq!(client.line(), "later");
        }
        key.let_pass(waiting.len());
        for client in &mut waiting {
            assert_eq!(client.line(), "wait");
        }
        assert_eq!(running.close().running, 0);
    });
}
