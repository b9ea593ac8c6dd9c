//! The waits of a handler: for its client, for another descriptor, and for a time.

use std::io::{self, ErrorKind};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};

use crate::requests::exchange_clock::Bounds;
use crate::requests::outbox::{Outbox, OutboxReceiver};
use crate::requests::stream_request::StreamRequest;
use crate::support::deadline::Deadline;
use crate::transport::end_without_notice::EndWithoutNotice;
use crate::transport::poll::{poll_until, readable_by, readable_now};
use crate::transport::stream::has_expired;
use crate::transport::waits::blocking;

/// The event that has ended a wait of [`wait_timeout`](StreamRequest::wait_timeout) or
/// [`wait_beside`](StreamRequest::wait_beside).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Waited {
    /// The client has sent something: [`buffer`](StreamRequest::buffer) is not empty.
    Sent,
    /// The client has ended its side, and the handler has read everything that the client sent. The
    /// handler may still write.
    Closed,
    /// The server is stopping, and the client has sent nothing further. Or the connection has had
    /// its [turn](crate::Limits::turn), and another client waits.
    Draining,
    /// A read of the other descriptor returns bytes, the end of file or an error at once.
    Other,
    /// The time is over.
    Nothing,
}

impl StreamRequest {
    /// Waits for the client's next message. Returns true when bytes have arrived. Returns false
    ///
    /// * when the client has ended its side,
    /// * when the server is stopping and no byte has arrived, or
    /// * when the connection has had its [turn](crate::Limits::turn) and another client waits.
    ///
    /// `while request.wait()? { … }` is the communication loop of a handler that can be drained: a
    /// stopping server ends the wait of an idle handler at once, and lets a busy handler finish its
    /// exchange. A handler that reads without this wait may delay the stop until the drain timeout.
    /// Written bytes are sent before the wait. Python has no counterpart.
    ///
    /// # Errors
    ///
    /// [`TimedOut`](ErrorKind::TimedOut) when the [timeout](Self::set_timeout) or a
    /// [deadline](Self::set_deadlines) is over, and the errors of the connection, such as
    /// [`ConnectionReset`](ErrorKind::ConnectionReset).
    pub fn wait(&mut self) -> io::Result<bool> {
        Ok(self.wait_for(None, None)? == Waited::Sent)
    }

    /// Waits for the client's next message, at most for `timeout`, and returns the event that has
    /// ended the wait. A handler that has something to do from time to time waits in this way.
    ///
    /// A timeout of zero looks without waiting: a handler in the middle of a long answer can check
    /// whether its client has left. Such a look is no part of the conversation, and neither begins
    /// nor ends an exchange.
    ///
    /// Everything else is as in [`wait`](Self::wait). Bytes in the [`buffer`](Self::buffer) count
    /// as sent at once. Written bytes are sent before the wait, and the messages of the
    /// [outbox](Self::outbox) during the wait. A stopping server ends the wait. The
    /// [deadlines](Self::set_deadlines) bound the sum of the waits that end without a byte. Over a
    /// [mock](crate::mock), the next step of the script decides, and
    /// [`timeout`](crate::mock::MockStream::timeout) is [`Waited::Nothing`].
    ///
    /// Python's counterpart is `select.select([self.request], [], [], timeout)`, which does not see
    /// the bytes that `rfile` has buffered.
    ///
    /// ```
    /// use std::io::Write;
    /// use std::time::Duration;
    /// use socketserver::{HandlerResult, StreamRequest, Waited};
    ///
    /// /// Reports the progress of long work, and ends the work when nobody is there any more.
    /// fn work(request: &mut StreamRequest) -> HandlerResult {
    ///     for percent in 0..100 {
    ///         // … a hundredth of the work …
    ///         writeln!(request, "{percent} %")?;
    ///         match request.wait_timeout(Duration::ZERO)? {
    ///             Waited::Closed | Waited::Draining => return Ok(()),
    ///             _ => {}
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// # let mut client = socketserver::mock::MockStream::new();
    /// # for _ in 0..2 { client = client.timeout(); }
    /// # let recording = client.run(socketserver::handler_fn(work));
    /// # assert_eq!(recording.written(), b"0 %\n1 %\n2 %\n");
    /// ```
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_timeout(&mut self, timeout: Duration) -> io::Result<Waited> {
        self.wait_for(None, Some(timeout))
    }

