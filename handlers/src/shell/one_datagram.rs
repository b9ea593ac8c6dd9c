//! The output of a command in one datagram.

use super::Output;
use super::output::begin_line;

/// The most bytes of an answer in one datagram: the limit of UDP over IPv4, which also applies here
/// over IPv6 and Unix sockets.
pub const MAX_DATAGRAM: usize = 65_507;

impl Output {
    /// Returns the two outputs as one datagram: standard error, standard output, and the
    /// [note](Self::note), in at most [`MAX_DATAGRAM`] bytes.
    ///
    /// Longer outputs lose their end, between characters if they are utf-8. A line before the note
    /// has the number of missing bytes: `[cut: 1234 bytes did not fit into the datagram]`.
    #[must_use]
    pub fn into_datagram(self) -> Vec<u8> {
        let mut last_lines = self.note().map_or_else(String::new, |note| note + "\n");
        let length = self.stderr.len() + self.stdout.len();
        let mut datagram = self.stderr;
        let room = MAX_DATAGRAM.saturating_sub(datagram.len());
        datagram.extend_from_slice(&self.stdout[..room.min(self.stdout.len())]);

        if length + with_line_end(&last_lines) > MAX_DATAGRAM {
            let cut = |count| format!("[cut: {count} bytes did not fit into the datagram]\n");
            // A smaller number has no more digits.
            let beside = with_line_end(&cut(length)) + last_lines.len();
            let room = MAX_DATAGRAM.saturating_sub(beside);
            datagram.truncate(end_of_character(&datagram, room));
            last_lines.insert_str(0, &cut(length - datagram.len()));
        }
        if !last_lines.is_empty() {
            let last = datagram.last().copied();
            begin_line(&mut datagram, last);
            datagram.extend_from_slice(last_lines.as_bytes());
        }
        datagram
    }
}

/// The length of the last lines, with the end of the line before them.
fn with_line_end(last_lines: &str) -> usize {
    match last_lines.len() {
        0 => 0,
        length => 1 + length,
    }
}

/// The end of the last whole character in the first `limit` bytes, or `limit` if `text` is not
/// utf-8.
fn end_of_character(text: &[u8], limit: usize) -> usize {
    let is_inside = |&at: &usize| text.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
    // A character has at most three bytes after its first.
    let mut candidates = (limit.saturating_sub(3)..=limit).rev();
    candidates.find(|at| !is_inside(at)).unwrap_or(limit)
}

#[cfg(test)]
mod tests {
    use std::process::ExitStatus;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::shell::Ending;

    fn exited() -> Ending {
        Ending::Exited(ExitStatus::default())
    }

    fn datagram(stderr: impl Into<Vec<u8>>, stdout: impl Into<Vec<u8>>, ending: Ending) -> Vec<u8> {
        let output = Output {
            stderr: stderr.into(),
            stdout: stdout.into(),
            ending,
        };
        output.into_datagram()
    }

    #[test]
    fn what_fits_is_left_as_it_is_with_standard_error_first() {
        assert_eq!(datagram("oops", "fine", exited()), b"oopsfine");
        assert_eq!(datagram("", "", exited()), b"");
        let timed_out = Ending::TimedOut(Duration::from_secs(1));
        let expected = b"oopsfine\n[ended: it ran for more than 1s]\n";
        assert_eq!(datagram("oops", "fine", timed_out), expected);
        let largest = [[b'e'; 65_000].as_slice(), &[b'o'; 507]].concat();
        assert_eq!(datagram([b'e'; 65_000], [b'o'; 507], exited()), largest);
    }

    #[test]
    fn what_does_not_fit_is_counted_in_the_last_line() {
        let datagram = datagram([b'e'; 65_000], [b'o'; 508], exited());
        let last_line = b"\n[cut: 51 bytes did not fit into the datagram]\n";
        let kept = datagram.strip_suffix(last_line).unwrap();
        assert_eq!(kept.len(), 65_508 - 51);
        assert!(kept.starts_with(&[b'e'; 65_000]) && kept.ends_with(&[b'o'; 457]));
        assert!(datagram.len() <= MAX_DATAGRAM);
    }

    #[test]
    fn the_note_is_kept_whole_however_long_the_output_is() {
        let ending = Ending::TooMuchOutput(1 << 20);
        let datagram = datagram("", vec![b'y'; 1 << 20], ending);
        let datagram = str::from_utf8(&datagram).unwrap();
        let lines = Vec::from_iter(datagram.lines());
        let [kept, cut, ended] = lines[..] else {
            panic!("{} lines", lines.len());
        };
        let left_out = (1 << 20) - kept.len();
        let expected = format!("[cut: {left_out} bytes did not fit into the datagram]");
        assert_eq!(cut, expected);
        assert_eq!(ended, "[ended: it wrote more than 1048576 bytes]");
    }

    #[test]
    fn a_character_is_kept_whole_or_left_out() {
        for offset in 0..4 {
            let text = "a".repeat(offset) + &"好".repeat(30_000);
            let datagram = datagram("", text, exited());
            assert!(str::from_utf8(&datagram).is_ok());
            assert!(datagram.len() > MAX_DATAGRAM - 4);
        }
        // These bytes are not utf-8, so any place may be the end.
        let datagram = datagram("", [0x80; 70_000], exited());
        assert!(datagram.len() > MAX_DATAGRAM - 2);
    }

    proptest! {
        #[test]
        fn the_bytes_kept_and_the_bytes_left_out_add_up(
            stderr in 0_usize..140_000,
            stdout in 0_usize..140_000,
            timed_out: bool,
        ) {
            let (ending, note) = match timed_out {
                true => (
                    Ending::TimedOut(Duration::from_secs(1)),
                    "[ended: it ran for more than 1s]\n",
                ),
                false => (exited(), ""),
            };
            let datagram = datagram(vec![b'e'; stderr], vec![b'o'; stdout], ending);
            prop_assert!(datagram.len() <= MAX_DATAGRAM);
            let text = String::from_utf8(datagram).unwrap();
            let text = text.strip_suffix(note).unwrap();
            let (kept, left_out) = match text.split_once("\n[cut: ") {
                Some((kept, line)) => (kept, line.split_once(' ').unwrap().0.parse().unwrap()),
                None => (text.trim_end(), 0),
            };
            prop_assert_eq!(kept.len() + left_out, stderr + stdout);
        }
    }
}
