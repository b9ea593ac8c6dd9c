//! The bytes of an encrypted connection.

use std::fmt;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustls::ServerConnection;

use crate::transport::end_without_notice::EndWithoutNotice;
use crate::transport::stream::Stream;
use crate::values::address::Address;

/// The [`Stream`] over a connection whose handshake is complete.
pub(super) struct TlsStream {
    connection: ServerConnection,
    inner: Box<dyn Stream>,
    /// The decrypted bytes that have not been read.
    unread: usize,
    input: Input,
    output: Output,
}

/// Whether the client can send more.
#[derive(Debug)]
enum Input {
    Open,
    /// The connection has ended, or the server has ended this direction.
    Ended,
    /// The client's bytes are not TLS, or were changed on their way.
    Broken(rustls::Error),
}

/// Whether the server can send more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Output {
    Open,
    /// The notice of the end has been sent to the client.
    Ended,
    /// A part of the encrypted bytes could not be sent.
    Failed,
}

/// The most reads of one call that decrypt nothing for the handler. So a client that sends empty
/// records without end does not occupy its thread for longer.
const EMPTY_READS: u32 = 16;

impl TlsStream {
    pub fn new(connection: ServerConnection, inner: Box<dyn Stream>) -> Self {
        let mut stream = Self {
            connection,
            inner,
            unread: 0,
            input: Input::Open,
            output: Output::Open,
        };
        // The client may have sent more after the last message of the handshake. The first read
        // returns a failure again.
        let _ = stream.decrypt();
        stream
    }

    /// Decrypts what was received.
    fn decrypt(&mut self) -> io::Result<()> {
        match self.connection.process_new_packets() {
            Ok(state) => {
                self.unread = state.plaintext_bytes_to_read();
                Ok(())
            }
            Err(error) => {
                // The alert has the reason for the client, if the client still reads.
                let _ = self.send();
                self.input = Input::Broken(error.clone());
                Err(io::Error::new(ErrorKind::InvalidData, error))
            }
        }
    }

    /// Receives with `receive`, and decrypts. Sends the answers that TLS itself demands.
    fn receive(
        &mut self,
        receive: impl FnMut(&mut dyn Stream, &mut [u8]) -> io::Result<usize>,
    ) -> io::Result<()> {
        let mut encrypted = Encrypted {
            inner: &mut *self.inner,
            receive,
        };
        if self.connection.read_tls(&mut encrypted)? == 0 {
            self.input = Input::Ended;
        }
        self.decrypt()?;
        if self.connection.wants_write() {
            self.send()?;
        }
        Ok(())
    }

    /// Reads decrypted bytes; 0 is the client's end. Fails with `WouldBlock` if there are none.
    fn read_decrypted(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.connection.reader().read(buffer) {
            Ok(count) => {
                self.unread -= count.min(self.unread);
                Ok(count)
            }
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                Err(EndWithoutNotice::new("TLS").into())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => match &self.input {
                Input::Open => Err(error),
                Input::Ended => Ok(0),
                Input::Broken(reason) => {
                    Err(io::Error::new(ErrorKind::InvalidData, reason.clone()))
                }
            },
            Err(error) => Err(error),
        }
    }

    /// Returns whether a read returns at once, without a look at the connection.
    fn has_something(&self) -> bool {
        self.unread > 0 || !matches!(self.input, Input::Open) || !self.connection.wants_read()
    }

    /// Sends the encrypted bytes.
    fn send(&mut self) -> io::Result<()> {
        while self.connection.wants_write() {
            let sent = match self.connection.write_tls(&mut self.inner) {
                // With this error, the caller would assume that nothing has been written.
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Ok(0) => Err(ErrorKind::WriteZero.into()),
                sent => sent,
            };
            if sent.is_err() && self.output == Output::Open {
                self.output = Output::Failed;
            }
            sent?;
        }
        Ok(())
    }

    fn ensure_not_ended(&self) -> io::Result<()> {
        if self.output == Output::Ended {
            // rustls would send the bytes after the notice of the end.
            let message = "the writing side has ended";
            return Err(io::Error::new(ErrorKind::BrokenPipe, message));
        }
        Ok(())
    }
}

impl Read for TlsStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.read_decrypted(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return read,
            }
            self.receive(|inner, buffer| inner.read(buffer))?;
        }
    }
}

impl Write for TlsStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.ensure_not_ended()?;
        let count = self.connection.writer().write(bytes)?;
        self.send()?;
        Ok(count)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.ensure_not_ended()?;
        let count = self.connection.writer().write_vectored(parts)?;
        self.send()?;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()?;
        self.inner.flush()
    }
}

impl Stream for TlsStream {
    fn readable_now(&mut self) -> io::Result<bool> {
        for _ in 0..EMPTY_READS {
            if self.has_something() {
                return Ok(true);
            }
            if !self.inner.readable_now()? {
                return Ok(false);
            }
            // Tickets and key updates are no data.
            match self.receive(|inner, buffer| inner.read_now(buffer)) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                // A read returns the error.
                Err(_) => return Ok(true),
                Ok(()) => {}
            }
        }
        Ok(self.has_something())
    }

    fn wait_readable(&mut self, deadline: Option<Instant>) -> io::Result<bool> {
        while !self.readable_now()? {
            if !self.inner.wait_readable(deadline)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for _ in 0..EMPTY_READS {
            match self.read_decrypted(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return read,
            }
            self.receive(|inner, buffer| inner.read_now(buffer))?;
        }
        self.read_decrypted(buffer)
    }

    fn may_have_more(&self) -> bool {
        self.has_something() || self.inner.may_have_more()
    }

    fn shutdown(&mut self, how: Shutdown) -> io::Result<()> {
        if how != Shutdown::Write && matches!(self.input, Input::Open) {
            self.input = Input::Ended;
        }
        let mut notified = Ok(());
        // After a failed write, a notice of the end would make an incomplete answer look complete.
        if how != Shutdown::Read && self.output == Output::Open {
            self.output = Output::Ended;
            self.connection.send_close_notify();
            notified = self.send();
        }
        let ended = self.inner.shutdown(how);
        notified.and(ended)
    }

    fn set_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.inner.set_timeout(timeout)
    }

    fn set_deadline(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        self.inner.set_deadline(deadline)
    }

    fn set_nodelay(&mut self, nodelay: bool) -> io::Result<()> {
        self.inner.set_nodelay(nodelay)
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        self.inner.readiness()
    }

    fn local_address(&self) -> Option<Address> {
        self.inner.local_address()
    }
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream")
            .field("unread", &self.unread)
            .field("input", &self.input)
            .field("output", &self.output)
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

/// The encrypted bytes, as rustls reads them.
struct Encrypted<'a, F> {
    inner: &'a mut dyn Stream,
    receive: F,
}

impl<F: FnMut(&mut dyn Stream, &mut [u8]) -> io::Result<usize>> Read for Encrypted<'_, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (self.receive)(self.inner, buffer)
    }
}
