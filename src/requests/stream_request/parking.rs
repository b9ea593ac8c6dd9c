//! The turns of a connection under a reactor, in which no thread waits for the client.

use std::io::{self, ErrorKind};
use std::os::fd::BorrowedFd;
use std::time::Instant;

use crate::requests::kept_handler::{BoundedWait, KeptHandler, Turns};
use crate::requests::parking::{Buffers, Draining, Parking, Turn, WaitForMore};
use crate::requests::request::Request;
use crate::requests::stream_request::{StreamRequest, interrupted};
use crate::running::unparks::Unpark;
use crate::transport::end_without_notice::EndWithoutNotice;
use crate::values::error::{HandlerError, run_step};

/// The most exchanges of one turn, so that a client that always has more to send does not delay the
/// others.
const LONGEST_TURN: u32 = 16;

impl StreamRequest {
    /// Ends the conversation after the present exchange: the framework calls no further
    /// [`exchange`](crate::ExchangeHandler::exchange).
    ///
    /// A handler with a communication loop of its own returns instead. Python's
    /// `self.close_connection = True` in `http.server`.
    pub fn close_connection(&mut self) {
        self.closes = true;
    }

    /// Whether the connection is to keep its handler between two turns.
    pub(crate) fn keeps_handlers(&self) -> bool {
        self.turns.is_some()
    }

    /// Keeps the handler for the turns to come.
    pub(crate) fn keep_handler(&mut self, handler: Box<dyn KeptHandler<StreamRequest>>) {
        if let Some(turns) = &mut self.turns {
            turns.handler = Some(handler);
        }
    }

    /// Ends the parking of this connection, from another thread; `None` without a reactor.
    pub(super) fn unpark_handle(&self) -> Option<Unpark> {
        let turns = self.turns.as_ref()?;
        let reactor = self.guard.server().shared().unparks()?;
        Some(Unpark::new(reactor, turns.token))
    }

    fn exchange_until_silent(
        &mut self,
        look: bool,
        handler: &mut dyn KeptHandler<StreamRequest>,
    ) -> Result<Progress, HandlerError> {
        if let Some(turns) = &mut self.turns {
            turns.edge |= look;
        }
        for _ in 0..LONGEST_TURN {
            if self.closes {
                return Ok(Progress::Ended);
            }
            match self.arrival(handler)? {
                Arrival::Message => run_step(|| handler.exchange(self))?,
                Arrival::Nothing => return Ok(Progress::Silent),
                Arrival::End => return Ok(Progress::Ended),
            }
        }
        // The answers of a turn are sent together.
        self.deliver_outbox()?;
        self.send_gathered()?;
        Ok(Progress::Again)
    }

    /// Receives what has arrived from the client, without waiting.
    fn arrival(&mut self, handler: &mut dyn KeptHandler<StreamRequest>) -> io::Result<Arrival> {
        self.ensure_in_time()?;
        if self.has_had_its_turn() {
            return Ok(Arrival::End);
        }
        self.deliver_outbox()?;
        loop {
            if !self.read_buffer.is_empty() {
                if self.client_has_ended
                    || self.read_buffer.is_full()
                    || handler.is_complete(self.read_buffer.bytes())
                {
                    self.begin_message();
                    return Ok(Arrival::Message);
                }
                self.begin_collecting();
            }
            if self.client_has_ended {
                return Ok(Arrival::End);
            }
            self.send_gathered()?;
            let edge = self
                .turns
                .as_mut()
                .is_some_and(|turns| std::mem::take(&mut turns.edge) || turns.end_follows);
            if !edge && !self.stream.may_have_more() {
                return Ok(Arrival::Nothing);
            }
            if self.read_buffer.is_empty()
                && let Some(clock) = &mut self.clock
            {
                clock.end_exchange();
            }
            match self.receive_what_is_there()? {
                None if self.is_not_waited_for() => return Ok(Arrival::End),
                None => return Ok(Arrival::Nothing),
                Some(0) if self.guard.is_aborted() => return Err(interrupted()),
                Some(0) => self.client_has_ended = true,
                Some(_) => {}
            }
        }
    }

    /// Receives without waiting. Returns `None` if nothing has arrived, and 0 at the end of file.
    fn receive_what_is_there(&mut self) -> io::Result<Option<usize>> {
        let mut nothing = false;
        let count = self.receive_in_time(|stream, buffer| {
            match EndWithoutNotice::as_end(buffer.append_now(stream)) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    nothing = true;
                    Ok(0)
                }
                received => received,
            }
        })?;
        if !nothing {
            self.note_received(count);
        }
        let Some(turns) = &mut self.turns else {
            return Ok(if nothing { None } else { Some(count) });
        };
        if !nothing {
            if let Some(wait) = turns.wait.take()
                && turns.collecting
                && let Some(clock) = &mut self.clock
            {
                clock.end_read(0, wait.since.elapsed());
            }
            return Ok(Some(count));
        }
        if let Some(wait) = &turns.wait
            && wait.until <= Instant::now()
        {
            let bounds = wait.bounds;
            return Err(self.explain_expired(bounds));
        }
        Ok(None)
    }

    /// Returns whether the server is draining, and no byte of a message has arrived.
    fn is_not_waited_for(&self) -> bool {
        let draining = self.turns.as_ref().is_some_and(|turns| turns.draining);
        draining && self.read_buffer.is_empty()
    }

    fn begin_message(&mut self) {
        let was_collecting = self.turns.as_mut().is_some_and(|turns| {
            turns.wait = None;
            std::mem::take(&mut turns.collecting)
        });
        if !was_collecting && let Some(clock) = &mut self.clock {
            clock.begin_exchange();
        }
    }

    fn begin_collecting(&mut self) {
        let Some(turns) = &mut self.turns else {
            return;
        };
        if !turns.collecting {
            turns.collecting = true;
            if let Some(clock) = &mut self.clock {
                clock.begin_exchange();
            }
        }
    }

    /// Ends the wait of [`Request::wait_for_more`].
    pub(super) fn end_wait_for_more_with(&mut self, waited: io::Result<bool>) -> io::Result<bool> {
        self.guard.end_wait();
        if self.guard.is_interrupted() {
            // The server has caused the end of file, with shutdown(2). Bytes before it came from
            // the client.
            let received = self.receive(|stream, buffer| buffer.append(stream));
            return Ok(received.is_ok_and(|count| count > 0));
        }
        match waited {
            Ok(false) => {
                let (bounds, _) = self.begin_bounded_wait();
                Err(self.explain_expired(bounds))
            }
            waited => waited,
        }
    }
}

