//! What a server is doing can be asked, and each step of a request is seen by the layers.

use std::io::{self, Write};
use std::time::Duration;

use socketserver::layer::{GetRequestError, RequestOf};
use socketserver::{
    Address, BaseServer, Deadlines, ForkingMixIn, HandlerFactory, Limits, MixIn, ReactorMixIn,
    RequestEvent, Serve, Statistics, StreamRequest, TcpServer, ThreadPoolMixIn, ThreadingMixIn,
    ThreadingTcpServer, UdpServer, UnixStreamServer,
};
use support::clients::{DatagramClient, StreamClient};
use support::own_process::alone;
use support::reports::{Reporter, Reports, gate, reports};
use support::running_server::{RunningServer, close};
use support::services::{EchoLine, read_line, silent_panic, stream_handler};
use support::waiting::eventually;

const LOOPBACK: &str = "127.0.0.1:0";

/// A layer that reports every event, and refuses every request unless `verify` is set.
struct Events<S> {
    next: S,
    reporter: Reporter,
    verify: bool,
}

impl<S: BaseServer> MixIn for Events<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.next
    }

    fn verify_request(&self, _: &mut RequestOf<Self>) -> bool {
        self.verify
    }

    fn observe(&self, _: &Address, event: &RequestEvent) {
        self.reporter.say(match event {
            RequestEvent::Ended {
                outcome,
                accepted,
                received,
                sent,
                ..
            } => {
                assert!(accepted.elapsed() > Duration::ZERO);
                format!("{outcome}: {received} in, {sent} out")
            }
            RequestEvent::Started { .. } => "started".to_owned(),
            other => format!("{other:?}"),
        });
    }
}

fn events<S: BaseServer>(next: S, reporter: Reporter) -> Events<S> {
    Events {
        next,
        reporter,
        verify: true,
    }
}

/// Does what each line asks, and answers with the line.
fn obedient() -> impl HandlerFactory<StreamRequest> {
    stream_handler(|request| {
        while request.wait()? {
            let line = read_line(request)?;
            match &*line {
                "fail" => return Err("as told".into()),
                "panic" => silent_panic("as told"),
                "late" => request.set_deadlines(Deadlines::uniform(Duration::from_millis(1))),
                _ => {}
            }
            writeln!(request, "{line}")?;
        }
        Ok(())
    })
}

fn each_end_is_distinguished<S: BaseServer>(layers: S, reports: &mut Reports) {
    let server = layers.bind().unwrap();
    // An error would be logged, and that is another test's.
    let running = RunningServer::start(server);
    for (line, answer, end) in [
        ("hello\n", true, "finished: 6 in, 6 out"),
        ("fail\n", false, "failed: 5 in, 0 out"),
        ("panic\n", false, "panicked: 6 in, 0 out"),
        ("late\n", true, "timed out: 5 in, 5 out"),
    ] {
        let mut client = StreamClient::connect(&running.address());
        client.send(line);
        if answer {
            assert_eq!(client.line(), line.trim_end());
        }
        if line == "hello\n" {
            client.finish_sending();
        }
        client.wait_for_close();
        assert_eq!(reports.take(3), ["Accepted", "started", end]);
    }
    let mut expected = Statistics::default();
    (expected.accepted, expected.finished, expected.failed) = (4, 1, 1);
    (expected.panicked, expected.timed_out) = (1, 1);
    (expected.received, expected.sent) = (6 + 5 + 6 + 5, 6 + 5);
    eventually("all is counted", || {
        running.handle().statistics() == expected
    });
    running.close();
}

#[test]
fn each_end_of_a_connection_is_distinguished_with_every_mix_in() {
    alone(|| {
        let (reporter, mut reports) = reports();
        let bottom = || events(TcpServer::new(LOOPBACK, obedient()), reporter.clone());
        each_end_is_distinguished(bottom(), &mut reports);
        each_end_is_distinguished(bottom().mix_in(ThreadingMixIn::new), &mut reports);
        each_end_is_distinguished(bottom().mix_in(ThreadPoolMixIn::new), &mut reports);
        each_end_is_distinguished(bottom().mix_in(ReactorMixIn::new), &mut reports);
        each_end_is_distinguished(bottom().mix_in(ForkingMixIn::new), &mut reports);
        let directory = support::short_paths::directory();
        let bottom = UnixStreamServer::new(directory.path().join("socket"), obedient());
        let layers = events(bottom, reporter).mix_in(ThreadingMixIn::new);
        each_end_is_distinguished(layers, &mut reports);
    });
}

