//! A process that gets neither threads nor children from the system, for as long as a test wants.

// Each test program includes this file and uses its own part of it.
#![allow(dead_code)]

use std::process::Command;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Uid, setuid};
use socketserver::{BaseServer, HandlerError, MixIn, Request, RequestOf};

use super::reports::Reporter;

/// Set in the process in which a test runs again.
const IS_ALONE: &str = "SOCKETSERVER_TEST_IS_ALONE";

/// True in a process in which the test called `name` is alone and without privileges, which it needs
/// since the limit is that of a whole process, and the superuser is exempt from it. Elsewhere this
/// runs the test again in such a process, and is false.
#[must_use]
pub fn alone(name: &str) -> bool {
    if std::env::var_os(IS_ALONE).is_none() {
        run_again(name);
        return false;
    }
    if Uid::effective().is_root() {
        // Nobody's, so that nothing else counts for this limit.
        let unused = Uid::from_raw(60_000 + std::process::id() % 5_000);
        if let Err(error) = setuid(unused) {
            println!("skipped: the superuser may not become another user: {error}");
            return false;
        }
    }
    true
}

fn run_again(name: &str) {
    let program = std::env::current_exe().unwrap();
    let mut again = Command::new(program);
    let again = again.args(["--exact", name]).env(IS_ALONE, "1");
    let output = again.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
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
