//! A handshake, in steps that do not wait.

use std::io::{self, BufRead, ErrorKind, Write};
use std::sync::Arc;
use std::time::Instant;

use rustls::{HandshakeKind, ServerConfig, ServerConnection};

use crate::mix_ins::tls::error::{HandshakeError, TlsError};
use crate::mix_ins::tls::session::{self, TlsSession};
use crate::mix_ins::tls::stream::TlsStream;
use crate::requests::stream_request::{Received, StreamRequest};
use crate::running::ended::EndedHandshake;
use crate::values::deadlines::Deadlines;
use crate::values::error::HandlerError;
use crate::values::request_event::HandshakeResult;

/// A handshake that has begun.
pub(super) struct Handshake {
    connection: ServerConnection,
    began: Instant,
    /// The deadlines to set after the handshake, if they differ.
    deadlines_after: Option<Deadlines>,
}

/// The progress of a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The client has to send more.
    NeedsMore,
    Complete,
}

impl Handshake {
    pub fn begin(
        config: Arc<ServerConfig>,
        deadlines_after: Option<Deadlines>,
    ) -> Result<Self, HandlerError> {
        let connection =
            ServerConnection::new(config).map_err(|error| TlsError::Library(error.into()))?;
        Ok(Self {
            connection,
            began: Instant::now(),
            deadlines_after,
        })
    }

    /// Emits the event of the handshake's end, which is now.
    pub fn emit_end(&self, request: &StreamRequest, result: HandshakeResult) {
        let version = session::version_of(&self.connection);
        let shared = request.server().shared();
        shared.emit_handshake(
            request.client_address(),
            &EndedHandshake {
                result,
                version,
                lasted: self.began.elapsed(),
            },
        );
    }

    pub fn deadlines_after(&self) -> Option<Deadlines> {
        self.deadlines_after
    }

    /// Goes on as far as the arrived bytes allow.
    pub fn step(&mut self, request: &mut StreamRequest) -> Result<Step, HandlerError> {
        loop {
            self.send(request)?;
            if !self.connection.is_handshaking() {
                return Ok(Step::Complete);
            }
            if request.buffer().is_empty() {
                match request.receive_now()? {
                    Received::Nothing => return Ok(Step::NeedsMore),
                    Received::End => return Err(left().into()),
                    Received::Bytes(_) => {}
                }
            }
            let mut unread = request.buffer();
            let taken = self.connection.read_tls(&mut unread)?;
            request.consume(taken);
            if let Err(error) = self.connection.process_new_packets() {
                // The alert has the reason for the client, if the client still reads.
                let _ = self.send(request);
                return Err(HandshakeError::new(error).into());
            }
        }
    }

    fn send(&mut self, request: &mut StreamRequest) -> io::Result<()> {
        let mut bytes = Vec::new();
        while self.connection.wants_write() {
            self.connection.write_tls(&mut bytes)?;
        }
        if bytes.is_empty() {
            return Ok(());
        }
        request.write_all(&bytes)?;
        request.flush()
    }

    /// The result of a handshake that is complete.
    pub fn result(&self) -> HandshakeResult {
        match self.connection.handshake_kind() {
            Some(HandshakeKind::Resumed) => HandshakeResult::Resumed,
            _ => HandshakeResult::Full,
        }
    }

    /// Encrypts the connection from now on.
    pub fn install(self, request: &mut StreamRequest) {
        let session = TlsSession::of(&self.connection);
        request.extensions_mut().insert(session);
        request.refuse_silently(false);
        request.map_stream(|inner| Box::new(TlsStream::new(self.connection, inner)));
    }
}

/// Makes the error of a client that has left before the handshake was complete.
pub(super) fn left() -> io::Error {
    io::Error::new(
        ErrorKind::UnexpectedEof,
        "the client has left in the TLS handshake",
    )
}

/// Returns the result of a handshake that this error has ended: the two sides did not agree, or the
/// client has left or was too late.
pub(super) fn result_of(error: &HandlerError) -> HandshakeResult {
    match HandshakeError::find_in(&**error) {
        Some(_) => HandshakeResult::Failed,
        None => HandshakeResult::Abandoned,
    }
}
