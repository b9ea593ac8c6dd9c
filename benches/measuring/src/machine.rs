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
    date: String,
    cores: usize,
    load_at_start: String,
    load_at_end: String,
    how: String,
}

impl Circumstances {
    /// Those of a measurement that begins now; `how` has the rounds and what else was chosen.
    ///
    /// # Errors
    ///
    /// If there is no /proc.
    pub fn begin(how: String) -> io::Result<Self> {
        Ok(Self {
            date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
            cores: thread::available_parallelism().map_or(1, usize::from),
            load_at_start: load_average()?,
            load_at_end: String::new(),
            how,
        })
    }

    /// The measurement has ended.
    ///
    /// # Errors
    ///
    /// If there is no /proc.
    pub fn end(&mut self) -> io::Result<()> {
        self.load_at_end = load_average()?;
        Ok(())
    }

    /// The sentence above a table.
    #[must_use]
    pub fn text(&self) -> String {
        let Self {
            date,
            cores,
            load_at_start,
            load_at_end,
            how,
        } = self;
        format!(
            "Measured on {date} with {cores} processors; load average {load_at_start} at the \
             start, {load_at_end} at the end; {how}."
        )
    }
}

/// The load average over a minute, of all processes of the machine.
fn load_average() -> io::Result<String> {
    let averages = fs::read_to_string("/proc/loadavg")?;
    let average = averages.split_whitespace().next();
    Ok(average.unwrap_or("unknown").to_owned())
}

/// Raises the limit of this process and its servers as far as it goes, and returns how many of the
/// connections fit.
///
/// # Errors
///
/// If the limit cannot be read or set.
pub fn fitting_connections(connections: usize) -> io::Result<usize> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    let hard = usize::try_from(hard).unwrap_or(usize::MAX);
    Ok(connections.min(hard.saturating_sub(SPARE_DESCRIPTORS)))
}
