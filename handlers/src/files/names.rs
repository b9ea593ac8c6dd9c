//! Names and paths as JSON strings: [`escape`] and [`unescape`].

use std::fmt::Write;

/// A name or a path as text. A byte that is not a part of valid UTF-8 becomes `%` and two
/// hexadecimal digits, and `%` becomes `%25`. [`unescape`] is the inverse.
///
/// ```
/// use socketserver_handlers::files::{escape, unescape};
///
/// assert_eq!(escape(b"caf\xc3\xa9 100% \xff"), "café 100%25 %FF");
/// assert_eq!(unescape("café 100%25 %FF").unwrap(), b"caf\xc3\xa9 100% \xff");
/// ```
#[must_use]
pub fn escape(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '%' => text.push_str("%25"),
                other => text.push(other),
            }
        }
        for byte in chunk.invalid() {
            write!(text, "%{byte:02X}").expect("writing to a String succeeds");
        }
    }
    text
}

/// The bytes of a name or a path that [`escape`] has written. Returns `None` if a `%` is without
/// its two hexadecimal digits, if the text is empty, or if one of the bytes is NUL, which no name
/// has.
#[must_use]
pub fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => 16 * digit(rest.next()?)? + digit(rest.next()?)?,
            other => other,
        });
    }
    (!bytes.is_empty() && !bytes.contains(&0)).then_some(bytes)
}

fn digit(character: u8) -> Option<u8> {
    let value = char::from(character).to_digit(16)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_name_is_refused() {
        for text in ["", "%", "a%4", "%4x", "%+4", "%00", "a\0", "%€5"] {
            assert_eq!(unescape(text), None, "{text:?}");
        }
        assert_eq!(unescape("%2f%2F").unwrap(), b"//");
    }

    proptest! {
        #[test]
        fn any_name_comes_back_from_its_text(
            name in prop::collection::vec(1..=u8::MAX, 1..300),
        ) {
            prop_assert_eq!(unescape(&escape(&name)), Some(name));
        }

        #[test]
        fn any_text_is_a_name_or_none(text: String) {
            if let Some(name) = unescape(&text) {
                prop_assert_eq!(unescape(&escape(&name)), Some(name));
            }
        }
    }
}
