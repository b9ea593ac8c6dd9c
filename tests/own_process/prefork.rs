//! A program that binds, forks, and lets each process serve: every process is woken, stopped,
//! suspended, limited and counted alone.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use socketserver::{
    Address, BaseServer, ExchangeHandler, ForkingMixIn, HandlerResult, Limits, ReactorMixIn, Serve,
    Server, ServerHandle, StreamRequest, TcpServer, ThreadPoolMixIn, ThreadingMixIn, UdpServer,
    UnixDatagramServer, UnixStreamServer,
};
use support::clients::{DatagramClient, StreamClient};
use support::own_process::alone;
use support::processes::children;
use support::reports::{Reporter, Reports, reports};
use support::running_server::RunningServer;
use support::services::EchoLine;
use support::waiting::eventually;

const LOOPBACK: &str = "127.0.0.1:0";

/// A process that serves, and obeys orders.
struct Worker {
    pid: Pid,
    orders: UnixStream,
    reports: Reports,
}

impl Worker {
    /// Forks a process in which a copy of `server` serves until the order to stop.
    #[allow(unsafe_code)]
    fn fork<S: BaseServer>(server: &mut Option<Server<S>>) -> Self {
        let (orders, obeyed) = UnixStream::pair().unwrap();
        let (reporter, reports) = reports();
        // SAFETY: the test has this process for itself. No thread of it holds a lock at this time
        // that the child takes: the threads of the test harness wait for the test.
        match unsafe { fork() }.unwrap() {
            ForkResult::Parent { child: pid } => Self {
                pid,
                orders,
                reports,
            },
            ForkResult::Child => {
                work(server.take().unwrap(), obeyed, &reporter);
                signal_hook::low_level::exit(0);
            }
        }
    }

    /// Gives an order, and waits until it is carried out.
    fn order(&mut self, order: &str) -> String {
        writeln!(self.orders, "{order}").unwrap();
        self.reports.next_report()
    }

    /// Waits until the process has closed its server and ended.
    fn wait_for_end(mut self) {
        assert_eq!(self.reports.next_report(), "closed");
        let status = waitpid(self.pid, None).unwrap();
        assert_eq!(status, WaitStatus::Exited(self.pid, 0));
    }

    fn stop(mut self) {
        assert_eq!(self.order("stop"), "stopped");
        self.wait_for_end();
    }
}

/// Serves until the order to stop.
fn work<S: BaseServer>(server: Server<S>, orders: UnixStream, reporter: &Reporter) {
    let (handle, its_reporter) = (server.handle(), reporter.clone());
    let obeying = std::thread::spawn(move || obey(&handle, orders, &its_reporter));
    server.serve_forever().unwrap();
    obeying.join().unwrap();
    server.server_close();
    assert_eq!(children(), [0; 0]);
    reporter.say("closed");
}

fn obey(handle: &ServerHandle, orders: UnixStream, reporter: &Reporter) {
    for order in BufReader::new(orders).lines() {
        match &*order.unwrap() {
            "stop" => {
                handle.shutdown();
                return reporter.say("stopped");
            }
            "suspend" => handle.suspend(),
            "resume" => handle.resume(),
            "one at a time" => handle.set_limits(Limits::none().with_max_connections(1)),
            "limit" => {
                reporter.say(format!("{:?}", handle.limits().max_connections()));
                continue;
            }
            "count" => {
                let statistics = handle.statistics();
                let counts = (statistics.accepted, statistics.finished);
                reporter.say(format!("{counts:?}"));
                continue;
            }
            other => panic!("no order: {other}"),
        }
        reporter.say("done");
    }
}

/// The usual servers, and those without a mix-in, each passed to a call of `test`.
macro_rules! for_every_server {
    ($path:expr, $test:expr) => {
        for_every_mix_in!(TcpServer::new(LOOPBACK, EchoLine::default), $test);
        for_every_mix_in!(UdpServer::new(LOOPBACK, EchoLine::default), $test);
        for_every_mix_in!(UnixStreamServer::new($path, EchoLine::default), $test);
        for_every_mix_in!(UnixDatagramServer::new($path, EchoLine::default), $test);
    };
}

