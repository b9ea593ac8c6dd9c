//! The children of `ForkingMixIn`: what they do, how many they are, how they end, who waits for
//! them.
//!
//! A handler in these tests runs in a child of a program with threads, so the handler prints
//! nothing and takes no lock of the test's.

use std::io::{ErrorKind, Write};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::time::Duration;

use nix::sys::pthread::{pthread_kill, pthread_self};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use socketserver::layer::RequestOf;
use socketserver::{
    BaseServer, ForkingMixIn, ForkingTcpServer, ForkingUdpServer, HandlerFactory, HandlerResult,
    MixIn, Serve, StreamRequest, TcpServer, UdpServer, UnixStreamServer,
};
use support::clients::{DatagramClient, StreamClient};
use support::conversation::Conversation;
use support::observer::Observer;
use support::own_process::alone;
use support::processes::children;
use support::reports::{Gate, Reporter, Reports, gate, reports};
use support::running_server::{RunningServer, close};
use support::services::{EchoLine, datagram_handler, read_line, silent_panic, stream_handler};
use support::waiting::{eventually, within_limit};

const LOOPBACK: &str = "127.0.0.1:0";

/// Ends as the first line asks, and sends any other line back.
fn as_ordered(request: &mut StreamRequest) -> HandlerResult {
    match &*read_line(request)? {
        "fail" => Err("told to fail".into()),
        "panic" => silent_panic("told to panic"),
        "be killed" => Ok(kill(Pid::this(), Signal::SIGKILL)?),
        line => Ok(request.write_all(line.as_bytes())?),
    }
}

fn hook(report: &str) -> &str {
    report.split_once(" in ").unwrap().0
}

fn process(report: &str) -> u32 {
    report.split_once(" of ").unwrap().1.parse().unwrap()
}

#[test]
fn a_handler_s_error_or_panic_reaches_handle_error_in_the_child() {
    alone(|| {
        let (reporter, mut reports) = reports();
        let layers = Observer::new(
            TcpServer::new(LOOPBACK, stream_handler(as_ordered)),
            "own",
            reporter,
        )
        .mix_in(ForkingMixIn::new);
        let running = RunningServer::start(layers.bind().unwrap());
        for (line, said) in [
            ("fail\n", "error: told to fail"),
            ("panic\n", "panic: panicked: told to panic"),
        ] {
            let mut client = StreamClient::connect(&running.address());
            client.send(line);
            client.wait_for_close();
            // The parent closes its copy of the connection while the child is at work, so the two
            // processes' reports come in any order.
            let reports = reports.take(6);
            let (parent, child): (Vec<_>, Vec<_>) = reports
                .iter()
                .partition(|report| process(report) == std::process::id());
            let parent: Vec<_> = parent.into_iter().map(|report| hook(report)).collect();
            let child: Vec<_> = child.into_iter().map(|report| hook(report)).collect();
            assert_eq!(parent, ["own verify_request", "own close_request"]);
            assert_eq!(
                child,
                [
                    "own finish_request",
                    &format!("own handle_error ({said})"),
                    "own shutdown_request",
                    "own close_request"
                ]
            );
        }
        running.close();
        assert_eq!(children(), [0; 0]);
    });
}

