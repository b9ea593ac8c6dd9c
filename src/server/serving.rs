//! The loop of a server: its passes, and its waits between two passes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::Server;
use crate::base_server::{BaseServer, guarded};
use crate::running::shared::LoopGuard;
use crate::server::pass::{Next, Reason};
use crate::support::deadline::Deadline;
use crate::support::log::{Level, log_line};
use crate::support::throttle::Throttle;
use crate::transport::sys::take_errors;
use crate::transport::waker::Woken;
use crate::values::error::{Error, catch_panic};

/// The number of requests that are served in a row before the loop drains the waker. So a busy
/// socket does not delay the stop request of a forked child.
const REQUESTS_BEFORE_DRAIN: u32 = 64;

/// The longest time until the loop asks a layer again that is not ready. A layer should wake the
/// loop, but may fail to do so.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// The first and the longest pause when the system has no descriptor or memory for a request.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl<S: BaseServer> Server<S> {
    /// Serves requests until a stop request.
    pub(super) fn run_until_stopped(&self) -> Result<(), Error> {
        self.run(Until::Stopped)
    }

    /// Serves one request, for which the loop waits at most until the deadline.
    pub(super) fn run_one_request(&self, deadline: Deadline) -> Result<(), Error> {
        self.run(Until::OneRequest(deadline))
    }

    /// Serves a request that is registered already.
    pub(super) fn run_accepted(&self, request: S::Request) -> Result<(), Error> {
        let begun = self.shared().begin_loop();
        let serving = begun.map_err(|_| Error::AlreadyServing {
            address: self.server_address(),
        })?;
        if let Some(serving) = serving {
            self.wait_for_room(&serving)?;
        }
        self.pass().dispatch(request);
        Ok(())
    }

    /// Waits until the limits and the layers allow the request that is registered already, at most
    /// until a stop request.
    fn wait_for_room(&self, serving: &LoopGuard<'_>) -> Result<(), Error> {
        let shared = self.shared();
        let until = Until::OneRequest(Deadline::NEVER);
        let mut pacing = Pacing::new();
        serving.drain_waker();
        // This call collects ended children.
        self.top.service_actions();
        while !serving.is_stop_requested() {
            let others = shared.requests().count().total().saturating_sub(1);
            let reason = if !catch_panic(|| self.top.is_ready()).unwrap_or(true) {
                Reason::NotReady
            } else if shared.settings().is_at_limit(others) {
                Reason::AtLimit
            } else {
                break;
            };
            self.wait(serving, &mut pacing, reason, until)?;
        }
        Ok(())
    }

    fn run(&self, until: Until) -> Result<(), Error> {
        let address = || self.server_address();
        // The waker is made before the loop begins: in a forked process, the next stop request then
        // wakes the loop.
        let waker = self.shared().waker();
        waker.map_err(|source| Error::CreateWaker {
            address: address(),
            source,
        })?;
        let begun = self.shared().begin_loop();
        let Some(serving) = begun.map_err(|_| Error::AlreadyServing { address: address() })? else {
            return Ok(());
        };
        // A wake from before the loop stays in the waker, for the first wait of a loop that calls
        // `service_actions`: a layer may have to act.
        match until {
            Until::Stopped => serving.receive_ahead(),
            Until::OneRequest(_) => serving.drain_waker(),
        }
        let mut pacing = Pacing::new();
        while !serving.is_stop_requested() {
            match self.pass().next_request()? {
                Next::Request(request) => {
                    self.pass().dispatch(request);
                    if until != Until::Stopped {
                        return Ok(());
                    }
                    if pacing.request_was_served() {
                        serving.drain_waker();
                    }
                }
                Next::Wait(reason) if until.is_over() => {
                    if let Reason::Exhausted(Some(error)) = reason {
                        self.log_exhausted(&mut pacing.exhausted, &error);
                    }
                    guarded(&self.top).handle_timeout();
                    return Ok(());
                }
                // The socket belongs to another process now, and may be readable for its clients.
                Next::Wait(Reason::NoClient) if self.shared().lifecycle().is_handed_over() => {
                    self.wait(&serving, &mut pacing, Reason::AtLimit, until)?;
                }
                Next::Wait(reason) => self.wait(&serving, &mut pacing, reason, until)?,
            }
            if until == Until::Stopped {
                self.top.service_actions();
            }
        }
        if until == Until::Stopped {
            self.drain_backlog(&serving, &mut pacing)?;
        }
        // The hook is called once more after the stop request, which may have come after the last
        // call: a layer may act on the stop.
        if until == Until::Stopped {
            self.top.service_actions();
        }
        Ok(())
    }

    /// Waits for the event of `reason`, at most until `until`.
    pub(super) fn wait(
        &self,
        serving: &LoopGuard<'_>,
        pacing: &mut Pacing,
        reason: Reason,
        until: Until,
    ) -> Result<(), Error> {
        let deadline = match until {
            Until::Stopped => Deadline::after(self.shared().settings().service_interval()),
            Until::OneRequest(deadline) => deadline,
        };
        let at_most = |pause| deadline.sooner(Deadline::after(Some(pause)));
        let is_full = match reason {
            Reason::NotReady => true,
            Reason::AtLimit => self.shared().lifecycle().accepts(),
            Reason::NoClient | Reason::Lost | Reason::Exhausted(_) => false,
        };
        let _full = is_full.then(|| self.shared().places().wait_for_one());
        match reason {
            Reason::Lost => Ok(()),
            Reason::NoClient if pacing.shut_down => Err(self.socket_is_shut_down()),
            Reason::NoClient if until == Until::Stopped && self.hand_over(serving, deadline)? => {
                Ok(())
            }
            Reason::NoClient => {
                if std::mem::take(&mut pacing.has_error) && !take_errors(self.as_fd()) {
                    // Nothing clears this error of the socket, so the loop pauses instead of
                    // spinning.
                    let pause = pacing.next_pause();
                    return self.sleep(serving, None, at_most(pause)).map(drop);
                }
                let deadline = match self.shared().looks_for_children() {
                    true => at_most(ASK_AGAIN),
                    false => deadline,
                };
                let woken = self.sleep(serving, Some(self.as_fd()), deadline)?;
                (pacing.shut_down, pacing.has_error) = (woken.shut_down, woken.has_error);
                Ok(())
            }
            Reason::NotReady => {
                // The hook is called here because `handle_request` does not call it elsewhere.
                self.top.service_actions();
                if catch_panic(|| self.top.is_ready()).unwrap_or(false) {
                    return Ok(());
                }
                self.sleep(serving, None, at_most(ASK_AGAIN)).map(drop)
            }
            Reason::AtLimit => {
                if self.shared().requests().count().register_loop() {
                    // A request may have ended before the loop registered for the wake-up.
                    self.top.service_actions();
                    return Ok(());
                }
                self.warn_of_limit(&mut pacing.at_limit);
                // Another part of the program may have replaced the handler of `SIGCHLD`, where the
                // server needs it. Then the end of a child does not wake the loop.
                let has_children = self.shared().requests().count().has_children();
                let deadline = if has_children {
                    at_most(ASK_AGAIN)
                } else {
                    deadline
                };
                self.sleep(serving, None, deadline)?;
                self.top.service_actions();
                Ok(())
            }
            Reason::Exhausted(error) => {
                if self.shared().requests().count().register_loop() {
                    return Ok(());
                }
                if let Some(error) = error {
                    self.log_exhausted(&mut pacing.exhausted, &error);
                }
                let pause = pacing.next_pause();
                self.sleep(serving, None, at_most(pause)).map(drop)
            }
        }
    }

    /// Lets a mix-in wait for clients and accept them, until the loop is woken or the deadline is
    /// over. Returns false if no mix-in accepts.
    fn hand_over(&self, serving: &LoopGuard<'_>, deadline: Deadline) -> Result<bool, Error> {
        let Some(acceptor) = self.shared().acceptor() else {
            return Ok(false);
        };
        let Ok(socket) = self.top.socket() else {
            return Ok(false);
        };
        if !acceptor.arm(&socket) {
            return Ok(false);
        }
        let slept = self.sleep(serving, None, deadline);
        acceptor.disarm();
        slept.map(|_| true)
    }

    /// Blocks until the waker fires, `socket` is readable or has an error, or the deadline is over.
    fn sleep(
        &self,
        serving: &LoopGuard<'_>,
        socket: Option<BorrowedFd<'_>>,
        deadline: Deadline,
    ) -> Result<Woken, Error> {
        let waker = self.shared().waker();
        let woken = waker
            .and_then(|waker| waker.wait(socket, deadline))
            .map_err(|source| Error::GetRequest {
                address: self.server_address(),
                source,
            })?;
        if woken.by_waker {
            serving.drain_waker();
        }
        Ok(woken)
    }

    /// Makes the error of a datagram socket that was shut down. The socket stays readable, and
    /// every receive reports `EAGAIN`, so the loop would spin.
    fn socket_is_shut_down(&self) -> Error {
        let message = "the socket has been shut down";
        Error::GetRequest {
            address: self.server_address(),
            source: io::Error::new(io::ErrorKind::BrokenPipe, message),
        }
    }

    fn warn_of_limit(&self, throttle: &mut Throttle) {
        if self.shared().lifecycle().accepts() && throttle.lets_pass() {
            let address = self.server_address();
            let running = self.shared().requests().count().total();
            log_line!(
                Level::Warn,
                "{address}: {running} requests run, which is the limit; new clients wait"
            );
        }
    }

    fn log_exhausted(&self, throttle: &mut Throttle, error: &io::Error) {
        let level = match throttle.lets_pass() {
            true => Level::Warn,
            false => Level::Debug,
        };
        let address = self.server_address();
        log_line!(
            level,
            "{address}: cannot accept a request now, pausing: {error}"
        );
    }
}

