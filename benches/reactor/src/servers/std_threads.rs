//! What one writes by hand with the standard library: a thread for each connection.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use measuring::{announce, end_at_once};

use super::{ANY_PORT, block_for};

pub fn serve() -> io::Result<()> {
    let listener = TcpListener::bind(ANY_PORT)?;
    announce(listener.local_addr()?, end_at_once)?;
    loop {
        let (connection, _) = listener.accept()?;
        // Without a thread the connection is closed, which the client sees.
        let thread = thread::Builder::new().spawn(move || converse(&connection));
        drop(thread);
    }
}

fn converse(connection: &TcpStream) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut reader = BufReader::new(connection);
    let mut writer = connection;
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        block_for(&line);
        line.make_ascii_uppercase();
        writer.write_all(&line)?;
        line.clear();
    }
    Ok(())
}