#[test]
fn a_child_s_exit_status_shows_whether_its_handler_succeeded() {
    alone(|| {
        let server = ForkingTcpServer::bind(LOOPBACK, stream_handler(as_ordered)).unwrap();
        for (line, status) in [("well\n", 0), ("fail\n", 1), ("panic\n", 1)] {
            let client = StreamClient::connect(&server.server_address());
            client.send(line);
            server.handle_request().unwrap();
            // Outside of the loop nobody collects it, and this only looks at it.
            let [child] = *server.stack().child_pids() else {
                panic!("not one child: {:?}", server.stack().child_pids());
            };
            let child = Pid::from_raw(child.cast_signed());
            let ended = waitid(Id::Pid(child), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
            assert_eq!(ended, Ok(WaitStatus::Exited(child, status)), "{line}");
            server.stack().collect_children();
            assert_eq!(server.stack().child_pids(), [0; 0]);
        }
        close(server);
    });
}

#[test]
fn a_child_that_is_killed_costs_its_connection_alone() {
    alone(|| {
        let running = RunningServer::start(
            ForkingTcpServer::bind(LOOPBACK, stream_handler(as_ordered)).unwrap(),
        );
        for _ in 0..3 {
            let mut client = StreamClient::connect(&running.address());
            client.send("be killed\n");
            client.wait_for_close();
            let mut client = StreamClient::connect(&running.address());
            client.send("unharmed\n");
            assert_eq!(client.rest(), b"unharmed");
        }
        running.close();
        assert_eq!(children(), [0; 0]);
    });
}

#[test]
fn children_that_have_ended_are_collected_while_the_server_is_idle() {
    alone(|| {
        let running =
            RunningServer::start(ForkingTcpServer::bind(LOOPBACK, EchoLine::default).unwrap());
        for _ in 0..5 {
            let mut client = StreamClient::connect(&running.address());
            client.send("hello\n");
            assert_eq!(client.rest(), b"hello\n");
        }
        // No further request comes: the end of the children alone wakes the loop.
        eventually("all children are collected", || children().is_empty());
        eventually("none is known", || {
            running.server().stack().child_pids().is_empty()
        });
        running.close();
    });
}

#[test]
fn a_child_process_that_is_not_the_server_s_is_not_reaped() {
    alone(|| {
        let running =
            RunningServer::start(ForkingTcpServer::bind(LOOPBACK, EchoLine::default).unwrap());
        let mut early = Command::new("sh").args(["-c", "exit 72"]).spawn().unwrap();
        for round in 0..5 {
            // One more that ends while the server's children do.
            let status = format!("exit {round}");
            let mut ours = Command::new("sh").args(["-c", &status]).spawn().unwrap();
            let mut client = StreamClient::connect(&running.address());
            client.send("hello\n");
            assert_eq!(client.rest(), b"hello\n");
            assert_eq!(ours.wait().unwrap().code(), Some(round));
        }
        running.close();
        assert_eq!(early.wait().unwrap().code(), Some(72));
    });
}

#[test]
fn a_child_forked_while_another_thread_takes_a_signal_serves() {
    alone(|| {
        let taken = Arc::new(AtomicBool::new(false));
        let registered = signal_hook::flag::register(signal_hook::consts::SIGUSR1, taken).unwrap();
        // A thread that only waits, and is in the midst of a signal handler again and again.
        let (sender, threads) = channel();
        let waiting = std::thread::spawn(move || {
            sender.send(pthread_self()).unwrap();
            std::thread::park();
        });
        let thread = threads.recv().unwrap();
        let enough = AtomicBool::new(false);
        let running =
            RunningServer::start(ForkingTcpServer::bind(LOOPBACK, EchoLine::default).unwrap());
        let address = running.address();
        let answers: Vec<_> = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !enough.load(SeqCst) {
                    pthread_kill(thread, Signal::SIGUSR1).unwrap();
                }
            });
            let exchange = |_| {
                let mut client = StreamClient::connect(&address);
                // Far more than it takes, and less than all of them together may.
                let patience = Some(Duration::from_secs(5));
                client.socket().set_read_timeout(patience).unwrap();
                client.send("hello\n");
                client.try_rest()
            };
            let answers = (0..600).map(exchange).take_while(Result::is_ok);
            let answers = answers.map(Result::unwrap).collect();
            enough.store(true, SeqCst);
            answers
        });
        assert_eq!(answers.len(), 600, "a client was not answered");
        assert!(answers.iter().all(|answer| answer == b"hello\n"));
        waiting.thread().unpark();
        waiting.join().unwrap();
        signal_hook::low_level::unregister(registered);
        running.close();
        assert_eq!(children(), [0; 0]);
    });
}

#[test]
fn a_child_cannot_change_the_server_s_state() {
    alone(|| {
        let counter = Arc::new(AtomicUsize::new(0));
        let shared = counter.clone();
        let factory = stream_handler(move |request| {
            let before = shared.fetch_add(1, SeqCst);
            Ok(write!(request, "{before}")?)
        });
        let running = RunningServer::start(ForkingTcpServer::bind(LOOPBACK, factory).unwrap());
        for _ in 0..3 {
            assert_eq!(StreamClient::connect(&running.address()).rest(), b"0");
        }
        running.close();
        assert_eq!(counter.load(SeqCst), 0);
    });
}

/// Reports each pass of the loop.
struct Passes<S>(S, Reporter);

