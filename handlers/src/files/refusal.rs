//! Why the file service does not do what a client asks for: [`Refusal`].

use std::fmt;
use std::io;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use socketserver::HandlerError;

use crate::framing::FramingError;

/// The code of a [`Refusal`], as it is on the connection: the protocol's page has the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Code {
    /// The account was removed or has another password since the login.
    AccountChanged,
    /// A second login.
    AlreadyLoggedIn,
    /// The message breaks the rules of messages.
    BadMessage,
    /// The path is no path.
    BadName,
    /// A field is missing or wrong, or the command does not fit the state.
    BadRequest,
    /// Another session writes this name.
    Busy,
    /// The file changed while it was sent.
    Changed,
    /// The user or the password is wrong.
    Denied,
    /// The name exists, and may not be replaced.
    Exists,
    /// No passwords over this connection.
    Insecure,
    /// The command is for files.
    IsADirectory,
    /// The command is for users who have logged in.
    LoginRequired,
    /// Too many symbolic links.
    Loop,
    /// A name or a path is too long for the system.
    NameTooLong,
    /// The disk is full.
    NoSpace,
    /// A file, where a directory was expected.
    NotADirectory,
    /// A FIFO, a socket or a device.
    NotAFile,
    /// The directory is not empty.
    NotEmpty,
    /// The path names nothing.
    NotFound,
    /// A rename from one file system to another.
    OtherFileSystem,
    /// The path leaves the home.
    Outside,
    /// The operating system does not permit the operation.
    Permission,
    /// The quota of the user is too small.
    Quota,
    /// The name is one of the server's own.
    ReservedName,
    /// The tree has too many directories one inside the other.
    TooDeep,
    /// There is no such command.
    UnknownCommand,
    /// The content has another hash than the client has sent.
    WrongHash,
    /// Another error of the server's machine, and every code that this version does not know.
    #[serde(other)]
    Unavailable,
}

impl Code {
    /// The code as it is on the connection.
    #[must_use]
    pub fn name(self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(name)) => name,
            _ => unreachable!("a variant without fields is a string"),
        }
    }

    /// The sentence for this code, without its full stop.
    fn sentence(self) -> &'static str {
        match self {
            Self::AccountChanged => "the account has changed since the login; log in again",
            Self::AlreadyLoggedIn => "this connection has logged in already",
            Self::BadMessage => "the message breaks the rules of the protocol",
            Self::BadName => {
                "this is no path: it is empty, has a NUL or a % without two digits, or lacks its \
                 last name"
            }
            Self::BadRequest => "the command does not fit here, or lacks a field",
            Self::Busy => "another session writes a file of this name; try again later",
            Self::Changed => "the file has changed while it was sent; get it again",
            Self::Denied => "the user or the password is wrong",
            Self::Exists => "the name exists, and the client has not asked to replace it",
            Self::Insecure => {
                "the connection is not encrypted, and everybody between could read the password; \
                 connect with TLS"
            }
            Self::IsADirectory => "this is a directory, and the command is for files",
            Self::LoginRequired => "log in first",
            Self::Loop => "the path has too many symbolic links",
            Self::NameTooLong => "a name has more than 255 bytes, or the path more than 4095",
            Self::NoSpace => "the disk of the server has too little room",
            Self::NotADirectory => "a file is where a directory was expected",
            Self::NotAFile => "this is neither a file nor a directory",
            Self::NotEmpty => "the directory is not empty",
            Self::NotFound => "there is no such file or directory",
            Self::OtherFileSystem => "the new name is on another file system",
            Self::Outside => "the path leaves the home of the user",
            Self::Permission => "the server has no permission to do this",
            Self::Quota => "the files would have more bytes than the quota of the user",
            Self::ReservedName => "names of this form are the server's own",
            Self::TooDeep => "the tree has more than 128 directories one inside the other",
            Self::Unavailable => "the server cannot do this now; its log has the reason",
            Self::UnknownCommand => "there is no such command",
            Self::WrongHash => {
                "the content has another hash than its source: the source has changed, or bytes \
                 were damaged; nothing was kept"
            }
        }
    }

    /// True if the connection ends after this refusal.
    pub(super) fn is_final(self) -> bool {
        matches!(
            self,
            Self::AccountChanged | Self::BadMessage | Self::Insecure
        )
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// The refusal of a command: a code for programs, and a sentence for a person.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    code: Code,
    message: String,
    offset: Option<u64>,
    #[source]
    cause: Option<io::Error>,
}

