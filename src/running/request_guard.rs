//! The guard of one running request.

use std::sync::Arc;
use std::time::Instant;

use crate::running::ended::{Closed, Ended};
use crate::running::extensions::Extensions;
use crate::running::in_child::{DrainNotice, RequestInChild};
use crate::running::request_table::Place;
use crate::running::server_handle::ServerHandle;
use crate::running::shared::Shared;
use crate::transport::connection::Connection;
use crate::transport::reading::Reading;
use crate::transport::sys::forks;
use crate::transport::traffic::Traffic;
use crate::values::address::Address;
use crate::values::error::{HandlerError, HandlerPanic};
use crate::values::request_event::{Outcome, Refusal, RequestEvent};

/// The guard of a registered request: the request counts as running until its guard ends or is
/// dropped.
///
/// A bottom layer receives a guard from
/// [`register_request`](crate::layer::LayerHandle::register_request) for every request, and keeps
/// it in the request. So the server knows its running requests, whichever mix-in serves them.
/// [`close_request`](crate::BaseServer::close_request) ends the request. A guard that is dropped
/// instead, as after a panic in a mix-in, ends its request as [failed](crate::Outcome::Failed).
/// Python has no counterpart.
#[derive(Debug)]
pub struct RequestGuard {
    /// The entry is on the heap, because a request is moved several times on its way.
    entry: Box<Entry>,
}

#[derive(Debug)]
struct Entry {
    server: ServerHandle,
    client_address: Address,
    /// Whether a layer has corrected the address.
    is_corrected: bool,
    connection: Option<Arc<Connection>>,
    place: Place,
    /// The process that has registered the request: see [`forks`].
    forks: u32,
    accepted: Instant,
    /// When the request was started, if a layer wants to know.
    started: Option<Instant>,
    /// The bytes of a request without a connection.
    traffic: Traffic,
    extensions: Extensions,
    fate: Fate,
    /// Whether the writing side of the connection was ended in good order, so that the close may
    /// wait for the client.
    may_linger: bool,
    /// Whether the client has missed a deadline or timeout.
    client_was_late: bool,
    /// `Some` once the client has ended its side, or has broken the connection. The value is true
    /// if that was in the middle of an exchange.
    client_left: Option<bool>,
    /// Whether the server stopped while a layer waited for the client.
    was_idle: bool,
    /// Whether the event `Accepted` was emitted.
    announced: bool,
    /// Whether the request has left the table.
    has_left: bool,
}

impl RequestGuard {
    pub(crate) fn new(
        server: ServerHandle,
        client_address: Address,
        connection: Option<Arc<Connection>>,
    ) -> Self {
        let requests = server.shared().requests();
        let place = requests.enter(connection.as_ref(), client_address.ip());
        let entry = Box::new(Entry {
            server,
            client_address,
            is_corrected: false,
            connection,
            place,
            forks: forks(),
            accepted: Instant::now(),
            started: None,
            traffic: Traffic::default(),
            extensions: Extensions::default(),
            fate: Fate::Open,
            may_linger: false,
            client_was_late: false,
            client_left: None,
            was_idle: false,
            announced: false,
            has_left: false,
        });
        Self { entry }
    }

    /// Returns the handle of the server that runs the request.
    #[must_use]
    pub fn server(&self) -> &ServerHandle {
        &self.entry.server
    }

    /// Returns the client's address.
    #[must_use]
    #[doc(alias = "peer_addr")]
    pub fn client_address(&self) -> &Address {
        &self.entry.client_address
    }

    /// Corrects the client's address. A layer that reads the address from the client's first bytes,
    /// as behind a proxy, calls this method.
    ///
    /// From now on the request counts for the new address. After the
    /// [preparation](crate::BaseServer::prepare_request) the server checks its
    /// [limit per address](crate::Limits::max_connections_per_address) again. In a forked child
    /// only the child's handler and log use the new address. The parent counts the request, and
    /// emits its events, with the old address.
    pub fn set_client_address(&mut self, address: Address) {
        if self.is_counted_here() {
            let requests = self.entry.server.shared().requests();
            requests.move_to_address(&mut self.entry.place, address.ip());
        }
        self.entry.client_address = address;
        self.entry.is_corrected = true;
    }

    /// Counts the request for no address. A layer that will read the client's address later needs
    /// this: behind a proxy all connections come from one address, but the
    /// [limit per address](crate::Limits::max_connections_per_address) is for the clients.
    ///
    /// A layer calls this in [`get_request`](crate::BaseServer::get_request), before the server
    /// checks the limit. [`set_client_address`](Self::set_client_address) counts the request again.
    pub fn count_for_no_address(&mut self) {
        if self.is_counted_here() {
            let requests = self.entry.server.shared().requests();
            requests.move_to_address(&mut self.entry.place, None);
        }
    }

