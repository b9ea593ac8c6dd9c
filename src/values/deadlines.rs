//! How long a client may keep a connection waiting.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

/// The times that a client has for each part of a conversation. Each is without bound unless set,
/// as in Python.
///
/// They bound an *exchange*, not a system call: a client that sends or takes a byte now and then
/// does not outlive them. An exchange is a message of the client's and the answer to it. It begins
/// with the first byte that comes
///
/// * at the beginning of the connection,
/// * after a [`wait`](crate::StreamRequest::wait), and
/// * when the handler has sent something, and then reads what has not arrived yet.
///
/// Only the time that the handler waits for its client counts, not the time it works.
///
/// [`ServerHandle::set_deadlines`](crate::ServerHandle::set_deadlines) gives them to every
/// connection of a server, [`StreamRequest::set_deadlines`](crate::StreamRequest::set_deadlines)
/// to one. When one is over, the read, write or wait under way fails with
/// [`TimedOut`](io::ErrorKind::TimedOut) and a [`DeadlineExceeded`] inside, which a handler
/// usually passes on with `?`: the connection is closed, and the log says why, with the client's
/// address.
///
/// Python has none of them; its `timeout`, which bounds every system call by itself, is
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
///     Deadlines::new()
///         .first_byte(Duration::from_secs(5))
///         .idle(Duration::from_secs(60))
///         .read(Duration::from_secs(10))
///         .write(Duration::from_secs(10)),
/// );
/// # Ok::<(), socketserver::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[must_use]
pub struct Deadlines {
    pub(crate) first_byte: Option<Duration>,
    pub(crate) idle: Option<Duration>,
    pub(crate) read: Option<Duration>,
    pub(crate) write: Option<Duration>,
    pub(crate) lifetime: Option<Duration>,
}

impl Deadlines {
    /// No deadlines.
    pub fn new() -> Self {
        Self::default()
    }

    /// From the first read, or [`wait`](crate::StreamRequest::wait), to the client's first byte.
    pub fn first_byte(self, limit: Duration) -> Self {
        let first_byte = Some(limit);
        Self { first_byte, ..self }
    }

    /// Between exchanges: from the answer to the first byte of the next message.
    pub fn idle(self, limit: Duration) -> Self {
        let idle = Some(limit);
        Self { idle, ..self }
    }

    /// For the rest of a message that has begun: all reads of an exchange together.
    pub fn read(self, limit: Duration) -> Self {
        let read = Some(limit);
        Self { read, ..self }
    }

    /// For taking the answer: all writes of an exchange together. For a handler that sends without
    /// being asked it is all that is sent before the client's next message.
    pub fn write(self, limit: Duration) -> Self {
        let write = Some(limit);
        Self { write, ..self }
    }

    /// From the moment the connection was accepted to its end, whatever its client does. It ends
    /// reads and writes; a handler that does neither is not interrupted.
    pub fn lifetime(self, limit: Duration) -> Self {
        let lifetime = Some(limit);
        Self { lifetime, ..self }
    }

    /// All but [`lifetime`](Self::lifetime) set to `limit`: a client that makes the handler wait for
    /// longer, for whatever it is, is given up.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use socketserver::Deadlines;
    /// let limit = Duration::from_secs(60);
    /// let each = Deadlines::new().first_byte(limit).idle(limit).read(limit).write(limit);
    /// assert_eq!(Deadlines::each(limit), each);
    /// ```
    pub fn each(limit: Duration) -> Self {
        Self::new()
            .first_byte(limit)
            .idle(limit)
            .read(limit)
            .write(limit)
    }

    /// All but [`lifetime`](Self::lifetime) no longer than `limit`, which is also what those become
    /// that were not set: for a handler that has less patience in a part of its conversation than its
    /// server has.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use socketserver::Deadlines;
    /// let (short, long) = (Duration::from_secs(5), Duration::from_secs(60));
    /// let deadlines = Deadlines::new().idle(short).read(long);
    /// let expected = Deadlines::each(Duration::from_secs(10)).idle(short);
    /// assert_eq!(deadlines.at_most(Duration::from_secs(10)), expected);
    /// ```
    pub fn at_most(self, limit: Duration) -> Self {
        let shorter = |own: Option<Duration>| Some(own.map_or(limit, |own| own.min(limit)));
        Self {
            first_byte: shorter(self.first_byte),
            idle: shorter(self.idle),
            read: shorter(self.read),
            write: shorter(self.write),
            lifetime: self.lifetime,
        }
    }
}

/// Which of the [`Deadlines`] a client has missed, and how long it was.
///
/// It stands inside the [`io::Error`] of the read, write or wait that it ended, whose kind is
/// [`TimedOut`](io::ErrorKind::TimedOut).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeadlineExceeded {
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
    /// The deadline behind an error, looked for in it and in what caused it: for a
    /// [`handle_error`](crate::BaseServer::handle_error) that treats a client's silence apart, or a
    /// handler that says goodbye.
    ///
    /// ```
    /// use std::io::{self, Write};
    /// use socketserver::{DeadlineExceeded, HandlerResult, StreamRequest};
    ///
    /// fn conversation(request: &mut StreamRequest) -> HandlerResult {
    ///     match request.wait() {
    ///         Err(error) if DeadlineExceeded::behind(&error).is_some() => {
    ///             writeln!(request, "good night")?;
    ///             Err(error.into())
    ///         }
    ///         waited => Ok(drop(waited?)),
    ///     }
    /// }
    /// # use std::time::Duration;
    /// # use socketserver::{mock::MockStream, Deadlines};
    /// # let (mut request, recording) = MockStream::new().timeout().into_request();
    /// # request.set_deadlines(Deadlines::new().idle(Duration::from_secs(1)));
    /// # request.set_deadlines(Deadlines::new().first_byte(Duration::from_secs(1)));
    /// # let error = conversation(&mut request).unwrap_err();
    /// # request.flush().unwrap();
    /// # assert!(DeadlineExceeded::behind(&*error).is_some());
    /// # assert_eq!(recording.written(), b"good night\n");
    /// ```
    #[must_use]
    pub fn behind(error: &(dyn StdError + 'static)) -> Option<Self> {
        let mut error = Some(error);
        while let Some(this) = error {
            if let Some(exceeded) = this.downcast_ref() {
                return Some(*exceeded);
            }
            // `source` of an `io::Error` passes by the error inside of it.
            error = match this
                .downcast_ref::<io::Error>()
                .and_then(io::Error::get_ref)
            {
                Some(inner) => Some(inner),
                None => this.source(),
            };
        }
        None
    }

    /// How long the client had.
    #[must_use]
    pub fn limit(self) -> Duration {
        match self {
            Self::FirstByte(limit)
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
