//! The requests that hyper finds in the bytes of a client: another reading of them.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Version};

/// A request as hyper's service has seen it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub method: String,
    pub target: String,
    pub version: Version,
    pub headers: Vec<(String, Vec<u8>)>,
    /// `None` of a body that cannot be read.
    pub body: Option<Vec<u8>>,
}

/// All requests of a client that sends `stream` and ends its side.
pub fn requests(stream: &[u8]) -> Vec<Found> {
    let found = Arc::new(Mutex::new(Vec::new()));
    let service = service_fn(|request| keep(request, found.clone()));
    let client = Client { rest: stream };
    let mut builder = http1::Builder::new();
    let conversation = builder.half_close(true).serve_connection(client, service);
    let mut conversation = pin!(conversation);
    let mut context = Context::from_waker(Waker::noop());
    // The client never waits, so that each poll goes on where hyper has paused for others.
    while conversation.as_mut().poll(&mut context).is_pending() {}
    found.lock().expect("no panic before").clone()
}

async fn keep(
    request: Request<Incoming>,
    found: Arc<Mutex<Vec<Found>>>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.ok();
    let headers = parts.headers.iter();
    let headers = headers.map(|(name, value)| (name.to_string(), value.as_bytes().to_owned()));
    let request = Found {
        method: parts.method.to_string(),
        target: parts.uri.to_string(),
        version: parts.version,
        headers: headers.collect(),
        body: body.map(|body| body.to_bytes().into()),
    };
    found.lock().expect("no panic before").push(request);
    let mut response = Response::new(Empty::new());
    // A success would be a tunnel for CONNECT.
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    Ok(response)
}

/// The client's bytes, and a place for what hyper writes.
struct Client<'a> {
    rest: &'a [u8],
}

impl Read for Client<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let count = self.rest.len().min(buffer.remaining());
        let (bytes, rest) = self.rest.split_at(count);
        buffer.put_slice(bytes);
        self.rest = rest;
        Poll::Ready(Ok(()))
    }
}

impl Write for Client<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
