//! A restart that no client notices: SIGUSR2 starts a successor, which takes the sockets over.
//!
//! The successor is the program at the path of this program, with the same arguments. The sockets
//! are its descriptors from 3 on, as if a service manager had passed them. A further socket
//! connects the two programs: the successor sends a byte when it is ready, and begins to serve when
//! it has read the answer.

use std::env;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};
use socketserver::{ServerHandle, ServersHandle};

use super::options::Options;
use crate::failure::Failure;
use crate::fork_gate;
use crate::passed_sockets::SocketName;
use crate::service_manager::ServiceManager;

/// How long open connections go on unchanged once the successor accepts: the first message of a
/// connection may still be on its way, and a drain would close the connection.
const LAST_CONNECTIONS: Duration = Duration::from_secs(5);

/// How often the program checks whether a failed successor has ended.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How long a successor that fails may take to print its reason.
const REASON: Duration = Duration::from_secs(2);

/// How long a successor waits for the answer to its byte.
const ANSWER: Duration = Duration::from_secs(10);

/// The number of the first descriptor that a service manager passes.
const FIRST: i32 = 3;

/// What a restart needs to know about the servers of this program.
#[derive(Debug)]
pub struct Restart {
    servers: ServersHandle,
    /// The listener of each server, by its place on the command line.
    listeners: Vec<usize>,
    /// The server of the metrics.
    #[cfg(feature = "metrics")]
    metrics: Option<ServerHandle>,
    manager: ServiceManager,
    /// How long a successor may take until it is ready.
    timeout: Duration,
    /// Why there can be no successor.
    obstacle: Option<String>,
    phase: Mutex<Phase>,
    has_started: Condvar,
}

/// What this program does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The program is not ready itself. A restart waits until it is.
    Starting,
    Serving,
    /// The program starts its successor, or has a successor.
    Restarting,
}

impl Restart {
    /// A restart of these servers, which is not [permitted](Self::permit) yet.
    pub fn new(
        servers: ServersHandle,
        listeners: Vec<usize>,
        manager: ServiceManager,
        options: &Options,
    ) -> Self {
        let name = options.handler.name;
        let obstacle = options.handler.has_operator().then(|| {
            format!("the operator of {name} types at standard input, which two servers cannot read")
        });
        Self {
            servers,
            listeners,
            #[cfg(feature = "metrics")]
            metrics: None,
            manager,
            timeout: options.common.restart_timeout,
            obstacle,
            phase: Mutex::new(Phase::Starting),
            has_started: Condvar::new(),
        }
    }

    /// Hands the socket of the metrics over, too.
    #[cfg(feature = "metrics")]
    pub fn with_metrics(self, metrics: Option<ServerHandle>) -> Self {
        Self { metrics, ..self }
    }

    /// Permits a restart: this program serves every address.
    pub fn permit(&self) {
        *self.phase() = Phase::Serving;
        self.has_started.notify_all();
    }

    /// Starts a successor in a thread of its own, unless there is one already.
    pub fn begin(self: &Arc<Self>) {
        let this = Arc::clone(self);
        let thread = thread::Builder::new().name("restart".to_owned());
        // An error is ignored: the user sees that nothing is logged, and may try again.
        let _ = thread.spawn(move || {
            let is_starting = |phase: &mut Phase| *phase == Phase::Starting;
            let phase = this.has_started.wait_while(this.phase(), is_starting);
            let mut phase = phase.unwrap_or_else(PoisonError::into_inner);
            if *phase == Phase::Restarting {
                log::warn!("SIGUSR2 is ignored: another restart is under way");
                return;
            }
            *phase = Phase::Restarting;
            drop(phase);
            match this.start() {
                Ok(process) => {
                    log::info!("the successor, process {process}, is ready; this server stops");
                    this.leave(process);
                }
                Err(error) => {
                    // Before the log line: its reader may try again at once.
                    this.permit();
                    log::error!("the restart failed, and this server goes on: {error}");
                }
            }
        });
    }

