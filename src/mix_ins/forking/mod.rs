//! The mix-in that serves each request in a process.

pub(crate) mod reports;

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{
    SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, kill, pthread_sigmask, sigaction,
};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use signal_hook::SigId;
use signal_hook::consts::SIGCHLD;
use signal_hook::low_level;

use self::reports::{ChildReport, ReportsOfChildren};
use crate::base_server::{BaseServer, observe_started, report_error, shut_down};
use crate::mix_in::MixIn;
use crate::requests::request::Request;
use crate::running::active_request::{DrainNotice, RequestInChild};
use crate::support::lock::lock;
use crate::support::log::{Level, log};
use crate::values::error::Error;
use crate::values::request_event::Outcome;

/// While closing, children are looked at so often even if no signal tells of their end: another
/// part of the program may have taken the signal over.
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_millis(500);

/// How long `handle_request` waits, unless set.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Serves each request in a child process of its own.
///
/// Python's `ForkingMixIn`. The child has a copy of everything, so a handler cannot change the
/// server's state, and cannot harm it either: a crash, a leak, a handler that never ends stay in
/// the child. Its exit status is 0 if the handler succeeded and 1 if it failed or panicked.
///
/// At most [`max_children`](Self::max_children) run at a time; then the loop accepts no more until
/// one ends. Children are waited for one by one, by their process id, so other children of the
/// program are left to it. `SIGCHLD` makes the loop look for ended ones; the program's own handler
/// for it, if it has one, is called as before.
///
/// When the server is shut down or closed, each child gets `SIGTERM`, which in it means that the
/// server is draining, and nothing else: [`wait`](crate::StreamRequest::wait) returns false, everything
/// else goes on. What runs at the drain timeout is killed.
///
/// A child closes its copy of the listening socket, so that nobody can connect when the server has
/// ended and the child has not. Other servers in the same program are not known here: it keeps its
/// copies of their sockets, as in Python.
///
/// # Forking a program with threads
///
/// fork copies the calling thread alone. What other threads were doing stays half-done in the child
/// for ever: a mutex that one of them held is never unlocked, so a handler that needs it hangs.
/// The allocator is safe (the C library sees to it), and so is everything in this crate. Your own
/// locks, those of libraries, and those of the standard output streams are not.
///
/// The supported ways to use it are:
///
/// * `serve_forever` in a program without other threads, or in one whose other threads only wait
///   (for a signal, say) and take no lock that a handler or the logger takes; or
/// * a handler that starts another program at once.
///
/// A handler may start threads itself: in the child, it is the only one. It must not return by
/// other ways than its end: the child leaves with `_exit`, so neither destructors of `main` nor
/// buffered standard output are run a second time, and output without a line's end must be flushed.
/// One that ends the process itself tells its parent no more than the exit status: 0 counts as
/// success.
///
/// A [shutdown](crate::ServerHandle::shutdown) called in a child stops the parent's loop.
#[derive(Debug)]
pub struct ForkingMixIn<S> {
    next: S,
    max_children: usize,
    block_on_close: bool,
    active_children: Mutex<HashMap<Pid, RequestInChild>>,
    reports: Mutex<Option<ReportsOfChildren>>,
    child_signal: Mutex<Option<ChildSignal>>,
}

impl<S: BaseServer> ForkingMixIn<S> {
    /// Puts processes around `next`.
    pub fn new(next: S) -> Self {
        Self {
            next,
            max_children: 40,
            block_on_close: true,
            active_children: Mutex::default(),
            reports: Mutex::new(None),
            child_signal: Mutex::new(None),
        }
    }

    /// How many children may run at a time; 40 unless set, as in Python. 0 counts as 1.
    #[must_use]
    pub fn max_children(mut self, max: usize) -> Self {
        self.max_children = max.max(1);
        self
    }

    /// Whether closing waits for the children that still run; true unless set. Those that it does not
    /// wait for go on by themselves, and are in no count from then on.
    #[must_use]
    pub fn block_on_close(mut self, block: bool) -> Self {
        self.block_on_close = block;
        self
    }

    /// The process ids of the children that have not been collected, in no order.
    #[must_use]
    pub fn active_children(&self) -> Vec<i32> {
        lock(&self.active_children)
            .keys()
            .map(|pid| pid.as_raw())
            .collect()
    }

