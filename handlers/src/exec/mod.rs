//! A program for each client, which has the connection as its standard input and output.
//!
//! [`Exec`] is the handler of a super-server: what `inetd`, `tcpserver` and `socat … EXEC` do.

mod datagram;
mod ending;
mod environment;
mod error_lines;
mod link;
mod names;
mod process_end;
mod program;
mod program_side;
mod running;
mod stream;
mod supervision;

use std::io;
use std::process;
use std::sync::Arc;
use std::time::Duration;

use crate::exec::names::Names;
use crate::shell::Group;

pub use datagram::MAX_REPLY;
pub use program::{Program, ProgramError};

/// Runs a [`Program`] for each client, with the connection as its standard input and output.
///
/// # Over a stream
///
/// The program has the socket itself, in blocking mode, so that its reads and writes cost no more
/// than without this handler. If something is between the program and the socket, the program has
/// one end of a socket pair, and the handler [relays](socketserver::StreamRequest::relay_to_end)
/// the bytes. The handler relays with a layer that changes the bytes, such as TLS; with bytes that
/// were read ahead, as behind the header of a proxy; with deadlines for an idle client; and with
/// the [count of bytes](Self::count_bytes). The relay passes a half-close on in both directions:
/// the program reads the end of file when the client has shut down its write end, and the program
/// shuts down its own write end with shutdown(2).
///
/// The connection ends when the program ends, even if the program has left other processes behind.
///
/// # Over datagrams
///
/// The program has the datagram as a file at its standard input. The reply has the bytes that the
/// program has written when it ends, at most [`MAX_REPLY`]; a program that writes nothing sends no
/// reply.
///
/// # The environment
///
/// The program inherits this process's environment, without the variables of a service manager
/// (`LISTEN_FDS`, `NOTIFY_SOCKET` and their like) and those that state a client. The program also
/// has these variables:
///
/// | Transport | Variables |
/// |---|---|
/// | TCP | `PROTO=TCP`, `TCPREMOTEIP`, `TCPREMOTEPORT`, `TCPLOCALIP`, `TCPLOCALPORT` |
/// | UDP | `PROTO=UDP`, `UDPREMOTEIP`, `UDPREMOTEPORT`, `UDPLOCALIP`, `UDPLOCALPORT` |
/// | both | `REMOTE_ADDR`, `REMOTE_PORT`, as under systemd |
/// | Unix sockets | `PROTO=IPC`, `IPCLOCALPATH` |
/// | its client | `IPCREMOTEPID`, `IPCREMOTEEUID`, `IPCREMOTEEGID` |
/// | its client, if it has a name | `IPCREMOTEPATH`, `REMOTE_ADDR` |
/// | TLS | `SSL_PROTOCOL`, `SSL_CIPHER`, `SSL_TLS_SNI_SERVERNAME`, `SSL_CLIENT_S_DN` |
/// | TCP, with [names](Self::look_up_names) | `TCPREMOTEHOST`, `TCPLOCALHOST` |
/// | UDP, with names | `UDPREMOTEHOST`, `UDPLOCALHOST` |
///
/// # The program's end
///
/// The program leads a process group of its own. To end a program, the handler sends `SIGTERM` to
/// the group, and `SIGKILL` after a [grace](Self::grace). The handler does so at the end of the
/// [lifetime](socketserver::Deadlines::lifetime), when the client leaves and
/// [`on_hangup`](Self::on_hangup) asks for that, and at the server's drain timeout, where the grace
/// is half a second. Under [`ForkingMixIn`](socketserver::ForkingMixIn) the drain timeout kills the
/// group together with the child that serves the client.
///
/// Standard error goes to the log, line by line, with the client's address. At the end of the
/// program there is a line with its status or signal and its duration, and the bytes if they were
/// relayed.
///
/// ```no_run
/// use socketserver::ThreadingTcpServer;
/// use socketserver_handlers::exec::{Exec, Program};
///
/// let cat = Exec::new(Program::find("cat", ["-u"])?);
/// let server = ThreadingTcpServer::bind("127.0.0.1:0", move || cat.clone())?;
/// server.serve_forever()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Exec {
    program: Arc<Program>,
    banner: Arc<[u8]>,
    on_hangup: OnHangup,
    grace: Duration,
    counts: bool,
    names: Option<Names>,
    /// The process that has made this value. A child of it may be killed at the drain timeout.
    process: u32,
}

/// What happens to a program whose client leaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnHangup {
    /// The program goes on: its reads return the end of file, and its writes fail.
    #[default]
    Leave,
    /// The program is ended when the connection has ended in both directions: the client has reset
    /// the connection, or has closed a Unix socket (`POLLHUP`, `POLLERR`). A client that has shut
    /// down its write end still reads. Over TCP a client that has closed its socket looks the same
    /// until something is written to it.
    EndIfGone,
    /// The program is ended as soon as the client has ended its side (`POLLRDHUP`), also if the
    /// client still reads.
    EndIfClosed,
}

/// The time between `SIGTERM` and `SIGKILL` unless set.
const GRACE: Duration = Duration::from_secs(5);

impl Exec {
    /// Runs `program` for each client.
    pub fn new(program: Program) -> Self {
        Self {
            program: Arc::new(program),
            banner: Arc::new([]),
            on_hangup: OnHangup::default(),
            grace: GRACE,
            counts: false,
            names: None,
            process: process::id(),
        }
    }

    /// Sends each client of a stream these bytes before its program begins.
    pub fn banner(self, banner: impl AsRef<[u8]>) -> Self {
        let banner = banner.as_ref().into();
        Self { banner, ..self }
    }

    /// Sets what happens to a program whose client leaves; [`OnHangup::Leave`] unless set.
    pub fn on_hangup(self, on_hangup: OnHangup) -> Self {
        Self { on_hangup, ..self }
    }

    /// Sets the time between `SIGTERM` and `SIGKILL`; five seconds unless set.
    pub fn grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }

    /// Counts the bytes of each connection, for the log line at its end and for the
    /// [statistics](socketserver::ServerHandle::statistics). Every connection is then relayed.
    pub fn count_bytes(self) -> Self {
        Self {
            counts: true,
            ..self
        }
    }

    /// Looks up the names of the client and of the address that the client has connected to, before
    /// the program begins, and waits for them no longer than `within`. No name is looked up unless
    /// set.
    ///
    /// `TCPREMOTEHOST` and `TCPLOCALHOST` are the names in lower case, or `UDPREMOTEHOST` and
    /// `UDPLOCALHOST` over datagrams. The variable is not set if the address has no name, if the
    /// name does not have the address in turn, or if the time is over. The resolver is that of the
    /// system, with its hosts file. Each lookup has a thread of its own, which may outlast
    /// `within`; at most 128 lookups of this value and its clones run at a time, and beyond those
    /// no name is looked up.
    pub fn look_up_names(self, within: Duration) -> Self {
        Self {
            names: Some(Names::new(within)),
            ..self
        }
    }

    /// In a forked child, a group that is killed with the child. A program of its parent's process
    /// needs none: that process ends its programs before it ends.
    fn guard(&self) -> io::Result<Option<Group>> {
        let is_forked = self.process != process::id();
        is_forked.then(Group::new).transpose()
    }
}
