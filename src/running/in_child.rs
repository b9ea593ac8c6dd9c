//! A request that a forked child serves: the parent's count of the request, and the drain in the
//! child.

use std::sync::Arc;
use std::time::Instant;

use crate::running::ended::{Ended, EndedHandshake};
use crate::running::per_address::Ticket;
use crate::running::shared::Shared;
use crate::transport::connection::Connection;
use crate::values::address::Address;

/// The parent's count of a request that a forked child serves.
#[derive(Debug)]
pub(crate) struct RequestInChild {
    shared: Arc<Shared>,
    client_address: Address,
    accepted: Instant,
    /// When the request was started, if a layer has called `note_start_times`.
    started: Option<Instant>,
    /// Whether the child was asked to give its place to another client.
    was_asked_to_end: bool,
    /// Counts the request for its address.
    _ticket: Option<Ticket>,
}

impl RequestInChild {
    pub(crate) fn new(
        shared: Arc<Shared>,
        client_address: Address,
        accepted: Instant,
        started: Option<Instant>,
        ticket: Option<Ticket>,
    ) -> Self {
        Self {
            shared,
            client_address,
            accepted,
            started,
            was_asked_to_end: false,
            _ticket: ticket,
        }
    }

    /// When the request was accepted.
    pub(crate) fn accepted(&self) -> Instant {
        self.accepted
    }

    pub(crate) fn was_asked_to_end(&self) -> bool {
        self.was_asked_to_end
    }

    /// Notes that the child was asked to give its place to another client.
    pub(crate) fn note_asked_to_end(&mut self) {
        self.was_asked_to_end = true;
    }

    /// Emits the event of a handshake that the child has reported.
    pub(crate) fn emit_handshake(&self, handshake: &EndedHandshake) {
        self.shared.emit(&self.client_address, &handshake.event());
    }

    /// Counts the end of the request, and emits the event, when the parent has collected the child.
    pub(crate) fn end(self, ended: &Ended) {
        let requests = self.shared.requests();
        requests.count_traffic_of_child(ended);
        requests.count_end(ended, self.shared.lifecycle().is_draining());
        self.shared.emit(
            &self.client_address,
            &ended.event(self.accepted, self.started),
        );
    }
}

impl Drop for RequestInChild {
    fn drop(&mut self) {
        if !self.shared.is_forked_child() && self.shared.requests().count().end_in_child() {
            self.shared.wake();
        }
    }
}

/// Begins the drain of one request in a forked child.
#[derive(Debug)]
pub(crate) struct DrainNotice {
    shared: Arc<Shared>,
    connection: Option<Arc<Connection>>,
}

impl DrainNotice {
    pub(crate) fn new(shared: Arc<Shared>, connection: Option<Arc<Connection>>) -> Self {
        Self { shared, connection }
    }

    /// Async-signal-safe: touches atomics and calls shutdown(2).
    pub(crate) fn notify(&self) {
        self.shared.lifecycle().drain_in_child();
        if let Some(connection) = &self.connection {
            connection.interrupt_idle();
        }
    }
}
