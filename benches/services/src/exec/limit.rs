//! What a client sees that comes when a server serves as many as it may.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::time::Duration;

use crate::loads::{MESSAGE, connect, connect_and_exchange};
use crate::servers::{Program, Server};

const LIMIT: usize = 2;

/// Long enough for a server to answer or to close.
const LOOK: Duration = Duration::from_millis(500);

/// A table with a row for each server.
pub fn table(servers: &[Server], directory: &Path) -> io::Result<String> {
    let mut table = "| server | a client beyond the limit |\n|---|---|".to_owned();
    for server in servers {
        let seen = seen(*server, directory)?;
        let why = match server.has_limit() {
            true => "",
            false => ": the server has no limit of connections at a time",
        };
        let _ = write!(table, "\n| {} | {seen}{why} |", server.title());
    }
    Ok(table)
}

fn seen(server: Server, directory: &Path) -> io::Result<String> {
    let process = server.start(Program::Cat, Some(LIMIT), directory)?;
    // The program of the client that has looked whether the server listens.
    std::thread::sleep(LOOK);
    let address = process.address();
    let served = (0..LIMIT).map(|_| connect_and_exchange(address));
    let mut served = served.collect::<io::Result<Vec<_>>>()?;
    let mut client = connect(address)?;
    // It fails if the server has closed.
    let _ = client.write_all(&MESSAGE);
    client.set_read_timeout(Some(LOOK))?;
    let mut buffer = [0; MESSAGE.len()];
    Ok(match client.read(&mut buffer) {
        Ok(0) => "is closed".to_owned(),
        Ok(count) if buffer[..count] == MESSAGE => "is served all the same".to_owned(),
        Ok(count) => format!("reads {:?}", buffer[..count].escape_ascii().to_string()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            served.pop();
            match client.read(&mut buffer) {
                Ok(count) if buffer[..count] == MESSAGE => "waits until another has left",
                _ => "waits, and is not served when another has left",
            }
            .to_owned()
        }
        Err(error) if error.kind() == ErrorKind::ConnectionReset => "is reset".to_owned(),
        Err(error) => return Err(error),
    })
}
