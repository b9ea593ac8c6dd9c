//! The members of a crew: which of them are available, stuck, or spare.

use std::sync::Arc;

use slab::Slab;

use crate::mix_ins::reactor::calls::Calls;

/// The most threads that wait for connections at the same time.
const MOST_WANTED: usize = 16;

/// The members of a crew.
#[derive(Debug)]
pub(super) struct Members {
    members: Slab<Member>,
    /// The number of spare members that have not been called.
    pub spare: usize,
    /// The number of spare members that were called and have not woken up.
    pub called: usize,
    stuck: usize,
    /// The number of members in epoll_wait(2).
    pub polling: usize,
    wanted: usize,
}

/// The state of a member.
#[derive(Debug)]
pub(super) struct Member {
    pub calls: Arc<Calls>,
    stuck: bool,
    /// The number of calls at the last look of the sentinel, and the number of looks since then.
    seen: u64,
    pub looks: u32,
}

impl Members {
    pub fn new() -> Self {
        Self {
            members: Slab::new(),
            spare: 0,
            called: 0,
            stuck: 0,
            polling: 0,
            wanted: 1,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub fn enter(&mut self, calls: Arc<Calls>) -> usize {
        self.members.insert(Member {
            calls,
            stuck: false,
            seen: 0,
            looks: 0,
        })
    }

    pub fn leave(&mut self, id: usize) {
        self.members.remove(id);
    }

    /// Returns the number of members that wait for connections or serve them.
    fn available(&self) -> usize {
        self.members.len() - self.spare - self.stuck
    }

    /// Returns whether all available members, at least one, are in epoll_wait(2).
    pub fn all_poll(&self) -> bool {
        self.polling > 0 && self.available() == self.polling
    }

    pub fn are_too_few(&self) -> bool {
        self.available() < self.wanted
    }

    pub fn are_too_many(&self) -> bool {
        self.available() > self.wanted
    }

    /// Notes that a member waits for something other than connections.
    pub fn stick(&mut self, id: usize) {
        if !std::mem::replace(&mut self.members[id].stuck, true) {
            self.stuck += 1;
        }
    }

    /// Notes that the wait is over.
    pub fn unstick(&mut self, id: usize) {
        if std::mem::take(&mut self.members[id].stuck) {
            self.stuck -= 1;
        }
    }

    /// Examines every member. If a member is in the same call as at the last look, `is_stuck`
    /// decides whether it is stuck.
    pub fn look(&mut self, mut is_stuck: impl FnMut(&Member) -> Option<Stuck>) -> Seen {
        let mut seen = Seen::default();
        let mut newly_stuck = Vec::new();
        for (id, member) in &mut self.members {
            let calls = member.calls.count();
            if calls != member.seen {
                (member.seen, member.looks) = (calls, 0);
                seen.has_worked = true;
            } else if Calls::is_in_call(calls) {
                member.looks += 1;
                seen.has_worked |= !member.stuck;
                if !member.stuck
                    && let Some(stuck) = is_stuck(member)
                {
                    newly_stuck.push(id);
                    seen.blocked |= stuck == Stuck::Blocked;
                }
            }
        }
        for id in newly_stuck {
            self.stick(id);
        }
        if seen.blocked && self.polling == 0 {
            // Connections have waited for this look. With more members in epoll_wait(2), the next
            // connections do not have to wait.
            self.wanted = (self.wanted * 2).min(MOST_WANTED);
        }
        seen
    }

    /// Reduces the wanted members by one, but not below one. Returns whether more than one is still
    /// wanted.
    pub fn want_less(&mut self) -> bool {
        self.wanted = (self.wanted - 1).max(1);
        self.wanted > 1
    }
}

/// The reason why a member is stuck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stuck {
    /// The handler of the member waits.
    Blocked,
    /// The handler of the member computes for long.
    Busy,
}

/// The result of a look at the members.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub has_worked: bool,
    pub blocked: bool,
}
