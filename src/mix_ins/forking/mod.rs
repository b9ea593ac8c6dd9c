//! The mix-in that serves each request in a process.

mod child;
mod reports;

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, pthread_sigmask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use signal_hook::SigId;
use signal_hook::consts::SIGCHLD;
use signal_hook::low_level;

use crate::base_server::{BaseServer, guarded};
use crate::mix_in::MixIn;
use crate::mix_ins::forking::child::live_as_child;
use crate::mix_ins::forking::reports::{ReportReceiver, ReportSender, reports};
use crate::requests::request::Request;
use crate::running::ended::Ended;
use crate::running::in_child::RequestInChild;
use crate::support::deadline::Deadline;
use crate::support::lock::lock;
use crate::support::log::{Level, log_line};
use crate::support::sync::Mutex;
use crate::values::error::{Error, HandlerError};
use crate::values::request_event::Outcome;

/// How often a closing server checks its children without a signal: another part of the program may
/// have replaced the signal's handler.
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_millis(500);

/// The default timeout of `handle_request`.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Serves each request in a child process of its own.
///
/// Python's `ForkingMixIn`. The child has a copy of everything, so a handler can neither change nor
/// harm the server: a crash, a leak, or a handler that never ends stays in the child. The child's
/// exit status is 0 if the handler succeeded, and 1 if it failed or panicked.
///
/// At most [`max_children`](Self::max_children) children run at a time; at that number the loop
/// stops accepting until a child ends. The loop collects its own children, each by its process id,
/// and no other child of the program. `SIGCHLD` wakes the loop, which collects the children that
/// have ended; the program's own handler for the signal is called as before.
///
/// A server that is shut down or closed sends `SIGTERM` to each child. In a child, this signal
/// begins the drain: [`wait`](crate::StreamRequest::wait) returns false, and the handler goes on
/// otherwise. [`server_close`](crate::Server::server_close) kills a child that still runs at the
/// drain timeout, if [`block_on_close`](Self::block_on_close) is set.
///
/// A child closes its copy of a TCP or Unix stream server's listening socket, so that no client can
/// connect to a server that has ended while a child runs. A child keeps its copies of the sockets
/// of other servers in the same program, as in Python.
///
/// # Forking a program with threads
///
/// fork(2) copies the calling thread alone. The work of other threads stays half-done in the child:
/// a mutex that another thread held is never unlocked, so a handler that needs the mutex hangs. The
/// allocator is safe (the C library sees to it), and so is this crate. Your own locks, those of
/// libraries, and those of the standard output streams are not.
///
/// The supported ways to use this mix-in are:
///
/// * `serve_forever` in a program without other threads, or whose other threads only wait (for a
///   signal, for example) and take no lock that a handler or the logger takes; or
/// * a handler that starts another program at once.
///
/// A handler may start threads, since its thread is the only one in the child. The child ends with
/// `_exit`, so the destructors of `main` do not run, and buffered standard output is not written: a
/// handler flushes output that does not end with a newline. If a handler ends the process itself,
/// the exit status decides the outcome: 0 counts as success.
///
/// A [shutdown](crate::ServerHandle::shutdown) in a child stops the parent's loop.
#[derive(Debug)]
#[must_use = "a layer does nothing until `bind` makes a server of the stack"]
pub struct ForkingMixIn<S> {
    next: S,
    max_children: usize,
    block_on_close: bool,
    /// A mutex, because `collect_children` may run in any thread.
    children: Mutex<HashMap<Pid, RequestInChild>>,
    /// Set by `server_activate`, which has a shared reference only.
    watch: Mutex<Option<ChildWatch>>,
}

impl<S: BaseServer> ForkingMixIn<S> {
    /// Makes a forking layer around `next`.
    pub fn new(next: S) -> Self {
        Self {
            next,
            max_children: 40,
            block_on_close: true,
            children: Mutex::default(),
            watch: Mutex::new(None),
        }
    }

    /// Sets how many children may run at a time; 40 unless set, as in Python. 0 counts as 1.
    pub fn max_children(mut self, max: usize) -> Self {
        self.max_children = max.max(1);
        self
    }

    /// Sets whether `server_close` waits for the children that still run; true unless set. With
    /// false these children go on, and their ends are not counted. Python's `block_on_close`.
    pub fn block_on_close(mut self, block: bool) -> Self {
        self.block_on_close = block;
        self
    }

