//! The relay between a request and another connection.

use std::error::Error as StdError;
use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};

use crate::requests::stream_request::{StreamRequest, interrupted};
use crate::running::request_guard::RequestGuard;
use crate::support::deadline::Deadline;
use crate::transport::poll::poll_until;
use crate::transport::relay_end::{Books, RelayEnd, RelayPeer};
use crate::transport::stream::has_expired;
use crate::transport::waits::blocking;
use crate::values::cause::ends_connection;
use crate::values::deadlines::{DeadlineExceeded, Deadlines};

/// The most bytes that one read takes, and that wait for a slow side.
const CHUNK: usize = 16 * 1024;

/// A relay counts as idle when nothing has moved for so long. A transfer has pauses: the shortest
/// retransmission of TCP takes 200 ms.
const QUIET: Duration = Duration::from_millis(250);

/// The numbers of bytes that [`relay`](StreamRequest::relay) has carried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Relayed {
    /// The client's bytes that the other side has taken.
    pub from_client: u64,
    /// The bytes of the other side that the client has taken.
    pub to_client: u64,
}

impl StreamRequest {
    /// Carries bytes between the client and `other`, in both directions at once, until both have
    /// ended their sides. A proxy, a port forwarder or a tunnel needs no more than this call, once
    /// both sides are known.
    ///
    /// * Bytes that are buffered already go first, in both directions.
    /// * The end of one direction is passed on with shutdown(2), and the other direction goes on.
    /// * If a side does not take its bytes, the relay reads no more from the other side. At most 16
    ///   KiB wait for a side.
    /// * If one side fails, both sides are shut down, and the call returns the error.
    /// * If nothing has moved for a quarter of a second, the relay counts as idle, and a stopping
    ///   server ends it. A busy relay goes on until it is idle, at most until the drain timeout. A
    ///   relay whose client has ended its side, and waits for an answer, counts as busy. An idle
    ///   relay that the server ends returns what was carried.
    /// * Of the [deadlines](Self::set_deadlines), `idle` bounds the time in which nothing moves in
    ///   either direction. `progress` and `write` bound the time in which the client takes none of
    ///   the bytes that wait for it, and `lifetime` bounds the connection. `first_byte` and `read`
    ///   do not apply, nor does the [turn](crate::Limits::turn). A [timeout](Self::set_timeout) is
    ///   a bound like `idle`.
    /// * The client's side is counted in the [statistics](crate::ServerHandle::statistics).
    /// * Messages in the [outbox](Self::outbox) wait until the relay has ended, since a message
    ///   would land in the middle of the other side's bytes.
    ///
    /// `other` is a [`TcpStream`](std::net::TcpStream), a
    /// [`UnixStream`](std::os::unix::net::UnixStream), or a [`Stream`](crate::layer::Stream), such
    /// as that of a TLS client. A [mock](crate::mock) takes everything, and has the step
    /// [`timeout`](crate::mock::MockStream::timeout) for the time in which the other side answers.
    /// Python has no counterpart; its users write the loop over `select`.
    ///
    /// ```
    /// use std::net::TcpStream;
    /// use socketserver::{HandlerResult, RequestHandler, StreamRequest};
    ///
    /// /// Connects each client to the web server of this machine.
    /// struct Forward;
    ///
    /// impl RequestHandler for Forward {
    ///     fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
    ///         let mut web_server = TcpStream::connect("127.0.0.1:80")?;
    ///         request.relay(&mut web_server)?;
    ///         Ok(())
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`TimedOut`](ErrorKind::TimedOut) when a deadline or the timeout is over,
    /// [`ConnectionAborted`](ErrorKind::ConnectionAborted) at the drain timeout, and the errors of
    /// both sides. An error of `other` names the other side. After an error neither side can be
    /// used any more.
    pub fn relay<P: RelayPeer + ?Sized>(&mut self, other: &mut P) -> io::Result<Relayed> {
        self.relay_as(other, Silence::Idle)
    }

    /// Carries bytes as [`relay`](Self::relay) does, for another side that works for the client,
    /// such as a program on a socket pair. There are two differences:
    ///
    /// * A silent relay does not count as idle, because the other side may be working. So a
    ///   stopping server leaves the relay alone until the drain timeout.
    /// * A side that is gone in both directions (`POLLHUP`, `POLLERR`) ends the relay. If the other
    ///   side is gone, everything that the other side sent has been passed on to the client. The
    ///   client need not end its own side.
    ///
    /// Python has no counterpart.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`relay`](Self::relay), and [`BrokenPipe`](ErrorKind::BrokenPipe) if
    /// the client is gone before the other side has ended.
    pub fn relay_to_end<P: RelayPeer + ?Sized>(&mut self, other: &mut P) -> io::Result<Relayed> {
        self.relay_as(other, Silence::Work)
    }

    fn relay_as<P: RelayPeer + ?Sized>(
        &mut self,
        other: &mut P,
        silence: Silence,
    ) -> io::Result<Relayed> {
        self.ensure_readable()?;
        self.deliver_outbox()?;
        self.flush()?;
        self.write_buffer.settle_nagle_now(&mut *self.stream);
        let (unread, failure) = self.read_buffer.take();
        let deadlines = self.deadlines();
        let now = Instant::now();
        let lifetime = deadlines.lifetime();
        let ends = lifetime.and_then(|limit| self.guard.accepted().checked_add(limit));
        let books = Books {
            traffic: self.guard.traffic(),
            reading: self.guard.reading(),
        };
        let timeout = self.timeout();
        let mut relay = Relay {
            client: RelayEnd::of_stream(&mut *self.stream, Some(books)),
            other: other.relay_end(),
            guard: &self.guard,
            deadlines,
            timeout,
            ends,
            from_client: Direction::starting_with(unread),
            to_client: Direction::default(),
            failure,
            moved: now,
            client_took: now,
            silence,
            is_ended_by_server: false,
            has_hung_up: false,
            other_is_gone: false,
        };
        let ended = relay.run();
        relay.client.remove_deadline();
        relay.other.remove_deadline();
        let relayed = Relayed {
            from_client: relay.from_client.carried,
            to_client: relay.to_client.carried,
        };
        if let Err(failure) = ended {
            relay.client.shut_down(Shutdown::Both);
            relay.other.shut_down(Shutdown::Both);
            let is_owed = !relay.to_client.is_empty();
            return Err(self.explain_relay(failure, is_owed));
        }
        if let Some(clock) = &mut self.clock {
            clock.begin_exchange();
        }
        Ok(relayed)
    }

    /// `is_owed`: bytes were waiting for the client.
    fn explain_relay(&mut self, failure: Failure, is_owed: bool) -> io::Error {
        let error = match failure {
            _ if self.guard.is_aborted() => interrupted(),
            Failure::OfOther(error) => io::Error::new(error.kind(), OtherSideFailed(error)),
            Failure::OfClient(error) => {
                if ends_connection(&error) {
                    self.guard.note_client_left(is_owed);
                }
                error
            }
            Failure::Deadline(exceeded) => {
                self.guard.note_late_client();
                exceeded.into_error()
            }
            Failure::Timeout(timeout) => {
                self.guard.note_late_client();
                let message = format!("nothing was relayed within {timeout:?}");
                io::Error::new(ErrorKind::TimedOut, message)
            }
        };
        self.write_buffer.fail(error.kind());
        error
    }
}

