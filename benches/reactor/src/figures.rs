//! What is measured of a server under a load, and what is made of the rounds.

use std::collections::BTreeMap;
use std::time::Duration;

/// One number that a slice of a load has. The order is that of the rows in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    Rate,
    Cpu,
    P50,
    P99,
    P99Without,
    GreedyRate,
    Evenness,
    Held,
    Kilobytes,
    DrainTime,
    Answered,
    Threads,
    Switches,
    IdleCpu,
}

impl Figure {
    pub fn title(self) -> &'static str {
        match self {
            Self::Rate => "exchanges/s",
            Self::Cpu => "CPU µs/exchange",
            Self::P50 => "p50 µs",
            Self::P99 => "p99 µs",
            Self::P99Without => "p99 µs without them",
            Self::GreedyRate => "thousand greedy lines/s",
            Self::Evenness => "least/most served greedy client",
            Self::Held => "answered at the end",
            Self::Kilobytes => "kB of the process, each",
            Self::DrainTime => "ms until the last idle one is closed",
            Self::Answered => "of the two busy ones, answered",
            Self::Threads => "threads",
            Self::Switches => "context switches",
            Self::IdleCpu => "CPU µs",
        }
    }

    pub fn decimals(self) -> usize {
        match self {
            Self::Cpu | Self::Kilobytes | Self::Evenness => 2,
            Self::DrainTime => 1,
            _ => 0,
        }
    }
}

/// The figures of one slice.
pub type Sample = BTreeMap<Figure, f64>;

/// In microseconds. Of none it is zero.
pub fn percentile(latencies: &mut [Duration], percent: usize) -> f64 {
    latencies.sort_unstable();
    let index = latencies.len().saturating_sub(1) * percent / 100;
    latencies.get(index).map_or(0.0, |it| microseconds(*it))
}

pub fn microseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// The median of values, and the quarters below and above.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quartiles {
    pub low: f64,
    pub median: f64,
    pub high: f64,
}

impl Quartiles {
    /// `None` of no values.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values = Vec::from_iter(values);
        values.sort_unstable_by(f64::total_cmp);
        let last = values.len().checked_sub(1)?;
        let at = |quarters: usize| {
            // Between two values if the quarter is between two.
            let (whole, rest) = (last * quarters / 4, last * quarters % 4);
            let next = values[(whole + 1).min(last)];
            values[whole] + (next - values[whole]) * rest as f64 / 4.0
        };
        Some(Self {
            low: at(1),
            median: at(2),
            high: at(3),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_is_between_the_two_in_the_middle() {
        let quartiles = Quartiles::of([4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!(quartiles.median, 2.5);
        assert_eq!((quartiles.low, quartiles.high), (1.75, 3.25));
    }

    #[test]
    fn one_value_is_all_its_quartiles_and_none_has_none() {
        let quartiles = Quartiles::of([7.0]).unwrap();
        assert_eq!(
            (quartiles.low, quartiles.median, quartiles.high),
            (7.0, 7.0, 7.0)
        );
        assert_eq!(Quartiles::of([]), None);
    }

    #[test]
    fn a_percentile_is_one_of_the_latencies_in_microseconds() {
        let mut latencies = Vec::from_iter((0..=100).rev().map(Duration::from_micros));
        assert_eq!(percentile(&mut latencies, 50), 50.0);
        assert_eq!(percentile(&mut latencies, 99), 99.0);
        assert_eq!(percentile(&mut [], 99), 0.0);
    }
}