impl<S: BaseServer> MixIn for Passes<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.0
    }

    fn service_actions(&self) {
        self.1.say("pass");
        self.0.service_actions();
    }
}

#[test]
fn no_more_than_max_children_run_and_further_clients_wait_for_one_to_end() {
    alone(|| {
        let (reporter, mut served) = reports();
        let (passes, mut passed) = reports_of_passes();
        let (gate, key) = gate();
        let factory = stream_handler(move |request| {
            reporter.say("begun");
            gate.pass();
            Ok(request.write_all(b"served")?)
        });
        let layers = TcpServer::new(LOOPBACK, factory)
            .mix_in(ForkingMixIn::new)
            .max_children(2)
            .mix_in(|next| Passes(next, passes));
        let running = RunningServer::start(layers.bind().unwrap());
        let mut clients: Vec<_> = (0..4)
            .map(|_| StreamClient::connect(&running.address()))
            .collect();
        served.take(2);
        passed.so_far();
        // The loop looks at the clients that wait, and again, and leaves them where they are.
        for _ in 0..3 {
            running.server().stack().layer_handle().wake();
            passed.next_report();
        }
        assert_eq!(served.so_far(), [""; 0]);
        assert_eq!(children().len(), 2);
        key.let_pass(1);
        served.next_report();
        assert_eq!(
            children().len(),
            2,
            "the one that ended is collected before the next begins"
        );
        key.let_pass(3);
        served.next_report();
        for client in &mut clients {
            assert_eq!(client.rest(), b"served");
        }
        running.close();
        assert_eq!(children(), [0; 0]);
    });
}

fn reports_of_passes() -> (Reporter, Reports) {
    reports()
}

#[test]
fn a_handler_in_a_child_can_call_shutdown() {
    alone(|| {
        let stop = stream_handler(|request| {
            read_line(request)?;
            request.server().shutdown();
            Ok(request.write_all(b"stopped")?)
        });
        let running = RunningServer::start(ForkingTcpServer::bind(LOOPBACK, stop).unwrap());
        let mut client = StreamClient::connect(&running.address());
        client.send("stop\n");
        assert_eq!(client.rest(), b"stopped");
        close(running.wait_for_end());

        let stop = datagram_handler(|request| {
            request.server().shutdown();
            Ok(())
        });
        let running = RunningServer::start(ForkingUdpServer::bind(LOOPBACK, stop).unwrap());
        DatagramClient::connect(&running.address()).send(b"stop");
        close(running.wait_for_end());
        assert_eq!(children(), [0; 0]);
    });
}

/// Handlers that report "held", and answer when the gate lets them pass.
fn held_at(gate: Gate, reporter: Reporter) -> impl HandlerFactory<StreamRequest> {
    stream_handler(move |request| {
        reporter.say("held");
        gate.pass();
        Ok(request.write_all(b"to the end")?)
    })
}

#[test]
fn a_child_has_no_copy_of_the_listening_socket() {
    alone(|| {
        let (reporter, mut reports) = reports();
        let (gate, key) = gate();
        let factory = held_at(gate, reporter);
        let layers = TcpServer::new(LOOPBACK, factory)
            .mix_in(ForkingMixIn::new)
            .block_on_close(false);
        let running = RunningServer::start(layers.bind().unwrap());
        let address = running.address();
        let mut client = StreamClient::connect(&address);
        assert_eq!(reports.next_report(), "held");
        let [child] = *children() else {
            panic!("not one child");
        };
        running.close();
        // The child lives on, and nobody listens.
        eventually("the child has another parent thread", || {
            children() == [child]
        });
        let refused = StreamClient::try_connect(&address).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        key.let_pass(1);
        assert_eq!(client.rest(), b"to the end");
        let child = Pid::from_raw(child);
        assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
    });
}

#[test]
fn an_idle_child_is_interrupted_when_the_server_is_closed() {
    alone(|| {
        let (reporter, mut reports) = reports();
        let factory = move || Conversation(reporter.clone());
        let running = RunningServer::start(ForkingTcpServer::bind(LOOPBACK, factory).unwrap());
        let mut client = StreamClient::connect(&running.address());
        assert_eq!(client.line(), "welcome");
        client.send("hello\n");
        assert_eq!(client.line(), "hello");
        let report = running.close();
        assert_eq!(reports.next_report(), "told");
        assert_eq!(client.rest(), b"goodbye\n");
        assert_eq!(
            (report.idle + report.ended, report.aborted, report.running),
            (1, 0, 0)
        );
        assert_eq!(children(), [0; 0]);
    });
}