    /// Waits for the client's next message, until `other` is readable, or at most for `timeout`,
    /// whichever is first. Returns the event that has ended the wait. This method is for a handler
    /// that has a second connection. A handler that only carries the bytes of two connections calls
    /// [`relay`](Self::relay).
    ///
    /// If the client and `other` both have bytes, the calls return [`Waited::Sent`] and
    /// [`Waited::Other`] in turn, so that neither delays the other. The caller looks at its own
    /// buffers of `other`, such as those of a `BufReader` or of TLS, before the wait.
    ///
    /// Everything else is as in [`wait_timeout`](Self::wait_timeout). A mock has no descriptor.
    /// Over a mock the call returns [`Waited::Other`] if `other` is readable already, and otherwise
    /// takes the next step of the script. At a step [`timeout`](crate::mock::MockStream::timeout),
    /// the call waits for `other` and `timeout`.
    ///
    /// Python's counterpart is `select.select([self.request, other], [], [])`.
    ///
    /// ```
    /// use std::io::{BufRead, Read, Write};
    /// use std::net::TcpStream;
    /// use std::os::fd::AsFd;
    /// use socketserver::{HandlerResult, StreamRequest, Waited};
    ///
    /// /// Passes bytes on by hand, which is the place to look at them.
    /// fn pass_on(request: &mut StreamRequest, mut other: TcpStream) -> HandlerResult {
    ///     let mut bytes = [0; 4096];
    ///     loop {
    ///         match request.wait_beside(other.as_fd(), None)? {
    ///             Waited::Sent => {
    ///                 let count = request.buffer().len();
    ///                 other.write_all(request.buffer())?;
    ///                 request.consume(count);
    ///             }
    ///             Waited::Other => match other.read(&mut bytes)? {
    ///                 0 => return Ok(()),
    ///                 count => request.write_all(&bytes[..count])?,
    ///             },
    ///             _ => return Ok(()),
    ///         }
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_beside(
        &mut self,
        other: BorrowedFd<'_>,
        timeout: Option<Duration>,
    ) -> io::Result<Waited> {
        if self.other_is_next && readable_now(other)? {
            self.other_is_next = false;
            self.deliver_outbox()?;
            self.send_gathered()?;
            return Ok(Waited::Other);
        }
        let waited = self.wait_for(Some(other), timeout)?;
        self.other_is_next = waited == Waited::Sent;
        Ok(waited)
    }

    /// Returns the outbox of this connection, through which any thread sends whole messages to this
    /// client. A connection without an outbox pays nothing for it. An outbox costs two descriptors
    /// once the handler's thread waits for the client; under a reactor it costs none. Python has no
    /// counterpart.
    ///
    /// # Errors
    ///
    /// Returns no error at present. A later version may need a resource of the operating system.
    pub fn outbox(&mut self) -> io::Result<Outbox> {
        if self.outbox.is_none() {
            let receiver = OutboxReceiver::new(self.unpark_handle());
            self.outbox = Some(Box::new(receiver));
        }
        let outbox = self.outbox.as_ref().expect("it was set above");
        Ok(outbox.outbox())
    }

    /// Writes the messages that wait in the outbox.
    pub(super) fn deliver_outbox(&mut self) -> io::Result<()> {
        if self.outbox.is_none() {
            return Ok(());
        }
        self.deliver_messages()
    }

    fn deliver_messages(&mut self) -> io::Result<()> {
        while let Some(message) = self.outbox.as_ref().and_then(|it| it.take()) {
            self.gather(&message)?;
        }
        Ok(())
    }

