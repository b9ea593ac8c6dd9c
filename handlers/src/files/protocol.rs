//! The messages of both sides: [`Request`] and [`Answer`].

use std::io::{Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::files::digest::ContentDigest;
use crate::files::refusal::{Code, Refusal};
use crate::framing::{FramingError, LengthPrefix};

/// The version of the protocol.
pub const VERSION: u32 = 1;

/// The most bytes of a body: 1 MiB.
pub const PART_SIZE: u64 = 1 << 20;

/// The most bytes of a header: 64 KiB.
pub const HEADER_SIZE: u32 = 1 << 16;

/// The framing of a header.
pub(super) const PREFIX: LengthPrefix = LengthPrefix::little_endian().max_length(HEADER_SIZE);

/// What happens to a name that exists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IfExists {
    /// The command is refused.
    #[default]
    Refuse,
    /// The new content replaces the old content in one step.
    Replace,
}

/// A message of a client: a command and its fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Its name.
    pub command: String,
    /// The bytes of the body behind the header.
    #[serde(
        default,
        deserialize_with = "zero_if_null",
        skip_serializing_if = "is_zero"
    )]
    pub data_size: u64,
    /// Of a login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Of a login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// The path that the command is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The old name of a rename.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The new name of a rename.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// `refuse` or `replace`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_exists: Option<String>,
    /// The bytes of the whole content of an upload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The hash function of a transfer: `sha256` or `md5`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The hash of the whole content of an upload: of its end, or of its `put`, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// Where a part begins, or a download is to go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// The hash of what the client of a download has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix_hash: Option<String>,
    /// The version of what the client of a download has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

fn zero_if_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Request {
    /// A command without fields.
    #[must_use]
    pub fn new(command: &str) -> Self {
        Self {
            command: command.to_owned(),
            ..Self::default()
        }
    }

    /// Reads the header of a client's message. `None` at the end of the stream.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`LengthPrefix::read_json_header`].
    pub fn read(stream: &mut impl Read) -> Result<Option<Self>, FramingError> {
        PREFIX.read_json_header(stream)
    }

    /// Writes the header.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`LengthPrefix::write_json_header`].
    pub fn write(&self, stream: &mut impl Write) -> Result<(), FramingError> {
        PREFIX.write_json_header(stream, self)
    }

    /// The digest that the client asks for.
    pub(super) fn digest(&self) -> Result<ContentDigest, Refusal> {
        let Some(name) = &self.digest else {
            return Ok(ContentDigest::default());
        };
        let mut all = ContentDigest::ALL.into_iter();
        all.find(|digest| digest.name() == name)
            .ok_or_else(|| bad("the digest is sha256 or md5"))
    }

    /// The hash of an upload, if there is one.
    pub(super) fn hash(&self, digest: ContentDigest) -> Result<Option<&str>, Refusal> {
        match self.hash.as_deref() {
            Some(hash) if !digest.is_hash(hash) => {
                Err(bad("the hash has another form than those of its digest"))
            }
            hash => Ok(hash),
        }
    }

    /// What the client wants to happen to a name that exists.
    pub(super) fn if_exists(&self) -> Result<IfExists, Refusal> {
        match self.if_exists.as_deref() {
            None | Some("refuse") => Ok(IfExists::Refuse),
            Some("replace") => Ok(IfExists::Replace),
            Some(_) => Err(bad("if_exists is refuse or replace")),
        }
    }
}

/// A refusal of a field.
pub(super) fn bad(message: &str) -> Refusal {
    Refusal::because(Code::BadRequest, message)
}

/// A file or a directory in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The name, [escaped](crate::files::escape).
    pub name: String,
    /// What the name is.
    pub kind: Kind,
    /// In bytes.
    pub size: u64,
    /// In seconds since 1970 in UTC.
    pub modified: i64,
    /// Of a file: changes whenever the file does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// What a name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Kind {
    /// A file with a content.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// The content that the server has of an upload that has not ended.
    Partial,
    /// A FIFO, a socket, a device, and every kind that this version does not know.
    #[serde(other)]
    Other,
}

/// An answer of the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "lowercase")]
pub enum Answer {
    /// To `login`: the user, the current directory, and the quota in bytes.
    Welcome {
        /// The name.
        user: String,
        /// The path.
        path: String,
        /// In bytes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        quota: Option<u64>,
    },
    /// To `quit`.
    Bye,
    /// To `pwd` and `cd`: the current directory.
    Directory {
        /// The path.
        path: String,
    },
    /// To `list`: some of the entries.
    Entries {
        /// In the order of the file system.
        entries: Vec<Entry>,
    },
    /// To `list`, at its end: how many entries there were.
    End {
        /// Of all messages.
        count: u64,
    },
    /// To `stat`.
    Entry {
        /// What the path means.
        entry: Entry,
    },
    /// To `mkdir`.
    Made,
    /// To `remove`.
    Removed,
    /// To `rename`.
    Renamed,
    /// To `du`: the sums of a tree; quota and use of the home; the free bytes of the disk.
    Usage {
        /// Of all files.
        bytes: u64,
        /// Their number.
        files: u64,
        /// Their number.
        directories: u64,
        /// In bytes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        quota: Option<u64>,
        /// In bytes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        used: Option<u64>,
        /// In bytes.
        free: u64,
    },
    /// To `put`: what the server has of the content, and its hash.
    Send {
        /// In bytes.
        offset: u64,
        /// In hexadecimal digits.
        prefix_hash: String,
    },
    /// To `sent`, or to a `put` at once: the content has its name.
    Stored {
        /// In bytes.
        size: u64,
        /// In hexadecimal digits.
        hash: String,
    },
    /// To `cancel`: how many bytes are kept.
    Cancelled {
        /// In bytes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        offset: Option<u64>,
    },
    /// To `get`: the size and version of the file, and where the parts begin.
    Begin {
        /// In bytes.
        size: u64,
        /// Changes with the file.
        version: String,
        /// In bytes.
        offset: u64,
    },
    /// To `get`: the body has bytes of the file.
    Part {
        /// In bytes.
        offset: u64,
        /// In bytes.
        data_size: u64,
    },
    /// To `get`, at its end: the hash of the whole file.
    Sent {
        /// In bytes.
        size: u64,
        /// In hexadecimal digits.
        hash: String,
    },
}