#[test]
fn a_child_that_is_signalled_before_it_waits_ends_as_well() {
    alone(|| {
        // Closing follows the fork at once, so the signal meets the child at a different point each
        // time: before its signal handler is installed, before `wait`, in `wait`.
        for _ in 0..20 {
            let (reporter, mut reports) = reports();
            let factory = move || Conversation(reporter.clone());
            let server = ForkingTcpServer::bind(LOOPBACK, factory).unwrap();
            let mut client = StreamClient::connect(&server.server_address());
            server.handle_request().unwrap();
            let report = close(server);
            assert_eq!(reports.next_report(), "told");
            assert_eq!(client.rest(), b"welcome\ngoodbye\n");
            assert_eq!(
                (report.idle + report.ended, report.aborted, report.running),
                (1, 0, 0)
            );
        }
        assert_eq!(children(), [0; 0]);
    });
}

#[test]
fn a_child_that_does_not_end_is_killed_at_the_drain_timeout() {
    alone(|| {
        let (reporter, mut reports) = reports();
        let factory = stream_handler(move |request| {
            reporter.say("reading");
            read_line(request)?;
            reporter.say("read");
            Ok(())
        });
        let server = ForkingTcpServer::bind(LOOPBACK, factory).unwrap();
        server.set_drain_timeout(Some(Duration::from_millis(50)));
        let running = RunningServer::start(server);
        let mut client = StreamClient::connect(&running.address());
        assert_eq!(reports.next_report(), "reading");
        let report = running.close();
        assert_eq!(
            (report.idle + report.ended, report.aborted, report.running),
            (0, 1, 0)
        );
        client.wait_for_close();
        assert_eq!(reports.so_far(), [""; 0]);
        assert_eq!(children(), [0; 0]);
    });
}

#[test]
fn closing_waits_for_the_children_that_run() {
    alone(|| {
        let (reporter, mut reports) = reports();
        let (gate, key) = gate();
        let factory = stream_handler(move |_| {
            reporter.say("held");
            gate.pass();
            reporter.say("let go");
            Ok(())
        });
        let running = RunningServer::start(ForkingTcpServer::bind(LOOPBACK, factory).unwrap());
        let address = running.address();
        let _client = StreamClient::connect(&address);
        assert_eq!(reports.next_report(), "held");
        let server = running.stop();
        let closing = std::thread::spawn(move || server.server_close());
        eventually("the socket is closed", || {
            StreamClient::try_connect(&address).is_err()
        });
        assert!(!closing.is_finished());
        assert_eq!(reports.so_far(), [""; 0]);
        key.let_pass(1);
        let report = within_limit("server_close", move || closing.join().unwrap());
        assert_eq!(reports.so_far(), ["let go"]);
        assert_eq!(
            (report.idle + report.ended, report.aborted, report.running),
            (1, 0, 0)
        );
        assert_eq!(children(), [0; 0]);
    });
}

/// Shuts the server down as soon as a request has come, which is served all the same.
struct LastRequest<S>(S);

impl<S: BaseServer> MixIn for LastRequest<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.0
    }

    fn verify_request(&self, _request: &mut RequestOf<Self>) -> bool {
        self.layer_handle().server().shutdown();
        true
    }
}

#[test]
fn a_request_that_is_forked_for_while_the_server_stops_is_counted_once() {
    alone(|| {
        let layers = TcpServer::new(LOOPBACK, EchoLine::default)
            .mix_in(ForkingMixIn::new)
            .mix_in(LastRequest);
        let server = layers.bind().unwrap();
        let mut client = StreamClient::connect(&server.server_address());
        client.send("last\n");
        let report = close(RunningServer::start(server).wait_for_end());
        assert_eq!(client.rest(), b"last\n");
        assert_eq!(
            (report.idle + report.ended, report.aborted, report.running),
            (1, 0, 0)
        );
    });
}

