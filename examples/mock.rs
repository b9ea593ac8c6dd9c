//! A handler that is tested over a mock: without a socket and a thread, and with every division of
//! the bytes into pieces.
//!
//! `cargo test --example mock` runs the tests, `cargo run --example mock` shows a conversation.

use std::io::Write;

use socketserver::mock::MockStream;
use socketserver::{HandlerResult, RequestHandler, StreamRequest};

/// Adds the numbers of a line.
struct Sum;

impl RequestHandler for Sum {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        while let Some(line) = request.next_line(1000)? {
            let numbers = line
                .split_whitespace()
                .map(|word| word.parse::<i32>().map(i64::from));
            match numbers.sum::<Result<i64, _>>() {
                Ok(sum) => writeln!(request, "{sum}")?,
                Err(error) => writeln!(request, "not a number: {error}")?,
            }
        }
        Ok(())
    }
}

fn main() {
    let recording = MockStream::new().chunk("1 2 ").chunk("3\n").run(Sum);
    for event in recording.events() {
        println!("{event:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;

    #[test]
    fn a_line_that_arrives_in_pieces_is_one_line() {
        let recording = MockStream::new()
            .chunk("1 ")
            .chunk("2")
            .chunk("\n")
            .run(Sum);
        assert_eq!(recording.written(), b"3\n");
    }

    #[test]
    fn two_lines_that_arrive_together_are_answered_together() {
        let recording = MockStream::new().chunk("1 2\n3 4\n").run(Sum);
        assert_eq!(recording.writes(), [b"3\n7\n"]);
    }

    #[test]
    fn an_error_in_a_number_is_reported_and_the_conversation_goes_on() {
        let recording = MockStream::new().chunk("one\n").chunk("1\n").run(Sum);
        assert_eq!(
            recording.written(),
            b"not a number: invalid digit found in string\n1\n"
        );
    }

    #[test]
    fn a_client_that_breaks_off_is_an_error() {
        let mock = MockStream::new()
            .chunk("1 2")
            .read_error(ErrorKind::ConnectionReset);
        let recording = mock.run(Sum);
        assert!(recording.result().is_err());
        assert!(recording.written().is_empty());
    }
}
