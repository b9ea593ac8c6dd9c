//! The service as single exchanges: a handler whose communication loop is the framework's.

use crate::request_handler::{HandlerFactory, HandlerFn, RequestHandler, run_handler};
use crate::requests::kept_handler::{Exchanges, KeptHandler};
use crate::requests::request::Request;
use crate::requests::stream_request::StreamRequest;
use crate::transport::waits::blocking;
use crate::values::error::{HandlerResult, run_step};

/// A handler that serves one message at a time, and leaves the communication loop to the framework.
///
/// Every `ExchangeHandler` is a [`RequestHandler`], so every mix-in and every mock can run it.
/// Under [`ReactorMixIn`](crate::ReactorMixIn), a connection whose client is silent costs less than
/// a kilobyte and no thread. Under the other mix-ins the framework runs the loop that a
/// `RequestHandler` writes itself: `while request.wait()? { … }`.
///
/// # The life of a handler
///
/// 1. The server's [factory](HandlerFactory) makes the value.
/// 2. [`setup`](Self::setup) runs, before the client has sent anything. If it fails, the request is
///    over.
/// 3. [`exchange`](Self::exchange) runs when the received bytes contain a message, which
///    [`is_complete`](Self::is_complete) decides. The method reads the message and writes the
///    answer. Step 3 is repeated for every message.
/// 4. [`finish`](Self::finish) runs when the client has ended its side, when
///    [`close_connection`][close] was called, when an exchange has failed or panicked, or when the
///    server stops.
/// 5. Written bytes that are still unsent are sent, and the value is dropped.
///
/// A client that sends three messages causes the calls `setup`, `exchange`, `exchange`, `exchange`,
/// `finish`. A client that leaves without having sent a byte causes the calls `setup`, `finish`. If
/// the client leaves in the middle of a message, `exchange` runs for the incomplete message, and
/// its read fails.
///
/// # Between two exchanges
///
/// * All state of the conversation is in the value. The local variables of an exchange end with it.
/// * One thread at a time calls the value, and each call sees what the calls before have done.
///   Under a reactor the next exchange may run in another thread, so thread-local values are not
///   kept.
/// * Bytes that an exchange has not read stay unread, and begin the next message.
/// * Written bytes are sent before the server waits for the client again.
///
/// An exchange may read more, sleep, or ask a database: a reactor starts another thread in place of
/// a thread that waits. See [`blocking`](crate::blocking()).
///
/// Python's counterpart is `handle_one_request` of `http.server.BaseHTTPRequestHandler`. The method
/// `handle` of that class calls it in a loop until `close_connection` is true.
///
/// ```
/// use std::io::Write;
/// use socketserver::{ExchangeHandler, HandlerResult, ReactorTcpServer, StreamRequest};
///
/// /// Counts the lines of each client.
/// #[derive(Default)]
/// struct Count {
///     lines: u64,
/// }
///
/// impl ExchangeHandler for Count {
///     fn is_complete(&self, unread: &[u8]) -> bool {
///         unread.contains(&b'\n')
///     }
///
///     fn exchange(&mut self, request: &mut StreamRequest) -> HandlerResult {
///         if request.next_line(1000)?.is_some() {
///             self.lines += 1;
///             writeln!(request, "{}", self.lines)?;
///         }
///         Ok(())
///     }
/// }
///
/// let server = ReactorTcpServer::bind("127.0.0.1:0", Count::default)?;
/// # use socketserver::mock::MockStream;
/// # let recording = MockStream::new().chunk("a\nb").chunk("c\n").run(Count::default());
/// # assert_eq!(recording.written(), b"1\n2\n");
/// # Ok::<(), socketserver::Error>(())
/// ```
///
/// [close]: StreamRequest::close_connection
#[doc(alias = "handle_one_request")]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler of a `{R}`",
    label = "this needs a handler of a `{R}`",
    note = "a handler of streams implements `RequestHandler` or `ExchangeHandler`, and a handler \
            of datagrams implements `RequestHandler<DatagramRequest>`"
)]
pub trait ExchangeHandler<R = StreamRequest>: Send {
    /// Runs before the first exchange. An override may send a greeting, or set a timeout or buffer
    /// sizes. It must not wait for the client, because such a wait occupies a thread.
    ///
    /// # Errors
    ///
    /// Any error. After an error neither `exchange` nor `finish` runs.
    fn setup(&mut self, request: &mut R) -> HandlerResult {
        let _ = request;
        Ok(())
    }

