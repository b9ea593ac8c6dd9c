//! A server that runs out of descriptors serves on when some are free again, and costs nothing
//! until then.
//!
//! The limit is that of the whole process.

use std::fs::File;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use log::{LevelFilter, Log, Metadata, Record};
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::time::ClockId;
use socket2::{Domain, SockAddr, Socket, Type};
use socketserver::{
    BaseServer, ExchangeHandler, HandlerResult, Limits, ReactorTcpServer, Server, StreamRequest,
    ThreadingTcpServer,
};
use support::clients::StreamClient;
use support::own_process::alone;
use support::reports::{Reporter, Reports, reports};
use support::running_server::RunningServer;
use support::services::read_line;
use support::waiting::{LIMIT, eventually};

/// The descriptors that the process may have.
#[derive(Debug)]
struct DescriptorLimit {
    before: (u64, u64),
}

impl DescriptorLimit {
    /// Lets the process open descriptors below `limit` only; those above it stay open.
    fn set(limit: usize) -> Self {
        let before = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, limit as u64, before.1).unwrap();
        Self { before }
    }
}

impl Drop for DescriptorLimit {
    fn drop(&mut self) {
        let (soft, hard) = self.before;
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    }
}

fn have_run_out() -> bool {
    let opened = File::open("/dev/null");
    opened.is_err_and(|error| error.raw_os_error() == Some(Errno::EMFILE as i32))
}

/// The number that the next descriptor gets, if none below it has been closed.
fn next_descriptor() -> usize {
    let lowest = File::open("/dev/null").unwrap().as_raw_fd();
    usize::try_from(lowest).unwrap()
}

/// Answers lines, and "open" when it has opened a file.
struct AnswerLines;

impl ExchangeHandler for AnswerLines {
    fn is_complete(&self, unread: &[u8]) -> bool {
        unread.contains(&b'\n')
    }

    fn exchange(&mut self, request: &mut StreamRequest) -> HandlerResult {
        let line = read_line(request)?;
        if line == "open" {
            File::open("/dev/null")?;
        }
        Ok(writeln!(request, "{line}")?)
    }
}

fn threading() -> Server<impl BaseServer> {
    ThreadingTcpServer::bind("127.0.0.1:0", || AnswerLines).unwrap()
}

/// A server whose reactor has the descriptors that it needs for itself.
fn reactor() -> Server<impl BaseServer> {
    let server = ReactorTcpServer::bind("127.0.0.1:0", || AnswerLines).unwrap();
    let mut client = StreamClient::connect(&server.server_address());
    client.send("hello\n");
    client.finish_sending();
    server.handle_request().unwrap();
    assert_eq!(client.rest(), b"hello\n");
    eventually("the first request has ended", || {
        server.handle().active_request_count() == 0
    });
    server
}

/// Clients that are made before there is a limit, and connected when there is one.
struct Clients {
    address: SockAddr,
    sockets: Vec<Socket>,
}

impl Clients {
    /// Makes so many clients, with descriptors of `first` and above.
    fn new(server: &Server<impl BaseServer>, count: usize, first: usize) -> Self {
        let mut below = Vec::new();
        while next_descriptor() < first {
            below.push(File::open("/dev/null").unwrap());
        }
        let socket = |_| Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        Self {
            address: SockAddr::from(server.local_addr().unwrap()),
            sockets: (0..count).map(socket).collect(),
        }
    }

    fn connect(&self, client: usize) {
        let socket = &self.sockets[client];
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        socket.connect(&self.address).unwrap();
    }

    fn say(&self, client: usize, line: &str) {
        (&self.sockets[client]).write_all(line.as_bytes()).unwrap();
    }

    fn expect(&self, client: usize, line: &str) {
        let mut answer = vec![0; line.len()];
        (&self.sockets[client]).read_exact(&mut answer).unwrap();
        assert_eq!(answer, line.as_bytes());
    }

    /// Ends the connection, whose descriptor stays taken.
    fn leave(&self, client: usize) {
        self.sockets[client].shutdown(Shutdown::Both).unwrap();
    }
}

/// Reports each log line about a pause of the loop, with the line's level.
struct PauseLogger(OnceLock<Reporter>);

static PAUSES: PauseLogger = PauseLogger(OnceLock::new());

impl Log for PauseLogger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = record.args().to_string();
        if line.contains("cannot accept a request now, pausing") {
            let level = record.level();
            self.0.get().unwrap().say(format_args!("{level} {line}"));
        }
    }

    fn flush(&self) {}
}

fn pauses() -> Reports {
    let (reporter, reports) = reports();
    PAUSES.0.set(reporter).unwrap();
    log::set_logger(&PAUSES).unwrap();
    log::set_max_level(LevelFilter::Debug);
    reports
}

fn serve_while_descriptors_last<S: BaseServer>(server: Server<S>) {
    const CLIENTS: usize = 20;
    server.handle().set_limits(Limits::none());
    let clients = Clients::new(&server, CLIENTS, 0);
    let running = RunningServer::start(server);
    let limit = DescriptorLimit::set(next_descriptor() + 4);
    for client in 0..CLIENTS {
        clients.connect(client);
        clients.say(client, "hello\n");
    }
    eventually("the descriptors run out", have_run_out);
    assert!(running.handle().active_request_count() < CLIENTS);
    // Connections are accepted in the order in which they were made, and each that ends makes
    // room.
    for client in 0..CLIENTS {
        clients.expect(client, "hello\n");
        clients.leave(client);
    }
    drop(limit);
    assert_eq!(running.close().running, 0);
}

