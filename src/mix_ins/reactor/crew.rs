//! The threads of a reactor: they wait for connections, serve them, or are spare.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::epoll::{EpollEvent, EpollFlags};

use crate::mix_ins::reactor::calls::Calls;
use crate::mix_ins::reactor::members::{Member, Members, Seen, Stuck};
use crate::mix_ins::reactor::places::{Occupant, Place, Timer};
use crate::mix_ins::reactor::poller::{LISTENER, MOST_EVENTS, Poller};
use crate::mix_ins::reactor::queue::{Queue, TURNS_BEFORE_LOOK};
use crate::mix_ins::reactor::timers::Timers;
use crate::running::unparks::Unparks;
use crate::support::deadline::Deadline;
use crate::support::lock::{lock, wait_while};
use crate::support::sync::{Condvar, Mutex, MutexGuard};
use crate::transport::sys;

/// How often a member calls epoll_wait(2) without a wait before it sleeps; about 30 microseconds.
const ASKS_BEFORE_SLEEP: u32 = 100;

/// How soon a timer fires again if its connection was being served or parked when it fired.
const TIMER_AGAIN: Duration = Duration::from_millis(100);

/// The queue of connections that need a turn, and the threads that serve it.
///
/// Every member of the crew does the same: it serves the queue. When the queue is empty, it waits
/// for the connections itself, and queues those that are ready. So a light server stays in one
/// thread, and hands nothing over to another thread. As many members as are *wanted*, one at first,
/// do this. A member whose handler waits is *stuck*, and another member replaces it. A member that
/// is not needed any more is *spare*.
pub(super) struct Crew<R> {
    poller: Poller,
    timers: Timers,
    state: Mutex<State<R>>,
    spare_called: Condvar,
    /// How long a spare member waits before its thread ends.
    keep_alive: Duration,
    /// The number of forks when the crew was made. A forked child has no crew.
    forks: u32,
}

struct State<R> {
    queue: Queue<R>,
    members: Members,
    /// Whether the crew ends when the last connection has left.
    closing: bool,
}

impl<R> State<R> {
    /// Returns whether the crew has nothing left to do.
    fn is_over(&self) -> bool {
        self.closing && self.queue.has_no_connection()
    }
}

/// What a change of the crew needs. The caller does it without the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) enum Need {
    Nothing,
    /// Another member is needed.
    Member,
}

impl<R> Crew<R> {
    pub fn new(keep_alive: Duration) -> io::Result<Self> {
        Ok(Self {
            poller: Poller::new()?,
            timers: Timers::default(),
            state: Mutex::new(State {
                queue: Queue::new(),
                members: Members::new(),
                closing: false,
            }),
            spare_called: Condvar::new(),
            keep_alive,
            forks: sys::forks(),
        })
    }

    pub fn poller(&self) -> &Poller {
        &self.poller
    }

    pub fn timers(&self) -> &Timers {
        &self.timers
    }

    /// Returns whether this process has made the crew.
    pub fn is_here(&self) -> bool {
        self.forks == sys::forks()
    }

    /// Gives a place to a request. The place is not queued yet.
    pub fn enter(&self, request: R) -> (Arc<Place<R>>, Need) {
        let mut state = lock(&self.state);
        let place = state.queue.enter(request);
        let need = if state.members.is_empty() {
            Need::Member
        } else {
            Need::Nothing
        };
        (place, need)
    }

    /// Takes back the place of a request that has ended.
    pub fn leave(&self, token: u64) {
        let mut state = lock(&self.state);
        state.queue.leave(token);
        if state.is_over() {
            self.call_all(state);
        }
    }

    /// Queues a connection for a turn.
    pub fn push(&self, place: Arc<Place<R>>) {
        let mut state = lock(&self.state);
        state.queue.push(place);
        self.see_to_queue(&state);
    }

    /// Wakes a member if the queue has connections and every member that is available waits.
    fn see_to_queue(&self, state: &State<R>) {
        if !state.queue.is_empty() && state.members.all_poll() {
            self.poller.wake();
        }
    }

    /// Enters a new member, before its thread is started.
    pub fn enter_member(&self, calls: Arc<Calls>) -> usize {
        lock(&self.state).members.enter(calls)
    }

    /// Removes a member whose thread could not be started.
    pub fn leave_member(&self, id: usize) {
        lock(&self.state).members.leave(id);
    }

