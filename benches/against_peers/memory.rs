//! The memory of a server's process.

use std::fs;
use std::io;

use crate::process::ServerProcess;

/// The bytes of the server's memory that are resident.
pub fn resident(server: &ServerProcess) -> io::Result<u64> {
    let memory = fs::read_to_string(format!("/proc/{}/smaps_rollup", server.id()))?;
    let kilobytes = memory
        .lines()
        .find_map(|line| line.strip_prefix("Rss:")?.strip_suffix("kB"))
        .ok_or_else(|| io::Error::other("the system does not state the resident memory"))?;
    let kilobytes: u64 = kilobytes.trim().parse().map_err(io::Error::other)?;
    Ok(kilobytes * 1024)
}
