//! HTTP/1.1: a handler for requests and responses, which Python has in `http.server`.
//!
//! An [`HttpHandler`] makes a [`Response`] to each [`Request`]. [`Http`] makes a handler of
//! connections of an `HttpHandler`: it reads the requests and sends the responses. It serves under
//! every mix-in, over TCP, Unix sockets and TLS.
//!
//! ```
//! use std::io::Read;
//! use socketserver::ReactorTcpServer;
//! use socketserver_handlers::http::{
//!     Http, HttpHandler, HttpResult, Method, Request, RequestBody, Response, StatusCode,
//! };
//!
//! /// Remembers the last text that its client has sent.
//! #[derive(Default)]
//! struct Note {
//!     text: String,
//! }
//!
//! impl HttpHandler for Note {
//!     fn respond(&mut self, request: &mut Request<RequestBody<'_>>) -> HttpResult {
//!         match *request.method() {
//!             Method::GET | Method::HEAD => Ok(Response::new(self.text.clone().into())),
//!             Method::PUT => {
//!                 self.text.clear();
//!                 request.body_mut().read_to_string(&mut self.text)?;
//!                 let created = Response::builder().status(StatusCode::NO_CONTENT);
//!                 Ok(created.body("".into())?)
//!             }
//!             _ => Ok(self.error_page(StatusCode::METHOD_NOT_ALLOWED, "GET and PUT alone.")),
//!         }
//!     }
//! }
//!
//! let server = ReactorTcpServer::bind("127.0.0.1:0", || Http::new(Note::default()))?;
//! # use socketserver::mock::MockStream;
//! # let client = MockStream::new()
//! #     .chunk("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
//! #     .chunk("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
//! # let written = client.run(Http::new(Note::default())).written();
//! # assert!(written.ends_with(b"content-length: 2\r\n\r\nhi"));
//! # Ok::<(), socketserver::Error>(())
//! ```
//!
//! The types of requests and responses are those of the crate `http`, which most HTTP programs in
//! Rust use. This module exports them again.

mod access_log;
mod body_error;
mod body_writer;
mod date;
mod exchange;
mod files;
mod handler;
mod head;
mod limits;
mod log_entry;
mod refusal;
mod request_body;
mod response;
mod response_body;
mod target;
mod transfer;

pub use ::http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header,
};

pub use access_log::{AccessLog, Logged};
pub use body_error::BodyError;
pub use body_writer::BodyWriter;
pub use exchange::Http;
pub use files::StaticFiles;
pub use handler::{HttpHandler, HttpResult, RespondFn, respond_fn};
pub use limits::HttpLimits;
pub use log_entry::LogEntry;
pub use request_body::RequestBody;
pub use response_body::ResponseBody;
