//! A server in a process of its own, and what the process costs.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::time::ClockId;
use nix::unistd::Pid;

/// A process that runs one server, and is ended when this value is dropped. If the benchmark ends
/// in another way, the process's standard input ends, and so does the process.
#[derive(Debug)]
pub struct ServerProcess {
    child: Child,
    stdin: ChildStdin,
    address: SocketAddr,
    /// The process, and those of its children that serve too.
    pids: Vec<Pid>,
}

impl ServerProcess {
    /// Starts a server that calls [`announce`](crate::announce), or writes its address on a line of
    /// standard output. Returns when the server accepts connections.
    ///
    /// # Errors
    ///
    /// If the server does not start, or announces no address.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        let mut process = Self::spawn(command.stdout(Stdio::piped()), ([0, 0, 0, 0], 0).into())?;
        let stdout = process.child.stdout.take().expect("it is piped");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim_end().parse();
        process.address = address.map_err(|_| {
            io::Error::other(format!("the server announced {line:?} and no address"))
        })?;
        Ok(process)
    }

    /// Starts a server that listens at `address`. Returns when the server accepts connections.
    ///
    /// # Errors
    ///
    /// If the server does not start, or does not listen there within ten seconds.
    pub fn start_at(command: &mut Command, address: SocketAddr) -> io::Result<Self> {
        let mut process = Self::spawn(command, address)?;
        let end = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(address).is_err() {
            if let Some(status) = process.child.try_wait()? {
                return Err(io::Error::other(format!("{command:?} ended with {status}")));
            }
            if Instant::now() > end {
                let message = format!("{command:?} does not listen at {address}");
                return Err(io::Error::other(message));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(process)
    }

    /// Counts the processes that the server has started as the server's own.
    ///
    /// # Errors
    ///
    /// If the server has ended.
    pub fn with_workers(mut self) -> io::Result<Self> {
        self.pids.extend(children(self.pids[0])?);
        Ok(self)
    }

    fn spawn(command: &mut Command, address: SocketAddr) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take().expect("it is piped");
        let pids = vec![Pid::from_raw(child.id().cast_signed())];
        Ok(Self {
            child,
            stdin,
            address,
            pids,
        })
    }

    /// Where the server listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The number of the server's first process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The processor time, user and system, of all threads that the server has and had.
    ///
    /// # Errors
    ///
    /// If the server has ended.
    pub fn cpu_time(&self) -> io::Result<Duration> {
        let mut time = Duration::ZERO;
        for pid in &self.pids {
            time += Duration::from(ClockId::pid_cpu_clock_id(*pid)?.now()?);
        }
        Ok(time)
    }

    /// Waits until the server does nothing, `longest` at most.
    ///
    /// # Errors
    ///
    /// If the server has ended.
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

    /// The number of its threads.
    ///
    /// # Errors
    ///
    /// If the server has ended.
    pub fn threads(&self) -> io::Result<usize> {
        let mut threads = 0;
        for pid in &self.pids {
            threads += fs::read_dir(format!("/proc/{pid}/task"))?.count();
        }
        Ok(threads)
    }

    /// How often its threads have given the processor up or lost it.
    ///
    /// # Errors
    ///
    /// If the server has ended.
    pub fn context_switches(&self) -> io::Result<u64> {
        let mut switches = 0;
        for pid in &self.pids {
            for task in fs::read_dir(format!("/proc/{pid}/task"))? {
                let status = fs::read_to_string(task?.path().join("status"))?;
                switches += number(&status, "\nvoluntary_ctxt_switches:")?;
                switches += number(&status, "\nnonvoluntary_ctxt_switches:")?;
            }
        }
        Ok(switches)
    }

    /// The kilobytes of its memory that are resident.
    ///
    /// # Errors
    ///
    /// If the server has ended.
    pub fn resident_kilobytes(&self) -> io::Result<u64> {
        let mut kilobytes = 0;
        for pid in &self.pids {
            let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
            kilobytes += number(&rollup, "\nRss:")?;
        }
        Ok(kilobytes)
    }

    /// Requests the drain of a server that knows one.
    ///
    /// # Errors
    ///
    /// If the server has ended.
    pub fn request_stop(&mut self) -> io::Result<()> {
        self.stdin.write_all(b"s")
    }

    /// Waits until the server has ended by itself.
    ///
    /// # Errors
    ///
    /// If the server does not end within `longest`, or ends with a failure.
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
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        if let [pid, _, ..] = self.pids[..] {
            // It ends its children, which would stay otherwise.
            let _ = kill(pid, Signal::SIGTERM);
            if self.wait_for_end(Duration::from_secs(5)).is_ok() {
                return;
            }
        }
        // Both fail if the process has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The processes that a process has started and that have not ended.
fn children(pid: Pid) -> io::Result<Vec<Pid>> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    let children = children.split_whitespace().map(str::parse);
    let children = children.map(|child| child.map(Pid::from_raw).map_err(io::Error::other));
    children.collect()
}

/// The number after `name` in a file of proc(5).
fn number(file: &str, name: &str) -> io::Result<u64> {
    let after = file.split_once(name).map(|(_, after)| after);
    let digits = after.and_then(|after| after.split_whitespace().next());
    digits
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| io::Error::other(format!("/proc has no number for {:?}", name.trim())))
}
