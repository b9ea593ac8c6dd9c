//! Untrusted text, made fit for a terminal.

use std::fmt::Write;

/// Returns the text of an untrusted message for a terminal: always one line, which moves no cursor,
/// changes no colour and sets no title.
///
/// Bytes that are not utf-8 become U+FFFD. Control characters (ESC, line ends and tabulators among
/// them) and characters that reverse the direction of writing are escaped as in Rust, such as
/// `\u{1b}` and `\n`. One line end at the end of the message is left out. All other characters
/// stay, the backslash too, so the message cannot be recovered from the text.
///
/// ```
/// use socketserver_handlers::chat::printable;
///
/// assert_eq!(printable("你好\n".as_bytes()), "你好");
/// assert_eq!(printable(b"\x1b[2Jgone\r\n"), r"\u{1b}[2Jgone");
/// ```
#[must_use]
pub fn printable(message: &[u8]) -> String {
    let mut text = String::new();
    for character in String::from_utf8_lossy(without_line_end(message)).chars() {
        if is_harmless(character) {
            text.push(character);
        } else {
            write!(text, "{}", character.escape_default()).expect("writing to a String succeeds");
        }
    }
    text
}

/// The message without `\n` or `\r\n` at its end, if it has one.
pub(crate) fn without_line_end(message: &[u8]) -> &[u8] {
    match message {
        [line @ .., b'\r', b'\n'] | [line @ .., b'\n'] => line,
        line => line,
    }
}

fn is_harmless(character: char) -> bool {
    let reverses = matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !character.is_control() && !reverses
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_of_any_language_is_shown_as_it_is() {
        for text in ["hello", "你好", "it's \"so\" \\ so", "e\u{301}", ""] {
            assert_eq!(printable(text.as_bytes()), text);
        }
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(printable(b"\x1b]0;title\x07"), r"\u{1b}]0;title\u{7}");
        assert_eq!(printable(b"a\rb\nc\td\x00\x7f"), r"a\rb\nc\td\u{0}\u{7f}");
        assert_eq!(printable("\u{9b}2J".as_bytes()), r"\u{9b}2J");
        assert_eq!(printable("\u{202e}olleh".as_bytes()), r"\u{202e}olleh");
    }

    #[test]
    fn one_line_end_at_the_end_is_left_out() {
        assert_eq!(printable(b"a\n"), "a");
        assert_eq!(printable(b"a\r\n"), "a");
        assert_eq!(printable(b"a\n\n"), r"a\n");
        assert_eq!(printable(b"\n"), "");
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_replaced() {
        assert_eq!(printable(b"a\xffb\xe4\xbd"), "a\u{fffd}b\u{fffd}");
    }

    proptest! {
        #[test]
        fn every_message_is_shown_without_control_characters(message: Vec<u8>) {
            prop_assert!(printable(&message).chars().all(is_harmless));
        }
    }
}
