//! The part of a file that a client asks for, by RFC 9110, section 14.

/// The bytes of a file that a response has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Range {
    Whole,
    Part {
        first: u64,
        length: u64,
    },
    /// The file has none of the bytes.
    Unsatisfiable,
}

impl Range {
    /// Parses the value of the header `Range` for a file of `length` bytes. A value that is not
    /// valid, or that has several ranges, means the complete file, as RFC 9110 permits.
    pub(super) fn parse(value: &str, length: u64) -> Self {
        let Some((unit, range)) = value.split_once('=') else {
            return Self::Whole;
        };
        if !unit.eq_ignore_ascii_case("bytes") {
            return Self::Whole;
        }
        let Some((first, last)) = range.trim().split_once('-') else {
            return Self::Whole;
        };
        match (number(first), number(last)) {
            (Some(first), _) if last.is_empty() => Self::between(first, u64::MAX, length),
            (Some(first), Some(last)) if first <= last => Self::between(first, last, length),
            (_, Some(count)) if first.is_empty() => match count.min(length) {
                0 => Self::Unsatisfiable,
                count => Self::Part {
                    first: length - count,
                    length: count,
                },
            },
            _ => Self::Whole,
        }
    }

    /// The bytes from `first` to `last`, as far as the file has them.
    fn between(first: u64, last: u64, length: u64) -> Self {
        if first >= length {
            return Self::Unsatisfiable;
        }
        Self::Part {
            first,
            length: last.min(length - 1) - first + 1,
        }
    }
}

/// A number in digits. A number that is too large becomes the largest number.
fn number(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_what_the_file_has_of_it() {
        for (value, first, length) in [
            ("bytes=0-0", 0, 1),
            ("bytes=0-9", 0, 10),
            ("bytes=3-4", 3, 2),
            ("bytes=3-", 3, 7),
            ("bytes=3-100", 3, 7),
            ("bytes=9-18446744073709551616", 9, 1),
            ("bytes=-1", 9, 1),
            ("bytes=-100", 0, 10),
            ("Bytes=-3", 7, 3),
        ] {
            assert_eq!(
                Range::parse(value, 10),
                Range::Part { first, length },
                "{value}"
            );
        }
    }

    #[test]
    fn a_range_of_nothing_is_unsatisfiable() {
        for value in [
            "bytes=10-",
            "bytes=10-11",
            "bytes=-0",
            "bytes=99999999999999999999-",
        ] {
            assert_eq!(Range::parse(value, 10), Range::Unsatisfiable, "{value}");
        }
        for value in ["bytes=0-", "bytes=-1", "bytes=0-0"] {
            assert_eq!(Range::parse(value, 0), Range::Unsatisfiable, "{value}");
        }
    }

    #[test]
    fn what_is_not_one_range_is_the_whole_file() {
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=4-3",
            "bytes=+1-2",
            "bytes=1",
            "bytes=0-1,3-4",
            "lines=1-2",
            "bytes=--1",
            "bytes=1-2-3",
            "bytes= - ",
        ] {
            assert_eq!(Range::parse(value, 10), Range::Whole, "{value}");
        }
    }
}
