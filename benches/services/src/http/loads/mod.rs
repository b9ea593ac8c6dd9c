//! The loads: what the clients of a slice do, and what is measured of it.

mod client;
mod kept;
mod requests;
mod slow_heads;

use std::io;
use std::time::Duration;

use clap::ValueEnum;
use fastrand::Rng;
use measuring::{ServerProcess, grouped};

use crate::figures::Sample;
use crate::servers::{Server, Service};
use crate::site::{HELLO, LARGE, SMALL};

/// A load under which servers are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Load {
    /// 64 connections, a request outstanding on each, for a text of 13 bytes
    Hello,
    /// The same for a file of 1 KiB; 4 connections to Python's server
    Small,
    /// 4 connections, for a file of 1 KiB
    SmallFew,
    /// 16 connections, for a file of 1 MiB
    Large,
    /// 5,000 connections that are kept alive and do nothing
    Kept,
    /// 2,000 clients that send a byte of a head each second, beside ordinary ones
    SlowHeads,
}

/// How much is measured.
#[derive(Debug, Clone)]
pub struct Sizes {
    pub rounds: usize,
    /// The measured time of a slice of clients that are as fast as the server.
    pub slice: Duration,
    /// The time before, in which nothing is measured, for loads that change the server's shape.
    pub warm_up: Duration,
    pub kept: usize,
    pub slow: usize,
    /// The requests a second of the ordinary clients beside slow ones.
    pub rate: u32,
}

impl Sizes {
    pub const FULL: Self = Self {
        rounds: 15,
        slice: Duration::from_millis(400),
        warm_up: Duration::from_millis(500),
        kept: 5000,
        slow: 2000,
        rate: 2000,
    };

    /// To see that everything works: the figures mean nothing.
    pub const QUICK: Self = Self {
        rounds: 1,
        slice: Duration::from_millis(30),
        warm_up: Duration::from_millis(20),
        kept: 50,
        slow: 30,
        rate: 300,
    };
}

impl Load {
    pub fn title(self, sizes: &Sizes) -> String {
        match self {
            Self::Hello => "hello, 64 connections".to_owned(),
            Self::Small => "1 KiB file, 64 connections".to_owned(),
            Self::SmallFew => "1 KiB file, 4 connections".to_owned(),
            Self::Large => "1 MiB file, 16 connections".to_owned(),
            Self::Kept => format!("{} kept connections", grouped(sizes.kept)),
            Self::SlowHeads => format!("hello beside {} slow heads", grouped(sizes.slow)),
        }
    }

    /// The servers that can do it. Some serve files alone, and some none. tiny_http now and then
    /// leaves a connection waiting behind threads that read others, so that many connections, or
    /// slow ones, cannot be measured.
    pub fn servers(self) -> &'static [Server] {
        match self {
            Self::Hello => &[Server::Ours, Server::Hyper, Server::Go, Server::TinyHttp],
            Self::Kept | Self::SlowHeads => &[Server::Ours, Server::Hyper, Server::Go],
            Self::Small | Self::SmallFew => &[Server::Ours, Server::Nginx, Server::Python],
            Self::Large => &[Server::Ours, Server::Nginx],
        }
    }

    pub fn service(self) -> Service {
        match self {
            Self::Hello | Self::Kept | Self::SlowHeads => Service::Hello,
            Self::Small | Self::SmallFew | Self::Large => Service::Files,
        }
    }

    /// Whether each sample needs a server that has done nothing else.
    pub fn needs_new_server(self) -> bool {
        matches!(self, Self::Kept)
    }

    pub fn rounds(self, sizes: &Sizes) -> usize {
        match self {
            Self::Hello | Self::Small | Self::SmallFew | Self::Large => sizes.rounds,
            Self::Kept => 1,
            // Its slices are longer.
            Self::SlowHeads => sizes.rounds.div_ceil(3),
        }
    }

    /// The connections of clients that are as fast as the server. The backlog of Python's server
    /// has five places, so that more clients would wait for the second try of their connect.
    fn connections(self, server: Server) -> usize {
        match (self, server) {
            (_, Server::Python) | (Self::SmallFew, _) => 4,
            (Self::Large, _) => 16,
            _ => 64,
        }
    }

    /// Does it once.
    pub fn run(
        self,
        server: Server,
        process: &ServerProcess,
        sizes: &Sizes,
        rng: &mut Rng,
    ) -> io::Result<Sample> {
        let requests =
            |resource| requests::run(process, self.connections(server), resource, sizes.slice);
        match self {
            Self::Hello => requests(HELLO),
            Self::Small | Self::SmallFew => requests(SMALL),
            Self::Large => requests(LARGE),
            Self::Kept => kept::run(process, sizes.kept),
            Self::SlowHeads => slow_heads::run(process, sizes, rng),
        }
    }
}
