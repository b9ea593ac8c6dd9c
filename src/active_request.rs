//! One running request, as its server counts it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Instant;

use crate::active_requests::End;
use crate::connection::Connection;
use crate::server_handle::ServerHandle;

/// A request's place among the running ones of its server; the request has ended when it is
/// dropped.
///
/// A bottom layer gets one from [`ServerHandle::begin_request`] for every request, and keeps it in
/// the request. So the server knows what runs, whichever mix-in runs it.
#[derive(Debug)]
pub struct ActiveRequest {
    server: ServerHandle,
    connection: Option<Arc<Connection>>,
    key: Option<usize>,
    goes_on_in_child: AtomicBool,
    accepted: Instant,
}

impl ActiveRequest {
    pub(crate) fn begin(server: ServerHandle, connection: Option<Arc<Connection>>) -> Self {
        let key = server.active().enter(connection.clone());
        Self {
            server,
            connection,
            key,
            goes_on_in_child: AtomicBool::new(false),
            accepted: Instant::now(),
        }
    }

    /// A forked child serves the request from now on; this process only drops its copy.
    pub(crate) fn go_on_in_child(&self) {
        self.goes_on_in_child.store(true, SeqCst);
    }

    /// The server that runs the request.
    #[must_use]
    pub fn server(&self) -> &ServerHandle {
        &self.server
    }

    /// When the request was got.
    pub(crate) fn accepted(&self) -> Instant {
        self.accepted
    }

    /// The handler is about to wait for the client's next message. False if the server is draining.
    pub(crate) fn begin_wait(&self) -> bool {
        if let Some(connection) = &self.connection {
            connection.begin_wait();
        }
        // After the state has changed: either the drain sees it, or we see the drain.
        let wait = !self.server.is_draining();
        if !wait {
            self.end_wait();
        }
        wait
    }

    /// The wait is over, with a message or without.
    pub(crate) fn end_wait(&self) {
        if let Some(connection) = &self.connection {
            connection.end_wait();
        }
    }

    /// The server, not the client, ended the reading side.
    pub(crate) fn is_interrupted(&self) -> bool {
        let connection = self.connection.as_ref();
        connection.is_some_and(|connection| connection.is_interrupted())
    }

    /// The server, not the client, ended both sides.
    pub(crate) fn is_cut(&self) -> bool {
        let connection = self.connection.as_ref();
        connection.is_some_and(|connection| connection.is_cut())
    }

    /// What a signal handler needs to tell this request of a drain.
    pub(crate) fn drain_notice(&self) -> DrainNotice {
        DrainNotice {
            server: self.server.clone(),
            connection: self.connection.clone(),
        }
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        if self.server.is_forked_child() {
            // The table is the parent's, and its lock may be held there by a thread that this
            // process does not have.
            return;
        }
        let end = match self.is_cut() {
            _ if *self.goes_on_in_child.get_mut() => End::GoesOnInChild,
            true => End::Cut,
            false => End::ByItself,
        };
        let active = self.server.active();
        active.forget(self.key);
        // The descriptor is closed before the request counts as ended.
        self.connection = None;
        active.request_ended(end);
    }
}

/// Tells one request that the server is draining, from within a signal handler.
#[derive(Debug)]
pub(crate) struct DrainNotice {
    server: ServerHandle,
    connection: Option<Arc<Connection>>,
}

impl DrainNotice {
    /// Touches atomics and calls shutdown(2), nothing else.
    pub(crate) fn tell(&self) {
        self.server.active().set_draining();
        if let Some(connection) = &self.connection {
            connection.tell();
        }
    }
}
