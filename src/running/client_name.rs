//! The names of clients in the log.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::running::server_handle::ServerHandle;
use crate::values::address::Address;

/// The number of open servers in this process.
static OPEN_SERVERS: AtomicUsize = AtomicUsize::new(0);

/// Counts an open server until the value is dropped.
#[derive(Debug)]
pub(crate) struct OpenServer(());

impl OpenServer {
    pub(crate) fn count() -> Self {
        // Relaxed: the number decides about the form of a log line, and orders nothing.
        OPEN_SERVERS.fetch_add(1, Relaxed);
        Self(())
    }
}

impl Drop for OpenServer {
    fn drop(&mut self) {
        OPEN_SERVERS.fetch_sub(1, Relaxed);
    }
}

/// The client at the beginning of a log line. It has the client's address, and the address of its
/// server if the program has more than one: `127.0.0.1:40000`, or
/// `127.0.0.1:40000 at 127.0.0.1:9999`.
pub(crate) struct ClientName<'a> {
    pub client: &'a Address,
    pub server: &'a ServerHandle,
}

impl fmt::Display for ClientName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, server } = self;
        match OPEN_SERVERS.load(Relaxed) {
            0 | 1 => write!(f, "{client}"),
            _ => write!(f, "{client} at {}", server.server_address()),
        }
    }
}
