//! Why a framed message cannot be read or written.

use std::fmt;
use std::io::{self, ErrorKind};
use std::str::Utf8Error;

/// Why a framed message cannot be read or written.
///
/// In a handler, `?` returns it as the handler's error. [`From`] converts it to an [`io::Error`] of
/// the kind
///
/// * [`UnexpectedEof`](ErrorKind::UnexpectedEof) for [`Truncated`](Self::Truncated),
/// * [`InvalidInput`](ErrorKind::InvalidInput) for [`Unserializable`](Self::Unserializable),
/// * [`InvalidData`](ErrorKind::InvalidData) for the other errors of content,
///
/// and [`Io`](Self::Io) to the error inside.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FramingError {
    /// The four bytes of a length are a negative number.
    #[error("the announced length is negative: {0}; the two sides may use different byte orders")]
    NegativeLength(i32),

    /// A length that was received, or would be sent, is above the limit.
    #[error("a length of {length} bytes is above the limit of {limit}")]
    TooLong {
        /// The length, in bytes.
        length: u64,
        /// The longest allowed, in bytes.
        limit: u32,
    },

    /// The peer closed in the middle of the message.
    #[error("the end of file came after {received} of {announced} bytes of the {part}")]
    Truncated {
        /// The part that was read: `length`, `frame`, `header` or `body`.
        part: &'static str,
        /// How many bytes of the part arrived.
        received: u64,
        /// How many bytes the part should have had.
        announced: u64,
    },

    /// The header is not utf-8.
    #[error("the header is not utf-8: {0}")]
    NotUtf8(#[source] Utf8Error),

    /// The header is utf-8, but not JSON.
    #[error("the header is not JSON: {0}")]
    NotJson(#[source] serde_json::Error),

    /// The header that was received, or would be sent, is JSON, but not an object.
    #[error("the header is JSON, but not an object")]
    NotAnObject,

    /// The header is a JSON object without one of the fields, or with a value of another type.
    #[error("the header is not of the expected form: {}", Harmless(.0))]
    WrongFields(#[source] serde_json::Error),

    /// The header to be sent cannot be written as JSON: a map whose keys are no strings, for
    /// example.
    #[error("the header cannot be written as JSON: {0}")]
    Unserializable(#[source] serde_json::Error),

    /// Reading or writing failed, or [timed out](ErrorKind::TimedOut).
    #[error(transparent)]
    Io(io::Error),
}

impl From<io::Error> for FramingError {
    /// An error that contains a [`FramingError`], as from the reads of a
    /// [`Body`](crate::framing::Body), becomes the [`FramingError`] inside.
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

/// A message that may quote untrusted text, made fit for a terminal and a log.
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
    fn every_message_has_the_numbers() {
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
    fn an_error_survives_the_conversion_to_an_io_error() {
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
    fn wrong_content_is_invalid_data_and_an_io_error_stays_itself() {
        let error = io::Error::from(FramingError::NegativeLength(-1));
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        let error = FramingError::from(io::Error::from(ErrorKind::ConnectionReset));
        assert!(matches!(error, FramingError::Io(_)));
        assert_eq!(io::Error::from(error).kind(), ErrorKind::ConnectionReset);
    }

    #[test]
    fn a_handler_returns_it_with_the_question_mark_and_a_downcast_finds_it() {
        fn handle() -> Result<(), HandlerError> {
            Err(truncated())?
        }
        let error = handle().unwrap_err();
        assert!(error.downcast_ref::<FramingError>().is_some());
    }

    #[test]
    fn a_message_that_quotes_untrusted_text_has_no_control_characters_and_is_short() {
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
