//! A throttle for log lines that would be repeated many times a second.

use std::time::{Duration, Instant};

/// The shortest time between two lines about one lasting condition.
const INTERVAL: Duration = Duration::from_secs(60);

/// Allows one line a minute.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    passed: Option<Instant>,
}

impl Throttle {
    /// Whether the line may be written now. A true result begins the next minute.
    pub(crate) fn lets_pass(&mut self) -> bool {
        let lately = |passed: Instant| passed.elapsed() < INTERVAL;
        let passes = !self.passed.is_some_and(lately);
        if passes {
            self.passed = Some(Instant::now());
        }
        passes
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn one_line_passes_at_once_and_the_next_after_a_minute() {
        let mut throttle = Throttle::default();
        assert!(throttle.lets_pass());
        assert!(!throttle.lets_pass());
        throttle.passed = Instant::now().checked_sub(INTERVAL);
        assert!(throttle.lets_pass());
    }
}
