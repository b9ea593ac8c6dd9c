//! Clients of a server.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::SockRef;

/// The length of an ordinary line, its end included.
pub const LINE_LENGTH: usize = 64;

/// An answer that takes longer is lost.
pub const LONGEST_ANSWER: Duration = Duration::from_secs(5);

/// A line whose first byte is `first`.
pub const fn line(first: u8) -> [u8; LINE_LENGTH] {
    let mut line = [b'a'; LINE_LENGTH];
    line[0] = first;
    line[LINE_LENGTH - 1] = b'\n';
    line
}

/// An ordinary line.
pub const LINE: [u8; LINE_LENGTH] = line(b'a');

/// A client that has exchanged a line, so that the server has a handler for it. It ends with a
/// reset, so that its port is free at once.
pub fn connect(server: SocketAddr) -> io::Result<TcpStream> {
    let mut client = TcpStream::connect(server)?;
    client.set_nodelay(true)?;
    client.set_read_timeout(Some(LONGEST_ANSWER))?;
    SockRef::from(&client).set_linger(Some(Duration::ZERO))?;
    exchange(&mut client, &LINE)?;
    Ok(client)
}

/// As many clients.
pub fn connect_all(server: SocketAddr, count: usize) -> io::Result<Vec<TcpStream>> {
    (0..count).map(|_| connect(server)).collect()
}

/// Sends a line, and waits for its answer.
pub fn exchange(client: &mut TcpStream, line: &[u8]) -> io::Result<()> {
    client.write_all(line)?;
    let mut answer = [0; LINE_LENGTH];
    let answer = &mut answer[..line.len()];
    client.read_exact(answer)?;
    check(line, answer)
}

/// An error if it is not the answer to the line.
pub fn check(line: &[u8], answer: &[u8]) -> io::Result<()> {
    if answer.eq_ignore_ascii_case(line) && !answer.iter().any(u8::is_ascii_lowercase) {
        return Ok(());
    }
    let text = String::from_utf8_lossy(answer);
    Err(io::Error::other(format!("{text:?} is no answer")))
}