    /// Returns whether `unread`, which has at least one byte, contains a complete message. The
    /// default is true: then an exchange begins as soon as a byte has arrived.
    ///
    /// A reactor calls this method whenever more bytes have arrived. The reactor collects bytes
    /// without a thread until the result is true, the [read buffer](StreamRequest::set_rbufsize) is
    /// full, or the client has ended its side. Then the exchange runs, and may wait for more bytes.
    /// The [read deadline](crate::Deadlines::read) bounds the time. The other mix-ins do not call
    /// this method, because there the exchange itself waits.
    fn is_complete(&self, unread: &[u8]) -> bool {
        let _ = unread;
        true
    }

    /// Reads one message, and writes the answer.
    ///
    /// # Errors
    ///
    /// Any error. It ends the conversation, and goes to
    /// [`handle_error`](crate::BaseServer::handle_error).
    fn exchange(&mut self, request: &mut R) -> HandlerResult;

    /// Runs after the last exchange, even if that exchange failed or panicked.
    ///
    /// # Errors
    ///
    /// Any error. If an exchange has failed too, only the error of the exchange is reported.
    fn finish(&mut self, request: &mut R) -> HandlerResult {
        let _ = request;
        Ok(())
    }

    /// Runs all exchanges of a conversation, in one call.
    #[doc(hidden)]
    fn conversation(&mut self, request: &mut R) -> HandlerResult
    where
        R: Request,
    {
        request.exchanges(&mut |request| self.exchange(request))
    }

    /// The handler whose exchanges a reactor calls one by one; `None` for a handler whose
    /// conversation is one call.
    #[doc(hidden)]
    fn single_exchanges(&mut self) -> Option<&mut dyn Exchanges<R>>
    where
        Self: Sized,
    {
        Some(self)
    }
}

impl<R: Request, H: ExchangeHandler<R>> RequestHandler<R> for H {
    fn setup(&mut self, request: &mut R) -> HandlerResult {
        ExchangeHandler::setup(self, request)
    }

    fn handle(&mut self, request: &mut R) -> HandlerResult {
        self.conversation(request)
    }

    fn finish(&mut self, request: &mut R) -> HandlerResult {
        ExchangeHandler::finish(self, request)
    }

    fn single_exchanges(&mut self) -> Option<&mut dyn Exchanges<R>> {
        ExchangeHandler::single_exchanges(self)
    }
}

impl<R, H: ExchangeHandler<R>> Exchanges<R> for H {
    fn is_complete(&self, unread: &[u8]) -> bool {
        ExchangeHandler::is_complete(self, unread)
    }

    fn exchange(&mut self, request: &mut R) -> HandlerResult {
        ExchangeHandler::exchange(self, request)
    }
}

/// A handler in a box, for a factory that chooses the type of the handler at run time. In Python, a
/// variable may refer to a handler of any class.
///
/// The handler in the box may be any [`RequestHandler`]. If it is an `ExchangeHandler`, a reactor
/// calls its exchanges one by one; otherwise one exchange is the whole conversation.
///
/// ```
/// use socketserver::mock::MockStream;
/// use socketserver::{HandlerResult, RequestHandler, StreamRequest, ThreadingTcpServer};
/// # use std::io::Write;
///
/// struct Quiet;
/// struct Polite;
/// # impl RequestHandler for Quiet {
/// #     fn handle(&mut self, _: &mut StreamRequest) -> HandlerResult { Ok(()) }
/// # }
/// # impl RequestHandler for Polite {
/// #     fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
/// #         Ok(writeln!(request, "welcome")?)
/// #     }
/// # }
///
/// fn handler(polite: bool) -> Box<dyn RequestHandler> {
///     if polite { Box::new(Polite) } else { Box::new(Quiet) }
/// }
///
/// let polite = std::env::args().len() == 1;
/// let server = ThreadingTcpServer::bind("127.0.0.1:0", move || handler(polite))?;
/// # Ok::<(), socketserver::Error>(())
/// ```
impl<R: Request, H: RequestHandler<R> + ?Sized> ExchangeHandler<R> for Box<H> {
    fn setup(&mut self, request: &mut R) -> HandlerResult {
        (**self).setup(request)
    }