    /// Notes that a member waits for something other than connections.
    pub fn stick(&self, id: usize) -> Need {
        let mut state = lock(&self.state);
        state.members.stick(id);
        self.replace_stuck(&mut state)
    }

    /// Notes that the wait is over.
    pub fn unstick(&self, id: usize) {
        lock(&self.state).members.unstick(id);
    }

    /// Calls a spare member if fewer are available than wanted.
    fn replace_stuck(&self, state: &mut State<R>) -> Need {
        self.see_to_queue(state);
        if !state.members.are_too_few() || state.is_over() {
            return Need::Nothing;
        }
        if state.members.spare == 0 {
            return Need::Member;
        }
        state.members.spare -= 1;
        state.members.called += 1;
        self.spare_called.notify_one();
        Need::Nothing
    }

    /// Whether the crew has members.
    pub fn has_members(&self) -> bool {
        !lock(&self.state).members.is_empty()
    }

    /// Returns the next task of this member. `None` ends the member's thread.
    pub fn next(&self, id: usize, look: &mut Look) -> Option<Task<R>> {
        let mut state = lock(&self.state);
        state.members.unstick(id);
        loop {
            if std::mem::take(&mut look.has_clients) {
                return Some(Task::Accept);
            }
            if look.turns < TURNS_BEFORE_LOOK {
                if let Some(place) = state.queue.pop() {
                    look.turns += 1;
                    return Some(Task::Turn(place));
                }
            } else if !state.queue.is_empty() {
                state = self.poll(state, look, None);
                continue;
            }
            if state.is_over() {
                state.members.leave(id);
                self.call_all(state);
                return None;
            }
            if state.members.are_too_many() {
                let (new_state, goes_on) = self.be_spare(state);
                state = new_state;
                if !goes_on {
                    state.members.leave(id);
                    return None;
                }
            } else {
                let deadline = self.timers.earliest().map_or(Deadline::NEVER, Deadline::at);
                state = self.poll(state, look, Some(deadline));
            }
        }
    }

