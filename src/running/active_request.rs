//! One running request, as its server counts it.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::SeqCst};
use std::time::Instant;

use crate::mix_ins::forking::reports::ChildReport;
use crate::running::active_requests::{End, Entry};
use crate::running::server_handle::ServerHandle;
use crate::transport::connection::Connection;
use crate::transport::traffic::Traffic;
use crate::values::address::Address;
use crate::values::error::{HandlerError, HandlerPanic};
use crate::values::request_event::{Outcome, RequestEvent};

/// A request's place among the running ones of its server, and who sent it; the request has ended
/// when this is dropped.
///
/// A bottom layer gets one from [`ServerHandle::begin_request`] for every request, and keeps it in
/// the request. So the server knows what runs, whichever mix-in runs it.
#[derive(Debug)]
pub struct ActiveRequest {
    server: ServerHandle,
    client_address: Address,
    connection: Option<Arc<Connection>>,
    entry: Entry,
    accepted: Instant,
    /// The bytes of a request without a connection.
    traffic: Traffic,
    /// The client has missed a deadline or timeout.
    client_was_late: AtomicBool,
    /// The layers have been told of it.
    announced: AtomicBool,
    fate: AtomicU8,
}

// How a request ends, as far as is known; it has failed if nobody says otherwise.
const FAILED: u8 = 0;
const FINISHED: u8 = 1;
const TIMED_OUT: u8 = 2;
const PANICKED: u8 = 3;
const REFUSED: u8 = 4;
const WITH_CHILD: u8 = 5;
const CUT: u8 = 6;

impl ActiveRequest {
    pub(crate) fn begin(
        server: ServerHandle,
        client_address: Address,
        connection: Option<Arc<Connection>>,
    ) -> Self {
        let entry = server
            .active()
            .enter(connection.clone(), client_address.ip());
        Self {
            server,
            client_address,
            connection,
            entry,
            accepted: Instant::now(),
            traffic: Traffic::default(),
            client_was_late: AtomicBool::new(false),
            announced: AtomicBool::new(false),
            fate: AtomicU8::new(FAILED),
        }
    }

    /// The server that runs the request.
    #[must_use]
    pub fn server(&self) -> &ServerHandle {
        &self.server
    }

    /// Who sent the request.
    #[must_use]
    pub fn client_address(&self) -> &Address {
        &self.client_address
    }

    pub(crate) fn ip(&self) -> Option<IpAddr> {
        self.client_address.ip()
    }

    /// When the request was got.
    pub(crate) fn accepted(&self) -> Instant {
        self.accepted
    }

    /// Its bytes.
    pub(crate) fn traffic(&self) -> &Traffic {
        match &self.connection {
            Some(connection) => connection.traffic(),
            None => &self.traffic,
        }
    }

    /// The request will not be served.
    pub(crate) fn refuse(&self) {
        self.fate.store(REFUSED, SeqCst);
    }

    /// The layers are being told that it has been accepted.
    pub(crate) fn announce(&self) {
        self.announced.store(true, SeqCst);
    }

    /// The request is given up before it has begun, because the server has been closed.
    pub(crate) fn give_up(&self) {
        self.fate.store(CUT, SeqCst);
    }

    /// The client has missed a deadline or timeout.
    pub(crate) fn note_late_client(&self) {
        self.client_was_late.store(true, SeqCst);
    }

    /// The handler, or what was to lead to it, has come to its end.
    pub(crate) fn note_result(&self, result: Result<(), &HandlerError>) {
        let fate = match result {
            Ok(()) => FINISHED,
            Err(error) if error.is::<HandlerPanic>() => PANICKED,
            Err(_) if self.client_was_late.load(SeqCst) => TIMED_OUT,
            Err(_) => FAILED,
        };
        self.fate.store(fate, SeqCst);
    }

    /// A forked child serves the request from now on; this process drops its copy, and keeps what
    /// is returned until the child has ended.
    pub(crate) fn hand_to_child(&mut self) -> RequestInChild {
        self.fate.store(WITH_CHILD, SeqCst);
        RequestInChild {
            server: self.server.clone(),
            client_address: self.client_address.clone(),
            entry: self.server.active().hand_to_child(&mut self.entry),
            accepted: self.accepted,
        }
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

    /// How it ends. `None` if that is not known here: a child has it, or it was refused.
    fn outcome(&self) -> Option<Outcome> {
        match self.fate.load(SeqCst) {
            REFUSED | WITH_CHILD => None,
            CUT => Some(Outcome::Cut),
            _ if self.is_cut() => Some(Outcome::Cut),
            FINISHED => Some(Outcome::Finished),
            TIMED_OUT => Some(Outcome::TimedOut),
            PANICKED => Some(Outcome::Panicked),
            _ => Some(Outcome::Failed),
        }
    }

    /// What a child, or the server itself, has to say of the end.
    fn report(&self, outcome: Outcome) -> ChildReport {
        let connection = self.connection.as_ref();
        ChildReport {
            outcome,
            idle: connection.is_some_and(|connection| connection.was_told()),
            received: self.traffic().received(),
            sent: self.traffic().sent(),
        }
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        let outcome = self.outcome();
        let report = outcome.map(|outcome| self.report(outcome));
        if self.server.is_forked_child() {
            // The table is the parent's, and its lock may be held there by a thread that this
            // process does not have.
            report.inspect(|report| self.server.report_to_parent(report));
            return;
        }
        let active = self.server.active();
        active.leave(&mut self.entry);
        if self.connection.is_none() && *self.fate.get_mut() != WITH_CHILD {
            let (received, sent) = (self.traffic.received(), self.traffic.sent());
            active.counters().count_traffic(received, sent);
        }
        // The descriptor is closed before the request counts as ended.
        self.connection = None;
        if let Some(report) = report {
            active.count_end(report.end());
            if !*self.announced.get_mut() {
                // A layer has given it up before the loop got it.
                self.server
                    .observe(&self.client_address, &RequestEvent::Accepted);
            }
            let ended = report.ended(self.accepted);
            self.server.observe(&self.client_address, &ended);
        } else if *self.fate.get_mut() == REFUSED {
            active.count_end(End::Refused);
        }
        if active.request_ended() {
            self.server.look_again();
        }
    }
}

/// A request that a forked child serves, as the parent counts it.
#[derive(Debug)]
pub(crate) struct RequestInChild {
    server: ServerHandle,
    client_address: Address,
    entry: Entry,
    accepted: Instant,
}

impl RequestInChild {
    /// The child has been collected.
    pub(crate) fn end(self, report: ChildReport) {
        let counters = self.server.active().counters();
        counters.count_traffic(report.received, report.sent);
        self.server.active().count_end(report.end());
        let event = report.ended(self.accepted);
        self.server.observe(&self.client_address, &event);
    }
}

impl Drop for RequestInChild {
    fn drop(&mut self) {
        if !self.server.is_forked_child() {
            self.server.active().leave(&mut self.entry);
            if self.server.active().child_ended() {
                self.server.look_again();
            }
        }
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
