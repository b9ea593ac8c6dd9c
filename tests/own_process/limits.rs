//! No more requests run at a time than the limits allow; the others wait, or are refused.

use std::io::Write;
use std::time::Duration;

use socket2::SockRef;
use socketserver::{
    BaseServer, ForkingTcpServer, HandlerFactory, Limits, Serve, Server, StreamRequest, TcpServer,
    ThreadPoolTcpServer, ThreadingMixIn, ThreadingTcpServer, ThreadingUdpServer,
    ThreadingUnixDatagramServer, ThreadingUnixStreamServer,
};
use support::clients::{DatagramClient, StreamClient};
use support::own_process::alone;
use support::reports::{Gate, Reporter, Reports, gate, reports};
use support::running_server::RunningServer;
use support::services::{EchoLine, datagram_handler, read_line, stream_handler};
use support::waiting::{LIMIT, eventually, within_limit};

const LOOPBACK: &str = "127.0.0.1:0";

/// Says that it runs, and holds each connection until its client leaves.
fn held(reporter: Reporter) -> impl HandlerFactory<StreamRequest> {
    stream_handler(move |request| {
        reporter.say("runs");
        while request.wait()? {
            let line = read_line(request)?;
            writeln!(request, "{line}")?;
        }
        Ok(())
    })
}

fn start<S: BaseServer>(server: Server<S>, limits: Limits) -> RunningServer<S> {
    server.handle().set_limits(limits);
    RunningServer::start(server)
}

fn others_wait<S: BaseServer>(running: RunningServer<S>, reports: &mut Reports) {
    let mut clients: Vec<_> = (0..5)
        .map(|_| StreamClient::connect(&running.address()))
        .collect();
    reports.take(2);
    // Whoever comes next has been waiting before this: the loop had the time to accept it.
    clients.iter().for_each(|client| client.send("hello\n"));
    for _ in 0..3 {
        // A forking server counts a request twice for an instant, while it hands it to a child.
        eventually("two requests run", || {
            let statistics = running.handle().statistics();
            (statistics.accepted - finished(&running), statistics.active) == (2, 2)
        });
        assert_eq!(reports.so_far(), [""; 0]);
        assert_eq!(clients.remove(0).line(), "hello");
        assert_eq!(reports.next_report(), "runs");
    }
    for mut client in clients {
        assert_eq!(client.line(), "hello");
    }
    running.close();
}

fn finished<S: BaseServer>(running: &RunningServer<S>) -> u64 {
    running.handle().statistics().finished
}

#[test]
fn above_the_limit_clients_wait_and_are_served_as_others_end() {
    alone(|| {
        let limits = Limits::none().with_max_connections(2);
        let (reporter, mut reports) = reports();
        let held = || held(reporter.clone());
        let server = ThreadingTcpServer::bind(LOOPBACK, held()).unwrap();
        others_wait(start(server, limits.clone()), &mut reports);
        let server = ThreadPoolTcpServer::bind(LOOPBACK, held()).unwrap();
        others_wait(start(server, limits.clone()), &mut reports);
        let server = ForkingTcpServer::bind(LOOPBACK, held()).unwrap();
        others_wait(start(server, limits.clone()), &mut reports);
        let directory = support::short_paths::directory();
        let server =
            ThreadingUnixStreamServer::bind(directory.path().join("socket"), held()).unwrap();
        others_wait(start(server, limits), &mut reports);
    });
}

fn others_are_refused<S: BaseServer>(running: RunningServer<S>, reports: &mut Reports) {
    let first = StreamClient::connect(&running.address());
    assert_eq!(reports.next_report(), "runs");
    for _ in 0..3 {
        let mut refused = StreamClient::connect(&running.address());
        assert_eq!(refused.rest(), b"too busy\n");
    }
    eventually("three are counted as refused", || {
        running.handle().statistics().refused == 3
    });
    drop(first);
    eventually("there is room again", || {
        running.handle().active_request_count() == 0
    });
    let mut next = StreamClient::connect(&running.address());
    next.send("hello\n");
    assert_eq!(next.line(), "hello");
    assert_eq!(reports.next_report(), "runs");
    running.close();
}

