//! The servers, each of which answers a line in upper case.
//!
//! A line that begins with `B` blocks the handler for 50 ms in a system call. A line that begins
//! with `W` waits for 50 ms in the way of the runtime: tokio's and Go's own sleep.

mod bare_epoll;
pub mod go;
mod ours;
mod std_threads;
mod tokio_tasks;

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Duration;

use clap::ValueEnum;

/// The first argument that makes this program a server; the server's name and the number of tokio's
/// workers follow.
const SERVER_ARGUMENT: &str = "serve";

/// How long the handler of a line that begins with `B` or `W` waits.
const WAIT: Duration = Duration::from_millis(50);

const ANY_PORT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);

/// A server that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Server {
    /// One thread over epoll, which looks for no lines: the limit
    BareEpoll,
    /// A thread for each connection, with the standard library
    StdThreads,
    /// A task for each connection on tokio's multi-thread runtime
    Tokio,
    /// A goroutine for each connection
    Go,
    /// Our `ThreadingMixIn`
    Threading,
    /// Our `ReactorMixIn`
    Reactor,
}

impl Server {
    pub const fn title(self) -> &'static str {
        match self {
            Self::BareEpoll => "bare epoll",
            Self::StdThreads => "std, a thread each",
            Self::Tokio => "tokio",
            Self::Go => "Go",
            Self::Threading => "`ThreadingMixIn`",
            Self::Reactor => "`ReactorMixIn`",
        }
    }

    pub fn has_thread_each(self) -> bool {
        matches!(self, Self::StdThreads | Self::Threading)
    }

    /// The command that runs this server in a process of its own.
    pub fn command(self, tokio_workers: usize) -> io::Result<Command> {
        if self == Self::Go {
            return Ok(Command::new(go::program()?));
        }
        let mut command = Command::new(std::env::current_exe()?);
        let name = self.to_possible_value().expect("no server is hidden");
        command.args([SERVER_ARGUMENT, name.get_name()]);
        command.arg(tokio_workers.to_string());
        Ok(command)
    }

    fn serve(self, tokio_workers: usize) -> io::Result<()> {
        match self {
            Self::BareEpoll => bare_epoll::serve(),
            Self::StdThreads => std_threads::serve(),
            Self::Tokio => tokio_tasks::serve(tokio_workers),
            Self::Go => Err(io::Error::other("Go's server is a program of its own")),
            Self::Threading => ours::serve_with_threads(),
            Self::Reactor => ours::serve_with_reactor(),
        }
    }
}

/// Serves, if the arguments are those of [`Server::command`].
pub fn run(arguments: &[String]) -> Option<ExitCode> {
    let [argument, name, tokio_workers] = arguments else {
        return None;
    };
    if argument != SERVER_ARGUMENT {
        return None;
    }
    let server = Server::from_str(name, false).map_err(io::Error::other);
    let workers = tokio_workers.parse().map_err(io::Error::other);
    let served = server.and_then(|server| server.serve(workers?));
    Some(match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    })
}

/// Blocks if the line asks for it.
fn block_for(line: &[u8]) {
    if matches!(line.first(), Some(b'B' | b'W')) {
        thread::sleep(WAIT);
    }
}
