//! Log lines that clients can repeat at will, and the count of the lines that are held back.

use std::collections::HashMap;
use std::time::Instant;

use crate::support::lock::lock;
use crate::support::log::Level;
use crate::support::sync::Mutex;
use crate::support::throttle::Flood;

/// The most kinds of lines that are counted apart. All further kinds count as one.
const MOST_KINDS: usize = 64;

/// The most characters of a text that distinguish its kind.
const LONGEST_KIND: usize = 100;

/// The recurring log lines of a server. Texts that differ in their digits alone are of one kind.
#[derive(Debug, Default)]
pub(crate) struct Floods {
    kinds: Mutex<HashMap<String, Kind>>,
}

#[derive(Debug)]
struct Kind {
    flood: Flood,
    level: Level,
    /// The text of the last line that was held back.
    text: String,
}

/// The result of [`Floods::drain`]: `held_back` lines, the last of which had this level and text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct HeldBack {
    pub held_back: u64,
    pub level: Level,
    pub text: String,
}

impl Floods {
    /// Returns the number of lines of this kind that were held back before, if the line may be
    /// written now; otherwise counts the line as held back.
    pub(crate) fn admit(&self, level: Level, text: &str, now: Instant) -> Option<u64> {
        let mut kinds = lock(&self.kinds);
        let mut kind = kind_of(text);
        if !kinds.contains_key(&kind) && kinds.len() >= MOST_KINDS {
            kinds.retain(|_, kind| kind.flood.held_back() > 0 || !kind.flood.is_over(now));
            if kinds.len() >= MOST_KINDS {
                kind.clear();
            }
        }
        let kind = kinds.entry(kind).or_insert_with(|| Kind {
            flood: Flood::default(),
            level,
            text: String::new(),
        });
        let admitted = kind.flood.admit(now);
        if admitted.is_none() {
            kind.level = level;
            text.clone_into(&mut kind.text);
        }
        admitted
    }

    /// Removes every kind. Returns the kinds of which lines were held back after the last written
    /// line.
    pub(crate) fn drain(&self) -> Vec<HeldBack> {
        let kinds = std::mem::take(&mut *lock(&self.kinds));
        let held_back = kinds.into_values().map(|kind| HeldBack {
            held_back: kind.flood.held_back(),
            level: kind.level,
            text: kind.text,
        });
        held_back.filter(|kind| kind.held_back > 0).collect()
    }
}

/// Returns the text with `#` for each run of digits, cut to at most [`LONGEST_KIND`] characters.
fn kind_of(text: &str) -> String {
    let mut kind = String::new();
    for c in text.chars().take(LONGEST_KIND) {
        match c {
            '0'..='9' if kind.ends_with('#') => {}
            '0'..='9' => kind.push('#'),
            c => kind.push(c),
        }
    }
    kind
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn admitted(floods: &Floods, texts: impl Iterator<Item = String>) -> usize {
        let now = Instant::now();
        texts
            .filter(|text| floods.admit(Level::Error, text, now).is_some())
            .count()
    }

    #[test]
    fn texts_that_differ_in_digits_alone_are_of_one_kind() {
        let floods = Floods::default();
        let bytes = (0..30).map(|n| format!("bad byte {n} at {}", n * 100));
        assert_eq!(admitted(&floods, bytes), 10);
        assert_eq!(admitted(&floods, ["bad name".to_owned()].into_iter()), 1);
        let expected = HeldBack {
            held_back: 20,
            level: Level::Error,
            text: "bad byte 29 at 2900".to_owned(),
        };
        assert_eq!(floods.drain(), [expected]);
        assert_eq!(floods.drain(), []);
    }

    #[test]
    fn the_kinds_are_bounded_and_those_beyond_the_bound_share_one_count() {
        let floods = Floods::default();
        let texts =
            (0..1000).map(|n: u32| "x".repeat(1 + n as usize % 90) + &"y".repeat(n as usize / 90));
        let admitted = admitted(&floods, texts);
        assert_eq!(admitted, MOST_KINDS + 10);
        assert_eq!(lock(&floods.kinds).len(), MOST_KINDS + 1);
    }
}
