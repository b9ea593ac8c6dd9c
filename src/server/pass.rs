//! One pass of the loop: the next request, and its first steps.

use std::io;
use std::sync::Arc;

use crate::base_server::{BaseServer, guarded};
use crate::requests::request::Request;
use crate::running::request_log::log_failed_layer;
use crate::running::shared::Shared;
use crate::support::log::{Level, log_line};
use crate::transport::get_request_error::GetRequestError;
use crate::values::address::Address;
use crate::values::error::{Error, HandlerPanic, catch_panic};
use crate::values::request_event::{Refusal, RequestEvent};

/// One pass of the loop over these layers, without the waits between two passes. The loop makes the
/// passes, or a mix-in that [accepts](crate::running::acceptor::Acceptor) in its place. Only one
/// thread at a time makes a pass.
pub(crate) struct Pass<'a, S> {
    top: &'a Arc<S>,
}

impl<'a, S: BaseServer> Pass<'a, S> {
    pub(crate) fn new(top: &'a Arc<S>) -> Self {
        Self { top }
    }

    fn shared(&self) -> &Shared {
        self.top.layer_handle().shared()
    }

    fn server_address(&self) -> Address {
        self.top.layer_handle().server().server_address()
    }

    /// Gets the next request, unless a layer is not ready or a limit is reached.
    #[doc(alias = "_handle_request_noblock")]
    pub(crate) fn next_request(&self) -> Result<Next<S::Request>, Error> {
        let shared = self.shared();
        let is_ready = match catch_panic(|| self.top.is_ready()) {
            Ok(is_ready) => is_ready,
            Err(panic) => return Ok(self.panicked("is_ready", &panic)),
        };
        if !is_ready {
            return Ok(Next::Wait(Reason::NotReady));
        }
        let running = shared.requests().count().total();
        let lifecycle = shared.lifecycle();
        // A datagram server still serves the datagrams that it has received already.
        let accepts =
            !lifecycle.is_suspended() && (!lifecycle.is_handed_over() || shared.serves_datagrams());
        if !accepts || shared.settings().is_at_limit(running) {
            return Ok(Next::Wait(Reason::AtLimit));
        }
        self.get_request()
    }

    /// Gets the next request.
    pub(super) fn get_request(&self) -> Result<Next<S::Request>, Error> {
        match catch_panic(|| self.top.get_request()) {
            Ok(Ok(request)) => Ok(Next::Request(request)),
            Ok(Err(error)) => Ok(Next::Wait(self.reason(error)?)),
            Err(panic) => Ok(self.panicked("get_request", &panic)),
        }
    }

    fn panicked(&self, hook: &str, panic: &HandlerPanic) -> Next<S::Request> {
        let address = self.server_address();
        log_line!(Level::Error, "{address}: {hook} {panic}");
        Next::Wait(Reason::Exhausted(None))
    }

    /// Converts an error of `get_request` into the reason to wait.
    fn reason(&self, error: GetRequestError) -> Result<Reason, Error> {
        if let GetRequestError::Retry(error) | GetRequestError::Exhausted(error) = &error
            && is_of_a_layer(error)
        {
            log_failed_layer(self.top.layer_handle().server(), error);
        }
        match error {
            GetRequestError::Empty => Ok(Reason::NoClient),
            GetRequestError::Retry(error) => {
                let address = self.server_address();
                log_line!(
                    Level::Debug,
                    "{address}: a request was lost before it was accepted: {error}"
                );
                Ok(Reason::Lost)
            }
            GetRequestError::Exhausted(error) => {
                let unlogged = (!is_of_a_layer(&error)).then_some(error);
                Ok(Reason::Exhausted(unlogged))
            }
            GetRequestError::Broken(source) => Err(Error::GetRequest {
                address: self.server_address(),
                source,
            }),
        }
    }

    /// Serves or refuses a request.
    pub(crate) fn dispatch(&self, mut request: S::Request) {
        let top = guarded(self.top);
        request.guard_mut().announce();
        top.observe(request.client_address(), &RequestEvent::Accepted);
        if let Some(why) = request.guard().refusal() {
            // The bottom layer has refused the request, without a message.
            return self.refuse(request, why);
        }
        if let Some(why) = request.guard().limit_exceeded() {
            top.refuse(&mut request, &self.shared().settings().refusal());
            return self.refuse(request, why);
        }
        match catch_panic(|| self.top.verify_request(&mut request)) {
            Ok(true) => top.process_request(request),
            Ok(false) => {
                // Sends the bytes that the hook has written.
                top.refuse(&mut request, &[]);
                self.refuse(request, Refusal::NotVerified);
            }
            Err(panic) => {
                let error = panic.into();
                request.guard_mut().note_result(Err(&error));
                top.handle_error(&mut request, &error);
                top.shutdown_request(request);
            }
        }
    }

    pub(super) fn refuse(&self, mut request: S::Request, why: Refusal) {
        request.guard_mut().refuse(why);
        guarded(self.top).shutdown_request(request);
    }
}

/// Whether a layer, and not the operating system, has made this error of `get_request`.
fn is_of_a_layer(error: &io::Error) -> bool {
    error.raw_os_error().is_none() && error.kind() != io::ErrorKind::Interrupted
}

/// The task of one pass of the loop.
pub(crate) enum Next<R> {
    /// Serve the request.
    Request(R),
    /// Wait for the reason to pass.
    Wait(Reason),
}

/// The reason why a pass has no request, and so the event that the loop waits for.
#[derive(Debug)]
pub(crate) enum Reason {
    /// No client has come. The loop waits until the socket is readable.
    NoClient,
    /// A request was lost. The loop does not wait.
    Lost,
    /// The number of running requests has reached a limit, or accepting is suspended. The loop
    /// waits for a wake: a request ends, the limits change, or `resume` is called.
    AtLimit,
    /// A layer is not ready. The loop waits for the layer's wake.
    NotReady,
    /// The system has no descriptor or memory. The loop pauses. `None` if the cause was a panic or
    /// an error of a layer, which is logged already.
    Exhausted(Option<io::Error>),
}