#[test]
fn above_the_limit_clients_are_refused_with_a_message_if_so_wished() {
    alone(|| {
        let limits = Limits::none()
            .with_max_connections(1)
            .refuse_with("too busy\n");
        let (reporter, mut reports) = reports();
        let held = || held(reporter.clone());
        let server = ThreadingTcpServer::bind(LOOPBACK, held()).unwrap();
        others_are_refused(start(server, limits.clone()), &mut reports);
        let server = ThreadPoolTcpServer::bind(LOOPBACK, held()).unwrap();
        others_are_refused(start(server, limits.clone()), &mut reports);
        let server = ForkingTcpServer::bind(LOOPBACK, held()).unwrap();
        others_are_refused(start(server, limits.clone()), &mut reports);
        let directory = support::short_paths::directory();
        let server =
            ThreadingUnixStreamServer::bind(directory.path().join("socket"), held()).unwrap();
        others_are_refused(start(server, limits), &mut reports);
    });
}

#[test]
fn a_refused_client_that_has_spoken_first_still_gets_the_message() {
    alone(|| {
        let limits = Limits::none()
            .with_max_connections(0)
            .refuse_with("too busy\n");
        let server = ThreadingTcpServer::bind(LOOPBACK, EchoLine::default).unwrap();
        server.handle().set_limits(limits);
        let mut client = StreamClient::connect(&server.server_address());
        client.send("hello\n");
        server.handle_request().unwrap();
        assert_eq!(client.rest(), b"too busy\n");
    });
}

#[test]
fn a_refused_client_that_takes_no_message_does_not_hold_the_loop() {
    alone(|| {
        let message = vec![b'm'; 64 << 20];
        let limits = Limits::none().with_max_connections(0).refuse_with(message);
        let server = ThreadingTcpServer::bind(LOOPBACK, EchoLine::default).unwrap();
        let running = start(server, limits);
        let _silent = StreamClient::connect(&running.address());
        eventually("it is refused", || {
            running.handle().statistics().refused == 1
        });
        running.handle().set_limits(Limits::none());
        let mut client = StreamClient::connect(&running.address());
        client.send("hello\n");
        assert_eq!(client.line(), "hello");
        running.close();
    });
}

#[test]
fn one_address_has_no_more_connections_than_are_its_own() {
    alone(|| {
        let (reporter, mut reports) = reports();
        let server = ThreadingTcpServer::bind(LOOPBACK, held(reporter)).unwrap();
        let running = start(server, Limits::none().with_max_connections_per_address(2));
        let first = StreamClient::connect(&running.address());
        let mut second = StreamClient::connect(&running.address());
        reports.take(2);
        StreamClient::connect(&running.address()).wait_for_close();
        // Another address of this machine.
        let other =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let other_address: std::net::SocketAddr = "127.0.0.2:0".parse().unwrap();
        other.bind(&other_address.into()).unwrap();
        let server = running.server().local_addr().unwrap();
        other.connect(&server.into()).unwrap();
        assert_eq!(reports.next_report(), "runs");
        drop(first);
        eventually("one has left", || {
            running.handle().active_request_count() == 2
        });
        let mut third = StreamClient::connect(&running.address());
        for client in [&mut second, &mut third] {
            client.send("hello\n");
            assert_eq!(client.line(), "hello");
        }
        eventually("one is counted as refused", || {
            running.handle().statistics().refused == 1
        });
        running.close();
    });
}

#[test]
fn a_limit_per_address_counts_the_connections_that_were_there_before_it() {
    alone(|| {
        let (reporter, mut reports) = reports();
        let server = ThreadingTcpServer::bind(LOOPBACK, held(reporter.clone())).unwrap();
        let running = RunningServer::start(server);
        let client = StreamClient::connect(&running.address());
        assert_eq!(reports.next_report(), "runs");
        let limits = Limits::none().with_max_connections_per_address(1);
        running
            .handle()
            .set_limits(limits.refuse_with("one each\n"));
        assert_eq!(
            StreamClient::connect(&running.address()).rest(),
            b"one each\n"
        );
        drop(client);
        eventually("it has left", || {
            running.handle().active_request_count() == 0
        });
        let _next = StreamClient::connect(&running.address());
        assert_eq!(reports.next_report(), "runs");
        running.close();
    });
}

#[test]
fn forked_children_count_for_their_address() {
    alone(|| {
        let (reporter, mut reports) = reports();
        let server = ForkingTcpServer::bind(LOOPBACK, held(reporter)).unwrap();
        let limits = Limits::none().with_max_connections_per_address(1);
        let running = start(server, limits.refuse_with("one each\n"));
        let client = StreamClient::connect(&running.address());
        assert_eq!(reports.next_report(), "runs");
        assert_eq!(
            StreamClient::connect(&running.address()).rest(),
            b"one each\n"
        );
        drop(client);
        eventually("the child has been collected", || {
            running.handle().active_request_count() == 0
        });
        let _next = StreamClient::connect(&running.address());
        assert_eq!(reports.next_report(), "runs");
        running.close();
    });
}

