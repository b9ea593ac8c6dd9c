//! The options that the commands have in common.

use std::io;
use std::time::Duration;

use clap::{Args, ValueEnum};

/// How much is measured, and in which order.
#[derive(Debug, Args)]
pub struct MeasuringOptions {
    /// Rounds of the loads with short slices; loads with long slices have half as many [default: 9]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: Option<u32>,

    /// Tiny sizes, to see that everything works: the figures mean nothing
    #[arg(long)]
    pub quick: bool,

    /// Seed of everything that is random, such as the order of the servers
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,

    /// Nice value of the load generator and the servers; less than 0 needs CAP_SYS_NICE
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    #[arg(value_parser = clap::value_parser!(i32).range(-20..=19))]
    nice: Option<i32>,
}

/// How long the loads of a benchmark last that has slices of time.
#[derive(Debug, Args)]
pub struct SliceOptions {
    /// The measured time of a slice, in milliseconds [default: 400]
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(10..=5000))]
    slice_ms: Option<u64>,
}

impl SliceOptions {
    /// The time of a slice: `default` unless given.
    #[must_use]
    pub fn slice(&self, default: Duration) -> Duration {
        self.slice_ms.map_or(default, Duration::from_millis)
    }
}

impl MeasuringOptions {
    /// The number of rounds: `default` unless given.
    #[must_use]
    pub fn rounds(&self, default: usize) -> usize {
        self.rounds.map_or(default, |rounds| rounds as usize)
    }

    /// How the figures were measured, for the line above the tables.
    #[must_use]
    pub fn text(&self, rounds: usize, slice: Duration) -> String {
        let (milliseconds, seed) = (slice.as_millis(), self.seed);
        format!("rounds: {rounds}, slices of {milliseconds} ms, seed {seed}")
    }

    /// Gives this process, and those that it starts, the nice value.
    ///
    /// # Errors
    ///
    /// If the user may not.
    pub fn set_nice_value(&self) -> io::Result<()> {
        let Some(nice) = self.nice else {
            return Ok(());
        };
        rustix::process::setpriority_process(None, nice)
            .map_err(|error| io::Error::other(format!("cannot set the nice value: {error}")))
    }

    /// The loads or servers of an option, in the order of the table; all of them if none is given.
    #[must_use]
    pub fn chosen<T: ValueEnum + Copy + PartialEq>(given: &[T]) -> Vec<T> {
        let all = T::value_variants().iter().copied();
        Vec::from_iter(all.filter(|it| given.is_empty() || given.contains(it)))
    }
}
