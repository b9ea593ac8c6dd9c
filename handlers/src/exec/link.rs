//! The link between a program and its client, as far as its end ends the program.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::libc;
use nix::poll::PollFlags;
use socketserver::{ServerHandle, StreamRequest};

use crate::exec::OnHangup;
use crate::exec::ending::Reason;

/// How often the link is looked at when no descriptor shows its end.
const LOOK: Duration = Duration::from_millis(250);

/// What ends a program before its time.
pub(super) trait Link {
    /// The descriptor to watch, and the events beside `POLLHUP` and `POLLERR`.
    fn descriptor(&self) -> Option<(BorrowedFd<'_>, PollFlags)>;

    /// Takes the events of the descriptor.
    fn note(&mut self, events: PollFlags);

    /// Why the program has to end, if it has to.
    fn ending(&mut self) -> Option<Reason>;

    /// How soon the link has to be looked at again.
    fn look_again(&self) -> Option<Duration>;
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection<'a> {
    request: &'a StreamRequest,
    /// The socket, until its end has shown.
    socket: Option<BorrowedFd<'a>>,
    on_hangup: OnHangup,
    has_gone: bool,
}

/// The client has ended its side; the library has no name for the flag.
const CLOSED: PollFlags = PollFlags::from_bits_retain(libc::POLLRDHUP);

impl<'a> Connection<'a> {
    /// The connection of a program that has the socket.
    pub(super) fn new(request: &'a StreamRequest, on_hangup: OnHangup) -> Self {
        Self {
            request,
            socket: request.socket(),
            on_hangup,
            has_gone: false,
        }
    }

    /// The connection after its relay. `has_gone`: the relay has failed, because the client has
    /// left. A relay that has ended well has shut the socket down in both directions, and the
    /// `POLLHUP` of that is no sign of the client's.
    pub(super) fn relayed(request: &'a StreamRequest, on_hangup: OnHangup, has_gone: bool) -> Self {
        Self {
            request,
            socket: None,
            on_hangup,
            has_gone,
        }
    }
}

impl Link for Connection<'_> {
    fn descriptor(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let events = match self.on_hangup {
            OnHangup::EndIfClosed => CLOSED,
            OnHangup::EndIfGone | OnHangup::Leave => PollFlags::empty(),
        };
        Some((self.socket?, events))
    }

    fn note(&mut self, _: PollFlags) {
        // The events stay, so that a further poll would return at once.
        self.socket = None;
        self.has_gone = true;
    }

    fn ending(&mut self) -> Option<Reason> {
        // An abort shuts the socket down, and so looks like a client that has left.
        if self.request.is_aborted() {
            Some(Reason::Aborted)
        } else if self.has_gone && self.on_hangup != OnHangup::Leave {
            Some(Reason::ClientLeft)
        } else {
            None
        }
    }

    fn look_again(&self) -> Option<Duration> {
        self.socket.is_none().then_some(LOOK)
    }
}

/// A datagram, which has no end: the server's drain timeout ends its program.
#[derive(Debug)]
pub(super) struct Datagram<'a> {
    server: &'a ServerHandle,
    /// The end of the drain, once the drain has begun.
    drained: Option<Option<Instant>>,
}

impl<'a> Datagram<'a> {
    pub(super) fn new(server: &'a ServerHandle) -> Self {
        Self {
            server,
            drained: None,
        }
    }
}

impl Link for Datagram<'_> {
    fn descriptor(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        None
    }

    fn note(&mut self, _: PollFlags) {}

    fn ending(&mut self) -> Option<Reason> {
        if self.drained.is_none() && self.server.is_draining() {
            let timeout = self.server.drain_timeout();
            self.drained = Some(timeout.and_then(|it| Instant::now().checked_add(it)));
        }
        let until = self.drained.flatten()?;
        (until <= Instant::now()).then_some(Reason::Aborted)
    }

    fn look_again(&self) -> Option<Duration> {
        Some(LOOK)
    }
}
