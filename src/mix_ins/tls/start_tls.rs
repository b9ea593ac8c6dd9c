//! Encryption that begins in the middle of a conversation.

use std::io::{self, ErrorKind, Write};

use crate::mix_ins::tls::config::TlsConfig;
use crate::mix_ins::tls::handshake::{Handshake, Step, left, result_of};
use crate::requests::stream_request::StreamRequest;
use crate::values::error::{HandlerError, HandlerResult};

impl StreamRequest {
    /// Encrypts the connection from now on, in the middle of its conversation (STARTTLS). Sends the
    /// written bytes, makes the handshake, and returns when the handshake is complete. The
    /// [read deadline](crate::Deadlines::read) bounds the handshake. Python's counterpart is
    /// `ssl.SSLContext.wrap_socket`.
    ///
    /// The handler first answers the client's request for encryption. This answer is the last that
    /// is sent unencrypted.
    ///
    /// # Errors
    ///
    /// [`InvalidData`](ErrorKind::InvalidData) if the client has sent unencrypted bytes after its
    /// request for encryption. An attacker between the two sides may have added them, so they must
    /// not become a part of the encrypted conversation. A
    /// [`HandshakeError`](crate::HandshakeError), and the errors of the connection.
    pub fn start_tls(&mut self, config: &TlsConfig) -> HandlerResult {
        if self.tls_session().is_some() {
            let message = "the connection is encrypted already";
            return Err(io::Error::new(ErrorKind::InvalidInput, message).into());
        }
        if !self.buffer().is_empty() {
            let message = "the client has sent unencrypted bytes after its request for encryption";
            return Err(io::Error::new(ErrorKind::InvalidData, message).into());
        }
        self.flush()?;
        let mut handshake = Handshake::begin(config.current(), None)?;
        let complete = self.complete(&mut handshake);
        let result = match &complete {
            Ok(()) => handshake.result(),
            Err(error) => result_of(error),
        };
        config.count(result);
        handshake.emit_end(self, result);
        complete?;
        handshake.install(self);
        Ok(())
    }

    fn complete(&mut self, handshake: &mut Handshake) -> Result<(), HandlerError> {
        while handshake.step(self)? == Step::NeedsMore {
            // The first byte of a message begins the time of the read deadline.
            if !self.wait()? {
                return Err(left().into());
            }
        }
        Ok(())
    }
}
