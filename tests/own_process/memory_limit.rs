//! Where the system gives no memory for a thread, the server lives, and serves on when there is
//! memory again.

use std::io::Write;

use socketserver::{
    ExchangeHandler, HandlerResult, ReactorMixIn, Serve, StreamRequest, TcpServer, ThreadingMixIn,
};
use support::clients::StreamClient;
use support::memory_limit::NoMoreMemory;
use support::own_process::alone;
use support::reports::{Gate, Reporter, gate, reports};
use support::running_server::RunningServer;
use support::services::{read_line, stream_handler};
use support::task_limit::{ErrorReports, answer_lines, only_connections_without_a_task_are_closed};

const LOOPBACK: &str = "127.0.0.1:0";

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
