//! A layer that ends the endless exchange of two services that answer each other.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use socketserver::{Address, BaseServer, DatagramRequest, MixIn};

/// The most equal datagrams of a sender that are answered without a pause.
const MOST_EQUAL: u32 = 1000;

/// The most datagrams of a sender that are answered without a pause.
const MOST: u32 = 100_000;

/// The time without a datagram after which the counts of a sender begin at zero. A client that
/// waits for an answer waits longer before it sends again, and a service that only answers does not
/// send again at all.
const PAUSE: Duration = Duration::from_millis(500);

/// The most counts that are kept at a time.
const MOST_COUNTS: usize = 16_384;

/// The bytes of a datagram, from its beginning, that distinguish it from others of its length.
const COMPARED: usize = 1024;

/// Ends the endless exchange of two services that answer every datagram, such as two
/// [`Echo`](crate::Echo) servers, or one and a time server.
///
/// One datagram with a forged sender begins such an exchange: each service takes the answer of the
/// other for a request. The exchange ends when one datagram is not answered. So this layer refuses
/// the datagrams of a sender that has sent the same datagram 1000 times, or 100,000 datagrams in
/// all, without a pause of half a second. Two services soon repeat the same datagrams, unless their
/// answers have numbers in them.
///
/// A client notices the limit only if it sends that many datagrams without a pause. The client then
/// has to ask again after half a second, as it does for a lost datagram.
///
/// The layer is around a bottom layer for datagrams and inside of a mix-in, so that one process
/// counts for all handlers. At most 16,384 counts are kept.
///
/// ```
/// use socketserver::{Serve, ThreadingMixIn, UdpServer};
/// use socketserver_handlers::{Echo, LoopLimit};
///
/// let server = UdpServer::new("127.0.0.1:0", Echo::default)
///     .mix_in(LoopLimit::new)
///     .mix_in(ThreadingMixIn::new)
///     .bind()?;
/// # Ok::<(), socketserver::Error>(())
/// ```
#[must_use = "a layer does nothing until `bind` makes a server of the stack"]
pub struct LoopLimit<S> {
    next: S,
    counts: Mutex<Counts>,
}

impl<S> LoopLimit<S> {
    /// A layer around `next`.
    pub fn new(next: S) -> Self {
        Self {
            next,
            counts: Mutex::default(),
        }
    }
}

