//! The threads of `ThreadingMixIn`: how long they live, and whether closing waits for them.

use std::cell::RefCell;
use std::collections::HashSet;
use std::time::Duration;

use socketserver::{
    BaseServer, ReactorMixIn, Serve, Server, TcpServer, ThreadPoolMixIn, ThreadingMixIn, UdpServer,
};
use support::clients::{DatagramClient, StreamClient};
use support::reports::{Gate, Reporter, gate, reports};
use support::running_server::{RunningServer, close};
use support::services::{EchoLine, datagram_handler, read_line, stream_handler};
use support::waiting::{LIMIT, eventually, within_limit};

const LOOPBACK: &str = "127.0.0.1:0";

/// Reports the end of the thread that it belongs to.
struct EndOfThread(Reporter, String);

impl Drop for EndOfThread {
    fn drop(&mut self) {
        self.0.say(format_args!("end of {}", self.1));
    }
}

thread_local! {
    static END: RefCell<Option<EndOfThread>> = const { RefCell::new(None) };
}

fn this_thread() -> String {
    format!("{:?}", std::thread::current().id())
}

/// A server whose handlers send the client the name of their thread, and report the thread's end.
fn server_that_reports_its_threads(
    reporter: Reporter,
    layer: impl FnOnce(
        TcpServer<Box<dyn Fn() -> Tell + Send + Sync>>,
    ) -> ThreadingMixIn<TcpServer<Box<dyn Fn() -> Tell + Send + Sync>>>,
) -> Server<impl BaseServer> {
    let factory: Box<dyn Fn() -> Tell + Send + Sync> = Box::new(move || Tell(reporter.clone()));
    layer(TcpServer::new(LOOPBACK, factory)).bind().unwrap()
}

struct Tell(Reporter);

impl socketserver::RequestHandler for Tell {
    fn handle(&mut self, request: &mut socketserver::StreamRequest) -> socketserver::HandlerResult {
        let name = this_thread();
        END.with_borrow_mut(|end| {
            end.get_or_insert_with(|| EndOfThread(self.0.clone(), name.clone()));
        });
        Ok(std::io::Write::write_all(request, name.as_bytes())?)
    }
}

fn thread_of_a_request<S: BaseServer>(running: &RunningServer<S>) -> String {
    let mut client = StreamClient::connect(&running.address());
    String::from_utf8(client.rest()).unwrap()
}

#[test]
fn threads_are_not_kept_for_ever() {
    let (reporter, mut reports) = reports();
    let running = RunningServer::start(server_that_reports_its_threads(reporter, |next| {
        ThreadingMixIn::new(next).keep_alive(Duration::from_millis(1))
    }));
    let threads: HashSet<_> = (0..10).map(|_| thread_of_a_request(&running)).collect();
    // The server is still serving when the last of them has ended.
    let ended: HashSet<_> = reports.take(threads.len()).into_iter().collect();
    let expected = threads
        .iter()
        .map(|thread| format!("end of {thread}"))
        .collect();
    assert_eq!(ended, expected);
    running.close();
}

#[test]
fn without_keep_alive_every_request_has_a_thread_of_its_own() {
    let (reporter, mut reports) = reports();
    let running = RunningServer::start(server_that_reports_its_threads(reporter, |next| {
        ThreadingMixIn::new(next).keep_alive(Duration::ZERO)
    }));
    for _ in 0..10 {
        let thread = thread_of_a_request(&running);
        assert_eq!(reports.next_report(), format!("end of {thread}"));
    }
    running.close();
}

#[test]
fn a_thread_that_has_finished_takes_the_next_connection() {
    let (reporter, mut reports) = reports();
    let running = RunningServer::start(server_that_reports_its_threads(reporter, |next| {
        ThreadingMixIn::new(next).keep_alive(LIMIT * 2)
    }));
    // A client sees its end before the thread waits again, so the next may come too early for it.
    let mut seen = HashSet::new();
    eventually("a second request in a known thread", || {
        !seen.insert(thread_of_a_request(&running))
    });
    assert_eq!(reports.so_far(), [""; 0]);
    running.close();
    assert_eq!(reports.take(seen.len()).len(), seen.len());
}

