//! What the processes of a server take, those of the programs left out.

use std::fs;
use std::io;

/// The processes of a server, and their memory.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    pub processes: u64,
    /// Memory that several processes share counts once.
    pub kilobytes: u64,
}

/// The usage of a server and its descendants that are not `cat`.
pub fn beside_programs(server: u32) -> io::Result<Usage> {
    let mut usage = Usage::default();
    let mut processes = vec![server];
    while let Some(process) = processes.pop() {
        let proc = format!("/proc/{process}");
        for task in fs::read_dir(format!("{proc}/task"))? {
            let children = fs::read_to_string(task?.path().join("children"))?;
            let children = children.split_whitespace().map(str::parse);
            for child in children {
                processes.push(child.map_err(io::Error::other)?);
            }
        }
        if fs::read_to_string(format!("{proc}/comm"))?.trim_end() == "cat" {
            continue;
        }
        usage.processes += 1;
        let rollup = fs::read_to_string(format!("{proc}/smaps_rollup"))?;
        let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
        let number = pss.and_then(|it| it.split_whitespace().next()?.parse::<u64>().ok());
        usage.kilobytes += number.ok_or_else(|| io::Error::other("/proc has no Pss"))?;
    }
    Ok(usage)
}
