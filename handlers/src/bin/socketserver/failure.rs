//! Why the command fails, and its exit status then.

use std::fmt::Display;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStringExt;
#[cfg(feature = "http")]
use std::path::PathBuf;
use std::process::ExitCode;

use socketserver_handlers::admission::RulesError;
use socketserver_handlers::auth::{KeyError, SameUserError};
use socketserver_handlers::exec::ProgramError;
use socketserver_handlers::framing::FramingError;

use crate::standard_error::{print_line, visible};
use crate::url::Url;

/// Why the command fails.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line asks for something impossible.
    #[error("{0}")]
    Usage(clap::Error),
    #[error("cannot catch signals: {0}")]
    Signals(io::Error),
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    /// A signal has stopped the server before it was announced.
    #[error("stopped by signal {0} before the server was announced")]
    Interrupted(i32),
    /// A socket that another program has opened, or should have opened.
    #[error("{0}: {1}")]
    Passed(String, String),
    /// The user that the program should become.
    #[error("{0}")]
    Privileges(String),
    #[error(transparent)]
    Server(#[from] socketserver::Error),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// The files of TLS.
    #[cfg(feature = "tls")]
    #[error("{0}")]
    Tls(String),
    /// The accounts, the homes or the password of the file service.
    #[cfg(feature = "files")]
    #[error("{0}")]
    Files(String),
    /// A file or a directory that cannot be opened, and for what.
    #[cfg(feature = "http")]
    #[error("cannot {purpose} {}: {source}", path.display())]
    File {
        purpose: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// A problem on this side: standard input or standard output.
    #[error(transparent)]
    Here(Problem),
    /// A problem with the server at this URL.
    #[error("{0}: {1}")]
    There(Url, #[source] Problem),
}

/// Why a conversation with a server ends before its user ends it.
///
/// `?` turns an [`io::Error`] into a problem of the server. Standard input and standard output have
/// variants of their own. A problem becomes a [`Failure`] through [`at`](Self::at), which adds the
/// URL.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error("cannot read standard input: {0}")]
    Input(io::Error),
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
    #[error("this line has more than the {0} bytes of a message; no part of the line was sent")]
    LineTooLong(usize),
    #[error("{}", not_there(.0))]
    NotThere(io::Error),
    #[error(
        "the server closed the connection before its answer was complete; its log may have the \
         reason"
    )]
    Left,
    #[error(
        "the server closed the connection before its answer was complete, which happens if the key \
         or the digest is wrong; its log has the reason"
    )]
    LeftAfterChallenge,
    #[error("no answer came in time; check that the server runs, or wait longer with --timeout")]
    NoAnswer,
    #[cfg(feature = "tls")]
    #[error(
        "the TLS handshake failed: {0}; check --ca, --cert and the name of the server, and that \
         the server speaks TLS"
    )]
    Handshake(io::Error),
    #[error("{0}")]
    Challenge(io::Error),
    #[error(
        "no command was run: {0}; check who has started the server, or give --obey-any-user if \
         that user may command here"
    )]
    OtherUser(SameUserError),
    #[error("the answer breaks the protocol: {0}; check which server runs at this address")]
    Nonsense(String),
    #[error(
        "the answer breaks the protocol: {0}; check which server runs there, and its --framing"
    )]
    NoFrame(FramingError),
    /// The file service does not do what it is asked for.
    #[cfg(feature = "files")]
    #[error("{0}")]
    Refused(socketserver_handlers::files::Refusal),
    /// A file on this side.
    #[cfg(feature = "files")]
    #[error("{0}")]
    LocalFile(String),
    #[error("the conversation failed: {0}")]
    Io(io::Error),
}

impl Failure {
    /// A mistake on the command line.
    pub fn usage(message: impl Display) -> Self {
        let kind = clap::error::ErrorKind::ArgumentConflict;
        Self::Usage(clap::Error::raw(kind, message))
    }

    /// A mistake on the command line: an option for connections at a URL that has none.
    pub fn no_connections(option: &str, url: &Url) -> Self {
        let scheme = url.scheme();
        Self::usage(format!(
            "{option} is for connections, and {scheme} has none"
        ))
    }