    /// Starts a successor, and waits until it is ready. Returns its process.
    fn start(&self) -> Result<u32, String> {
        if let Some(obstacle) = &self.obstacle {
            return Err(obstacle.clone());
        }
        let failed = |error: io::Error| format!("the successor cannot be started: {error}");
        let (mut successor, mut connection) = self.spawn().map_err(failed)?;
        let answered = connection
            .set_read_timeout(Some(self.timeout))
            .and_then(|()| connection.read(&mut [0]));
        let error = match answered {
            Ok(1) if self.is_stopping() => "this server was stopped meanwhile".to_owned(),
            Ok(1) => match connection.write_all(b"!") {
                Ok(()) => return Ok(successor.id()),
                Err(error) => format!("the successor has ended: {error}"),
            },
            Ok(_) => ended_early(&mut successor),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                format!(
                    "the successor was not ready within {} seconds; give it more with \
                     --restart-timeout",
                    self.timeout.as_secs_f64()
                )
            }
            Err(error) => format!("cannot wait for the successor: {error}"),
        };
        // The successor has ended, or is not needed.
        let _ = successor.kill();
        let _ = successor.wait();
        Err(error)
    }

    /// Starts the program. Returns the process, and the connection to it.
    fn spawn(&self) -> io::Result<(Child, UnixStream)> {
        // A child that is forked now would keep the sockets, and this connection, open.
        let _no_fork = fork_gate::hold();
        let (connection, their_end) = UnixStream::pair()?;
        let (mut sockets, mut names) = (Vec::new(), Vec::new());
        for (server, listener) in self.servers.each().iter().zip(&self.listeners) {
            for socket in server.listening_sockets()? {
                sockets.push(socket);
                names.push(SocketName::handed_over(*listener));
            }
        }
        #[cfg(feature = "metrics")]
        if let Some(metrics) = &self.metrics {
            for socket in metrics.listening_sockets()? {
                sockets.push(socket);
                names.push(SocketName::metrics());
            }
        }
        sockets.push(OwnedFd::from(their_end));
        names.push(SocketName::predecessor());
        let mut arguments = env::args_os();
        let program = arguments.next();
        let program = program.filter(|program| !program.is_empty());
        let program = match program {
            Some(program) => program,
            None => env::current_exe()?.into(),
        };
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env("LISTEN_FDS", sockets.len().to_string())
            .env("LISTEN_FDNAMES", names.join(":"))
            .env_remove("LISTEN_PID")
            .env_remove("LISTEN_PIDFDID")
            .env_remove("LISTEN_FDS_FIRST_FD")
            // The successor is watched by the watchdog, too.
            .env_remove("WATCHDOG_PID");
        let mapping = |(parent_fd, child_fd)| FdMapping {
            parent_fd,
            child_fd,
        };
        let mappings = sockets.into_iter().zip(FIRST..).map(mapping).collect();
        command.fd_mappings(mappings).map_err(io::Error::other)?;
        Ok((command.spawn()?, connection))
    }

    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopping(&self) -> bool {
        self.servers.each().iter().any(ServerHandle::is_draining)
    }

    /// Leaves the sockets to the successor, and stops the servers when their last connections have
    /// ended.
    fn leave(&self, successor: u32) {
        self.manager.succeeded_by(successor);
        let each = self.servers.each();
        #[cfg(feature = "metrics")]
        self.metrics.iter().for_each(ServerHandle::hand_over);
        each.iter().for_each(ServerHandle::hand_over);
        let until = Instant::now() + LAST_CONNECTIONS;
        for server in each {
            let left = until.saturating_duration_since(Instant::now());
            // The stop drains the requests that are left.
            let _ = server.wait_for_requests(left);
        }
        self.servers.shutdown();
    }
}

/// Waits until a failed successor, which has closed its connection, has ended. The successor may
/// still have to print its reason.
fn ended_early(successor: &mut Child) -> String {
    let until = Instant::now() + REASON;
    while let (Ok(None), true) = (successor.try_wait(), Instant::now() < until) {
        thread::sleep(LOOK_EVERY);
    }
    "the successor ended before it was ready; its messages are above".to_owned()
}

/// The predecessor, which waits until this program is ready.
#[derive(Debug)]
pub struct Predecessor(UnixStream);

impl Predecessor {
    pub fn new(connection: OwnedFd) -> Self {
        Self(connection.into())
    }

    /// Reports that every address is served, and waits until the predecessor leaves them.
    ///
    /// # Errors
    ///
    /// If the predecessor no longer waits: it was stopped, or its timeout is over.
    pub fn relieve(mut self) -> Result<(), Failure> {
        let answered = self
            .0
            .set_read_timeout(Some(ANSWER))
            .and_then(|()| self.0.write_all(b"!"))
            .and_then(|()| self.0.read_exact(&mut [0]));
        answered.map_err(|error| {
            let what = format!("the predecessor no longer waits for its successor: {error}");
            Failure::Passed("restart".to_owned(), what)
        })
    }
}
