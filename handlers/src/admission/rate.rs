//! How many clients are admitted in a period of time.

use std::str::FromStr;
use std::time::{Duration, Instant};

/// A number of clients in a period of time, such as 50 in ten seconds: `50/10`.
///
/// That many clients may come at once. After that, places become free evenly over the time. Python
/// has no counterpart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    clients: u32,
    time: Duration,
}

/// A text that is not a rate. Python has no counterpart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a rate: write a number of clients in a second, such as 50, or in a longer time, \
     such as 50/10 for ten seconds"
)]
pub struct InvalidRate(String);

/// The longest time of a rate, in seconds: a day.
const LONGEST: f64 = 86_400.0;

impl FromStr for Rate {
    type Err = InvalidRate;

    /// Reads `CLIENTS/SECONDS`, or `CLIENTS` in one second.
    fn from_str(text: &str) -> Result<Self, InvalidRate> {
        let invalid = || InvalidRate(text.to_owned());
        let (clients, seconds) = text.split_once('/').unwrap_or((text, "1"));
        let clients = clients.parse().ok().filter(|clients| *clients > 0);
        let seconds: f64 = seconds.parse().map_err(|_| invalid())?;
        if !(0.001..=LONGEST).contains(&seconds) {
            return Err(invalid());
        }
        Ok(Self {
            clients: clients.ok_or_else(invalid)?,
            time: Duration::from_secs_f64(seconds),
        })
    }
}

impl Rate {
    pub(super) fn bucket(self, now: Instant) -> Bucket {
        Bucket {
            rate: self,
            places: f64::from(self.clients),
            filled: now,
        }
    }
}

/// The free places of a rate.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: Rate,
    places: f64,
    /// When the number of places was calculated.
    filled: Instant,
}

impl Bucket {
    /// Takes a place, if one is free.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let clients = f64::from(self.rate.clients);
        let passed = now.saturating_duration_since(self.filled);
        let freed = passed.as_secs_f64() / self.rate.time.as_secs_f64() * clients;
        self.places = (self.places + freed).min(clients);
        self.filled = now;
        let is_free = self.places >= 1.0;
        if is_free {
            self.places -= 1.0;
        }
        is_free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_the_rate_come_at_once_and_then_one_after_another() {
        let begin = Instant::now();
        let mut bucket = "4/2".parse::<Rate>().unwrap().bucket(begin);
        let after = |millis| begin + Duration::from_millis(millis);
        let mut taken = |millis| bucket.take(after(millis));
        assert!((0..4).all(|_| taken(0)));
        assert!(!taken(0));
        assert!(!taken(499));
        assert!(taken(501));
        assert!(!taken(502));
        // A pause frees no more than the rate.
        assert!((0..4).all(|_| taken(100_000)));
        assert!(!taken(100_000));
    }

    #[test]
    fn a_rate_is_a_number_and_a_time_that_are_not_zero() {
        let rate: Rate = "50".parse().unwrap();
        assert_eq!((rate.clients, rate.time), (50, Duration::from_secs(1)));
        let rate: Rate = "50/0.5".parse().unwrap();
        assert_eq!(rate.time, Duration::from_millis(500));
        for text in [
            "", "0", "-1", "5/0", "5/", "5/-1", "5/x", "5/1e9", "5/NaN", "a/1",
        ] {
            let error = text.parse::<Rate>().unwrap_err().to_string();
            assert!(error.contains("50/10"), "{error}");
        }
    }
}