/// The end of a run of the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// The loop ends at a stop request.
    Stopped,
    /// The loop ends after one request, at the deadline, or at a stop request.
    OneRequest(Deadline),
}

impl Until {
    fn is_over(self) -> bool {
        match self {
            Self::Stopped => false,
            Self::OneRequest(deadline) => deadline.is_over(),
        }
    }
}

/// The state that a run of the loop keeps from pass to pass.
pub(super) struct Pacing {
    /// The length of the next pause when the system is exhausted.
    pause: Duration,
    /// The number of requests served since the waker was drained.
    served: u32,
    /// Whether the socket has been shut down: the requests in its queue are the last.
    shut_down: bool,
    /// Whether an error of the socket has ended the last wait.
    has_error: bool,
    at_limit: Throttle,
    exhausted: Throttle,
}

impl Pacing {
    fn new() -> Self {
        Self {
            pause: FIRST_PAUSE,
            served: 0,
            shut_down: false,
            has_error: false,
            at_limit: Throttle::default(),
            exhausted: Throttle::default(),
        }
    }

    /// Counts a served request. Returns whether to drain the waker.
    fn request_was_served(&mut self) -> bool {
        self.pause = FIRST_PAUSE;
        self.served = (self.served + 1) % REQUESTS_BEFORE_DRAIN;
        self.served == 0
    }

    /// Returns the length of this pause; the next pause is twice as long, at most
    /// [`LONGEST_PAUSE`].
    fn next_pause(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        pause
    }
}