    fn wait_for(
        &mut self,
        other: Option<BorrowedFd<'_>>,
        timeout: Option<Duration>,
    ) -> io::Result<Waited> {
        let only_looks = timeout == Some(Duration::ZERO);
        self.ensure_in_time()?;
        if !only_looks && self.has_had_its_turn() {
            return Ok(Waited::Draining);
        }
        self.deliver_outbox()?;
        if !self.read_buffer.is_empty() {
            if let Some(clock) = self.clock.as_mut().filter(|_| !only_looks) {
                clock.begin_exchange();
            }
            return Ok(Waited::Sent);
        }
        self.send_gathered()?;
        if let Some(clock) = self.clock.as_mut().filter(|_| !only_looks) {
            clock.end_exchange();
        }
        // A look does not make a busy handler idle: a drain would shut the reading side of an idle
        // handler down.
        let may_wait = if only_looks && self.stream.readiness().is_some() {
            !self.server().is_draining()
        } else {
            self.guard.begin_wait()
        };
        if !may_wait && !self.stream.readable_now()? {
            return Ok(Waited::Draining);
        }
        let has_outbox = self.outbox.is_some() && self.stream.readiness().is_some();
        let waited = if has_outbox || other.is_some() || timeout.is_some() {
            self.wait_for_first(other, timeout)
        } else {
            // The read itself waits, which saves the poll(2).
            let received =
                self.receive(|stream, buffer| EndWithoutNotice::as_end(buffer.fill(stream)));
            received.map(|count| self.waited_for_bytes(count))
        };
        self.guard.end_wait();
        waited
    }

    /// Waits for the client, `other` or the end of the time, whichever is first. Receives what the
    /// client has sent.
    fn wait_for_first(
        &mut self,
        other: Option<BorrowedFd<'_>>,
        timeout: Option<Duration>,
    ) -> io::Result<Waited> {
        let begun = Instant::now();
        let by_caller = timeout.and_then(|timeout| begun.checked_add(timeout));
        let (bounds, until) = self.begin_bounded_wait();
        let end = by_caller.into_iter().chain(until).min();
        let first = self.first_of_client_and(other, end);
        let received = match first {
            Ok(First::Client) => self.receive_by(end, bounds),
            _ => Ok(None),
        };
        if let Some(clock) = &mut self.clock {
            let count = received.as_ref().ok().copied().flatten();
            clock.end_read(count.unwrap_or(0), begun.elapsed());
        }
        match (first?, received) {
            (First::Client, Ok(Some(count))) => Ok(self.waited_for_bytes(count)),
            (First::Client, Err(error)) => Err(self.explain_read(error, bounds)),
            (First::Other, _) => Ok(Waited::Other),
            (First::Drain, _) => Ok(Waited::Draining),
            // The time is over. For a layer, this may be in the middle of what the client has sent.
            _ if by_caller.is_some() && by_caller == end => Ok(Waited::Nothing),
            _ => Err(self.explain_expired(bounds)),
        }
    }

    /// Waits for more of a message that has begun, if there is an outbox, and delivers its messages
    /// meanwhile. Without an outbox, the read itself waits.
    pub(super) fn wait_within_message(&mut self) -> io::Result<()> {
        let has_outbox = self.outbox.is_some() && self.stream.readiness().is_some();
        if !has_outbox || !self.read_buffer.is_empty() {
            return Ok(());
        }
        self.send_gathered()?;
        let begun = Instant::now();
        let (bound, until) = self.begin_bounded_wait();
        let first = self.first_of_client_and(None, until)?;
        if let Some(clock) = &mut self.clock {
            clock.end_read(0, begun.elapsed());
        }
        match first {
            First::Nothing => Err(self.explain_expired(bound)),
            _ => Ok(()),
        }
    }