    /// Returns the process ids of the children that have not been collected, in no order.
    ///
    /// Python's `active_children`.
    #[must_use]
    #[doc(alias = "active_children")]
    pub fn child_pids(&self) -> Vec<u32> {
        let children = lock(&self.children);
        children.keys().map(|pid| pid.as_raw() as u32).collect()
    }

    /// Collects the children that have ended, without waiting for others. The loop calls this in
    /// every pass. Python's `collect_children`.
    pub fn collect_children(&self) {
        self.collect(WaitPidFlag::WNOHANG, Outcome::Failed);
    }

    /// Calls waitpid(2) for each child, with the flags `how`. A killed child without a report has
    /// the outcome `if_killed`.
    fn collect(&self, how: WaitPidFlag, if_killed: Outcome) {
        let mut statuses = Vec::new();
        let ended: Vec<_> = lock(&self.children)
            .extract_if(|&child, _| {
                let status = wait_for(child, how);
                let has_ended = status != Ok(WaitStatus::StillAlive);
                if has_ended {
                    statuses.push(status);
                }
                has_ended
            })
            .collect();
        for ((child, request), status) in ended.into_iter().zip(statuses) {
            log_end(&status);
            let report = match &mut *lock(&self.watch) {
                Some(watch) => watch.receiver.take(child.as_raw() as u32),
                None => None,
            };
            let without_report = || Ended::without_report(outcome(&status, if_killed));
            request.end(&report.unwrap_or_else(without_report));
        }
    }

    fn signal_children(&self, signal: Signal) {
        for &child in lock(&self.children).keys() {
            // kill(2) may fail if the child has ended. The signal cannot reach another process as
            // long as the child is not collected.
            let _ = kill(child, signal);
        }
    }

    /// Asks the oldest child to end, if the child has had its turn and a client waits for a place.
    /// One child for each pass of the loop: a single client needs a single place.
    fn end_a_turn(&self) {
        let shared = self.layer_handle().shared();
        let Some(turn) = shared.settings().turn() else {
            return;
        };
        if !shared.places().are_full() || !shared.has_client_at_socket() {
            return;
        }
        let mut children = lock(&self.children);
        let in_turn = children
            .iter_mut()
            .filter(|(_, request)| !request.was_asked_to_end());
        if let Some((&child, request)) = in_turn.min_by_key(|(_, request)| request.accepted())
            && request.accepted().elapsed() >= turn
        {
            request.note_asked_to_end();
            // As in `signal_children`.
            let _ = kill(child, Signal::SIGTERM);
        }
    }

    /// Waits for the children, which are draining, and at the deadline kills the children that
    /// still run.
    fn drain_children(&self) {
        let shared = self.layer_handle().shared();
        let deadline = shared.lifecycle().close_deadline();
        loop {
            self.collect_children();
            if lock(&self.children).is_empty() {
                return;
            }
            if deadline.is_over() {
                break;
            }
            let pause = deadline.sooner(Deadline::after(Some(LOOK_AT_LEAST_EVERY)));
            match shared.waker().map(|waker| (waker, waker.wait(None, pause))) {
                Ok((waker, Ok(_))) => drop(waker.drain()),
                _ => std::thread::sleep(pause.left().unwrap_or_default()),
            }
        }
        self.signal_children(Signal::SIGKILL);
        self.collect(WaitPidFlag::empty(), Outcome::Aborted);
    }
}

