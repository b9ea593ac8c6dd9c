//! Our server and a peer under the same load, in turn.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use crate::load::{Limits, Load};
use crate::memory::resident;
use crate::process::{ServerKind, ServerProcess};
use crate::processor::GeneratorKept;
use crate::table::{Better, Row};

/// The two servers that are compared.
#[derive(Debug, Clone, Copy)]
pub struct Pair {
    /// Ours.
    pub ours: &'static ServerKind,
    /// The hand-written one.
    pub peer: &'static ServerKind,
}

/// A server under load.
struct Side {
    server: ServerProcess,
    load: Box<dyn Load>,
}

/// What a burst showed.
struct Figures {
    per_second: f64,
    cpu_microseconds: f64,
}

impl Side {
    fn start(
        kind: &ServerKind,
        clients: impl Fn(SocketAddr) -> io::Result<Box<dyn Load>>,
    ) -> io::Result<Self> {
        let server = ServerProcess::start(kind)?;
        let load = clients(server.address())?;
        Ok(Self { server, load })
    }

    fn burst(&mut self, limits: Limits) -> io::Result<Figures> {
        let cpu_before = self.server.cpu_time()?;
        let begin = Instant::now();
        let exchanges = self.load.run(limits)? as f64;
        let elapsed = begin.elapsed();
        let cpu = self.server.cpu_time()? - cpu_before;
        Ok(Figures {
            per_second: exchanges / elapsed.as_secs_f64(),
            cpu_microseconds: cpu.as_secs_f64() * 1e6 / exchanges,
        })
    }
}

/// Exchanges per second and processor time of the server per exchange. Prints two rows.
///
/// Each round is a burst at either server, and the next round begins with the other one. The
/// clients of both are connected from the first round to the last.
pub fn exchanges(
    load: &str,
    pair: Pair,
    rounds: usize,
    limits: Limits,
    clients: impl Fn(SocketAddr) -> io::Result<Box<dyn Load>>,
) -> io::Result<()> {
    let mut ours = Side::start(pair.ours, &clients)?;
    let mut peer = Side::start(pair.peer, &clients)?;
    let _on_its_own_processor = GeneratorKept::new()?;
    ours.burst(limits)?;
    peer.burst(limits)?;
    let mut rates = Vec::new();
    let mut costs = Vec::new();
    for round in 0..rounds {
        let (of_ours, of_peer) = in_turn(round, || ours.burst(limits), || peer.burst(limits))?;
        rates.push((of_ours.per_second, of_peer.per_second));
        costs.push((of_ours.cpu_microseconds, of_peer.cpu_microseconds));
    }
    println!("{}", Row::new(load, "exchanges/s", Better::More, &rates));
    println!(
        "{}",
        Row::new(load, "CPU us/exchange", Better::Less, &costs)
    );
    Ok(())
}

/// Resident memory per connection that has done an exchange and is idle. Prints a row.
pub fn memory(
    load: &str,
    pair: Pair,
    rounds: usize,
    connections: usize,
    clients: impl Fn(SocketAddr) -> io::Result<Box<dyn Load>>,
) -> io::Result<()> {
    let growth = |kind| Ok(growth(kind, &clients)? as f64 / connections as f64);
    let mut bytes = Vec::new();
    for round in 0..rounds {
        bytes.push(in_turn(round, || growth(pair.ours), || growth(pair.peer))?);
    }
    println!(
        "{}",
        Row::new(load, "bytes/connection", Better::Less, &bytes)
    );
    Ok(())
}

/// By how many bytes the server's memory has grown when the clients are idle.
fn growth(
    kind: &ServerKind,
    clients: impl Fn(SocketAddr) -> io::Result<Box<dyn Load>>,
) -> io::Result<u64> {
    let server = ServerProcess::start(kind)?;
    server.settle()?;
    let before = resident(&server)?;
    let clients = clients(server.address())?;
    server.settle()?;
    let after = resident(&server)?;
    drop(clients);
    Ok(after.saturating_sub(before))
}

/// Both, the peer first in every other round. The results are ours and the peer's.
fn in_turn<T>(
    round: usize,
    ours: impl FnOnce() -> io::Result<T>,
    peer: impl FnOnce() -> io::Result<T>,
) -> io::Result<(T, T)> {
    if round.is_multiple_of(2) {
        let of_peer = peer()?;
        Ok((ours()?, of_peer))
    } else {
        Ok((ours()?, peer()?))
    }
}