impl<S: BaseServer<Request = DatagramRequest>> MixIn for LoopLimit<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.next
    }

    fn verify_request(&self, request: &mut DatagramRequest) -> bool {
        let (client, packet) = (request.client_address(), request.packet());
        let verdict = {
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            counts.count(client, packet, Instant::now())
        };
        match verdict {
            Verdict::Answered => self.next.verify_request(request),
            Verdict::First => {
                log::warn!(
                    "{client}: not answered until it sends nothing for {PAUSE:?}: it sends without \
                     a pause, as a service that answers this server does"
                );
                false
            }
            Verdict::Further => false,
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for LoopLimit<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoopLimit")
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

/// Whether a datagram is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Answered,
    /// The first datagram since the last pause that is not answered.
    First,
    Further,
}

/// The number of datagrams without a pause, of each sender, and of each sender with each content.
#[derive(Debug, Default)]
struct Counts {
    /// A random key, so that no sender can choose datagrams with the hash of another sender.
    hasher: RandomState,
    counts: HashMap<u64, Count>,
}

#[derive(Debug)]
struct Count {
    last: Instant,
    datagrams: u32,
}

impl Counts {
    fn count(&mut self, sender: &Address, packet: &[u8], now: Instant) -> Verdict {
        if *sender == Address::UnixUnnamed {
            // Nobody can answer it.
            return Verdict::Answered;
        }
        if self.counts.len() + 2 > MOST_COUNTS {
            self.make_room(now);
        }
        let begin = &packet[..packet.len().min(COMPARED)];
        let equal = self.add((sender, Some((begin, packet.len()))), now);
        let all = self.add((sender, None), now);
        match (equal.saturating_sub(MOST_EQUAL), all.saturating_sub(MOST)) {
            (0, 0) => Verdict::Answered,
            (1, _) | (0, 1) => Verdict::First,
            _ => Verdict::Further,
        }
    }

    fn add(&mut self, key: (&Address, Option<(&[u8], usize)>), now: Instant) -> u32 {
        let count = self
            .counts
            .entry(self.hasher.hash_one(key))
            .or_insert(Count {
                last: now,
                datagrams: 0,
            });
        if now.saturating_duration_since(count.last) >= PAUSE {
            count.datagrams = 0;
        }
        count.last = now;
        count.datagrams = count.datagrams.saturating_add(1);
        count.datagrams
    }

    /// Removes the counts that a pause has ended, and all if that does not make enough room.
    fn make_room(&mut self, now: Instant) {
        self.counts
            .retain(|_, count| now.saturating_duration_since(count.last) < PAUSE);
        if self.counts.len() > MOST_COUNTS / 2 {
            self.counts.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use socketserver::mock::MockDatagram;
    use socketserver::{Serve, UdpServer};

    use super::*;
    use crate::Echo;

    fn sender(port: u16) -> Address {
        Address::from(([192, 0, 2, 1], port))
    }

    fn answered(counts: &mut Counts, packet: &[u8], now: Instant) -> bool {
        counts.count(&sender(7), packet, now) == Verdict::Answered
    }

    #[test]
    fn equal_datagrams_without_a_pause_are_answered_a_thousand_times() {
        let (mut counts, begun) = (Counts::default(), Instant::now());
        for _ in 0..MOST_EQUAL {
            assert!(answered(&mut counts, b"hi", begun));
        }
        let first = counts.count(&sender(7), b"hi", begun);
        assert_eq!(first, Verdict::First);
        assert_eq!(counts.count(&sender(7), b"hi", begun), Verdict::Further);
        // Other datagrams, and other senders.
        assert!(answered(&mut counts, b"ho", begun));
        assert_eq!(counts.count(&sender(8), b"hi", begun), Verdict::Answered);
    }

    #[test]
    fn a_pause_begins_a_sender_anew_and_less_than_a_pause_does_not() {
        let (mut counts, mut now) = (Counts::default(), Instant::now());
        for _ in 0..MOST_EQUAL {
            now += PAUSE - Duration::from_millis(1);
            assert!(answered(&mut counts, b"hi", now));
        }
        assert!(!answered(&mut counts, b"hi", now));
        now += PAUSE;
        assert!(answered(&mut counts, b"hi", now));
    }

    #[test]
    fn several_exchanges_between_the_same_two_services_all_end() {
        let (mut counts, now) = (Counts::default(), Instant::now());
        for _ in 0..MOST_EQUAL {
            for number in 0..50_u8 {
                assert!(answered(&mut counts, &[number], now));
            }
        }
        assert!((0..50_u8).all(|number| !answered(&mut counts, &[number], now)));
    }

    #[test]
    fn datagrams_that_differ_are_answered_a_hundred_thousand_times() {
        let (mut counts, now) = (Counts::default(), Instant::now());
        // The numbers of the contents are those of a service whose answers go round, so that the
        // counts have room.
        for number in 0..MOST {
            assert!(answered(&mut counts, &(number % 5000).to_le_bytes(), now));
        }
        assert!(!answered(&mut counts, b"any", now));
    }

    #[test]
    fn the_number_of_counts_is_bounded() {
        let (mut counts, now) = (Counts::default(), Instant::now());
        for port in 0..60_000 {
            counts.count(&sender(port), b"", now);
            assert!(counts.counts.len() <= MOST_COUNTS);
        }
    }

    #[test]
    fn a_datagram_that_is_not_answered_is_refused_by_the_layer() {
        let layers = || UdpServer::new("127.0.0.1:0", Echo::default).mix_in(LoopLimit::new);
        let recording = MockDatagram::new("hi").run_layers(layers());
        assert_eq!(recording.sent(), [b"hi"]);
        let limited = layers();
        for _ in 0..MOST_EQUAL {
            let client = Address::from(([127, 0, 0, 1], 49152));
            let mut counts = limited.counts.lock().unwrap();
            counts.count(&client, b"hi", Instant::now());
        }
        let recording = MockDatagram::new("hi").run_layers(limited);
        assert!(recording.sent().is_empty());
    }
}