impl Parking for StreamRequest {
    fn begin(&mut self, token: u64) {
        self.turns = Some(Turns {
            handler: None,
            token,
            collecting: false,
            edge: false,
            end_follows: false,
            idle: false,
            draining: false,
            wait: None,
        });
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        self.stream.readiness()
    }

    fn note_end(&mut self) {
        if let Some(turns) = &mut self.turns {
            turns.end_follows = true;
        }
    }

    fn turn(&mut self, look: bool, buffers: &mut Buffers) -> Turn {
        let handler = self.turns.as_mut().and_then(|turns| turns.handler.take());
        let Some(mut handler) = handler else {
            // The handler has run in one call.
            return Turn::Ended(Ok(()));
        };
        self.read_buffer.borrow(&mut buffers.read);
        self.write_buffer.borrow(&mut buffers.write);
        let progress = self.exchange_until_silent(look, &mut *handler);
        let turn = match progress {
            Ok(Progress::Silent) => Turn::Silent,
            Ok(Progress::Again) => Turn::Again,
            Ok(Progress::Ended) => Turn::Ended(Ok(())),
            Err(error) => Turn::Ended(Err(error)),
        };
        let turn = match turn {
            Turn::Ended(exchanged) => {
                let finished = run_step(|| handler.finish(self));
                let handled = exchanged.and(finished);
                let sent = self.send_rest(handled.is_ok());
                Turn::Ended(handled.and(sent.map_err(Into::into)))
            }
            goes_on => {
                self.keep_handler(handler);
                goes_on
            }
        };
        self.read_buffer.give_back(&mut buffers.read);
        self.write_buffer.give_back(&mut buffers.write);
        turn
    }

    fn park(&mut self) -> Result<Option<Instant>, Draining> {
        let idle = self.read_buffer.is_empty();
        let draining = idle && !self.guard.begin_wait();
        let waits = self
            .turns
            .as_ref()
            .is_some_and(|turns| turns.wait.is_some());
        let (bounds, until) = if draining || waits {
            Default::default()
        } else {
            self.begin_bounded_wait()
        };
        let Some(turns) = &mut self.turns else {
            return Ok(None);
        };
        if draining {
            turns.draining = true;
            return Err(Draining);
        }
        turns.idle = idle;
        if let Some(until) = until {
            turns.wait = Some(BoundedWait::begin(bounds, until));
        }
        Ok(turns.wait.as_ref().map(|wait| wait.until))
    }

    fn unpark(&mut self) {
        if let Some(turns) = &mut self.turns
            && std::mem::take(&mut turns.idle)
        {
            self.guard.end_wait();
        }
    }

    fn begin_wait_for_more(&mut self) -> io::Result<WaitForMore> {
        if self.client_has_ended {
            return Err(io::Error::new(
                ErrorKind::UnexpectedEof,
                "the client has left before its preamble was complete",
            ));
        }
        self.send_gathered()?;
        let (bounds, until) = self.begin_bounded_wait();
        if until.is_some_and(|until| until <= Instant::now()) {
            return Err(self.explain_expired(bounds));
        }
        if self.is_without_progress() && self.stream.readable_now()? {
            return Err(io::Error::new(
                ErrorKind::InvalidInput,
                "a layer needs more bytes, and has not read the bytes that have arrived",
            ));
        }
        if self.guard.begin_wait() {
            if let Some(turns) = &mut self.turns {
                turns.wait = until.map(|until| BoundedWait::begin(bounds, until));
            }
            return Ok(WaitForMore::Park(until));
        }
        // Bytes that have arrived already are still prepared and served.
        Ok(if self.stream.readable_now()? {
            WaitForMore::Arrived
        } else {
            WaitForMore::Draining
        })
    }

    fn end_wait_for_more(&mut self) -> io::Result<Option<bool>> {
        let until = self
            .turns
            .as_ref()
            .and_then(|turns| turns.wait.as_ref())
            .map(|wait| wait.until);
        let is_over = until.is_some_and(|until| until <= Instant::now());
        let waited = self.stream.readable_now();
        if matches!(waited, Ok(false)) && !is_over && !self.guard.is_interrupted() {
            return Ok(None);
        }
        if let Some(turns) = &mut self.turns {
            turns.wait = None;
        }
        self.end_wait_for_more_with(waited).map(Some)
    }
}

/// The result of a receive that does not wait.
enum Arrival {
    Message,
    Nothing,
    /// The client has ended its side, or the server has interrupted an idle connection.
    End,
}

/// How far the exchanges of a turn have come.
enum Progress {
    Silent,
    Again,
    Ended,
}
