//! How a client knows where an answer ends.

use std::fmt;
use std::str::FromStr;

/// How a client of a [`Shell`](super::Shell) knows where an answer ends. Each is one of the tutorial's
/// steps towards a cure for sticky packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Framing {
    /// It does not: standard error is sent, then standard output, each by itself. A client that reads
    /// once gets as much as has come and it has room for; the rest comes before the next answer. Of a
    /// command that wrote nothing it gets nothing at all.
    Raw,
    /// The length in decimal ASCII digits, which nothing ends. The client reads it, and says
    /// `recv_ready`; then exactly so many bytes come. Should it say anything else, or nothing for as
    /// long as a command may run, or as the server's [`Deadlines`](socketserver::Deadlines) say if that
    /// is less, the connection is closed, and the log has the reason.
    Ready,
    /// The length in four bytes, a signed number with the lowest byte first, as of Python's
    /// `struct.pack('<i', n)`; then so many bytes.
    Header,
    /// The length of a JSON object as of [`Header`](Self::Header); the object, in which `data_size` is
    /// the length of what follows; then so many bytes.
    #[default]
    Json,
}

impl Framing {
    /// Every framing, in the tutorial's order.
    pub const ALL: [Self; 4] = [Self::Raw, Self::Ready, Self::Header, Self::Json];

    /// Its name, as it is parsed: `raw`, `ready`, `header` or `json`.
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

/// A name that is not that of a [`Framing`].
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
