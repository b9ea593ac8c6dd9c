//! What a reactor saves: connections without threads, and waits that hold up nobody.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use socketserver::{
    Deadlines, ExchangeHandler, HandlerResult, Outbox, ReactorMixIn, ReactorTcpServer, Serve,
    StreamRequest, TcpServer, blocking,
};
use support::clients::StreamClient;
use support::own_process::alone;
use support::processes::{descriptors, threads};
use support::reports::{Gate, GateKey, Reporter, Reports, gate, reports};
use support::running_server::RunningServer;
use support::waiting::eventually;

const LOOPBACK: &str = "127.0.0.1:0";

/// The most threads of a reactor whose handlers do not wait: two that serve in turn, the sentinel
/// and one that is spare.
const FEW: usize = 4;

/// Answers each line in upper case. Some lines make it wait first.
#[derive(Clone)]
struct Lines {
    gate: Gate,
    computes: Arc<AtomicBool>,
    reporter: Reporter,
}

impl ExchangeHandler for Lines {
    fn is_complete(&self, unread: &[u8]) -> bool {
        unread.contains(&b'\n')
    }

    fn exchange(&mut self, request: &mut StreamRequest) -> HandlerResult {
        let Some(line) = request.next_line(1000)? else {
            return Ok(());
        };
        match line.as_str() {
            "wait" => {
                self.reporter.say("waits");
                self.gate.pass();
            }
            "announced" => {
                self.reporter.say("waits");
                blocking(|| self.gate.pass());
            }
            "compute" => {
                self.reporter.say("waits");
                while self.computes.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            }
            "much" => request.write_all(&vec![b'x'; 32 << 20])?,
            "stop" => request.server().request_shutdown(),
            "bye" => request.close_connection(),
            _ => {}
        }
        Ok(writeln!(request, "{}", line.to_ascii_uppercase())?)
    }
}

fn exchange(client: &mut StreamClient, line: &str) {
    client.send(&format!("{line}\n"));
    assert_eq!(client.line(), format!("{}", line.to_ascii_uppercase()));
}

#[test]
fn silent_connections_and_slow_messages_hold_no_thread() {
    alone(|| {
        let before = threads();
        let (_key, lines, _reports) = lines();
        let running = RunningServer::start(ReactorTcpServer::bind(LOOPBACK, lines).unwrap());
        let connect = || StreamClient::connect(&running.address());
        let mut silent = Vec::from_iter((0..300).map(|_| connect()));
        for client in &mut silent {
            exchange(client, "hello");
        }
        let mut slow = Vec::from_iter((0..300).map(|_| connect()));
        for byte in ["s", "l", "o"] {
            for client in &slow {
                client.send(byte);
            }
            exchange(&mut silent[0], "between");
        }
        let handle = running.handle();
        eventually("the begins of the messages have been read", || {
            handle.statistics().received >= 300 * 6 + 900
        });
        // One is the test's thread for the loop. A machine that is busy may have made a handler
        // seem to wait; the thread that was started then ends soon.
        eventually("few threads are left", || threads() <= before + 1 + FEW);
        for client in &mut slow {
            client.send("w\n");
            assert_eq!(client.line(), "SLOW");
        }
        // The answer comes before the connection is idle again.
        eventually("all connections are idle", || {
            handle.statistics().idle == 600
        });
        let report = running.close();
        assert_eq!((report.idle, report.running), (600, 0));
        eventually("the threads have ended", || threads() == before);
    });
}

#[test]
fn a_handler_that_waits_or_computes_holds_up_nobody() {
    alone(|| {
        for way in ["wait", "announced", "compute"] {
            let (key, lines, mut reports) = lines();
            let computes = lines().computes;
            computes.store(true, Ordering::Relaxed);
            let running = RunningServer::start(ReactorTcpServer::bind(LOOPBACK, lines).unwrap());
            let mut held = StreamClient::connect(&running.address());
            held.send(&format!("{way}\n"));
            assert_eq!(reports.next_report(), "waits");
            for _ in 0..10 {
                let mut other = StreamClient::connect(&running.address());
                exchange(&mut other, "one");
                exchange(&mut other, "two");
            }
            computes.store(false, Ordering::Relaxed);
            key.let_pass(1);
            assert_eq!(held.line(), format!("{}", way.to_ascii_uppercase()));
            assert_eq!(running.close().running, 0);
        }
    });
}

