//! Connections with one request outstanding on each.

use std::io;
use std::time::{Duration, Instant};

use measuring::{Poller, ServerProcess, microseconds, percentile};

use super::client::{Client, LONGEST, Progress};
use crate::figures::{Figure, Sample};
use crate::site::Resource;

/// The most bytes of a body that are received at once.
const BUFFER: usize = 1024 * 1024;

pub fn run(
    server: &ServerProcess,
    connections: usize,
    resource: Resource,
    time: Duration,
) -> io::Result<Sample> {
    let mut clients = Client::connect_all(server.address(), resource, connections)?;
    let mut poller = Poller::new()?;
    for (index, client) in clients.iter().enumerate() {
        poller.add(client.stream(), index)?;
    }
    let mut begun = vec![Instant::now(); connections];
    let mut latencies = Vec::new();
    let mut buffer = vec![0; BUFFER];

    let cpu_before = server.cpu_time()?;
    let start = Instant::now();
    for (client, begun) in clients.iter_mut().zip(&mut begun) {
        *begun = Instant::now();
        client.send()?;
    }
    let mut now = start;
    let mut last_response = start;
    while now < start + time {
        let ready = Vec::from_iter(poller.wait(100)?);
        for index in ready {
            let client = &mut clients[index];
            match client.receive(&mut buffer)? {
                Progress::Arriving => continue,
                Progress::Whole => {}
                Progress::WholeAndClosed => poller.add(client.stream(), index)?,
            }
            now = Instant::now();
            latencies.push(now - begun[index]);
            begun[index] = now;
            last_response = now;
            client.send()?;
        }
        now = Instant::now();
        if now - last_response > LONGEST {
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
