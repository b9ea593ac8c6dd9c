//! Connections that have exchanged a line and stay.

use std::io;
use std::time::Duration;

use measuring::ServerProcess;

use crate::figures::{Figure, Sample};
use crate::loads::clients::{LINE, connect, connect_all, exchange};

pub fn run(server: &ServerProcess, connections: usize) -> io::Result<Sample> {
    // The first one makes what the server makes once.
    let first = connect(server.address())?;
    server.settle(Duration::from_secs(2))?;
    let before = server.resident_kilobytes()?;
    let mut clients = connect_all(server.address(), connections)?;
    server.settle(Duration::from_secs(2))?;
    let growth = server.resident_kilobytes()?.saturating_sub(before);
    let threads = server.threads()?;
    for client in &mut clients {
        exchange(client, &LINE)?;
    }
    drop(first);
    Ok(Sample::from([
        (Figure::Held, connections as f64),
        (Figure::Kilobytes, growth as f64 / connections as f64),
        (Figure::Threads, threads as f64),
    ]))
}
