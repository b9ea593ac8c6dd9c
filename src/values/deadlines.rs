//! The bounds of the time for which a client may keep a handler waiting.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use crate::values::cause;

/// The times that a client has for each part of a conversation. A part has no bound unless its
/// deadline is set.
///
/// A deadline bounds an *exchange*: a client that sends or takes a byte now and then does not
/// outlive the deadline. An exchange is a message of the client's and the answer to that message.
/// An exchange begins with the first byte that comes
///
/// * at the beginning of the connection,
/// * after a [`wait`](crate::StreamRequest::wait), and
/// * when the handler has sent something, and then reads what has not arrived yet.
///
/// Only the time counts in which the handler waits for its client. The exceptions are
/// [`prepare`](Self::prepare) and [`lifetime`](Self::lifetime), which include the server's own
/// work.
///
/// [`ServerHandle::set_deadlines`](crate::ServerHandle::set_deadlines) sets the deadlines of every
/// connection of a server, [`StreamRequest::set_deadlines`](crate::StreamRequest::set_deadlines)
/// those of one connection. When a deadline is over, the read, write or wait under way fails with
/// [`TimedOut`](io::ErrorKind::TimedOut) and a [`DeadlineExceeded`] inside. A handler usually
/// passes the error on with `?`: the connection is closed, and the log has the reason with the
/// client's address.
///
/// Python has none of these deadlines. Python's `timeout`, which bounds each system call, is
/// [`StreamRequest::set_timeout`](crate::StreamRequest::set_timeout).
///
/// ```
/// use std::time::Duration;
/// use socketserver::{Deadlines, ThreadingTcpServer};
/// # use socketserver::{HandlerResult, RequestHandler, StreamRequest};
/// # struct Nothing;
/// # impl RequestHandler for Nothing {
/// #     fn handle(&mut self, _: &mut StreamRequest) -> HandlerResult { Ok(()) }
/// # }
///
/// let server = ThreadingTcpServer::bind("127.0.0.1:0", || Nothing)?;
/// server.handle().set_deadlines(
///     Deadlines::none()
///         .with_first_byte(Duration::from_secs(5))
///         .with_idle(Duration::from_secs(60))
///         .with_read(Duration::from_secs(10))
///         .with_write(Duration::from_secs(10)),
/// );
/// # Ok::<(), socketserver::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[must_use]
pub struct Deadlines {
    prepare: Option<Duration>,
    first_byte: Option<Duration>,
    idle: Option<Duration>,
    read: Option<Duration>,
    write: Option<Duration>,
    lifetime: Option<Duration>,
}

impl Deadlines {
    /// No deadlines, the default.
    pub fn none() -> Self {
        Self::default()
    }

    /// The same deadline for everything but [`lifetime`](Self::lifetime).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use socketserver::Deadlines;
    /// let limit = Duration::from_secs(60);
    /// let deadlines = Deadlines::uniform(limit);
    /// assert_eq!(deadlines.idle(), Some(limit));
    /// assert_eq!(deadlines.lifetime(), None);
    /// ```
    pub fn uniform(limit: Duration) -> Self {
        Self::none().capped(limit)
    }

    /// These deadlines, each shortened to `limit` if it is longer or not set;
    /// [`lifetime`](Self::lifetime) stays as it is. For a handler with less patience in a part of
    /// its conversation than its server has.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use socketserver::Deadlines;
    /// let (short, long) = (Duration::from_secs(5), Duration::from_secs(60));
    /// let deadlines = Deadlines::none().with_idle(short).with_read(long);
    /// let expected = Deadlines::uniform(Duration::from_secs(10)).with_idle(short);
    /// assert_eq!(deadlines.capped(Duration::from_secs(10)), expected);
    /// ```
    pub fn capped(self, limit: Duration) -> Self {
        let capped = |own: Option<Duration>| Some(own.map_or(limit, |own| own.min(limit)));
        Self {
            prepare: capped(self.prepare),
            first_byte: capped(self.first_byte),
            idle: capped(self.idle),
            read: capped(self.read),
            write: capped(self.write),
            lifetime: self.lifetime,
        }
    }

    /// The time for a preamble or a handshake: from the first read, write or wait for bytes in
    /// [`prepare_request`](crate::BaseServer::prepare_request) to the last, the layers' own work
    /// included.
    pub fn prepare(&self) -> Option<Duration> {
        self.prepare
    }

    /// Sets [`prepare`](Self::prepare).
    pub fn with_prepare(self, limit: Duration) -> Self {
        let prepare = Some(limit);
        Self { prepare, ..self }
    }

    /// The time from the first read, or [`wait`](crate::StreamRequest::wait), to the client's first
    /// byte.
    pub fn first_byte(&self) -> Option<Duration> {
        self.first_byte
    }