/// A relay under way.
struct Relay<'a> {
    client: RelayEnd<'a>,
    other: RelayEnd<'a>,
    guard: &'a RequestGuard,
    deadlines: Deadlines,
    timeout: Option<Duration>,
    /// The end of the connection's lifetime.
    ends: Option<Instant>,
    from_client: Direction,
    to_client: Direction,
    /// The client's failure that came after the buffered bytes.
    failure: Option<io::Error>,
    /// When something moved the last time, in either direction.
    moved: Instant,
    /// When the client took something the last time, or had taken everything.
    client_took: Instant,
    silence: Silence,
    /// The drain has ended the client's side of an idle relay.
    is_ended_by_server: bool,
    /// The client's descriptor has an event that no read or write takes away.
    has_hung_up: bool,
    /// The other side has ended its direction, and takes nothing any more.
    other_is_gone: bool,
}

/// The meaning of a time in which nothing moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Silence {
    /// The relay is idle, and a server that stops ends it.
    Idle,
    /// The other side works for the client.
    Work,
}

impl Relay<'_> {
    fn run(&mut self) -> Result<(), Failure> {
        // On the stack, so that an idle relay has no buffer of its own.
        let mut chunk = [0; CHUNK];
        let mut readable = Readable::default();
        loop {
            let from_client = self.carry_from_client(&mut chunk, readable.client)?;
            let to_client = self.carry_to_client(&mut chunk, readable.other)?;
            let is_empty = self.from_client.is_empty() && self.to_client.is_empty();
            if is_empty && self.is_ended_by_server {
                return Ok(());
            }
            if self.to_client.is_passed_on && (self.from_client.is_passed_on || self.other_is_gone)
            {
                return Ok(());
            }
            readable = Readable::default();
            let now = Instant::now();
            if to_client || self.to_client.is_empty() {
                self.client_took = now;
            }
            if from_client || to_client {
                self.moved = now;
                self.ensure_within(now)?;
            } else {
                match self.wait(now)? {
                    Some(found) => readable = found,
                    None => return Ok(()),
                }
            }
        }
    }

    /// Carries the client's bytes on. Returns whether something has moved.
    fn carry_from_client(&mut self, chunk: &mut [u8], readable: bool) -> Result<bool, Failure> {
        let sent = self.from_client.send_rest(&mut self.other);
        let moved = sent.map_err(Failure::OfOther)?;
        if !self.from_client.may_receive() || self.is_ended_by_server {
            return Ok(moved);
        }
        if let Some(failure) = self.failure.take() {
            return Err(Failure::OfClient(failure));
        }
        if self.client.readiness().is_none() && !self.wait_for_client_without_descriptor()? {
            return Ok(moved);
        }
        match self.client.receive(chunk, readable) {
            Ok(None) => Ok(moved),
            Ok(Some(0)) if self.guard.is_aborted() => Err(Failure::OfClient(interrupted())),
            Ok(Some(0)) if self.guard.is_interrupted() => {
                self.is_ended_by_server = true;
                Ok(true)
            }
            Ok(Some(count)) => {
                let sent = self.from_client.pass_on(&mut self.other, &chunk[..count]);
                sent.map_err(Failure::OfOther)?;
                Ok(true)
            }
            Err(error) => Err(Failure::OfClient(error)),
        }
    }

    /// Carries the bytes of the other side on. Returns whether something has moved.
    fn carry_to_client(&mut self, chunk: &mut [u8], readable: bool) -> Result<bool, Failure> {
        let patience = self.patience();
        let write_by = patience.and_then(|it| self.client_took.checked_add(it.limit()));
        self.client.set_write_deadline(write_by);
        let direction = &mut self.to_client;
        let sent = direction.send_rest(&mut self.client);
        let moved = sent.map_err(|error| explain_client(error, patience))?;
        if !direction.may_receive() {
            return Ok(moved);
        }
        match self.other.receive(chunk, readable) {
            Ok(None) => Ok(moved),
            Ok(Some(count)) => {
                let sent = direction.pass_on(&mut self.client, &chunk[..count]);
                sent.map_err(|error| explain_client(error, patience))?;
                Ok(true)
            }
            Err(error) => Err(Failure::OfOther(error)),
        }
    }

    /// Returns whether a client without a descriptor has bytes now. Such a client is a mock's
    /// script, whose next step takes the place of a wait.
    fn wait_for_client_without_descriptor(&mut self) -> Result<bool, Failure> {
        if !self.guard.begin_wait() {
            self.is_ended_by_server = true;
            return Ok(false);
        }
        let waited = self.client.wait_without_descriptor();
        self.guard.end_wait();
        if self.guard.is_interrupted() {
            self.is_ended_by_server = true;
            return Ok(false);
        }
        waited.map_err(Failure::OfClient)
    }

    /// Waits until something may move, and returns which side is readable. Returns `None` if the
    /// server is stopping, and the relay is idle.
    fn wait(&mut self, now: Instant) -> Result<Option<Readable>, Failure> {
        let is_empty = self.from_client.is_empty() && self.to_client.is_empty();
        let quiet_at = self.moved + QUIET;
        // A client that has ended its side waits for an answer.
        let may_be_idle =
            self.silence == Silence::Idle && is_empty && !self.from_client.is_passed_on;
        let is_idle = may_be_idle && quiet_at <= now;
        self.ensure_within(now)?;
        if self.guard.is_aborted() {
            return Err(Failure::OfClient(interrupted()));
        }
        if self.silence == Silence::Work && self.has_hung_up && self.from_client.is_passed_on {
            // The client is gone, so the other side has no receiver any more.
            return Err(Failure::OfClient(ErrorKind::BrokenPipe.into()));
        }
        if is_idle && !self.guard.begin_wait() {
            return Ok(None);
        }
        let quiet = (may_be_idle && !is_idle).then_some(quiet_at);
        // No event shows an abort after a hang-up, so the relay looks again after a while.
        let look_again = self.has_hung_up.then(|| now + QUIET);
        let bounds = self.bounds().into_iter().flatten().map(|(until, _)| until);
        let end = bounds.chain(quiet).chain(look_again).min();
        let found = self.poll(end.map_or(Deadline::NEVER, Deadline::at));
        if is_idle {
            self.guard.end_wait();
        }
        found.map(Some)
    }

    fn poll(&mut self, deadline: Deadline) -> Result<Readable, Failure> {
        let events = |receives: &Direction, sends: &Direction| {
            let mut events = PollFlags::empty();
            events.set(PollFlags::POLLIN, receives.may_receive());
            events.set(PollFlags::POLLOUT, !sends.is_empty());
            events
        };
        let client_events = events(&self.from_client, &self.to_client);
        let other_events = events(&self.to_client, &self.from_client);
        // Without an event to wait for, the descriptor of a side that has left would end every
        // wait. The client's descriptor is polled all the same, since an abort shuts it down.
        let client = self.client.readiness();
        let client = client.filter(|_| !client_events.is_empty() || !self.has_hung_up);
        // A side that has ended one direction is polled only for the end of the other direction.
        let other_may_go = self.silence == Silence::Work && self.to_client.is_passed_on;
        let other = self.other.readiness();
        let other = other.filter(|_| !other_events.is_empty() || other_may_go);
        let sides = [(client, client_events), (other, other_events)];
        let [client, other] = sides.map(|(descriptor, events)| {
            descriptor.map(|descriptor| PollFd::new(descriptor, events))
        });
        let some = client.clone().or(other.clone()).ok_or_else(|| {
            let message = "nothing moves in the relay, and neither side has a descriptor";
            Failure::OfClient(io::Error::new(ErrorKind::TimedOut, message))
        })?;
        let has = [client.is_some(), other.is_some()];
        let mut fds = [client.unwrap_or(some.clone()), other.unwrap_or(some)];
        blocking(|| poll_until(&mut fds, deadline)).map_err(Failure::OfClient)?;
        let happened = [0, 1].map(|side| has[side] && fds[side].any() != Some(false));
        self.has_hung_up |= happened[0] && client_events.is_empty();
        self.other_is_gone |= happened[1] && other_events.is_empty();
        Ok(Readable {
            client: happened[0] && client_events.contains(PollFlags::POLLIN),
            other: happened[1] && other_events.contains(PollFlags::POLLIN),
        })
    }

    /// Returns how long the client may take none of the bytes that wait for it.
    fn patience(&self) -> Option<DeadlineExceeded> {
        let write = self.deadlines.write().map(DeadlineExceeded::Write);
        let progress = self.deadlines.progress().map(DeadlineExceeded::Progress);
        let both = write.into_iter().chain(progress);
        both.min_by_key(|exceeded| exceeded.limit())
    }

    /// Returns the bounds of the present wait, and the failure that each of them means.
    fn bounds(&self) -> [Option<(Instant, Failure)>; 4] {
        let bound = |since: Instant, limit: Option<Duration>, failure: fn(Duration) -> Failure| {
            let limit = limit?;
            Some((since.checked_add(limit)?, failure(limit)))
        };
        let patience = self.patience().filter(|_| !self.to_client.is_empty());
        let lifetime = self.deadlines.lifetime().unwrap_or_default();
        [
            bound(self.moved, self.deadlines.idle(), |limit| {
                Failure::Deadline(DeadlineExceeded::Idle(limit))
            }),
            patience.and_then(|exceeded| {
                let until = self.client_took.checked_add(exceeded.limit())?;
                Some((until, Failure::Deadline(exceeded)))
            }),
            bound(self.moved, self.timeout, Failure::Timeout),
            self.ends.map(|ends| {
                let exceeded = DeadlineExceeded::Lifetime(lifetime);
                (ends, Failure::Deadline(exceeded))
            }),
        ]
    }

    /// Fails if a bound is over.
    fn ensure_within(&self, now: Instant) -> Result<(), Failure> {
        let bounds = self.bounds().into_iter().flatten();
        match bounds.min_by_key(|(until, _)| *until) {
            Some((until, failure)) if until <= now => Err(failure),
            _ => Ok(()),
        }
    }
}

