//! A program over a connection: with the socket itself, or relayed.

use std::io::{self, ErrorKind, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use nix::poll::PollFlags;
use socket2::SockRef;
use socketserver::{DeadlineExceeded, HandlerResult, RequestHandler, StreamRequest, blocking};

use crate::exec::Exec;
use crate::exec::ending::Reason;
use crate::exec::environment::of_stream;
use crate::exec::link::Connection;
use crate::exec::program_side::ProgramSide;
use crate::exec::running::{Event, Running};
use crate::exec::supervision::Supervision;

impl RequestHandler for Exec {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        if !self.banner.is_empty() {
            request.write_all(&self.banner)?;
        }
        request.flush()?;
        match self.start_on_socket(request)? {
            Some(running) => self.watch(request, running),
            None => self.relay(request),
        }
    }
}

impl Exec {
    /// Starts the program on the socket itself, if nothing has to stand between the two.
    fn start_on_socket(&self, request: &StreamRequest) -> io::Result<Option<Running>> {
        let deadlines = request.deadlines();
        let of_idle = [deadlines.idle(), deadlines.progress(), deadlines.write()];
        let is_direct =
            !self.counts && request.buffer().is_empty() && of_idle.iter().all(Option::is_none);
        let Some(socket) = request.socket().filter(|_| is_direct) else {
            return Ok(None);
        };
        leave_to_program(socket)?;
        self.start(request, socket).map(Some)
    }

    /// Waits for the end of a program that has the socket itself.
    fn watch(&self, request: &mut StreamRequest, mut running: Running) -> HandlerResult {
        let supervision = Supervision::new(request.deadlines(), self.grace);
        let mut link = Connection::new(request, self.on_hangup);
        let ended = blocking(|| supervision.until_end(&mut running, &mut link))?;
        ended.log(running.about(), None);
        if let Some(Reason::Lifetime(_)) = ended.reason {
            // Fails: the request notes that its time is over.
            request.wait_timeout(Duration::ZERO)?;
        }
        Ok(())
    }

    /// Runs the program on one end of a socket pair, and carries bytes between the other end and
    /// the client.
    fn relay(&self, request: &mut StreamRequest) -> HandlerResult {
        let (ours, theirs) = UnixStream::pair()?;
        let mut running = self.start(request, theirs.as_fd())?;
        // The program alone has this end from now on.
        drop(theirs);
        let mut supervision = Supervision::new(request.deadlines(), self.grace);
        let mut side = ProgramSide::new(ours.try_clone()?, self.on_hangup);
        let relayed = relay_and_watch(request, &mut side, &mut running, &ours)?;
        let bytes = side.carried();
        let ends_with_client = side.ends_with_client();
        // The program reads the end of file from now on, and its writes fail.
        drop((side, ours));
        let mut client_has_gone = false;
        let exceeded = relayed
            .as_ref()
            .err()
            .map(|it| DeadlineExceeded::find_in(it));
        let relayed = match exceeded {
            None => Ok(()),
            _ if ends_with_client => {
                supervision.end(&running, Reason::ClientLeft);
                Ok(())
            }
            Some(Some(exceeded)) => {
                let reason = match exceeded {
                    DeadlineExceeded::Lifetime(limit) => Reason::Lifetime(limit),
                    _ => Reason::ClientLate,
                };
                supervision.end(&running, reason);
                relayed
            }
            Some(None) => {
                // Of an abort, the link learns from the request.
                client_has_gone = true;
                relayed
            }
        };
        let mut link = Connection::relayed(request, self.on_hangup, client_has_gone);
        let ended = blocking(|| supervision.until_end(&mut running, &mut link))?;
        ended.log(running.about(), Some(bytes));
        match ended.reason {
            // The line above has the reason, as for a program that has the socket itself.
            Some(Reason::Aborted) => Ok(()),
            _ => Ok(relayed?),
        }
    }

    /// Starts the program with this socket as its standard input and output.
    fn start(&self, request: &StreamRequest, socket: BorrowedFd<'_>) -> io::Result<Running> {
        let client = request.client_address();
        let guard = self.guard()?;
        let variables = of_stream(request, self.names.as_ref());
        Running::start(&self.program, guard, client, variables, [socket; 2])
    }
}

/// Leaves the socket as a program expects it: its reads and writes wait without end. The bounds of
/// the layers before are in `SO_RCVTIMEO` and `SO_SNDTIMEO`. A client whose machine has vanished
/// ends the connection at last, since no deadline does.
fn leave_to_program(socket: BorrowedFd<'_>) -> io::Result<()> {
    let socket = SockRef::from(&socket);
    socket.set_read_timeout(None)?;
    socket.set_write_timeout(None)?;
    socket.set_keepalive(true)
}

/// Relays until the relay has ended. A second thread watches the program meanwhile: its standard
/// error, and its end, which ends the relay.
fn relay_and_watch(
    request: &mut StreamRequest,
    side: &mut ProgramSide,
    running: &mut Running,
    ours: &UnixStream,
) -> io::Result<io::Result<()>> {
    let (watching, relaying) = UnixStream::pair()?;
    thread::scope(|scope| {
        let watch = || watch_beside_relay(running, watching.as_fd(), ours);
        let watched = thread::Builder::new().name("exec".to_owned());
        let watched = watched.spawn_scoped(scope, watch)?;
        let relayed = request.relay_to_end(side);
        // Ends the watch.
        drop(relaying);
        let watched = watched.join();
        watched.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok(relayed.map(|_| ()))
    })
}

/// Watches the program until it has ended or the other end of `stop` is closed. A process that the
/// program has left behind may hold the program's side open: what the program has written is
/// relayed, and nothing after that.
fn watch_beside_relay(
    running: &mut Running,
    stop: BorrowedFd<'_>,
    ours: &UnixStream,
) -> io::Result<()> {
    if running.watch(Some((stop, PollFlags::empty())), None)? == Event::Ended {
        match ours.shutdown(Shutdown::Both) {
            Err(error) if error.kind() != ErrorKind::NotConnected => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
