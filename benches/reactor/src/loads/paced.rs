//! So many exchanges a second, whether the server keeps up or not; some of them make the handler
//! wait.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use fastrand::Rng;
use measuring::{Outcome, PacedClients, ServerProcess, percentile};

use crate::figures::{Figure, Sample};
use crate::loads::Sizes;
use crate::loads::clients::{LINE, LINE_LENGTH, check, connect_all, line};

/// Of the exchanges, those that make the handler wait.
const MARKED_PERCENT: u8 = 5;

/// What a paced load does.
#[derive(Debug)]
pub struct Pace {
    pub connections: usize,
    /// Exchanges a second.
    pub rate: u32,
    /// The first byte of a line that makes the handler wait, if some do.
    pub marked: Option<u8>,
}

/// The load without lines that make the handler wait and with them; which is first is random.
pub fn run(
    server: &ServerProcess,
    pace: &Pace,
    sizes: &Sizes,
    rng: &mut Rng,
) -> io::Result<Sample> {
    let without = Pace {
        marked: None,
        ..*pace
    };
    let time = 2 * sizes.slice;
    let mut both = [&without, pace];
    let with_first = rng.bool();
    if with_first {
        both.reverse();
    }
    let mut outcomes = Vec::new();
    for pace in both {
        outcomes.push(keep_pace(server, pace, sizes.warm_up, time, rng)?);
        // What the clients have left behind.
        server.settle(Duration::from_secs(2))?;
    }
    if with_first {
        outcomes.reverse();
    }
    let [without, with] = &mut outcomes[..] else {
        unreachable!("two were run");
    };
    Ok(sample(without, with))
}

/// The figures of a load beside others, or with waits, with its p99 without them.
pub fn sample(without: &mut Outcome, with: &mut Outcome) -> Sample {
    Sample::from([
        (Figure::Rate, with.rate),
        (Figure::Cpu, with.cpu),
        (Figure::P50, percentile(&mut with.latencies, 50)),
        (Figure::P99, percentile(&mut with.latencies, 99)),
        (Figure::P99Without, percentile(&mut without.latencies, 99)),
        (Figure::Threads, with.threads as f64),
    ])
}

/// Does it for the warm-up and `time`.
pub fn keep_pace(
    server: &ServerProcess,
    pace: &Pace,
    warm_up: Duration,
    time: Duration,
    rng: &mut Rng,
) -> io::Result<Outcome> {
    let mut lines = Lines {
        streams: connect_all(server.address(), pace.connections)?,
        marked_line: pace.marked.map(line),
        are_marked: vec![false; pace.connections],
        rng,
    };
    let pace = measuring::Pace {
        rate: pace.rate,
        warm_up,
        time,
    };
    pace.keep(server, &mut lines)
}

/// Clients that exchange lines, some of which are marked.
struct Lines<'a> {
    streams: Vec<TcpStream>,
    marked_line: Option<[u8; LINE_LENGTH]>,
    are_marked: Vec<bool>,
    rng: &'a mut Rng,
}

impl Lines<'_> {
    fn line(&self, index: usize) -> &[u8] {
        match &self.marked_line {
            Some(line) if self.are_marked[index] => line,
            _ => &LINE,
        }
    }
}

impl PacedClients for Lines<'_> {
    fn streams(&self) -> &[TcpStream] {
        &self.streams
    }

    fn begin(&mut self, index: usize) -> io::Result<()> {
        self.are_marked[index] = self.marked_line.is_some() && self.rng.u8(0..100) < MARKED_PERCENT;
        (&self.streams[index]).write_all(self.line(index))
    }

    fn read(&mut self, index: usize) -> io::Result<bool> {
        let mut buffer = [0; 2 * LINE_LENGTH];
        let count = (&self.streams[index]).read(&mut buffer)?;
        check(self.line(index), &buffer[..count])?;
        Ok(true)
    }

    fn is_measured(&self, index: usize) -> bool {
        !self.are_marked[index]
    }
}
