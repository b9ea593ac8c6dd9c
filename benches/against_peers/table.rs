//! The rows of the table.

use std::fmt;

/// Which of two figures is the better one.
#[derive(Debug, Clone, Copy)]
pub enum Better {
    /// Of a rate.
    More,
    /// Of a cost.
    Less,
}

/// A load, what was measured, our figure, the peer's, and how often ours is as good.
#[derive(Debug)]
pub struct Row {
    load: String,
    unit: &'static str,
    ours: f64,
    peer: f64,
    /// The median, the least and the greatest of the rounds.
    ratio: [f64; 3],
}

impl Row {
    /// A row of the figures of every round: ours and the peer's.
    pub fn new(load: &str, unit: &'static str, better: Better, rounds: &[(f64, f64)]) -> Self {
        let ratios = sorted(rounds.iter().map(|&(ours, peer)| match better {
            Better::More => ours / peer,
            Better::Less => peer / ours,
        }));
        Self {
            load: load.to_owned(),
            unit,
            ours: median(&sorted(rounds.iter().map(|round| round.0))),
            peer: median(&sorted(rounds.iter().map(|round| round.1))),
            ratio: [median(&ratios), ratios[0], ratios[ratios.len() - 1]],
        }
    }
}

/// Prints what stands above the rows.
pub fn print_head() {
    println!(
        "{:<36} {:<17} {:>10} {:>10} {:>6}  of all rounds",
        "load", "measured", "ours", "peer", "ratio"
    );
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, least, greatest] = self.ratio;
        write!(
            f,
            "{:<36} {:<17} {:>10} {:>10} {median:>6.2}  {least:.2} to {greatest:.2}",
            self.load,
            self.unit,
            figure(self.ours),
            figure(self.peer),
        )
    }
}

fn figure(value: f64) -> String {
    if value < 1000.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.0}")
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values = Vec::from_iter(values);
    values.sort_by(f64::total_cmp);
    values
}

/// The middle of sorted values, of which there is one at least.
fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        (sorted[middle - 1] + sorted[middle]) / 2.0
    } else {
        sorted[middle]
    }
}