    /// Returns the values that layers keep with this request.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        &self.entry.extensions
    }

    /// Returns the values that layers keep with this request, to change them.
    #[must_use]
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.entry.extensions
    }

    /// Returns whether this process has the request in its table. A forked child has not, nor has a
    /// process that a handler has forked.
    fn is_counted_here(&self) -> bool {
        self.entry.forks == forks() && !self.shared().is_forked_child()
    }

    fn shared(&self) -> &Arc<Shared> {
        self.entry.server.shared()
    }

    /// When the request was accepted.
    pub(crate) fn accepted(&self) -> Instant {
        self.entry.accepted
    }

    /// Notes that the request is started now, if a layer wants to know.
    pub(crate) fn note_start(&mut self) {
        if self.shared().notes_start_times() {
            self.entry.started = Some(Instant::now());
        }
    }

    pub(crate) fn traffic(&self) -> &Traffic {
        match &self.entry.connection {
            Some(connection) => connection.traffic(),
            None => &self.entry.traffic,
        }
    }

    /// Returns the result of the last read of the connection, if there is a connection.
    pub(crate) fn reading(&self) -> Option<&Reading> {
        let connection = self.entry.connection.as_ref();
        connection.map(|connection| connection.reading())
    }

    /// Returns the limit that this request exceeds, if any.
    pub(crate) fn limit_exceeded(&self) -> Option<Refusal> {
        let settings = self.shared().settings();
        let requests = self.shared().requests();
        if settings.is_above_limit(requests.count().total()) {
            return Some(Refusal::TooManyConnections);
        }
        self.limit_per_address_exceeded()
    }

    /// Whether a layer has corrected the client's address.
    pub(crate) fn is_corrected(&self) -> bool {
        self.entry.is_corrected
    }

    /// Returns the limit per address, if this request exceeds it.
    pub(crate) fn limit_per_address_exceeded(&self) -> Option<Refusal> {
        if !self.shared().settings().limits_addresses() || !self.is_counted_here() {
            return None;
        }
        let count = self
            .shared()
            .requests()
            .rank_in_address(&self.entry.place)?;
        let settings = self.shared().settings();
        settings
            .is_above_limit_per_address(count)
            .then_some(Refusal::TooManyFromAddress)
    }

    /// Notes that the event `Accepted` is being emitted.
    pub(crate) fn announce(&mut self) {
        self.entry.announced = true;
    }

    /// Returns the reason of the refusal, if the request is refused.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        match self.entry.fate {
            Fate::Closed(Closed::Refused(why)) => Some(why),
            _ => None,
        }
    }

    /// Notes that the request is refused.
    pub(crate) fn refuse(&mut self, why: Refusal) {
        self.entry.fate = Fate::Closed(Closed::Refused(why));
    }

    /// Returns whether the server may send a message to the sender of a refused datagram.
    pub(crate) fn may_answer_refused(&self) -> bool {
        let refusals = self.shared().refusals();
        refusals.may_answer(self.client_address(), Instant::now())
    }

    /// Notes that the request ends without a handler, because the server is stopping.
    pub(crate) fn abort(&mut self) {
        self.entry.fate = Fate::Closed(Closed::Ended(Outcome::Aborted));
    }

    /// Notes that the request ends without a handler, because the server is stopping while a layer
    /// waits for bytes that have not arrived.
    pub(crate) fn abort_idle(&mut self) {
        self.abort();
        self.entry.was_idle = true;
    }

    /// Notes that the client has ended its side, or has broken the connection.
    pub(crate) fn note_client_left(&mut self, in_exchange: bool) {
        let before = self.entry.client_left.unwrap_or(false);
        self.entry.client_left = Some(before || in_exchange);
    }

    /// Returns whether the client had left in the middle of an exchange; `None` if the request has
    /// not seen that the client left.
    pub(crate) fn client_left(&self) -> Option<bool> {
        self.entry.client_left
    }

    /// Notes that the client has missed a deadline or timeout.
    pub(crate) fn note_late_client(&mut self) {
        self.entry.client_was_late = true;
    }

    /// Notes that the writing side of the connection has ended in good order: from now on the close
    /// of the connection may [linger](crate::Lingering).
    pub(crate) fn allow_lingering(&mut self) {
        self.entry.may_linger = true;
    }

    /// Notes the result of the handler, or of the step before it that failed.
    pub(crate) fn note_result(&mut self, result: Result<(), &HandlerError>) {
        let outcome = match result {
            Ok(()) => Outcome::Finished,
            Err(error) if error.is::<HandlerPanic>() => Outcome::Panicked,
            Err(_) if self.entry.client_was_late => Outcome::TimedOut,
            Err(_) => Outcome::Failed,
        };
        self.entry.fate = Fate::Closed(Closed::Ended(outcome));
    }

    /// Hands the request over to a forked child. This process drops its copy of the request, and
    /// keeps the returned value until the child has ended.
    pub(crate) fn hand_to_child(&mut self) -> RequestInChild {
        self.entry.fate = Fate::InChild;
        let shared = self.shared().clone();
        let ticket = shared.requests().hand_to_child(&mut self.entry.place);
        RequestInChild::new(
            shared,
            self.entry.client_address.clone(),
            self.entry.accepted,
            self.entry.started,
            ticket,
        )
    }

    /// Enters the wait for the client's next bytes. Returns false if the server is draining: then
    /// the caller must not wait.
    pub(crate) fn begin_wait(&self) -> bool {
        let lifecycle = self.shared().lifecycle();
        match &self.entry.connection {
            Some(connection) => connection.activity().begin_wait(lifecycle.draining()),
            None => !lifecycle.is_draining(),
        }
    }

    /// Leaves the wait.
    pub(crate) fn end_wait(&self) {
        if let Some(connection) = &self.entry.connection {
            connection.activity().end_wait();
        }
    }

    /// Whether the server, and not the client, ended the reading side.
    pub(crate) fn is_interrupted(&self) -> bool {
        let connection = self.entry.connection.as_ref();
        connection.is_some_and(|connection| connection.activity().is_interrupted())
    }

    /// Whether the server, and not the client, ended both sides.
    pub(crate) fn is_aborted(&self) -> bool {
        let connection = self.entry.connection.as_ref();
        connection.is_some_and(|connection| connection.activity().is_aborted())
    }

    /// Returns the value with which a signal handler begins the drain of this request.
    pub(crate) fn drain_notice(&self) -> DrainNotice {
        DrainNotice::new(self.shared().clone(), self.entry.connection.clone())
    }

    /// Ends the request: removes it from the table, counts it, and calls `emit` with the event of
    /// its end.
    ///
    /// The caller has dropped everything else of the request, so that the descriptor is closed when
    /// the request counts as ended.
    pub(crate) fn end(mut self, emit: impl FnMut(&Address, &RequestEvent)) {
        self.leave(emit);
    }

    fn leave(&mut self, mut emit: impl FnMut(&Address, &RequestEvent)) {
        self.entry.has_left = true;
        let ended = self.ended();
        if let Some(child) = self.shared().child()
            && let Some(ended) = &ended
        {
            child.report(ended);
        }
        if !self.is_counted_here() {
            // The drop of the place would lock a count of the parent's, and the parent counts the
            // request.
            std::mem::forget(std::mem::take(&mut self.entry.place));
            self.close_connection(ended.as_ref());
            return;
        }
        let is_in_child = self.entry.fate == Fate::InChild;
        if !is_in_child {
            let mut place = std::mem::take(&mut self.entry.place);
            self.shared().requests().leave(&mut place, self.traffic());
        }
        self.close_connection(ended.as_ref());
        let Entry {
            server,
            client_address,
            accepted,
            started,
            announced,
            ..
        } = &mut *self.entry;
        let shared = server.shared();
        if let Some(ended) = ended {
            let draining = shared.lifecycle().is_draining();
            shared.requests().count_end(&ended, draining);
            if !*announced {
                // A layer dropped the request before `get_request` returned.
                emit(client_address, &RequestEvent::Accepted);
            }
            emit(client_address, &ended.event(*accepted, *started));
        }
        let count = shared.requests().count();
        let wakes = match is_in_child {
            true => count.end_copy(),
            false => count.end(),
        };
        if wakes {
            shared.wake();
        }
    }

    /// Closes the descriptor, unless the connection lingers: this is the last owner of the
    /// connection.
    fn close_connection(&mut self, ended: Option<&Ended>) {
        let connection = self.entry.connection.take();
        if !self.entry.may_linger {
            return;
        }
        let in_any_case = match ended.map(|ended| ended.closed) {
            None | Some(Closed::Ended(Outcome::Aborted)) => return,
            // The handler has not read the client's later bytes.
            Some(Closed::Refused(_) | Closed::Ended(Outcome::Failed | Outcome::Panicked)) => true,
            Some(Closed::Ended(_)) => false,
        };
        if let Some(connection) = connection {
            self.shared().close_lingering(connection, in_any_case);
        }
    }

    /// The end of the request; `None` if a forked child serves it.
    fn ended(&self) -> Option<Ended> {
        let closed = match self.entry.fate {
            Fate::InChild => return None,
            Fate::Closed(Closed::Refused(why)) => Closed::Refused(why),
            _ if self.is_aborted() => Closed::Ended(Outcome::Aborted),
            Fate::Open => Closed::Ended(Outcome::Failed),
            Fate::Closed(closed) => closed,
        };
        let connection = self.entry.connection.as_ref();
        let was_interrupted = connection.is_some_and(|it| it.activity().was_idle());
        Some(Ended {
            closed,
            idle: self.entry.was_idle || was_interrupted,
            received: self.traffic().received(),
            sent: self.traffic().sent(),
        })
    }
}

/// Ends a request that was dropped without [`close_request`](crate::BaseServer::close_request).
impl Drop for RequestGuard {
    fn drop(&mut self) {
        if !self.entry.has_left {
            let shared = self.shared().clone();
            self.leave(|client, event| shared.emit(client, event));
        }
    }
}

/// The end of a request, as far as it is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Not decided: a request that ends now has failed.
    Open,
    Closed(Closed),
    /// A forked child serves the request, and this process has only a copy.
    InChild,
}
