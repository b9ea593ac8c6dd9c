//! The service: what a user writes.

use crate::requests::request::Request;
use crate::requests::stream_request::StreamRequest;
use crate::values::error::{HandlerResult, run_step};

/// A service, as one value per request.
///
/// The counterpart of `BaseRequestHandler`. `R` is what it serves: a [`StreamRequest`] (TCP and
/// Unix streams, the default) or a [`DatagramRequest`](crate::DatagramRequest). A struct may
/// implement both. It knows neither the transport nor the mix-in.
///
/// # The life of a handler
///
/// 1. The factory given to the server makes the value, in the thread or process that serves the
///    request.
/// 2. [`setup`](Self::setup) runs. If it fails, the request is over.
/// 3. [`handle`](Self::handle) runs, once.
/// 4. [`finish`](Self::finish) runs, also when `handle` failed or panicked.
/// 5. What was written and not yet sent is sent, and the value is dropped.
///
/// The first error of these steps goes to [`handle_error`](crate::BaseServer::handle_error), a
/// panic as a [`HandlerPanic`](crate::HandlerPanic). Then the connection is closed. The server goes
/// on in every case.
///
/// State that belongs to a connection is in the handler value and nowhere else; state that handlers
/// share is handed to them by the factory, which may be a closure.
///
/// ```
/// use std::io::Write;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use std::sync::Arc;
/// use socketserver::{HandlerResult, RequestHandler, StreamRequest, TcpServer};
///
/// /// Tells each client how many came before.
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
pub trait RequestHandler<R = StreamRequest>: Send {
    /// Runs before `handle`: the place for a timeout or buffer sizes.
    ///
    /// # Errors
    ///
    /// Any; neither `handle` nor `finish` runs then, as in Python.
    fn setup(&mut self, request: &mut R) -> HandlerResult {
        let _ = request;
        Ok(())
    }

    /// Serves the request.
    ///
    /// # Errors
    ///
    /// Any; `?` works on every error type.
    fn handle(&mut self, request: &mut R) -> HandlerResult;

    /// Runs after `handle`, however it ended.
    ///
    /// # Errors
    ///
    /// Any; where `handle` has failed as well, its error is the one reported.
    fn finish(&mut self, request: &mut R) -> HandlerResult {
        let _ = request;
        Ok(())
    }
}

/// Makes the handler of each request; any function or closure that returns one does.
///
/// Python's `RequestHandlerClass`, as far as it is called.
pub trait HandlerFactory<R>: Send + Sync + 'static {
    /// What it makes.
    type Handler: RequestHandler<R>;

    /// Makes a handler, for one request.
    fn make_handler(&self) -> Self::Handler;
}

impl<R, F, H> HandlerFactory<R> for F
where
    F: Fn() -> H + Send + Sync + 'static,
    H: RequestHandler<R>,
{
    type Handler = H;

    fn make_handler(&self) -> H {
        self()
    }
}

/// Runs a handler as the framework's own bottom layers do: steps 2 to 5 of a handler's life. For
/// the [`finish_request`](crate::BaseServer::finish_request) of a bottom layer of one's own.
///
/// `handle` runs once `setup` has succeeded, and `finish` after `handle`, also if that failed or
/// panicked. Then what was written and not yet sent is sent; the reply of a datagram only after
/// success, since half a reply is none.
///
/// # Errors
///
/// The first error of the steps; a panic as a [`HandlerPanic`](crate::HandlerPanic).
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

    /// A handler whose steps end as its fields order, and which writes down that they ran.
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
    fn a_panic_is_told_apart_from_an_error_and_says_what_it_said() {
        let (_, result) = run(Steps {
            handle: Some("panic"),
            ..Steps::default()
        });
        let error = result.unwrap_err();
        let panic = error.downcast_ref::<HandlerPanic>().unwrap();
        assert_eq!(panic.message(), "handle panicked");
    }
}