#[derive(Serialize)]
struct Accepted<'a> {
    ok: bool,
    #[serde(flatten)]
    answer: &'a Answer,
}

#[derive(Serialize)]
struct Refused<'a> {
    ok: bool,
    code: Code,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
}

#[derive(Deserialize)]
struct RefusedFields {
    code: Code,
    message: String,
    #[serde(default)]
    offset: Option<u64>,
}

impl Answer {
    /// Writes the header of the answer.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`LengthPrefix::write_json_header`].
    pub fn write(&self, stream: &mut impl Write) -> Result<(), FramingError> {
        let (ok, answer) = (true, self);
        PREFIX.write_json_header(stream, &Accepted { ok, answer })
    }

    /// Reads the header of the server's next message: an answer, or a refusal inside.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`LengthPrefix::read_json_header`]; an end of the stream is
    /// [`Truncated`](FramingError::Truncated).
    pub fn read(stream: &mut impl Read) -> Result<Result<Self, Refusal>, FramingError> {
        read_or_refused(stream)
    }
}

impl Refusal {
    /// Writes the refusal as a message.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`LengthPrefix::write_json_header`].
    pub fn write(&self, stream: &mut impl Write) -> Result<(), FramingError> {
        let refused = Refused {
            ok: false,
            code: self.code(),
            message: self.message(),
            offset: self.offset(),
        };
        PREFIX.write_json_header(stream, &refused)
    }
}

/// The first message of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// True.
    pub ok: bool,
    /// `files`.
    pub service: String,
    /// The [`VERSION`] of the protocol.
    pub version: u32,
    /// The digests that a client may ask for.
    pub digests: Vec<ContentDigest>,
    /// Whether transfers resume.
    pub resume: bool,
    /// The most bytes of a body.
    pub part_size: u64,
}

impl Greeting {
    /// The greeting of this version.
    #[must_use]
    pub fn new() -> Self {
        Self {
            ok: true,
            service: "files".to_owned(),
            version: VERSION,
            digests: ContentDigest::ALL.to_vec(),
            resume: true,
            part_size: PART_SIZE,
        }
    }

    /// Writes the greeting.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`LengthPrefix::write_json_header`].
    pub fn write(&self, stream: &mut impl Write) -> Result<(), FramingError> {
        PREFIX.write_json_header(stream, self)
    }

    /// Reads the greeting of a server, or a refusal inside.
    ///
    /// # Errors
    ///
    /// As [`Answer::read`].
    pub fn read(stream: &mut impl Read) -> Result<Result<Self, Refusal>, FramingError> {
        read_or_refused(stream)
    }
}

impl Default for Greeting {
    fn default() -> Self {
        Self::new()
    }
}

/// Reads the header of a message of the server, which may be a refusal.
fn read_or_refused<T: DeserializeOwned>(
    stream: &mut impl Read,
) -> Result<Result<T, Refusal>, FramingError> {
    let fields = read_fields(stream)?;
    if !is_refusal(&fields) {
        return parse(fields).map(Ok);
    }
    let RefusedFields {
        code,
        message,
        offset,
    } = parse(fields)?;
    Ok(Err(Refusal::received(code, message, offset)))
}

fn read_fields(stream: &mut impl Read) -> Result<Map<String, Value>, FramingError> {
    let ended = FramingError::Truncated {
        part: "length",
        received: 0,
        announced: 4,
    };
    PREFIX.read_json_header(stream)?.ok_or(ended)
}

fn is_refusal(fields: &Map<String, Value>) -> bool {
    fields.get("ok") == Some(&Value::Bool(false))
}

fn parse<T: DeserializeOwned>(fields: Map<String, Value>) -> Result<T, FramingError> {
    serde_json::from_value(Value::Object(fields)).map_err(FramingError::WrongFields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_and_a_refusal_come_back_as_they_were_sent() {
        let answer = Answer::Send {
            offset: 5,
            prefix_hash: "00ff".to_owned(),
        };
        let mut stream = Vec::new();
        answer.write(&mut stream).unwrap();
        Refusal::new(Code::NoSpace)
            .with_offset(7)
            .write(&mut stream)
            .unwrap();
        assert!(stream.starts_with(b"\x3b\0\0\0{\"ok\":true,\"answer\":\"send\",\"offset\":5,"));
        let stream = &mut stream.as_slice();
        assert_eq!(Answer::read(stream).unwrap().unwrap(), answer);
        let refusal = Answer::read(stream).unwrap().unwrap_err();
        assert_eq!((refusal.code(), refusal.offset()), (Code::NoSpace, Some(7)));
        assert!(matches!(
            Answer::read(stream),
            Err(FramingError::Truncated { .. })
        ));
    }

    #[test]
    fn a_field_that_is_null_is_a_field_that_is_missing() {
        let text = r#"{"command":"put","path":null,"size":5,"new":[1]}"#;
        let mut stream = Vec::new();
        PREFIX.write_frame(&mut stream, text.as_bytes()).unwrap();
        let request = Request::read(&mut stream.as_slice()).unwrap().unwrap();
        let size = Some(5);
        let expected = Request {
            size,
            ..Request::new("put")
        };
        assert_eq!(request, expected);
    }
}
