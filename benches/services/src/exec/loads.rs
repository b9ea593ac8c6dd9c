//! The loads: what the clients of a slice do, and what is measured of it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use measuring::{Poller, ServerProcess, percentile};

use crate::Sizes;
use crate::memory;
use crate::servers::Program;

/// What a client sends.
pub const MESSAGE: [u8; 64] = [b'a'; 64];

/// An answer that takes longer is lost.
const LONGEST: Duration = Duration::from_secs(5);

/// The clients that are there at a time.
const AT_A_TIME: usize = 8;

/// A load under which servers are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    Cat,
    True,
    Python,
    Held,
}

/// One number that a slice of a load has. The order is that of the rows in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    Rate,
    P50,
    P99,
    Kilobytes,
    Processes,
}

/// The figures of one slice.
type Sample = measuring::Sample<Figure>;

impl measuring::Figure for Figure {
    fn title(self) -> &'static str {
        match self {
            Self::Rate => "connections/s",
            Self::P50 => "p50 µs",
            Self::P99 => "p99 µs",
            Self::Kilobytes => "kB beside the program, each",
            Self::Processes => "processes beside the program, each",
        }
    }

    fn decimals(self) -> usize {
        match self {
            Self::Rate | Self::P50 | Self::P99 | Self::Kilobytes => 0,
            Self::Processes => 1,
        }
    }
}

impl Load {
    pub const ALL: &[Self] = &[Self::Cat, Self::True, Self::Python, Self::Held];

    pub fn title(self, sizes: &Sizes) -> String {
        match self {
            Self::Cat => "`cat`: 64 bytes to and fro".to_owned(),
            Self::True => "`true`".to_owned(),
            Self::Python => "`python3 -c 'print(7)'`".to_owned(),
            Self::Held => format!("{} connections of `cat`", sizes.held),
        }
    }

    pub fn program(self) -> Program {
        match self {
            Self::Cat | Self::Held => Program::Cat,
            Self::True => Program::True,
            Self::Python => Program::Python,
        }
    }

    pub fn rounds(self, sizes: &Sizes) -> usize {
        match self {
            Self::Held => 1,
            _ => sizes.rounds,
        }
    }

    /// Does it once.
    pub fn run(self, server: &ServerProcess, sizes: &Sizes) -> io::Result<Sample> {
        match self {
            Self::Cat => visits(server, &MESSAGE, &MESSAGE, sizes.slice),
            Self::True => visits(server, b"", b"", sizes.slice),
            Self::Python => visits(server, b"", b"7\n", sizes.slice),
            Self::Held => held(server, sizes.held),
        }
    }
}

/// A client that sends a message, reads the answer, and waits for the end.
struct Visit {
    stream: TcpStream,
    begun: Instant,
    received: Vec<u8>,
}

/// Clients that come and go, so many at a time.
fn visits(
    server: &ServerProcess,
    message: &[u8],
    answer: &[u8],
    time: Duration,
) -> io::Result<Sample> {
    let mut poller = Poller::new()?;
    let visit = |poller: &Poller, index| {
        let begun = Instant::now();
        let mut stream = connect(server.address())?;
        stream.write_all(message)?;
        poller.add(&stream, index)?;
        let received = Vec::new();
        Ok::<_, io::Error>(Visit {
            stream,
            begun,
            received,
        })
    };
    let start = Instant::now();
    let mut visits = Vec::new();
    for index in 0..AT_A_TIME {
        visits.push(visit(&poller, index)?);
    }
    let mut latencies = Vec::new();
    let mut last = start;
    let mut buffer = [0; 4096];
    while start.elapsed() < time || latencies.is_empty() {
        let ready = Vec::from_iter(poller.wait(100)?);
        for index in ready {
            let Visit {
                stream,
                begun,
                received,
            } = &mut visits[index];
            let count = stream.read(&mut buffer)?;
            received.extend_from_slice(&buffer[..count]);
            if count == 0 {
                if received != answer {
                    return Err(io::Error::other("the program's answer is another"));
                }
                last = Instant::now();
                latencies.push(last - *begun);
                visits[index] = visit(&poller, index)?;
            } else if received.len() == answer.len() && !message.is_empty() {
                // The program reads the end of its input, and ends.
                stream.shutdown(Shutdown::Write)?;
            }
        }
        if last.elapsed() > LONGEST {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
    let elapsed = start.elapsed();
    // The next server's slice begins without programs of this one.
    for visit in &mut visits {
        // It fails if both sides have ended.
        let _ = visit.stream.shutdown(Shutdown::Write);
        visit.stream.read_to_end(&mut visit.received)?;
    }
    Ok(Sample::from([
        (Figure::Rate, latencies.len() as f64 / elapsed.as_secs_f64()),
        (Figure::P50, percentile(&mut latencies, 50)),
        (Figure::P99, percentile(&mut latencies, 99)),
    ]))
}

/// Connections that stay, after an exchange each.
fn held(server: &ServerProcess, count: usize) -> io::Result<Sample> {
    let first = connect_and_exchange(server.address())?;
    thread::sleep(Duration::from_millis(100));
    let before = memory::beside_programs(server.id())?;
    let clients = (0..count).map(|_| connect_and_exchange(server.address()));
    let clients = clients.collect::<io::Result<Vec<_>>>()?;
    thread::sleep(Duration::from_millis(100));
    let after = memory::beside_programs(server.id())?;
    drop((first, clients));
    let each = |after: u64, before: u64| after.saturating_sub(before) as f64 / count as f64;
    Ok(Sample::from([
        (Figure::Kilobytes, each(after.kilobytes, before.kilobytes)),
        (Figure::Processes, each(after.processes, before.processes)),
    ]))
}

pub fn connect(server: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(server)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LONGEST))?;
    Ok(stream)
}

/// A client of `cat` that has had its message back, so that the program runs.
pub fn connect_and_exchange(server: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = connect(server)?;
    stream.write_all(&MESSAGE)?;
    stream.read_exact(&mut [0; MESSAGE.len()])?;
    Ok(stream)
}