#[test]
fn a_datagram_s_life_is_seen_with_every_mix_in() {
    alone(|| {
        fn is_seen<S: BaseServer>(layers: S, reports: &mut Reports) {
            let running = RunningServer::start(layers.bind().unwrap());
            let client = DatagramClient::connect(&running.address());
            client.send(b"hello");
            assert_eq!(client.receive(), b"hello");
            let end = "finished: 5 in, 5 out";
            assert_eq!(reports.take(3), ["Accepted", "started", end]);
            let statistics = running.handle().statistics();
            assert_eq!((statistics.accepted, statistics.finished), (1, 1));
            assert_eq!((statistics.received, statistics.sent), (5, 5));
            running.close();
        }
        let (reporter, mut reports) = reports();
        let bottom = || {
            events(
                UdpServer::new(LOOPBACK, EchoLine::default),
                reporter.clone(),
            )
        };
        is_seen(bottom(), &mut reports);
        is_seen(bottom().mix_in(ThreadingMixIn::new), &mut reports);
        is_seen(bottom().mix_in(ForkingMixIn::new), &mut reports);
    });
}

#[test]
fn a_refused_request_is_seen_with_the_reason() {
    alone(|| {
        let (reporter, mut reports) = reports();
        let mut layers = events(TcpServer::new(LOOPBACK, obedient()), reporter);
        layers.verify = false;
        let server = layers.bind().unwrap();
        let refused = |reports: &mut Reports, why: &str| {
            let _client = StreamClient::connect(&server.server_address());
            server.handle_request().unwrap();
            assert_eq!(reports.take(2), ["Accepted", &format!("Refused({why})")]);
        };
        refused(&mut reports, "NotVerified");
        let nobody = Limits::none().with_max_connections(0).refuse_with("");
        server.handle().set_limits(nobody);
        refused(&mut reports, "TooManyConnections");
        let nobody = Limits::none().with_max_connections_per_address(0);
        server.handle().set_limits(nobody);
        refused(&mut reports, "TooManyFromAddress");
        assert_eq!(reports.so_far(), [""; 0]);
        assert_eq!(server.handle().statistics().refused, 3);
    });
}

#[test]
fn a_request_that_is_aborted_is_seen_as_such() {
    alone(|| {
        fn is_seen<S: BaseServer>(layers: S, reports: &mut Reports) {
            let server = layers.bind().unwrap();
            server.set_drain_timeout(Some(Duration::from_millis(20)));
            let running = RunningServer::start(server);
            let mut client = StreamClient::connect(&running.address());
            client.send("hello\nthe beginning of a line");
            assert_eq!(client.line(), "hello");
            assert_eq!(reports.take(2), ["Accepted", "started"]);
            let server = running.stop();
            let handle = server.handle();
            assert_eq!(close(server).aborted, 1);
            assert!(reports.next_report().starts_with("aborted"));
            assert_eq!(handle.statistics().aborted, 1);
        }
        let (reporter, mut reports) = reports();
        let bottom = || events(TcpServer::new(LOOPBACK, obedient()), reporter.clone());
        is_seen(bottom().mix_in(ThreadingMixIn::new), &mut reports);
        is_seen(bottom().mix_in(ForkingMixIn::new), &mut reports);
    });
}

#[test]
fn what_is_under_way_can_be_asked_at_any_time() {
    alone(|| {
        let (reporter, mut reports) = reports();
        let (gate, key) = gate();
        let factory = stream_handler(move |request| {
            while request.wait()? {
                let line = read_line(request)?;
                reporter.say("busy");
                gate.pass();
                writeln!(request, "{line}")?;
            }
            Ok(())
        });
        let running = RunningServer::start(ThreadingTcpServer::bind(LOOPBACK, factory).unwrap());
        let statistics = || running.handle().statistics();
        assert_eq!(statistics(), Statistics::default());
        let mut clients = [(); 3].map(|()| StreamClient::connect(&running.address()));
        eventually("three are idle", || statistics().idle == 3);
        assert_eq!((statistics().accepted, statistics().active), (3, 3));
        clients[0].send("hello\n");
        assert_eq!(reports.next_report(), "busy");
        assert_eq!((statistics().idle, statistics().active), (2, 3));
        assert_eq!((statistics().received, statistics().sent), (6, 0));
        key.let_pass(1);
        assert_eq!(clients[0].line(), "hello");
        eventually("three are idle again", || statistics().idle == 3);
        assert_eq!((statistics().received, statistics().sent), (6, 6));
        drop(clients);
        eventually("all have ended", || statistics().active == 0);
        assert_eq!((statistics().finished, statistics().idle), (3, 0));
        assert_eq!((statistics().received, statistics().sent), (6, 6));
        running.close();
    });
}

