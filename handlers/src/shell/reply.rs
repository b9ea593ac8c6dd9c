//! An answer, in its frame.

use std::io::{self, BufRead, Write};
use std::time::Duration;

use serde::Serialize;
use socketserver::{HandlerResult, StreamRequest};

use super::conversation_error::ConversationError;
use super::framing::READY;
use super::{Framing, Output};
use crate::framing::LengthPrefix;

/// The shell's own limits bound an answer, so the prefix allows every length.
const PREFIX: LengthPrefix = LengthPrefix::little_endian().max_length(u32::MAX);

#[derive(Debug, Serialize)]
struct JsonHeader {
    data_size: usize,
}

/// Sends the output of a command. With [`Framing::Ready`], `patience` bounds the wait for
/// [`READY`], unless the server's deadlines are shorter.
pub(super) fn send(
    request: &mut StreamRequest,
    framing: Framing,
    output: Output,
    patience: Duration,
) -> HandlerResult {
    let parts = output.into_parts();
    let length = parts.iter().map(Vec::len).sum();
    match framing {
        Framing::Raw => {}
        Framing::Ready => {
            write!(request, "{length}")?;
            request.flush()?;
            wait_until_ready(request, patience)?;
        }
        Framing::Header => PREFIX.write_length(request, length)?,
        Framing::Json => {
            let header = JsonHeader { data_size: length };
            PREFIX.write_json_header(request, &header)?;
        }
    }
    for part in parts {
        request.write_all(&part)?;
        if framing == Framing::Raw {
            // Sent one by one, as in the tutorial, which shows that the parts stick together
            // anyway.
            request.flush()?;
        }
    }
    // Flushed here, so that a write error ends the request before the wait for the next command.
    Ok(request.flush()?)
}

fn wait_until_ready(request: &mut StreamRequest, patience: Duration) -> HandlerResult {
    let deadlines = request.deadlines();
    request.set_deadlines(deadlines.capped(patience));
    let ready = read_ready(request);
    request.set_deadlines(deadlines);
    Ok(ready?.map_err(ConversationError::into_error)?)
}

/// Reads [`READY`], in any number of pieces, and leaves the bytes behind it unread. A client that
/// has shut down its write end after the command counts as ready, since it can send nothing more.
fn read_ready(request: &mut StreamRequest) -> io::Result<Result<(), ConversationError>> {
    let mut sent = Vec::new();
    while sent.len() < READY.len() {
        let received = request.fill_buf()?;
        if received.is_empty() && sent.is_empty() {
            return Ok(Ok(()));
        }
        if received.is_empty() {
            return Ok(Err(ConversationError::ClosedBeforeReady));
        }
        let count = received.len().min(READY.len() - sent.len());
        sent.extend_from_slice(&received[..count]);
        request.consume(count);
        // The first wrong byte is enough.
        if !READY.as_bytes().starts_with(&sent) {
            let sent = String::from_utf8_lossy(&sent).into_owned();
            return Ok(Err(ConversationError::NotReady(sent)));
        }
    }
    Ok(Ok(()))
}
