//! The trait of a service over HTTP: a response to each request.

use ::http::header::{CONTENT_TYPE, HeaderValue};
use ::http::{Request, Response, StatusCode};
use socketserver::HandlerError;

use super::log_entry::LogEntry;
use super::request_body::RequestBody;
use super::response_body::ResponseBody;

/// The result of a handler: a response, or an error.
pub type HttpResult = Result<Response<ResponseBody>, HandlerError>;

/// A service over HTTP, which makes the response to each request.
///
/// [`Http`](super::Http) makes a handler of connections of this service: it reads the requests of a
/// client, and sends the responses. One value serves one connection, as in Python: the factory
/// makes the value when a client connects, and its state lasts from request to request.
///
/// Python's counterpart is `http.server.BaseHTTPRequestHandler`:
///
/// | Python | Here |
/// |---|---|
/// | `do_GET`, `do_POST`, … | [`respond`](Self::respond), which matches on `request.method()` |
/// | `self.command`, `self.path` | `request.method()`, `request.uri()` |
/// | `self.request_version` | `request.version()` |
/// | `self.headers` | `request.headers()` |
/// | `self.rfile` | `request.body_mut()`, a [`RequestBody`] |
/// | `self.client_address`, `self.server` | methods of [`RequestBody`] |
/// | `send_response`, `send_header`, `end_headers` | [`Response::builder`] |
/// | `self.wfile` | the response's [`ResponseBody`] |
/// | `send_error` | [`error_page`](Self::error_page) |
/// | `log_request` | [`log_request`](Self::log_request) |
/// | `protocol_version = "HTTP/1.1"` | always; a client of HTTP/1.0 is understood |
/// | `close_connection = True` | the header `Connection: close` in the response |
/// | `date_time_string` | the header `Date`, which every response has |
/// | `handle_expect_100` | the first read of the body |
///
/// ```
/// use socketserver::ReactorTcpServer;
/// use socketserver::mock::MockStream;
/// use socketserver_handlers::http::{
///     Http, HttpHandler, HttpResult, Method, Request, RequestBody, Response, StatusCode,
/// };
///
/// /// Greets its client.
/// struct Greeter;
///
/// impl HttpHandler for Greeter {
///     fn respond(&mut self, request: &mut Request<RequestBody<'_>>) -> HttpResult {
///         match (request.method(), request.uri().path()) {
///             (&Method::GET | &Method::HEAD, "/") => Ok(Response::new("hello\n".into())),
///             _ => Ok(self.error_page(StatusCode::NOT_FOUND, "There is no such page.")),
///         }
///     }
/// }
///
/// let server = ReactorTcpServer::bind("127.0.0.1:0", || Http::new(Greeter))?;
/// # let client = MockStream::new().chunk("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
/// # let written = client.run(Http::new(Greeter)).written();
/// # assert!(written.starts_with(b"HTTP/1.1 200 OK\r\n") && written.ends_with(b"\r\n\r\nhello\n"));
/// # Ok::<(), socketserver::Error>(())
/// ```
#[doc(alias = "BaseHTTPRequestHandler")]
#[doc(alias = "do_GET")]
#[doc(alias = "do_HEAD")]
#[doc(alias = "do_POST")]
#[doc(alias = "send_response")]
pub trait HttpHandler: Send {
    /// Makes the response to a request. The body of the request is read from the connection while
    /// the client sends; the rest of an unread body is discarded.
    ///
    /// Python's `do_GET`, `do_POST` and so on.
    ///
    /// # Errors
    ///
    /// Any error. The client then receives an [`error_page`](Self::error_page), and the connection
    /// is closed. If the client is the reason, as in an error of a read of the request's body, the
    /// status is 400, 408 or 413. Otherwise the status is 500, and the error goes to
    /// [`handle_error`](socketserver::BaseServer::handle_error).
    fn respond(&mut self, request: &mut Request<RequestBody<'_>>) -> HttpResult;

    /// Makes the response to a request that is refused before [`respond`](Self::respond), or whose
    /// `respond` has failed. `reason` is a sentence for the person at the client.
    ///
    /// A short text unless overridden. Python's `send_error` and `error_message_format`.
    #[doc(alias = "send_error")]
    fn error_page(&mut self, status: StatusCode, reason: &str) -> Response<ResponseBody> {
        let title = status.canonical_reason().unwrap_or("Error");
        let text = format!("{} {title}\n\n{reason}\n", status.as_str());
        let mut response = Response::new(ResponseBody::from(text));
        *response.status_mut() = status;
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, plain);
        response
    }

    /// Runs after each response, also after a refusal. Logs a line in the common log format at the
    /// level `info`, unless overridden. Python's `log_request`.
    fn log_request(&mut self, entry: &LogEntry<'_>) {
        log::info!("{entry}");
    }
}

impl<H: HttpHandler + ?Sized> HttpHandler for Box<H> {
    fn respond(&mut self, request: &mut Request<RequestBody<'_>>) -> HttpResult {
        (**self).respond(request)
    }

    fn error_page(&mut self, status: StatusCode, reason: &str) -> Response<ResponseBody> {
        (**self).error_page(status, reason)
    }

    fn log_request(&mut self, entry: &LogEntry<'_>) {
        (**self).log_request(entry);
    }
}

/// A service that [`respond_fn`] has made of a closure. Python needs a class.
#[derive(Debug, Clone, Copy)]
pub struct RespondFn<F>(F);

/// Makes a service of a closure, for a service without settings. Python needs a class.
///
/// ```
/// use socketserver::ThreadingTcpServer;
/// use socketserver_handlers::http::{Http, Response, respond_fn};
///
/// let server = ThreadingTcpServer::bind("127.0.0.1:0", || {
///     Http::new(respond_fn(|request| {
///         let path = request.uri().path().to_owned();
///         Ok(Response::new(path.into()))
///     }))
/// })?;
/// # Ok::<(), socketserver::Error>(())
/// ```
pub fn respond_fn<F>(respond: F) -> RespondFn<F>
where
    F: FnMut(&mut Request<RequestBody<'_>>) -> HttpResult + Send,
{
    RespondFn(respond)
}

impl<F> HttpHandler for RespondFn<F>
where
    F: FnMut(&mut Request<RequestBody<'_>>) -> HttpResult + Send,
{
    fn respond(&mut self, request: &mut Request<RequestBody<'_>>) -> HttpResult {
        (self.0)(request)
    }
}
