//! From bytes to a PROXY header: first its length, then the header in exactly that many bytes.

use crate::mix_ins::proxy_protocol::error::ProxyHeaderError;
use crate::mix_ins::proxy_protocol::header::ProxyHeader;
use crate::mix_ins::proxy_protocol::{version1, version2};

/// Parses the header that `bytes` begin with, and returns the header and its length. Returns `None`
/// while the header is incomplete.
///
/// The result depends on the bytes alone, and not on the pieces in which they arrive. The function
/// does not look at bytes after the header. Once the result is an error, further bytes do not
/// change it.
///
/// # Errors
///
/// As soon as the bytes cannot be the beginning of a header of at most `max` bytes.
pub(super) fn parse(
    bytes: &[u8],
    max: usize,
) -> Result<Option<(ProxyHeader, usize)>, ProxyHeaderError> {
    let length = match bytes {
        [] => None,
        [b'P', ..] => version1::length(bytes)?,
        [b'\r', ..] => version2::length(bytes, max)?,
        _ => return Err(ProxyHeaderError::Absent),
    };
    let Some(header) = length.and_then(|length| bytes.get(..length)) else {
        return Ok(None);
    };
    let parsed = match header {
        [b'P', ..] => version1::parse(header)?,
        _ => version2::parse(header)?,
    };
    Ok(Some((parsed, header.len())))
}

#[cfg(all(test, not(loom)))]
mod tests;
