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

/// The number of lines about one recurring event that are written in a minute.
const LINES: u32 = 10;

/// Allows the first [`LINES`] lines of a minute about one recurring event, and counts the others.
#[derive(Debug, Default)]
pub(crate) struct Flood {
    /// When the present minute began.
    begun: Option<Instant>,
    /// The number of lines in the present minute.
    lines: u32,
    held_back: u64,
}

impl Flood {
    /// Returns the number of lines that were held back since the last call that returned `Some`, if
    /// the line may be written now; otherwise counts the line as held back.
    pub(crate) fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.is_over(now) {
            (self.begun, self.lines) = (Some(now), 0);
        }
        if self.lines == LINES {
            self.held_back += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.held_back))
    }

    /// Whether the minute is over, so that the next line may be written.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.begun
            .is_none_or(|begun| now.saturating_duration_since(begun) >= INTERVAL)
    }

    pub(crate) fn held_back(&self) -> u64 {
        self.held_back
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn of_a_flood_the_first_lines_of_each_minute_pass_and_the_others_are_counted() {
        let mut flood = Flood::default();
        let begun = Instant::now();
        for _ in 0..LINES {
            assert_eq!(flood.admit(begun), Some(0));
        }
        assert_eq!(flood.admit(begun), None);
        let almost = begun + INTERVAL - Duration::from_nanos(1);
        assert_eq!(flood.admit(almost), None);
        assert_eq!(flood.admit(begun + INTERVAL), Some(2));
        assert_eq!(flood.admit(begun + INTERVAL), Some(0));
    }

    #[test]
    fn one_line_passes_at_once_and_the_next_after_a_minute() {
        let mut throttle = Throttle::default();
        assert!(throttle.lets_pass());
        assert!(!throttle.lets_pass());
        throttle.passed = Instant::now().checked_sub(INTERVAL);
        assert!(throttle.lets_pass());
    }
}
