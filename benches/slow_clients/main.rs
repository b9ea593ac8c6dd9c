//! Measures whether slow clients harm ordinary ones: the time of an exchange without and with them.
//!
//! `benches/README.md` tells how to run it and how to read the table.

mod ordinary;
// The two benchmarks share how servers and processors are kept apart.
#[path = "../against_peers/process.rs"]
mod process;
#[path = "../against_peers/processor.rs"]
mod processor;
mod server;
mod slow;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::ordinary::Round;
use crate::process::{SERVER_ARGUMENT, ServerProcess};
use crate::processor::GeneratorKept;
use crate::slow::SlowClients;

const ORDINARY_CLIENTS: usize = 8;

/// The most that is measured, so that the server outlives it.
const LONGEST: u64 = 120;

/// How much is measured.
#[derive(Debug)]
struct Sizes {
    slow_clients: usize,
    /// An odd number, so that one of them is the median.
    rounds: u32,
    /// For all rounds with slow clients together, and as long for those without.
    time: Duration,
}

fn main() -> ExitCode {
    let arguments = Vec::from_iter(std::env::args().skip(1));
    if arguments.first().is_some_and(|it| it == SERVER_ARGUMENT) {
        return server::THREADING.run();
    }
    match sizes(&arguments).and_then(|sizes| measure(&sizes)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Cargo says `--bench` when it measures, and not when it tests.
fn sizes(arguments: &[String]) -> io::Result<Sizes> {
    let mut sizes = Sizes {
        slow_clients: 50,
        rounds: 1,
        time: Duration::from_millis(200),
    };
    if arguments.iter().any(|argument| argument == "--bench") {
        sizes = Sizes {
            slow_clients: 2000,
            rounds: 5,
            time: Duration::from_secs(60),
        };
    }
    if let Some(position) = arguments.iter().position(|it| it == "--seconds") {
        let seconds = arguments.get(position + 1).and_then(|it| it.parse().ok());
        let seconds = seconds.filter(|seconds| (1..=LONGEST).contains(seconds));
        let message = format!("--seconds takes a number from 1 to {LONGEST}");
        let seconds = seconds.ok_or_else(|| io::Error::other(message))?;
        sizes.time = Duration::from_secs(seconds);
    }
    Ok(sizes)
}

fn measure(sizes: &Sizes) -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    let server = ServerProcess::start(&server::THREADING)?;
    let _on_its_own_processor = GeneratorKept::new()?;
    let address = server.address();
    let time = sizes.time / sizes.rounds;
    let without_slow = || ordinary::round(address, ORDINARY_CLIENTS, time);
    let with_slow = || {
        let slow = SlowClients::connect(address, sizes.slow_clients)?;
        let round = ordinary::round(address, ORDINARY_CLIENTS, time);
        // What the server has had from them is closed before the next round begins.
        slow.leave()?;
        server.settle()?;
        round
    };
    let mut rounds = Vec::new();
    for number in 0..sizes.rounds {
        rounds.push(if number.is_multiple_of(2) {
            let without = without_slow()?;
            (without, with_slow()?)
        } else {
            let with = with_slow()?;
            (without_slow()?, with)
        });
    }
    print_table(sizes, &rounds);
    Ok(())
}

fn print_table(sizes: &Sizes, rounds: &[(Round, Round)]) {
    println!(
        "{ORDINARY_CLIENTS} ordinary clients, without and with {} slow ones, \
         {} rounds of {:.1?} each",
        sizes.slow_clients,
        sizes.rounds,
        sizes.time / sizes.rounds,
    );
    println!(
        "{:<38} {:>10} {:>10} {:>6}  of all rounds",
        "microseconds", "without", "with", "ratio"
    );
    type Part = fn(&Round) -> &[Duration];
    let parts: [(&str, Part); 2] = [
        ("exchange", |round| &round.exchanges),
        ("connect, exchange, close", |round| &round.connects),
    ];
    for (load, part) in parts {
        for (name, percent) in [("median", 50), ("99th percentile", 99)] {
            let figures = rounds.iter().map(|(without, with)| {
                let figure = |round| percentile(part(round), percent);
                (figure(without), figure(with))
            });
            print_row(&format!("{load}: {name}"), &Vec::from_iter(figures));
        }
    }
}

fn print_row(name: &str, rounds: &[(f64, f64)]) {
    let ratios = sorted(rounds.iter().map(|(without, with)| with / without));
    let middle = |values: &[f64]| values[values.len() / 2];
    println!(
        "{name:<38} {:>10.0} {:>10.0} {:>6.2}  {:.2} to {:.2}",
        middle(&sorted(rounds.iter().map(|round| round.0))),
        middle(&sorted(rounds.iter().map(|round| round.1))),
        middle(&ratios),
        ratios[0],
        ratios[ratios.len() - 1],
    );
}

/// In microseconds; of none it is none.
fn percentile(durations: &[Duration], percent: usize) -> f64 {
    let microseconds = sorted(durations.iter().map(|it| it.as_secs_f64() * 1e6));
    let last = microseconds.len().saturating_sub(1);
    microseconds
        .get(last * percent / 100)
        .copied()
        .unwrap_or(f64::NAN)
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values = Vec::from_iter(values);
    values.sort_by(f64::total_cmp);
    values
}