impl Refusal {
    /// A refusal with the sentence of its code.
    #[must_use]
    pub fn new(code: Code) -> Self {
        Self {
            code,
            message: code.sentence().to_owned(),
            offset: None,
            cause: None,
        }
    }

    /// A refusal with a sentence that is more precise.
    pub fn because(code: Code, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            ..Self::new(code)
        }
    }

    /// A refusal that the server has sent.
    pub fn received(code: Code, message: String, offset: Option<u64>) -> Self {
        Self {
            offset,
            ..Self::because(code, message)
        }
    }

    /// The same with the number of bytes that a partial file has.
    #[must_use]
    pub fn with_offset(self, offset: u64) -> Self {
        let offset = Some(offset);
        Self { offset, ..self }
    }

    /// The same with what was asked for at the end of the sentence.
    #[must_use]
    pub fn about(mut self, subject: &str) -> Self {
        self.message = format!("{}: {subject}", self.message);
        self
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// The sentence.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The number of bytes that a partial file has.
    #[must_use]
    pub fn offset(&self) -> Option<u64> {
        self.offset
    }

    /// The error of the operating system, for the log. The client learns no more than the code.
    pub(super) fn cause(&self) -> Option<&io::Error> {
        self.cause.as_ref()
    }
}

impl From<Errno> for Refusal {
    fn from(error: Errno) -> Self {
        let code = match error {
            Errno::NOENT => Code::NotFound,
            Errno::NOTDIR => Code::NotADirectory,
            Errno::ISDIR => Code::IsADirectory,
            Errno::EXIST => Code::Exists,
            Errno::NOTEMPTY => Code::NotEmpty,
            Errno::XDEV => Code::Outside,
            Errno::LOOP => Code::Loop,
            Errno::NAMETOOLONG => Code::NameTooLong,
            Errno::NOSPC | Errno::DQUOT => Code::NoSpace,
            Errno::ACCESS | Errno::PERM | Errno::ROFS => Code::Permission,
            // A FIFO without a reader, a socket, a device without a driver.
            Errno::NXIO | Errno::NODEV | Errno::OPNOTSUPP => Code::NotAFile,
            Errno::INVAL => Code::BadRequest,
            _ => Code::Unavailable,
        };
        let cause = (code == Code::Unavailable).then(|| error.into());
        Self {
            cause,
            ..Self::new(code)
        }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(errno) => errno.into(),
            None => Self {
                cause: Some(error),
                ..Self::new(Code::Unavailable)
            },
        }
    }
}

/// Why a command is not carried out completely.
#[derive(Debug)]
pub(super) enum Interrupted {
    /// The client receives the reason, and may send further commands.
    Refused(Refusal),
    /// The connection is lost.
    Lost(HandlerError),
}

impl Interrupted {
    /// The connection is lost with this error.
    pub(super) fn lost(error: io::Error) -> Self {
        Self::Lost(error.into())
    }
}

impl From<Refusal> for Interrupted {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// An error of the server's files. An error of the connection is [`lost`](Self::lost).
impl From<io::Error> for Interrupted {
    fn from(error: io::Error) -> Self {
        Self::Refused(error.into())
    }
}

/// After a message that cannot be read or written, no further message is possible.
impl From<FramingError> for Interrupted {
    fn from(error: FramingError) -> Self {
        Self::Lost(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_one_word_and_an_unknown_one_is_unavailable() {
        assert_eq!(Code::IsADirectory.to_string(), "is_a_directory");
        let code: Code = serde_json::from_str("\"of_tomorrow\"").unwrap();
        assert_eq!(code, Code::Unavailable);
    }

    #[test]
    fn an_error_of_the_system_has_its_code_and_only_an_unexpected_one_a_cause() {
        let full = Refusal::from(io::Error::from(Errno::NOSPC));
        assert_eq!(full.code(), Code::NoSpace);
        assert!(full.cause().is_none());
        let broken = Refusal::from(Errno::IO);
        assert_eq!(broken.code(), Code::Unavailable);
        assert!(broken.cause().is_some());
    }
}
