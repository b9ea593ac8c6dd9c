//! A conversation: lines of the user, each with its answer.

use std::borrow::Cow;
use std::io::{BufRead, Write};

use super::user::User;
use crate::failure::Problem;

/// The most bytes of a message, as in the tutorial's `recv(1024)`.
pub const MESSAGE_SIZE: usize = 1024;

/// The line that ends a conversation.
const QUIT: &[u8] = b"quit";

/// Which message a line of the user becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineRule {
    /// The line with its end.
    WithEnd,
    /// The line without its end.
    AsTyped,
    /// The line without its end; an empty line is skipped, since a stream has no empty message.
    AsTypedNotEmpty,
    /// The line without white space at both ends.
    Trimmed,
    /// The line without white space at both ends; an empty line is skipped.
    TrimmedNotEmpty,
}

impl LineRule {
    /// The rule over a stream.
    pub fn over_stream(self) -> Self {
        match self {
            Self::AsTyped => Self::AsTypedNotEmpty,
            rule => rule,
        }
    }

    /// The most bytes of a line, without its end.
    fn most(self) -> usize {
        match self {
            Self::WithEnd => MESSAGE_SIZE - 1,
            _ => MESSAGE_SIZE,
        }
    }

    /// The message for a line without its end; `None` if the line is skipped.
    fn message(self, line: &[u8]) -> Option<Cow<'_, [u8]>> {
        match self {
            Self::WithEnd => Some([line, b"\n"].concat().into()),
            Self::AsTypedNotEmpty | Self::TrimmedNotEmpty if line.is_empty() => None,
            _ => Some(line.into()),
        }
    }
}

/// Passes the message of every line to `answer`, until the line `quit` or the end of the input.
pub fn converse<R: BufRead, W: Write>(
    user: &mut User<R, W>,
    prompt: &str,
    rule: LineRule,
    mut answer: impl FnMut(&mut User<R, W>, &[u8]) -> Result<(), Problem>,
) -> Result<(), Problem> {
    while let Some(line) = user.ask(prompt, rule.most())? {
        let line = match rule {
            LineRule::Trimmed | LineRule::TrimmedNotEmpty => line.trim_ascii(),
            _ => &line,
        };
        if line == QUIT {
            break;
        }
        if let Some(message) = rule.message(line) {
            answer(user, &message)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::user::tests::piped;
    use super::*;

    fn messages(rule: LineRule, input: &str) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        let (_, result) = piped(input, |user| {
            converse(user, "> ", rule, |_, message| {
                messages.push(message.to_vec());
                Ok(())
            })
        });
        result.unwrap();
        messages
    }

    #[test]
    fn lines_are_sent_until_quit_or_the_end_of_the_input() {
        let expected: [&[u8]; 3] = [b"a", b"", b" b "];
        assert_eq!(messages(LineRule::AsTyped, "a\n\n b \nquit\nc\n"), expected);
        assert_eq!(messages(LineRule::AsTyped, "a\n\n b "), expected);
    }

    #[test]
    fn where_white_space_means_nothing_it_is_not_sent() {
        let input = " a \n\n \t\n quit \nb\n";
        assert_eq!(messages(LineRule::TrimmedNotEmpty, input), [b"a"]);
        assert_eq!(
            messages(LineRule::Trimmed, input),
            [b"a".as_slice(), b"", b""]
        );
    }

    #[test]
    fn a_line_may_be_sent_with_its_end_and_be_shorter_by_one_byte() {
        let expected: [&[u8]; 2] = [b" a\n", b"\n"];
        assert_eq!(messages(LineRule::WithEnd, " a\r\n\nquit\n"), expected);
        let (_, result) = piped(&"a".repeat(1024), |user| {
            converse(user, "> ", LineRule::WithEnd, |_, _| Ok(()))
        });
        assert!(matches!(result, Err(Problem::LineTooLong(1023))));
    }

    #[test]
    fn over_a_stream_an_empty_line_is_skipped_unless_its_end_is_sent() {
        let skipped = LineRule::AsTyped.over_stream();
        assert_eq!(messages(skipped, "\na\n"), [b"a"]);
        let sent = LineRule::WithEnd.over_stream();
        assert_eq!(messages(sent, "\n"), [b"\n"]);
    }
}
