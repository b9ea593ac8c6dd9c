//! Datagrams: the reply is what the handler writes, and the handler can find out whether a datagram
//! was truncated.
//!
//! `cargo run --example udp`, then in another terminal
//! `bash -c 'exec 3<>/dev/udp/127.0.0.1/9000; echo -n hello >&3; head -c 7 <&3'`

use std::io::Write;

use socketserver::{DatagramRequest, Error, HandlerResult, RequestHandler, Serve, UdpServer};

struct Length;

impl RequestHandler<DatagramRequest> for Length {
    fn handle(&mut self, request: &mut DatagramRequest) -> HandlerResult {
        let length = request.packet().len();
        let more = if request.is_truncated() {
            " or more"
        } else {
            ""
        };
        writeln!(request, "{length}{more} bytes")?;
        Ok(())
    }
}

fn main() -> Result<(), Error> {
    env_logger::init();
    UdpServer::new("127.0.0.1:9000", || Length)
        .max_packet_size(1024)
        .bind()?
        .serve_forever()
}
