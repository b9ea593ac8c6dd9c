//! The service, which a user writes: handlers and their factory.

use std::fmt;
use std::sync::Arc;

use crate::requests::datagram_request::DatagramRequest;
use crate::requests::kept_handler::Exchanges;
use crate::requests::request::Request;
use crate::requests::stream_request::StreamRequest;
use crate::values::error::{HandlerResult, run_step};

/// A handler: a value that serves one request.
///
/// The counterpart of `BaseRequestHandler`. `R` is the type of request: [`StreamRequest`] (TCP and
/// Unix streams, the default) or [`DatagramRequest`](crate::DatagramRequest). A struct may
/// implement the trait for both. A handler knows neither the transport nor the mix-in.
///
/// # The life of a handler
///
/// 1. The server's [factory](HandlerFactory) makes the value, in the thread or process that serves
///    the request.
/// 2. [`setup`](Self::setup) runs. If it fails, the request is over.
/// 3. [`handle`](Self::handle) runs, once.
/// 4. [`finish`](Self::finish) runs, even if `handle` failed or panicked.
/// 5. Written bytes that are still unsent are sent, and the value is dropped.
///
/// The first error of these steps goes to [`handle_error`](crate::BaseServer::handle_error). A
/// panic counts as an error too, as [`HandlerPanic`](crate::HandlerPanic). Then the connection is
/// closed, and the server goes on.
///
/// The state of a connection is in the handler. The state that handlers share is in the factory,
/// which may be a closure, and which passes it to each handler.
///
/// ```
/// use std::io::Write;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use std::sync::Arc;
/// use socketserver::{HandlerResult, RequestHandler, StreamRequest, TcpServer};
///
/// /// Sends each client the number of earlier visits.
/// struct Visits(Arc<AtomicU64>);
///
/// impl RequestHandler for Visits {
///     fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
///         writeln!(request, "{}", self.0.fetch_add(1, Ordering::Relaxed))?;
///         Ok(())
///     }
/// }
///
/// let visits = Arc::new(AtomicU64::new(0));
/// let server = TcpServer::new("127.0.0.1:0", move || Visits(visits.clone()));
/// ```
#[doc(alias = "BaseRequestHandler")]
#[doc(alias = "RequestHandlerClass")]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler of a `{R}`",
    label = "this needs a handler of a `{R}`",
    note = "a handler of streams implements `RequestHandler`, and a handler of datagrams \
            implements `RequestHandler<DatagramRequest>`"
)]
pub trait RequestHandler<R = StreamRequest>: Send {
    /// Runs before `handle`. An override may set a timeout or buffer sizes, or send a greeting.
    ///
    /// # Errors
    ///
    /// Any error. After an error neither `handle` nor `finish` runs, as in Python.
    fn setup(&mut self, request: &mut R) -> HandlerResult {
        let _ = request;
        Ok(())
    }

    /// Serves the request.
    ///
    /// # Errors
    ///
    /// Any error, since `?` converts every error type.
    fn handle(&mut self, request: &mut R) -> HandlerResult;

    /// Runs after `handle`, even if `handle` failed or panicked.
    ///
    /// # Errors
    ///
    /// Any error. If `handle` has failed too, only the error of `handle` is reported.
    fn finish(&mut self, request: &mut R) -> HandlerResult {
        let _ = request;
        Ok(())
    }

    /// The handler whose exchanges a reactor calls one by one; `None` for a handler whose
    /// conversation is one call of `handle`.
    #[doc(hidden)]
    fn single_exchanges(&mut self) -> Option<&mut dyn Exchanges<R>> {
        None
    }
}

