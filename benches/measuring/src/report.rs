//! The tables, as Markdown.

use std::fmt::Write;
use std::io;
use std::process::ExitCode;

use crate::figures::Figure;
use crate::goals::{Against, Goal};
use crate::machine::Circumstances;
use crate::measurement::Measurement;

/// The exit status of a benchmark: a failure if a slice of a load has failed, or the benchmark.
pub fn exit_code(measured: io::Result<bool>) -> ExitCode {
    match measured {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Everything that was measured.
#[derive(Debug)]
pub struct Report<F> {
    /// When and where.
    pub circumstances: Circumstances,
    /// The titles of the servers: the columns.
    pub servers: Vec<&'static str>,
    /// The loads: the rows.
    pub measurements: Vec<Measurement<F>>,
    /// What the servers should reach.
    pub goals: Vec<Goal<F>>,
}

impl<F: Figure> Report<F> {
    /// The rows of the table for which `is_shown` is true of the load's title and the figure.
    #[must_use]
    pub fn brief(&self, is_shown: impl Fn(&str, F) -> bool) -> String {
        let circumstances = self.circumstances.text();
        let table = self.table(is_shown);
        format!("{circumstances}\n\n{table}")
    }

    /// All figures, and the ratios with their goals.
    #[must_use]
    pub fn full(&self) -> String {
        let mut full = self.brief(|_, _| true);
        let goals = self.goals();
        if !goals.is_empty() {
            full.push_str("\n\n");
            full.push_str(&goals);
        }
        full
    }

    /// Prints `tables`, which are those of this report and perhaps others, and each failure.
    /// Returns whether nothing has failed.
    pub fn print(&self, tables: &str) -> bool {
        println!("{tables}");
        for failure in self.failures() {
            eprintln!("failed: {failure}");
        }
        self.failures().next().is_none()
    }

    /// Which server failed when, and why.
    fn failures(&self) -> impl Iterator<Item = &str> {
        let failures = self.measurements.iter().flat_map(|it| &it.failures);
        failures.map(String::as_str)
    }

    /// The medians, a column for each server.
    fn table(&self, is_shown: impl Fn(&str, F) -> bool) -> String {
        let mut table = "| load | measured |".to_owned();
        for server in &self.servers {
            let _ = write!(table, " {server} |");
        }
        table.push_str("\n|---|---|");
        table.push_str(&"---:|".repeat(self.servers.len()));
        for measurement in &self.measurements {
            let load = &measurement.load;
            let samples = measurement.servers.iter().flat_map(|it| &it.samples);
            let mut figures = Vec::from_iter(samples.flatten().flat_map(|it| it.keys().copied()));
            figures.sort_unstable();
            figures.dedup();
            figures.retain(|figure| is_shown(load, *figure));
            for figure in figures {
                let _ = write!(table, "\n| {load} | {} |", figure.title());
                for server in &self.servers {
                    let _ = write!(table, " {} |", cell(measurement, server, figure));
                }
            }
        }
        table
    }

    /// The ratios, with what they should be. Empty if no goal was measured.
    fn goals(&self) -> String {
        let mut rows = String::new();
        let mut server = None;
        for goal in &self.goals {
            let mut measurements = self.measurements.iter();
            let measurement = measurements.find(|it| it.load == goal.load);
            let Some(ratio) = measurement.and_then(|it| goal.measured(it)) else {
                continue;
            };
            server = server.or(Some(goal.server));
            // A ratio has three, so that one that misses its goal looks so.
            let decimals = match goal.against {
                Against::Itself => goal.figure.decimals(),
                _ => 3,
            };
            let is_met = goal.bound.holds(ratio.median);
            let [low, median, high] =
                [ratio.low, ratio.median, ratio.high].map(|it| format!("{it:.decimals$}"));
            let met = if is_met { "yes" } else { "no" };
            let load = &goal.load;
            let (figure, against) = (goal.figure.title(), goal.against.title());
            let goal = goal.bound.text();
            let _ = write!(
                rows,
                "\n| {load} | {figure} | {against} | {median} | {low} to {high} | {goal} \
                 | {met} |",
            );
        }
        let Some(server) = server else {
            return rows;
        };
        let head =
            format!("| load | {server}'s | divided by | median | quartiles | goal | reached |");
        format!("{head}\n|---|---|---|---:|---|---|---|{rows}")
    }
}

fn cell<F: Figure>(measurement: &Measurement<F>, server: &str, figure: F) -> String {
    if measurement.skipped.contains(&server) {
        return "skipped".to_owned();
    }
    let Some(rounds) = measurement.of(server) else {
        return "–".to_owned();
    };
    match rounds.quartiles(figure) {
        Some(quartiles) => format!("{:.*}", figure.decimals(), quartiles.median),
        None => "failed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Sample;
    use crate::goals::Bound;
    use crate::measurement::Rounds;

    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    enum Measured {
        Rate,
        Cpu,
    }

    impl Figure for Measured {
        fn title(self) -> &'static str {
            match self {
                Self::Rate => "exchanges/s",
                Self::Cpu => "CPU µs/exchange",
            }
        }

        fn decimals(self) -> usize {
            match self {
                Self::Rate => 0,
                Self::Cpu => 2,
            }
        }
    }

    fn rounds(server: &'static str, cpu: f64) -> Rounds<Measured> {
        let sample = Sample::from([(Measured::Cpu, cpu), (Measured::Rate, 1000.0 / cpu)]);
        let samples = vec![Some(sample)];
        Rounds { server, samples }
    }

    #[test]
    fn a_cell_is_a_median_or_the_reason_why_there_is_none() {
        let failed = Rounds {
            server: "threads",
            samples: vec![None],
        };
        let report = Report {
            circumstances: Circumstances::default(),
            servers: vec!["Go", "epoll", "threads", "ours"],
            measurements: vec![Measurement {
                load: "64 connections".to_owned(),
                servers: vec![failed, rounds("ours", 4.0)],
                skipped: vec!["Go"],
                failures: Vec::new(),
            }],
            goals: Vec::new(),
        };
        let row = "| 64 connections | CPU µs/exchange | skipped | – | failed | 4.00 |";
        assert!(report.full().contains(row), "{}", report.full());
        let brief = report.brief(|load, figure| load.starts_with("64") && figure == Measured::Rate);
        let row = "| 64 connections | exchanges/s | skipped | – | failed | 250 |";
        assert!(brief.ends_with(row), "{brief}");
    }

    #[test]
    fn a_ratio_has_its_goal_and_whether_it_is_reached() {
        let load = "64 connections".to_owned();
        let report = Report {
            circumstances: Circumstances::default(),
            servers: vec!["epoll", "ours"],
            goals: vec![Goal {
                load: load.clone(),
                figure: Measured::Cpu,
                server: "ours",
                against: Against::Server("epoll"),
                bound: Bound::AtMost(1.06),
            }],
            measurements: vec![Measurement {
                load,
                servers: vec![rounds("epoll", 4.0), rounds("ours", 5.0)],
                skipped: Vec::new(),
                failures: Vec::new(),
            }],
        };
        let full = report.full();
        assert!(full.contains("| load | ours's | divided by |"), "{full}");
        let row = "| epoll | 1.250 | 1.250 to 1.250 | ≤ 1.06 | no |";
        assert!(full.ends_with(row), "{full}");
    }
}
