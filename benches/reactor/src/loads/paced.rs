//! So many exchanges a second, whether the server keeps up or not; some of them make the handler
//! wait.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use fastrand::Rng;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use crate::figures::{Figure, Sample, microseconds, percentile};
use crate::loads::Sizes;
use crate::loads::clients::{LINE, LINE_LENGTH, Poller, check, connect_all, line};
use crate::process::ServerProcess;

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

/// What came of it, after the warm-up.
#[derive(Debug)]
pub struct Outcome {
    /// Of the exchanges that were not marked, from the moment when the pace wanted them to begin.
    /// Those that had no answer in the end count with the time until then.
    pub latencies: Vec<Duration>,
    /// Answers a second, those of marked lines included.
    pub rate: f64,
    /// The server's processor time for each answer.
    pub cpu: f64,
    /// The threads of the server in the end.
    pub threads: usize,
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

/// One client of a paced load.
struct Client {
    /// When the exchange that is outstanding should have begun.
    due: Instant,
    is_marked: bool,
    is_free: bool,
}

/// Does it for the warm-up and `time`.
pub fn keep_pace(
    server: &ServerProcess,
    pace: &Pace,
    warm_up: Duration,
    time: Duration,
    rng: &mut Rng,
) -> io::Result<Outcome> {
    let mut streams = connect_all(server.address(), pace.connections)?;
    let mut poller = Poller::new()?;
    poller.add_all(&streams)?;
    let interval = Duration::from_secs(1) / pace.rate;
    let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK)?;
    let expiration = Expiration::Interval(TimeSpec::from_duration(interval));
    timer.set(expiration, TimerSetTimeFlags::empty())?;
    poller.add(&timer, pace.connections)?;

    let start = Instant::now();
    let measured = start + warm_up;
    let end = measured + time;
    let client = |_| Client {
        due: start,
        is_marked: false,
        is_free: true,
    };
    let mut clients = Vec::from_iter((0..pace.connections).map(client));
    let mut free = VecDeque::from_iter(0..pace.connections);
    let mut cpu_before = None;
    let mut next = start;
    let mut answers = 0;
    let mut latencies = Vec::new();
    let mut buffer = [0; 2 * LINE_LENGTH];
    let marked_line = line(pace.marked.unwrap_or_default());
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
            let client = &mut clients[index];
            client.due = next;
            client.is_free = false;
            client.is_marked = pace.marked.is_some() && rng.u8(0..100) < MARKED_PERCENT;
            let line = if client.is_marked {
                &marked_line
            } else {
                &LINE
            };
            streams[index].write_all(line)?;
            next += interval;
        }
        for index in poller.wait(100)? {
            let Some(client) = clients.get_mut(index) else {
                timer.wait()?;
                continue;
            };
            let count = streams[index].read(&mut buffer)?;
            let line = if client.is_marked {
                &marked_line
            } else {
                &LINE
            };
            check(line, &buffer[..count])?;
            client.is_free = true;
            free.push_back(index);
            // Late answers count too, though the warm-up should have begun them.
            if now < measured {
                continue;
            }
            answers += 1;
            if !client.is_marked {
                latencies.push(client.due.elapsed());
            }
        }
    }
    let cpu = server.cpu_time()? - cpu_before.unwrap_or_default();
    let threads = server.threads()?;
    let unanswered = clients.iter().filter(|it| !it.is_free && !it.is_marked);
    latencies.extend(unanswered.map(|client| end.saturating_duration_since(client.due)));
    Ok(Outcome {
        latencies,
        rate: f64::from(answers) / time.as_secs_f64(),
        cpu: microseconds(cpu) / f64::from(answers.max(1)),
        threads,
    })
}
