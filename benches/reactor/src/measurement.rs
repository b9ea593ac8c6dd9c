//! The rounds: all servers of a load live at once, and each has a slice of it in turn.

use std::io;
use std::time::Duration;

use fastrand::Rng;

use crate::figures::{Figure, Quartiles, Sample};
use crate::loads::{Load, Sizes};
use crate::process::ServerProcess;
use crate::servers::Server;

/// What one server did under one load, round by round. A round that failed has no sample.
#[derive(Debug)]
pub struct Rounds {
    pub server: Server,
    pub samples: Vec<Option<Sample>>,
}

impl Rounds {
    /// The figure of a round.
    pub fn figure(&self, round: usize, figure: Figure) -> Option<f64> {
        self.samples.get(round)?.as_ref()?.get(&figure).copied()
    }

    /// The figure over all rounds.
    pub fn quartiles(&self, figure: Figure) -> Option<Quartiles> {
        Quartiles::of((0..self.samples.len()).filter_map(|round| self.figure(round, figure)))
    }
}

/// What all servers did under one load.
#[derive(Debug)]
pub struct Measurement {
    pub load: Load,
    pub servers: Vec<Rounds>,
    /// Which server failed when, and why.
    pub failures: Vec<String>,
}

impl Measurement {
    pub fn of(&self, server: Server) -> Option<&Rounds> {
        self.servers.iter().find(|rounds| rounds.server == server)
    }
}

/// How servers are measured.
#[derive(Debug)]
pub struct Bench {
    pub sizes: Sizes,
    pub tokio_workers: usize,
    pub rng: Rng,
}

impl Bench {
    /// Measures those of the servers that can do the load.
    pub fn measure(&mut self, load: Load, servers: &[Server]) -> io::Result<Measurement> {
        let able = servers.iter().filter(|it| load.servers().contains(it));
        let mut rounds = Vec::new();
        for &server in able {
            let process = match load.needs_new_server() {
                true => None,
                false => Some(ServerProcess::start(server, self.tokio_workers)?),
            };
            let samples = Vec::new();
            rounds.push((process, Rounds { server, samples }));
        }
        let mut failures = Vec::new();
        for round in 1..=load.rounds(&self.sizes) {
            let mut order = Vec::from_iter(0..rounds.len());
            self.rng.shuffle(&mut order);
            for index in order {
                let (process, rounds) = &mut rounds[index];
                let sample = self.slice(load, rounds.server, process.as_mut());
                if let Err(error) = &sample {
                    let (load, server) = (load.title(&self.sizes), rounds.server.title());
                    failures.push(format!("{load}, {server}, round {round}: {error}"));
                }
                rounds.samples.push(sample.ok());
            }
        }
        Ok(Measurement {
            load,
            servers: rounds.into_iter().map(|(_, rounds)| rounds).collect(),
            failures,
        })
    }

    fn slice(
        &mut self,
        load: Load,
        server: Server,
        process: Option<&mut ServerProcess>,
    ) -> io::Result<Sample> {
        let Some(process) = process else {
            let mut process = ServerProcess::start(server, self.tokio_workers)?;
            return load.run(&mut process, &self.sizes, &mut self.rng);
        };
        let sample = load.run(process, &self.sizes, &mut self.rng);
        // The server closes the connections of this slice before another server is measured.
        process.settle(Duration::from_secs(1))?;
        sample
    }
}
