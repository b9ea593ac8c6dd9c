//! A program that inetd or systemd starts for each connection: the connection is standard input.
//!
//! `systemd-socket-activate --accept --inetd --listen 127.0.0.1:9999 target/debug/examples/inetd`

use std::error::Error;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use socketserver::{Deadlines, HandlerResult, RequestHandler, Serve, StreamRequest, TcpServer};

#[derive(Default)]
struct Upper;

impl RequestHandler for Upper {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        while let Some(line) = request.next_line(1000)? {
            writeln!(request, "{}", line.to_ascii_uppercase())?;
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    serve(io::stdin().as_fd().try_clone_to_owned()?)
}

fn serve(connection: OwnedFd) -> Result<(), Box<dyn Error>> {
    // The same as for any other server: deadlines, layers, events.
    let server = TcpServer::without_listener(Upper::default).bind()?;
    let deadlines = Deadlines::uniform(Duration::from_secs(60));
    server.handle().set_deadlines(deadlines);
    server.serve(server.accepted(connection)?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::{Shutdown, TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_that_somebody_else_has_accepted_is_served() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (connection, _) = listener.accept().unwrap();
        client.write_all(b"hello\nbye\n").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        serve(connection.into()).unwrap();
        assert_eq!(io::read_to_string(client).unwrap(), "HELLO\nBYE\n");
    }
}
