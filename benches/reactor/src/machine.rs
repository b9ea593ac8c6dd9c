//! The machine: its processors and its other work, the descriptors of a process, the date.

use std::fs;
use std::io;
use std::thread;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The descriptors that the load with the most connections needs besides its connections.
const SPARE_DESCRIPTORS: usize = 100;

/// When and where the figures were measured.
#[derive(Debug, Default)]
pub struct Circumstances {
    pub date: String,
    pub cores: usize,
    pub load_at_start: String,
    pub load_at_end: String,
    pub rounds: usize,
    pub slice_ms: u128,
    pub seed: u64,
}

impl Circumstances {
    pub fn text(&self) -> String {
        let Self {
            date,
            cores,
            load_at_start,
            load_at_end,
            rounds,
            slice_ms,
            seed,
        } = self;
        format!(
            "Measured on {date} with {cores} processors; load average {load_at_start} at the \
             start, {load_at_end} at the end; rounds: {rounds}, slices of {slice_ms} ms, \
             seed {seed}."
        )
    }
}

/// Today, in UTC.
pub fn date() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%d").to_string()
}

pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// The load average over a minute, of all processes of the machine.
pub fn load_average() -> io::Result<String> {
    let averages = fs::read_to_string("/proc/loadavg")?;
    let average = averages.split_whitespace().next();
    Ok(average.unwrap_or("unknown").to_owned())
}

/// Raises the limit of this process and its servers as far as it goes, and returns how many of the
/// connections fit.
pub fn fitting_connections(connections: usize) -> io::Result<usize> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    let hard = usize::try_from(hard).unwrap_or(usize::MAX);
    Ok(connections.min(hard.saturating_sub(SPARE_DESCRIPTORS)))
}
