//! The largest datagram: 65,507 bytes go through, 65,508 do not.
//!
//! `cargo run -p socketserver-handlers --example largest_datagram`
//!
//! The length of an IPv4 packet is a number of 16 bits, so it has at most 65,535 bytes; 20 are the
//! header of IP, and 8 that of UDP. A larger datagram is refused by the system that would send it.

use std::io::{self, Write};
use std::net::UdpSocket;

use socketserver::{DatagramRequest, HandlerResult, RequestHandler, Serve, UdpServer};

/// The most bytes in a datagram over IPv4.
const LARGEST: usize = 65_535 - 20 - 8;

/// Answers with the number of bytes of the datagram.
struct Count;

impl RequestHandler<DatagramRequest> for Count {
    fn handle(&mut self, request: &mut DatagramRequest) -> HandlerResult {
        let length = request.packet().len();
        write!(request, "{length}")?;
        Ok(())
    }
}

/// Sends a datagram of this size, and returns the number of bytes that arrived.
fn arrives(size: usize) -> Result<io::Result<usize>, Box<dyn std::error::Error>> {
    let server = UdpServer::new("127.0.0.1:0", || Count).max_packet_size(LARGEST);
    let server = server.bind()?;
    let client = UdpSocket::bind("127.0.0.1:0")?;
    client.connect(server.local_addr().ok_or("there is an address")?)?;
    if let Err(error) = client.send(&vec![b'x'; size]) {
        return Ok(Err(error));
    }
    server.handle_request()?;
    let mut answer = [0; 20];
    let length = client.recv(&mut answer)?;
    Ok(Ok(str::from_utf8(&answer[..length])?.parse()?))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for size in [LARGEST, LARGEST + 1] {
        match arrives(size)? {
            Ok(count) => println!("{size} bytes sent: {count} arrived"),
            Err(error) => println!("{size} bytes not sent: {error}"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_datagram_arrives_whole() {
        assert_eq!(arrives(LARGEST).unwrap().unwrap(), 65_507);
    }

    #[test]
    fn one_byte_more_is_refused_by_the_sender_s_system() {
        let error = arrives(LARGEST + 1).unwrap().unwrap_err();
        let too_long = nix::errno::Errno::EMSGSIZE as i32;
        assert_eq!(error.raw_os_error(), Some(too_long));
    }
}
