//! Ordinary clients, without and with many that send a byte of a head each second.

use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fastrand::Rng;
use measuring::{Outcome, Pace, PacedClients, ServerProcess, percentile};

use super::Sizes;
use super::client::{Client, Progress, stream};
use crate::figures::{Figure, Sample};
use crate::site::HELLO;

/// The ordinary clients.
const ORDINARY: usize = 64;

/// The time in which every slow client sends a byte.
const PERIOD: Duration = Duration::from_secs(1);

/// The slow clients send in so many groups, as clients do that know nothing of one another.
const GROUPS: u32 = 1000;

/// What every slow client begins with: the beginning of a header that does not end.
const HALF_HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: a";

/// How many times the clients are measured without the slow ones, and how many times with them. A
/// tail of latencies differs from one second to the next, and so the two take turns.
const TURNS: usize = 4;

pub fn run(server: &ServerProcess, sizes: &Sizes, rng: &mut Rng) -> io::Result<Sample> {
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        let mut kinds = [false, true];
        rng.shuffle(&mut kinds);
        for has_slow in kinds {
            match has_slow {
                true => with.push(beside_slow(server, sizes)?),
                false => without.push(ordinary(server, sizes)?),
            }
        }
    }
    let mean =
        |figure: fn(&Outcome) -> f64| with.iter().map(figure).sum::<f64>() / with.len() as f64;
    let threads = with.iter().map(|outcome| outcome.threads).max();
    Ok(Sample::from([
        (Figure::Rate, mean(|outcome| outcome.rate)),
        (Figure::Cpu, mean(|outcome| outcome.cpu)),
        (Figure::P50, percentile(&mut latencies(&with), 50)),
        (Figure::P99, percentile(&mut latencies(&with), 99)),
        (Figure::P99Without, percentile(&mut latencies(&without), 99)),
        (Figure::Threads, threads.unwrap_or_default() as f64),
    ]))
}

/// The latencies of all turns.
fn latencies(outcomes: &[Outcome]) -> Vec<Duration> {
    let latencies = outcomes.iter().map(|outcome| outcome.latencies.as_slice());
    latencies.collect::<Vec<_>>().concat()
}

/// The ordinary clients beside the slow ones.
fn beside_slow(server: &ServerProcess, sizes: &Sizes) -> io::Result<Outcome> {
    let slow = SlowHeads::start(server, sizes.slow)?;
    let outcome = ordinary(server, sizes);
    slow.leave()?;
    server.settle(Duration::from_secs(5))?;
    outcome
}

/// The ordinary clients at their pace.
fn ordinary(server: &ServerProcess, sizes: &Sizes) -> io::Result<Outcome> {
    let clients = Client::connect_all(server.address(), HELLO, ORDINARY)?;
    let streams = clients.iter().map(|client| client.stream().try_clone());
    let mut clients = Ordinary {
        streams: streams.collect::<io::Result<_>>()?,
        clients,
        buffer: vec![0; 4096],
    };
    let pace = Pace {
        rate: sizes.rate,
        warm_up: sizes.warm_up,
        time: 2 * sizes.slice,
    };
    pace.keep(server, &mut clients)
}

struct Ordinary {
    clients: Vec<Client>,
    streams: Vec<TcpStream>,
    buffer: Vec<u8>,
}

impl PacedClients for Ordinary {
    fn streams(&self) -> &[TcpStream] {
        &self.streams
    }

    fn begin(&mut self, index: usize) -> io::Result<()> {
        self.clients[index].send()
    }

    fn read(&mut self, index: usize) -> io::Result<bool> {
        let progress = self.clients[index].receive(&mut self.buffer)?;
        Ok(progress != Progress::Arriving)
    }

    fn is_measured(&self, _: usize) -> bool {
        true
    }
}

/// A thread that sends for all slow clients, of whose heads none ever ends.
struct SlowHeads {
    leaves: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<()>>,
}

impl SlowHeads {
    fn start(server: &ServerProcess, count: usize) -> io::Result<Self> {
        let mut clients = Vec::new();
        for _ in 0..count {
            let mut client = stream(server.address())?;
            client.write_all(HALF_HEAD)?;
            clients.push(client);
        }
        let leaves = Arc::new(AtomicBool::new(false));
        let leave = leaves.clone();
        let thread = thread::spawn(move || {
            while !leave.load(Ordering::Relaxed) {
                send_bytes(&mut clients, &leave)?;
            }
            Ok(())
        });
        Ok(Self { leaves, thread })
    }

    fn leave(self) -> io::Result<()> {
        self.leaves.store(true, Ordering::Relaxed);
        self.thread.join().expect("the slow clients do not panic")
    }
}

/// Sends a byte for each client within the period.
fn send_bytes(clients: &mut [TcpStream], leave: &AtomicBool) -> io::Result<()> {
    let group = clients.len().div_ceil(GROUPS as usize).max(1);
    let mut due = Instant::now();
    for clients in clients.chunks_mut(group) {
        if leave.load(Ordering::Relaxed) {
            break;
        }
        for client in clients {
            client.write_all(b"a")?;
        }
        due += PERIOD / GROUPS;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    Ok(())
}
