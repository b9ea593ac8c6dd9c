//! Lines of the log that would be written again and again.

use std::time::{Duration, Instant};

/// How often the log is told at most of one thing that goes on.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(60);

/// One such line.
#[derive(Debug, Default)]
pub(crate) struct Warning {
    written: Option<Instant>,
}

impl Warning {
    /// Whether to write it now, which the caller does then.
    pub(crate) fn is_due(&mut self) -> bool {
        let lately = |written: Instant| written.elapsed() < BETWEEN_WARNINGS;
        let due = !self.written.is_some_and(lately);
        if due {
            self.written = Some(Instant::now());
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_due_once_and_then_after_a_while() {
        let mut warning = Warning::default();
        assert!(warning.is_due());
        assert!(!warning.is_due());
        warning.written = Instant::now().checked_sub(BETWEEN_WARNINGS);
        assert!(warning.is_due());
    }
}
