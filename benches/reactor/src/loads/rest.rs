//! A server whose clients are silent. A process that makes a system call or runs at all has used
//! its processor time, which is known to the nanosecond.

use std::io;
use std::thread;
use std::time::Duration;

use measuring::{ServerProcess, microseconds};

use crate::figures::{Figure, Sample};
use crate::loads::clients::connect_all;
use crate::loads::exchanges;

pub const CONNECTIONS: usize = 100;

/// Spare threads have ended, and timers have run out, after this.
const CALM: Duration = Duration::from_millis(2500);

pub fn run(server: &ServerProcess, time: Duration) -> io::Result<Sample> {
    let clients = connect_all(server.address(), CONNECTIONS)?;
    // The server comes to rest from full work.
    exchanges::run(server, CONNECTIONS, time.min(Duration::from_millis(200)))?;
    thread::sleep(CALM.min(time));
    let (cpu, switches) = (server.cpu_time()?, server.context_switches()?);
    thread::sleep(time);
    let cpu = server.cpu_time()? - cpu;
    let switches = server.context_switches()?.saturating_sub(switches);
    drop(clients);
    Ok(Sample::from([
        (Figure::Switches, switches as f64),
        (Figure::IdleCpu, microseconds(cpu)),
    ]))
}
