//! A histogram of times.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The upper bounds of the buckets, in seconds. The bucket above the last has no bound.
const BOUNDS: [f64; 14] = [
    0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0, 3600.0,
];

/// A histogram of times. Every access is `Relaxed`: the counters order nothing.
///
/// The histogram of `prometheus-client` has a lock, which every request of a server would take.
/// Also, two of its histograms cannot be added, but the numbers of servers with the same name are.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
}

impl Histogram {
    pub fn add(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        let bucket = BOUNDS.partition_point(|bound| *bound < seconds);
        self.buckets[bucket].fetch_add(1, Relaxed);
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Relaxed);
    }

    pub fn now(&self) -> Times {
        Times {
            buckets: self.buckets.each_ref().map(|bucket| bucket.load(Relaxed)),
            nanoseconds: self.nanoseconds.load(Relaxed),
        }
    }
}

/// The numbers of a histogram at one time.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Times {
    buckets: [u64; BOUNDS.len() + 1],
    nanoseconds: u64,
}

impl Times {
    /// The sum of all times, in seconds.
    pub fn sum(&self) -> f64 {
        Duration::from_nanos(self.nanoseconds).as_secs_f64()
    }

    /// Returns the number of times.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The upper bound of each bucket in seconds, and how many times are in the bucket.
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
        bounds.zip(self.buckets).collect()
    }
}

impl std::ops::AddAssign for Times {
    fn add_assign(&mut self, other: Self) {
        for (bucket, more) in self.buckets.iter_mut().zip(other.buckets) {
            *bucket += more;
        }
        self.nanoseconds += other.nanoseconds;
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_in_the_bucket_of_the_first_bound_that_it_does_not_exceed() {
        let histogram = Histogram::default();
        for time in [
            Duration::ZERO,
            Duration::from_micros(100),
            Duration::from_nanos(100_001),
            Duration::from_secs(3600),
            Duration::from_secs(3601),
        ] {
            histogram.add(time);
        }
        let now = histogram.now();
        let filled = now.buckets().into_iter().filter(|(_, count)| *count > 0);
        let expected = [(0.0001, 2), (0.0005, 1), (3600.0, 1), (f64::INFINITY, 1)];
        assert_eq!(Vec::from_iter(filled), expected);
        assert_eq!(now.count(), 5);
        assert!((now.sum() - 7_201.000_200_001).abs() < 1e-6);
    }

    #[test]
    fn two_histograms_are_added_bucket_by_bucket() {
        let histogram = Histogram::default();
        histogram.add(Duration::from_millis(2));
        let mut sum = histogram.now();
        histogram.add(Duration::from_secs(2));
        sum += histogram.now();
        assert_eq!(sum.count(), 3);
        assert!((sum.sum() - 2.004).abs() < 1e-9);
    }
}
