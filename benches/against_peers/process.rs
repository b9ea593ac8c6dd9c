//! Servers in processes of their own, and what a process costs.

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use nix::time::ClockId;
use nix::unistd::Pid;

use crate::processor::keep_server;

/// The argument that makes this program a server; the server's name follows.
pub const SERVER_ARGUMENT: &str = "--server";

/// A server ends after this, should everything else fail that ends it.
const LONGEST_LIFE: Duration = Duration::from_secs(300);

/// `/proc/PID/stat` counts in hundredths of a second, whatever the kernel counts in.
const TICK: Duration = Duration::from_millis(10);

/// What a server calls with its address, once clients can connect.
pub type Announce = fn(SocketAddr);

/// A server that can be run.
#[derive(Debug)]
pub struct ServerKind {
    /// What it is called on the command line.
    pub name: &'static str,
    /// Serves, and comes back with an error only.
    pub serve: fn(Announce) -> io::Result<()>,
}

impl ServerKind {
    /// Serves in this process, until its standard input ends.
    pub fn run(&self) -> ExitCode {
        thread::spawn(|| {
            let _ = io::stdin().read_to_end(&mut Vec::new());
            std::process::exit(0);
        });
        thread::spawn(|| {
            thread::sleep(LONGEST_LIFE);
            std::process::exit(1);
        });
        let served = keep_server().and_then(|()| (self.serve)(|address| println!("{address}")));
        match served {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{}: {error}", self.name);
                ExitCode::FAILURE
            }
        }
    }
}

/// A server that runs in a process of its own, which ends with this value.
#[derive(Debug)]
pub struct ServerProcess {
    child: Child,
    address: SocketAddr,
    cpu_clock: ClockId,
}

impl ServerProcess {
    /// Runs this program again, as the server.
    pub fn start(kind: &ServerKind) -> io::Result<Self> {
        let child = Command::new(std::env::current_exe()?)
            .args([SERVER_ARGUMENT, kind.name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let pid = Pid::from_raw(child.id().cast_signed());
        // From here on, an early return ends the child.
        let mut server = Self {
            child,
            address: ([0, 0, 0, 0], 0).into(),
            cpu_clock: ClockId::pid_cpu_clock_id(pid)?,
        };
        server.address = server.announced_address()?;
        Ok(server)
    }

    fn announced_address(&mut self) -> io::Result<SocketAddr> {
        let mut line = String::new();
        let stdout = self.child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line)?;
        line.trim_end().parse().map_err(io::Error::other)
    }

    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The processor time, user and system, that it has used: to the nanosecond for all threads it
    /// has and had, and to the hundredth of a second for children that it has collected.
    pub fn cpu_time(&self) -> io::Result<Duration> {
        Ok(Duration::from(self.cpu_clock.now()?) + self.cpu_time_of_children()?)
    }

    fn cpu_time_of_children(&self) -> io::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id()))?;
        // The name, in parentheses, may hold spaces; cutime and cstime are fields 16 and 17.
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        let ticks = after_name
            .split_whitespace()
            .skip(13)
            .take(2)
            .map(|field| field.parse::<u32>().map_err(io::Error::other))
            .sum::<io::Result<u32>>()?;
        Ok(TICK * ticks)
    }

    /// Waits until it does nothing any more.
    pub fn settle(&self) -> io::Result<()> {
        let mut used = self.cpu_time()?;
        for _ in 0..100 {
            thread::sleep(Duration::from_millis(20));
            let before = std::mem::replace(&mut used, self.cpu_time()?);
            if before == used {
                return Ok(());
            }
        }
        Err(io::Error::other("an idle server does not come to rest"))
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // It fails if the process has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
