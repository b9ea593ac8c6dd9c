//! The clock of a connection's deadlines.

use std::time::{Duration, Instant};

use crate::values::deadlines::{DeadlineExceeded, Deadlines};

/// The deadlines of one connection, and the time that the client has used up in the exchange under
/// way.
#[derive(Debug)]
pub(crate) struct ExchangeClock {
    deadlines: Deadlines,
    /// When the connection was accepted.
    accepted: Instant,
    phase: Phase,
    /// Whether the handler has written in this exchange. If not, bytes that are sent belong to the
    /// answer of the exchange before.
    written: bool,
    /// Whether bytes of this exchange's answer have been sent.
    answered: bool,
    /// The time for which the handler has waited for the next message without a byte.
    idle: Duration,
    /// The times that the reads and the writes of this exchange have taken.
    reading: Duration,
    writing: Duration,
    /// The bytes of this exchange's answer that have been sent.
    sent: u64,
}

impl ExchangeClock {
    pub(crate) fn new(deadlines: Deadlines, accepted: Instant) -> Self {
        Self {
            deadlines,
            accepted,
            phase: Phase::Opening,
            written: false,
            answered: false,
            idle: Duration::ZERO,
            reading: Duration::ZERO,
            writing: Duration::ZERO,
            sent: 0,
        }
    }

    pub(crate) fn deadlines(&self) -> Deadlines {
        self.deadlines
    }

    /// Sets other deadlines from now on, and resets the times that the client has used up to zero.
    /// So a layer that bounds its part of the preparation has all of its time, however much the
    /// layers before it have used.
    pub(crate) fn set_deadlines(&mut self, deadlines: Deadlines) {
        self.deadlines = deadlines;
        self.forget_times();
        if let Phase::Preparing(since) = &mut self.phase {
            *since = None;
        }
    }

    /// The bytes that have been sent since the present exchange began.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// Returns the end of the time that includes the server's own work: of the lifetime, or of the
    /// preparation. An operation that begins later fails, even if it would not wait for the client.
    #[inline]
    pub(crate) fn end(&self) -> Option<Bound> {
        match self.phase {
            Phase::Preparing(Some(since)) => {
                let limit = self.deadlines.prepare();
                let preparation = Bound::after(since, limit, DeadlineExceeded::Prepare);
                sooner(preparation, self.end_of_life())
            }
            _ => self.end_of_life(),
        }
    }

    #[inline]
    fn end_of_life(&self) -> Option<Bound> {
        let limit = self.deadlines.lifetime();
        Bound::after(self.accepted, limit, DeadlineExceeded::Lifetime)
    }

    /// Notes that the layers begin to prepare the connection.
    pub(crate) fn begin_preparation(&mut self) {
        self.phase = Phase::Preparing(None);
    }

    /// Notes that the connection is prepared. The first message has its whole time.
    pub(crate) fn end_preparation(&mut self) {
        self.phase = Phase::Opening;
        self.reset();
    }

    /// Notes that the handler waits for the next message.
    pub(crate) fn end_exchange(&mut self) {
        if self.phase == Phase::Within {
            self.phase = Phase::Between;
        }
    }

    /// Notes that the next message begins.
    pub(crate) fn begin_exchange(&mut self) {
        self.phase = Phase::Within;
        self.reset();
    }

    /// Notes that the handler has something for its client: the idle time begins again.
    pub(crate) fn note_answer(&mut self) {
        self.written = true;
        if self.phase == Phase::Between {
            self.idle = Duration::ZERO;
        }
    }

    fn reset(&mut self) {
        (self.written, self.answered) = (false, false);
        self.forget_times();
        self.sent = 0;
    }

    /// Returns the bounds of a read that begins now.
    pub(crate) fn begin_read(&mut self, now: Instant) -> Bounds {
        if self.answered {
            self.end_exchange();
        }
        let all = &self.deadlines;
        let progress = match self.phase {
            Phase::Within => all.progress(),
            Phase::Preparing(_) | Phase::Opening | Phase::Between => None,
        };
        let (limit, used, exceeded): (_, _, fn(_) -> _) = match &mut self.phase {
            Phase::Preparing(since) => {
                let since = *since.get_or_insert(now);
                let used = now.saturating_duration_since(since);
                (all.prepare(), used, DeadlineExceeded::Prepare)
            }
            Phase::Opening => (all.first_byte(), self.idle, DeadlineExceeded::FirstByte),
            Phase::Between => (all.idle(), self.idle, DeadlineExceeded::Idle),
            Phase::Within => (all.read(), self.reading, DeadlineExceeded::Read),
        };
        let whole = self.whole(now, limit, used, exceeded);
        Bounds { whole, progress }
    }

