//! A handler that shows its steps.

use std::any::type_name;
use std::cell::RefCell;
use std::fmt;

use super::tracer::{Call, Tracer};
use super::{client_of, error_of, short_name};
use crate::request_handler::RequestHandler;
use crate::requests::datagram_request::DatagramRequest;
use crate::requests::kept_handler::Exchanges;
use crate::requests::request::Request;
use crate::requests::stream_request::StreamRequest;
use crate::values::error::HandlerResult;

/// A handler around another, which shows each step: `setup`, `handle`, `finish`, and under a
/// reactor every exchange.
///
/// The factory of a server whose layers a [`TraceMixIn`](crate::TraceMixIn) shows makes such
/// handlers. Python's counterpart is `sys.setprofile`.
///
/// ```
/// use socketserver::{TcpServer, TraceHandler};
/// # use socketserver::{HandlerResult, RequestHandler, StreamRequest};
/// # struct Upper;
/// # impl RequestHandler for Upper {
/// #     fn handle(&mut self, _: &mut StreamRequest) -> HandlerResult { Ok(()) }
/// # }
///
/// let server = TcpServer::new("127.0.0.1:0", || TraceHandler::new(Upper));
/// ```
#[must_use = "a handler does nothing until a server or a mock runs it"]
pub struct TraceHandler<H> {
    /// A cell, because the exchanges of a handler are reached through an exclusive reference.
    handler: RefCell<H>,
    name: String,
    tracer: Tracer,
}

impl<H> TraceHandler<H> {
    /// Shows the steps of `handler`, on standard error.
    pub fn new(handler: H) -> Self {
        Self {
            handler: RefCell::new(handler),
            name: short_name(type_name::<H>()),
            tracer: Tracer::default(),
        }
    }

    /// Shows the steps with a tracer of your own.
    pub fn tracer(mut self, tracer: &Tracer) -> Self {
        self.tracer = tracer.clone();
        self
    }

    /// Sets the name of the handler in the lines; unless set, the name is that of its type.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    fn step<R: Request>(
        &mut self,
        step: &'static str,
        request: &mut R,
        run: impl FnOnce(&mut H, &mut R) -> HandlerResult,
    ) -> HandlerResult {
        let client = || client_of(request);
        let call = Call::begin(Some(&self.tracer), &self.name, step, client);
        call.returns(run(self.handler.get_mut(), request), error_of)
    }
}

impl<H: RequestHandler> RequestHandler for TraceHandler<H> {
    fn setup(&mut self, request: &mut StreamRequest) -> HandlerResult {
        self.step("setup", request, H::setup)
    }

    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        self.step("handle", request, H::handle)
    }

    fn finish(&mut self, request: &mut StreamRequest) -> HandlerResult {
        self.step("finish", request, H::finish)
    }

    fn single_exchanges(&mut self) -> Option<&mut dyn Exchanges<StreamRequest>> {
        let has_exchanges = self.handler.get_mut().single_exchanges().is_some();
        has_exchanges.then_some(self as _)
    }
}

impl<H: RequestHandler> Exchanges<StreamRequest> for TraceHandler<H> {
    fn is_complete(&self, unread: &[u8]) -> bool {
        let bytes = || format!("{} bytes", unread.len());
        let call = Call::begin(Some(&self.tracer), &self.name, "is_complete", bytes);
        let mut handler = self.handler.borrow_mut();
        let exchanges = handler.single_exchanges();
        let is_complete = exchanges.is_none_or(|it| it.is_complete(unread));
        call.returns(is_complete, bool::to_string)
    }

    fn exchange(&mut self, request: &mut StreamRequest) -> HandlerResult {
        self.step("exchange", request, |handler, request| {
            match handler.single_exchanges() {
                Some(exchanges) => exchanges.exchange(request),
                None => handler.handle(request),
            }
        })
    }
}

impl<H: RequestHandler<DatagramRequest>> RequestHandler<DatagramRequest> for TraceHandler<H> {
    fn setup(&mut self, request: &mut DatagramRequest) -> HandlerResult {
        self.step("setup", request, H::setup)
    }

    fn handle(&mut self, request: &mut DatagramRequest) -> HandlerResult {
        self.step("handle", request, H::handle)
    }

    fn finish(&mut self, request: &mut DatagramRequest) -> HandlerResult {
        self.step("finish", request, H::finish)
    }
}

impl<H: fmt::Debug> fmt::Debug for TraceHandler<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TraceHandler")
            .field("handler", &self.handler)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
