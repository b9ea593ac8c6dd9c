//! What can be wrong with a framed message.

use std::fmt;
use std::io::{self, ErrorKind};
use std::str::Utf8Error;

/// What kept a framed message from being read or written.
///
/// As a handler's error, `?` is enough. Where an [`io::Error`] is wanted, [`From`] makes one: of the
/// kind [`UnexpectedEof`](ErrorKind::UnexpectedEof) for [`Truncated`](Self::Truncated),
/// [`InvalidInput`](ErrorKind::InvalidInput) for what JSON cannot be made of,
/// [`InvalidData`](ErrorKind::InvalidData) for what cannot have been meant by the other side, and the
/// very error inside [`Io`](Self::Io).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FramingError {
    /// The four bytes of a length are a negative number.
    #[error("the announced length is negative: {0}; the two sides may use different byte orders")]
    NegativeLength(i32),

    /// A length, received or to be sent, is above the limit.
    #[error("a length of {length} bytes is above the limit of {limit}")]
    TooLong {
        /// The length, in bytes.
        length: u64,
        /// The longest allowed, in bytes.
        limit: u32,
    },

    /// The other side closed in the middle.
    #[error("the end of file came after {received} of {announced} bytes of the {part}")]
    Truncated {
        /// What was being read: `length`, `frame`, `header` or `body`.
        part: &'static str,
        /// How many bytes of it came.
        received: u64,
        /// How many it should have had.
        announced: u64,
    },

    /// The header is not utf-8.
    #[error("the header is not utf-8: {0}")]
    NotUtf8(#[source] Utf8Error),

    /// The header is utf-8, but not JSON.
    #[error("the header is not JSON: {0}")]
    NotJson(#[source] serde_json::Error),

    /// The header, received or to be sent, is JSON, but a number or a list, say, where it must be an
    /// object.
    #[error("the header is JSON, but not an object")]
    NotAnObject,

    /// The header is a JSON object that lacks a field, or has another type of value in it.
    #[error("the header is not of the expected form: {}", Harmless(.0))]
    WrongFields(#[source] serde_json::Error),

    /// The header to be sent cannot be said in JSON: a map whose keys are no strings, for example.
    #[error("the header cannot be written as JSON: {0}")]
    Unserializable(#[source] serde_json::Error),

    /// Reading or writing failed, a [timeout](ErrorKind::TimedOut) among the reasons.
    #[error(transparent)]
    Io(io::Error),
}

impl From<io::Error> for FramingError {
    /// An error that was made from a [`FramingError`], as by the reads of a
    /// [`Body`](crate::framing::Body), becomes that again.
    fn from(error: io::Error) -> Self {
        error.downcast().unwrap_or_else(Self::Io)
    }
}

impl From<FramingError> for io::Error {
    fn from(error: FramingError) -> Self {
        let kind = match error {
            FramingError::Io(error) => return error,
            FramingError::Truncated { .. } => ErrorKind::UnexpectedEof,
            FramingError::Unserializable(_) => ErrorKind::InvalidInput,
            _ => ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

/// A message that may quote a stranger's text, made fit for a terminal and a log.
struct Harmless<'a>(&'a serde_json::Error);

impl Harmless<'_> {
    /// The most characters that are shown.
    const LENGTH: usize = 200;
}

impl fmt::Display for Harmless<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = self.0.to_string();
        let shown = message.chars().take(Self::LENGTH);
        for character in shown {
            if character.is_control() {
                write!(f, "{}", character.escape_default())?;
            } else {
                write!(f, "{character}")?;
            }
        }
        let rest = message.chars().count().saturating_sub(Self::LENGTH);
        if rest > 0 {
            write!(f, "… and {rest} more characters")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use socketserver::HandlerError;

    use super::*;

    fn truncated() -> FramingError {
        FramingError::Truncated {
            part: "body",
            received: 3,
            announced: 10,
        }
    }

    #[test]
    fn every_message_says_what_was_wrong_in_numbers() {
        let too_long = FramingError::TooLong {
            length: 2_000,
            limit: 1_000,
        };
        for (error, message) in [
            (
                FramingError::NegativeLength(-1),
                "the announced length is negative: -1; the two sides may use different byte orders",
            ),
            (
                too_long,
                "a length of 2000 bytes is above the limit of 1000",
            ),
            (
                truncated(),
                "the end of file came after 3 of 10 bytes of the body",
            ),
            (
                FramingError::NotAnObject,
                "the header is JSON, but not an object",
            ),
        ] {
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn it_goes_through_an_io_error_and_comes_back() {
        let error = io::Error::from(truncated());
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        let error = FramingError::from(error);
        assert!(matches!(
            error,
            FramingError::Truncated {
                received: 3,
                announced: 10,
                ..
            }
        ));
    }

    #[test]
    fn what_the_other_side_cannot_have_meant_is_invalid_data_and_an_io_error_is_itself() {
        let error = io::Error::from(FramingError::NegativeLength(-1));
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        let error = FramingError::from(io::Error::from(ErrorKind::ConnectionReset));
        assert!(matches!(error, FramingError::Io(_)));
        assert_eq!(io::Error::from(error).kind(), ErrorKind::ConnectionReset);
    }

    #[test]
    fn a_handler_reports_it_with_the_question_mark_and_it_can_be_found_again() {
        fn handle() -> Result<(), HandlerError> {
            Err(truncated())?
        }
        let error = handle().unwrap_err();
        assert!(error.downcast_ref::<FramingError>().is_some());
    }

    #[test]
    fn a_message_that_quotes_a_stranger_has_no_control_characters_and_is_short() {
        let text = format!("\"\x1b[31m{}\"", "x".repeat(100_000)).replace('\x1b', "\\u001b");
        #[derive(Debug, serde::Deserialize)]
        enum Choice {}
        let error = serde_json::from_str::<Choice>(&text).unwrap_err();
        assert!(error.to_string().contains('\x1b'));
        let message = FramingError::WrongFields(error).to_string();
        assert!(message.contains("\\u{1b}[31mxxx"), "{message}");
        assert!(
            !message.contains('\x1b') && message.len() < 400,
            "{message}"
        );
    }
}
