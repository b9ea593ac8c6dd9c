//! Address reuse: why a server that has just stopped cannot be started again, and the cure.
//!
//! `cargo run -p socketserver-handlers --example address_reuse`
//!
//! The side of a TCP connection that closes first keeps the connection's addresses for a minute
//! (the state TIME_WAIT), so that late segments do not reach a new connection. As long as that
//! lasts, no socket can be bound to the port, except with `SO_REUSEADDR`; on Linux the server whose
//! connections linger must have set it too.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use socketserver::{Error, HandlerResult, RequestHandler, Serve, Server, StreamRequest, TcpServer};

/// Sends `hi` and closes: the server is the first to close.
struct Hi;

impl RequestHandler for Hi {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        Ok(request.write_all(b"hi")?)
    }
}

type HiServer = Server<TcpServer<fn() -> Hi>>;

fn start(address: SocketAddr, reuse: bool) -> Result<HiServer, Error> {
    let server = TcpServer::new(address, (|| Hi) as fn() -> Hi);
    server.allow_reuse_address(reuse).bind()
}

/// Serves one client, so that a connection lingers, and stops.
fn serve_one_client(server: HiServer) -> Result<(), Box<dyn std::error::Error>> {
    let mut client = TcpStream::connect(server.local_addr().ok_or("a TCP server has an address")?)?;
    server.handle_request()?;
    // The server has closed, and after this so has the client.
    client.read_to_string(&mut String::new())?;
    Ok(())
}

/// A second start without address reuse, and one with it.
fn second_starts() -> Result<[Result<(), Error>; 2], Box<dyn std::error::Error>> {
    let server = start(([127, 0, 0, 1], 0).into(), true)?;
    let address = server.local_addr().ok_or("a TCP server has an address")?;
    serve_one_client(server)?;
    Ok([false, true].map(|reuse| start(address, reuse).map(drop)))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [without, with] = second_starts()?;
    match without {
        Ok(()) => println!("without address reuse: started"),
        Err(error) => println!("without address reuse: {error}"),
    }
    match with {
        Ok(()) => println!("with address reuse: started"),
        Err(error) => println!("with address reuse: {error}"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_start_fails_while_a_connection_lingers_unless_the_address_is_reused() {
        let [without, with] = second_starts().unwrap();
        assert!(
            matches!(without, Err(Error::AddressInUse { .. })),
            "{without:?}"
        );
        with.unwrap();
    }
}
