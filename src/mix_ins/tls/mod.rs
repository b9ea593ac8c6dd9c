//! The mix-in that encrypts connections.

mod certificates;
mod client_verifier;
mod config;
mod error;
mod expiry;
mod handshake;
mod provider;
mod session;
mod start_tls;
mod stream;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;

use crate::base_server::{BaseServer, Preparation, name_of};
use crate::mix_in::{MixIn, RequestOf};
use crate::requests::stream_request::StreamRequest;
use crate::running::request_log::log_recurring;
use crate::support::log::Level;
use crate::transport::get_request_error::GetRequestError;
use crate::values::deadlines::Deadlines;
use crate::values::error::{HandlerError, WithCauses};
use crate::values::request_event::HandshakeResult;
use handshake::{Handshake, Step};

pub use config::{TlsConfig, TlsOptions, TlsStatistics};
pub use error::{HandshakeError, TlsError};
pub use session::TlsSession;

/// The default time that a client has for its handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Encrypts the connections with TLS 1.2 or 1.3.
///
/// The handshake runs where the request is served, and never in the loop. So, under a mix-in, a
/// client that connects and is silent delays no other client. Under
/// [`ReactorMixIn`](crate::ReactorMixIn), a client in its handshake occupies no thread. The
/// handshake has a [deadline of its own](Self::handshake_timeout). A handler reads and writes as
/// without encryption, and finds the agreed parameters in
/// [`tls_session`](crate::StreamRequest::tls_session).
///
/// The layer may be on either side of the mix-in that serves the requests. A layer that reads bytes
/// before the encryption begins, such as `ProxyProtocolMixIn`, is put around this layer. If a stack
/// has two `TlsMixIn`, the outer one encrypts.
///
/// If a client is refused before its handshake, because of a [limit](crate::Limits) or by
/// [`verify_request`](crate::BaseServer::verify_request), its connection is closed without the
/// limits' message, which the client could not read.
///
/// Python's counterpart is a listening socket that `ssl.SSLContext.wrap_socket` has wrapped. There
/// the handshake runs in `accept`, so that one silent client stops the whole server.
///
/// ```no_run
/// use socketserver::{Serve, TcpServer, ThreadingMixIn, TlsMixIn, TlsOptions};
/// # use socketserver::{HandlerResult, RequestHandler, StreamRequest};
/// # struct Echo;
/// # impl RequestHandler for Echo {
/// #     fn handle(&mut self, _: &mut StreamRequest) -> HandlerResult { Ok(()) }
/// # }
///
/// let tls = TlsOptions::new("certificate.pem", "key.pem").load()?;
/// let server = TcpServer::new("0.0.0.0:9999", || Echo)
///     .mix_in(ThreadingMixIn::new)
///     .mix_in(|next| TlsMixIn::new(next, tls.clone()))
///     .bind()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a layer does nothing until `bind` makes a server of the stack"]
#[doc(alias = "wrap_socket")]
#[doc(alias = "SSLContext")]
pub struct TlsMixIn<S: BaseServer<Request = StreamRequest>> {
    next: S,
    config: TlsConfig,
    handshake_timeout: Option<Duration>,
}

impl<S: BaseServer<Request = StreamRequest>> TlsMixIn<S> {
    /// Encrypts the connections of `next`. All clones of `config` share the configuration, so
    /// [`TlsConfig::reload`] has an effect on the clients that connect later.
    pub fn new(next: S, config: TlsConfig) -> Self {
        Self {
            next,
            config,
            handshake_timeout: Some(HANDSHAKE_TIMEOUT),
        }
    }

