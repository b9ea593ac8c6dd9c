//! How a client finds the end of an answer.

use std::fmt;
use std::str::FromStr;

/// The message of a client that has read the length, in [`Framing::Ready`].
pub(super) const READY: &str = "recv_ready";

/// How a client of a [`Shell`](super::Shell) finds the end of an answer. Each framing is one of the
/// tutorial's steps towards a cure for sticky packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Framing {
    /// No mark: standard error is sent, then standard output, each by itself. One read of the
    /// client returns the bytes that have arrived and fit its buffer; the rest comes before the
    /// next answer. A command without output has no answer at all.
    Raw,
    /// The length in decimal ASCII digits, without an end mark. The client reads the digits, and
    /// sends `recv_ready`; then exactly that many bytes come. If the client sends anything else, or
    /// nothing in time, the connection is closed, and the log has the reason. The client has as
    /// much time as a command, or that of the server's [`Deadlines`](socketserver::Deadlines) if it
    /// is shorter. If the client has shut down its write end after the command, the bytes are sent
    /// at once.
    Ready,
    /// The length in four bytes, a signed number with the lowest byte first, as Python's
    /// `struct.pack('<i', n)` writes it; then that many bytes.
    Header,
    /// The length of a JSON object, as in [`Header`](Self::Header); the object, in which
    /// `data_size` is the length of the output; then that many bytes.
    #[default]
    Json,
}

impl Framing {
    /// Every framing, in the tutorial's order.
    pub const ALL: [Self; 4] = [Self::Raw, Self::Ready, Self::Header, Self::Json];

    /// The name, as [`FromStr`] parses it: `raw`, `ready`, `header` or `json`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Ready => "ready",
            Self::Header => "header",
            Self::Json => "json",
        }
    }
}

impl fmt::Display for Framing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Framing {
    type Err = UnknownFraming;

    fn from_str(name: &str) -> Result<Self, UnknownFraming> {
        let mut all = Self::ALL.into_iter();
        all.find(|framing| framing.name() == name)
            .ok_or_else(|| UnknownFraming(name.to_owned()))
    }
}

/// A text that names no [`Framing`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no framing {0:?}; choose raw, ready, header or json")]
pub struct UnknownFraming(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_parsed_as_it_is_shown_and_any_other_is_answered_with_the_names() {
        for framing in Framing::ALL {
            assert_eq!(framing.to_string().parse(), Ok(framing));
        }
        let error = "xml".parse::<Framing>().unwrap_err().to_string();
        assert_eq!(
            error,
            "there is no framing \"xml\"; choose raw, ready, header or json"
        );
    }
}