impl<S: BaseServer> MixIn for ForkingMixIn<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.next
    }

    fn server_activate(&self) -> Result<(), Error> {
        self.next.server_activate()?;
        let failed = |source| {
            let address = self.layer_handle().server().server_address();
            Error::activate(address, source)
        };
        let waker = self.layer_handle().shared().waker().map_err(failed)?;
        let write_end: OwnedFd = waker.write_end().map_err(failed)?;
        let (sender, receiver) = reports().map_err(failed)?;
        let signal = low_level::pipe::register(SIGCHLD, write_end).map_err(failed)?;
        *lock(&self.watch) = Some(ChildWatch {
            sender,
            receiver,
            _signal: ChildSignal(signal),
        });
        Ok(())
    }

    fn is_ready(&self) -> bool {
        lock(&self.children).len() < self.max_children && self.next.is_ready()
    }

    #[allow(unsafe_code)]
    fn process_request<T>(&self, top: &Arc<T>, mut request: S::Request)
    where
        T: BaseServer<Request = S::Request>,
    {
        let Some(parent) = lock(&self.watch).as_ref().map(|it| it.sender.clone()) else {
            let error = "cannot fork a child for the request: the server is not activated".into();
            return give_up(top, request, error);
        };
        // SIGTERM stays blocked until the child has installed its handler: before that, the default
        // action would kill the child.
        let drain = SigSet::from(Signal::SIGTERM);
        let mut mask = SigSet::empty();
        // pthread_sigmask(3) fails for an invalid `how` only.
        let _ = pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&drain), Some(&mut mask));
        let unmask = || {
            let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&mask), None);
        };
        // Held at the fork, so that no other thread of the parent holds these locks, and the child
        // can take them.
        let settings = self.layer_handle().shared().settings().hold();
        // SAFETY: in a child of a program with threads, only async-signal-safe functions may be
        // called until exec. The type's documentation has the conditions under which the child may
        // do more, and leaves them to the user. The child runs `live_as_child`, which neither
        // returns nor unwinds into the parent's frames, and waits for no lock of this crate that
        // another thread of the parent may have held at the fork.
        let forked = unsafe { fork() };
        drop(settings);
        match forked {
            Ok(ForkResult::Child) => live_as_child(top, request, parent, mask),
            Ok(ForkResult::Parent { child }) => {
                unmask();
                guarded(top).observe_start(&request);
                let in_child = request.guard_mut().hand_to_child();
                lock(&self.children).insert(child, in_child);
                top.close_request(top, request);
            }
            Err(error) => {
                unmask();
                let error = format!("cannot fork a child for the request: {error}").into();
                give_up(top, request, error);
            }
        }
    }

    fn handle_timeout(&self) {
        self.collect_children();
        self.next.handle_timeout();
    }

    /// The timeout of the inner layer, or 300 seconds, as in Python, so that ended children are
    /// collected from time to time.
    fn timeout(&self) -> Option<Duration> {
        self.next.timeout().or(Some(TIMEOUT))
    }

    fn service_actions(&self) {
        if self.layer_handle().server().is_draining() {
            self.signal_children(Signal::SIGTERM);
        }
        self.collect_children();
        self.end_a_turn();
        self.next.service_actions();
    }

    fn server_close(&self) {
        self.next.server_close();
        self.signal_children(Signal::SIGTERM);
        if self.block_on_close {
            self.drain_children();
        } else {
            self.collect_children();
        }
        *lock(&self.watch) = None;
    }
}

/// The means by which the parent notices the end of a child.
#[derive(Debug)]
struct ChildWatch {
    sender: Arc<ReportSender>,
    receiver: ReportReceiver,
    _signal: ChildSignal,
}

/// Ends a request for which no child could be forked.
fn give_up<T: BaseServer>(top: &Arc<T>, mut request: T::Request, error: HandlerError) {
    guarded(top).handle_error(&mut request, &error);
    guarded(top).shutdown_request(request);
}

/// The registration of `SIGCHLD`, which wakes the loop until this value is dropped.
#[derive(Debug)]
struct ChildSignal(SigId);

impl Drop for ChildSignal {
    fn drop(&mut self) {
        low_level::unregister(self.0);
    }
}

/// Calls waitpid(2); tries again after a signal.
fn wait_for(child: Pid, how: WaitPidFlag) -> nix::Result<WaitStatus> {
    loop {
        match waitpid(child, Some(how)) {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

/// The outcome of a request whose child ended with this status and sent no report.
fn outcome(status: &nix::Result<WaitStatus>, if_killed: Outcome) -> Outcome {
    match status {
        Ok(WaitStatus::Exited(_, 0)) => Outcome::Finished,
        Ok(WaitStatus::Exited(..)) => Outcome::Failed,
        _ => if_killed,
    }
}

fn log_end(status: &nix::Result<WaitStatus>) {
    match status {
        Ok(WaitStatus::Exited(child, status)) => {
            log_line!(Level::Debug, "child {child} ended with {status}");
        }
        Ok(WaitStatus::Signaled(child, signal, _)) => {
            log_line!(
                Level::Warn,
                "child {child} was ended by {signal}, its request unfinished"
            );
        }
        // Another part of the program has collected the child.
        _ => {}
    }
}
