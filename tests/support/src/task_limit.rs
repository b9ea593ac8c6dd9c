//! A process that can start neither threads nor children, for as long as a test wants, and the
//! reaction of a server.

use std::io::Write;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Uid, setuid};
use socketserver::layer::RequestOf;
use socketserver::{
    BaseServer, HandlerError, HandlerResult, MixIn, Request, Serve, ServerHandle, StreamRequest,
};

use crate::clients::{DatagramClient, StreamClient};
use crate::processes::children;
use crate::reports::{Reporter, Reports};
use crate::running_server::RunningServer;
use crate::services::read_line;

/// Makes the process one of an ordinary user, since the limit does not hold for the superuser.
/// Returns false if the system does not permit that.
#[must_use]
pub fn drop_privileges() -> bool {
    if Uid::effective().is_root() {
        // No other process has this user, so that nothing else counts for the limit.
        let unused = Uid::from_raw(60_000 + std::process::id() % 5_000);
        if let Err(error) = setuid(unused) {
            println!("skipped: the superuser may not become another user: {error}");
            return false;
        }
    }
    true
}

/// While a value of this type lives, the process can start no further thread or child.
#[derive(Debug)]
pub struct NoMoreTasks {
    before: (u64, u64),
}

impl NoMoreTasks {
    /// Sets `RLIMIT_NPROC` to zero; panics if the process can start a thread all the same.
    pub fn begin() -> Self {
        let before = getrlimit(Resource::RLIMIT_NPROC).unwrap();
        setrlimit(Resource::RLIMIT_NPROC, 0, before.1).unwrap();
        let thread = std::thread::Builder::new().spawn(|| {});
        thread.expect_err("the system gives a thread all the same");
        Self { before }
    }
}

impl Drop for NoMoreTasks {
    fn drop(&mut self) {
        let (soft, hard) = self.before;
        setrlimit(Resource::RLIMIT_NPROC, soft, hard).unwrap();
    }
}

/// A layer that reports each error that `handle_error` receives, with the client's address.
#[derive(Debug)]
pub struct ErrorReports<S> {
    next: S,
    reporter: Reporter,
}

impl<S: BaseServer> ErrorReports<S> {
    /// Makes a layer around `next`.
    pub fn new(next: S, reporter: Reporter) -> Self {
        Self { next, reporter }
    }
}

impl<S: BaseServer> MixIn for ErrorReports<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.next
    }

    fn handle_error(&self, request: &mut RequestOf<Self>, error: &HandlerError) {
        let client = request.client_address();
        self.reporter.say(format_args!("{client}: {error}"));
    }
}

/// If no task can be started for a connection, the connection is closed, and the error is reported
/// with its client's address. Earlier connections are served, and so are later connections when
/// tasks can be started again.
///
/// `layers` report to `reports`, `reason` is the beginning of the error, and `children_of_one` is
/// the number of children that serve one client. `begin` makes a value that prevents tasks as long
/// as it exists: [`NoMoreTasks`] or [`NoMoreMemory`](crate::memory_limit::NoMoreMemory).
pub fn only_connections_without_a_task_are_closed<S: BaseServer, N>(
    layers: S,
    reports: &mut Reports,
    reason: &str,
    children_of_one: usize,
    begin: impl FnOnce() -> N,
) {
    let running = RunningServer::start(layers.bind().unwrap());
    let mut early = StreamClient::connect(&running.address());
    early.send("hello\n");
    assert_eq!(early.line(), "hello");
    let none = begin();
    for _ in 0..3 {
        let mut client = StreamClient::connect(&running.address());
        let name = client.socket().local_addr().unwrap().as_socket().unwrap();
        client.wait_for_close();
        let report = reports.next_report();
        assert!(
            report.starts_with(&format!("{name}: {reason}: ")),
            "{report}"
        );
        early.send("still here\n");
        assert_eq!(early.line(), "still here");
    }
    assert_eq!(children().len(), children_of_one);
    drop(none);
    let mut late = StreamClient::connect(&running.address());
    late.send("hello\n");
    assert_eq!(late.line(), "hello");
    for client in [&mut early, &mut late] {
        client.finish_sending();
        assert_eq!(client.rest(), b"");
    }
    let handle = running.handle();
    assert_eq!(running.close().running, 0);
    assert_eq!(counts(&handle), (5, 2, 3, 0));
    assert_eq!(children(), [0; 0]);
    assert_eq!(reports.so_far(), [""; 0]);
}

/// If no task can be started for a datagram, the datagram has failed, and the next datagram is
/// answered.
pub fn only_datagrams_without_a_task_fail<S: BaseServer>(
    layers: S,
    reports: &mut Reports,
    reason: &str,
) {
    let running = RunningServer::start(layers.bind().unwrap());
    let client = DatagramClient::connect(&running.address());
    let name = client.socket().local_addr().unwrap().as_socket().unwrap();
    let none = NoMoreTasks::begin();
    client.send(b"lost");
    let report = reports.next_report();
    assert!(
        report.starts_with(&format!("{name}: {reason}: ")),
        "{report}"
    );
    drop(none);
    client.send(b"answered");
    assert_eq!(client.receive(), b"answered");
    let handle = running.handle();
    running.close();
    assert_eq!(counts(&handle), (2, 1, 1, 0));
    assert_eq!(children(), [0; 0]);
}

/// Returns the numbers of accepted, finished, failed and active requests.
fn counts(handle: &ServerHandle) -> (u64, u64, u64, u64) {
    let it = handle.statistics();
    (it.accepted, it.finished, it.failed, it.active)
}

/// Answers lines until the client has sent its last line.
pub fn answer_lines(request: &mut StreamRequest) -> HandlerResult {
    while request.wait()? {
        let line = read_line(request)?;
        writeln!(request, "{line}")?;
    }
    Ok(())
}
