//! hyper on tokio's multi-thread runtime: a task for each connection.

use std::convert::Infallible;
use std::io;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use measuring::{announce, end_at_once};
use tokio::net::TcpListener;
use tokio::runtime::Builder;

use super::ANY_PORT;
use crate::site::TEXT;

const WORKERS: usize = 2;

pub fn serve() -> io::Result<()> {
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(WORKERS).enable_all().build()?;
    // The workers accept too: in `block_on` the main thread would, and hand every task over.
    let accepting = runtime.spawn(accept());
    runtime.block_on(accepting).map_err(io::Error::other)?
}

async fn accept() -> io::Result<()> {
    let listener = TcpListener::bind(ANY_PORT).await?;
    announce(listener.local_addr()?, end_at_once)?;
    loop {
        let (connection, _) = listener.accept().await?;
        connection.set_nodelay(true)?;
        tokio::spawn(async move {
            let mut conversation = http1::Builder::new();
            conversation.pipeline_flush(true);
            let io = TokioIo::new(connection);
            // A client that leaves ends it with an error.
            let _ = conversation.serve_connection(io, service_fn(hello)).await;
        });
    }
}

async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::new(Bytes::from_static(TEXT.as_bytes())));
    let plain = HeaderValue::from_static("text/plain");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    Ok(response)
}
