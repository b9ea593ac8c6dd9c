//! A program that inetd or systemd starts for each connection: the connection is standard input.
//!
//! `systemd-socket-activate --accept --inetd --listen 127.0.0.1:9999 target/debug/examples/inetd`

use std::error::Error;
use std::io::{self, Write};
use std::os::fd::AsFd;
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
    // As any other server: deadlines, layers, events.
    let server = TcpServer::without_listener(Upper::default).bind()?;
    let deadlines = Deadlines::uniform(Duration::from_secs(60));
    server.handle().set_deadlines(deadlines);

    let connection = io::stdin().as_fd().try_clone_to_owned()?;
    server.serve(server.accepted(connection)?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::OwnedFd;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    #[ignore = "needs a connection as standard input, which the other test gives"]
    fn standard_input_is_a_connection() {
        main().unwrap();
    }

    #[test]
    fn the_connection_of_a_parent_is_served() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (connection, _) = listener.accept().unwrap();
        let mut server = Command::new(std::env::current_exe().unwrap())
            .args([
                "--ignored",
                "--exact",
                "tests::standard_input_is_a_connection",
            ])
            .stdin(OwnedFd::from(connection))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        client.write_all(b"hello\nbye\n").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(io::read_to_string(client).unwrap(), "HELLO\nBYE\n");
        assert!(server.wait().unwrap().success());
    }
}
