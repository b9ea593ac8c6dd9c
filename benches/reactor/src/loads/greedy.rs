//! Clients that send lines without a pause, and a polite one beside them.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use measuring::{ServerProcess, percentile};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use crate::figures::{Figure, Sample};
use crate::loads::Sizes;
use crate::loads::clients::{connect, connect_all, exchange};

const GREEDY_LINE: &[u8; 8] = b"aaaaaaa\n";

/// The pause of the polite client between two exchanges.
const PAUSE: Duration = Duration::from_millis(2);

pub fn run(server: &ServerProcess, sizes: &Sizes) -> io::Result<Sample> {
    let greedy = Arc::new(GreedyClients::new(server, sizes.greedy)?);
    let mut polite = connect(server.address())?;
    let thread = {
        let greedy = greedy.clone();
        thread::spawn(move || greedy.run())
    };
    let measured = measure(&greedy, &mut polite, sizes);
    greedy.leave.store(true, Ordering::Relaxed);
    thread.join().expect("the greedy clients do not panic")?;
    measured
}

fn measure(greedy: &GreedyClients, polite: &mut TcpStream, sizes: &Sizes) -> io::Result<Sample> {
    thread::sleep(sizes.warm_up);
    let before = greedy.received();
    let start = Instant::now();
    let mut latencies = Vec::new();
    while start.elapsed() < 2 * sizes.slice {
        let begun = Instant::now();
        exchange(polite, b"ping\n")?;
        latencies.push(begun.elapsed());
        thread::sleep(PAUSE);
    }
    let received = greedy.received().into_iter().zip(before);
    let received = Vec::from_iter(received.map(|(after, before)| (after - before) as f64));
    let elapsed = start.elapsed().as_secs_f64();
    let least = received.iter().copied().fold(f64::INFINITY, f64::min);
    if least == 0.0 {
        return Err(io::Error::other("a greedy client is not served any more"));
    }
    let most = received.iter().copied().fold(1.0, f64::max);
    let lines = received.iter().sum::<f64>() / GREEDY_LINE.len() as f64;
    Ok(Sample::from([
        (Figure::P50, percentile(&mut latencies, 50)),
        (Figure::P99, percentile(&mut latencies, 99)),
        (Figure::GreedyRate, lines / elapsed / 1000.0),
        (Figure::Evenness, least / most),
    ]))
}

/// Clients of one thread, each of which writes as much as its socket takes.
struct GreedyClients {
    clients: Vec<TcpStream>,
    received: Vec<AtomicU64>,
    leave: AtomicBool,
}

impl GreedyClients {
    fn new(server: &ServerProcess, count: usize) -> io::Result<Self> {
        let clients = connect_all(server.address(), count)?;
        for client in &clients {
            client.set_nonblocking(true)?;
        }
        Ok(Self {
            clients,
            received: Vec::from_iter((0..count).map(|_| AtomicU64::new(0))),
            leave: AtomicBool::new(false),
        })
    }

    /// The bytes that each client has received.
    fn received(&self) -> Vec<u64> {
        let received = self.received.iter();
        Vec::from_iter(received.map(|it| it.load(Ordering::Relaxed)))
    }

    fn run(&self) -> io::Result<()> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        for (index, client) in self.clients.iter().enumerate() {
            let both = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT;
            epoll.add(client, EpollEvent::new(both, index as u64))?;
        }
        let lines = GREEDY_LINE.repeat(8192);
        let mut sent = vec![0; self.clients.len()];
        let mut buffer = vec![0; lines.len()];
        let mut events = vec![EpollEvent::empty(); self.clients.len()];
        while !self.leave.load(Ordering::Relaxed) {
            let count = epoll.wait(&mut events, 100_u16)?;
            for event in &events[..count] {
                let index = event.data() as usize;
                let mut client = &self.clients[index];
                if event.events().contains(EpollFlags::EPOLLIN) {
                    let count = moved(client.read(&mut buffer))?;
                    self.received[index].fetch_add(count as u64, Ordering::Relaxed);
                }
                if event.events().contains(EpollFlags::EPOLLOUT) {
                    let count = moved(client.write(&lines[sent[index]..]))?;
                    // What comes next continues the line.
                    sent[index] = (sent[index] + count) % GREEDY_LINE.len();
                }
            }
        }
        Ok(())
    }
}

/// The number of bytes, zero if the socket was not ready.
fn moved(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
        other => other,
    }
}
