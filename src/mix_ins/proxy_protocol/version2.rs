//! Version 2 of the PROXY header: sixteen bytes, addresses, and values of any number.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crc::{CRC_32_ISCSI, Crc};
use proxy_header::ParseConfig;

use crate::mix_ins::proxy_protocol::error::ProxyHeaderError;
use crate::mix_ins::proxy_protocol::header::{ProxyHeader, values};
use crate::values::address::Address;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The bytes of the signature, the version with the command, the family with the protocol, and the
/// length of the rest.
pub(super) const FIXED: usize = 16;

/// The bytes of the path of a Unix socket.
const PATH: usize = 108;

/// The number of the value that has the checksum.
const CHECKSUM: u8 = 0x03;
/// The number of the value about encryption, which consists of values itself.
const SSL: u8 = 0x20;

const CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// Returns the length of the header that `bytes` begin with; `None` while the length has not
/// arrived.
pub(super) fn length(bytes: &[u8], max: usize) -> Result<Option<usize>, ProxyHeaderError> {
    if !bytes.iter().zip(SIGNATURE).all(|(one, other)| one == other) {
        return Err(ProxyHeaderError::Absent);
    }
    match bytes.get(SIGNATURE.len()) {
        None | Some(0x20 | 0x21) => {}
        Some(0x22..=0x2f) => return Err(invalid("the command is neither LOCAL nor PROXY")),
        Some(_) => return Err(invalid("the signature is followed by another version")),
    }
    let Some(&[high, low]) = bytes.get(FIXED - 2..FIXED) else {
        return Ok(None);
    };
    let length = FIXED + usize::from(u16::from_be_bytes([high, low]));
    match length > max {
        true => Err(ProxyHeaderError::TooLong { length, max }),
        false => Ok(Some(length)),
    }
}

/// Parses a complete header.
pub(super) fn parse(header: &[u8]) -> Result<ProxyHeader, ProxyHeaderError> {
    // The specification demands that a receiver of LOCAL drops the rest without reading it.
    if header[SIGNATURE.len()] & 0x0f == 0 {
        return Ok(ProxyHeader::local());
    }
    let addresses = match header[SIGNATURE.len() + 1] {
        0x00 => 0,
        0x11 => 2 * (4 + 2),
        0x21 => 2 * (16 + 2),
        0x31 => 2 * PATH,
        0x12 | 0x22 | 0x32 => return Err(invalid("it is about a datagram")),
        _ => return Err(invalid("there is no such family and protocol")),
    };
    let config = ParseConfig {
        include_tlvs: true,
        allow_v1: false,
        allow_v2: true,
    };
    // The header is complete, so a value that is too short here stays too short.
    let (parsed, _) = proxy_header::ProxyHeader::parse(header, config)
        .map_err(|_| invalid("its length is less than that of its addresses"))?;
    if parsed.tlvs().any(|value| value.is_err()) {
        return Err(invalid("a value is malformed"));
    }
    let rest = &header[FIXED + addresses..];
    for (number, value, _) in values(rest).flatten() {
        if number == SSL && values(&value[SSL_FIXED..]).any(|it| it.is_none()) {
            return Err(invalid("a value about encryption is malformed"));
        }
    }
    verify_checksum(header, FIXED + addresses)?;
    if let Some(addresses) = parsed.proxied_address() {
        let (source, destination) = (addresses.source.into(), addresses.destination.into());
        return Ok(ProxyHeader::with_addresses(2, source, destination, rest));
    }
    if addresses == 2 * PATH {
        let (source, destination) = header[FIXED..FIXED + addresses].split_at(PATH);
        let (source, destination) = (unix_address(source), unix_address(destination));
        return Ok(ProxyHeader::with_addresses(2, source, destination, rest));
    }
    Ok(ProxyHeader::without_addresses(2).with_values(rest))
}

/// The bytes of the value about encryption before its own values.
pub(super) const SSL_FIXED: usize = 5;

/// Compares the checksum of the header, if the header has one. `at` is where its values begin.
fn verify_checksum(header: &[u8], at: usize) -> Result<(), ProxyHeaderError> {
    let checksums = values(&header[at..])
        .flatten()
        .filter(|(number, ..)| *number == CHECKSUM);
    let mut checksums = checksums.map(|(_, value, offset)| (value, at + offset));
    let Some((stated, place)) = checksums.next() else {
        return Ok(());
    };
    if checksums.next().is_some() {
        return Err(invalid("it has two checksums"));
    }
    // The checksum of the whole header, with zeros in place of the checksum.
    let mut digest = CRC32C.digest();
    digest.update(&header[..place]);
    digest.update(&[0; 4]);
    digest.update(&header[place + stated.len()..]);
    match digest.finalize().to_be_bytes() == *stated {
        true => Ok(()),
        false => Err(ProxyHeaderError::WrongChecksum),
    }
}

/// The address of a Unix socket, padded with zeros.
fn unix_address(path: &[u8]) -> Address {
    let is_abstract = path[0] == 0;
    let end = match is_abstract {
        true => path.iter().rposition(|&byte| byte != 0).map(|at| at + 1),
        false => Some(path.iter().position(|&it| it == 0).unwrap_or(path.len())),
    };
    match end {
        None => Address::UnixUnnamed,
        Some(end) => Address::from_unix_path(OsStr::from_bytes(&path[..end]).into()),
    }
}

fn invalid(reason: &'static str) -> ProxyHeaderError {
    ProxyHeaderError::Invalid { version: 2, reason }
}