    /// Notes a read that has received `count` bytes and has taken this time.
    pub(crate) fn end_read(&mut self, count: usize, took: Duration) {
        match self.phase {
            Phase::Preparing(_) => {}
            Phase::Within => self.reading += took,
            Phase::Opening | Phase::Between if count > 0 => self.begin_exchange(),
            Phase::Opening | Phase::Between => self.idle += took,
        }
    }

    /// Returns the bounds of a write that begins now.
    pub(crate) fn begin_write(&mut self, now: Instant) -> Bounds {
        if let Phase::Preparing(_) = self.phase {
            return self.begin_read(now);
        }
        let (limit, used) = (self.deadlines.write(), self.writing);
        let whole = self.whole(now, limit, used, DeadlineExceeded::Write);
        let progress = self.deadlines.progress();
        Bounds { whole, progress }
    }

    /// Notes a write that has sent `count` bytes and has taken this time.
    pub(crate) fn end_write(&mut self, count: usize, took: Duration) {
        self.answered |= self.written;
        self.writing += took;
        self.sent += count as u64;
    }

    fn forget_times(&mut self) {
        self.idle = Duration::ZERO;
        (self.reading, self.writing) = (Duration::ZERO, Duration::ZERO);
    }

    /// The end of the waits of an operation: the deadline of its phase or that of the connection,
    /// whichever is sooner.
    fn whole(
        &self,
        now: Instant,
        limit: Option<Duration>,
        used: Duration,
        exceeded: fn(Duration) -> DeadlineExceeded,
    ) -> Option<Bound> {
        let phase = limit.and_then(|limit| {
            let until = now.checked_add(limit.saturating_sub(used))?;
            let exceeded = exceeded(limit);
            Some(Bound { until, exceeded })
        });
        sooner(phase, self.end_of_life())
    }
}

/// The bounds of an operation, which may wait for the client several times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// The end of all its waits.
    pub whole: Option<Bound>,
    /// The longest time without a byte, which begins again with each byte.
    pub progress: Option<Duration>,
}

impl Bounds {
    /// The bound of one wait that begins now.
    pub(crate) fn of_wait(&self, now: Instant) -> Option<Bound> {
        let progress = Bound::after(now, self.progress, DeadlineExceeded::Progress);
        sooner(self.whole, progress)
    }
}

/// The latest end of an operation, and the error then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bound {
    pub until: Instant,
    pub exceeded: DeadlineExceeded,
}

impl Bound {
    fn after(
        begin: Instant,
        limit: Option<Duration>,
        exceeded: fn(Duration) -> DeadlineExceeded,
    ) -> Option<Self> {
        let limit = limit?;
        let until = begin.checked_add(limit)?;
        let exceeded = exceeded(limit);
        Some(Self { until, exceeded })
    }
}

