//! PROXY headers in front of any bytes.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use arbitrary::{Arbitrary, Unstructured};
use socketserver::mock::MockStream;
use socketserver::{Address, ProxyHeader, ProxyProtocolMixIn, Serve, TcpServer, handler_fn};

use crate::cuts::Cuts;

/// The address of the proxy.
const PROXY: ([u8; 4], u16) = ([127, 0, 0, 1], 49152);

/// The greatest length of a header.
const MAX: usize = 536;

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    cuts: Cuts,
    stream: &'a [u8],
}

/// What a handler has seen of its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    client: Address,
    header: ProxyHeader,
    unread: Vec<u8>,
}

/// Checks that any bytes are a header and what follows, a health check, or an error, however they
/// are cut; and that the handler finds what the bytes state, and the bytes behind the header.
pub fn check(bytes: &[u8]) {
    let Ok(input) = Input::arbitrary_take_rest(Unstructured::new(bytes)) else {
        return;
    };
    let whole = run(MockStream::new().chunk(input.stream));
    assert_eq!(run(input.cuts.client(input.stream)), whole);
    match whole {
        (Ok(()), Some(seen)) => seen.is_stated_by(input.stream),
        (Ok(()), None) => is_a_health_check(input.stream),
        (Err(error), seen) => {
            assert_eq!(seen, None, "a handler ran behind a bad header: {error}");
            assert!(!error.is_empty() && !error.contains('\n'), "{error}");
        }
    }
}

/// The error of a connection, and what its handler has seen.
fn run(client: MockStream) -> (Result<(), String>, Option<Seen>) {
    let seen = Arc::new(Mutex::new(None));
    let found = seen.clone();
    let factory = handler_fn(move |request| {
        let client = request.client_address().clone();
        let header = request.proxy_header().cloned().ok_or("no header")?;
        let proxy = request.proxy_address().cloned();
        assert_eq!(proxy, Some(Address::from(PROXY)));
        let mut unread = Vec::new();
        std::io::Read::read_to_end(request, &mut unread)?;
        *found.lock().expect("no panic before") = Some(Seen {
            client,
            header,
            unread,
        });
        Ok(())
    });
    let proxy = "127.0.0.1".parse().expect("an address is a network");
    let layers = TcpServer::new("127.0.0.1:0", factory)
        .mix_in(ProxyProtocolMixIn::new)
        .trust(proxy);
    let recording = client.client_address(PROXY).run_layers(layers);
    let result = recording.result().as_ref().map(|_| ());
    let result = result.map_err(ToString::to_string);
    let seen = seen.lock().expect("no panic before").take();
    (result, seen)
}

/// A connection that ended well without a handler: nothing, or a header and nothing behind it.
fn is_a_health_check(stream: &[u8]) {
    let is_line = stream.starts_with(b"PROXY TCP") && stream.ends_with(b"\r\n");
    let is_local = stream.get(12) == Some(&0x20) || stream.get(12) == Some(&0x21);
    assert!(stream.is_empty() || is_line || is_local);
    assert!(stream.len() <= MAX);
}

impl Seen {
    fn is_stated_by(&self, stream: &[u8]) {
        assert!(stream.ends_with(&self.unread));
        let header = &stream[..stream.len() - self.unread.len()];
        assert!(header.len() <= MAX);
        match self.header.version() {
            1 => self.is_stated_by_line(header),
            _ => self.is_stated_by_block(header),
        }
        for number in 0..=u8::MAX {
            let value = self.header.value(number).unwrap_or_default();
            assert!(value.len() < header.len());
        }
        if let Some(ssl) = self.header.ssl() {
            let texts = [ssl.version(), ssl.cipher(), ssl.common_name()];
            let length: usize = texts.into_iter().flatten().map(str::len).sum();
            assert!(length < header.len());
            assert!(ssl.is_encrypted() || !ssl.is_verified());
        }
    }

    fn is_stated_by_line(&self, line: &[u8]) {
        assert!(line.len() <= 107);
        let line = String::from_utf8_lossy(line);
        let (Some(source), Some(destination)) = (self.inet_source(), self.header.destination())
        else {
            assert!(line.starts_with("PROXY UNKNOWN"), "{line}");
            assert_eq!(self.client, Address::from(PROXY));
            return;
        };
        assert_eq!(self.client, Address::Inet(source));
        // There is one way to write an IPv4 address.
        if let (IpAddr::V4(ip), Some(to)) = (source.ip(), destination.ip()) {
            let ports = (source.port(), destination.port().unwrap_or_default());
            let expected = format!("PROXY TCP4 {ip} {to} {} {}\r\n", ports.0, ports.1);
            assert_eq!(line, expected);
        }
    }

    fn is_stated_by_block(&self, block: &[u8]) {
        let length = usize::from(u16::from_be_bytes([block[14], block[15]]));
        assert_eq!(block.len(), 16 + length);
        assert_eq!(self.header.is_local(), block[12] == 0x20);
        match (self.header.source(), self.inet_source()) {
            (None, _) => assert_eq!(self.client, Address::from(PROXY)),
            (_, Some(source)) => {
                let (octets, at) = match source.ip() {
                    IpAddr::V4(ip) => (ip.octets().to_vec(), 24),
                    IpAddr::V6(ip) => (ip.octets().to_vec(), 48),
                };
                assert_eq!(block[16..16 + octets.len()], octets);
                assert_eq!(block[at..at + 2], source.port().to_be_bytes());
                assert_eq!(self.client, Address::Inet(source));
            }
            (Some(source), None) => {
                assert_eq!(block[13], 0x31);
                assert_eq!(&self.client, source);
            }
        }
    }

    fn inet_source(&self) -> Option<SocketAddr> {
        match self.header.source() {
            Some(Address::Inet(source)) => Some(*source),
            _ => None,
        }
    }
}
