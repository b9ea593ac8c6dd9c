//! Lines, each with its answer.

use std::io::{BufRead, Write};

use super::failure::Problem;
use super::user::User;

/// The most bytes of a message, as in the tutorial's `recv(1024)`.
pub const MESSAGE_SIZE: usize = 1024;

/// The word that ends a conversation.
const QUIT: &[u8] = b"quit";

/// How a program takes the lines of its user.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    pub prompt: &'static str,
    /// White space at both ends of a line is not sent.
    pub trims: bool,
    /// An empty line is not sent but asked for again.
    pub skips_empty: bool,
    /// The most bytes of a line.
    pub most: usize,
}

impl Manner {
    /// Every line as it is.
    pub const fn as_typed(prompt: &'static str) -> Self {
        Self {
            prompt,
            trims: false,
            skips_empty: false,
            most: MESSAGE_SIZE,
        }
    }

    /// Without white space at the ends, and without empty lines.
    pub const fn trimmed(prompt: &'static str) -> Self {
        Self {
            trims: true,
            skips_empty: true,
            ..Self::as_typed(prompt)
        }
    }
}

/// Lets `answer` have every line until `quit`, or the end of the input.
pub fn converse<R: BufRead, W: Write>(
    user: &mut User<R, W>,
    manner: Manner,
    mut answer: impl FnMut(&mut User<R, W>, &[u8]) -> Result<(), Problem>,
) -> Result<(), Problem> {
    while let Some(line) = user.ask(manner.prompt, manner.most)? {
        let line = if manner.trims {
            line.trim_ascii()
        } else {
            &line
        };
        match line {
            QUIT => break,
            b"" if manner.skips_empty => {}
            line => answer(user, line)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::user::tests::piped;
    use super::*;

    fn lines(manner: Manner, input: &str) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        let (_, result) = piped(input, |user| {
            converse(user, manner, |_, line| {
                lines.push(line.to_vec());
                Ok(())
            })
        });
        result.unwrap();
        lines
    }

    #[test]
    fn lines_are_sent_until_quit_or_the_end_of_the_input() {
        let manner = Manner::as_typed("> ");
        let expected: [&[u8]; 3] = [b"a", b"", b" b "];
        assert_eq!(lines(manner, "a\n\n b \nquit\nc\n"), expected);
        assert_eq!(lines(manner, "a\n\n b "), expected);
    }

    #[test]
    fn where_white_space_means_nothing_it_is_not_sent() {
        let manner = Manner::trimmed("> ");
        assert_eq!(lines(manner, " a \n\n \t\n quit \nb\n"), [b"a"]);
    }
}