fn sooner(one: Option<Bound>, other: Option<Bound>) -> Option<Bound> {
    let bounds = one.into_iter().chain(other);
    bounds.min_by_key(|bound| bound.until)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The layers prepare the connection, since the time of their first read.
    Preparing(Option<Instant>),
    /// No byte of the first message has come.
    Opening,
    /// The last exchange is over, and the next has not begun.
    Between,
    /// A message has begun.
    Within,
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const FIRST_BYTE: Duration = Duration::from_secs(1);
    const IDLE: Duration = Duration::from_secs(2);
    const READ: Duration = Duration::from_secs(3);
    const WRITE: Duration = Duration::from_secs(4);
    const PREPARE: Duration = Duration::from_secs(5);
    const SECOND: Duration = Duration::from_secs(1);

    fn clock() -> (ExchangeClock, Instant) {
        let deadlines = Deadlines::none()
            .with_first_byte(FIRST_BYTE)
            .with_idle(IDLE)
            .with_read(READ)
            .with_write(WRITE)
            .with_prepare(PREPARE);
        let now = Instant::now();
        (ExchangeClock::new(deadlines, now), now)
    }

    fn left(bounds: Bounds, now: Instant) -> (Duration, DeadlineExceeded) {
        let bound = bounds.of_wait(now).unwrap();
        (bound.until - now, bound.exceeded)
    }

    #[test]
    fn the_first_byte_has_its_own_limit_and_the_rest_of_the_message_another() {
        let (mut clock, now) = clock();
        let first = left(clock.begin_read(now), now);
        assert_eq!(first, (FIRST_BYTE, DeadlineExceeded::FirstByte(FIRST_BYTE)));
        clock.end_read(1, SECOND);
        let rest = left(clock.begin_read(now), now);
        assert_eq!(rest, (READ, DeadlineExceeded::Read(READ)));
    }

    #[test]
    fn the_reads_of_a_message_share_one_limit_whatever_bytes_they_return() {
        let (mut clock, now) = clock();
        clock.end_read(1, Duration::ZERO);
        for used in 0..3 {
            let left = left(clock.begin_read(now), now).0;
            assert_eq!(left, READ - used * SECOND);
            clock.end_read(1, SECOND);
        }
        assert_eq!(left(clock.begin_read(now), now).0, Duration::ZERO);
    }

    #[test]
    fn the_writes_of_an_answer_share_one_limit() {
        let (mut clock, now) = clock();
        clock.end_read(1, Duration::ZERO);
        clock.note_answer();
        clock.end_write(1, SECOND);
        let rest = left(clock.begin_write(now), now);
        assert_eq!(rest, (WRITE - SECOND, DeadlineExceeded::Write(WRITE)));
    }

    #[test]
    fn the_next_message_has_its_whole_time_again() {
        let (mut clock, now) = clock();
        clock.end_read(1, Duration::ZERO);
        clock.end_read(1, SECOND);
        clock.note_answer();
        clock.end_write(1, SECOND);
        let idle = left(clock.begin_read(now), now);
        assert_eq!(idle, (IDLE, DeadlineExceeded::Idle(IDLE)));
        clock.end_read(1, SECOND);
        assert_eq!(left(clock.begin_read(now), now).0, READ);
        assert_eq!(left(clock.begin_write(now), now).0, WRITE);
    }

    #[test]
    fn a_client_that_has_sent_nothing_is_not_idle_but_late_with_its_first_byte() {
        let (mut clock, now) = clock();
        clock.end_exchange();
        clock.note_answer();
        clock.end_write(1, SECOND);
        let exceeded = left(clock.begin_read(now), now).1;
        assert_eq!(exceeded, DeadlineExceeded::FirstByte(FIRST_BYTE));
    }

    #[test]
    fn a_layer_that_sets_a_prepare_deadline_has_that_time_from_then_on() {
        let (mut clock, now) = clock();
        clock.begin_preparation();
        assert_eq!(left(clock.begin_read(now), now).0, PREPARE);
        let later = now + 4 * SECOND;
        assert_eq!(left(clock.begin_read(later), later).0, PREPARE - 4 * SECOND);
        clock.set_deadlines(clock.deadlines().with_prepare(PREPARE));
        assert_eq!(left(clock.begin_read(later), later).0, PREPARE);
    }

    #[test]
    fn waits_in_vain_share_the_idle_limit_until_the_handler_writes_or_the_client_sends() {
        let (mut clock, now) = clock();
        clock.end_read(0, SECOND / 2);
        let first = left(clock.begin_read(now), now).0;
        assert_eq!(first, FIRST_BYTE - SECOND / 2);
        clock.end_read(1, SECOND);
        clock.end_exchange();
        clock.end_read(0, SECOND);
        assert_eq!(left(clock.begin_read(now), now).0, IDLE - SECOND);
        clock.note_answer();
        assert_eq!(left(clock.begin_read(now), now).0, IDLE);
        clock.end_read(0, SECOND);
        clock.end_read(1, SECOND);
        clock.end_exchange();
        assert_eq!(left(clock.begin_read(now), now).0, IDLE);
    }

    #[test]
    fn an_end_of_file_begins_no_exchange() {
        let (mut clock, now) = clock();
        clock.end_read(0, SECOND);
        let exceeded = left(clock.begin_read(now), now).1;
        assert_eq!(exceeded, DeadlineExceeded::FirstByte(FIRST_BYTE));
    }

    #[test]
    fn the_lifetime_ends_what_would_last_beyond_it() {
        let now = Instant::now();
        let lifetime = Duration::from_millis(1500);
        let deadlines = Deadlines::uniform(SECOND).with_lifetime(lifetime);
        let mut clock = ExchangeClock::new(deadlines, now);
        let exceeded = left(clock.begin_read(now), now).1;
        assert_eq!(exceeded, DeadlineExceeded::FirstByte(SECOND));
        let later = now + SECOND;
        let bound = left(clock.begin_read(later), later);
        let half = Duration::from_millis(500);
        assert_eq!(bound, (half, DeadlineExceeded::Lifetime(lifetime)));
        let bound = left(clock.begin_write(later), later);
        assert_eq!(bound, (half, DeadlineExceeded::Lifetime(lifetime)));
    }

    #[test]
    fn without_deadlines_and_with_endless_ones_nothing_is_bound() {
        let now = Instant::now();
        for deadlines in [
            Deadlines::none(),
            Deadlines::uniform(Duration::MAX).with_lifetime(Duration::MAX),
        ] {
            let mut clock = ExchangeClock::new(deadlines, now);
            assert_eq!(clock.begin_read(now), Bounds::default());
            assert_eq!(clock.begin_write(now), Bounds::default());
            assert_eq!(clock.end(), None);
        }
    }

    #[test]
    fn progress_is_bounded_within_messages_and_answers_alone() {
        let now = Instant::now();
        let progress = DeadlineExceeded::Progress(SECOND);
        let deadlines = Deadlines::none().with_progress(SECOND).with_write(READ);
        let mut clock = ExchangeClock::new(deadlines, now);
        assert_eq!(clock.begin_read(now), Bounds::default());
        clock.end_read(1, SECOND);
        for _ in 0..3 {
            assert_eq!(left(clock.begin_read(now), now), (SECOND, progress));
            assert_eq!(left(clock.begin_write(now), now), (SECOND, progress));
            clock.end_read(1, SECOND);
        }
        clock.note_answer();
        clock.end_write(7, READ - SECOND / 2);
        let write = (SECOND / 2, DeadlineExceeded::Write(READ));
        assert_eq!(left(clock.begin_write(now), now), write);
        assert_eq!(clock.sent(), 7);
        clock.end_exchange();
        assert_eq!(clock.begin_read(now), Bounds::default());
        clock.begin_exchange();
        assert_eq!(clock.sent(), 0);
    }

    #[test]
    fn the_time_of_a_preparation_has_an_end_from_its_first_read_on() {
        let (mut clock, now) = clock();
        assert_eq!(clock.end(), None);
        clock.begin_preparation();
        assert_eq!(clock.end(), None);
        clock.begin_read(now);
        let end = clock.end().unwrap();
        assert_eq!(end.until, now + PREPARE);
        assert_eq!(end.exceeded, DeadlineExceeded::Prepare(PREPARE));
        clock.end_preparation();
        assert_eq!(clock.end(), None);
    }

    #[test]
    fn the_calls_of_a_preparation_share_one_limit_whatever_bytes_they_return() {
        let (mut clock, now) = clock();
        clock.begin_preparation();
        for used in 0..3 {
            let later = now + used * SECOND;
            let left = left(clock.begin_read(later), later);
            assert_eq!(
                left,
                (PREPARE - used * SECOND, DeadlineExceeded::Prepare(PREPARE))
            );
            clock.end_read(1, SECOND);
        }
        clock.end_preparation();
        let first = left(clock.begin_read(now), now);
        assert_eq!(first, (FIRST_BYTE, DeadlineExceeded::FirstByte(FIRST_BYTE)));
    }

    #[test]
    fn the_answer_of_the_exchange_before_is_not_taken_for_that_of_the_present_one() {
        let (mut clock, now) = clock();
        clock.begin_exchange();
        clock.note_answer();
        // The next message has begun to arrive before the answer is sent.
        clock.begin_exchange();
        clock.end_write(1, Duration::ZERO);
        let (_, exceeded) = left(clock.begin_read(now), now);
        assert_eq!(exceeded, DeadlineExceeded::Read(READ));
    }
}