#[test]
fn threads_that_wait_for_a_request_do_not_hold_up_closing() {
    let (reporter, mut reports) = reports();
    let running = RunningServer::start(server_that_reports_its_threads(reporter, |next| {
        ThreadingMixIn::new(next).keep_alive(LIMIT * 2)
    }));
    let thread = thread_of_a_request(&running);
    assert_eq!(running.close().running, 0);
    assert_eq!(reports.next_report(), format!("end of {thread}"));
}

#[test]
fn requests_are_served_side_by_side() {
    // Each handler waits until all of them run.
    let barrier = std::sync::Arc::new(std::sync::Barrier::new(20));
    let factory = stream_handler(move |request| {
        barrier.wait();
        Ok(std::io::Write::write_all(request, b"together")?)
    });
    let layers = TcpServer::new(LOOPBACK, factory).mix_in(ThreadingMixIn::new);
    let running = RunningServer::start(layers.bind().unwrap());
    let clients: Vec<_> = (0..20)
        .map(|_| StreamClient::connect(&running.address()))
        .collect();
    for mut client in clients {
        assert_eq!(client.rest(), b"together");
    }
    running.close();
}

#[test]
fn datagrams_are_served_side_by_side() {
    let barrier = std::sync::Arc::new(std::sync::Barrier::new(5));
    let factory = datagram_handler(move |request| {
        barrier.wait();
        Ok(std::io::Write::write_all(request, b"together")?)
    });
    let layers = UdpServer::new(LOOPBACK, factory).mix_in(ThreadingMixIn::new);
    let running = RunningServer::start(layers.bind().unwrap());
    let clients: Vec<_> = (0..5)
        .map(|_| DatagramClient::connect(&running.address()))
        .collect();
    for client in &clients {
        client.send(b"?");
    }
    for client in clients {
        assert_eq!(client.receive(), b"together");
    }
    running.close();
}

/// Closes a server one of whose handlers is held, and returns how many requests are left running.
fn running_after_close(
    layer: impl FnOnce(TcpServer<Held>) -> ThreadingMixIn<TcpServer<Held>>,
) -> usize {
    let (reporter, mut reports) = reports();
    let (gate, key) = gate();
    let held: Held = Box::new(move || {
        let (reporter, gate) = (reporter.clone(), gate.clone());
        Hold(reporter, gate)
    });
    let running = RunningServer::start(layer(TcpServer::new(LOOPBACK, held)).bind().unwrap());
    let handle = running.handle();
    let _client = StreamClient::connect(&running.address());
    assert_eq!(reports.next_report(), "held");
    let report = running.close();
    assert_eq!(handle.active_request_count(), report.running);
    key.let_pass(1);
    assert_eq!(reports.next_report(), "let go");
    report.running
}

type Held = Box<dyn Fn() -> Hold + Send + Sync>;

struct Hold(Reporter, Gate);

impl socketserver::RequestHandler for Hold {
    fn handle(&mut self, _: &mut socketserver::StreamRequest) -> socketserver::HandlerResult {
        self.0.say("held");
        self.1.pass();
        self.0.say("let go");
        Ok(())
    }
}

#[test]
fn closing_does_not_wait_for_daemon_threads() {
    let running = running_after_close(|next| ThreadingMixIn::new(next).daemon_threads(true));
    assert_eq!(running, 1);
}

#[test]
fn closing_does_not_wait_without_block_on_close() {
    let running = running_after_close(|next| ThreadingMixIn::new(next).block_on_close(false));
    assert_eq!(running, 1);
}

