//! All clients of all servers at once, for a time.

use std::io::{Write, stderr};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use crate::closing::Closing;
use crate::disturbances::disturb;
use crate::process::ServerProcess;
use crate::site::{Count, Site, Stop};
use crate::{broken_clients, good_clients, hostile_clients, slow_clients};

/// What a client does until it is told to stop.
type Client = fn(&Site<'_>, fastrand::Rng);

const STREAM_CLIENTS: [Client; 7] = [
    good_clients::streams,
    good_clients::streams,
    good_clients::streams,
    slow_clients::streams,
    broken_clients::streams,
    hostile_clients::streams,
    hostile_clients::floods,
];

const DATAGRAM_CLIENTS: [Client; 6] = [
    good_clients::datagrams,
    good_clients::datagrams,
    good_clients::datagrams,
    slow_clients::datagrams,
    broken_clients::datagrams,
    hostile_clients::datagrams,
];

const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// The longest pause between two turns of a server's owner, in milliseconds.
const LONGEST_PAUSE: u64 = 3000;

/// A server, its process, and what its closed predecessors said.
#[derive(Debug)]
pub struct Server<'a> {
    pub site: Site<'a>,
    pub process: ServerProcess,
    pub closings: Closing,
}

impl Server<'_> {
    /// Opens the server, unless it is open.
    pub fn open(&mut self) -> Result<(), String> {
        self.site.set_address(Some(self.process.open()?));
        Ok(())
    }

    /// Closes the server, and keeps what it says.
    pub fn close(&mut self) -> Result<(), String> {
        close(&self.site, &mut self.process, &mut self.closings)
    }
}

/// Closes a server, and adds what it says, which has to add up in itself.
pub fn close(
    site: &Site<'_>,
    process: &mut ServerProcess,
    closings: &mut Closing,
) -> Result<(), String> {
    let closing = process.close()?;
    if !closing.adds_up() {
        site.fail(format_args!("closed, but it does not add up: {closing:?}"));
    }
    closings.add(&closing);
    Ok(())
}

/// Lets all clients loose on all servers for a time, and waits until the last has come to its end.
pub fn run(servers: &mut [Server<'_>], stop: &Stop, time: Duration, rng: &mut fastrand::Rng) {
    stop.set(false);
    let begun = Instant::now();
    // In a short run, too, each turn comes.
    let longest_pause = (time.as_millis() as u64 / 12).clamp(20, LONGEST_PAUSE);
    std::thread::scope(|scope| {
        let mut sites = Vec::new();
        let mut owners = Vec::new();
        for server in servers {
            let (site, process) = (&server.site, &mut server.process);
            sites.push(site);
            send_clients(scope, site, rng);
            let rng = rng.fork();
            let owner = scope.spawn(move || disturb(site, process, longest_pause, rng));
            owners.push((owner, &mut server.closings));
        }
        while begun.elapsed() < time {
            let left = time.saturating_sub(begun.elapsed());
            std::thread::sleep(left.min(BETWEEN_LINES));
            show_progress(&sites, begun.elapsed(), time);
        }
        stop.set(true);
        owners.into_iter().for_each(add_closings);
    });
}

fn send_clients<'scope>(
    scope: &'scope Scope<'scope, '_>,
    site: &'scope Site<'scope>,
    rng: &mut fastrand::Rng,
) {
    let clients: &[Client] = match site.kind.transport.is_stream() {
        true => &STREAM_CLIENTS,
        false => &DATAGRAM_CLIENTS,
    };
    for client in clients {
        let mut rng = rng.fork();
        scope.spawn(move || {
            // For what is decided where no generator is at hand.
            fastrand::seed(rng.u64(..));
            client(site, rng);
        });
    }
}

fn add_closings((owner, closings): (ScopedJoinHandle<'_, Closing>, &mut Closing)) {
    match owner.join() {
        Ok(closed) => closings.add(&closed),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn show_progress(sites: &[&Site<'_>], passed: Duration, time: Duration) {
    let sum = |what| sites.iter().map(|site| site.counted(what)).sum::<u64>();
    let failures = sites.first().map_or(0, |site| site.failures.count());
    let (passed, time) = (passed.as_secs_f64(), time.as_secs_f64());
    let line = format!(
        "soak: {passed:.0} of {time:.0} s: {} good exchanges, {} MiB looked at, \
         {failures} failures\n",
        sum(Count::Exchanges),
        sum(Count::Bytes) >> 20,
    );
    // In one piece, and no matter whether anybody reads it.
    let _ = stderr().write_all(line.as_bytes());
}
