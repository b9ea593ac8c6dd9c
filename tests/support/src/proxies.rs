//! The headers that a proxy sends before the bytes of its client, and handlers that show them.

use std::io::Write;

use socketserver::{Address, HandlerFactory, StreamRequest};

use crate::services::{read_line, stream_handler};

/// A header of version 1 for the client 192.0.2.7:1000.
pub const LINE: &str = "PROXY TCP4 192.0.2.7 198.51.100.1 1000 443\r\n";

/// A header of version 2 without a client (`LOCAL`).
pub const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// A header of version 2 for the client 192.0.2.7:1000, with the authority `example.com`.
pub const BLOCK: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x1a\xc0\0\x02\x07\xc6\x33\x64\x01\x03\xe8\
      \x01\xbb\x02\0\x0bexample.com";

/// Makes a header of version 1 for a client at this address, such as that of a health check.
pub fn line_for(client: &Address) -> String {
    let (ip, port) = (client.ip().unwrap(), client.port().unwrap());
    let family = if ip.is_ipv4() { "TCP4" } else { "TCP6" };
    format!("PROXY {family} {ip} {ip} {port} 443\r\n")
}

/// Makes handlers that answer each line with the client's address, the proxy's IP address or `-`,
/// and the line.
pub fn address_echo() -> impl HandlerFactory<StreamRequest> {
    stream_handler(|request| {
        while request.wait()? {
            let line = read_line(request)?;
            let proxy = match request.proxy_address() {
                None => "-".to_owned(),
                Some(proxy) => match proxy.ip() {
                    Some(ip) => ip.to_string(),
                    None => proxy.to_string(),
                },
            };
            let client = request.client_address().clone();
            writeln!(request, "{client} {proxy} {line}")?;
        }
        Ok(())
    })
}
