//! A point in time by which a wait ends.

use std::time::{Duration, Instant};

/// The latest end of a wait; [`Deadline::NEVER`] is no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// A wait without a bound.
    pub(crate) const NEVER: Self = Self(None);

    /// The deadline `timeout` from now. `None`, and a time that no clock reaches, are no bound.
    pub(crate) fn after(timeout: Option<Duration>) -> Self {
        Self(timeout.and_then(|timeout| Instant::now().checked_add(timeout)))
    }

    /// The deadline at `instant`.
    pub(crate) fn at(instant: Instant) -> Self {
        Self(Some(instant))
    }

    /// The time that is left: zero once the deadline is over, `None` without a bound.
    pub(crate) fn left(self) -> Option<Duration> {
        let until = self.0?;
        Some(until.saturating_duration_since(Instant::now()))
    }

    /// Whether no time is left.
    pub(crate) fn is_over(self) -> bool {
        self.left() == Some(Duration::ZERO)
    }

    /// The earlier of two deadlines.
    pub(crate) fn sooner(self, other: Self) -> Self {
        Self(match (self.0, other.0) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_that_is_over_leaves_no_time_and_none_leaves_all() {
        assert!(Deadline::after(Some(Duration::ZERO)).is_over());
        assert!(!Deadline::after(Some(Duration::from_secs(60))).is_over());
        assert_eq!(Deadline::NEVER.left(), None);
        assert_eq!(Deadline::after(Some(Duration::MAX)), Deadline::NEVER);
    }

    #[test]
    fn the_sooner_of_two_deadlines_bounds_a_wait() {
        let now = Instant::now();
        let (soon, late) = (
            Deadline::at(now),
            Deadline::at(now + Duration::from_secs(1)),
        );
        assert_eq!(soon.sooner(late), soon);
        assert_eq!(late.sooner(soon), soon);
        assert_eq!(Deadline::NEVER.sooner(late), late);
        assert_eq!(late.sooner(Deadline::NEVER), late);
    }
}