    /// Sets [`first_byte`](Self::first_byte).
    pub fn with_first_byte(self, limit: Duration) -> Self {
        let first_byte = Some(limit);
        Self { first_byte, ..self }
    }

    /// The time between two exchanges: from the wait for the next message to its first byte.
    pub fn idle(&self) -> Option<Duration> {
        self.idle
    }

    /// Sets [`idle`](Self::idle).
    pub fn with_idle(self, limit: Duration) -> Self {
        let idle = Some(limit);
        Self { idle, ..self }
    }

    /// The time for the rest of a message that has begun: all reads of an exchange together.
    pub fn read(&self) -> Option<Duration> {
        self.read
    }

    /// Sets [`read`](Self::read).
    pub fn with_read(self, limit: Duration) -> Self {
        let read = Some(limit);
        Self { read, ..self }
    }

    /// The time in which the client takes the answer: all writes of an exchange together. For a
    /// handler that sends without being asked, these are all writes before the client's next
    /// message.
    pub fn write(&self) -> Option<Duration> {
        self.write
    }

    /// Sets [`write`](Self::write).
    pub fn with_write(self, limit: Duration) -> Self {
        let write = Some(limit);
        Self { write, ..self }
    }

    /// The time from the accept of the connection to its close, whatever the client does. The end
    /// of the lifetime ends reads and writes; a handler that does neither is not interrupted.
    pub fn lifetime(&self) -> Option<Duration> {
        self.lifetime
    }

    /// Sets [`lifetime`](Self::lifetime).
    pub fn with_lifetime(self, limit: Duration) -> Self {
        let lifetime = Some(limit);
        Self { lifetime, ..self }
    }
}

/// Which of the [`Deadlines`] a client has missed, and how long that deadline was.
///
/// The [`io::Error`] of the read, write or wait that the deadline ended has it inside; the kind of
/// that error is [`TimedOut`](io::ErrorKind::TimedOut).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeadlineExceeded {
    /// [`Deadlines::prepare`]
    #[error("the client did not complete its preamble within {0:?} (prepare deadline)")]
    Prepare(Duration),
    /// [`Deadlines::first_byte`]
    #[error("the client sent nothing within {0:?} (first-byte deadline)")]
    FirstByte(Duration),
    /// [`Deadlines::idle`]
    #[error("the client was idle for {0:?} (idle deadline)")]
    Idle(Duration),
    /// [`Deadlines::read`]
    #[error("the client did not end its message within {0:?} (read deadline)")]
    Read(Duration),
    /// [`Deadlines::write`]
    #[error("the client did not take its answer within {0:?} (write deadline)")]
    Write(Duration),
    /// [`Deadlines::lifetime`]
    #[error("the connection has lasted for {0:?} (lifetime deadline)")]
    Lifetime(Duration),
}

impl DeadlineExceeded {
    /// The missed deadline in an error or in one of its causes; `None` if the error has another
    /// cause. For a [`handle_error`](crate::BaseServer::handle_error) that treats a client's
    /// silence apart, or a handler that sends a farewell.
    ///
    /// ```
    /// use std::io::{self, Write};
    /// use socketserver::{DeadlineExceeded, HandlerResult, StreamRequest};
    ///
    /// fn conversation(request: &mut StreamRequest) -> HandlerResult {
    ///     match request.wait() {
    ///         Err(error) if DeadlineExceeded::find_in(&error).is_some() => {
    ///             writeln!(request, "good night")?;
    ///             Err(error.into())
    ///         }
    ///         waited => Ok(drop(waited?)),
    ///     }
    /// }
    /// # use std::time::Duration;
    /// # use socketserver::{mock::MockStream, Deadlines};
    /// # let (mut request, recording) = MockStream::new().timeout().into_request();
    /// # request.set_deadlines(Deadlines::none().with_idle(Duration::from_secs(1)));
    /// # request.set_deadlines(Deadlines::none().with_first_byte(Duration::from_secs(1)));
    /// # let error = conversation(&mut request).unwrap_err();
    /// # request.flush().unwrap();
    /// # assert!(DeadlineExceeded::find_in(&*error).is_some());
    /// # assert_eq!(recording.written(), b"good night\n");
    /// ```
    #[must_use]
    pub fn find_in(error: &(dyn StdError + 'static)) -> Option<Self> {
        cause::find_in(error)
    }

    /// The time that the client had.
    #[must_use]
    pub fn limit(self) -> Duration {
        match self {
            Self::Prepare(limit)
            | Self::FirstByte(limit)
            | Self::Idle(limit)
            | Self::Read(limit)
            | Self::Write(limit)
            | Self::Lifetime(limit) => limit,
        }
    }

    pub(crate) fn into_error(self) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, self)
    }
}
