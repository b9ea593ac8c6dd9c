//! The mix-in that reads the address of the real client behind a proxy.

mod error;
mod header;
mod parse;
mod proxied;
mod trusted;
mod version1;
mod version2;

use std::fmt;
use std::io::{self, BufRead, ErrorKind};
use std::time::Duration;

use crate::base_server::{BaseServer, Preparation};
use crate::mix_in::{MixIn, RequestOf};
use crate::requests::request::Request;
use crate::requests::stream_request::{Received, StreamRequest};
use crate::transport::get_request_error::GetRequestError;
use crate::values::address::Address;
use crate::values::cause::ends_connection;
use crate::values::deadlines::Deadlines;
use crate::values::error::HandlerError;
use proxied::Proxied;
use trusted::Trusted;

pub use error::ProxyHeaderError;
pub use header::{ProxyHeader, ProxySsl};
pub use trusted::{InvalidNetwork, TrustedNetwork, Untrusted};

/// The default time for a header: one retransmission of the proxy takes three seconds.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// The default greatest length of a header: the specification promises that such a header fits into
/// one segment.
const MAX_HEADER: usize = 536;

/// The greatest length that [`ProxyProtocolMixIn::max_header`] sets: the read buffer of a request.
const LARGEST_HEADER: usize = 8192;

/// Reads the address of the real client behind a proxy from the proxy's PROXY header, version 1 or
/// 2.
///
/// A connection from a [trusted](Self::trust) proxy begins with a header, which the layer reads
/// before the handler is made. Under a mix-in, a proxy that is slow with its header delays no other
/// connection. Under [`ReactorMixIn`](crate::ReactorMixIn), the wait for the header occupies no
/// thread. After the header
///
/// * [`client_address`](StreamRequest::client_address) is the client's, in the handler, in the log,
///   and for the [limit per address](crate::Limits::max_connections_per_address);
/// * [`proxy_address`](StreamRequest::proxy_address) is the proxy's, and
///   [`proxy_header`](StreamRequest::proxy_header) has the further statements of the proxy.
///
/// If a header is missing, broken, too long or late, its request fails, and no handler runs. A
/// connection from any other address is [refused](Self::untrusted). A new layer trusts no proxy.
///
/// The health checks of a proxy are not clients. A connection counts as a check if its header is
/// `LOCAL` or states the proxy's own address as the source. Over a Unix socket, a header without an
/// address counts as a check too. If the proxy sends nothing more, such a connection ends without a
/// handler and without an error. A trusted connection that ends before its first byte ends in the
/// same way. If the proxy sends more after such a header, a handler is made, with the connection's
/// own address. A handler that speaks first waits for these bytes.
///
/// # Order of the layers
///
/// The outer of two layers prepares the request first. If this layer is around a layer of
/// encryption, it reads the header before the encryption begins, as proxies send it. If it is
/// inside, the header is encrypted too.
///
/// [`verify_request`](BaseServer::verify_request) of the inner layers runs after the header, with
/// the client's address. A refusal then counts as [not prepared](crate::Refusal::NotPrepared).
/// `verify_request` of the outer layers runs before the header, with the proxy's address. The
/// events until the start of the handler have that address too.
///
/// Under [`ForkingMixIn`](crate::ForkingMixIn), whose children read the headers, the limit per
/// address does not bound the clients of a proxy. Python has no counterpart.
///
/// ```no_run
/// use socketserver::{ProxyProtocolMixIn, Serve, TcpServer, ThreadingMixIn};
/// # use socketserver::{HandlerResult, RequestHandler, StreamRequest};
/// # struct Echo;
/// # impl RequestHandler for Echo {
/// #     fn handle(&mut self, _: &mut StreamRequest) -> HandlerResult { Ok(()) }
/// # }
///
/// let server = TcpServer::new("0.0.0.0:9999", || Echo)
///     .mix_in(ThreadingMixIn::new)
///     .mix_in(ProxyProtocolMixIn::new)
///     .trust("10.0.0.0/8".parse()?)
///     .bind()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a layer does nothing until `bind` makes a server of the stack"]
pub struct ProxyProtocolMixIn<S: BaseServer<Request = StreamRequest>> {
    next: S,
    trusted: Trusted,
    untrusted: Untrusted,
    header_timeout: Option<Duration>,
    max_header: usize,
}

