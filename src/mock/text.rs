//! Bytes as a failed assertion shows them.

use std::fmt::{self, Write};

/// Shows bytes as text in quotes, with Rust's escapes; bytes that are not UTF-8 are `\xNN`.
pub(super) struct Text<'a>(pub(super) &'a [u8]);

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for chunk in self.0.utf8_chunks() {
            write!(f, "{}", chunk.valid().escape_debug())?;
            write!(f, "{}", chunk.invalid().escape_ascii())?;
        }
        f.write_char('"')
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_text_with_escapes_and_what_is_not_utf_8_is_hexadecimal() {
        let shown = |bytes: &[u8]| format!("{:?}", Text(bytes));
        assert_eq!(shown(b""), r#""""#);
        assert_eq!(shown(b"a \"b\"\r\n\0"), r#""a \"b\"\r\n\0""#);
        assert_eq!(shown("naïve".as_bytes()), r#""naïve""#);
        assert_eq!(shown(b"\xffend\xc3"), r#""\xffend\xc3""#);
    }
}