    /// Prints the failure to standard error, and returns the exit status: 2 for a mistake on the
    /// command line, which is printed with the usage of `task`, 128 plus the number of the signal
    /// that has stopped the start, and 1 for all others.
    pub fn exit(self, task: &mut clap::Command) -> ExitCode {
        if let Self::Usage(error) = self {
            print_usage(&error.format(task));
            return ExitCode::from(2);
        }
        // A URL byte for byte, so that it can be typed again.
        let line = match &self {
            Self::There(url, problem) => {
                [&url.to_bytes(), format!(": {problem}").as_bytes()].concat()
            }
            failure => failure.to_string().into_bytes(),
        };
        print_line([b"socketserver: ", &*line].concat());
        match self {
            Self::Interrupted(signal) => {
                u8::try_from(128 + signal).map_or(ExitCode::FAILURE, ExitCode::from)
            }
            _ => ExitCode::FAILURE,
        }
    }

    /// True if standard output is a pipe whose read end is closed.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Here(Problem::Output(error)) if error.kind() == ErrorKind::BrokenPipe)
    }
}

/// Prints a mistake on the command line. The text repeats arguments, which may be names of files.
fn print_usage(error: &clap::Error) {
    let mut arguments = std::env::args_os().map(OsStringExt::into_vec);
    if arguments.all(|argument| visible(&argument) == argument) {
        // An error of the print is ignored: standard error is closed.
        let _ = error.print();
        return;
    }
    for line in without_colours(&error.render().ansi().to_string()).lines() {
        print_line(line);
    }
}

/// The text without the sequences that set colours.
fn without_colours(text: &str) -> String {
    let mut pieces = text.split("\x1b[");
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        match piece
            .trim_start_matches(|it: char| it.is_ascii_digit() || it == ';')
            .strip_prefix('m')
        {
            Some(rest) => plain.push_str(rest),
            None => plain.extend(["\x1b[", piece]),
        }
    }
    plain
}

/// Why a server cannot be reached.
fn not_there(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::PermissionDenied => format!(
            "the system does not let this user reach the server: {error}; to connect to a Unix \
             socket, a user needs the right to write to its file, which its owner or the server's \
             --socket-mode gives, and to search its directory"
        ),
        _ => format!("there is no server: {error}; check the address, and that the server runs"),
    }
}

impl From<clap::Error> for Failure {
    fn from(error: clap::Error) -> Self {
        Self::Usage(error)
    }
}

impl Problem {
    /// The failure of a conversation with the server at `url`.
    pub fn at(self, url: &Url) -> Failure {
        match self {
            Self::Input(_) | Self::Output(_) | Self::LineTooLong(_) => Failure::Here(self),
            #[cfg(feature = "files")]
            Self::LocalFile(_) => Failure::Here(self),
            problem => Failure::There(url.clone(), problem),
        }
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe => Self::Left,
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::NoAnswer,
            // A datagram found no socket at its address.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_of_the_server_names_the_server_and_one_of_the_user_does_not() {
        let url = Url::local_tcp(8080);
        let message = Problem::Left.at(&url).to_string();
        assert!(message.starts_with("tcp://127.0.0.1:8080: the server closed"));
        let message = Problem::LineTooLong(1024).at(&url).to_string();
        assert!(message.starts_with("this line has more than the 1024 bytes"));
    }

    #[test]
    fn a_server_that_this_user_may_not_reach_is_not_taken_for_none() {
        let error = io::Error::from(ErrorKind::PermissionDenied);
        let message = Problem::NotThere(error).to_string();
        assert!(message.contains("the right to write"), "{message}");
        assert!(!message.contains("there is no server"), "{message}");
    }

    #[test]
    fn each_way_in_which_a_server_fails_has_its_message() {
        for (kind, expected) in [
            (ErrorKind::UnexpectedEof, "the server closed"),
            (ErrorKind::ConnectionReset, "the server closed"),
            (ErrorKind::BrokenPipe, "the server closed"),
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
