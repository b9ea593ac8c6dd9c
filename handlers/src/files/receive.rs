//! The bytes of an upload, from the connection into the partial file: [`receive`].

use std::io::{self, ErrorKind, Read, Write};

use socketserver::StreamRequest;

use crate::files::protocol::{PART_SIZE, Request, bad};
use crate::files::refusal::{Code, Interrupted, Refusal};
use crate::files::upload::Upload;
use crate::framing::FramingError;

/// The bytes that are received, hashed and written at a time. The second cache of a processor holds
/// them.
const PIECE: usize = 256 * 1024;

/// How a client ends its upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// The content is complete, and has this hash on the client's side.
    Sent(String),
    /// The client has ended its upload before its end.
    Cancelled,
}

/// Asks for the content, and receives its parts up to the message that ends them. `check` refuses
/// the rest, before each part.
pub(super) fn receive(
    client: &mut StreamRequest,
    upload: &mut Upload,
    check: impl Fn() -> Result<(), Refusal>,
) -> Result<End, Interrupted> {
    upload.answer().write(client)?;
    client.flush().map_err(Interrupted::lost)?;
    let mut is_first = true;
    // One for all parts: a zeroed one for each would cost a pass over the memory.
    let mut buffer = Vec::new();
    loop {
        let request = match Request::read(client) {
            Ok(Some(request)) => request,
            Ok(None) => return Err(ended()),
            Err(error @ (FramingError::Io(_) | FramingError::Truncated { .. })) => {
                return Err(error.into());
            }
            Err(error) => {
                return Err(Refusal::because(Code::BadMessage, error.to_string()).into());
            }
        };
        check()?;
        let size = request.data_size;
        if size > PART_SIZE {
            let why = format!("a body of {size} bytes is above {PART_SIZE}");
            return Err(Refusal::because(Code::BadMessage, why).into());
        }
        if request.command != "part" {
            skip(client, size)?;
            return match &*request.command {
                "sent" => Ok(End::Sent(hash_of_end(&request, upload)?)),
                "cancel" => Ok(End::Cancelled),
                _ => Err(bad("the upload has ended before its end, with another command").into()),
            };
        }
        let wrong = match request.offset {
            Some(0) if is_first => {
                upload.restart()?;
                None
            }
            Some(offset) if offset == upload.offset() => None,
            _ => Some("the part does not begin where the part before has ended"),
        };
        let wrong = wrong.or_else(|| {
            let is_long = size > upload.missing();
            match (size, is_long) {
                (0, _) => Some("the part has no bytes"),
                (_, true) => Some("the part goes beyond the end of the file"),
                _ => None,
            }
        });
        if let Some(wrong) = wrong {
            skip(client, size)?;
            return Err(bad(wrong).into());
        }
        is_first = false;
        receive_body(client, size, upload, &mut buffer)?;
    }
}

/// The hash of the client, in the message that ends a complete upload.
fn hash_of_end(request: &Request, upload: &Upload) -> Result<String, Refusal> {
    if upload.missing() > 0 {
        return Err(bad(
            "the upload has ended before all bytes of the file were sent",
        ));
    }
    let hash = request.hash(upload.digest())?;
    let hash = hash.ok_or_else(|| bad("the end of the upload lacks the hash of the file"))?;
    Ok(hash.to_owned())
}

/// Receives the body of a part through the buffer, which grows to a piece at most. A body whose
/// bytes cannot be written is still read to its end.
pub(super) fn receive_body(
    client: &mut StreamRequest,
    size: u64,
    upload: &mut Upload,
    buffer: &mut Vec<u8>,
) -> Result<(), Interrupted> {
    let mut left = size;
    let piece = usize::try_from(size).unwrap_or(PIECE).min(PIECE);
    buffer.resize(buffer.len().max(piece), 0);
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(PIECE).min(buffer.len());
        let (count, filled) = fill(client, &mut buffer[..wanted]);
        left -= count as u64;
        let written = upload.write(&buffer[..count]);
        filled?;
        if let Err(refusal) = written {
            skip(client, left)?;
            return Err(refusal.into());
        }
    }
    Ok(())
}

/// Reads until the buffer is full, so that each write to the file begins and ends with a page.
/// Returns the number of bytes, and why there are no more.
fn fill(client: &mut StreamRequest, buffer: &mut [u8]) -> (usize, Result<(), Interrupted>) {
    let mut filled = 0;
    while filled < buffer.len() {
        match client.read(&mut buffer[filled..]) {
            Ok(0) => return (filled, Err(ended())),
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (filled, Err(Interrupted::lost(error))),
        }
    }
    (filled, Ok(()))
}

/// Reads a body and discards it.
pub(super) fn skip(client: &mut StreamRequest, size: u64) -> Result<(), Interrupted> {
    let skipped = io::copy(&mut Read::take(client, size), &mut io::sink());
    match skipped.map_err(Interrupted::lost)? == size {
        true => Ok(()),
        false => Err(ended()),
    }
}

/// The client has left in the middle of a message.
fn ended() -> Interrupted {
    let why = "the client has left in the middle of a transfer; what has come is kept";
    Interrupted::lost(io::Error::new(ErrorKind::UnexpectedEof, why))
}
