//! Waiting, never for longer than a limit.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// The longest time that a test waits for anything. No test depends on this limit to pass: a test
/// that would hang fails.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Evaluates `condition` again and again until it holds, for a condition that has no event to wait
/// for. Panics after [`LIMIT`].
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::yield_now();
    }
}

/// Runs `step` in a thread, and returns its result; panics if the step takes longer than [`LIMIT`].
pub fn within_limit<T: Send + 'static>(what: &str, step: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, ended) = channel();
    let thread = std::thread::spawn(move || sender.send(step()).unwrap());
    let Ok(result) = ended.recv_timeout(LIMIT) else {
        if thread.is_finished() {
            std::panic::resume_unwind(thread.join().unwrap_err());
        }
        panic!("{what} did not return");
    };
    thread.join().unwrap();
    result
}