#[test]
fn a_layer_of_one_s_own_inside_or_outside_is_seen_from_the_child() {
    alone(|| {
        let (reporter, mut reports) = reports();
        let layers = Observer::new(
            TcpServer::new(LOOPBACK, EchoLine::default),
            "inner",
            reporter.clone(),
        )
        .mix_in(ForkingMixIn::new)
        .mix_in(|next| Observer::new(next, "outer", reporter.clone()));
        let running = RunningServer::start(layers.bind().unwrap());
        let mut client = StreamClient::connect(&running.address());
        client.send("hello\n");
        assert_eq!(client.rest(), b"hello\n");
        running.close();
        let reports = reports.so_far();
        let (parent, child): (Vec<_>, Vec<_>) = reports
            .iter()
            .partition(|report| process(report) == std::process::id());
        let hooks = |reports: Vec<&String>| {
            Vec::from_iter(reports.into_iter().map(|it| hook(it).to_owned()))
        };
        assert_eq!(
            hooks(parent),
            [
                "outer verify_request",
                "inner verify_request",
                "outer process_request",
                "outer close_request",
                "inner close_request"
            ]
        );
        assert_eq!(
            hooks(child),
            [
                "outer finish_request",
                "inner finish_request",
                "outer shutdown_request",
                "inner shutdown_request",
                "outer close_request",
                "inner close_request"
            ]
        );
    });
}

#[test]
fn datagrams_are_answered_from_the_children_side_by_side() {
    alone(|| {
        let (reporter, mut reports) = reports();
        let (gate, key) = gate();
        let factory = datagram_handler(move |request| {
            reporter.say("begun");
            gate.pass();
            let packet = request.packet().to_owned();
            Ok(request.write_all(&packet)?)
        });
        let layers = UdpServer::new(LOOPBACK, factory).mix_in(ForkingMixIn::new);
        let running = RunningServer::start(layers.bind().unwrap());
        let clients: Vec<_> = (0..3)
            .map(|_| DatagramClient::connect(&running.address()))
            .collect();
        for (number, client) in clients.iter().enumerate() {
            client.send(format!("packet {number}").as_bytes());
        }
        reports.take(3);
        key.let_pass(3);
        for (number, client) in clients.iter().enumerate() {
            assert_eq!(client.receive(), format!("packet {number}").as_bytes());
        }
        running.close();
        assert_eq!(children(), [0; 0]);
    });
}

#[test]
fn handle_request_returns_while_the_child_is_at_work() {
    alone(|| {
        let server = ForkingTcpServer::bind(LOOPBACK, EchoLine::default).unwrap();
        let mut client = StreamClient::connect(&server.server_address());
        server.handle_request().unwrap();
        assert_eq!(server.stack().child_pids().len(), 1);
        client.send("after\n");
        assert_eq!(client.rest(), b"after\n");
        close(server);
        assert_eq!(children(), [0; 0]);
    });
}

#[test]
fn handle_request_collects_children_when_its_time_is_over() {
    alone(|| {
        let server = ForkingTcpServer::bind(LOOPBACK, EchoLine::default).unwrap();
        let mut client = StreamClient::connect(&server.server_address());
        server.handle_request().unwrap();
        client.send("hello\n");
        assert_eq!(client.rest(), b"hello\n");
        let child = Pid::from_raw(server.stack().child_pids()[0].cast_signed());
        waitid(Id::Pid(child), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).unwrap();
        server.set_timeout(Some(Duration::from_millis(1)));
        server.handle_request().unwrap();
        assert_eq!(server.stack().child_pids(), [0; 0]);
        assert_eq!(children(), [0; 0]);
        close(server);
    });
}

/// A layer that panics in a new child while `stumbles` is set, and reports the processes that pass
/// the loop.
struct Stumbling<S> {
    next: S,
    stumbles: Arc<AtomicBool>,
    passes: Reporter,
}

impl<S: BaseServer> MixIn for Stumbling<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.next
    }

    fn after_fork_in_child(&self) {
        if self.stumbles.load(SeqCst) {
            silent_panic("stumbled");
        }
        self.next.after_fork_in_child();
    }

    fn service_actions(&self) {
        self.passes.say(std::process::id());
        self.next.service_actions();
    }
}

