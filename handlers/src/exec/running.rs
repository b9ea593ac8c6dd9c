//! A program that runs: its process group, its end, and its standard error.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::exec::environment::Variables;
use crate::exec::error_lines::{self, ErrorLines};
use crate::exec::process_end::{self, process_end};
use crate::exec::program::Program;
use crate::shell::Group;

/// A program that runs. When this value is dropped, the program and its process group have ended:
/// they are killed if the program still runs.
#[derive(Debug)]
pub(super) struct Running {
    child: Pid,
    /// The client's address and the program, with which its lines in the log begin.
    about: String,
    end: OwnedFd,
    errors: ErrorLines,
    /// The group, if the program does not lead its own.
    guard: Option<Group>,
    is_reaped: bool,
}

/// What has ended a [watch](Running::watch).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// The program has ended.
    Ended,
    /// The other descriptor has these events.
    Beside(PollFlags),
    /// The time is over.
    TimeOver,
}

impl Running {
    /// Starts the program for `client`: in the group of `guard`, or else in a group of its own.
    pub(super) fn start(
        program: &Program,
        guard: Option<Group>,
        client: &dyn fmt::Display,
        variables: Variables,
        [stdin, stdout]: [BorrowedFd<'_>; 2],
    ) -> io::Result<Self> {
        let (errors, stderr) = error_lines::pipe()?;
        let group = guard.as_ref().map_or(Pid::from_raw(0), Group::id);
        let child = program.start(group, variables, [stdin, stdout, stderr.as_fd()])?;
        let end = process_end(child).inspect_err(|_| {
            let _ = kill(child, Signal::SIGKILL);
            let _ = process_end::reap(child);
        })?;
        let name = program.name().to_string_lossy();
        let about = format!("{client}: {}[{child}]", name.escape_debug());
        Ok(Self {
            child,
            about,
            end,
            errors,
            guard,
            is_reaped: false,
        })
    }

    /// The client's address, the program's name and its process id, for the log.
    pub(super) fn about(&self) -> &str {
        &self.about
    }

    /// Waits until the program has ended, `beside` has one of the events that are asked for or
    /// `POLLHUP` or `POLLERR`, or until `until`. Logs meanwhile what the program writes to standard
    /// error.
    pub(super) fn watch(
        &mut self,
        beside: Option<(BorrowedFd<'_>, PollFlags)>,
        until: Option<Instant>,
    ) -> io::Result<Event> {
        loop {
            let end = PollFd::new(self.end.as_fd(), PollFlags::POLLIN);
            let errors = self.errors.descriptor();
            let errors = errors.map(|pipe| PollFd::new(pipe, PollFlags::POLLIN));
            let beside = beside.map(|(descriptor, events)| PollFd::new(descriptor, events));
            let has = [errors.is_some(), beside.is_some()];
            // In place of a descriptor that is not there, that of the end is polled twice.
            let or_end = |descriptor: Option<_>| descriptor.unwrap_or_else(|| end.clone());
            let mut fds = [end.clone(), or_end(errors), or_end(beside)];
            match poll(&mut fds, timeout(until)) {
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            }
            // An event without a name counts too.
            let [ended, errors, beside] = fds.map(|fd| fd.revents().unwrap_or(PollFlags::POLLERR));
            if has[0] && !errors.is_empty() {
                self.errors.read(&self.about);
            }
            if !ended.is_empty() {
                return Ok(Event::Ended);
            }
            if has[1] && !beside.is_empty() {
                return Ok(Event::Beside(beside));
            }
            if until.is_some_and(|until| until <= Instant::now()) {
                return Ok(Event::TimeOver);
            }
        }
    }

    /// Sends a signal to the process group. The program is not reaped yet, so that no other group
    /// has this id.
    pub(super) fn signal(&self, signal: Signal) {
        // An error is ignored: the group has ended, or has become another user's.
        let group = self.guard.as_ref().map_or(self.child, Group::id);
        let _ = killpg(group, signal);
    }

    /// Reaps the program after its end, and logs the rest of its standard error. Returns its
    /// status; `None` if this process ignores `SIGCHLD`, and the system has reaped the program.
    pub(super) fn reap(&mut self) -> io::Result<Option<ExitStatus>> {
        self.errors.read_the_rest(&self.about);
        if let Some(guard) = self.guard.take() {
            guard.release();
        }
        self.is_reaped = true;
        match process_end::reap(self.child) {
            Err(error) if error.raw_os_error() == Some(Errno::ECHILD as i32) => Ok(None),
            status => status.map(Some),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.is_reaped {
            self.signal(Signal::SIGKILL);
            let _ = process_end::reap(self.child);
        }
    }
}

/// The timeout of a poll(2) that ends at `until`. Whole milliseconds are rounded down, hence the
/// one more.
fn timeout(until: Option<Instant>) -> PollTimeout {
    let Some(until) = until else {
        return PollTimeout::NONE;
    };
    match until.saturating_duration_since(Instant::now()) {
        Duration::ZERO => PollTimeout::ZERO,
        left => PollTimeout::try_from(left.saturating_add(Duration::from_millis(1)))
            .unwrap_or(PollTimeout::MAX),
    }
}
