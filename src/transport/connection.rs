//! A connection as the table of running requests and the request itself share it.

use std::net::{IpAddr, Shutdown};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};

use socket2::Socket;

use crate::transport::traffic::Traffic;

/// The socket, and what the handler does with it.
///
/// So a server that stops can end what blocks there: a `wait()` for a message that has not begun at
/// once, everything else when the time for it is over.
#[derive(Debug)]
pub(crate) struct Connection {
    /// None for a connection without a network.
    socket: Option<Socket>,
    /// The client's, if it has one.
    ip: Option<IpAddr>,
    state: AtomicU8,
    traffic: Traffic,
}

/// The handler works, or reads the rest of something.
const BUSY: u8 = 0;
/// The handler is in `wait()` with nothing to do.
const WAITING: u8 = 1;
/// It was in `wait()` when the drain began, and its socket gives no more.
const TOLD: u8 = 2;
/// It was running at the drain's deadline, and its socket takes and gives no more.
const CUT: u8 = 3;

impl Connection {
    pub(crate) fn new(socket: Option<Socket>, ip: Option<IpAddr>) -> Arc<Self> {
        Arc::new(Self {
            socket,
            ip,
            state: AtomicU8::new(BUSY),
            traffic: Traffic::default(),
        })
    }

    pub(crate) fn ip(&self) -> Option<IpAddr> {
        self.ip
    }

    pub(crate) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// The socket, for the stream that reads and writes it.
    ///
    /// # Panics
    ///
    /// If the connection has no network, and so no such stream.
    pub(crate) fn socket(&self) -> &Socket {
        self.socket
            .as_ref()
            .expect("only a connection over a socket is read through one")
    }

    /// The handler is about to wait for a message.
    pub(crate) fn begin_wait(&self) {
        self.change(BUSY, WAITING);
    }

    /// The wait is over.
    pub(crate) fn end_wait(&self) {
        self.change(WAITING, BUSY);
    }

    /// Ends a `wait()` that is under way. Calls nothing that a signal handler may not.
    pub(crate) fn tell(&self) {
        if self.change(WAITING, TOLD) {
            self.shut_down(Shutdown::Read);
        }
    }

    /// Ends whatever blocks on the connection.
    pub(crate) fn cut(&self) {
        self.state.store(CUT, SeqCst);
        self.shut_down(Shutdown::Both);
    }

    /// The server, not the client, ended the reading side.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.state.load(SeqCst) >= TOLD
    }

    /// The handler is in `wait()` with nothing to do.
    pub(crate) fn is_waiting(&self) -> bool {
        self.state.load(SeqCst) == WAITING
    }

    /// It was idle when the drain began, and was not cut off since.
    pub(crate) fn was_told(&self) -> bool {
        self.state.load(SeqCst) == TOLD
    }

    /// The server, not the client, ended both sides.
    pub(crate) fn is_cut(&self) -> bool {
        self.state.load(SeqCst) == CUT
    }

    fn change(&self, from: u8, to: u8) -> bool {
        let changed = self.state.compare_exchange(from, to, SeqCst, SeqCst);
        changed.is_ok()
    }

    fn shut_down(&self, how: Shutdown) {
        if let Some(socket) = &self.socket {
            // It fails when the client has left already, which ends the read as well.
            let _ = socket.shutdown(how);
        }
    }
}
