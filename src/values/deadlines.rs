//! The bounds of the time for which a client may keep a handler waiting.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use crate::values::cause;

/// The times that a client has for each part of a conversation. A part has no bound unless its
/// deadline is set.
///
/// A deadline bounds an *exchange*: a client cannot extend it by a byte now and then. An exchange
/// is a message of the client's and the answer to that message. An exchange begins with the first
/// byte that comes
///
/// * at the beginning of the connection,
/// * after a [`wait`](crate::StreamRequest::wait), and
/// * when the handler has sent something, and then reads what has not arrived yet.
///
/// A deadline counts only the time in which the handler waits for its client. The exceptions are
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
    progress: Option<Duration>,
    lifetime: Option<Duration>,
}

impl Deadlines {
    /// Makes a value without deadlines, which is the default.
    pub fn none() -> Self {
        Self::default()
    }

    /// Makes a value with the same deadline for every part of a conversation.
    /// [`lifetime`](Self::lifetime) is not set. [`progress`](Self::progress) is not set either,
    /// since it cannot be over before `read` and `write` of the same time.
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

    /// Returns these deadlines, each shortened to `limit` if it is longer or not set;
    /// [`progress`](Self::progress) and [`lifetime`](Self::lifetime) stay as they are. In this way
    /// a handler sets shorter deadlines than its server in a part of its conversation.
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
            progress: self.progress,
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

    /// The time for the rest of a message that has begun: all reads of an exchange together,
    /// however long the message is. For large messages, [`progress`](Self::progress) is better.
    pub fn read(&self) -> Option<Duration> {
        self.read
    }

    /// Sets [`read`](Self::read).
    pub fn with_read(self, limit: Duration) -> Self {
        let read = Some(limit);
        Self { read, ..self }
    }

    /// The time in which the client takes the answer: all writes of an exchange together, however
    /// long the answer is. If a handler sends without being asked, these are all writes before the
    /// client's next message. For large answers, [`progress`](Self::progress) is better.
    pub fn write(&self) -> Option<Duration> {
        self.write
    }

    /// Sets [`write`](Self::write).
    pub fn with_write(self, limit: Duration) -> Self {
        let write = Some(limit);
        Self { write, ..self }
    }

    /// The longest time without a byte in the middle of a message or of an answer. With each byte
    /// that the client sends or takes, the time begins again.
    ///
    /// A server of large files needs this deadline: a slow client may take as long as it needs, as
    /// long as bytes move. If [`read`](Self::read), [`write`](Self::write) or
    /// [`lifetime`](Self::lifetime) is set too, it ends the connection of a client that moves one
    /// byte now and then.
    ///
    /// Bytes count as taken when the operating system has accepted them for the client. A layer
    /// that changes the bytes passes [`set_timeout`](crate::layer::Stream::set_timeout) on to its
    /// inner stream, which keeps this deadline.
    pub fn progress(&self) -> Option<Duration> {
        self.progress
    }

    /// Sets [`progress`](Self::progress).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use socketserver::Deadlines;
    /// // A server for large files: patient in the middle of one, not between two.
    /// let deadlines = Deadlines::none()
    ///     .with_first_byte(Duration::from_secs(10))
    ///     .with_idle(Duration::from_secs(60))
    ///     .with_progress(Duration::from_secs(30));
    /// assert_eq!(deadlines.write(), None);
    /// ```
    pub fn with_progress(self, limit: Duration) -> Self {
        let progress = Some(limit);
        Self { progress, ..self }
    }

    /// The time from the accept of the connection to its close, whatever the client does.
    ///
    /// A read, write or wait under way at the end of the lifetime fails when it would have to wait
    /// for the client. A read, write or wait that begins later fails at once, even if bytes have
    /// arrived. Written bytes that are still unsent are sent, as far as the connection takes them
    /// without waiting. A handler that neither reads, writes nor waits is not interrupted.
    pub fn lifetime(&self) -> Option<Duration> {
        self.lifetime
    }

    /// Sets [`lifetime`](Self::lifetime).
    pub fn with_lifetime(self, limit: Duration) -> Self {
        let lifetime = Some(limit);
        Self { lifetime, ..self }
    }
}

/// The deadline of [`Deadlines`] that a client has missed, and how long it was.
///
/// [`find_in`](Self::find_in) finds it in the [`io::Error`] of the read, write or wait that the
/// deadline ended; the kind of that error is [`TimedOut`](io::ErrorKind::TimedOut). The text of the
/// error of a write has the number of bytes that were sent before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeadlineExceeded {
    /// The client missed [`Deadlines::prepare`].
    #[error("the client did not complete its preamble within {0:?} (prepare deadline)")]
    Prepare(Duration),
    /// The client missed [`Deadlines::first_byte`].
    #[error("the client sent nothing within {0:?} (first-byte deadline)")]
    FirstByte(Duration),
    /// The client missed [`Deadlines::idle`].
    #[error("the client was idle for {0:?} (idle deadline)")]
    Idle(Duration),
    /// The client missed [`Deadlines::read`].
    #[error("the client did not end its message within {0:?} (read deadline)")]
    Read(Duration),
    /// The client missed [`Deadlines::write`].
    #[error("the client did not take its whole answer within {0:?} (write deadline)")]
    Write(Duration),
    /// The client missed [`Deadlines::progress`].
    #[error("no byte of the client's message or answer moved for {0:?} (progress deadline)")]
    Progress(Duration),
    /// The connection reached [`Deadlines::lifetime`].
    #[error("the connection has lasted for {0:?} (lifetime deadline)")]
    Lifetime(Duration),
}

impl DeadlineExceeded {
    /// Returns the missed deadline in an error or in one of its causes; `None` if the error has
    /// another cause. With this result, an override of
    /// [`handle_error`](crate::BaseServer::handle_error) can treat a missed deadline in its own
    /// way, and a handler can send a farewell.
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
        let after_bytes = || cause::find_in(error).map(|LateAnswer { exceeded, .. }| exceeded);
        cause::find_in(error).or_else(after_bytes)
    }

    /// Returns the time that the client had.
    #[must_use]
    pub fn limit(self) -> Duration {
        match self {
            Self::Prepare(limit)
            | Self::FirstByte(limit)
            | Self::Idle(limit)
            | Self::Read(limit)
            | Self::Write(limit)
            | Self::Progress(limit)
            | Self::Lifetime(limit) => limit,
        }
    }

    pub(crate) fn into_error(self) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, self)
    }

    /// Makes the error of an answer of which `sent` bytes had been sent.
    pub(crate) fn into_error_after(self, sent: u64) -> io::Error {
        match sent {
            0 => self.into_error(),
            sent => {
                let exceeded = self;
                io::Error::new(io::ErrorKind::TimedOut, LateAnswer { exceeded, sent })
            }
        }
    }
}

/// A deadline that the client missed in the middle of an answer.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("{exceeded}; {sent} bytes of the answer had been sent")]
struct LateAnswer {
    exceeded: DeadlineExceeded,
    sent: u64,
}
