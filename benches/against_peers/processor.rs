//! A processor for the servers and another one for the load generator.
//!
//! Left to the scheduler, the two ends of a connection are sometimes on one processor and sometimes
//! on two, for seconds at a time, and the figures of a single client differ by a factor of two
//! between the cases. With less than two processors nothing is done.

use std::io;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

const THIS_THREAD: Pid = Pid::from_raw(0);

/// Keeps this thread, and those that it starts, on the servers' processor.
pub fn keep_server() -> io::Result<()> {
    let allowed = sched_getaffinity(THIS_THREAD)?;
    keep_on(processors(&allowed).nth(1))
}

/// Keeps the load generator on its processor as long as it lives.
#[derive(Debug)]
pub struct GeneratorKept {
    allowed_before: CpuSet,
}

impl GeneratorKept {
    /// To be called when the servers have been started: they would inherit it.
    pub fn new() -> io::Result<Self> {
        let allowed_before = sched_getaffinity(THIS_THREAD)?;
        let has_two = processors(&allowed_before).nth(1).is_some();
        keep_on(processors(&allowed_before).next().filter(|_| has_two))?;
        Ok(Self { allowed_before })
    }
}

impl Drop for GeneratorKept {
    fn drop(&mut self) {
        // What was allowed is so again, so it does not fail.
        let _ = sched_setaffinity(THIS_THREAD, &self.allowed_before);
    }
}

fn processors(allowed: &CpuSet) -> impl Iterator<Item = usize> {
    (0..CpuSet::count()).filter(|&processor| allowed.is_set(processor).unwrap_or(false))
}

fn keep_on(processor: Option<usize>) -> io::Result<()> {
    let Some(processor) = processor else {
        return Ok(());
    };
    let mut own = CpuSet::new();
    own.set(processor)?;
    Ok(sched_setaffinity(THIS_THREAD, &own)?)
}