#[test]
fn a_child_whose_hook_panics_ends_with_status_1() {
    alone(|| {
        let (passes, mut passed) = reports();
        let stumbles = Arc::new(AtomicBool::new(true));
        let layers = TcpServer::new(LOOPBACK, EchoLine::default)
            .mix_in(|next| Stumbling {
                next,
                stumbles,
                passes,
            })
            .mix_in(ForkingMixIn::new);
        let server = layers.bind().unwrap();
        let mut client = StreamClient::connect(&server.server_address());
        let parent = std::process::id();
        server.handle_request().unwrap();
        if std::process::id() != parent {
            // A child that has come out of the server must not be taken for this test.
            std::process::abort();
        }
        let child = Pid::from_raw(server.stack().child_pids()[0].cast_signed());
        let ended = waitid(Id::Pid(child), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
        assert_eq!(ended, Ok(WaitStatus::Exited(child, 1)));
        client.wait_for_close();
        assert_eq!(passed.so_far(), [""; 0]);
        close(server);
        assert_eq!(children(), [0; 0]);
    });
}

#[test]
fn a_child_whose_hook_panics_costs_its_connection_alone_and_enters_no_loop() {
    alone(|| {
        let directory = support::short_paths::directory();
        let path = directory.path().join("socket");
        let (passes, mut passed) = reports();
        let stumbles = Arc::new(AtomicBool::new(true));
        let told = stumbles.clone();
        let layers = UnixStreamServer::new(&path, EchoLine::default)
            .mix_in(ForkingMixIn::new)
            .mix_in(|next| Stumbling {
                next,
                stumbles: told,
                passes,
            });
        let running = RunningServer::start(layers.bind().unwrap());
        for _ in 0..3 {
            let mut client = StreamClient::connect(&running.address());
            client.wait_for_close();
            eventually("the child has ended", || children().is_empty());
            assert!(path.exists());
        }
        stumbles.store(false, SeqCst);
        let mut client = StreamClient::connect(&running.address());
        client.send("unharmed\n");
        assert_eq!(client.rest(), b"unharmed\n");
        running.close();
        assert!(!path.exists());
        assert_eq!(children(), [0; 0]);
        let passed = passed.so_far();
        let parent = std::process::id().to_string();
        assert!(passed.iter().all(|process| *process == parent));
    });
}

#[test]
fn an_idle_child_is_interrupted_although_the_thread_that_serves_blocks_the_signal_for_it() {
    alone(|| {
        let (reporter, mut reports) = reports();
        let factory = move || Conversation(reporter.clone());
        let server = ForkingTcpServer::bind(LOOPBACK, factory).unwrap();
        // A new thread has the mask of the one that starts it.
        let signal = SigSet::from(Signal::SIGTERM);
        let mask = SigSet::thread_get_mask().unwrap();
        signal.thread_block().unwrap();
        let running = RunningServer::start(server);
        mask.thread_set_mask().unwrap();
        let mut client = StreamClient::connect(&running.address());
        assert_eq!(client.line(), "welcome");
        let report = running.close();
        assert_eq!(reports.next_report(), "told");
        assert_eq!(client.rest(), b"goodbye\n");
        assert_eq!(
            (report.idle + report.ended, report.aborted, report.running),
            (1, 0, 0)
        );
        assert_eq!(children(), [0; 0]);
    });
}

#[test]
fn an_idle_child_is_interrupted_by_a_shutdown_at_once() {
    alone(|| {
        let (reporter, mut reports) = reports();
        let factory = move || Conversation(reporter.clone());
        let running = RunningServer::start(ForkingTcpServer::bind(LOOPBACK, factory).unwrap());
        let mut client = StreamClient::connect(&running.address());
        assert_eq!(client.line(), "welcome");
        let server = running.stop();
        assert_eq!(reports.next_report(), "told");
        assert_eq!(client.rest(), b"goodbye\n");
        let report = close(server);
        assert_eq!(
            (report.idle + report.ended, report.aborted, report.running),
            (1, 0, 0)
        );
        assert_eq!(children(), [0; 0]);
    });
}

#[test]
fn an_idle_child_that_is_not_waited_for_is_interrupted_when_the_server_is_closed() {
    alone(|| {
        let (reporter, mut reports) = reports();
        let layers = TcpServer::new(LOOPBACK, move || Conversation(reporter.clone()))
            .mix_in(ForkingMixIn::new)
            .block_on_close(false);
        let server = layers.bind().unwrap();
        let mut client = StreamClient::connect(&server.server_address());
        server.handle_request().unwrap();
        assert_eq!(client.line(), "welcome");
        let child = Pid::from_raw(server.stack().child_pids()[0].cast_signed());
        let report = close(server);
        assert_eq!(reports.next_report(), "told");
        assert_eq!(client.rest(), b"goodbye\n");
        // It may have ended in time to be collected.
        assert_eq!(report.idle + report.ended + report.running, 1, "{report}");
        assert_eq!(report.aborted, 0, "{report}");
        if report.running == 1 {
            assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
        }
        assert_eq!(children(), [0; 0]);
    });
}

#[test]
fn a_busy_child_that_is_not_waited_for_is_reported_as_running() {
    alone(|| {
        let (reporter, mut reports) = reports();
        let (gate, key) = gate();
        let factory = held_at(gate, reporter);
        let layers = TcpServer::new(LOOPBACK, factory)
            .mix_in(ForkingMixIn::new)
            .block_on_close(false);
        let running = RunningServer::start(layers.bind().unwrap());
        let mut client = StreamClient::connect(&running.address());
        assert_eq!(reports.next_report(), "held");
        let children_now = || running.server().stack().child_pids();
        // The child may have reported before its parent knows of the child.
        eventually("the child is known", || children_now().len() == 1);
        let child = Pid::from_raw(children_now()[0].cast_signed());
        let report = running.close();
        assert_eq!(
            (report.idle + report.ended, report.aborted, report.running),
            (0, 0, 1)
        );
        key.let_pass(1);
        assert_eq!(client.rest(), b"to the end");
        assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
    });
}

/// Far more wake-ups than the socket that wakes a loop holds.
const WAKE_UPS: usize = 100_000;

/// Holds the loop at a gate for every request but the first.
struct BusyLoop<S> {
    next: S,
    requests: AtomicUsize,
    busy: Reporter,
    gate: Gate,
}

impl<S: BaseServer> MixIn for BusyLoop<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.next
    }

    fn verify_request(&self, request: &mut RequestOf<Self>) -> bool {
        if self.requests.fetch_add(1, SeqCst) > 0 {
            self.busy.say("busy");
            self.gate.pass();
        }
        self.next.verify_request(request)
    }
}

