//! The thread that notices members whose handlers wait without an announcement.

use std::io;
use std::time::Duration;

use crate::mix_ins::reactor::crew::{Crew, Need};
use crate::mix_ins::reactor::members::{Member, Stuck};
use crate::support::deadline::Deadline;
use crate::support::lock::{lock, wait_while};
use crate::support::sync::atomic::{AtomicBool, Ordering};
use crate::support::sync::{Condvar, Mutex};

/// The time between two looks.
const TICK: Duration = Duration::from_millis(1);
/// The time between two looks when no handler has waited for [`CALM_TICKS`].
const CALM_TICK: Duration = Duration::from_millis(5);
const CALM_TICKS: u32 = 1000;

/// The number of looks without any turn after which the sentinel sleeps.
const TICKS_BEFORE_SLEEP: u32 = 20;

/// The number of looks after which a handler that computes counts as stuck.
const LONGEST_COMPUTATION: u32 = 10;

/// The number of looks without a waiting handler after which the wanted members are reduced by one.
const TICKS_BEFORE_LESS: u32 = 50;

/// The state of the sentinel, and the means to call it.
#[derive(Debug)]
pub(super) struct Sentinel {
    /// True while no sentinel looks at the crew. Relaxed reads by the members: a member that misses
    /// the change calls at its next turn.
    sleeps: AtomicBool,
    state: Mutex<State>,
    called: Condvar,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    NotStarted,
    Looks,
    Sleeps,
    Closed,
}

impl Sentinel {
    pub fn new() -> Self {
        Self {
            sleeps: AtomicBool::new(true),
            state: Mutex::new(State::NotStarted),
            called: Condvar::new(),
        }
    }

    /// Makes the sentinel look at a turn that begins. `start` starts its thread, if it has none
    /// yet.
    ///
    /// # Errors
    ///
    /// The error of `start`. The next call tries again.
    pub fn call(&self, start: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        if !self.sleeps.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut state = lock(&self.state);
        let is_new = match *state {
            State::Looks | State::Closed => return Ok(()),
            State::NotStarted => true,
            State::Sleeps => false,
        };
        *state = State::Looks;
        self.sleeps.store(false, Ordering::Relaxed);
        drop(state);
        if !is_new {
            self.called.notify_all();
            return Ok(());
        }
        let started = start();
        if started.is_err() {
            *lock(&self.state) = State::NotStarted;
            self.sleeps.store(true, Ordering::Relaxed);
        }
        started
    }

    /// Ends the thread.
    pub fn close(&self) {
        *lock(&self.state) = State::Closed;
        self.called.notify_all();
    }

    /// Waits for `tick`. Returns false if the sentinel is closed.
    fn wait(&self, tick: Duration) -> bool {
        let deadline = Deadline::after(Some(tick));
        let state = lock(&self.state);
        let (state, _) = wait_while(&self.called, state, deadline, |state| {
            *state != State::Closed
        });
        *state != State::Closed
    }

    /// Sleeps until a member calls. Returns false if the sentinel is closed.
    fn sleep(&self) -> bool {
        let mut state = lock(&self.state);
        if *state == State::Closed {
            return false;
        }
        *state = State::Sleeps;
        self.sleeps.store(true, Ordering::Relaxed);
        let (state, _) = wait_while(&self.called, state, Deadline::NEVER, |state| {
            *state == State::Sleeps
        });
        *state != State::Closed
    }
}

/// Looks at the crew until the sentinel is closed. `start_if_needed` starts the members that the
/// crew needs.
pub(super) fn run<R>(sentinel: &Sentinel, crew: &Crew<R>, start_if_needed: impl Fn(Need)) {
    let mut idle_ticks = 0;
    let mut calm_ticks = 0_u32;
    let mut wants_many = false;
    loop {
        let tick = if calm_ticks < CALM_TICKS {
            TICK
        } else {
            CALM_TICK
        };
        if !sentinel.wait(tick) {
            return;
        }
        let (seen, need) = crew.look(is_stuck);
        start_if_needed(need);
        idle_ticks = if seen.has_worked { 0 } else { idle_ticks + 1 };
        if seen.blocked {
            (calm_ticks, wants_many) = (0, true);
        } else {
            calm_ticks = calm_ticks.saturating_add(1);
            if wants_many && calm_ticks.is_multiple_of(TICKS_BEFORE_LESS) {
                wants_many = crew.want_less();
            }
        }
        if idle_ticks >= TICKS_BEFORE_SLEEP && !wants_many {
            idle_ticks = 0;
            if !sentinel.sleep() {
                return;
            }
        }
    }
}

/// Returns why a member that was in the same call at the last look is stuck, if it is.
fn is_stuck(member: &Member) -> Option<Stuck> {
    match member.calls.is_blocked() {
        Some(true) => Some(Stuck::Blocked),
        // The thread computes, or the machine is busy and the thread waits for a processor.
        Some(false) | None if member.looks >= LONGEST_COMPUTATION => Some(Stuck::Busy),
        _ => None,
    }
}
