//! What the operating system counts of this process: children, threads, descriptors.

use std::fs;

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

/// The number of this process's threads.
pub fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

/// The number of this process's open descriptors.
pub fn descriptors() -> usize {
    // The descriptor that reads the directory is counted each time.
    fs::read_dir("/proc/self/fd").unwrap().count()
}