#[test]
fn raising_a_limit_lets_those_in_who_wait() {
    alone(|| {
        let (reporter, mut reports) = reports();
        let server = ThreadingTcpServer::bind(LOOPBACK, held(reporter)).unwrap();
        let running = start(server, Limits::none().with_max_connections(1));
        let clients: Vec<_> = (0..3)
            .map(|_| StreamClient::connect(&running.address()))
            .collect();
        assert_eq!(reports.next_report(), "runs");
        running
            .handle()
            .set_limits(Limits::none().with_max_connections(2));
        assert_eq!(reports.next_report(), "runs");
        running.handle().set_limits(Limits::none());
        assert_eq!(reports.next_report(), "runs");
        drop(clients);
        running.close();
    });
}

#[test]
fn lowering_a_limit_ends_nobody_and_keeps_new_clients_out() {
    alone(|| {
        let (reporter, mut reports) = reports();
        let server = ThreadingTcpServer::bind(LOOPBACK, held(reporter)).unwrap();
        let running = RunningServer::start(server);
        let mut clients: Vec<_> = (0..3)
            .map(|_| StreamClient::connect(&running.address()))
            .collect();
        reports.take(3);
        running
            .handle()
            .set_limits(Limits::none().with_max_connections(2));
        let mut late = StreamClient::connect(&running.address());
        late.send("hello\n");
        for client in &mut clients {
            client.send("still here\n");
            assert_eq!(client.line(), "still here");
        }
        clients.truncate(2);
        eventually("one has left", || {
            running.handle().active_request_count() == 2
        });
        assert_eq!(reports.so_far(), [""; 0]);
        clients.truncate(1);
        assert_eq!(late.line(), "hello");
        running.close();
    });
}

fn held_datagrams(gate: Gate, reporter: Reporter) -> Server<impl BaseServer> {
    let factory = datagram_handler(move |request| {
        reporter.say("runs");
        gate.pass();
        Ok(request.write_all(b"served")?)
    });
    ThreadingUdpServer::bind(LOOPBACK, factory).unwrap()
}

#[test]
fn datagrams_above_the_limit_wait_in_the_socket() {
    alone(|| {
        let (reporter, mut reports) = reports();
        let (gate, key) = gate();
        let running = start(
            held_datagrams(gate, reporter),
            Limits::none().with_max_connections(2),
        );
        let clients: Vec<_> = (0..5)
            .map(|_| DatagramClient::connect(&running.address()))
            .collect();
        clients.iter().for_each(|client| client.send(b"?"));
        reports.take(2);
        assert_eq!(running.handle().statistics().accepted, 2);
        key.let_pass(5);
        for client in clients {
            assert_eq!(client.receive(), b"served");
        }
        running.close();
    });
}

#[test]
fn a_datagram_above_the_limit_of_its_address_is_refused() {
    alone(|| {
        let (reporter, mut reports) = reports();
        let (gate, key) = gate();
        let limits = Limits::none().with_max_connections_per_address(1);
        let running = start(
            held_datagrams(gate, reporter),
            limits.refuse_with("one each"),
        );
        let clients = [(); 2].map(|()| DatagramClient::connect(&running.address()));
        clients[0].send(b"?");
        assert_eq!(reports.next_report(), "runs");
        clients[1].send(b"?");
        assert_eq!(clients[1].receive(), b"one each");
        key.let_pass(1);
        assert_eq!(clients[0].receive(), b"served");
        running.close();
    });
}

#[test]
fn a_client_that_takes_no_refused_datagrams_does_not_hold_the_loop() {
    alone(|| {
        let directory = support::short_paths::directory();
        let path = directory.path().join("socket");
        let server = ThreadingUnixDatagramServer::bind(path, EchoLine::default).unwrap();
        let message = [b'm'; 4096];
        // More refusals than the server's socket holds, and then as many as there is time for, if
        // each is waited for.
        let buffer = SockRef::from(&server).send_buffer_size().unwrap();
        let refused = (buffer / message.len()) as u64 + 2 * LIMIT.as_secs();
        let nobody = Limits::none().with_max_connections(0).refuse_with(message);
        let running = start(server, nobody);
        let silent = DatagramClient::connect(&running.address());
        within_limit("refusing", {
            let handle = running.handle();
            move || {
                (0..refused).for_each(|_| silent.send(b"?"));
                eventually("all are refused", || handle.statistics().refused == refused);
            }
        });
        running.close();
    });
}

