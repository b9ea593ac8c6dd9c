//! Why a client ends before its user wants it to.

use std::io::{self, ErrorKind};

use socketserver_handlers::auth::KeyError;
use socketserver_handlers::framing::FramingError;

use crate::url::Url;

/// What keeps a conversation from going on.
///
/// An [`io::Error`] that `?` turns into one is the server's; those of standard input and output have
/// variants of their own.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error("cannot read standard input: {0}")]
    Input(io::Error),
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
    #[error("this line has more than the {0} bytes of a message; nothing of it was sent")]
    LineTooLong(usize),
    #[error("there is no server: {0}; check the address, and that the server runs")]
    NotThere(io::Error),
    #[error("the server left before its answer was complete; its log may have the reason")]
    Left,
    #[error(
        "the server left before its answer was complete, as it does if the key or the digest is wrong; \
         its log has the reason"
    )]
    LeftAfterChallenge,
    #[error("no answer came in time; check that the server runs, or wait longer with --timeout")]
    NoAnswer,
    #[error("{0}")]
    Challenge(io::Error),
    #[error("the answer makes no sense: {0}; check what runs at this address")]
    Nonsense(String),
    #[error("the answer makes no sense: {0}; check what runs there, and its --framing")]
    NoFrame(FramingError),
    #[error("the conversation failed: {0}")]
    Io(io::Error),
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe => Self::Left,
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::NoAnswer,
            // Of a datagram that found nobody.
            ErrorKind::ConnectionRefused | ErrorKind::NotFound => Self::NotThere(error),
            _ => Self::Io(error),
        }
    }
}

impl From<FramingError> for Problem {
    fn from(error: FramingError) -> Self {
        match error {
            FramingError::Io(error) => error.into(),
            FramingError::Truncated { .. } => Self::Left,
            error => Self::NoFrame(error),
        }
    }
}

impl Problem {
    /// The same, with the server that it is about.
    pub fn at(self, url: &Url) -> Failure {
        match self {
            Self::Input(_) | Self::Output(_) | Self::LineTooLong(_) => Failure::Here(self),
            problem => Failure::There(url.clone(), problem),
        }
    }
}

/// Why the command fails.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// What was asked for makes no sense.
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("cannot catch signals: {0}")]
    Signals(io::Error),
    #[error(transparent)]
    Here(Problem),
    #[error("{0}: {1}")]
    There(Url, #[source] Problem),
}

impl Failure {
    /// Whether it is that nobody reads standard output any more, which is no reason to complain.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Here(Problem::Output(error)) if error.kind() == ErrorKind::BrokenPipe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_about_the_server_names_it_and_what_is_about_the_user_does_not() {
        let url = Url::local_tcp(8080);
        let message = Problem::Left.at(&url).to_string();
        assert!(message.starts_with("tcp://127.0.0.1:8080: the server left"));
        let message = Problem::LineTooLong(1024).at(&url).to_string();
        assert!(message.starts_with("this line has more than the 1024 bytes"));
    }

    #[test]
    fn each_way_in_which_a_server_fails_is_told_apart() {
        for (kind, expected) in [
            (ErrorKind::UnexpectedEof, "the server left"),
            (ErrorKind::ConnectionReset, "the server left"),
            (ErrorKind::BrokenPipe, "the server left"),
            (ErrorKind::WouldBlock, "no answer came in time"),
            (ErrorKind::ConnectionRefused, "there is no server"),
            (ErrorKind::PermissionDenied, "the conversation failed"),
        ] {
            let message = Problem::from(io::Error::from(kind)).to_string();
            assert!(message.starts_with(expected), "{message}");
        }
    }

    #[test]
    fn a_message_cut_short_is_a_server_that_left_and_any_other_is_nonsense() {
        let truncated = FramingError::Truncated {
            part: "body",
            received: 3,
            announced: 5,
        };
        assert!(matches!(Problem::from(truncated), Problem::Left));
        let message = Problem::from(FramingError::NegativeLength(-1)).to_string();
        assert!(message.contains("negative: -1"), "{message}");
    }
}