impl<S: BaseServer<Request = StreamRequest>> ProxyProtocolMixIn<S> {
    /// Puts the layer around `next`. The layer trusts no proxy yet.
    pub fn new(next: S) -> Self {
        Self {
            next,
            trusted: Trusted::default(),
            untrusted: Untrusted::default(),
            header_timeout: Some(HEADER_TIMEOUT),
            max_header: MAX_HEADER,
        }
    }

    /// Trusts the proxies of this network too. Every program that connects from there decides which
    /// address its client has.
    pub fn trust(mut self, network: TrustedNetwork) -> Self {
        self.trusted.networks.push(network);
        self
    }

    /// Trusts every program that connects over a Unix socket.
    pub fn trust_unix(mut self) -> Self {
        self.trusted.unix = true;
        self
    }

    /// Sets what happens to connections that are not trusted: [`Untrusted::Refuse`] unless set.
    pub fn untrusted(mut self, untrusted: Untrusted) -> Self {
        self.untrusted = untrusted;
        self
    }

    /// Bounds the time until the last byte of the header has arrived; five seconds unless set. For
    /// a health check, the bound holds until the first byte after the header. `None` means no
    /// bound. One retransmission may take three seconds, so a shorter time may refuse good proxies.
    ///
    /// [`Deadlines::prepare`] bounds the preparation of all layers; the shorter of the two counts.
    pub fn header_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.header_timeout = timeout;
        self
    }

    /// Sets the greatest length of a header of version 2, in bytes; 536 unless set, and at most
    /// 8192. A header of version 1 has at most 107 bytes.
    pub fn max_header(mut self, bytes: usize) -> Self {
        self.max_header = bytes.min(LARGEST_HEADER);
        self
    }

    /// The first stage of a request.
    fn begin(&self, request: &mut StreamRequest) -> Stage {
        if !self.trusted.includes(request.client_address()) {
            return match self.untrusted {
                Untrusted::Refuse => Stage::Refused,
                Untrusted::Pass => Stage::Prepared,
            };
        }
        let deadlines = request.deadlines();
        let of_all = deadlines.prepare();
        let own = self.header_timeout;
        let own = own.filter(|own| of_all.is_none_or(|of_all| *own < of_all));
        let after = own.map(|timeout| {
            request.set_deadlines(deadlines.with_prepare(timeout));
            deadlines
        });
        Stage::Header { after }
    }

    /// Goes on as far as the arrived bytes allow. Returns the stage at which more bytes are needed,
    /// or the last stage.
    fn advance(
        &self,
        request: &mut StreamRequest,
        mut stage: Stage,
    ) -> Result<Stage, HandlerError> {
        loop {
            stage = match stage {
                Stage::Header { after } => match self.take_header(request)? {
                    Taken::Header(header) => self.enter(request, header, after),
                    Taken::Incomplete => return Ok(stage),
                    Taken::Nothing => Stage::Finished,
                },
                Stage::OwnConnection { after } if !request.buffer().is_empty() => {
                    self.verify(request, after)
                }
                Stage::OwnConnection { .. } => match receive(request)? {
                    Received::Bytes(_) => stage,
                    Received::Nothing => return Ok(stage),
                    Received::End => Stage::Finished,
                },
                Stage::Refused | Stage::Finished | Stage::Prepared => return Ok(stage),
            };
        }
    }

    /// Takes the header out of the request's buffer.
    fn take_header(&self, request: &mut StreamRequest) -> Result<Taken, HandlerError> {
        loop {
            if let Some((header, length)) = parse::parse(request.buffer(), self.max_header)? {
                request.consume(length);
                return Ok(Taken::Header(header));
            }
            match receive(request)? {
                Received::Bytes(_) => {}
                Received::Nothing => return Ok(Taken::Incomplete),
                Received::End if request.buffer().is_empty() => return Ok(Taken::Nothing),
                Received::End => return Err(left().into()),
            }
        }
    }

    /// Notes the statements of the header.
    fn enter(
        &self,
        request: &mut StreamRequest,
        header: ProxyHeader,
        after: Option<Deadlines>,
    ) -> Stage {
        let proxy = request.client_address().clone();
        let is_own = match header.source() {
            Some(source) => is_same(source, &proxy),
            // A health check over a Unix socket cannot be recognised by its address.
            None => header.is_local() || proxy.ip().is_none(),
        };
        let client = header.source().unwrap_or(&proxy).clone();
        // Without a client's address, the request counts for the proxy's address again.
        request.set_client_address(client);
        request.extensions_mut().insert(Proxied { proxy, header });
        match is_own {
            true => Stage::OwnConnection { after },
            false => self.verify(request, after),
        }
    }

    /// Ends the time of the header, and calls `verify_request` of the inner layers with the client.
    fn verify(&self, request: &mut StreamRequest, after: Option<Deadlines>) -> Stage {
        if let Some(deadlines) = after {
            request.set_deadlines(deadlines);
        }
        match self.next.verify_request(request) {
            true => Stage::Prepared,
            false => Stage::Refused,
        }
    }
}