macro_rules! for_every_mix_in {
    ($bottom:expr, $test:expr) => {
        $test($bottom.bind().unwrap());
        $test($bottom.mix_in(ThreadingMixIn::new).bind().unwrap());
        $test(
            $bottom
                .mix_in(ThreadPoolMixIn::new)
                .workers(2)
                .bind()
                .unwrap(),
        );
        $test($bottom.mix_in(ForkingMixIn::new).bind().unwrap());
        $test($bottom.mix_in(ReactorMixIn::new).bind().unwrap());
    };
}

fn is_datagrams<S: BaseServer>(server: &Server<S>) -> bool {
    let socket = socket2::SockRef::from(server);
    socket.r#type().unwrap() == socket2::Type::DGRAM
}

/// A client is served by whichever process is there.
fn assert_serves(address: &Address, datagrams: bool) {
    if datagrams {
        let client = DatagramClient::connect(address);
        client.send(b"hello");
        assert_eq!(client.receive(), b"hello");
    } else {
        let mut client = StreamClient::connect(address);
        client.send("hello\n");
        assert_eq!(client.rest(), b"hello\n");
    }
}

fn path() -> (tempfile::TempDir, PathBuf) {
    let directory = support::short_paths::directory();
    let path = directory.path().join("socket");
    (directory, path)
}

/// Of two workers, one is stopped while the other serves on, again and again.
fn stop_one_of_two<S: BaseServer>(server: Server<S>) {
    let (address, datagrams) = (server.server_address(), is_datagrams(&server));
    let mut server = Some(server);
    for _ in 0..20 {
        let [one, other] = [(); 2].map(|()| Worker::fork(&mut server));
        assert_serves(&address, datagrams);
        one.stop();
        assert_serves(&address, datagrams);
        other.stop();
    }
    if let Some(path) = address.path() {
        assert!(path.exists(), "a worker has removed the file");
    }
    server.unwrap().server_close();
    if let Some(path) = address.path() {
        assert!(!path.exists());
    }
}

#[test]
fn of_two_workers_each_is_stopped_alone() {
    alone(|| {
        let (_directory, path) = path();
        for_every_server!(&path, stop_one_of_two);
    });
}

/// The parent serves beside three workers. All are asked to stop at once.
fn stop_all_at_once<S: BaseServer>(server: Server<S>) {
    let (address, datagrams) = (server.server_address(), is_datagrams(&server));
    let mut server = Some(server);
    let mut workers = [(); 3].map(|()| Worker::fork(&mut server));
    let parent = RunningServer::start(server.unwrap());
    for _ in 0..5 {
        assert_serves(&address, datagrams);
    }
    for worker in &mut workers {
        writeln!(worker.orders, "stop").unwrap();
    }
    for mut worker in workers {
        assert_eq!(worker.reports.next_report(), "stopped");
        worker.wait_for_end();
    }
    assert_serves(&address, datagrams);
    parent.close();
}

#[test]
fn workers_that_are_stopped_at_once_all_stop_and_the_parent_serves_on() {
    alone(|| {
        let (_directory, path) = path();
        for_every_server!(&path, stop_all_at_once);
    });
}

#[test]
fn a_worker_is_suspended_alone_and_resumed_while_it_waits() {
    alone(|| {
        let server = TcpServer::bind(LOOPBACK, EchoLine::default).unwrap();
        let address = server.server_address();
        let mut server = Some(server);
        let [mut one, other] = [(); 2].map(|()| Worker::fork(&mut server));
        assert_eq!(one.order("suspend"), "done");
        for _ in 0..10 {
            assert_serves(&address, false);
        }
        assert_eq!(one.order("count"), "(0, 0)");
        other.stop();
        let mut client = StreamClient::connect(&address);
        client.send("hello\n");
        assert_eq!(one.order("count"), "(0, 0)");
        assert_eq!(one.order("resume"), "done");
        assert_eq!(client.rest(), b"hello\n");
        one.stop();
    });
}

/// One client is served at a time, and the end of the first wakes the loop for the second.
fn serve_at_a_limit<S: BaseServer>(server: Server<S>) {
    let address = server.server_address();
    let mut server = Some(server);
    let mut worker = Worker::fork(&mut server);
    assert_eq!(worker.order("one at a time"), "done");
    for _ in 0..5 {
        let mut first = StreamClient::connect(&address);
        let mut second = StreamClient::connect(&address);
        second.send("second\n");
        first.send("first\n");
        assert_eq!(first.rest(), b"first\n");
        assert_eq!(second.rest(), b"second\n");
    }
    worker.stop();
    assert_eq!(server.unwrap().handle().limits(), Limits::default());
}