/// Makes the handler of each request: Python's `RequestHandlerClass`, which the server calls to
/// make a handler. Every function and closure that returns a handler is a factory, and so is the
/// result of [`handler_fn`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not make handlers of a `{R}`",
    label = "this needs a factory of handlers of a `{R}`",
    note = "a factory is a function or closure without arguments that returns a handler, such as \
            `|| Upper` or `Upper::default`",
    note = "a closure that serves the request itself is `handler_fn(|request| …)`, or \
            `datagram_handler_fn(|request| …)` for datagrams"
)]
pub trait HandlerFactory<R>: Send + Sync + 'static {
    /// The type of the handlers.
    type Handler: RequestHandler<R> + 'static;

    /// Makes a handler, for one request.
    fn make_handler(&self) -> Self::Handler;
}

impl<R, F, H> HandlerFactory<R> for F
where
    F: Fn() -> H + Send + Sync + 'static,
    H: RequestHandler<R> + 'static,
{
    type Handler = H;

    fn make_handler(&self) -> H {
        self()
    }
}

/// Makes a handler out of a function: the closure is [`handle`](RequestHandler::handle), and
/// `setup` and `finish` do nothing.
///
/// The result is a handler, for a mock, and a [factory](HandlerFactory), for a server. All requests
/// share one closure, and so its captured values. A value that changes needs a lock or an atomic,
/// but no `Arc`.
///
/// [`datagram_handler_fn`] does the same for datagrams. There are two functions because the
/// compiler has to know the request's type when it reads the closure. In Python, a function cannot
/// be a handler.
///
/// ```
/// use std::io::Write;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use socketserver::{ThreadingTcpServer, handler_fn};
///
/// let visits = AtomicU64::new(0);
/// let visits = handler_fn(move |request| {
///     writeln!(request, "{}", visits.fetch_add(1, Ordering::Relaxed))?;
///     Ok(())
/// });
/// let server = ThreadingTcpServer::bind("127.0.0.1:0", visits)?;
/// # Ok::<(), socketserver::Error>(())
/// ```
pub fn handler_fn<F>(handle: F) -> HandlerFn<F>
where
    F: Fn(&mut StreamRequest) -> HandlerResult + Send + Sync + 'static,
{
    HandlerFn(Arc::new(handle))
}

/// Makes a handler of datagrams out of a function, as [`handler_fn`] does for streams.
///
/// ```
/// use std::io::Write;
/// use socketserver::{ThreadingUdpServer, datagram_handler_fn};
///
/// let length = datagram_handler_fn(|request| {
///     let length = request.packet().len();
///     Ok(write!(request, "{length}")?)
/// });
/// let server = ThreadingUdpServer::bind("127.0.0.1:0", length)?;
/// # Ok::<(), socketserver::Error>(())
/// ```
pub fn datagram_handler_fn<F>(handle: F) -> HandlerFn<F>
where
    F: Fn(&mut DatagramRequest) -> HandlerResult + Send + Sync + 'static,
{
    HandlerFn(Arc::new(handle))
}

/// A function as a handler, and as the factory of that handler: the result of [`handler_fn`] and
/// [`datagram_handler_fn`]. In Python, a function cannot be a handler.
#[must_use = "a handler does nothing until a server or a mock runs it"]
pub struct HandlerFn<F>(Arc<F>);

impl<F> HandlerFn<F> {
    pub(crate) fn call<R>(&self, request: &mut R) -> HandlerResult
    where
        F: Fn(&mut R) -> HandlerResult,
    {
        (self.0)(request)
    }
}

impl<R, F> HandlerFactory<R> for HandlerFn<F>
where
    R: Request,
    F: Fn(&mut R) -> HandlerResult + Send + Sync + 'static,
{
    type Handler = Self;

    fn make_handler(&self) -> Self {
        self.clone()
    }
}

impl<F> Clone for HandlerFn<F> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<F> fmt::Debug for HandlerFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerFn").finish_non_exhaustive()
    }
}

