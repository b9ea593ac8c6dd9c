//! `handle_request` serves one request; `handle_timeout` and `service_actions` are called in time.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use socketserver::{
    BaseServer, ForkingMixIn, MixIn, ReactorMixIn, Serve, Server, TcpServer, ThreadPoolMixIn,
    ThreadingMixIn, ThreadingTcpServer, UdpServer,
};
use support::clients::{DatagramClient, StreamClient};
use support::reports::{Reporter, Reports, reports};
use support::running_server::{RunningServer, close};
use support::services::{EchoLine, silent_panic, stream_handler};
use support::waiting::{LIMIT, eventually, within_limit};

const LOOPBACK: &str = "127.0.0.1:0";

/// Reports the hooks that the loop calls by itself.
struct Clock<S> {
    next: S,
    timeout: Option<Duration>,
    reporter: Reporter,
}

impl<S: BaseServer> MixIn for Clock<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.next
    }

    fn handle_timeout(&self) {
        self.reporter.say("handle_timeout");
    }

    fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    fn service_actions(&self) {
        self.reporter.say("service_actions");
    }
}

fn clocked(timeout: Option<Duration>) -> (Server<impl BaseServer>, Reports) {
    let (reporter, reports) = reports();
    let layers = TcpServer::new(LOOPBACK, EchoLine::default)
        .mix_in(ThreadingMixIn::new)
        .mix_in(|next| Clock {
            next,
            timeout,
            reporter,
        });
    (layers.bind().unwrap(), reports)
}

fn exchange(server: &Server<impl BaseServer>) {
    let mut client = StreamClient::connect(&server.server_address());
    client.send("hello\n");
    server.handle_request().unwrap();
    assert_eq!(client.rest(), b"hello\n");
}

const SHORT: Duration = Duration::from_millis(20);

#[test]
fn handle_request_serves_one_request_each_time() {
    let (server, mut reports) = clocked(None);
    for _ in 0..3 {
        exchange(&server);
    }
    close(server);
    assert_eq!(reports.so_far(), [""; 0]);
}

#[test]
fn handle_request_leaves_the_second_client_to_the_next_call() {
    let (reporter, mut reports) = reports();
    let factory = stream_handler(move |_| {
        reporter.say("served");
        Ok(())
    });
    let server = TcpServer::new(LOOPBACK, factory).bind().unwrap();
    let _clients = [
        StreamClient::connect(&server.server_address()),
        StreamClient::connect(&server.server_address()),
    ];
    for _ in 0..2 {
        server.handle_request().unwrap();
        assert_eq!(reports.so_far(), ["served"]);
    }
    close(server);
}

#[test]
fn when_the_timeout_is_over_handle_timeout_is_called() {
    let (server, mut reports) = clocked(None);
    server.set_timeout(Some(SHORT));
    let begin = Instant::now();
    server.handle_request().unwrap();
    assert!(begin.elapsed() >= SHORT);
    assert_eq!(reports.so_far(), ["handle_timeout"]);
    // A client that comes in time is served, and the hook is not called.
    exchange(&server);
    assert_eq!(reports.so_far(), [""; 0]);
    close(server);
}

#[test]
fn a_layer_s_timeout_counts_unless_the_server_has_one() {
    let (server, mut reports) = clocked(Some(SHORT));
    server.handle_request().unwrap();
    assert_eq!(reports.so_far(), ["handle_timeout"]);
    close(server);

    let (server, mut reports) = clocked(Some(LIMIT * 2));
    server.set_timeout(Some(SHORT));
    within_limit("handle_request", move || {
        server.handle_request().unwrap();
        close(server);
    });
    assert_eq!(reports.so_far(), ["handle_timeout"]);
}

#[test]
fn a_timeout_of_zero_looks_once() {
    let (server, mut reports) = clocked(None);
    server.set_timeout(Some(Duration::ZERO));
    server.handle_request().unwrap();
    assert_eq!(reports.so_far(), ["handle_timeout"]);
    exchange(&server);
    assert_eq!(reports.so_far(), [""; 0]);
    close(server);
}

#[test]
fn serve_forever_ignores_the_timeout() {
    let (server, mut reports) = clocked(Some(Duration::ZERO));
    server.set_timeout(Some(Duration::ZERO));
    let running = RunningServer::start(server);
    let mut client = StreamClient::connect(&running.address());
    client.send("hello\n");
    assert_eq!(client.rest(), b"hello\n");
    running.close();
    assert!(!reports.so_far().contains(&"handle_timeout".to_owned()));
}

#[test]
fn shutdown_ends_a_handle_request_that_waits() {
    for _ in 0..20 {
        let (server, mut reports) = clocked(None);
        let handle = server.handle();
        let waiting = std::thread::spawn(move || {
            server.handle_request().unwrap();
            server
        });
        within_limit("shutdown", move || handle.shutdown());
        let server = within_limit("handle_request", move || waiting.join().unwrap());
        close(server);
        assert_eq!(reports.so_far(), [""; 0]);
    }
}

#[test]
fn shutdown_before_handle_request_ends_it_at_once_and_the_next_one_serves() {
    let (server, _reports) = clocked(None);
    server.shutdown();
    let server = within_limit("handle_request", move || {
        server.handle_request().unwrap();
        server
    });
    exchange(&server);
    close(server);
}

#[test]
fn handle_request_serves_datagrams_and_through_a_pool() {
    fn serves<S: BaseServer>(layers: S) {
        let server = layers.bind().unwrap();
        let client = DatagramClient::connect(&server.server_address());
        for _ in 0..3 {
            client.send(b"hello");
            server.handle_request().unwrap();
            assert_eq!(client.receive(), b"hello");
        }
        close(server);
    }
    serves(UdpServer::new(LOOPBACK, EchoLine::default).mix_in(ThreadPoolMixIn::new));
    serves(UdpServer::new(LOOPBACK, EchoLine::default).mix_in(ReactorMixIn::new));
}

