//! Connections that stay, with one exchange outstanding on each.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use measuring::{Poller, ServerProcess, microseconds, percentile};

use crate::figures::{Figure, Sample};
use crate::loads::clients::{LINE, LINE_LENGTH, LONGEST_ANSWER, check, connect_all};

pub fn run(server: &ServerProcess, connections: usize, time: Duration) -> io::Result<Sample> {
    let mut clients = connect_all(server.address(), connections)?;
    let mut poller = Poller::new()?;
    poller.add_all(&clients)?;
    let mut begun = vec![Instant::now(); connections];
    let mut latencies = Vec::new();
    let mut buffer = [0; 2 * LINE_LENGTH];

    let cpu_before = server.cpu_time()?;
    let start = Instant::now();
    for (client, begun) in clients.iter_mut().zip(&mut begun) {
        *begun = Instant::now();
        client.write_all(&LINE)?;
    }
    let mut now = start;
    let mut last_answer = start;
    while now < start + time {
        for index in poller.wait(100)? {
            let client = &mut clients[index];
            // The answer to a line comes whole: it is one segment.
            let count = client.read(&mut buffer)?;
            check(&LINE, &buffer[..count])?;
            now = Instant::now();
            latencies.push(now - begun[index]);
            begun[index] = now;
            last_answer = now;
            client.write_all(&LINE)?;
        }
        now = Instant::now();
        if now - last_answer > LONGEST_ANSWER {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
    let cpu = server.cpu_time()? - cpu_before;
    let elapsed = start.elapsed();

    let count = latencies.len().max(1) as f64;
    Ok(Sample::from([
        (Figure::Rate, latencies.len() as f64 / elapsed.as_secs_f64()),
        (Figure::Cpu, microseconds(cpu) / count),
        (Figure::P50, percentile(&mut latencies, 50)),
        (Figure::P99, percentile(&mut latencies, 99)),
    ]))
}
