//! The tables, as Markdown.

use std::fmt::Write;

use crate::figures::Figure;
use crate::goals::{Against, Goal};
use crate::loads::{Load, Sizes};
use crate::machine::Circumstances;
use crate::measurement::Measurement;
use crate::servers::Server;

/// Everything that was measured.
#[derive(Debug)]
pub struct Report {
    pub circumstances: Circumstances,
    pub sizes: Sizes,
    /// The columns.
    pub servers: Vec<Server>,
    /// Those of them that this machine cannot run.
    pub skipped: Vec<Server>,
    pub measurements: Vec<Measurement>,
}

/// The rows of the short table.
const BRIEF: &[(Load, Figure)] = &[
    (Load::Exchange64, Figure::Rate),
    (Load::Exchange1000, Figure::Rate),
    (Load::Exchange1000, Figure::P99),
    (Load::Connect, Figure::Rate),
    (Load::Blocking5000, Figure::P99),
    (Load::Slow, Figure::Threads),
    (Load::Idle, Figure::Kilobytes),
];

impl Report {
    /// The table for the front page.
    pub fn brief(&self) -> String {
        let circumstances = self.circumstances.text();
        let table = self.table(|row| BRIEF.contains(&row));
        format!("{circumstances}\n\n{table}")
    }

    /// All figures, and the ratios with their goals.
    pub fn full(&self) -> String {
        let circumstances = self.circumstances.text();
        let mut full = format!("{circumstances}\n\n{}", self.table(|_| true));
        let goals = self.goals();
        if !goals.is_empty() {
            full.push_str("\n\n");
            full.push_str(&goals);
        }
        full
    }

    /// The medians, a column for each server.
    fn table(&self, is_shown: impl Fn((Load, Figure)) -> bool) -> String {
        let mut table = "| load | measured |".to_owned();
        for server in &self.servers {
            let _ = write!(table, " {} |", server.title());
        }
        table.push_str("\n|---|---|");
        table.push_str(&"---:|".repeat(self.servers.len()));
        for measurement in &self.measurements {
            let load = measurement.load;
            let samples = measurement.servers.iter().flat_map(|it| &it.samples);
            let mut figures = Vec::from_iter(samples.flatten().flat_map(|it| it.keys().copied()));
            figures.sort_unstable();
            figures.dedup();
            figures.retain(|figure| is_shown((load, *figure)));
            for figure in figures {
                let (title, figure_title) = (load.title(&self.sizes), figure.title());
                let _ = write!(table, "\n| {title} | {figure_title} |");
                for server in &self.servers {
                    let _ = write!(table, " {} |", self.cell(measurement, *server, figure));
                }
            }
        }
        table
    }

    fn cell(&self, measurement: &Measurement, server: Server, figure: Figure) -> String {
        if !measurement.load.servers().contains(&server) {
            return "–".to_owned();
        }
        if self.skipped.contains(&server) {
            return "skipped".to_owned();
        }
        let rounds = measurement.of(server);
        match rounds.and_then(|rounds| rounds.quartiles(figure)) {
            Some(quartiles) => format!("{:.*}", figure.decimals(), quartiles.median),
            None => "failed".to_owned(),
        }
    }

    /// The ratios, with what they should be. Empty if no goal was measured.
    fn goals(&self) -> String {
        let mut rows = String::new();
        for goal in Goal::all(&self.sizes) {
            let mut measurements = self.measurements.iter();
            let measurement = measurements.find(|it| it.load == goal.load);
            let Some(ratio) = measurement.and_then(|it| goal.measured(it)) else {
                continue;
            };
            // A ratio has three, so that one that misses its goal looks so.
            let decimals = match goal.against {
                Against::Itself => goal.figure.decimals(),
                _ => 3,
            };
            let is_met = goal.bound.holds(ratio.median);
            let [low, median, high] =
                [ratio.low, ratio.median, ratio.high].map(|it| format!("{it:.decimals$}"));
            let met = if is_met { "yes" } else { "no" };
            let load = goal.load.title(&self.sizes);
            let (figure, against) = (goal.figure.title(), goal.against.title());
            let goal = goal.bound.text();
            let _ = write!(
                rows,
                "\n| {load} | {figure} | {against} | {median} | {low} to {high} | {goal} \
                 | {met} |",
            );
        }
        if rows.is_empty() {
            return rows;
        }
        let head = "| load | `ReactorMixIn`'s | divided by | median | quartiles | goal | reached |";
        format!("{head}\n|---|---|---|---:|---|---|---|{rows}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Sample;
    use crate::measurement::Rounds;

    fn rounds(server: Server, cpu: f64) -> Rounds {
        let sample = Sample::from([(Figure::Cpu, cpu), (Figure::Rate, 1000.0 / cpu)]);
        let samples = vec![Some(sample)];
        Rounds { server, samples }
    }

    #[test]
    fn a_cell_is_a_median_or_the_reason_why_there_is_none() {
        let failed = Rounds {
            server: Server::Threading,
            samples: vec![None],
        };
        let report = Report {
            circumstances: Circumstances::default(),
            sizes: Sizes::FULL,
            servers: vec![Server::Go, Server::Threading, Server::Reactor],
            skipped: vec![Server::Go],
            measurements: vec![Measurement {
                load: Load::Exchange64,
                servers: vec![failed, rounds(Server::Reactor, 4.0)],
                failures: Vec::new(),
            }],
        };
        let row = "| 64 connections | CPU µs/exchange | skipped | failed | 4.00 |";
        assert!(report.full().contains(row), "{}", report.full());
        let row = "| 64 connections | exchanges/s | skipped | failed | 250 |";
        assert!(report.brief().ends_with(row), "{}", report.brief());
    }

    #[test]
    fn a_ratio_has_its_goal_and_whether_it_is_reached() {
        let report = Report {
            circumstances: Circumstances::default(),
            sizes: Sizes::FULL,
            servers: vec![Server::BareEpoll, Server::Reactor],
            skipped: Vec::new(),
            measurements: vec![Measurement {
                load: Load::Exchange64,
                servers: vec![rounds(Server::BareEpoll, 4.0), rounds(Server::Reactor, 5.0)],
                failures: Vec::new(),
            }],
        };
        let row = "| bare epoll | 1.250 | 1.250 to 1.250 | ≤ 1.06 | no |";
        assert!(report.full().ends_with(row), "{}", report.full());
    }
}
