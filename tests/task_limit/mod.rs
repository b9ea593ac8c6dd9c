//! A process that gets neither threads nor children from the system, for as long as a test wants.

// Each test program includes this file and uses its own part of it.
#![allow(dead_code)]

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Uid, setuid};
use socketserver::{BaseServer, HandlerError, MixIn, Request, RequestOf};

use super::reports::Reporter;

/// Makes an ordinary user of the superuser, who is exempt from the limit. False if that is not
/// permitted.
#[must_use]
pub fn drop_privileges() -> bool {
    if Uid::effective().is_root() {
        // Nobody's, so that nothing else counts for the limit.
        let unused = Uid::from_raw(60_000 + std::process::id() % 5_000);
        if let Err(error) = setuid(unused) {
            println!("skipped: the superuser may not become another user: {error}");
            return false;
        }
    }
    true
}

/// As long as this lives, the process gets no further thread or child.
#[derive(Debug)]
pub struct NoMoreTasks {
    before: (u64, u64),
}

impl NoMoreTasks {
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

/// A layer that reports what `handle_error` is told, and of which client.
#[derive(Debug)]
pub struct ErrorReports<S> {
    next: S,
    reporter: Reporter,
}

impl<S: BaseServer> ErrorReports<S> {
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
