//! A line of the user as words, and a name as it is shown: [`split`] and [`quoted`].

use socketserver_handlers::files::unescape;

/// Splits a line at white space. Double and single quotes keep white space together, and a
/// backslash keeps the next character, but for `\n`, `\r`, `\t` and `\xHH`, which are a byte.
///
/// # Errors
///
/// If a quote has no end, or a backslash is the last character.
pub fn split(line: &[u8]) -> Result<Vec<Vec<u8>>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quote = None;
    let mut rest = line.iter().copied();
    while let Some(byte) = rest.next() {
        match (byte, quote) {
            (b'\'', None) | (b'"', None) => {
                quote = Some(byte);
                word.get_or_insert_default();
            }
            (byte, Some(open)) if byte == open => quote = None,
            (b'\\', None | Some(b'"')) => {
                let byte = match rest.next() {
                    Some(b'n') => b'\n',
                    Some(b'r') => b'\r',
                    Some(b't') => b'\t',
                    Some(b'x') => {
                        let mut digit = || char::from(rest.next()?).to_digit(16);
                        let (high, low) = (digit(), digit());
                        let byte = high.zip(low).map(|(high, low)| 16 * high + low);
                        let byte = byte.and_then(|byte| u8::try_from(byte).ok());
                        byte.ok_or("\\x needs two hexadecimal digits")?
                    }
                    Some(byte) => byte,
                    None => return Err("the line ends with a backslash"),
                };
                word.get_or_insert_default().push(byte);
            }
            (byte, None) if byte.is_ascii_whitespace() => words.extend(word.take()),
            (byte, _) => word.get_or_insert_default().push(byte),
        }
    }
    if quote.is_some() {
        return Err("a quote has no end");
    }
    words.extend(word);
    Ok(words)
}

/// A name as it can be typed: in quotes if it has white space, quotes, or bytes that no terminal
/// shows.
pub fn quoted(name: &[u8]) -> String {
    let is_plain = |character: char| {
        !character.is_control() && !character.is_whitespace() && !"\"'\\".contains(character)
    };
    if let Ok(text) = str::from_utf8(name)
        && !text.is_empty()
        && text.chars().all(is_plain)
    {
        return text.to_owned();
    }
    let mut shown = String::from("\"");
    for chunk in name.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\n' => shown.push_str("\\n"),
                '\r' => shown.push_str("\\r"),
                '\t' => shown.push_str("\\t"),
                '"' | '\\' => shown.extend(['\\', character]),
                control if control.is_control() => {
                    let mut bytes = [0; 4];
                    push_bytes(&mut shown, control.encode_utf8(&mut bytes).as_bytes());
                }
                other => shown.push(other),
            }
        }
        push_bytes(&mut shown, chunk.invalid());
    }
    shown + "\""
}

/// A path of the server as the user would type it.
pub fn path_for_user(path: &str) -> String {
    quoted(&unescape(path).unwrap_or_else(|| path.as_bytes().to_vec()))
}

fn push_bytes(shown: &mut String, bytes: &[u8]) {
    for byte in bytes {
        shown.push_str(&format!("\\x{byte:02x}"));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(line: &str) -> Vec<Vec<u8>> {
        split(line.as_bytes()).unwrap()
    }

    #[test]
    fn a_line_is_split_at_white_space_outside_of_quotes() {
        assert_eq!(words("  get  a b "), [b"get", b"a".as_slice(), b"b"]);
        assert_eq!(
            words(r#"put "my file" 'it"s' a\ b"#)[1..],
            [b"my file".as_slice(), b"it\"s", b"a b"]
        );
        assert_eq!(
            words(r#"rm "\xff\n" '\n' """#)[1..],
            [b"\xff\n".as_slice(), b"\\n", b""]
        );
        assert!(words(" \t").is_empty());
        for line in ["\"a", "'", "a\\", "\\x4", "\\xzz"] {
            split(line.as_bytes()).unwrap_err();
        }
    }

    #[test]
    fn a_name_without_anything_odd_is_shown_as_it_is() {
        assert_eq!(quoted("café.txt".as_bytes()), "café.txt");
        assert_eq!(
            quoted(b"two\nlines \x1b[2J\xff"),
            "\"two\\nlines \\x1b[2J\\xff\""
        );
    }

    proptest! {
        #[test]
        fn a_name_that_is_shown_can_be_typed(name in prop::collection::vec(any::<u8>(), 0..40)) {
            let shown = quoted(&name);
            prop_assert!(!shown.chars().any(char::is_control));
            prop_assert_eq!(split(shown.as_bytes()).unwrap(), [name]);
        }

        #[test]
        fn any_line_is_words_or_an_error(line in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = split(&line);
        }
    }
}