    /// Takes in the children that have ended, without waiting for others. The loop does it after
    /// every pass.
    pub fn collect_children(&self) {
        self.collect(WaitPidFlag::WNOHANG, Outcome::Failed);
    }

    /// Waits for each child in turn, as `how` says. One that was killed has ended with `if_killed`.
    fn collect(&self, how: WaitPidFlag, if_killed: Outcome) {
        let mut statuses = Vec::new();
        let ended: Vec<_> = lock(&self.active_children)
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
            let mut reports = lock(&self.reports);
            let report = reports
                .as_mut()
                .and_then(|it| it.take(child.as_raw() as u32));
            drop(reports);
            let unsaid = || ChildReport::of_silent(outcome(&status, if_killed));
            request.end(report.unwrap_or_else(unsaid));
        }
    }

    fn is_at_its_bound(&self) -> bool {
        lock(&self.active_children).len() >= self.max_children
    }

    fn signal_children(&self, signal: Signal) {
        for &child in lock(&self.active_children).keys() {
            // It fails if the child is gone, and cannot reach another process, as long as the child
            // is not collected.
            let _ = kill(child, signal);
        }
    }

    /// Waits for the children, which have been told of the drain, until the deadline kills them.
    fn drain_children(&self) {
        let deadline = self.handle().close_deadline();
        loop {
            self.collect_children();
            if lock(&self.active_children).is_empty() {
                return;
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                break;
            }
            let pause = left.map_or(LOOK_AT_LEAST_EVERY, |left| left.min(LOOK_AT_LEAST_EVERY));
            match self.handle().wakeup() {
                Ok(wakeup) if wakeup.wait(None, Some(pause)).is_ok() => drop(wakeup.heard()),
                _ => std::thread::sleep(pause),
            }
        }
        self.signal_children(Signal::SIGKILL);
        self.collect(WaitPidFlag::empty(), Outcome::Cut);
    }

    /// The child's whole life: it serves its request and never returns, not even by a panic.
    fn live_as_child<T>(top: &Arc<T>, request: S::Request, mut mask: SigSet) -> !
    where
        T: BaseServer<Request = S::Request>,
    {
        let _ends_with_this_frame = ExitOnDrop;
        top.handle().set_forked_child();
        hear_of_drain(&request);
        // Also where the parent blocks it, to wait for it somewhere.
        mask.remove(Signal::SIGTERM);
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&mask), None);
        top.after_fork_in_child();
        let succeeded = top.process_request_thread(request);
        low_level::exit(i32::from(!succeeded))
    }
}

/// `SIGCHLD` wakes the loop as long as this lives.
#[derive(Debug)]
struct ChildSignal(SigId);

impl Drop for ChildSignal {
    fn drop(&mut self) {
        low_level::unregister(self.0);
    }
}

/// Keeps a panic in a child from unwinding into the frames below, which are copies of the parent's:
/// the child would go on as a second server.
struct ExitOnDrop;

impl Drop for ExitOnDrop {
    fn drop(&mut self) {
        low_level::exit(1);
    }
}

/// What `SIGTERM` tells in a child; null in every other process.
static DRAIN_NOTICE: AtomicPtr<DrainNotice> = AtomicPtr::new(ptr::null_mut());

/// From now on `SIGTERM` tells this child's request that the server is draining, and nothing else:
/// what the program does on it is the parent's business.
///
/// Not through `signal-hook`: to register an action it waits until no thread is in one, and a thread
/// that was in one at the fork does not exist here to come out of it.
#[allow(unsafe_code)]
fn hear_of_drain(request: &impl Request) {
    let notice = Box::new(request.active().drain_notice());
    DRAIN_NOTICE.store(Box::into_raw(notice), SeqCst);
    let handler = SigHandler::Handler(tell_of_drain);
    let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: sigaction is unsafe because the handler may call async-signal-safe functions only;
    // for what `tell_of_drain` calls, see there.
    if let Err(error) = unsafe { sigaction(Signal::SIGTERM, &action) } {
        let client = request.client_address();
        log(
            Level::Warn,
            format_args!("{client}: the child will not hear of a drain: {error}"),
        );
    }
}

