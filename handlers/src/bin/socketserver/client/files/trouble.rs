//! Why a command of the file client fails: [`Trouble`].

use std::io;

use socketserver_handlers::files::{Code, FinishError, Refusal};
use socketserver_handlers::framing::FramingError;

use crate::failure::Problem;

/// Why a command fails.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The server refuses the command, and the connection goes on.
    #[error("{0}")]
    Refused(Refusal),
    /// The connection is lost, or the server breaks the protocol.
    #[error("{0}")]
    Lost(Problem),
    /// A problem on this side.
    #[error("{0}")]
    Here(String),
    /// Standard output.
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
}

impl Trouble {
    /// The server has sent something that the protocol does not have here.
    pub fn nonsense(what: &str) -> Self {
        Self::Lost(Problem::Nonsense(what.to_owned()))
    }

    /// Whether another try, over a new connection, may succeed.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Refused(refusal) => matches!(refusal.code(), Code::Busy | Code::Changed),
            Self::Lost(problem) => matches!(
                problem,
                Problem::Left
                    | Problem::LeftAfterChallenge
                    | Problem::NoAnswer
                    | Problem::NotThere(_)
                    | Problem::Io(_)
            ),
            Self::Here(_) | Self::Output(_) => false,
        }
    }

    /// An error of a local file.
    pub fn local(what: &str, name: &[u8], error: &io::Error) -> Self {
        Self::Here(format!(
            "cannot {what} {}: {error}",
            super::words::quoted(name)
        ))
    }
}

impl From<Trouble> for Problem {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Lost(problem) => problem,
            Trouble::Refused(refusal) => Self::Refused(refusal),
            Trouble::Here(message) => Self::LocalFile(message),
            Trouble::Output(error) => Self::Output(error),
        }
    }
}

impl From<Problem> for Trouble {
    fn from(problem: Problem) -> Self {
        Self::Lost(problem)
    }
}

/// An error of the connection. Errors of local files are made with [`Trouble::local`].
impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Lost(error.into())
    }
}

impl From<FramingError> for Trouble {
    fn from(error: FramingError) -> Self {
        Self::Lost(error.into())
    }
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Why a download could not be finished.
pub fn not_finished(name: &[u8], error: FinishError) -> Trouble {
    match error {
        FinishError::Io(error) if error.kind() == io::ErrorKind::AlreadyExists => exists(name),
        FinishError::Io(error) => Trouble::local("write", name, &error),
        // The received content differs from the content that the server has hashed: the next try
        // begins at the start.
        _ => Refusal::new(Code::Changed).into(),
    }
}

/// A local file may not be replaced.
pub fn exists(name: &[u8]) -> Trouble {
    let name = super::words::quoted(name);
    Trouble::Here(format!("{name} exists here; give --replace to replace it"))
}
