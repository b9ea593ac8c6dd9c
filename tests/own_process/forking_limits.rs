//! A forking server and its bounds: it goes on when a child has ended, whoever collects it, and the
//! child may ask for them.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use socketserver::{
    Address, BaseServer, Deadlines, ForkingMixIn, ForkingTcpServer, Limits, MixIn, RequestEvent,
    Serve, TcpServer,
};
use support::clients::StreamClient;
use support::own_process::alone;
use support::reports::{Gate, Reporter, gate, reports};
use support::running_server::RunningServer;
use support::services::{EchoLine, stream_handler};
use support::waiting::{LIMIT, eventually, within_limit};

const LOOPBACK: &str = "127.0.0.1:0";

#[test]
fn a_single_request_at_the_limit_waits_for_a_child_and_is_served() {
    alone(|| {
        let server = ForkingTcpServer::bind(LOOPBACK, EchoLine::default).unwrap();
        let limits = Limits::none().with_max_connections(1);
        server.handle().set_limits(limits);
        let mut clients = [(); 2].map(|()| StreamClient::connect(&server.server_address()));
        server.handle_request().unwrap();
        clients[0].send("hello\n");
        assert_eq!(clients[0].line(), "hello");
        clients[1].send("hello\n");
        let server = within_limit("handle_request", move || {
            server.handle_request().unwrap();
            server
        });
        assert_eq!(clients[1].line(), "hello");
        drop(server);
    });
}

/// Reports the passes of the loop and the end of a request, which goes on when it may; and leaves
/// it to the test to collect children.
struct Uncollected<S> {
    next: S,
    passes: Reporter,
    ends: Reporter,
    gate: Gate,
}

impl<S: BaseServer> MixIn for Uncollected<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.next
    }

    fn is_ready(&self) -> bool {
        true
    }

    fn service_actions(&self) {
        self.passes.say("pass");
    }

    fn observe(&self, _: &Address, event: &RequestEvent) {
        if matches!(event, RequestEvent::Ended { .. }) {
            self.ends.say("ended");
            self.gate.pass();
        }
    }
}

#[test]
fn a_loop_at_the_limit_goes_on_when_another_thread_has_collected_a_child() {
    alone(|| {
        let (passes, mut passed) = reports();
        let (ends, mut ended) = reports();
        let (gate, key) = gate();
        let server = TcpServer::new(LOOPBACK, EchoLine::default)
            .mix_in(ForkingMixIn::new)
            .mix_in(|next| Uncollected {
                next,
                passes,
                ends,
                gate,
            })
            .bind()
            .unwrap();
        let limits = Limits::none().with_max_connections(1);
        server.handle().set_limits(limits);
        let running = RunningServer::start(server);
        let mut clients = [(); 2].map(|()| StreamClient::connect(&running.address()));
        clients[0].send("hello\n");
        assert_eq!(clients[0].line(), "hello");
        clients[1].send("hello\n");
        let forking = &running.server().stack().next;
        thread::scope(|scope| {
            scope.spawn(|| {
                eventually("the child is collected", || {
                    forking.collect_children();
                    forking.child_pids().is_empty()
                });
            });
            assert_eq!(ended.next_report(), "ended");
            // The loop has looked, and waits again.
            passed.so_far();
            running.server().stack().layer_handle().wake();
            passed.take(1);
            key.let_pass(2);
        });
        assert_eq!(clients[1].line(), "hello");
        eventually("the second child is collected", || {
            forking.collect_children();
            running.handle().active_request_count() == 0
        });
        running.close();
    });
}

/// Ends the other thread also where the test fails.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

#[test]
fn a_child_may_ask_for_the_bounds_that_another_thread_was_changing_at_the_fork() {
    alone(|| {
        let factory = stream_handler(|request| {
            let _ = (request.server().limits(), request.server().deadlines());
            Ok(request.write_all(b"told")?)
        });
        let server = ForkingTcpServer::bind(LOOPBACK, factory).unwrap();
        let running = RunningServer::start(server);
        let handle = running.handle();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(SeqCst) {
                    handle.set_limits(Limits::none().refuse_with("too busy"));
                    handle.set_deadlines(Deadlines::uniform(LIMIT));
                }
            });
            let _done = SetOnDrop(&done);
            let address = running.address();
            // A child that hangs exceeds the time that the client has for its read.
            for _ in 0..200 {
                assert_eq!(StreamClient::connect(&address).rest(), b"told");
            }
        });
        running.close();
    });
}

#[test]
fn greedy_clients_of_a_forking_server_at_its_limit_leave_their_places() {
    alone(|| {
        let factory = stream_handler(|request| {
            while let Some(line) = request.next_line(1000)? {
                writeln!(request, "{line}")?;
            }
            Ok(())
        });
        let layers = TcpServer::new(LOOPBACK, factory).mix_in(ForkingMixIn::new);
        let server = layers.max_children(2).bind().unwrap();
        let limits = Limits::none().with_turn(Duration::ZERO);
        server.handle().set_limits(limits);
        let running = RunningServer::start(server);
        let clients = [(); 2].map(|()| StreamClient::connect(&running.address()));
        thread::scope(|scope| {
            for client in &clients {
                scope.spawn(|| io::copy(&mut client.socket(), &mut io::sink()));
                scope
                    .spawn(|| while client.socket().write_all(&b"greedy\n".repeat(100)).is_ok() {});
            }
            let mut polite = StreamClient::connect(&running.address());
            polite.send("polite\n");
            assert_eq!(polite.line(), "polite");
            drop(polite);
            for client in &clients {
                let _ = client.socket().shutdown(std::net::Shutdown::Both);
            }
        });
        running.close();
    });
}
