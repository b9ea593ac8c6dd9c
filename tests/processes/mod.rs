//! What the operating system knows of this process: children, threads, descriptors.

// Each test program includes this file and uses its own part of it.
#![allow(dead_code)]

use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use super::clients::LIMIT;

static FORKING: Mutex<()> = Mutex::new(());

/// Keeps forking tests of one program apart. A child has copies of every descriptor and of every
/// lock as it stood at the fork, so another test's server may not be set up at that moment, and
/// that a connection has ended is only seen when no other test's child holds it open.
pub fn forking_alone() -> ForkingAlone {
    ForkingAlone {
        _turn: FORKING.lock().unwrap_or_else(PoisonError::into_inner),
    }
}

/// One test's turn; when the test fails, its children end with it.
#[derive(Debug)]
pub struct ForkingAlone {
    _turn: MutexGuard<'static, ()>,
}

impl Drop for ForkingAlone {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for child in children().into_iter().map(Pid::from_raw) {
                // Nobody has waited for it, so no other process can have its number.
                let _ = kill(child, Signal::SIGKILL);
                let _ = waitpid(child, None);
            }
        }
    }
}

/// The process ids of this process's children, the ended ones that nobody has waited for included.
///
/// They are listed under the thread that made them, and under another when that has ended: in the
/// moment between, a child may be missing.
pub fn children() -> Vec<i32> {
    let mut children = Vec::new();
    for task in fs::read_dir("/proc/self/task").unwrap() {
        // A thread may end in between.
        let listed = fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default();
        children.extend(
            listed
                .split_ascii_whitespace()
                .map(|pid| pid.parse::<i32>().unwrap()),
        );
    }
    children.sort_unstable();
    children.dedup();
    children
}

pub fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

pub fn descriptors() -> usize {
    // The one that reads the directory is among them each time.
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Looks again and again until `condition` holds, for what there is no event to wait for.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::yield_now();
    }
}
