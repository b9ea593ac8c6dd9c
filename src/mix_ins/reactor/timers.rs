//! The deadlines of parked connections.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::support::lock::lock;
use crate::support::sync::Mutex;

/// The times at which connections need a turn, even if nothing arrives.
///
/// If a connection is parked again with a later deadline, it keeps its timer, which is corrected
/// when it fires. So an exchange causes no change here.
#[derive(Debug, Default)]
pub(super) struct Timers {
    set: Mutex<BTreeSet<(Instant, u64)>>,
}

impl Timers {
    /// Sets a timer. Returns true if it is now the earliest of all.
    pub fn set(&self, at: Instant, token: u64) -> bool {
        let mut set = lock(&self.set);
        set.insert((at, token));
        set.first() == Some(&(at, token))
    }

    pub fn remove(&self, at: Instant, token: u64) {
        lock(&self.set).remove(&(at, token));
    }

    pub fn earliest(&self) -> Option<Instant> {
        lock(&self.set).first().map(|(at, _)| *at)
    }

    /// Removes and returns a timer that is due.
    pub fn take_due(&self, now: Instant) -> Option<u64> {
        let mut set = lock(&self.set);
        let (at, token) = *set.first()?;
        if at > now {
            return None;
        }
        set.pop_first();
        Some(token)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_timers_fire_in_the_order_of_their_times() {
        let timers = Timers::default();
        let now = Instant::now();
        let at = |milliseconds| now + Duration::from_millis(milliseconds);
        assert!(timers.set(at(20), 2));
        assert!(timers.set(at(10), 1));
        assert!(!timers.set(at(30), 3));
        timers.remove(at(20), 2);
        assert_eq!(timers.earliest(), Some(at(10)));
        assert_eq!(timers.take_due(now), None);
        assert_eq!(timers.take_due(at(30)), Some(1));
        assert_eq!(timers.take_due(at(30)), Some(3));
        assert_eq!(timers.take_due(at(30)), None);
        assert_eq!(timers.earliest(), None);
    }
}