/// Shuts the server down if the line is "stop", and sends the line back.
fn stop_or_echo(request: &mut StreamRequest) -> HandlerResult {
    let line = read_line(request)?;
    if line == "stop" {
        request.server().shutdown();
    }
    Ok(request.write_all(line.as_bytes())?)
}

#[test]
fn a_shutdown_in_a_child_stops_the_loop_however_often_the_busy_loop_was_woken_before() {
    alone(|| {
        let (busy, mut loop_is) = reports();
        let (gate, key) = gate();
        let layers = TcpServer::new(LOOPBACK, stream_handler(stop_or_echo))
            .mix_in(ForkingMixIn::new)
            .mix_in(|next| BusyLoop {
                next,
                requests: AtomicUsize::new(0),
                busy,
                gate,
            });
        let running = RunningServer::start(layers.bind().unwrap());
        let mut stopping = StreamClient::connect(&running.address());
        let mut other = StreamClient::connect(&running.address());
        assert_eq!(loop_is.next_report(), "busy");
        for _ in 0..WAKE_UPS {
            running.server().stack().layer_handle().wake();
        }
        stopping.send("stop\n");
        assert_eq!(stopping.rest(), b"stop");
        key.let_pass(1);
        // It was accepted before.
        other.send("served\n");
        assert_eq!(other.rest(), b"served");
        close(running.wait_for_end());
        assert_eq!(children(), [0; 0]);
    });
}

#[test]
fn a_shutdown_in_a_child_stops_a_program_that_calls_handle_request_again_and_again() {
    alone(|| {
        let server = ForkingTcpServer::bind(LOOPBACK, stream_handler(stop_or_echo)).unwrap();
        for _ in 0..WAKE_UPS {
            server.stack().layer_handle().wake();
        }
        let mut stopping = StreamClient::connect(&server.server_address());
        stopping.send("stop\n");
        server.handle_request().unwrap();
        assert_eq!(stopping.rest(), b"stop");
        assert!(!server.handle().is_draining());
        // There is a next client at every time, so the program need never wait.
        let mut next = StreamClient::connect(&server.server_address());
        next.send("too late\n");
        server.handle_request().unwrap();
        assert!(server.handle().is_draining());
        close(server);
        next.wait_for_close();
        assert_eq!(children(), [0; 0]);
    });
}
