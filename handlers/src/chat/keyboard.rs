//! Typed lines. A wait for a line can be given up.

use std::fmt;
use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use super::printable::without_line_end;

/// How often a wait for a line checks whether the line is still wanted.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A typed line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// The line without its end.
    Text(Vec<u8>),
    /// The line had more bytes than the limit, and was dropped.
    TooLong,
}

/// The source of typed lines.
///
/// A read from a terminal or a pipe cannot be interrupted. So a thread reads, which the first call
/// of [`next_line`](Self::next_line) starts. The thread is at most one line ahead. It ends with the
/// input, or with the first line after the keyboard was dropped.
pub(super) enum Keyboard {
    Unused(Box<dyn BufRead + Send>),
    Used(Receiver<io::Result<Line>>),
    /// The input has ended, or failed.
    Left,
}

impl Keyboard {
    pub(super) fn new(input: impl BufRead + Send + 'static) -> Self {
        Self::Unused(Box::new(input))
    }

    /// Waits for the next line, of at most `limit` bytes. Returns `None` if the input has ended, or
    /// when `is_wanted` returns false; then the next call returns the line.
    ///
    /// The `limit` of the first call applies to all.
    pub(super) fn next_line(
        &mut self,
        limit: usize,
        is_wanted: impl Fn() -> bool,
    ) -> io::Result<Option<Line>> {
        let lines = match std::mem::replace(self, Self::Left) {
            Self::Left => return Ok(None),
            Self::Unused(input) => start_reading(input, limit)?,
            Self::Used(lines) => lines,
        };
        while is_wanted() {
            match lines.recv_timeout(LOOK_EVERY) {
                Ok(line) => {
                    let line = line?;
                    *self = Self::Used(lines);
                    return Ok(Some(line));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
            }
        }
        *self = Self::Used(lines);
        Ok(None)
    }
}

fn start_reading(
    mut input: Box<dyn BufRead + Send>,
    limit: usize,
) -> io::Result<Receiver<io::Result<Line>>> {
    let (typed, lines) = sync_channel(0);
    let thread = thread::Builder::new().name("keyboard".to_owned());
    thread.spawn(move || read_lines(&mut input, limit, &typed))?;
    Ok(lines)
}

fn read_lines(input: &mut dyn BufRead, limit: usize, typed: &SyncSender<io::Result<Line>>) {
    while let Some(line) = read_line(input, limit).transpose() {
        let failed = line.is_err();
        if typed.send(line).is_err() || failed {
            return;
        }
    }
}

/// Reads the next line of at most `limit` bytes. Drops a longer line, and never holds all of it in
/// memory.
fn read_line(input: &mut dyn BufRead, limit: usize) -> io::Result<Option<Line>> {
    // The line and its end.
    let most = limit + 2;
    let mut line = Vec::new();
    input.take(most as u64).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.len() == most && !line.ends_with(b"\n") {
        input.skip_until(b'\n')?;
        return Ok(Some(Line::TooLong));
    }
    let text = without_line_end(&line);
    Ok(Some(match text.len() {
        length if length > limit => Line::TooLong,
        _ => Line::Text(text.to_vec()),
    }))
}

impl fmt::Debug for Keyboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unused(_) => "Unused",
            Self::Used(_) => "Used",
            Self::Left => "Left",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn lines_of(input: &'static [u8], limit: usize) -> Vec<Line> {
        let mut keyboard = Keyboard::new(input);
        let next = || keyboard.next_line(limit, || true).unwrap();
        Vec::from_iter(std::iter::from_fn(next))
    }

    fn text(line: &str) -> Line {
        Line::Text(line.into())
    }

    #[test]
    fn lines_come_one_by_one_without_their_ends() {
        let lines = lines_of(b"one\n\ntwo\r\nlast", 10);
        assert_eq!(lines, [text("one"), text(""), text("two"), text("last")]);
    }

    #[test]
    fn a_line_has_at_most_so_many_bytes_and_the_next_is_whole() {
        let lines = lines_of(b"123\n1234\n12345\n123456\n123\r\n1234\r\nend", 3);
        let long = || Line::TooLong;
        let expected = [
            text("123"),
            long(),
            long(),
            long(),
            text("123"),
            long(),
            text("end"),
        ];
        assert_eq!(lines, expected);
        assert_eq!(lines_of(b"1234", 3), [Line::TooLong]);
        assert_eq!(lines_of(&[b'a'; 1 << 20], 3), [Line::TooLong]);
    }

    #[test]
    fn an_input_that_has_ended_stays_ended() {
        let mut keyboard = Keyboard::new(b"".as_slice());
        for _ in 0..3 {
            assert_eq!(keyboard.next_line(10, || true).unwrap(), None);
        }
    }

    #[test]
    fn a_line_that_is_not_wanted_any_more_is_kept_for_the_next_call() {
        let (reader, writer) = io::pipe().unwrap();
        let mut keyboard = Keyboard::new(io::BufReader::new(reader));
        let looks = Cell::new(0);
        let twice = || looks.replace(looks.get() + 1) < 2;
        assert_eq!(keyboard.next_line(10, twice).unwrap(), None);
        io::Write::write_all(&mut &writer, b"late\n").unwrap();
        assert_eq!(keyboard.next_line(10, || true).unwrap(), Some(text("late")));
    }

    #[test]
    fn a_failure_is_reported_once_and_ends_the_input() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("unplugged"))
            }
        }
        let mut keyboard = Keyboard::new(io::BufReader::new(Broken));
        let error = keyboard.next_line(10, || true).unwrap_err();
        assert_eq!(error.to_string(), "unplugged");
        assert_eq!(keyboard.next_line(10, || true).unwrap(), None);
    }
}