#[test]
fn a_worker_at_its_limit_is_woken_by_the_end_of_a_request() {
    alone(|| {
        for_every_mix_in!(
            TcpServer::new(LOOPBACK, EchoLine::default),
            serve_at_a_limit
        );
    });
}

/// A worker begins with the settings of its parent, and counts its own requests.
fn inherit_settings<S: BaseServer>(server: Server<S>) {
    let address = server.server_address();
    let limits = Limits::none().with_max_connections(7);
    server.handle().set_limits(limits);
    server.set_timeout(Some(Duration::from_secs(30)));
    assert_serves_once(&server, &address);
    let mut server = Some(server);
    let mut worker = Worker::fork(&mut server);
    assert_eq!(worker.order("limit"), "Some(7)");
    assert_eq!(worker.order("count"), "(0, 0)");
    for _ in 0..3 {
        assert_serves(&address, false);
    }
    worker.stop();
    let handle = server.as_ref().unwrap().handle();
    drop(server);
    assert_eq!(handle.statistics().accepted, 1);
}

fn assert_serves_once<S: BaseServer>(server: &Server<S>, address: &Address) {
    let mut client = StreamClient::connect(address);
    client.send("hello\n");
    server.handle_request().unwrap();
    assert_eq!(client.rest(), b"hello\n");
}

#[test]
fn a_worker_has_the_settings_of_its_parent_and_numbers_of_its_own() {
    alone(|| {
        for_every_mix_in!(
            TcpServer::new(LOOPBACK, EchoLine::default),
            inherit_settings
        );
    });
}

/// The parent has a client that is silent, and serves on, while workers come and go.
fn fork_while_serving<S: BaseServer>(server: Server<S>) {
    let address = server.server_address();
    let serving = Arc::new(server);
    let thread = std::thread::spawn({
        let serving = serving.clone();
        move || serving.serve_forever().unwrap()
    });
    let mut silent = StreamClient::connect(&address);
    let handle = serving.handle();
    eventually("the silent client is accepted", || {
        handle.active_request_count() == 1
    });
    for _ in 0..10 {
        assert_serves(&address, false);
        let worker = fork_shared(&serving);
        assert_serves(&address, false);
        worker.stop();
    }
    silent.send("hello\n");
    assert_eq!(silent.rest(), b"hello\n");
    serving.shutdown();
    thread.join().unwrap();
    assert_eq!(Arc::into_inner(serving).unwrap().server_close().running, 0);
}

#[test]
fn a_worker_that_is_forked_while_the_parent_serves_is_stopped_alone_too() {
    alone(|| {
        let server = || TcpServer::new(LOOPBACK, EchoLine::default);
        fork_while_serving(server().mix_in(ThreadingMixIn::new).bind().unwrap());
        fork_while_serving(server().mix_in(ReactorMixIn::new).bind().unwrap());
        let server = TcpServer::new(LOOPBACK, || EchoOnce).mix_in(ReactorMixIn::new);
        fork_while_serving(server.bind().unwrap());
    });
}

/// Answers one line, in one exchange.
struct EchoOnce;

impl ExchangeHandler for EchoOnce {
    fn exchange(&mut self, request: &mut StreamRequest) -> HandlerResult {
        if let Some(line) = request.next_line(1000)? {
            writeln!(request, "{line}")?;
        }
        request.close_connection();
        Ok(())
    }
}

/// As [`Worker::fork`], of a server that a thread of the parent serves.
#[allow(unsafe_code)]
fn fork_shared<S: BaseServer>(server: &Server<S>) -> Worker {
    let (orders, obeyed) = UnixStream::pair().unwrap();
    let (reporter, reports) = reports();
    // SAFETY: as in `Worker::fork`; the loop's thread waits in poll(2), or is between two system
    // calls of the framework, which a forked process survives.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child: pid } => Worker {
            pid,
            orders,
            reports,
        },
        ForkResult::Child => {
            let handle = server.handle();
            let its_reporter = reporter.clone();
            let obeying = std::thread::spawn(move || obey(&handle, obeyed, &its_reporter));
            server.serve_forever().unwrap();
            obeying.join().unwrap();
            reporter.say("closed");
            signal_hook::low_level::exit(0);
        }
    }
}