    fn exchange(&mut self, request: &mut R) -> HandlerResult {
        (**self).handle(request)
    }

    fn finish(&mut self, request: &mut R) -> HandlerResult {
        (**self).finish(request)
    }

    fn conversation(&mut self, request: &mut R) -> HandlerResult {
        (**self).handle(request)
    }

    fn single_exchanges(&mut self) -> Option<&mut dyn Exchanges<R>> {
        (**self).single_exchanges()
    }
}

/// A borrowed handler, for a test that examines the handler after
/// [`MockStream::run`](crate::mock::MockStream::run), and for a handler that runs another handler.
/// In Python, every variable is a reference.
impl<R: Request, H: RequestHandler<R> + ?Sized> ExchangeHandler<R> for &mut H {
    fn setup(&mut self, request: &mut R) -> HandlerResult {
        (**self).setup(request)
    }

    fn exchange(&mut self, request: &mut R) -> HandlerResult {
        (**self).handle(request)
    }

    fn finish(&mut self, request: &mut R) -> HandlerResult {
        (**self).finish(request)
    }

    fn conversation(&mut self, request: &mut R) -> HandlerResult {
        (**self).handle(request)
    }

    fn single_exchanges(&mut self) -> Option<&mut dyn Exchanges<R>> {
        (**self).single_exchanges()
    }
}

/// The closure serves the whole conversation.
impl<R: Request, F> ExchangeHandler<R> for HandlerFn<F>
where
    F: Fn(&mut R) -> HandlerResult + Send + Sync,
{
    fn exchange(&mut self, request: &mut R) -> HandlerResult {
        self.call(request)
    }

    fn conversation(&mut self, request: &mut R) -> HandlerResult {
        self.call(request)
    }

    fn single_exchanges(&mut self) -> Option<&mut dyn Exchanges<R>> {
        None
    }
}

/// Makes a handler and runs it: the `finish_request` of a bottom layer for streams.
///
/// Under [`ReactorMixIn`](crate::ReactorMixIn), an [`ExchangeHandler`] is made and set up, and the
/// request keeps it: the reactor calls its exchanges later. In all other cases this function calls
/// [`run_handler`](crate::layer::run_handler).
///
/// # Errors
///
/// The first error of the steps; a panic is a [`HandlerPanic`](crate::HandlerPanic).
pub fn serve_with<F: HandlerFactory<StreamRequest>>(
    factory: &F,
    request: &mut StreamRequest,
) -> HandlerResult {
    let mut handler = factory.make_handler();
    if !request.keeps_handlers() {
        return run_handler(&mut handler, request);
    }
    if handler.single_exchanges().is_none() {
        // The conversation occupies the thread until its end.
        return blocking(|| run_handler(&mut handler, request));
    }
    run_step(|| handler.setup(request))?;
    request.keep_handler(Box::new(Kept(handler)));
    Ok(())
}

/// A handler that a request keeps between two exchanges. Its `single_exchanges` returns `Some`.
struct Kept<H>(H);

impl<H: RequestHandler + 'static> KeptHandler<StreamRequest> for Kept<H> {
    fn is_complete(&mut self, unread: &[u8]) -> bool {
        self.0
            .single_exchanges()
            .is_none_or(|handler| handler.is_complete(unread))
    }

    fn exchange(&mut self, request: &mut StreamRequest) -> HandlerResult {
        match self.0.single_exchanges() {
            Some(handler) => handler.exchange(request),
            None => self.0.handle(request),
        }
    }

    fn finish(&mut self, request: &mut StreamRequest) -> HandlerResult {
        self.0.finish(request)
    }
}
