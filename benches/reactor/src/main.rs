//! Measures `ReactorMixIn` beside bare epoll, threads, tokio and Go.
//!
//! `benches/README.md` has how to run it and how to read the tables.

mod figures;
mod goals;
mod loads;
mod options;
mod pages;
mod servers;

use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use fastrand::Rng;
use measuring::{Circumstances, Measurement, Report, ServerProcess, fitting_connections};

use crate::figures::Figure;
use crate::loads::{Load, Sizes};
use crate::options::Options;
use crate::servers::{Server, go};

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
    let fitting = fitting_connections(sizes.idle)?;
    if fitting < sizes.idle {
        let idle = sizes.idle;
        eprintln!("{fitting} idle connections in place of {idle}: see `ulimit -Hn`");
        sizes.idle = fitting;
    }
    options.measuring.set_nice_value()?;
    let servers = options.servers();
    let mut present = servers.clone();
    if servers.contains(&Server::Go) && !go::build()? {
        eprintln!("Go is skipped: there is no command `go`");
        present.retain(|server| *server != Server::Go);
    }

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
        let mut measurement =
            measure_load(load, &measured, &sizes, options.tokio_workers, &mut rng)?;
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
        pages::write(&report, &sizes)?;
    }
    Ok(has_succeeded)
}

/// Measures the servers under a load, in turn.
fn measure_load(
    load: Load,
    servers: &[Server],
    sizes: &Sizes,
    tokio_workers: usize,
    rng: &mut Rng,
) -> io::Result<Measurement<Figure>> {
    let start = |server: Server| ServerProcess::start(&mut server.command(tokio_workers)?);
    let mut processes = match load.needs_new_server() {
        true => Vec::new(),
        false => servers
            .iter()
            .map(|&server| start(server))
            .collect::<io::Result<_>>()?,
    };
    let slice = |index: usize, rng: &mut Rng| {
        let server = servers[index];
        let Some(process) = processes.get_mut(index) else {
            return load.run(server, &mut start(server)?, sizes, rng);
        };
        let sample = load.run(server, process, sizes, rng);
        // The server closes the connections of this slice before another server is measured.
        process.settle(Duration::from_secs(1))?;
        sample
    };
    let titles = Vec::from_iter(servers.iter().copied().map(Server::title));
    let (title, rounds) = (load.title(sizes), load.rounds(sizes));
    Ok(measuring::measure(title, &titles, rounds, rng, slice))
}
