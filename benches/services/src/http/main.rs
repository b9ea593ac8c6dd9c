//! Measures HTTP beside hyper, Go's net/http, tiny_http, nginx and Python's http.server.
//!
//! `benches/README.md` has how to run it and how to read the tables.

mod figures;
mod goals;
mod loads;
mod options;
mod servers;
mod site;

use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use fastrand::Rng;
use measuring::{Circumstances, Measurement, Page, Report, ServerProcess, fitting_connections};

use crate::figures::Figure;
use crate::loads::{Load, Sizes};
use crate::options::Options;
use crate::servers::Server;
use crate::site::Site;

const PAGE: Page = Page {
    path: "docs/guide/http.md",
    command: "cargo run --release -p services-bench --bin http-bench -- --write",
};

fn main() -> ExitCode {
    let arguments = Vec::from_iter(std::env::args().skip(1));
    if let Some(code) = servers::run(&arguments) {
        return code;
    }
    measuring::exit_code(measure(&Options::parse()))
}

/// Measures, and prints the tables. False if a slice of a load has failed.
fn measure(options: &Options) -> io::Result<bool> {
    let mut sizes = options.sizes();
    sizes.kept = fitting_connections(sizes.kept)?;
    sizes.slow = fitting_connections(sizes.slow)?;
    options.measuring.set_nice_value()?;
    let servers = options.servers();
    let mut present = Vec::new();
    for &server in &servers {
        if measuring::is_measured(server.title(), server.prepare()?) {
            present.push(server);
        }
    }
    let site = Site::new()?;

    let how = options.measuring.text(sizes.rounds, sizes.slice);
    let mut circumstances = Circumstances::begin(how)?;
    let mut rng = Rng::with_seed(options.measuring.seed);
    let mut measurements = Vec::new();
    for load in options.loads() {
        let start = Instant::now();
        let able = |servers: &[Server]| {
            let able = servers.iter().filter(|it| load.servers().contains(it));
            Vec::from_iter(able.copied())
        };
        let measured = able(&present);
        let mut measurement = measure_load(load, &measured, &sizes, &site, &mut rng)?;
        let skipped = able(&servers).into_iter();
        let skipped = skipped.filter(|server| !measured.contains(server));
        measurement.skipped = skipped.map(Server::title).collect();
        let elapsed = start.elapsed();
        eprintln!("{}: measured in {elapsed:.1?}", measurement.load);
        measurements.push(measurement);
    }
    circumstances.end()?;

    let report = Report {
        circumstances,
        servers: servers.into_iter().map(Server::title).collect(),
        measurements,
        goals: goals::goals(&sizes),
    };
    let has_succeeded = report.print(&report.full());
    if options.write {
        PAGE.write(&report.full())?;
    }
    Ok(has_succeeded)
}

/// Measures the servers under a load, in turn.
fn measure_load(
    load: Load,
    servers: &[Server],
    sizes: &Sizes,
    site: &Site,
    rng: &mut Rng,
) -> io::Result<Measurement<Figure>> {
    let mut processes = match load.needs_new_server() {
        true => Vec::new(),
        false => servers
            .iter()
            .map(|server| server.start(load.service(), site))
            .collect::<io::Result<_>>()?,
    };
    let slice = |index: usize, rng: &mut Rng| {
        let Some(process): Option<&mut ServerProcess> = processes.get_mut(index) else {
            let process = servers[index].start(load.service(), site)?;
            return load.run(servers[index], &process, sizes, rng);
        };
        let sample = load.run(servers[index], process, sizes, rng);
        // The server closes the connections of this slice before another server is measured.
        process.settle(Duration::from_secs(1))?;
        sample
    };
    let titles = Vec::from_iter(servers.iter().copied().map(Server::title));
    let (title, rounds) = (load.title(sizes), load.rounds(sizes));
    Ok(measuring::measure(title, &titles, rounds, rng, slice))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_a_place_for_the_tables() {
        assert!(PAGE.has_place().unwrap());
    }
}