    /// Polls until the client or `other` has something, and meanwhile sends the messages that other
    /// threads leave in the outbox.
    fn first_of_client_and(
        &mut self,
        other: Option<BorrowedFd<'_>>,
        end: Option<Instant>,
    ) -> io::Result<First> {
        let deadline = end.map_or(Deadline::NEVER, Deadline::at);
        loop {
            // A layer may have buffered bytes, which no descriptor reports.
            if self.stream.readable_now()? {
                return Ok(First::Client);
            }
            let Some(connection) = self.stream.readiness() else {
                return self.first_without_descriptor(other, end);
            };
            let outbox = self.outbox.as_ref().map(|outbox| outbox.readiness());
            let outbox = outbox.transpose()?;
            let mut fds = [
                PollFd::new(connection, PollFlags::POLLIN),
                PollFd::new(outbox.unwrap_or(connection), PollFlags::POLLIN),
                PollFd::new(other.unwrap_or(connection), PollFlags::POLLIN),
            ];
            if !blocking(|| poll_until(&mut fds, deadline))? {
                return Ok(First::Nothing);
            }
            let [by_client, by_outbox, by_other] = fds.map(|fd| fd.any().unwrap_or(true));
            if by_client {
                return Ok(First::Client);
            }
            if let Some(outbox) = self.outbox.as_ref().filter(|_| by_outbox) {
                outbox.clear();
                self.deliver_outbox()?;
                self.send_gathered()?;
            }
            // Without another descriptor, the second entry is the connection again. It may become
            // readable before poll(2) looks at that entry.
            if by_other && other.is_some() {
                return Ok(First::Other);
            }
            // Checked after a delivery too: an outbox that is never empty keeps no client.
            if deadline.is_over() {
                return Ok(First::Nothing);
            }
        }
    }

    /// Does the same over a stream without a descriptor. poll(2) cannot wait for such a stream
    /// together with another descriptor.
    fn first_without_descriptor(
        &mut self,
        other: Option<BorrowedFd<'_>>,
        end: Option<Instant>,
    ) -> io::Result<First> {
        if let Some(other) = other
            && readable_now(other)?
        {
            return Ok(First::Other);
        }
        if self.stream.wait_readable(end)? {
            let by_server = self.guard.is_interrupted();
            return Ok(if by_server {
                First::Drain
            } else {
                First::Client
            });
        }
        let deadline = end.map_or(Deadline::NEVER, Deadline::at);
        match other {
            Some(other) if blocking(|| readable_by(other, deadline))? => Ok(First::Other),
            _ => Ok(First::Nothing),
        }
    }

    /// Receives into the empty buffer. Returns `None` if only a part of what a layer needs has
    /// arrived by `end`.
    fn receive_by(&mut self, end: Option<Instant>, bounds: Bounds) -> io::Result<Option<usize>> {
        self.bound_stream(bounds)?;
        self.stream.set_deadline(end)?;
        let received = EndWithoutNotice::as_end(self.read_buffer.fill(&mut *self.stream));
        if self.clock.is_none() {
            self.stream.set_deadline(None)?;
        }
        match received {
            Ok(count) => {
                self.note_received(count);
                Ok(Some(count))
            }
            Err(error) if has_expired(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn waited_for_bytes(&self, count: usize) -> Waited {
        match count {
            0 if self.guard.is_interrupted() => Waited::Draining,
            0 => Waited::Closed,
            _ => Waited::Sent,
        }
    }

    /// Returns the bound of a wait for the client that begins now, and the end of the wait by the
    /// deadlines or by the timeout.
    pub(super) fn begin_bounded_wait(&mut self) -> (Bounds, Option<Instant>) {
        if self.clock.is_none() && self.timeouts.is_none() {
            return (Bounds::default(), None);
        }
        let now = Instant::now();
        let bounds = self.clock.as_mut().map(|clock| clock.begin_read(now));
        let bounds = bounds.unwrap_or_default();
        let by_timeout = self.timeout().and_then(|timeout| now.checked_add(timeout));
        let by_deadline = bounds.of_wait(now).map(|bound| bound.until);
        let until = by_timeout.into_iter().chain(by_deadline).min();
        (bounds, until)
    }

    /// Returns the error of a wait that has reached its bound.
    pub(super) fn explain_expired(&mut self, bounds: Bounds) -> io::Error {
        let is_deadline = bounds.whole.is_some_and(|it| it.until <= Instant::now());
        let expired = if is_deadline {
            ErrorKind::TimedOut
        } else {
            ErrorKind::WouldBlock
        };
        self.explain_read(expired.into(), bounds)
    }
}

/// What a poll has found first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    Client,
    Other,
    /// The server has ended the wait of a stream without a descriptor.
    Drain,
    Nothing,
}