#[test]
fn many_handlers_that_wait_at_once_have_a_thread_each_and_give_it_back() {
    alone(|| {
        let before = threads();
        let (key, lines, mut reports) = lines();
        let server = TcpServer::new(LOOPBACK, lines).mix_in(ReactorMixIn::new);
        let server = server.keep_alive(Duration::from_millis(10)).bind().unwrap();
        let running = RunningServer::start(server);
        let mut held = Vec::from_iter((0..40).map(|_| StreamClient::connect(&running.address())));
        for client in &held {
            client.send("wait\n");
        }
        assert_eq!(reports.take(40), ["waits"; 40]);
        exchange(&mut StreamClient::connect(&running.address()), "hello");
        key.let_pass(40);
        for client in &mut held {
            assert_eq!(client.line(), "WAIT");
        }
        eventually("the spare threads have ended", || {
            threads() <= before + 1 + FEW
        });
        exchange(&mut held[0], "again");
        assert_eq!(running.close().running, 0);
    });
}

#[test]
fn a_client_that_does_not_read_its_answer_holds_up_nobody() {
    alone(|| {
        let (_key, lines, _reports) = lines();
        let running = RunningServer::start(ReactorTcpServer::bind(LOOPBACK, lines).unwrap());
        let slow = Vec::from_iter((0..5).map(|_| {
            let client = StreamClient::connect(&running.address());
            client.send("much\n");
            client
        }));
        let mut other = StreamClient::connect(&running.address());
        for _ in 0..20 {
            exchange(&mut other, "hello");
        }
        for mut client in slow {
            assert_eq!(client.receive_exactly(32 << 20).len(), 32 << 20);
            assert_eq!(client.line(), "MUCH");
        }
        assert_eq!(running.close().running, 0);
    });
}

#[test]
fn pipelined_messages_are_all_answered_in_their_order() {
    alone(|| {
        let (_key, lines, _reports) = lines();
        let running = RunningServer::start(ReactorTcpServer::bind(LOOPBACK, lines).unwrap());
        std::thread::scope(|scope| {
            for client in 0..4 {
                let address = running.address();
                scope.spawn(move || {
                    let mut client_stream = StreamClient::connect(&address);
                    let writer = client_stream.socket().try_clone().unwrap();
                    let lines = 20_000;
                    let sender = std::thread::spawn(move || {
                        let text =
                            String::from_iter((0..lines).map(|n| format!("c{client} {n}\n")));
                        (&writer).write_all(text.as_bytes()).unwrap();
                    });
                    for n in 0..lines {
                        assert_eq!(client_stream.line(), format!("C{client} {n}"));
                    }
                    sender.join().unwrap();
                });
            }
        });
        assert_eq!(running.close().running, 0);
    });
}

#[test]
fn a_message_that_comes_while_earlier_ones_are_unread_is_answered() {
    alone(|| {
        let (key, lines, mut reports) = lines();
        let running = RunningServer::start(ReactorTcpServer::bind(LOOPBACK, lines).unwrap());
        let mut client = StreamClient::connect(&running.address());
        let mut other = StreamClient::connect(&running.address());
        // From now on the reactor waits for the events of both.
        exchange(&mut client, "hello");
        exchange(&mut other, "hello");
        // More than one turn serves.
        client.send(&format!("wait\n{}", "early\n".repeat(40)));
        assert_eq!(reports.next_report(), "waits");
        client.send("late\n");
        // The event of the late line has been taken when that of a later line has.
        exchange(&mut other, "later");
        key.let_pass(1);
        assert_eq!(client.line(), "WAIT");
        for _ in 0..40 {
            assert_eq!(client.line(), "EARLY");
        }
        assert_eq!(client.line(), "LATE");
        assert_eq!(running.close().running, 0);
    });
}

