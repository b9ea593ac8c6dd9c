//! Commands that are not run.

/// Why a command is not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There is nothing but white space in it.
    #[error("the command is empty")]
    Empty,
    /// It is not utf-8.
    #[error("the command is not utf-8")]
    NotUtf8,
    /// It has a NUL byte in it, which no argument of a program can have.
    #[error("the command contains a NUL byte")]
    NulByte,
    /// More came than a command may have, so where it ends is unknown, and half a command may mean
    /// something else.
    #[error("the command is longer than {0} bytes")]
    TooLong(usize),
}

impl Refusal {
    /// What is wrong with `line`, if anything is.
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
    fn what_is_no_command_is_told_from_what_is_one() {
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
