//! Measures servers with `MetricsMixIn` beside the same servers without.
//!
//! `benches/README.md` has how to run it and how to read the tables.

mod loads;
mod servers;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use fastrand::Rng;
use measuring::{
    Against, Bound, Circumstances, Goal, MeasuringOptions, Page, Report, SliceOptions,
};

use crate::loads::{Figure, Load};
use crate::servers::Server;

const PAGE: Page = Page {
    path: "docs/guide/metrics.md",
    command: "cargo run --release -p services-bench --bin metrics-bench -- --write",
};

/// Measures servers with MetricsMixIn beside the same servers without, and prints a Markdown table.
#[derive(Debug, Parser)]
#[command(name = "metrics-bench")]
struct Options {
    #[command(flatten)]
    measuring: MeasuringOptions,

    #[command(flatten)]
    slices: SliceOptions,

    /// Put the tables into docs/guide/metrics.md too
    #[arg(long, conflicts_with = "quick")]
    write: bool,
}

fn main() -> ExitCode {
    let arguments = Vec::from_iter(std::env::args().skip(1));
    if let Some(code) = servers::run(&arguments) {
        return code;
    }
    measuring::exit_code(measure(&Options::parse()))
}

/// Measures, and prints the tables. False if a slice of a load has failed.
fn measure(options: &Options) -> io::Result<bool> {
    let (rounds, slice) = match options.measuring.quick {
        true => (1, Duration::from_millis(30)),
        false => (15, Duration::from_millis(400)),
    };
    let rounds = options.measuring.rounds(rounds);
    let slice = options.slices.slice(slice);
    options.measuring.set_nice_value()?;
    let how = options.measuring.text(rounds, slice);
    let mut circumstances = Circumstances::begin(how)?;
    let mut rng = Rng::with_seed(options.measuring.seed);
    let servers = Server::value_variants();
    let titles = Vec::from_iter(servers.iter().map(|server| server.title()));
    let mut measurements = Vec::new();
    for &load in Load::ALL {
        let processes = servers.iter().map(|server| server.start(load));
        let processes = processes.collect::<io::Result<Vec<_>>>()?;
        let measure_slice = |index: usize, _: &mut Rng| {
            let process = &processes[index];
            let sample = load.run(process, slice);
            process.settle(Duration::from_secs(1))?;
            sample
        };
        let title = load.title().to_owned();
        measurements.push(measuring::measure(
            title,
            &titles,
            rounds,
            &mut rng,
            measure_slice,
        ));
    }
    circumstances.end()?;
    let report = Report {
        circumstances,
        servers: titles,
        measurements,
        goals: goals(),
    };
    let has_succeeded = report.print(&report.full());
    if options.write {
        PAGE.write(&report.full())?;
    }
    Ok(has_succeeded)
}

/// What the layer may cost. A connection is counted when it begins and ends, an exchange is not.
fn goals() -> Vec<Goal<Figure>> {
    let goals = [
        (Load::Lines, Figure::Rate, Bound::AtLeast(0.98)),
        (Load::Lines, Figure::Cpu, Bound::AtMost(1.02)),
        (Load::Datagrams, Figure::Rate, Bound::AtLeast(0.98)),
        (Load::Datagrams, Figure::Cpu, Bound::AtMost(1.02)),
    ];
    let goal = |(load, figure, bound): (Load, _, _)| Goal {
        load: load.title().to_owned(),
        figure,
        server: Server::With.title(),
        against: Against::Server(Server::Without.title()),
        bound,
    };
    goals.map(goal).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_a_place_for_the_tables() {
        assert!(PAGE.has_place().unwrap());
    }
}