#[test]
fn service_actions_runs_after_every_request() {
    let (server, mut reports) = clocked(None);
    let running = RunningServer::start(server);
    for _ in 0..5 {
        let mut client = StreamClient::connect(&running.address());
        client.send("hello\n");
        assert_eq!(client.rest(), b"hello\n");
        assert_eq!(reports.next_report(), "service_actions");
    }
    running.close();
}

#[test]
fn service_actions_runs_at_the_service_interval_while_nothing_comes() {
    let (server, mut reports) = clocked(None);
    server.set_service_interval(Some(Duration::from_millis(1)));
    let running = RunningServer::start(server);
    assert_eq!(reports.take(10), ["service_actions"; 10]);
    running.close();
}

#[test]
fn a_service_interval_set_through_the_handle_wakes_the_sleeping_loop() {
    let (server, mut reports) = clocked(None);
    let running = RunningServer::start(server);
    let mut client = StreamClient::connect(&running.address());
    client.send("hello\n");
    assert_eq!(client.rest(), b"hello\n");
    // The loop sleeps without end after this call, or is about to.
    assert_eq!(reports.next_report(), "service_actions");
    let interval = Some(Duration::from_millis(1));
    running.handle().set_service_interval(interval);
    assert_eq!(running.handle().service_interval(), interval);
    assert_eq!(reports.take(10), ["service_actions"; 10]);
    running.close();
}

#[test]
fn a_wake_from_before_the_loop_runs_service_actions() {
    let (server, mut reports) = clocked(None);
    server.set_service_interval(None);
    let running = RunningServer::start(server);
    assert_eq!(reports.next_report(), "service_actions");
    running.close();
}

/// Notes when its actions run.
struct Timed<S>(S, Arc<Mutex<Vec<Instant>>>);

impl<S: BaseServer> MixIn for Timed<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.0
    }

    fn service_actions(&self) {
        self.1.lock().unwrap().push(Instant::now());
    }
}

#[test]
fn a_service_interval_below_a_millisecond_counts_as_one() {
    const RUNS: u32 = 100;
    for interval in [Duration::ZERO, Duration::from_nanos(1)] {
        let times = Arc::new(Mutex::new(Vec::new()));
        let noted = times.clone();
        let layers = TcpServer::new(LOOPBACK, EchoLine::default);
        let server = layers.mix_in(|next| Timed(next, noted)).bind().unwrap();
        server.set_service_interval(Some(interval));
        let running = RunningServer::start(server);
        let runs = RUNS as usize;
        eventually("the actions have run", || {
            times.lock().unwrap().len() > runs
        });
        running.close();
        let times = times.lock().unwrap();
        assert!(times[runs] - times[0] >= Duration::from_millis(1) * (RUNS - 1));
    }
}

/// How often this process's thread has been put to sleep or woken, by the thread's number.
fn context_switches(thread: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/self/task/{thread}/status")).unwrap();
    status
        .lines()
        .filter(|line| line.contains("ctxt_switches"))
        .map(|line| line.rsplit('\t').next().unwrap().parse::<u64>().unwrap())
        .sum()
}

#[test]
fn without_a_service_interval_an_idle_loop_sleeps() {
    let idle = TcpServer::new(
        LOOPBACK,
        stream_handler(|request| {
            // Without a mix-in this is the loop's own thread.
            let thread = std::fs::read_link("/proc/thread-self")?;
            let thread = thread
                .file_name()
                .ok_or("no name")?
                .to_string_lossy()
                .into_owned();
            Ok(std::io::Write::write_all(request, thread.as_bytes())?)
        }),
    );
    let idle = RunningServer::start(idle.bind().unwrap());
    let thread = String::from_utf8(StreamClient::connect(&idle.address()).rest()).unwrap();
    // It has gone to sleep when its count does not change while another server serves a hundred
    // clients; a loop that polls, or spins, never lets that happen.
    let busy = ThreadingTcpServer::bind(LOOPBACK, EchoLine::default).unwrap();
    let busy = RunningServer::start(busy);
    eventually("the loop sleeps", || {
        let before = context_switches(&thread);
        for _ in 0..100 {
            let mut client = StreamClient::connect(&busy.address());
            client.send("hello\n");
            assert_eq!(client.rest(), b"hello\n");
        }
        context_switches(&thread) == before
    });
    busy.close();
    idle.close();
}

#[test]
fn a_panic_in_handle_timeout_is_survived() {
    struct Panics<S>(S);

    impl<S: BaseServer> MixIn for Panics<S> {
        type Next = S;

        fn next(&self) -> &S {
            &self.0
        }

        fn handle_timeout(&self) {
            silent_panic("tired of waiting");
        }
    }

    let layers = TcpServer::new(LOOPBACK, EchoLine::default).mix_in(Panics);
    let server = layers.bind().unwrap();
    server.set_timeout(Some(Duration::ZERO));
    server.handle_request().unwrap();
    server.set_timeout(None);
    exchange(&server);
}

#[test]
fn a_forking_server_s_layers_may_have_a_timeout_shorter_than_its_own() {
    let (reporter, mut reports) = reports();
    let server = TcpServer::new(LOOPBACK, EchoLine::default)
        .mix_in(|next| Clock {
            next,
            timeout: Some(Duration::from_millis(10)),
            reporter,
        })
        .mix_in(ForkingMixIn::new)
        .bind()
        .unwrap();
    let server = within_limit("handle_request", move || {
        server.handle_request().unwrap();
        server
    });
    assert_eq!(reports.next_report(), "handle_timeout");
    drop(server);
}