/// The action of `SIGTERM` in a child.
///
/// `DrainNotice::tell` stores to and exchanges atomics and calls shutdown(2), which POSIX lists as
/// async-signal-safe. It takes no lock, allocates nothing, and does not panic.
#[allow(unsafe_code)]
extern "C" fn tell_of_drain(_: nix::libc::c_int) {
    // What the signal interrupts may be about to look at it.
    let errno = Errno::last_raw();
    // SAFETY: the pointer is null, or comes from `Box::into_raw` in `hear_of_drain`; that box is
    // never freed, and nothing takes it by exclusive reference.
    if let Some(notice) = unsafe { DRAIN_NOTICE.load(SeqCst).as_ref() } {
        notice.tell();
    }
    Errno::set_raw(errno);
}

/// waitpid, whatever signals come in between.
fn wait_for(child: Pid, how: WaitPidFlag) -> nix::Result<WaitStatus> {
    loop {
        match waitpid(child, Some(how)) {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

/// What the status of a child that has said nothing tells of its request.
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
            log(
                Level::Debug,
                format_args!("child {child} ended with {status}"),
            );
        }
        Ok(WaitStatus::Signaled(child, signal, _)) => {
            let what = format_args!("child {child} was ended by {signal}, its request unfinished");
            log(Level::Warn, what);
        }
        // Somebody else has collected it.
        _ => {}
    }
}

impl<S: BaseServer> MixIn for ForkingMixIn<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.next
    }

    fn server_activate(&self) -> Result<(), Error> {
        self.next.server_activate()?;
        let failed = |source| Error::Activate {
            address: self.handle().server_address(),
            source,
        };
        let speaker: OwnedFd = self.handle().wakeup()?.speaker().map_err(failed)?;
        let id = low_level::pipe::register(SIGCHLD, speaker).map_err(failed)?;
        *lock(&self.child_signal) = Some(ChildSignal(id));
        let (to_parent, reports) = ReportsOfChildren::new().map_err(failed)?;
        self.handle().set_report_to_parent(to_parent);
        *lock(&self.reports) = Some(reports);
        Ok(())
    }

    fn accepting(&self) -> bool {
        if self.is_at_its_bound() || self.handle().is_full() {
            self.collect_children();
        }
        !self.is_at_its_bound() && self.next.accepting()
    }

    #[allow(unsafe_code)]
    fn process_request<T>(&self, top: &Arc<T>, mut request: S::Request)
    where
        T: BaseServer<Request = S::Request>,
    {
        // A child that was told to drain before it listens would be ended by the signal instead.
        let drain = SigSet::from(Signal::SIGTERM);
        let mut mask = SigSet::empty();
        // Neither call fails: their arguments are right.
        let _ = pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&drain), Some(&mut mask));
        let unmask = || {
            let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&mask), None);
        };
        // No other thread has them at the fork, so the handler can ask for them in the child.
        let bounds = self.handle().hold_bounds();
        // SAFETY: fork is unsafe because in a child of a program with threads only functions that
        // are async-signal-safe may be called until exec. The type's documentation tells the user
        // under which conditions the child may do more, and that they are theirs to keep. The child
        // itself runs `live_as_child`, which neither returns nor unwinds into the parent's frames, and
        // waits for no lock of this crate that another thread of the parent may have held at the fork.
        let forked = unsafe { fork() };
        drop(bounds);
        match forked {
            Ok(ForkResult::Child) => Self::live_as_child(top, request, mask),
            Ok(ForkResult::Parent { child }) => {
                unmask();
                observe_started(&**top, request.active());
                let in_child = request.active_mut().hand_to_child();
                lock(&self.active_children).insert(child, in_child);
                top.close_request(request);
            }
            Err(error) => {
                unmask();
                let error = format!("cannot fork a child for the request: {error}").into();
                report_error(&**top, &mut request, &error);
                shut_down(top, request);
            }
        }
    }

    fn handle_timeout(&self) {
        self.collect_children();
        self.next.handle_timeout();
    }

    /// 300 seconds, as in Python, so that ended children are collected now and then; unless a layer
    /// below has a timeout.
    fn timeout(&self) -> Option<Duration> {
        self.next.timeout().or(Some(TIMEOUT))
    }

    fn service_actions(&self) {
        if self.handle().is_draining() {
            self.signal_children(Signal::SIGTERM);
        }
        self.collect_children();
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
        *lock(&self.child_signal) = None;
    }
}