#[test]
fn a_panic_in_observe_changes_nothing() {
    alone(|| {
        struct Panics<S>(S);

        impl<S: BaseServer> MixIn for Panics<S> {
            type Next = S;

            fn next(&self) -> &S {
                &self.0
            }

            fn observe(&self, _: &Address, _: &RequestEvent) {
                silent_panic("seen too much");
            }
        }

        let layers = TcpServer::new(LOOPBACK, EchoLine::default)
            .mix_in(Panics)
            .mix_in(ThreadingMixIn::new);
        let running = RunningServer::start(layers.bind().unwrap());
        for _ in 0..2 {
            let mut client = StreamClient::connect(&running.address());
            client.send("hello\n");
            assert_eq!(client.line(), "hello");
        }
        assert_eq!(running.close().running, 0);
    });
}

#[test]
fn a_child_that_is_killed_has_failed() {
    alone(|| {
        let (reporter, mut reports) = reports();
        let bottom = events(TcpServer::new(LOOPBACK, obedient()), reporter);
        let running = RunningServer::start(bottom.mix_in(ForkingMixIn::new).bind().unwrap());
        let mut client = StreamClient::connect(&running.address());
        client.send("hello\n");
        assert_eq!(client.line(), "hello");
        assert_eq!(reports.take(2), ["Accepted", "started"]);
        let children_now = || running.server().stack().child_pids();
        // The child may have answered before its parent knows of the child.
        eventually("the child is known", || children_now().len() == 1);
        let child = nix::unistd::Pid::from_raw(children_now()[0].cast_signed());
        nix::sys::signal::kill(child, nix::sys::signal::Signal::SIGKILL).unwrap();
        assert_eq!(reports.next_report(), "failed: 0 in, 0 out");
        client.wait_for_close();
        // It is observed just before it ceases to count.
        eventually("the request has ended", || {
            running.handle().active_request_count() == 0
        });
        running.close();
    });
}

#[test]
fn a_request_that_a_layer_gives_up_while_it_gets_it_was_accepted_and_has_failed() {
    alone(|| {
        struct Fails<S>(S);

        impl<S: BaseServer> MixIn for Fails<S> {
            type Next = S;

            fn next(&self) -> &S {
                &self.0
            }

            fn get_request(&self) -> Result<RequestOf<Self>, GetRequestError> {
                drop(self.0.get_request()?);
                Err(io::Error::other("no agreement with the client").into())
            }
        }

        let (reporter, mut reports) = reports();
        let bottom = events(TcpServer::new(LOOPBACK, obedient()), reporter);
        let running = RunningServer::start(bottom.mix_in(Fails).bind().unwrap());
        for _ in 0..2 {
            StreamClient::connect(&running.address()).wait_for_close();
            assert_eq!(reports.take(2), ["Accepted", "failed: 0 in, 0 out"]);
        }
        running.close();
    });
}

#[test]
fn a_child_that_leaves_without_a_report_has_ended_as_its_exit_status_shows() {
    alone(|| {
        let (reporter, mut reports) = reports();
        let leaves = stream_handler(|request| match &*read_line(request)? {
            "succeed" => signal_hook::low_level::exit(0),
            _ => signal_hook::low_level::exit(2),
        });
        let bottom = events(TcpServer::new(LOOPBACK, leaves), reporter);
        let running = RunningServer::start(bottom.mix_in(ForkingMixIn::new).bind().unwrap());
        for (line, end) in [("succeed\n", "finished"), ("fail\n", "failed")] {
            let mut client = StreamClient::connect(&running.address());
            client.send(line);
            client.wait_for_close();
            let end = format!("{end}: 0 in, 0 out");
            assert_eq!(reports.take(3), ["Accepted", "started", &end]);
        }
        running.close();
    });
}
