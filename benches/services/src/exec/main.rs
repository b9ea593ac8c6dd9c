//! Measures `socketserver exec` beside tcpserver, tcpsvd, socat, ncat, xinetd and inetd.
//!
//! `benches/README.md` has how to run it and how to read the tables.

mod alone;
mod limit;
mod loads;
mod memory;
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
    path: "docs/guide/exec.md",
    command: "cargo run --release -p services-bench --bin exec-bench -- --write",
};

/// Measures `socketserver exec` beside tcpserver, tcpsvd, socat, ncat, xinetd and inetd, and prints
/// Markdown tables.
#[derive(Debug, Parser)]
#[command(name = "exec-bench")]
struct Options {
    #[command(flatten)]
    measuring: MeasuringOptions,

    #[command(flatten)]
    slices: SliceOptions,

    /// Put the tables into docs/guide/exec.md too
    #[arg(long, conflicts_with = "quick")]
    write: bool,
}

/// How much is measured.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    rounds: usize,
    slice: Duration,
    /// Connections that are held, to see what each costs.
    held: usize,
}

fn main() -> ExitCode {
    let arguments = Vec::from_iter(std::env::args().skip(1));
    measuring::exit_code(match arguments.split_first() {
        Some((first, program)) if first == alone::ARGUMENT => alone::serve(program).map(|()| true),
        _ => measure(&Options::parse()),
    })
}

/// Measures, and prints the tables. False if a slice of a load has failed.
fn measure(options: &Options) -> io::Result<bool> {
    let (rounds, slice, held) = match options.measuring.quick {
        true => (1, Duration::from_millis(50), 5),
        false => (9, Duration::from_millis(500), 50),
    };
    let sizes = Sizes {
        rounds: options.measuring.rounds(rounds),
        slice: options.slices.slice(slice),
        held,
    };
    options.measuring.set_nice_value()?;
    measuring::build_socketserver()?;
    let present = |it: &Server| measuring::is_measured(it.title(), it.is_installed());
    let servers = Server::value_variants().iter().copied();
    let (present, skipped): (Vec<_>, Vec<_>) = servers.partition(present);
    let how = options.measuring.text(sizes.rounds, sizes.slice);
    let mut circumstances = Circumstances::begin(how)?;
    let mut rng = Rng::with_seed(options.measuring.seed);
    let titles = Vec::from_iter(present.iter().map(|server| server.title()));
    let directory = tempfile::tempdir()?;
    let mut measurements = Vec::new();
    for &load in Load::ALL {
        let start = |server: &Server| server.start(load.program(), None, directory.path());
        let processes = present.iter().map(start).collect::<io::Result<Vec<_>>>()?;
        let measure_slice = |index: usize, _: &mut Rng| load.run(&processes[index], &sizes);
        let (title, rounds) = (load.title(&sizes), load.rounds(&sizes));
        let mut measurement = measuring::measure(title, &titles, rounds, &mut rng, measure_slice);
        measurement.skipped = skipped.iter().map(|server| server.title()).collect();
        measurements.push(measurement);
    }
    circumstances.end()?;
    let report = Report {
        circumstances,
        servers: Server::value_variants()
            .iter()
            .map(|it| it.title())
            .collect(),
        measurements,
        goals: goals(&present, &sizes),
    };
    let products = present.iter().copied().filter(|&it| it != Server::Alone);
    let limits = limit::table(&Vec::from_iter(products), directory.path())?;
    let tables = format!("{}\n\n{limits}", report.full());
    let has_succeeded = report.print(&tables);
    if options.write {
        PAGE.write(&tables)?;
    }
    Ok(has_succeeded)
}

/// Against each of the others: a fifth more connections than the best of them.
fn goals(present: &[Server], sizes: &Sizes) -> Vec<Goal<Figure>> {
    let programs = [Load::Cat, Load::True, Load::Python].into_iter();
    let no_peer = [Server::Ours, Server::Alone];
    let others = present.iter().filter(|server| !no_peer.contains(server));
    let pairs = programs.flat_map(|load| others.clone().map(move |other| (load, *other)));
    let goal = |(load, other): (Load, Server)| Goal {
        load: load.title(sizes),
        figure: Figure::Rate,
        server: Server::Ours.title(),
        against: Against::Server(other.title()),
        bound: Bound::AtLeast(1.2),
    };
    pairs.map(goal).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_a_place_for_the_tables() {
        assert!(PAGE.has_place().unwrap());
    }
}
