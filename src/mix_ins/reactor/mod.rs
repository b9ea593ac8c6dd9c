//! The mix-in that serves many connections with few threads.

mod accepting;
mod acceptor;
mod calls;
mod core;
mod crew;
#[cfg(all(test, loom))]
mod loom_tests;
mod member;
mod members;
mod places;
mod poller;
mod queue;
mod readiness;
mod sentinel;
mod service;
mod timers;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::base_server::{BaseServer, guarded};
use crate::mix_in::MixIn;
use crate::mix_ins::reactor::accepting::Accepting;
use crate::mix_ins::reactor::acceptor::ReactorAcceptor;
use crate::mix_ins::reactor::core::Core;
use crate::mix_ins::reactor::crew::{Crew, Need};
use crate::mix_ins::reactor::member::start_member;
use crate::mix_ins::reactor::sentinel::Sentinel;
use crate::running::thread_name::thread_name;
use crate::support::lock::lock;
use crate::support::sync::Mutex;

/// The default time that a spare thread waits for work.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// Serves connections by turns: a connection whose client is silent costs less than a kilobyte,
/// and no thread.
///
/// A handler that implements [`ExchangeHandler`](crate::ExchangeHandler) is called when a message
/// has arrived. In the meantime the connection occupies no thread. The handler is plain code, and
/// may read, write, sleep or ask a database: another thread replaces a thread that waits. An
/// ordinary [`RequestHandler`](crate::RequestHandler) keeps a thread until its conversation ends,
/// as under [`ThreadingMixIn`](crate::ThreadingMixIn).
///
/// One thread serves a light server: it waits for all connections with epoll(7), and serves those
/// that are ready. If its handler waits, or computes for long, another thread takes over the other
/// connections. This happens at once if the handler waits in a method of its request, or announces
/// the wait with [`blocking`](crate::blocking()), and otherwise within a few milliseconds. The
/// threads are named for their server: `tcp:9999 react`.
///
/// Each connection has a turn when its client has sent something, in the order in which the clients
/// have sent. A turn serves at most 16 messages, so a client that always has more to send does not
/// delay the others.
///
/// [`finish_request`](BaseServer::finish_request) of the layers returns when the handler has been
/// set up: it makes the handler, and the reactor calls the exchanges. All other hooks are called as
/// under the other mix-ins.
///
/// The same threads serve datagrams too, without an advantage over
/// [`ThreadPoolMixIn`](crate::ThreadPoolMixIn). The layer works on Linux only. Python's module has
/// no such mix-in; `asyncio` is the counterpart for asynchronous code.
#[must_use = "a layer does nothing until `bind` makes a server of the stack"]
pub struct ReactorMixIn<S: BaseServer> {
    next: S,
    daemon_threads: bool,
    block_on_close: bool,
    keep_alive: Duration,
    core: Mutex<Option<Arc<Core<S::Request>>>>,
}

impl<S: BaseServer> ReactorMixIn<S> {
    /// Makes a layer with a reactor around `next`.
    pub fn new(next: S) -> Self {
        Self {
            next,
            daemon_threads: false,
            block_on_close: true,
            keep_alive: KEEP_ALIVE,
            core: Mutex::new(None),
        }
    }

    /// Sets whether the threads are daemons, for which `server_close` does not wait; false unless
    /// set. See [`ThreadingMixIn::daemon_threads`](crate::ThreadingMixIn::daemon_threads).
    pub fn daemon_threads(mut self, daemon: bool) -> Self {
        self.daemon_threads = daemon;
        self
    }

    /// Sets whether `server_close` waits for the requests that still run; true unless set. This
    /// option has no effect on [daemon threads](Self::daemon_threads). Python's `block_on_close`.
    pub fn block_on_close(mut self, block: bool) -> Self {
        self.block_on_close = block;
        self
    }

    /// Sets how long a thread that is not needed any more waits for work before it ends; one second
    /// unless set.
    pub fn keep_alive(mut self, keep_alive: Duration) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// Returns the machinery of this process, which the first request makes.
    fn core(&self) -> io::Result<Arc<Core<S::Request>>> {
        let mut core = lock(&self.core);
        if let Some(core) = &*core
            && core.crew.is_here()
        {
            return Ok(core.clone());
        }
        let address = self.layer_handle().server().server_address();
        let new = Arc::new(Core {
            crew: Arc::new(Crew::new(self.keep_alive)?),
            sentinel: Sentinel::new(),
            accepting: Accepting::default(),
            threads: Arc::default(),
            thread_name: thread_name(&address, self.socket().ok().as_deref(), "react"),
            server: self.layer_handle().server().clone(),
        });
        *core = Some(new.clone());
        drop(core);
        let shared = self.layer_handle().shared();
        shared.set_unparks(new.crew.clone());
        shared.set_acceptor(Some(Arc::new(ReactorAcceptor(new.clone()))));
        Ok(new)
    }
}

impl<S: BaseServer> MixIn for ReactorMixIn<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.next
    }

    fn process_request<T>(&self, top: &Arc<T>, mut request: S::Request)
    where
        T: BaseServer<Request = S::Request>,
    {
        let core = match self.core() {
            Ok(core) => core,
            Err(error) => {
                let error = format!("cannot make the reactor: {error}").into();
                guarded(top).handle_error(&mut request, &error);
                guarded(top).shutdown_request(request);
                return;
            }
        };
        let (place, need) = core.crew.enter(request);
        if need == Need::Member
            && let Err(error) = start_member(&core, top)
        {
            let occupant = lock(&place.occupant).take();
            core.crew.leave(place.token);
            if let Some(mut occupant) = occupant {
                let error = format!("cannot start a thread for the request: {error}").into();
                guarded(top).handle_error(&mut occupant.request, &error);
                guarded(top).shutdown_request(occupant.request);
            }
            return;
        }
        core.crew.push(place);
    }

    fn server_close(&self) {
        self.next.server_close();
        let waits = self.block_on_close && !self.daemon_threads;
        let all_ended = if waits {
            self.layer_handle().wait_for_requests()
        } else {
            self.layer_handle().shared().wait_for_stoppers();
            false
        };
        self.layer_handle().shared().set_acceptor(None);
        let Some(core) = lock(&self.core).take() else {
            return;
        };
        if core.crew.is_here() {
            core.crew.close();
            if all_ended {
                core.threads.join();
            }
        }
    }
}

impl<S: BaseServer> fmt::Debug for ReactorMixIn<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReactorMixIn")
            .field("daemon_threads", &self.daemon_threads)
            .field("block_on_close", &self.block_on_close)
            .field("keep_alive", &self.keep_alive)
            .finish_non_exhaustive()
    }
}
