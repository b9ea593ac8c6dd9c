//! The user of a client: a person at a terminal, or a program behind pipes.

use std::io::{self, BufRead, BufReader, IsTerminal, Read, Stdin, Stdout, Write};

use socketserver_handlers::chat::printable;

use crate::failure::Problem;
use crate::standard_streams::{self, Patient};

/// White on blue, as in the tutorial, and the reset.
const HIGHLIGHT: (&str, &str) = ("\x1b[1;37;44m", "\x1b[0m");

/// The user, who types lines and reads answers.
///
/// In a terminal there is a prompt before each line, and the control characters of a message are
/// escaped. In a pipe all bytes are passed unchanged.
#[derive(Debug)]
pub struct User<R, W> {
    input: R,
    output: W,
    prompts: bool,
    screen: bool,
    amid_line: bool,
}

impl User<BufReader<Patient<Stdin>>, Patient<Stdout>> {
    /// The user at standard input and output.
    pub fn here() -> Self {
        let screen = io::stdout().is_terminal();
        let prompts = screen && io::stdin().is_terminal();
        let input = BufReader::new(standard_streams::input());
        let user = User::new(input, standard_streams::output());
        User {
            prompts,
            screen,
            ..user
        }
    }
}

impl<R: BufRead, W: Write> User<R, W> {
    /// A user behind two pipes.
    pub fn new(input: R, output: W) -> Self {
        Self {
            input,
            output,
            prompts: false,
            screen: false,
            amid_line: false,
        }
    }

    /// Reads the next line without its end, of at most `most` bytes; `None` at the end of the
    /// input.
    pub fn ask(&mut self, prompt: &str, most: usize) -> Result<Option<Vec<u8>>, Problem> {
        if self.prompts {
            let line_end = if self.amid_line { "\n" } else { "" };
            write!(self.output, "{line_end}{prompt}").map_err(Problem::Output)?;
            self.flush()?;
        }
        self.amid_line = false;
        let mut line = Vec::new();
        // The line and its end.
        let mut input = self.input.by_ref().take(most as u64 + 2);
        let read = input.read_until(b'\n', &mut line).map_err(Problem::Input)?;
        if read == 0 {
            return Ok(None);
        }
        if line.ends_with(b"\n") {
            line.pop();
            if line.ends_with(b"\r") {
                line.pop();
            }
        }
        match line.len() {
            length if length > most => Err(Problem::LineTooLong(most)),
            _ => Ok(Some(line)),
        }
    }

    /// Shows a message on a line of its own.
    pub fn show(&mut self, message: &[u8]) -> Result<(), Problem> {
        if self.screen {
            self.write(printable(message).as_bytes())?;
        } else {
            self.write(message)?;
        }
        self.write(b"\n")?;
        self.flush()
    }

    /// Shows a message behind the address of its sender: always one line.
    pub fn show_from(&mut self, sender: &str, message: &[u8]) -> Result<(), Problem> {
        let message = printable(message);
        let (on, off) = if self.screen { HIGHLIGHT } else { ("", "") };
        self.write(format!("from {sender}: {on}{message}{off}\n").as_bytes())?;
        self.flush()
    }

    /// Writes bytes unchanged, in a terminal too.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        self.output.write_all(bytes).map_err(Problem::Output)?;
        if let Some(last) = bytes.last() {
            self.amid_line = *last != b'\n';
        }
        Ok(())
    }

    /// Writes bytes unchanged, in a terminal too, and flushes them.
    pub fn show_bytes(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        self.write(bytes)?;
        self.flush()
    }

    /// Copies a stream to its end, piece by piece.
    pub fn write_all_of(&mut self, mut stream: impl Read) -> Result<(), Problem> {
        let mut buffer = [0; 8192];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => return self.flush(),
                Ok(count) => self.write(&buffer[..count])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.flush()?;
                    return Err(error.into());
                }
            }
        }
    }

    /// Flushes the output.
    pub fn flush(&mut self) -> Result<(), Problem> {
        self.output.flush().map_err(Problem::Output)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// The output and the end of `converse` with a user who types `input` into a pipe.
    pub fn piped(
        input: &str,
        converse: impl FnOnce(&mut User<&[u8], &mut Vec<u8>>) -> Result<(), Problem>,
    ) -> (Vec<u8>, Result<(), Problem>) {
        let mut output = Vec::new();
        let mut user = User::new(input.as_bytes(), &mut output);
        let result = converse(&mut user);
        (output, result)
    }

    fn at_a_terminal<'a>(
        input: &'a str,
        output: &'a mut Vec<u8>,
    ) -> User<&'a [u8], &'a mut Vec<u8>> {
        User {
            prompts: true,
            screen: true,
            ..User::new(input.as_bytes(), output)
        }
    }

    #[test]
    fn lines_come_without_their_ends_and_the_last_needs_none() {
        piped("one\n\ntwo\r\nlast", |user| {
            for line in ["one", "", "two", "last"] {
                assert_eq!(user.ask("> ", 10)?.unwrap(), line.as_bytes());
            }
            assert_eq!(user.ask("> ", 10)?, None);
            Ok(())
        })
        .1
        .unwrap();
    }

    #[test]
    fn a_line_at_the_limit_passes_and_a_longer_one_does_not() {
        for (line, fits) in [
            ("123\n", true),
            ("123\r\n", true),
            ("123", true),
            ("1234\n", false),
            ("1234", false),
            ("12345678", false),
        ] {
            let (_, result) = piped(line, |user| user.ask("> ", 3).map(drop));
            assert_eq!(result.is_ok(), fits, "{line:?}");
        }
    }

    #[test]
    fn in_a_pipe_there_is_no_prompt_and_a_message_is_passed_unchanged() {
        let (output, _) = piped("hi\n", |user| {
            user.ask("> ", 10)?;
            user.show(b"\x1b[2J\xff")?;
            user.show_from("127.0.0.1:1", b"a\nfrom me: b")
        });
        assert_eq!(output, b"\x1b[2J\xff\nfrom 127.0.0.1:1: a\\nfrom me: b\n");
    }

    #[test]
    fn in_a_terminal_there_is_a_prompt_and_a_message_cannot_write_to_it() {
        let mut output = Vec::new();
        let mut user = at_a_terminal("hi\n", &mut output);
        user.ask("> ", 10).unwrap();
        user.show(b"\x1b[2J").unwrap();
        user.show_from("127.0.0.1:1", b"\x1b[2J").unwrap();
        let expected = "> \\u{1b}[2J\nfrom 127.0.0.1:1: \x1b[1;37;44m\\u{1b}[2J\x1b[0m\n";
        assert_eq!(String::from_utf8(output).unwrap(), expected);
    }

    #[test]
    fn a_prompt_begins_a_line_of_its_own_after_an_output_without_an_end() {
        let mut output = Vec::new();
        let mut user = at_a_terminal("a\nb\n", &mut output);
        user.write_all_of(b"no end".as_slice()).unwrap();
        user.ask("> ", 10).unwrap();
        user.write_all_of(b"end\n".as_slice()).unwrap();
        user.ask("> ", 10).unwrap();
        assert_eq!(output, b"no end\n> end\n> ");
    }
}
