//! Measures `ReactorMixIn` beside bare epoll, threads, tokio and Go.
//!
//! `benches/README.md` has how to run it and how to read the tables.

mod figures;
mod goals;
mod loads;
mod machine;
mod measurement;
mod options;
mod pages;
mod process;
mod report;
mod servers;

use std::io;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use fastrand::Rng;

use crate::machine::Circumstances;
use crate::measurement::Bench;
use crate::options::Options;
use crate::report::Report;
use crate::servers::{Server, go};

fn main() -> ExitCode {
    let arguments = Vec::from_iter(std::env::args().skip(1));
    if let Some(code) = servers::run(&arguments) {
        return code;
    }
    match measure(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Measures, and prints the tables. False if a slice of a load has failed.
fn measure(options: &Options) -> io::Result<bool> {
    let mut sizes = options.sizes();
    let fitting = machine::fitting_connections(sizes.idle)?;
    if fitting < sizes.idle {
        let idle = sizes.idle;
        eprintln!("{fitting} idle connections in place of {idle}: see `ulimit -Hn`");
        sizes.idle = fitting;
    }
    if let Some(nice) = options.nice {
        rustix::process::setpriority_process(None, nice)
            .map_err(|error| io::Error::other(format!("cannot set the nice value: {error}")))?;
    }
    let servers = options.servers();
    let mut skipped = Vec::new();
    if servers.contains(&Server::Go) && !go::build()? {
        eprintln!("Go is skipped: there is no command `go`");
        skipped.push(Server::Go);
    }
    let mut present = servers.clone();
    present.retain(|server| !skipped.contains(server));

    let mut circumstances = Circumstances {
        date: machine::date(),
        cores: machine::cores(),
        load_at_start: machine::load_average()?,
        load_at_end: String::new(),
        rounds: sizes.rounds,
        slice_ms: sizes.slice.as_millis(),
        seed: options.seed,
    };
    let mut bench = Bench {
        sizes: sizes.clone(),
        tokio_workers: options.tokio_workers,
        rng: Rng::with_seed(options.seed),
    };
    let mut measurements = Vec::new();
    for load in options.loads() {
        let start = Instant::now();
        measurements.push(bench.measure(load, &present)?);
        eprintln!(
            "{}: measured in {:.1?}",
            load.title(&sizes),
            start.elapsed()
        );
    }
    circumstances.load_at_end = machine::load_average()?;

    let failures = Vec::from_iter(measurements.iter().flat_map(|it| it.failures.clone()));
    let report = Report {
        circumstances,
        sizes,
        servers,
        skipped,
        measurements,
    };
    println!("{}", report.full());
    for failure in &failures {
        eprintln!("failed: {failure}");
    }
    if options.write {
        pages::write(&report)?;
    }
    Ok(failures.is_empty())
}
