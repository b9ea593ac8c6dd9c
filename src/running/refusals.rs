//! Bounds the messages between servers that refuse each other's datagrams.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::support::lock::lock;
use crate::support::sync::Mutex;
use crate::values::address::Address;

/// The most messages to a refused sender without a pause.
const MOST_MESSAGES: u32 = 100;

/// The time without a refused datagram after which the count of a sender starts again. Two servers
/// that refuse each other never pause for so long.
const PAUSE: Duration = Duration::from_millis(500);

/// The most senders that are counted at a time.
const MOST_SENDERS: usize = 4096;

/// The messages to senders of refused datagrams.
///
/// The message to one server is a datagram to the other server, which refuses that datagram too. So
/// two full servers would answer each other without end. One refusal without a message ends such an
/// exchange. The same bound holds for the messages to a forged sender.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    senders: Mutex<Senders>,
}

#[derive(Debug, Default)]
struct Senders {
    messages: HashMap<Address, Messages>,
    /// When the senders that had paused were removed.
    removed: Option<Instant>,
}

#[derive(Debug)]
struct Messages {
    last: Instant,
    count: u32,
}

impl Refusals {
    /// Returns whether the server may send a message to the sender of a refused datagram. The
    /// result is false after [`MOST_MESSAGES`] without a [`PAUSE`]. It is also false if
    /// [`MOST_SENDERS`] other senders are counted, none of which has paused.
    pub(crate) fn may_answer(&self, sender: &Address, now: Instant) -> bool {
        let mut senders = lock(&self.senders);
        if !senders.messages.contains_key(sender) && !senders.make_room(now) {
            return false;
        }
        let none = Messages {
            last: now,
            count: 0,
        };
        let messages = senders.messages.entry(sender.clone()).or_insert(none);
        if has_passed(messages.last, now) {
            messages.count = 0;
        }
        messages.last = now;
        messages.count = messages.count.saturating_add(1);
        messages.count <= MOST_MESSAGES
    }
}

impl Senders {
    /// Returns whether there is room for one more sender. Looks for senders that have paused only
    /// once in a [`PAUSE`]: a flood of forged senders would otherwise cost a search for each
    /// datagram.
    fn make_room(&mut self, now: Instant) -> bool {
        let may_look = self.removed.is_none_or(|removed| has_passed(removed, now));
        if self.messages.len() >= MOST_SENDERS && may_look {
            self.removed = Some(now);
            self.messages
                .retain(|_, messages| !has_passed(messages.last, now));
        }
        self.messages.len() < MOST_SENDERS
    }
}

/// Returns whether a [`PAUSE`] has passed since then.
fn has_passed(then: Instant, now: Instant) -> bool {
    now.saturating_duration_since(then) >= PAUSE
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn sender(port: u16) -> Address {
        Address::from(([192, 0, 2, 1], port))
    }

    #[test]
    fn a_sender_without_a_pause_has_a_bounded_number_of_messages_and_begins_anew_after_a_pause() {
        let (refusals, mut now) = (Refusals::default(), Instant::now());
        for _ in 0..MOST_MESSAGES {
            now += PAUSE - Duration::from_millis(1);
            assert!(refusals.may_answer(&sender(7), now));
        }
        assert!(!refusals.may_answer(&sender(7), now));
        assert!(refusals.may_answer(&sender(8), now));
        assert!(refusals.may_answer(&sender(7), now + PAUSE));
    }

    #[test]
    fn the_number_of_senders_is_bounded_and_those_above_have_no_message_until_others_pause() {
        let (refusals, now) = (Refusals::default(), Instant::now());
        let answered = (0..60_000).filter(|port| refusals.may_answer(&sender(*port), now));
        assert_eq!(answered.count(), MOST_SENDERS);
        assert!(refusals.may_answer(&sender(60_000), now + PAUSE));
        assert_eq!(lock(&refusals.senders).messages.len(), 1);
    }
}