    /// Waits as a spare member. Returns false if no member has called it for the time of
    /// `keep_alive`.
    fn be_spare<'a>(
        &'a self,
        mut state: MutexGuard<'a, State<R>>,
    ) -> (MutexGuard<'a, State<R>>, bool) {
        state.members.spare += 1;
        let deadline = Deadline::after(Some(self.keep_alive));
        let (mut state, _) = wait_while(&self.spare_called, state, deadline, |state| {
            state.members.called == 0 && !state.is_over()
        });
        if state.members.called > 0 {
            state.members.called -= 1;
            return (state, true);
        }
        state.members.spare -= 1;
        let is_over = state.is_over();
        // If the crew is over, the caller ends its thread in another branch.
        (state, is_over)
    }

    /// Queues the connections that are ready, and waits for others until the deadline, if there is
    /// one.
    fn poll<'a>(
        &'a self,
        mut state: MutexGuard<'a, State<R>>,
        look: &mut Look,
        wait: Option<Deadline>,
    ) -> MutexGuard<'a, State<R>> {
        look.turns = 0;
        state.members.polling += 1;
        drop(state);
        let count = look.find_events(&self.poller, wait);
        let mut state = lock(&self.state);
        state.members.polling -= 1;
        for event in &look.events[..count] {
            match event.data() {
                LISTENER => (look.has_clients, look.is_hot) = (true, true),
                token if is_end(event) => state.queue.end(token),
                token => state.queue.event(token),
            }
        }
        if wait != Some(Deadline::NEVER) {
            self.fire_timers(&mut state);
        }
        state
    }

    /// Queues the connections whose time is over.
    fn fire_timers(&self, state: &mut State<R>) {
        let now = Instant::now();
        while let Some(token) = self.timers.take_due(now) {
            let Some(place) = state.queue.place(token) else {
                continue;
            };
            let mut again = Some(now + TIMER_AGAIN);
            let mut is_due = false;
            if let Ok(mut occupant) = place.occupant.try_lock()
                && let Some(Occupant { timer, .. }) = &mut *occupant
                && let Some(timer) = timer
            {
                again = timer.due.filter(|due| *due > now);
                timer.set = again;
                is_due = timer.due.is_some() && again.is_none();
            }
            if is_due {
                state.queue.event(token);
            }
            if let Some(at) = again {
                self.timers.set(at, token);
            }
        }
    }

    /// Sets the timer of a connection that is being parked, if the connection needs an earlier
    /// timer.
    pub fn set_timer(&self, token: u64, timer: &mut Option<Box<Timer>>, due: Option<Instant>) {
        let Some(due) = due else {
            if let Some(timer) = timer {
                timer.due = None;
            }
            return;
        };
        let timer = timer.get_or_insert_default();
        timer.due = Some(due);
        if timer.set.is_some_and(|set| set <= due) {
            return;
        }
        if let Some(before) = timer.set.replace(due) {
            self.timers.remove(before, token);
        }
        if self.timers.set(due, token) && lock(&self.state).members.polling > 0 {
            // A member may be in a longer wait.
            self.poller.wake();
        }
    }

    /// Lets every thread end when the last connection has left.
    pub fn close(&self) {
        let mut state = lock(&self.state);
        state.closing = true;
        self.call_all(state);
    }

    /// Calls the spare members, and one member that waits for connections. The called member calls
    /// the next: epoll reports several wakes in a row as one.
    fn call_all(&self, state: MutexGuard<'_, State<R>>) {
        self.spare_called.notify_all();
        if state.members.polling > 0 {
            self.poller.wake();
        }
    }

    /// Whether the crew has ended, or ends at once.
    pub fn is_over(&self) -> bool {
        let state = lock(&self.state);
        state.is_over()
    }

    /// Makes a look of the sentinel. If a member is in the same call as at the last look,
    /// `is_stuck` examines it, and returns why it is stuck, if it is.
    pub fn look(&self, is_stuck: impl FnMut(&Member) -> Option<Stuck>) -> (Seen, Need) {
        let mut state = lock(&self.state);
        let seen = state.members.look(is_stuck);
        (seen, self.replace_stuck(&mut state))
    }

    /// Reduces the wanted members by one, but not below one. Returns whether more than one is still
    /// wanted.
    pub fn want_less(&self) -> bool {
        let mut state = lock(&self.state);
        let wants_many = state.members.want_less();
        if state.members.are_too_many() && state.members.polling > 0 {
            // The woken member becomes spare.
            self.poller.wake();
        }
        wants_many
    }
}

impl<R: Send> Unparks for Crew<R> {
    fn unpark(&self, token: u64) {
        if !self.is_here() {
            return;
        }
        let mut state = lock(&self.state);
        state.queue.event(token);
        self.see_to_queue(&state);
    }
}

impl<R> fmt::Debug for Crew<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crew").finish_non_exhaustive()
    }
}

/// Whether the client has ended its side, or the connection is broken.
fn is_end(event: &EpollEvent) -> bool {
    let ends = EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR;
    event.events().intersects(ends)
}

/// The next task of a member.
pub(super) enum Task<R> {
    /// The member gives the connection a turn.
    Turn(Arc<Place<R>>),
    /// The member accepts the clients that wait.
    Accept,
}

/// The state that a member keeps for its looks at epoll.
#[derive(Debug)]
pub(super) struct Look {
    events: Vec<EpollEvent>,
    /// The number of turns since the last look.
    turns: u32,
    /// Whether the last look has found clients that wait to be accepted.
    has_clients: bool,
    /// Whether clients have come since this member slept.
    is_hot: bool,
}

impl Look {
    pub fn new() -> Self {
        Self {
            events: vec![EpollEvent::empty(); MOST_EVENTS],
            turns: 0,
            has_clients: false,
            is_hot: false,
        }
    }

    /// Finds events, and returns their number: waits until the deadline, or only asks.
    ///
    /// While clients come and go, the next event is likely to come sooner than a sleeping thread
    /// would wake up. So the member looks some more times before it sleeps.
    fn find_events(&mut self, poller: &Poller, wait: Option<Deadline>) -> usize {
        let Some(deadline) = wait else {
            return poller.ask(&mut self.events);
        };
        if std::mem::take(&mut self.is_hot) {
            for _ in 0..ASKS_BEFORE_SLEEP {
                let count = poller.ask(&mut self.events);
                if count > 0 {
                    self.is_hot = true;
                    return count;
                }
            }
        }
        poller.wait(&mut self.events, deadline)
    }
}