#[test]
fn closing_waits_for_the_requests_that_run() {
    let (reporter, mut reports) = reports();
    let (gate, key) = gate();
    let factory = stream_handler(move |_| {
        reporter.say("held");
        gate.pass();
        reporter.say("let go");
        Ok(())
    });
    let layers = TcpServer::new(LOOPBACK, factory).mix_in(ThreadingMixIn::new);
    let running = RunningServer::start(layers.bind().unwrap());
    let address = running.address();
    let _client = StreamClient::connect(&address);
    assert_eq!(reports.next_report(), "held");
    let server = running.stop();
    let closing = std::thread::spawn(move || server.server_close());
    // The socket is closed first: a refused connection shows that closing has begun.
    eventually("the socket is closed", || {
        StreamClient::try_connect(&address).is_err()
    });
    assert!(!closing.is_finished());
    assert_eq!(reports.so_far(), [""; 0]);
    key.let_pass(1);
    let report = within_limit("server_close", move || closing.join().unwrap());
    assert_eq!(reports.so_far(), ["let go"]);
    assert_eq!(
        (report.idle, report.ended, report.aborted, report.running),
        (0, 1, 0, 0)
    );
}

#[test]
fn a_server_serves_on_after_its_threads_have_ended() {
    let layers = TcpServer::new(LOOPBACK, EchoLine::default)
        .mix_in(ThreadingMixIn::new)
        .keep_alive(Duration::from_millis(1));
    let running = RunningServer::start(layers.bind().unwrap());
    for _ in 0..50 {
        let mut client = StreamClient::connect(&running.address());
        client.send("hello\n");
        assert_eq!(client.rest(), b"hello\n");
    }
    assert_eq!(close(running.stop()).running, 0);
}

#[test]
fn no_connection_is_lost_while_keep_alives_end() {
    // About the time between two connections, so that many come as a thread stops being idle.
    let layers = TcpServer::new(LOOPBACK, EchoLine::default)
        .mix_in(ThreadingMixIn::new)
        .keep_alive(Duration::from_micros(100));
    let running = RunningServer::start(layers.bind().unwrap());
    let address = &running.address();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..250 {
                    let mut client = StreamClient::connect(address);
                    client.send("hello\n");
                    assert_eq!(client.rest(), b"hello\n");
                }
            });
        }
    });
    assert_eq!(running.close().running, 0);
}

#[test]
fn handle_request_returns_while_the_thread_is_at_work() {
    let layers = TcpServer::new(
        LOOPBACK,
        stream_handler(|request| {
            let line = read_line(request)?;
            Ok(std::io::Write::write_all(request, line.as_bytes())?)
        }),
    )
    .mix_in(ThreadingMixIn::new);
    let server = layers.bind().unwrap();
    let mut client = StreamClient::connect(&server.server_address());
    // The handler needs the line that is sent only after this has returned.
    server.handle_request().unwrap();
    client.send("after\n");
    assert_eq!(client.rest(), b"after");
    close(server);
}

#[test]
fn the_answer_of_the_handler_that_stops_the_server_reaches_its_client_under_daemon_threads() {
    let factory = || {
        stream_handler(|request| {
            std::io::Write::write_all(request, b"stopping")?;
            request.server().shutdown();
            // The work that the handler still has. Meanwhile the other thread closes the server.
            std::thread::sleep(Duration::from_millis(50));
            Ok(())
        })
    };
    let bottom = || TcpServer::new(LOOPBACK, factory());
    answers_before_the_close(bottom().mix_in(ThreadingMixIn::new).daemon_threads(true));
    answers_before_the_close(bottom().mix_in(ThreadPoolMixIn::new).block_on_close(false));
    answers_before_the_close(bottom().mix_in(ReactorMixIn::new).block_on_close(false));
}

fn answers_before_the_close<S: BaseServer>(layers: S) {
    let running = RunningServer::start(layers.bind().unwrap());
    let mut client = StreamClient::connect(&running.address());
    let server = running.wait_for_end();
    let handle = server.handle();
    assert_eq!(close(server).running, 0);
    // A program whose `main` returns now has sent the answer.
    assert_eq!(handle.statistics().sent, 8);
    assert_eq!(client.rest(), b"stopping");
}
