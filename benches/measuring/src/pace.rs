//! So many exchanges a second, whether the server keeps up or not.

use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use crate::figures::microseconds;
use crate::poller::Poller;
use crate::process::ServerProcess;

/// How fast the exchanges begin, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Exchanges a second.
    pub rate: u32,
    /// The time before, in which nothing is measured.
    pub warm_up: Duration,
    /// The measured time.
    pub time: Duration,
}

/// What came of it, after the warm-up.
#[derive(Debug)]
pub struct Outcome {
    /// Of the exchanges that are measured, from the moment when the pace wanted them to begin.
    /// Those that had no answer in the end count with the time until then.
    pub latencies: Vec<Duration>,
    /// Answers a second, those of exchanges that are not measured included.
    pub rate: f64,
    /// The server's processor time for each answer, in microseconds.
    pub cpu: f64,
    /// The threads of the server in the end.
    pub threads: usize,
}

/// The exchanges of clients that stay connected.
pub trait PacedClients {
    /// The clients' connections.
    fn streams(&self) -> &[TcpStream];

    /// Begins an exchange on a connection that has none.
    ///
    /// # Errors
    ///
    /// If the request cannot be written.
    fn begin(&mut self, index: usize) -> io::Result<()>;

    /// Reads from a connection that is ready, and returns whether its answer has arrived whole.
    ///
    /// # Errors
    ///
    /// If there is something else than the answer.
    fn read(&mut self, index: usize) -> io::Result<bool>;

    /// Whether the latency of the exchange on this connection counts.
    fn is_measured(&self, index: usize) -> bool;
}

/// One client of a paced load.
#[derive(Debug, Clone, Copy)]
struct Turn {
    /// When the exchange that is outstanding should have begun.
    due: Instant,
    is_free: bool,
}

impl Pace {
    /// Lets the clients begin exchanges for the warm-up and the measured time.
    ///
    /// # Errors
    ///
    /// If a client cannot do an exchange.
    pub fn keep(
        &self,
        server: &ServerProcess,
        clients: &mut impl PacedClients,
    ) -> io::Result<Outcome> {
        let connections = clients.streams().len();
        let mut poller = Poller::new()?;
        poller.add_all(clients.streams())?;
        let interval = Duration::from_secs(1) / self.rate;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK)?;
        let expiration = Expiration::Interval(TimeSpec::from_duration(interval));
        timer.set(expiration, TimerSetTimeFlags::empty())?;
        poller.add(&timer, connections)?;

        let start = Instant::now();
        let measured = start + self.warm_up;
        let end = measured + self.time;
        let turn = Turn {
            due: start,
            is_free: true,
        };
        let mut turns = vec![turn; connections];
        let mut free = VecDeque::from_iter(0..connections);
        let mut cpu_before = None;
        let mut next = start;
        let mut answers = 0;
        let mut latencies = Vec::new();
        loop {
            let now = Instant::now();
            if now >= end {
                break;
            }
            if now >= measured && cpu_before.is_none() {
                cpu_before = Some(server.cpu_time()?);
            }
            while next <= now
                && let Some(index) = free.pop_front()
            {
                turns[index] = Turn {
                    due: next,
                    is_free: false,
                };
                clients.begin(index)?;
                next += interval;
            }
            for index in poller.wait(100)? {
                let Some(turn) = turns.get_mut(index) else {
                    timer.wait()?;
                    continue;
                };
                if !clients.read(index)? {
                    continue;
                }
                turn.is_free = true;
                free.push_back(index);
                // Late answers count too, though the warm-up should have begun them.
                if now < measured {
                    continue;
                }
                answers += 1;
                if clients.is_measured(index) {
                    latencies.push(turn.due.elapsed());
                }
            }
        }
        let cpu = server.cpu_time()? - cpu_before.unwrap_or_default();
        let threads = server.threads()?;
        let unanswered = turns.iter().enumerate();
        let unanswered =
            unanswered.filter(|(index, it)| !it.is_free && clients.is_measured(*index));
        latencies.extend(unanswered.map(|(_, it)| end.saturating_duration_since(it.due)));
        Ok(Outcome {
            latencies,
            rate: f64::from(answers) / self.time.as_secs_f64(),
            cpu: microseconds(cpu) / f64::from(answers.max(1)),
            threads,
        })
    }
}