#[test]
fn clients_wait_while_descriptors_have_run_out_and_are_served_when_others_leave() {
    alone(|| serve_while_descriptors_last(threading()));
}

#[test]
fn under_a_reactor_clients_wait_while_descriptors_have_run_out_and_are_served_when_others_leave() {
    alone(|| serve_while_descriptors_last(reactor()));
}

fn cpu_time() -> Duration {
    let clock = ClockId::CLOCK_PROCESS_CPUTIME_ID;
    clock.now().unwrap().into()
}

fn pause_without_descriptors<S: BaseServer>(server: Server<S>) {
    let mut pauses = pauses();
    server.handle().set_limits(Limits::none());
    let clients = Clients::new(&server, 2, 0);
    let running = RunningServer::start(server);
    let limit = DescriptorLimit::set(next_descriptor() + 1);
    clients.connect(0);
    clients.connect(1);
    assert!(pauses.next_report().starts_with("WARN"));
    // Until it has tried a few times more. One that does not pause has done so at once, and has
    // used the processor all the time.
    let (used, begin) = (cpu_time(), Instant::now());
    let later = pauses.take(7);
    let (used, waited) = (cpu_time() - used, begin.elapsed());
    assert!(used < waited / 4, "{used:?} of {waited:?}");
    // The log is not flooded either.
    assert!(
        later.iter().all(|line| line.starts_with("DEBUG")),
        "{later:?}"
    );
    // Nor does that cost those that are served.
    clients.say(0, "hello\n");
    clients.expect(0, "hello\n");
    drop(limit);
    clients.say(1, "hello\n");
    clients.expect(1, "hello\n");
    clients.leave(0);
    clients.leave(1);
    assert_eq!(running.close().running, 0);
}

#[test]
fn a_loop_without_descriptors_uses_no_processor_time_to_speak_of() {
    alone(|| pause_without_descriptors(threading()));
}

#[test]
fn under_a_reactor_a_loop_without_descriptors_uses_no_processor_time_to_speak_of() {
    alone(|| pause_without_descriptors(reactor()));
}

fn end_the_pause<S: BaseServer>(server: Server<S>) {
    const TURNS: usize = 3;
    /// The pauses of 10 to 640 ms, of which each is twice as long as the one before.
    const SHORTER_PAUSES: usize = 7;
    const LONGEST_PAUSE: Duration = Duration::from_secs(1);
    let mut pauses = pauses();
    server.handle().set_limits(Limits::none());
    let clients = Clients::new(&server, TURNS + 1, 0);
    let running = RunningServer::start(server);
    let limit = DescriptorLimit::set(next_descriptor() + 1);
    clients.connect(0);
    let mut waits = Vec::new();
    for client in 0..TURNS {
        clients.say(client, "hello\n");
        clients.expect(client, "hello\n");
        pauses.so_far();
        clients.connect(client + 1);
        pauses.take(SHORTER_PAUSES);
        // The longest pause begins.
        pauses.next_report();
        let begin = Instant::now();
        clients.say(client + 1, "hello\n");
        clients.leave(client);
        clients.expect(client + 1, "hello\n");
        waits.push(begin.elapsed());
    }
    drop(limit);
    assert_eq!(running.close().running, 0);
    // On a busy machine one wait or another may be long, though the pause has ended at once.
    waits.sort();
    assert!(waits[TURNS / 2] < LONGEST_PAUSE / 2, "{waits:?}");
}

#[test]
fn a_pause_for_want_of_descriptors_ends_when_a_connection_does() {
    alone(|| end_the_pause(threading()));
}

#[test]
fn under_a_reactor_a_pause_for_want_of_descriptors_ends_when_a_connection_does() {
    alone(|| end_the_pause(reactor()));
}

#[test]
fn unless_its_limits_are_changed_a_flooded_server_leaves_descriptors_to_its_handlers() {
    alone(|| {
        const DESCRIPTORS: usize = 300;
        const MOST_CONNECTIONS: usize = 270;
        const CLIENTS: usize = 350;
        let limit = DescriptorLimit::set(DESCRIPTORS);
        let server = threading();
        drop(limit);
        let clients = Clients::new(&server, CLIENTS, DESCRIPTORS);
        let running = RunningServer::start(server);
        let limit = DescriptorLimit::set(DESCRIPTORS);
        for client in 0..CLIENTS {
            clients.connect(client);
            clients.say(client, "hello\n");
        }
        for client in 0..MOST_CONNECTIONS {
            clients.expect(client, "hello\n");
        }
        assert_eq!(running.handle().active_request_count(), MOST_CONNECTIONS);
        for client in 0..MOST_CONNECTIONS {
            clients.say(client, "open\n");
            clients.expect(client, "open\n");
        }
        for client in 0..CLIENTS {
            if client >= MOST_CONNECTIONS {
                clients.expect(client, "hello\n");
            }
            clients.leave(client);
        }
        drop(limit);
        assert_eq!(running.close().running, 0);
    });
}
