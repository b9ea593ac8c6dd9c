//! Version 1 of the PROXY header: a line of text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::{FromStr, from_utf8};

use crate::mix_ins::proxy_protocol::error::ProxyHeaderError;
use crate::mix_ins::proxy_protocol::header::ProxyHeader;
use crate::values::address::Address;

/// The longest line, with its end, in bytes.
pub(super) const MAX_LINE: usize = 107;

const BEGIN: &[u8] = b"PROXY ";
const END: &[u8] = b"\r\n";

/// Returns the length of the line with its end; `None` while the end has not arrived.
pub(super) fn length(bytes: &[u8]) -> Result<Option<usize>, ProxyHeaderError> {
    if !bytes.iter().zip(BEGIN).all(|(one, other)| one == other) {
        return Err(ProxyHeaderError::Absent);
    }
    // The last place where the end may begin.
    let last = MAX_LINE - END.len();
    let at = bytes.iter().take(last + 1).position(|it| END.contains(it));
    let Some(at) = at else {
        return match bytes.len() > last {
            true => Err(invalid("the line is longer than 107 bytes")),
            false => Ok(None),
        };
    };
    match bytes[at..] {
        [b'\r'] => Ok(None),
        [b'\r', b'\n', ..] => Ok(Some(at + END.len())),
        [b'\r', ..] => Err(invalid("CR without LF")),
        _ => Err(invalid("LF without CR")),
    }
}

/// Parses a line with its end.
pub(super) fn parse(line: &[u8]) -> Result<ProxyHeader, ProxyHeaderError> {
    let line = line.strip_suffix(END).unwrap_or(line);
    let rest = line.strip_prefix(BEGIN).unwrap_or_default();
    // Bytes after UNKNOWN have no meaning, and need not be text.
    if rest == b"UNKNOWN" || rest.starts_with(b"UNKNOWN ") {
        return Ok(ProxyHeader::without_addresses(1));
    }
    let text = from_utf8(rest).map_err(|_| invalid("it is not text"))?;
    let fields: Vec<&str> = text.split(' ').collect();
    let addresses = match *fields {
        ["TCP4", source, destination, from, to] => {
            both::<Ipv4Addr>((source, from), (destination, to))
        }
        ["TCP6", source, destination, from, to] => {
            both::<Ipv6Addr>((source, from), (destination, to))
        }
        ["TCP4" | "TCP6", ..] => {
            return Err(invalid("two addresses and two ports follow the protocol"));
        }
        _ => return Err(invalid("the protocol is TCP4, TCP6 or UNKNOWN")),
    };
    let (source, destination) = addresses?;
    Ok(ProxyHeader::with_addresses(1, source, destination, []))
}

/// The source and the destination, each of an IP address and a port.
fn both<T: FromStr + Into<IpAddr>>(
    source: (&str, &str),
    destination: (&str, &str),
) -> Result<(Address, Address), ProxyHeaderError> {
    let address = |(ip, of): (&str, &str)| {
        let ip: T = ip
            .parse()
            .map_err(|_| invalid("an address is not of its family"))?;
        Ok(Address::from((ip.into(), port(of)?)))
    };
    Ok((address(source)?, address(destination)?))
}

/// A port: digits without a sign and without zeros in front.
fn port(text: &str) -> Result<u16, ProxyHeaderError> {
    let is_canonical = text == "0" || text.starts_with(|c: char| c.is_ascii_digit() && c != '0');
    let port = text.parse().ok().filter(|_| is_canonical);
    port.ok_or_else(|| invalid("a port is a number up to 65535, without a zero in front"))
}

fn invalid(reason: &'static str) -> ProxyHeaderError {
    ProxyHeaderError::Invalid { version: 1, reason }
}
