//! An answer, in its frame.

use std::io::{self, BufRead, Write};
use std::time::Duration;

use serde::Serialize;
use socketserver::{HandlerResult, StreamRequest};

use super::conversation_error::ConversationError;
use super::{Framing, Output};
use crate::framing::LengthPrefix;

/// What a client says when it has read the length.
pub(super) const READY: &str = "recv_ready";

/// Answers are as long as the limits of the shell allow, and the prefix can say.
const PREFIX: LengthPrefix = LengthPrefix::little_endian().max_length(u32::MAX);

#[derive(Debug, Serialize)]
struct JsonHeader {
    data_size: usize,
}

/// Sends what a command wrote. A client that is to say that it is ready has `patience` for it, if the
/// server has not less.
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
            // The tutorial sends each by itself, and shows that they stick together all the same.
            request.flush()?;
        }
    }
    // A client that cannot be reached any more is known before its next command is waited for.
    Ok(request.flush()?)
}

fn wait_until_ready(request: &mut StreamRequest, patience: Duration) -> HandlerResult {
    let deadlines = request.deadlines();
    request.set_deadlines(deadlines.at_most(patience));
    let ready = read_ready(request);
    request.set_deadlines(deadlines);
    Ok(ready??)
}

/// Reads [`READY`], in however many pieces it comes, and no byte of what follows it.
fn read_ready(request: &mut StreamRequest) -> io::Result<Result<(), ConversationError>> {
    let mut said = Vec::new();
    while said.len() < READY.len() {
        let received = request.fill_buf()?;
        if received.is_empty() {
            return Ok(Err(ConversationError::ClosedBeforeReady));
        }
        let count = received.len().min(READY.len() - said.len());
        said.extend_from_slice(&received[..count]);
        request.consume(count);
        // One that says something else need not say all of it.
        if !READY.as_bytes().starts_with(&said) {
            let said = String::from_utf8_lossy(&said).into_owned();
            return Ok(Err(ConversationError::NotReady(said)));
        }
    }
    Ok(Ok(()))
}
