//! tiny_http: threads that take requests from one queue, and a thread that reads each connection.

use std::io;
use std::sync::Arc;
use std::thread;

use measuring::{announce, end_at_once};
use tiny_http::{Response, Server};

use super::ANY_PORT;
use crate::site::TEXT;

const THREADS: usize = 8;

pub fn serve() -> io::Result<()> {
    let server = Arc::new(Server::http(ANY_PORT).map_err(io::Error::other)?);
    let address = server.server_addr().to_ip();
    announce(address.expect("it is bound to an IP address"), end_at_once)?;
    let thread = |_| {
        let server = server.clone();
        thread::spawn(move || -> io::Result<()> {
            loop {
                // A client that leaves makes the response fail.
                let _ = server.recv()?.respond(Response::from_string(TEXT));
            }
        })
    };
    for thread in Vec::from_iter((0..THREADS).map(thread)) {
        thread.join().expect("the server does not panic")?;
    }
    Ok(())
}