/// Runs steps 2 to 5 of a [handler's life](RequestHandler). A bottom layer of your own calls this
/// function in its [`finish_request`](crate::BaseServer::finish_request), as the framework's bottom
/// layers do.
///
/// `handle` runs if `setup` has succeeded, and `finish` runs after `handle`, even if `handle`
/// failed or panicked. Then the unsent bytes of a stream are sent. The reply of a datagram is sent
/// only after success, since a client cannot use an incomplete reply.
///
/// # Errors
///
/// The first error of the steps; a panic is a [`HandlerPanic`](crate::HandlerPanic).
pub fn run_handler<R: Request>(
    handler: &mut impl RequestHandler<R>,
    request: &mut R,
) -> HandlerResult {
    let handled = run_steps(handler, request);
    let sent = request.send_rest(handled.is_ok());
    handled.and(sent.map_err(Into::into))
}

fn run_steps<R>(handler: &mut impl RequestHandler<R>, request: &mut R) -> HandlerResult {
    run_step(|| handler.setup(request))?;
    let handled = run_step(|| handler.handle(request));
    let finished = run_step(|| handler.finish(request));
    handled.and(finished)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::values::error::HandlerPanic;

    /// A handler whose steps end as its fields prescribe, and which records the steps that ran.
    #[derive(Default)]
    struct Steps {
        setup: Option<&'static str>,
        handle: Option<&'static str>,
        finish: Option<&'static str>,
    }

    fn step(ran: &mut Vec<&'static str>, name: &'static str, end: Option<&str>) -> HandlerResult {
        ran.push(name);
        match end {
            Some("panic") => panic!("{name} panicked"),
            Some(_) => Err(format!("{name} failed").into()),
            None => Ok(()),
        }
    }

    impl RequestHandler<Vec<&'static str>> for Steps {
        fn setup(&mut self, ran: &mut Vec<&'static str>) -> HandlerResult {
            step(ran, "setup", self.setup)
        }

        fn handle(&mut self, ran: &mut Vec<&'static str>) -> HandlerResult {
            step(ran, "handle", self.handle)
        }

        fn finish(&mut self, ran: &mut Vec<&'static str>) -> HandlerResult {
            step(ran, "finish", self.finish)
        }
    }

    fn run(mut steps: Steps) -> (Vec<&'static str>, HandlerResult) {
        let mut ran = Vec::new();
        let result = run_steps(&mut steps, &mut ran);
        (ran, result)
    }

    #[test]
    fn the_steps_run_in_order() {
        let (ran, result) = run(Steps::default());
        assert_eq!(ran, ["setup", "handle", "finish"]);
        assert!(result.is_ok());
    }

    #[test]
    fn after_a_failed_setup_nothing_runs() {
        for end in ["fail", "panic"] {
            let (ran, result) = run(Steps {
                setup: Some(end),
                ..Steps::default()
            });
            assert_eq!(ran, ["setup"]);
            assert!(result.unwrap_err().to_string().contains("setup"));
        }
    }

    #[test]
    fn finish_runs_after_a_failed_or_panicked_handle_whose_error_is_reported() {
        for end in ["fail", "panic"] {
            let steps = Steps {
                handle: Some(end),
                finish: Some("fail"),
                ..Steps::default()
            };
            let (ran, result) = run(steps);
            assert_eq!(ran, ["setup", "handle", "finish"]);
            assert!(result.unwrap_err().to_string().contains("handle"));
        }
    }

    #[test]
    fn a_failed_or_panicked_finish_is_an_error_of_the_request() {
        for end in ["fail", "panic"] {
            let (_, result) = run(Steps {
                finish: Some(end),
                ..Steps::default()
            });
            assert!(result.unwrap_err().to_string().contains("finish"));
        }
    }

    #[test]
    fn a_panic_is_an_error_of_its_own_type_with_the_message_of_the_panic() {
        let (_, result) = run(Steps {
            handle: Some("panic"),
            ..Steps::default()
        });
        let error = result.unwrap_err();
        let panic = error.downcast_ref::<HandlerPanic>().unwrap();
        assert_eq!(panic.message(), "handle panicked");
    }
}
