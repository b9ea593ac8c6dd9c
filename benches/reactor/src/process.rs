//! A server in a process of its own, and what the process costs.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::time::ClockId;
use nix::unistd::Pid;

use crate::servers::Server;

/// A process that runs one server, and is killed when this value is dropped. If the benchmark ends
/// in another way, the process's standard input ends, and so does the process.
#[derive(Debug)]
pub struct ServerProcess {
    kind: Server,
    child: Child,
    stdin: ChildStdin,
    address: SocketAddr,
    cpu_clock: ClockId,
}

impl ServerProcess {
    /// Returns when the server accepts connections.
    pub fn start(kind: Server, tokio_workers: usize) -> io::Result<Self> {
        let mut command = kind.command(tokio_workers)?;
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let stdin = child.stdin.take().expect("it is piped");
        let stdout = child.stdout.take().expect("it is piped");
        let pid = Pid::from_raw(child.id().cast_signed());
        // From here on, an early return ends the child.
        let mut process = Self {
            kind,
            child,
            stdin,
            address: ([0, 0, 0, 0], 0).into(),
            cpu_clock: ClockId::pid_cpu_clock_id(pid)?,
        };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim_end().parse();
        process.address = address.map_err(|_| {
            io::Error::other(format!("the server announced {line:?} and no address"))
        })?;
        Ok(process)
    }

    pub fn kind(&self) -> Server {
        self.kind
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The processor time, user and system, of all threads that the server has and had.
    pub fn cpu_time(&self) -> io::Result<Duration> {
        Ok(Duration::from(self.cpu_clock.now()?))
    }

    /// Waits until the server does nothing, `longest` at most.
    pub fn settle(&self, longest: Duration) -> io::Result<()> {
        const LOOK: Duration = Duration::from_millis(10);
        let end = Instant::now() + longest;
        let mut used = self.cpu_time()?;
        while Instant::now() < end {
            thread::sleep(LOOK);
            let before = std::mem::replace(&mut used, self.cpu_time()?);
            if used - before < LOOK / 100 {
                break;
            }
        }
        Ok(())
    }

    pub fn threads(&self) -> io::Result<usize> {
        Ok(fs::read_dir(self.proc("task"))?.count())
    }

    /// How often its threads have given the processor up or lost it.
    pub fn context_switches(&self) -> io::Result<u64> {
        let mut switches = 0;
        for task in fs::read_dir(self.proc("task"))? {
            let status = fs::read_to_string(task?.path().join("status"))?;
            switches += number(&status, "\nvoluntary_ctxt_switches:")?;
            switches += number(&status, "\nnonvoluntary_ctxt_switches:")?;
        }
        Ok(switches)
    }

    /// The kilobytes of its memory that are resident.
    pub fn resident_kilobytes(&self) -> io::Result<u64> {
        number(&fs::read_to_string(self.proc("smaps_rollup"))?, "\nRss:")
    }

    /// Requests the drain of a server that knows one.
    pub fn request_stop(&mut self) -> io::Result<()> {
        self.stdin.write_all(b"s")
    }

    /// Waits until the server has ended by itself.
    pub fn wait_for_end(&mut self, longest: Duration) -> io::Result<()> {
        let end = Instant::now() + longest;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait()? {
                return match status.success() {
                    true => Ok(()),
                    false => Err(io::Error::other(format!("the server ended with {status}"))),
                };
            }
            thread::sleep(Duration::from_millis(1));
        }
        Err(io::Error::other(format!(
            "the server did not end within {longest:?}"
        )))
    }

    fn proc(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.child.id())
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // Both fail if the process has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The number after `name` in a file of proc(5).
fn number(file: &str, name: &str) -> io::Result<u64> {
    let after = file.split_once(name).map(|(_, after)| after);
    let digits = after.and_then(|after| after.split_whitespace().next());
    digits
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| io::Error::other(format!("/proc has no number for {:?}", name.trim())))
}
