//! Connections that have had a response and are kept alive.

use std::io;
use std::time::Duration;

use measuring::ServerProcess;

use super::client::Client;
use crate::figures::{Figure, Sample};
use crate::site::HELLO;

pub fn run(server: &ServerProcess, connections: usize) -> io::Result<Sample> {
    // The first one makes what the server makes once.
    let first = Client::connect(server.address(), HELLO)?;
    server.settle(Duration::from_secs(2))?;
    let before = server.resident_kilobytes()?;
    let mut clients = Client::connect_all(server.address(), HELLO, connections)?;
    server.settle(Duration::from_secs(2))?;
    let growth = server.resident_kilobytes()?.saturating_sub(before);
    let threads = server.threads()?;
    for client in &mut clients {
        client.exchange(HELLO)?;
    }
    drop(first);
    Ok(Sample::from([
        (Figure::Held, connections as f64),
        (Figure::Kilobytes, growth as f64 / connections as f64),
        (Figure::Threads, threads as f64),
    ]))
}
