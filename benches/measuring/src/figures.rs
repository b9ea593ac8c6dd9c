//! What is measured of a server under a load, and what is made of the rounds.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

/// One number that a slice of a load has. The order is that of the rows in the table.
pub trait Figure: Copy + Ord + Debug {
    /// The figure's name and unit, in the table.
    fn title(self) -> &'static str;

    /// The digits behind the point.
    fn decimals(self) -> usize;
}

/// The figures of one slice.
pub type Sample<F> = BTreeMap<F, f64>;

/// In microseconds. Of none it is zero.
pub fn percentile(latencies: &mut [Duration], percent: usize) -> f64 {
    latencies.sort_unstable();
    let index = latencies.len().saturating_sub(1) * percent / 100;
    latencies.get(index).map_or(0.0, |it| microseconds(*it))
}

/// A duration as a number of microseconds.
#[must_use]
pub fn microseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// The digits in groups of three.
#[must_use]
pub fn grouped(number: usize) -> String {
    match number {
        0..1000 => number.to_string(),
        _ => format!("{},{:03}", grouped(number / 1000), number % 1000),
    }
}

/// The median of values, and the quarters below and above.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quartiles {
    /// A quarter of the values is at most this.
    pub low: f64,
    /// The value in the middle.
    pub median: f64,
    /// A quarter of the values is at least this.
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
    fn digits_are_in_groups_of_three() {
        assert_eq!([7, 999].map(grouped), ["7", "999"]);
        assert_eq!(grouped(1000), "1,000");
        assert_eq!(grouped(12_034_056), "12,034,056");
    }

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
