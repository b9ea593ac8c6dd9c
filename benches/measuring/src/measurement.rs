//! The rounds: all servers of a load live at once, and each has a slice of it in turn.

use std::io;

use fastrand::Rng;

use crate::figures::{Figure, Quartiles, Sample};

/// What one server did under one load, round by round. A round that failed has no sample.
#[derive(Debug)]
pub struct Rounds<F> {
    /// The server's title.
    pub server: &'static str,
    /// One for each round.
    pub samples: Vec<Option<Sample<F>>>,
}

impl<F: Figure> Rounds<F> {
    /// The figure of a round.
    pub fn figure(&self, round: usize, figure: F) -> Option<f64> {
        self.samples.get(round)?.as_ref()?.get(&figure).copied()
    }

    /// The figure over all rounds.
    pub fn quartiles(&self, figure: F) -> Option<Quartiles> {
        Quartiles::of((0..self.samples.len()).filter_map(|round| self.figure(round, figure)))
    }
}

/// What all servers did under one load.
#[derive(Debug)]
pub struct Measurement<F> {
    /// The load's title.
    pub load: String,
    /// The servers that can do the load, and that this machine can run.
    pub servers: Vec<Rounds<F>>,
    /// The servers that can do the load, and that this machine cannot run.
    pub skipped: Vec<&'static str>,
    /// Which server failed when, and why.
    pub failures: Vec<String>,
}

impl<F> Measurement<F> {
    /// The rounds of a server.
    #[must_use]
    pub fn of(&self, server: &str) -> Option<&Rounds<F>> {
        self.servers.iter().find(|rounds| rounds.server == server)
    }
}

/// Calls `slice` for each of the servers, by its place, in each round. The order is shuffled anew
/// for each round.
pub fn measure<F: Figure>(
    load: String,
    servers: &[&'static str],
    rounds: usize,
    rng: &mut Rng,
    mut slice: impl FnMut(usize, &mut Rng) -> io::Result<Sample<F>>,
) -> Measurement<F> {
    let empty = |&server: &&'static str| Rounds {
        server,
        samples: Vec::new(),
    };
    let mut measured = Vec::from_iter(servers.iter().map(empty));
    let mut failures = Vec::new();
    for round in 1..=rounds {
        let mut order = Vec::from_iter(0..servers.len());
        rng.shuffle(&mut order);
        for index in order {
            let sample = slice(index, rng);
            let rounds = &mut measured[index];
            if let Err(error) = &sample {
                let server = rounds.server;
                failures.push(format!("{load}, {server}, round {round}: {error}"));
            }
            rounds.samples.push(sample.ok());
        }
    }
    Measurement {
        load,
        servers: measured,
        skipped: Vec::new(),
        failures,
    }
}
