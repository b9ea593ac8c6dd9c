//! One program, two servers: a name server answers over UDP and over TCP, on one port.
//!
//! `cargo run --example dns`, then in another terminal
//! `dig @127.0.0.1 -p 5353 any.example` and `dig +tcp @127.0.0.1 -p 5353 any.example`

use std::io::{Error, ErrorKind, Write};

use socketserver::{
    DatagramRequest, HandlerResult, RequestHandler, Servers, StreamRequest, ThreadingTcpServer,
    UdpServer,
};

/// Answers every question for an IPv4 address with 192.0.2.1.
struct NameServer;

/// A query over UDP is a datagram.
impl RequestHandler<DatagramRequest> for NameServer {
    fn handle(&mut self, request: &mut DatagramRequest) -> HandlerResult {
        let answer = answer(request.packet())?;
        Ok(request.write_all(&answer)?)
    }
}

/// A query over TCP comes after its length, in two bytes.
impl RequestHandler for NameServer {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        while let Some(length) = request.next_exact(2)? {
            let length = u16::from_be_bytes([length[0], length[1]]);
            let answer = answer(&request.further_exact(length.into())?)?;
            request.write_all(&u16::try_from(answer.len())?.to_be_bytes())?;
            request.write_all(&answer)?;
        }
        Ok(())
    }
}

fn answer(query: &[u8]) -> Result<Vec<u8>, Error> {
    let invalid = || Error::new(ErrorKind::InvalidData, "not a query with one question");
    // Twelve bytes of header, the labels of the name, a zero, the type and the class.
    let name = query.get(12..).ok_or_else(invalid)?;
    let end = name
        .iter()
        .position(|byte| *byte == 0)
        .ok_or_else(invalid)?;
    let question = name.get(..end + 5).ok_or_else(invalid)?;
    let has_answer = question[end..] == [0, 0, 1, 0, 1];
    let mut answer = query[..2].to_vec();
    answer.extend([0x81, 0x80, 0, 1, 0, has_answer.into(), 0, 0, 0, 0]);
    answer.extend(question);
    if has_answer {
        // The name at byte 12, type A, class IN, valid for a minute, four bytes.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
    }
    Ok(answer)
}

fn main() -> Result<(), socketserver::Error> {
    env_logger::init();
    let address = ["127.0.0.1:5353", "[::1]:5353"];
    let servers = Servers::new()
        .with(UdpServer::bind(address, || NameServer)?)
        .with(ThreadingTcpServer::bind(address, || NameServer)?);
    servers.serve_forever()
}

#[cfg(test)]
mod tests {
    use super::*;
    use socketserver::mock::{MockDatagram, MockStream};

    const QUERY: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01";

    #[test]
    fn both_transports_give_the_same_answer() {
        let recording = MockDatagram::new(QUERY).run(NameServer);
        let answer = recording.sent()[0].to_vec();
        assert!(answer.ends_with(&[192, 0, 2, 1]));
        let length = [0, u8::try_from(QUERY.len()).unwrap()];
        let stream = MockStream::new().chunk(length).chunk(QUERY);
        let written = stream.run(NameServer).written().to_vec();
        assert_eq!(written[2..], answer);
        assert_eq!(usize::from(written[1]), answer.len());
    }

    #[test]
    fn what_is_no_query_is_an_error() {
        for length in 0..QUERY.len() {
            answer(&QUERY[..length]).unwrap_err();
        }
    }
}
