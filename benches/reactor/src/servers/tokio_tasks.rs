//! tokio's multi-thread runtime: a task for each connection.

use std::io;
use std::thread;

use measuring::{announce, end_at_once};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

use super::{ANY_PORT, WAIT};

pub fn serve(workers: usize) -> io::Result<()> {
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(workers).enable_all().build()?;
    // The workers accept too: in `block_on` the main thread would, and hand every task over.
    let accepting = runtime.spawn(accept());
    runtime.block_on(accepting).map_err(io::Error::other)?
}

async fn accept() -> io::Result<()> {
    let listener = TcpListener::bind(ANY_PORT).await?;
    announce(listener.local_addr()?, end_at_once)?;
    loop {
        let (connection, _) = listener.accept().await?;
        tokio::spawn(converse(connection));
    }
}

async fn converse(connection: TcpStream) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut connection = BufReader::new(connection);
    let mut line = Vec::new();
    while connection.read_until(b'\n', &mut line).await? > 0 {
        match line[0] {
            // What a library for synchronous code does when a task calls it.
            b'B' => thread::sleep(WAIT),
            b'W' => tokio::time::sleep(WAIT).await,
            _ => {}
        }
        line.make_ascii_uppercase();
        connection.get_mut().write_all(&line).await?;
        line.clear();
    }
    Ok(())
}