    /// Bounds the time from the beginning of the handshake to its end; ten seconds unless set. With
    /// `None`, only the deadlines of the connection bound the time.
    ///
    /// If [`Deadlines::prepare`](crate::Deadlines::prepare), which bounds the preparation of all
    /// layers, is shorter, it is in force instead. At the end of the time the client's request
    /// fails with [`DeadlineExceeded::Prepare`](crate::DeadlineExceeded::Prepare).
    pub fn handshake_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// Makes the present step of the request's handshake. The first call begins the handshake.
    fn step(&self, request: &mut StreamRequest) -> Result<Step, HandlerError> {
        let mut handshake = match request.extensions_mut().remove::<UnderWay>() {
            Some(UnderWay(handshake)) => handshake,
            None => {
                let before = self.bound(request);
                let chosen = request.extensions_mut().remove();
                let config = chosen.map_or_else(|| self.config.current(), |Chosen(it)| it);
                Handshake::begin(config, before)?
            }
        };
        let step = handshake.step(request);
        match step {
            Ok(Step::NeedsMore) => {
                request.extensions_mut().insert(UnderWay(handshake));
            }
            Ok(Step::Complete) => {
                let result = handshake.result();
                if let Some(deadlines) = handshake.deadlines_after() {
                    request.set_deadlines(deadlines);
                }
                self.note(request, result, &handshake);
                handshake.install(request);
            }
            Err(ref error) => {
                self.note(request, handshake::result_of(error), &handshake);
            }
        }
        step
    }

    /// Bounds the time of the handshake. Returns the deadlines to set again after it, if they
    /// differ.
    fn bound(&self, request: &mut StreamRequest) -> Option<Deadlines> {
        let deadlines = request.deadlines();
        let timeout = self.handshake_timeout?;
        if deadlines.prepare().is_some_and(|all| all <= timeout) {
            return None;
        }
        request.set_deadlines(deadlines.with_prepare(timeout));
        Some(deadlines)
    }

    /// Counts the end of a handshake, and emits its event.
    fn note(&self, request: &StreamRequest, result: HandshakeResult, handshake: &Handshake) {
        self.config.count(result);
        handshake.emit_end(request, result);
    }
}

/// The handshake of a request, between two calls of `prepare_request`.
struct UnderWay(Handshake);

/// The configuration of a request's handshake, which is chosen at the accept.
struct Chosen(Arc<ServerConfig>);

impl<S: BaseServer<Request = StreamRequest>> MixIn for TlsMixIn<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.next
    }

    fn get_request(&self) -> Result<RequestOf<Self>, GetRequestError> {
        // The loop's process replaces the keys, and its forked children inherit them. A child does
        // not read the present configuration itself: a thread that the child does not have may hold
        // the lock.
        self.config.roll_ticket_keys();
        let mut request = self.next.get_request()?;
        let chosen = Chosen(self.config.current());
        request.extensions_mut().insert(chosen);
        request.refuse_silently(true);
        Ok(request)
    }

    fn prepare_request(&self, request: &mut RequestOf<Self>) -> Result<Preparation, HandlerError> {
        if request.tls_session().is_none() {
            match self.step(request)? {
                Step::NeedsMore => return Ok(Preparation::NeedsMore),
                Step::Complete => {}
            }
        }
        self.next.prepare_request(request)
    }

    /// A client that does not speak TLS, or does not agree, is not a fault of the server.
    fn handle_error(&self, request: &mut RequestOf<Self>, error: &HandlerError) {
        if HandshakeError::find_in(&**error).is_some() {
            log_recurring(Level::Warn, &name_of(&*request), &WithCauses(&**error));
        } else {
            self.next.handle_error(request, error);
        }
    }

    fn shutdown_request<T>(&self, top: &Arc<T>, mut request: RequestOf<Self>)
    where
        T: BaseServer<Request = RequestOf<Self>>,
    {
        if let Some(UnderWay(handshake)) = request.extensions_mut().remove() {
            // The client was silent for too long, or has left, or the server stops.
            self.note(&request, HandshakeResult::Abandoned, &handshake);
        }
        self.next.shutdown_request(top, request);
    }
}

impl<S: BaseServer<Request = StreamRequest>> fmt::Debug for TlsMixIn<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsMixIn")
            .field("config", &self.config)
            .field("handshake_timeout", &self.handshake_timeout)
            .finish_non_exhaustive()
    }
}
