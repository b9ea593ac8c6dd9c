//! Why the shell does not run a command.

/// Why a command is not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The command is only white space.
    #[error("the command is empty")]
    Empty,
    /// The command is not utf-8.
    #[error("the command is not utf-8")]
    NotUtf8,
    /// The command contains a NUL byte, which no argument of a program can contain.
    #[error("the command contains a NUL byte")]
    NulByte,
    /// More bytes arrived than this limit, so the end of the command is unknown, and half of a
    /// command may mean something else.
    #[error("the command is longer than {0} bytes")]
    TooLong(usize),
}

impl Refusal {
    /// The reason not to run `line`; `None` if there is none.
    pub(super) fn of(line: &[u8]) -> Option<Self> {
        match str::from_utf8(line) {
            Err(_) => Some(Self::NotUtf8),
            Ok(line) if line.contains('\0') => Some(Self::NulByte),
            Ok(line) if line.trim().is_empty() => Some(Self::Empty),
            Ok(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_line_of_text_is_a_command() {
        for (line, refusal) in [
            (b"".as_slice(), Some(Refusal::Empty)),
            (b" \t\r\n", Some(Refusal::Empty)),
            ("\u{3000}".as_bytes(), Some(Refusal::Empty)),
            (b"ls \xff", Some(Refusal::NotUtf8)),
            (b"\0", Some(Refusal::NulByte)),
            (b"ls\0-l", Some(Refusal::NulByte)),
            (b"ls", None),
            ("echo 你好\n".as_bytes(), None),
        ] {
            assert_eq!(Refusal::of(line), refusal, "{}", line.escape_ascii());
        }
    }
}