/// The failure of a write to the client.
fn explain_client(error: io::Error, patience: Option<DeadlineExceeded>) -> Failure {
    match patience {
        Some(exceeded) if has_expired(&error) => Failure::Deadline(exceeded),
        _ => Failure::OfClient(error),
    }
}

/// Which sides a poll has found readable.
#[derive(Debug, Clone, Copy, Default)]
struct Readable {
    client: bool,
    other: bool,
}

/// One direction of a relay.
#[derive(Debug, Default)]
struct Direction {
    /// Received bytes that the receiver had no room for.
    rest: Vec<u8>,
    /// How much of the rest is sent.
    start: usize,
    /// The sender has ended its side, and the receiver has been notified.
    is_passed_on: bool,
    carried: u64,
}

impl Direction {
    fn starting_with(rest: Vec<u8>) -> Self {
        Self {
            rest,
            ..Self::default()
        }
    }

    fn is_empty(&self) -> bool {
        self.start == self.rest.len()
    }

    fn may_receive(&self) -> bool {
        self.is_empty() && !self.is_passed_on
    }

    /// Sends the bytes that the receiver had no room for. Returns whether something was sent.
    fn send_rest(&mut self, receiver: &mut RelayEnd<'_>) -> io::Result<bool> {
        let begin = self.start;
        while !self.is_empty() {
            match receiver.send(&self.rest[self.start..])? {
                Some(count) => self.start += count,
                None => break,
            }
        }
        let sent = self.start - begin;
        self.carried += sent as u64;
        if self.is_empty() {
            (self.rest, self.start) = (Vec::new(), 0);
        }
        Ok(sent > 0)
    }

    /// Sends `bytes`, and keeps the bytes that the receiver has no room for. An empty slice is the
    /// end.
    fn pass_on(&mut self, receiver: &mut RelayEnd<'_>, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            receiver.shut_down(Shutdown::Write);
            self.is_passed_on = true;
            return Ok(());
        }
        let sent = receiver.send(bytes)?.unwrap_or(0);
        self.carried += sent as u64;
        if sent < bytes.len() {
            self.rest = bytes[sent..].to_vec();
        }
        Ok(())
    }
}

/// Why a relay has failed.
#[derive(Debug)]
enum Failure {
    OfClient(io::Error),
    OfOther(io::Error),
    Deadline(DeadlineExceeded),
    Timeout(Duration),
}

/// The error of the other side of a relay, which the client has not caused.
#[derive(Debug)]
struct OtherSideFailed(io::Error);

impl fmt::Display for OtherSideFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the other side of the relay failed: {}", self.0)
    }
}

impl StdError for OtherSideFailed {}
