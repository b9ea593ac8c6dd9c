//! What a server's process has: counted by itself, compared by the one that watches it.

use std::fmt;
use std::fs;
use std::io;

/// What there is in a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Census {
    /// Requests that the server serves.
    pub active: usize,
    pub threads: usize,
    /// Child processes, those included that have ended and nobody has waited for.
    pub children: usize,
    pub descriptors: usize,
    /// Resident memory in KiB.
    pub memory: u64,
}

impl Census {
    /// Counts what this process has, whose server serves `active` requests.
    pub fn take(active: usize) -> io::Result<Self> {
        Ok(Self {
            active,
            threads: fs::read_dir("/proc/self/task")?.count(),
            children: children()?,
            // The one that reads the directory is among them each time.
            descriptors: fs::read_dir("/proc/self/fd")?.count(),
            memory: resident_memory()?,
        })
    }

    /// Whether it has what `other` has, memory aside. One of the two may have so many threads and
    /// descriptors more than the other.
    pub fn resembles(&self, other: &Self, (threads, descriptors): (usize, usize)) -> bool {
        self.active == other.active
            && self.children == other.children
            && self.threads.abs_diff(other.threads) <= threads
            && self.descriptors.abs_diff(other.descriptors) <= descriptors
    }

    /// The numbers in one line, which [`from_line`](Self::from_line) reads.
    pub fn to_line(self) -> String {
        let Self {
            active,
            threads,
            children,
            descriptors,
            memory,
        } = self;
        format!("{active} {threads} {children} {descriptors} {memory}")
    }

    pub fn from_line(line: &str) -> Option<Self> {
        let mut numbers = line.split_ascii_whitespace().map(str::parse::<u64>);
        let mut next = || numbers.next()?.ok();
        Some(Self {
            active: next()? as usize,
            threads: next()? as usize,
            children: next()? as usize,
            descriptors: next()? as usize,
            memory: next()?,
        })
    }
}

impl fmt::Display for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            active,
            threads,
            children,
            descriptors,
            memory,
        } = self;
        write!(
            f,
            "{active} requests, {threads} threads, {children} children, {descriptors} descriptors, \
             {memory} KiB"
        )
    }
}

fn children() -> io::Result<usize> {
    let mut children = 0;
    for task in fs::read_dir("/proc/self/task")? {
        // A thread may end in between.
        let listed = fs::read_to_string(task?.path().join("children")).unwrap_or_default();
        children += listed.split_ascii_whitespace().count();
    }
    Ok(children)
}

fn resident_memory() -> io::Result<u64> {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup")?;
    let resident = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
    resident
        .and_then(|line| line.trim_end_matches("kB").trim().parse().ok())
        .ok_or_else(|| io::Error::other("no resident memory in smaps_rollup"))
}
