//! The loads: what the clients of a slice do, and what is measured of it.

mod clients;
mod drain;
mod exchanges;
mod greedy;
mod idle;
mod paced;
mod rest;
mod slow;
mod visits;

use std::io;
use std::time::Duration;

use clap::ValueEnum;
use fastrand::Rng;
use measuring::{ServerProcess, grouped};

use crate::figures::Sample;
use crate::loads::paced::Pace;
use crate::servers::Server;

/// A load under which servers are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Load {
    /// 64 connections, an exchange outstanding on each
    #[value(name = "exchange-64")]
    Exchange64,
    /// The same with 1,000 connections
    #[value(name = "exchange-1000")]
    Exchange1000,
    /// The same with one connection
    #[value(name = "exchange-1")]
    Exchange1,
    /// 32 clients at a time connect, exchange a line, and close
    Connect,
    /// 5,000 exchanges a second on 400 connections, of which 5 % block for 50 ms in a system call
    #[value(name = "blocking-5000")]
    Blocking5000,
    /// The same with 12,000 exchanges a second
    #[value(name = "blocking-12000")]
    Blocking12000,
    /// As blocking-5000, but tokio and Go wait in the way of their runtime
    #[value(name = "waiting-5000")]
    Waiting5000,
    /// The same with 12,000 exchanges a second
    #[value(name = "waiting-12000")]
    Waiting12000,
    /// 5,000 clients that send a byte a second, beside ordinary ones
    Slow,
    /// 4 clients that send without a pause, beside a polite one
    Greedy,
    /// 19,000 connections that do nothing; 8,000 if each has a thread
    Idle,
    /// A stop request while 4,000 connections are idle, one is blocked, one is in mid-message
    Drain,
    /// A server whose clients do nothing
    Rest,
}

/// How much is measured.
#[derive(Debug, Clone)]
pub struct Sizes {
    pub rounds: usize,
    /// The measured time of a slice of clients that are as fast as the server.
    pub slice: Duration,
    /// The time before, in which nothing is measured, for loads that change the server's shape.
    pub warm_up: Duration,
    pub many: usize,
    pub visitors: usize,
    pub paced: usize,
    /// Exchanges a second.
    pub rates: [u32; 2],
    pub slow: usize,
    pub greedy: usize,
    pub idle: usize,
    pub drained: usize,
    pub rest: Duration,
}

impl Sizes {
    pub const FULL: Self = Self {
        rounds: 9,
        slice: Duration::from_millis(400),
        warm_up: Duration::from_millis(500),
        many: 1000,
        visitors: 32,
        paced: 400,
        rates: [5000, 12000],
        slow: 5000,
        greedy: 4,
        idle: 19_000,
        drained: 4000,
        rest: Duration::from_secs(3),
    };

    /// To see that everything works: the figures mean nothing.
    pub const QUICK: Self = Self {
        rounds: 1,
        slice: Duration::from_millis(30),
        warm_up: Duration::from_millis(20),
        many: 20,
        visitors: 4,
        paced: 20,
        rates: [300, 600],
        slow: 30,
        greedy: 2,
        idle: 50,
        drained: 20,
        rest: Duration::from_millis(50),
    };
}

/// A thread takes up to four mappings of memory, and `vm.max_map_count` is 65,530.
const MOST_IDLE_THREADS: usize = 8000;

const ALL: &[Server] = &[
    Server::BareEpoll,
    Server::StdThreads,
    Server::Tokio,
    Server::Go,
    Server::Threading,
    Server::Reactor,
];

impl Load {
    pub fn title(self, sizes: &Sizes) -> String {
        let paced = |rate, how| {
            let (rate, connections) = (grouped(rate), sizes.paced);
            format!("{rate}/s on {connections} connections, 5 % {how} 50 ms")
        };
        let [low, high] = sizes.rates.map(|rate| rate as usize);
        match self {
            Self::Exchange64 => "64 connections".to_owned(),
            Self::Exchange1000 => format!("{} connections", grouped(sizes.many)),
            Self::Exchange1 => "1 connection".to_owned(),
            Self::Connect => "connect, exchange, close".to_owned(),
            Self::Blocking5000 => paced(low, "block"),
            Self::Blocking12000 => paced(high, "block"),
            Self::Waiting5000 => paced(low, "await"),
            Self::Waiting12000 => paced(high, "await"),
            Self::Slow => format!("beside {} slow clients", grouped(sizes.slow)),
            Self::Greedy => format!("beside {} greedy clients", sizes.greedy),
            Self::Idle => format!("{} idle connections", grouped(sizes.idle)),
            Self::Drain => format!("drain of {} idle connections", grouped(sizes.drained)),
            Self::Rest => {
                let connections = rest::CONNECTIONS;
                format!("{:?} with {connections} silent connections", sizes.rest)
            }
        }
    }

    /// The servers that can do it. Bare epoll has no handler that may block, and only our servers
    /// have a drain.
    pub fn servers(self) -> &'static [Server] {
        match self {
            Self::Exchange64 | Self::Exchange1000 | Self::Exchange1 => ALL,
            Self::Connect | Self::Idle | Self::Rest => ALL,
            Self::Blocking5000 | Self::Blocking12000 | Self::Slow | Self::Greedy => &ALL[1..],
            Self::Waiting5000 | Self::Waiting12000 => &[Server::Tokio, Server::Go, Server::Reactor],
            Self::Drain => &[Server::Threading, Server::Reactor],
        }
    }

    /// Whether each sample needs a server that has done nothing else.
    pub fn needs_new_server(self) -> bool {
        matches!(self, Self::Idle | Self::Drain | Self::Rest)
    }

    pub fn rounds(self, sizes: &Sizes) -> usize {
        match self {
            Self::Exchange64 | Self::Exchange1000 | Self::Exchange1 | Self::Connect => sizes.rounds,
            Self::Idle | Self::Rest => 1,
            // Their slices are longer.
            _ => sizes.rounds.div_ceil(2),
        }
    }

    /// Does it once with a server of this kind.
    pub fn run(
        self,
        kind: Server,
        server: &mut ServerProcess,
        sizes: &Sizes,
        rng: &mut Rng,
    ) -> io::Result<Sample> {
        let pace = |rate, marked| Pace {
            connections: sizes.paced,
            rate,
            marked: Some(marked),
        };
        let [low, high] = sizes.rates;
        match self {
            Self::Exchange64 => exchanges::run(server, 64, sizes.slice),
            Self::Exchange1000 => exchanges::run(server, sizes.many, sizes.slice),
            Self::Exchange1 => exchanges::run(server, 1, sizes.slice),
            Self::Connect => visits::run(server, sizes.visitors, sizes.slice, rng),
            Self::Blocking5000 => paced::run(server, &pace(low, b'B'), sizes, rng),
            Self::Blocking12000 => paced::run(server, &pace(high, b'B'), sizes, rng),
            Self::Waiting5000 => paced::run(server, &pace(low, b'W'), sizes, rng),
            Self::Waiting12000 => paced::run(server, &pace(high, b'W'), sizes, rng),
            Self::Slow => slow::run(server, sizes, rng),
            Self::Greedy => greedy::run(server, sizes),
            Self::Idle if kind.has_thread_each() => {
                idle::run(server, sizes.idle.min(MOST_IDLE_THREADS))
            }
            Self::Idle => idle::run(server, sizes.idle),
            Self::Drain => drain::run(server, sizes.drained),
            Self::Rest => rest::run(server, sizes.rest),
        }
    }
}