#[test]
fn a_last_message_that_comes_together_with_the_client_s_end_is_answered_and_the_connection_closed()
{
    alone(|| {
        let (_key, lines, _reports) = lines();
        let running = RunningServer::start(ReactorTcpServer::bind(LOOPBACK, lines).unwrap());
        // Whether one event reports both is a matter of microseconds.
        for _ in 0..100 {
            let mut client = StreamClient::connect(&running.address());
            exchange(&mut client, "first");
            client.send("last\n");
            client.finish_sending();
            assert_eq!(client.rest(), b"LAST\n");
        }
        assert_eq!(running.close().running, 0);
    });
}

#[test]
fn the_deadlines_of_a_parked_connection_hold() {
    alone(|| {
        let short = Duration::from_millis(40);
        for (deadlines, sent) in [
            (Deadlines::none().with_first_byte(short), &[][..]),
            (Deadlines::none().with_idle(short), &["hello\n"][..]),
            (
                Deadlines::none().with_read(short),
                &["hello\n", "half a "][..],
            ),
            (Deadlines::none().with_lifetime(short), &["hello\n"][..]),
        ] {
            let (_key, lines, _reports) = lines();
            let server = ReactorTcpServer::bind(LOOPBACK, lines).unwrap();
            server.handle().set_deadlines(deadlines);
            let running = RunningServer::start(server);
            let mut client = StreamClient::connect(&running.address());
            for text in sent {
                client.send(text);
            }
            let _ = client.try_rest();
            let handle = running.handle();
            eventually("the late client is counted", || {
                handle.statistics().timed_out == 1
            });
            assert_eq!(running.close().running, 0);
        }
    });
}

#[test]
fn messages_from_elsewhere_reach_a_parked_connection_and_cost_no_descriptor() {
    struct Room(Arc<std::sync::Mutex<Vec<Outbox>>>);
    impl ExchangeHandler for Room {
        fn setup(&mut self, request: &mut StreamRequest) -> HandlerResult {
            self.0.lock().unwrap().push(request.outbox()?);
            Ok(writeln!(request, "welcome")?)
        }
        fn exchange(&mut self, request: &mut StreamRequest) -> HandlerResult {
            if let Some(line) = request.next_line(100)? {
                for other in &*self.0.lock().unwrap() {
                    other.send(format!("{line}\n").as_bytes())?;
                }
            }
            Ok(())
        }
    }
    alone(|| {
        let outboxes = Arc::<std::sync::Mutex<Vec<Outbox>>>::default();
        let shared = outboxes.clone();
        let factory = move || Room(shared.clone());
        let running = RunningServer::start(ReactorTcpServer::bind(LOOPBACK, factory).unwrap());
        let mut clients = Vec::new();
        let mut before = 0;
        for number in 0..50 {
            let mut client = StreamClient::connect(&running.address());
            assert_eq!(client.line(), "welcome");
            if number == 0 {
                before = descriptors();
            }
            clients.push(client);
        }
        // A descriptor on each side, and at most one for each of a few threads.
        assert!(descriptors() <= before + 2 * 49 + FEW, "{}", descriptors());
        for round in 0..20 {
            clients[round].send(&format!("message {round}\n"));
            for client in &mut clients {
                assert_eq!(client.line(), format!("message {round}"));
            }
        }
        for outbox in &*outboxes.lock().unwrap() {
            outbox.send(b"from elsewhere\n").unwrap();
        }
        for client in &mut clients {
            assert_eq!(client.line(), "from elsewhere");
        }
        assert_eq!(running.close().running, 0);
        assert!(outboxes.lock().unwrap()[0].send(b"too late\n").is_err());
    });
}