/// The progress of the preparation of a request, in the request's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The header is not complete. `after` are the deadlines to set after the header, if they
    /// differ.
    Header {
        after: Option<Deadlines>,
    },
    /// The proxy has no client behind this connection, and may send nothing more.
    OwnConnection {
        after: Option<Deadlines>,
    },
    Refused,
    Finished,
    /// The inner layers prepare the request, and its handler may run.
    Prepared,
}

enum Taken {
    Header(ProxyHeader),
    Incomplete,
    /// The connection has ended before its first byte.
    Nothing,
}

impl<S: BaseServer<Request = StreamRequest>> MixIn for ProxyProtocolMixIn<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.next
    }

    fn get_request(&self) -> Result<RequestOf<Self>, GetRequestError> {
        let mut request = self.next.get_request()?;
        if self.trusted.includes(request.client_address()) {
            // The limit per address is for single clients, and not for all clients of a proxy
            // together.
            request.guard_mut().count_for_no_address();
        }
        Ok(request)
    }

    fn verify_request(&self, request: &mut RequestOf<Self>) -> bool {
        if self.trusted.includes(request.client_address()) {
            // The inner layers decide when the client is known.
            return true;
        }
        match self.untrusted {
            Untrusted::Refuse => false,
            Untrusted::Pass => self.next.verify_request(request),
        }
    }

    fn prepare_request(&self, request: &mut RequestOf<Self>) -> Result<Preparation, HandlerError> {
        let stage = match request.extensions().get::<Stage>() {
            Some(&stage) => stage,
            None => self.begin(request),
        };
        let stage = self.advance(request, stage)?;
        request.extensions_mut().insert(stage);
        match stage {
            Stage::Header { .. } | Stage::OwnConnection { .. } => Ok(Preparation::NeedsMore),
            Stage::Refused => Ok(Preparation::Refused),
            Stage::Finished => Ok(Preparation::Finished),
            Stage::Prepared => self.next.prepare_request(request),
        }
    }
}

impl<S: BaseServer<Request = StreamRequest>> fmt::Debug for ProxyProtocolMixIn<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyProtocolMixIn")
            .field("trusted", &self.trusted)
            .field("untrusted", &self.untrusted)
            .field("header_timeout", &self.header_timeout)
            .field("max_header", &self.max_header)
            .finish_non_exhaustive()
    }
}

/// Receives without waiting. A reset before the first byte, or after the header, counts as an end,
/// because HAProxy ends a health check with a reset.
fn receive(request: &mut StreamRequest) -> io::Result<Received> {
    match request.receive_now() {
        Err(error)
            if request.buffer().is_empty()
                && ends_connection(&error)
                && !request.guard().is_interrupted() =>
        {
            Ok(Received::End)
        }
        received => received,
    }
}

fn is_same(one: &Address, other: &Address) -> bool {
    match (one.ip(), other.ip()) {
        (Some(one_ip), Some(other_ip)) => (one_ip, one.port()) == (other_ip, other.port()),
        _ => false,
    }
}

fn left() -> io::Error {
    io::Error::new(
        ErrorKind::UnexpectedEof,
        "the proxy has left before its PROXY header was complete",
    )
}