#[test]
fn who_came_before_addresses_are_counted_anew_is_not_counted_when_it_ends() {
    alone(|| {
        let (reporter, mut reports) = reports();
        let (first_gate, first_key) = gate();
        let (second_gate, second_key) = gate();
        let factory = datagram_handler(move |request| {
            reporter.say("runs");
            match request.packet() {
                b"first" => first_gate.pass(),
                b"second" => second_gate.pass(),
                _ => {}
            }
            Ok(request.write_all(b"served")?)
        });
        let one_each = || Limits::none().with_max_connections_per_address(1);
        let server = ThreadingUdpServer::bind(LOOPBACK, factory).unwrap();
        let running = start(server, one_each());
        let clients = [(); 3].map(|()| DatagramClient::connect(&running.address()));
        clients[0].send(b"first");
        assert_eq!(reports.next_report(), "runs");
        running.handle().set_limits(Limits::none());
        let limits = one_each().refuse_with("one each");
        running.handle().set_limits(limits);
        clients[1].send(b"second");
        assert_eq!(reports.next_report(), "runs");
        first_key.let_pass(1);
        assert_eq!(clients[0].receive(), b"served");
        eventually("it has ended", || {
            running.handle().active_request_count() == 1
        });
        clients[2].send(b"third");
        assert_eq!(clients[2].receive(), b"one each");
        second_key.let_pass(1);
        assert_eq!(clients[1].receive(), b"served");
        running.close();
    });
}

#[test]
fn a_server_at_its_limit_stops_at_once() {
    alone(|| {
        let (reporter, mut reports) = reports();
        let server = ThreadingTcpServer::bind(LOOPBACK, held(reporter)).unwrap();
        let running = start(server, Limits::none().with_max_connections(1));
        let _clients = [(); 3].map(|()| StreamClient::connect(&running.address()));
        assert_eq!(reports.next_report(), "runs");
        assert_eq!(running.close().running, 0);
    });
}

#[test]
fn a_single_request_waits_for_room_and_no_longer_than_its_timeout() {
    alone(|| {
        let (reporter, mut reports) = reports();
        let layers = TcpServer::new(LOOPBACK, held(reporter)).mix_in(ThreadingMixIn::new);
        let server = layers.bind().unwrap();
        server
            .handle()
            .set_limits(Limits::none().with_max_connections(1));
        let clients = [(); 2].map(|()| StreamClient::connect(&server.server_address()));
        server.handle_request().unwrap();
        assert_eq!(reports.next_report(), "runs");
        server.set_timeout(Some(Duration::from_millis(20)));
        server.handle_request().unwrap();
        assert_eq!(server.handle().statistics().accepted, 1);
        server.set_timeout(None);
        let [first, _second] = clients;
        drop(first);
        let server = within_limit("handle_request", move || {
            server.handle_request().unwrap();
            server
        });
        assert_eq!(reports.next_report(), "runs");
        drop(server);
    });
}

#[test]
fn a_suspended_server_accepts_nobody_and_serves_on() {
    alone(|| {
        let (reporter, mut reports) = reports();
        let server = ThreadingTcpServer::bind(LOOPBACK, held(reporter)).unwrap();
        let running = RunningServer::start(server);
        let mut before = StreamClient::connect(&running.address());
        assert_eq!(reports.next_report(), "runs");
        running.handle().suspend();
        assert!(running.handle().is_suspended());
        // One that the loop was waiting for already may still come in.
        let mut clients: Vec<_> = (0..3)
            .map(|_| StreamClient::connect(&running.address()))
            .collect();
        for _ in 0..100 {
            before.send("hello\n");
            assert_eq!(before.line(), "hello");
        }
        assert!(running.handle().statistics().accepted <= 2);
        running.handle().resume();
        assert!(!running.handle().is_suspended());
        for client in &mut clients {
            client.send("hello\n");
            assert_eq!(client.line(), "hello");
        }
        running.close();
    });
}

#[test]
fn a_suspended_server_stops_at_once() {
    alone(|| {
        let server = ThreadingTcpServer::bind(LOOPBACK, EchoLine::default).unwrap();
        server.handle().suspend();
        let running = RunningServer::start(server);
        let _client = StreamClient::connect(&running.address());
        running.close();
    });
}