#[test]
fn a_drain_ends_the_idle_and_lets_the_others_answer() {
    alone(|| {
        let (key, lines, mut reports) = lines();
        let running = RunningServer::start(ReactorTcpServer::bind(LOOPBACK, lines).unwrap());
        let connect = || StreamClient::connect(&running.address());
        let mut idle = Vec::from_iter((0..100).map(|_| connect()));
        for client in &mut idle {
            exchange(client, "hello");
        }
        let mut held = connect();
        held.send("wait\n");
        assert_eq!(reports.next_report(), "waits");
        let mut half = connect();
        exchange(&mut half, "hello");
        let before = running.handle().statistics().received;
        half.send("half a ");
        let handle = running.handle();
        eventually("the begin of the message is read", || {
            handle.statistics().received == before + 7
        });
        eventually("the others are idle", || handle.statistics().idle == 100);
        running.handle().request_shutdown();
        for client in &mut idle {
            assert_eq!(client.rest(), b"");
        }
        key.let_pass(1);
        assert_eq!(held.rest(), b"WAIT\n");
        half.send("message\n");
        assert_eq!(half.rest(), b"HALF A MESSAGE\n");
        let report = running.close();
        assert_eq!((report.idle, report.ended, report.running), (100, 2, 0));
    });
}

#[test]
fn a_server_that_is_dropped_while_hundreds_are_parked_leaves_nothing() {
    alone(|| {
        let before = (threads(), descriptors());
        {
            let (_key, lines, _reports) = lines();
            let server = ReactorTcpServer::bind(LOOPBACK, lines).unwrap();
            let handle = server.handle();
            let clients = std::thread::scope(|scope| {
                let serving = scope.spawn(|| server.serve_forever().unwrap());
                let mut clients = Vec::new();
                for _ in 0..300 {
                    let mut client = StreamClient::connect(&server.server_address());
                    exchange(&mut client, "hello");
                    clients.push(client);
                }
                handle.shutdown();
                serving.join().unwrap();
                clients
            });
            drop(server);
            for mut client in clients {
                assert_eq!(client.rest(), b"");
            }
        }
        eventually("nothing is left", || (threads(), descriptors()) == before);
    });
}

#[test]
fn an_exchange_can_stop_the_server_and_its_answer_is_sent() {
    alone(|| {
        let (_key, lines, _reports) = lines();
        let running = RunningServer::start(ReactorTcpServer::bind(LOOPBACK, lines).unwrap());
        let mut client = StreamClient::connect(&running.address());
        client.send("stop\n");
        assert_eq!(client.rest(), b"STOP\n");
        assert_eq!(running.wait_for_end().server_close().running, 0);
    });
}

#[test]
fn an_idle_reactor_makes_no_system_call() {
    /// How often each thread of the process has waited.
    fn waits() -> Vec<String> {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let mut waits = Vec::new();
        for task in tasks {
            let path = task.unwrap().path();
            let name = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
            let status = std::fs::read_to_string(path.join("status")).unwrap_or_default();
            let count = status.lines().find(|line| line.starts_with("voluntary"));
            if name.trim_end().ends_with(" react") {
                waits.push(count.unwrap_or_default().to_owned());
            }
        }
        waits
    }
    alone(|| {
        let (_key, lines, _reports) = lines();
        let running = RunningServer::start(ReactorTcpServer::bind(LOOPBACK, lines).unwrap());
        let mut clients =
            Vec::from_iter((0..20).map(|_| StreamClient::connect(&running.address())));
        for client in &mut clients {
            exchange(client, "hello");
        }
        // The sentinel goes to sleep a few milliseconds after the last exchange.
        eventually("no thread has waited anew for a tenth of a second", || {
            let before = waits();
            std::thread::sleep(Duration::from_millis(100));
            !before.is_empty() && waits() == before
        });
        assert_eq!(running.close().running, 0);
    });
}

fn lines() -> (GateKey, impl Fn() -> Lines + Clone + Send + Sync, Reports) {
    let (gate, key) = gate();
    let (reporter, reports) = reports();
    let lines = Lines {
        gate,
        computes: Arc::default(),
        reporter,
    };
    (key, move || lines.clone(), reports)
}
