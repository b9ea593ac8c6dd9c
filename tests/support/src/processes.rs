//! The numbers of this process that the operating system counts: children, threads, descriptors.

use std::fs;

/// Returns the process ids of this process's children, with those that have ended and have not been
/// collected.
///
/// The system lists the children under the thread that made them, and moves them to another thread
/// when that thread ends. During the move a child may be missing.
pub fn children() -> Vec<i32> {
    let mut children = Vec::new();
    for task in fs::read_dir("/proc/self/task").unwrap() {
        // The thread may have ended meanwhile.
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

/// Returns the number of this process's threads.
pub fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

/// Returns the number of this process's open descriptors.
pub fn descriptors() -> usize {
    // The descriptor that reads the directory is counted each time.
    fs::read_dir("/proc/self/fd").unwrap().count()
}
