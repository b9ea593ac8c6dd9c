//! The time from the start of a program to its end.

use std::io;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use socketserver::Deadlines;

use crate::exec::ending::{Ended, Reason};
use crate::exec::link::Link;
use crate::exec::running::{Event, Running};

/// The time between `SIGTERM` and `SIGKILL` when the server aborts its requests: a second later the
/// server does not wait any more.
const GRACE_OF_ABORT: Duration = Duration::from_millis(500);

/// The bounds of a program's time.
#[derive(Debug)]
pub(super) struct Supervision {
    begun: Instant,
    lifetime: Option<Duration>,
    grace: Duration,
    /// Why the program was sent `SIGTERM`.
    reason: Option<Reason>,
    /// When the program is to be killed.
    kill_at: Option<Instant>,
}

impl Supervision {
    /// The supervision of a program that begins now.
    pub(super) fn new(deadlines: Deadlines, grace: Duration) -> Self {
        Self {
            begun: Instant::now(),
            lifetime: deadlines.lifetime(),
            grace,
            reason: None,
            kill_at: None,
        }
    }

    /// Ends the program for this reason.
    pub(super) fn end(&mut self, running: &Running, reason: Reason) {
        let grace = match reason {
            Reason::Aborted => self.grace.min(GRACE_OF_ABORT),
            _ => self.grace,
        };
        let kill_at = Instant::now().checked_add(grace);
        self.kill_at = self.kill_at.into_iter().chain(kill_at).min();
        if self.reason.is_none() {
            running.signal(Signal::SIGTERM);
            // A stopped group does not act on a signal.
            running.signal(Signal::SIGCONT);
        }
        self.reason = Some(reason);
    }

    /// Waits for the program's end, and ends the program when its time is over or `link` wants it.
    pub(super) fn until_end(
        mut self,
        running: &mut Running,
        link: &mut dyn Link,
    ) -> io::Result<Ended> {
        loop {
            if let Some(reason) = self.ending(link) {
                self.end(running, reason);
            }
            let now = Instant::now();
            if self.kill_at.is_some_and(|kill_at| kill_at <= now) {
                running.signal(Signal::SIGKILL);
                self.kill_at = None;
            }
            let look = link.look_again().and_then(|it| now.checked_add(it));
            let lifetime = self.lifetime_end().filter(|_| self.reason.is_none());
            let until = [look, lifetime, self.kill_at].into_iter().flatten().min();
            match running.watch(link.descriptor(), until)? {
                Event::Ended => break,
                Event::Beside(events) => link.note(events),
                Event::TimeOver => {}
            }
        }
        if self.reason.is_some() {
            // What the leader has left behind in its group.
            running.signal(Signal::SIGKILL);
        }
        Ok(Ended {
            status: running.reap()?,
            lasted: self.begun.elapsed(),
            reason: self.reason,
        })
    }

    /// A reason to end the program that is new.
    fn ending(&self, link: &mut dyn Link) -> Option<Reason> {
        match (self.reason, link.ending()) {
            (Some(Reason::Aborted), _) => None,
            (_, Some(Reason::Aborted)) => Some(Reason::Aborted),
            (Some(_), _) => None,
            (None, Some(reason)) => Some(reason),
            (None, None) => {
                let is_over = self.lifetime_end().is_some_and(|it| it <= Instant::now());
                is_over.then(|| Reason::Lifetime(self.lifetime.unwrap_or_default()))
            }
        }
    }

    fn lifetime_end(&self) -> Option<Instant> {
        self.begun.checked_add(self.lifetime?)
    }
}
