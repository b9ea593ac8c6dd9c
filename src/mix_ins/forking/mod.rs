//! The mix-in that serves each request in a process.

mod child;
mod ends;
mod reports;

use std::collections::HashMap;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

use crate::base_server::{BaseServer, guarded};
use crate::mix_in::MixIn;
use crate::mix_ins::forking::child::live_as_child;
use crate::mix_ins::forking::ends::{Child, ChildEnds};
use crate::mix_ins::forking::reports::{ChildReport, ReportReceiver, ReportSender, reports};
use crate::requests::request::Request;
use crate::running::ended::Ended;
use crate::running::in_child::RequestInChild;
use crate::support::deadline::Deadline;
use crate::support::lock::lock;
use crate::support::log::{Level, log_line};
use crate::support::sync::Mutex;
use crate::transport::descriptors::Descriptors;
use crate::transport::per_process::PerProcess;
use crate::values::error::{Error, HandlerError};
use crate::values::request_event::Outcome;

/// How often a closing server looks for ended children without a wake. If the system has no
/// descriptor for a child, the end of that child wakes nothing.
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_millis(500);

/// The default timeout of `handle_request`.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Serves each request in a child process of its own.
///
/// Python's `ForkingMixIn`. The child has a copy of everything, so a handler can neither change nor
/// harm the server. A crash, a leak, or a handler that never ends stays in the child. The child's
/// exit status is 0 if the handler succeeded, and 1 if it failed or panicked.
///
/// At most [`max_children`](Self::max_children) children run at a time; at that number the loop
/// stops accepting until a child ends. The loop collects its own children, each by its process id,
/// and no other child of the program.
///
/// On Linux the end of a child wakes the loop through the child's pidfd. So the program's action
/// for `SIGCHLD`, and its signal mask, are its own. If the program ignores `SIGCHLD`, the system
/// collects all children of the program, these included, and discards their exit statuses. A child
/// that ends the process itself then counts as failed. Where there is no pidfd, the loop looks for
/// ended children twice a second. On a system other than Linux, `SIGCHLD` wakes the loop as long as
/// the server is open, and the program's own handler is called as before.
///
/// A server that is shut down or closed sends `SIGTERM` to each child. In a child, this signal
/// begins the drain: [`wait`](crate::StreamRequest::wait) returns false, and nothing else changes
/// for the handler. [`server_close`](crate::Server::server_close) kills a child that still runs at
/// the drain timeout, if [`block_on_close`](Self::block_on_close) is set.
///
/// A child closes its copies of the listening sockets and wakers of every server of this crate in
/// the program, whichever mix-in the server has. So no client can connect to a server that has
/// ended while a child runs, and its address is free. A child keeps the waker of its own server,
/// and a datagram socket, through which it replies. In Python a child keeps all copies.
///
/// # Forking a program with threads
///
/// fork(2) copies the calling thread alone. The work of other threads stays half-done in the child.
/// For example, a mutex that another thread held is never unlocked, so a handler that needs the
/// mutex hangs. The memory allocator is safe, since the C library prepares it for a fork, and so is
/// this crate. Your own locks, those of libraries, and those of the standard output streams are
/// not.
///
/// The supported ways to use this mix-in are:
///
/// * `serve_forever` in a program without other threads, or whose other threads only wait (for a
///   signal, for example) and take no lock that a handler or the logger takes; or
/// * a handler that starts another program at once.
///
/// A handler may start threads, since its thread is the only thread in the child. The child ends
/// with `_exit`, so the destructors of `main` do not run, and buffered standard output is not
/// written. So a handler flushes output that does not end with a newline. If a handler ends the
/// process itself, the exit status decides the outcome: 0 counts as success.
///
/// A [shutdown](crate::ServerHandle::shutdown) in a child stops the parent's loop.
#[derive(Debug)]
#[must_use = "a layer does nothing until `bind` makes a server of the stack"]
pub struct ForkingMixIn<S> {
    next: S,
    max_children: usize,
    block_on_close: bool,
    /// In a process that the program has forked, the layer has other children.
    families: PerProcess<Family>,
}

