//! Measures the file service beside FTP and scp.
//!
//! `benches/README.md` has how to run it and how to read the tables.

mod figures;
mod hashing;
mod logins;
mod memory;
mod servers;
mod transfers;

use std::io;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use fastrand::Rng;
use measuring::{Against, Bound, Circumstances, Goal, MeasuringOptions, Page, Report};

use crate::figures::Figure;
use crate::memory::Direction;
use crate::servers::{Running, Server};
use crate::transfers::{Load, Material, Sizes};

const PAGE: Page = Page {
    path: "docs/guide/files.md",
    command: "cargo run --release -p services-bench --bin files-bench -- --write",
};

/// Measures the file service beside FTP and scp, and prints Markdown tables.
#[derive(Debug, Parser)]
#[command(name = "files-bench")]
struct Options {
    #[command(flatten)]
    measuring: MeasuringOptions,

    /// Put the tables into docs/guide/files.md too
    #[arg(long, conflicts_with = "quick")]
    write: bool,
}

fn main() -> ExitCode {
    measuring::exit_code(measure(&Options::parse()))
}

/// Measures, and prints the tables. False if a transfer has failed.
fn measure(options: &Options) -> io::Result<bool> {
    let sizes = match options.measuring.quick {
        true => Sizes::QUICK,
        false => Sizes::FULL,
    };
    let rounds = options.measuring.rounds(sizes.rounds);
    options.measuring.set_nice_value()?;
    measuring::build_socketserver()?;
    let present = |it: &Server| measuring::is_measured(it.title(), it.is_installed());
    let servers = Server::value_variants().iter().copied();
    let (present, skipped): (Vec<_>, Vec<_>) = servers.partition(present);
    let seed = options.measuring.seed;
    let how = format!("rounds: {rounds}, seed {seed}");
    let mut circumstances = Circumstances::begin(how)?;
    let mut rng = Rng::with_seed(seed);
    let material = Material::new(&sizes)?;
    let start = |server: &Server| server.start(&material);
    let running = present
        .iter()
        .map(start)
        .collect::<io::Result<Vec<Running>>>()?;
    let mut measurements = Vec::new();
    for &load in Load::ALL {
        let title = load.title(&sizes);
        let able = running
            .iter()
            .filter(|it| load.servers().contains(&it.server()));
        let able = Vec::from_iter(able);
        let titles = Vec::from_iter(able.iter().map(|it| it.server().title()));
        let transfer = |index: usize, _: &mut Rng| load.run(able[index], &material, &sizes);
        let mut measurement = measuring::measure(title, &titles, rounds, &mut rng, transfer);
        let skipped = skipped.iter().filter(|it| load.servers().contains(it));
        measurement.skipped = skipped.map(|server| server.title()).collect();
        if load.is_hashed() {
            hashing::add_to(&mut measurement, &material)?;
        }
        measurements.push(measurement);
    }
    for direction in Direction::ALL {
        measurements.push(memory::measure(direction, &material, &sizes)?);
    }
    let logins = logins::table(&running, &material, &sizes)?;
    circumstances.end()?;
    let report = Report {
        circumstances,
        servers: columns(),
        measurements,
        goals: goals(&sizes),
    };
    let tables = format!("{}\n\n{logins}", report.full());
    let has_succeeded = report.print(&tables);
    if options.write {
        PAGE.write(&tables)?;
    }
    Ok(has_succeeded)
}

fn columns() -> Vec<&'static str> {
    let mut columns = Vec::from_iter(Server::value_variants().iter().map(|it| it.title()));
    columns.insert(2, hashing::TITLE);
    columns
}

/// The rate of plain FTP less the hash, small files at least as fast as scp, and a mebibyte of
/// memory for each transfer.
fn goals(sizes: &Sizes) -> Vec<Goal<Figure>> {
    let hashed = Against::Server(hashing::TITLE);
    let scp = Against::Server(Server::Scp.title());
    let goals = [
        (
            Load::PutLarge.title(sizes),
            Figure::Rate,
            hashed,
            Bound::AtLeast(1.0),
        ),
        (
            Load::GetLarge.title(sizes),
            Figure::Rate,
            hashed,
            Bound::AtLeast(1.0),
        ),
        (
            Load::PutMany.title(sizes),
            Figure::Files,
            scp,
            Bound::AtLeast(1.0),
        ),
        (
            Load::GetMany.title(sizes),
            Figure::Files,
            scp,
            Bound::AtLeast(1.0),
        ),
        (
            Direction::Up.title(sizes),
            Figure::Kilobytes,
            Against::Itself,
            Bound::AtMost(1024.0),
        ),
        (
            Direction::Down.title(sizes),
            Figure::Kilobytes,
            Against::Itself,
            Bound::AtMost(1024.0),
        ),
    ];
    let goal = |(load, figure, against, bound)| Goal {
        load,
        figure,
        server: Server::Ours.title(),
        against,
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
