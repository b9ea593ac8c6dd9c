//! The requests whose handlers have stopped their own server.

use std::cell::Cell;
use std::ptr;
use std::thread::{self, ThreadId};

use crate::support::deadline::Deadline;
use crate::support::lock::{lock, wait_while};
use crate::support::sync::{Condvar, Mutex};

thread_local! {
    static SERVED: Cell<Served> = const {
        Cell::new(Served {
            server: ptr::null(),
            has_stopped: false,
        })
    };
}

thread_local! {
    /// The server for whose loop this thread accepts.
    static ACCEPTS: Cell<*const Stoppers> = const { Cell::new(ptr::null()) };
}

/// The request that a thread serves.
#[derive(Debug, Clone, Copy)]
struct Served {
    /// The address of the server, which is compared and never read through.
    server: *const Stoppers,
    /// Whether the request has stopped the server.
    has_stopped: bool,
}

/// The threads whose requests have stopped the server and have not ended. The answer to the client
/// that stops the server is unsent until the handler returns. So the close waits for these
/// requests, even if it waits for no others.
#[derive(Debug)]
pub(crate) struct Stoppers {
    threads: Mutex<Vec<ThreadId>>,
    ended: Condvar,
}

impl Stoppers {
    pub(crate) fn new() -> Self {
        Self {
            threads: Mutex::new(Vec::new()),
            ended: Condvar::new(),
        }
    }

    /// Adds this thread, if it serves a request of this server.
    pub(crate) fn add_this_thread(&self) {
        let served = SERVED.get();
        if ptr::eq(served.server, self) && !served.has_stopped {
            SERVED.set(Served {
                has_stopped: true,
                ..served
            });
            lock(&self.threads).push(thread::current().id());
        }
    }

    /// Waits until the requests have ended, except for a request of this thread, at most until the
    /// deadline.
    pub(crate) fn wait(&self, deadline: Deadline) {
        let this = thread::current().id();
        let others = |threads: &mut Vec<ThreadId>| threads.iter().any(|thread| *thread != this);
        drop(wait_while(
            &self.ended,
            lock(&self.threads),
            deadline,
            others,
        ));
    }

    /// Notes that this thread accepts in the loop's place, until the value is dropped.
    pub(crate) fn accepts(&self) -> Accepts {
        ACCEPTS.set(self);
        Accepts(())
    }

    /// Returns whether this thread accepts in the loop's place. The loop waits for such a thread,
    /// so the thread must not wait for the loop.
    pub(crate) fn does_this_thread_accept(&self) -> bool {
        ptr::eq(ACCEPTS.get(), self)
    }

    fn remove_this_thread(&self) {
        let this = thread::current().id();
        lock(&self.threads).retain(|thread| *thread != this);
        self.ended.notify_all();
    }
}

/// This thread accepts in the loop's place until the value is dropped.
#[derive(Debug)]
pub(crate) struct Accepts(());

impl Drop for Accepts {
    fn drop(&mut self) {
        ACCEPTS.set(ptr::null());
    }
}

/// This thread serves a request of the server until the value is dropped.
#[derive(Debug)]
pub(crate) struct Serves<'a> {
    server: &'a Stoppers,
    /// The request that this thread served before, and whose handler may still run.
    outer: Served,
}

impl<'a> Serves<'a> {
    pub(crate) fn request_of(server: &'a Stoppers) -> Self {
        let served = Served {
            server,
            has_stopped: false,
        };
        let outer = SERVED.replace(served);
        Self { server, outer }
    }
}

impl Drop for Serves<'_> {
    fn drop(&mut self) {
        if SERVED.replace(self.outer).has_stopped {
            self.server.remove_this_thread();
        }
    }
}