/// The children of one process.
#[derive(Debug, Default)]
struct Family {
    /// Whether the server is activated, and not closed.
    is_active: AtomicBool,
    /// A mutex, because `collect_children` may run in any thread.
    children: Mutex<HashMap<Pid, (Child, RequestInChild)>>,
    /// The watch is made at the activation, and in a forked process for the first request.
    watch: Mutex<Option<ChildWatch>>,
}

impl<S: BaseServer> ForkingMixIn<S> {
    /// Makes a forking layer around `next`.
    pub fn new(next: S) -> Self {
        Self {
            next,
            max_children: 40,
            block_on_close: true,
            families: PerProcess::new(),
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
        let children = lock(&self.family().children);
        children.keys().map(|pid| pid.as_raw() as u32).collect()
    }

    /// Collects the children that have ended, without waiting for other children. The loop calls
    /// this method in every pass. Python's `collect_children`.
    pub fn collect_children(&self) {
        self.collect(WaitPidFlag::WNOHANG, Outcome::Failed);
    }

    fn family(&self) -> &Family {
        self.families.get_or_init(|parent| {
            let is_active = parent.is_some_and(|parent| parent.is_active.load(Ordering::Acquire));
            // `try_lock`, because a thread that held the lock at the fork does not exist in this
            // process.
            if let Some(Ok(mut watch)) = parent.map(|parent| parent.watch.try_lock()) {
                // Closes this process's copies of the parent's descriptors.
                *watch = None;
            }
            Family {
                is_active: AtomicBool::new(is_active),
                ..Family::default()
            }
        })
    }

    /// Makes what this process needs to notice the ends of its children.
    fn watch(&self) -> io::Result<ChildWatch> {
        let waker = self.layer_handle().shared().waker()?;
        let mut kept = Vec::from(waker.descriptors());
        // A child replies to its datagram through the server's datagram sockets, and has no other
        // use for them.
        let addresses = self.layer_handle().shared().server_addresses();
        kept.extend(Descriptors::hold().datagram_sockets(addresses));
        let (sender, receiver) = reports()?;
        Ok(ChildWatch {
            sender,
            receiver,
            kept: kept.into(),
            ends: ChildEnds::watch(waker)?,
        })
    }

    /// The means of a child to report its end, and the descriptors that it keeps.
    fn for_child(&self) -> Result<(Arc<ReportSender>, Arc<[RawFd]>), HandlerError> {
        let family = self.family();
        let mut watch = lock(&family.watch);
        if watch.is_none() && family.is_active.load(Ordering::Acquire) {
            *watch = Some(self.watch()?);
        }
        let watch = watch.as_ref().ok_or("the server is not activated")?;
        Ok((watch.sender.clone(), watch.kept.clone()))
    }

    /// Enters a child that has been forked.
    fn enter(&self, pid: Pid, request: RequestInChild) {
        let family = self.family();
        let mut children = lock(&family.children);
        if let Some(watch) = &*lock(&family.watch) {
            let (child, wakes) = watch.ends.add(pid);
            if !wakes {
                self.layer_handle().shared().look_for_children();
            }
            children.insert(pid, (child, request));
        }
    }

    /// Calls waitpid(2) for each child, with the flags `how`. A killed child without a report has
    /// the outcome `if_killed`.
    fn collect(&self, how: WaitPidFlag, if_killed: Outcome) {
        let mut statuses = Vec::new();
        let family = self.family();
        let ended: Vec<_> = lock(&family.children)
            .extract_if(|&child, _| {
                let status = wait_for(child, how);
                let has_ended = status != Ok(WaitStatus::StillAlive);
                if has_ended {
                    statuses.push(status);
                }
                has_ended
            })
            .collect();
        for ((pid, (child, request)), status) in ended.into_iter().zip(statuses) {
            log_end(&status);
            let report = match &mut *lock(&family.watch) {
                Some(watch) => {
                    watch.ends.remove(&child);
                    watch.receiver.take(pid.as_raw() as u32)
                }
                None => ChildReport::default(),
            };
            drop(child);
            for handshake in report.handshakes {
                request.emit_handshake(&handshake);
            }
            let without_report = || Ended::without_report(outcome(&status, if_killed));
            request.end(&report.ended.unwrap_or_else(without_report));
        }
    }

    fn signal_children(&self, signal: Signal) {
        for (child, _) in lock(&self.family().children).values() {
            child.signal(signal);
        }
    }

    /// Asks the oldest child to end, if the child has had its turn and a client waits for a place.
    /// Each pass of the loop ends one child, since a single client needs a single place.
    fn end_a_turn(&self) {
        let shared = self.layer_handle().shared();
        let Some(turn) = shared.settings().turn() else {
            return;
        };
        if !shared.places().are_full() || !shared.has_client_at_socket() {
            return;
        }
        let mut children = lock(&self.family().children);
        let in_turn = children
            .values_mut()
            .filter(|(_, request)| !request.was_asked_to_end());
        if let Some((child, request)) = in_turn.min_by_key(|(_, request)| request.accepted())
            && request.accepted().elapsed() >= turn
        {
            request.note_asked_to_end();
            child.signal(Signal::SIGTERM);
        }
    }

    /// Waits for the children, which are draining, and at the deadline kills the children that
    /// still run.
    fn drain_children(&self) {
        let shared = self.layer_handle().shared();
        let deadline = shared.lifecycle().close_deadline();
        loop {
            self.collect_children();
            if lock(&self.family().children).is_empty() {
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
        let watch = self.watch().map_err(failed)?;
        let family = self.family();
        *lock(&family.watch) = Some(watch);
        // Release: a forked process that sees the flag watches its own children.
        family.is_active.store(true, Ordering::Release);
        Ok(())
    }

    fn is_ready(&self) -> bool {
        lock(&self.family().children).len() < self.max_children && self.next.is_ready()
    }

    #[allow(unsafe_code)]
    fn process_request<T>(&self, top: &Arc<T>, mut request: S::Request)
    where
        T: BaseServer<Request = S::Request>,
    {
        let (parent, kept) = match self.for_child() {
            Ok(for_child) => for_child,
            Err(error) => {
                let error = format!("cannot fork a child for the request: {error}").into();
                return give_up(top, request, error);
            }
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
        // The parent holds these locks at the fork. So no other thread of the parent holds them,
        // and the child can take them.
        let settings = self.layer_handle().shared().settings().hold();
        let descriptors = Descriptors::hold();
        // SAFETY: in a child of a program with threads, only async-signal-safe functions may be
        // called until exec. The type's documentation has the conditions under which the child may
        // do more, and leaves them to the user. The child runs `live_as_child`, which neither
        // returns nor unwinds into the parent's frames, and waits for no lock of this crate that
        // another thread of the parent may have held at the fork.
        let forked = unsafe { fork() };
        drop(settings);
        if let Ok(ForkResult::Child) = forked {
            descriptors.close_in_child(&kept);
        }
        drop(descriptors);
        match forked {
            Ok(ForkResult::Child) => live_as_child(top, request, parent, mask),
            Ok(ForkResult::Parent { child }) => {
                unmask();
                guarded(top).observe_start(&mut request);
                let in_child = request.guard_mut().hand_to_child();
                self.enter(child, in_child);
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
        let family = self.family();
        family.is_active.store(false, Ordering::Release);
        *lock(&family.watch) = None;
    }
}

/// The means with which the parent notices the end of a child.
#[derive(Debug)]
struct ChildWatch {
    sender: Arc<ReportSender>,
    receiver: ReportReceiver,
    /// The registered descriptors that a child keeps: the waker of its server, with which its
    /// handler can stop the loop, and a datagram socket.
    kept: Arc<[RawFd]>,
    ends: ChildEnds,
}

/// Ends a request for which no child could be forked.
fn give_up<T: BaseServer>(top: &Arc<T>, mut request: T::Request, error: HandlerError) {
    guarded(top).handle_error(&mut request, &error);
    guarded(top).shutdown_request(request);
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
                "child {child} was ended by {signal} before its request had ended"
            );
        }
        // Another part of the program has collected the child.
        _ => {}
    }
}
