//! A line of the user as words, and a name as it is shown: [`split`], [`Unfinished`], [`quoted`].

use socketserver_handlers::files::unescape;

/// Splits a line at white space. Double and single quotes keep white space together, and a
/// backslash keeps the next character, but for `\n`, `\r`, `\t` and `\xHH`, which are a byte.
///
/// # Errors
///
/// If a quote has no end, or a backslash is the last character.
pub fn split(line: &[u8]) -> Result<Vec<Vec<u8>>, &'static str> {
    let scanned = Scanned::new(line);
    match scanned.end {
        End::Whole if scanned.quote.is_some() => Err("a quote has no end"),
        End::Whole => Ok(scanned.words.into_iter().map(|(_, word)| word).collect()),
        End::Escape(begin) if begin + 1 == line.len() => Err("the line ends with a backslash"),
        End::Escape(_) | End::Invalid => Err("\\x needs two hexadecimal digits"),
    }
}

/// The last name of a line that the user has not finished. After white space the name is empty.
#[derive(Debug, PartialEq, Eq)]
pub struct Unfinished<'a> {
    /// The words before.
    pub before: Vec<Vec<u8>>,
    /// Where the last name begins in the line, with its quote.
    pub begin: usize,
    /// The last name without quotes and escapes, as far as the name is complete.
    pub word: Vec<u8>,
    /// The quote that is open at the end of the line.
    pub quote: Option<u8>,
    /// The beginning of an escape at the end of the line.
    pub escape: &'a [u8],
}

impl<'a> Unfinished<'a> {
    /// Finds the last name of the line. Returns `None` if an escape before the end is wrong.
    pub fn of(line: &'a [u8]) -> Option<Self> {
        let mut scanned = Scanned::new(line);
        let escape = match scanned.end {
            End::Whole => line.len(),
            End::Escape(begin) => begin,
            End::Invalid => return None,
        };
        let (begin, word) = match scanned.is_amid_word {
            true => scanned.words.pop()?,
            false => (line.len(), Vec::new()),
        };
        Some(Self {
            before: scanned.words.into_iter().map(|(_, word)| word).collect(),
            begin,
            word,
            quote: scanned.quote,
            escape: &line[escape..],
        })
    }
}

/// The words of a line, each with its place.
struct Scanned {
    words: Vec<(usize, Vec<u8>)>,
    /// The line does not end after white space: its last word could go on.
    is_amid_word: bool,
    /// The quote that has no end.
    quote: Option<u8>,
    end: End,
}

/// How a line ends.
enum End {
    Whole,
    /// In the middle of an escape, which begins here.
    Escape(usize),
    /// An escape is wrong, and the rest of the line was not read.
    Invalid,
}

impl Scanned {
    fn new(line: &[u8]) -> Self {
        let mut scanned = Self {
            words: Vec::new(),
            is_amid_word: false,
            quote: None,
            end: End::Whole,
        };
        let mut at = 0;
        while let Some(&byte) = line.get(at) {
            match (byte, scanned.quote) {
                (b'\'' | b'"', None) => {
                    scanned.quote = Some(byte);
                    scanned.word(at);
                }
                (byte, Some(open)) if byte == open => scanned.quote = None,
                (b'\\', None | Some(b'"')) => {
                    let word = scanned.word(at);
                    match escaped(&line[at..]) {
                        Ok((byte, length)) => {
                            word.push(byte);
                            at += length - 1;
                        }
                        Err(is_unfinished) => {
                            scanned.end = match is_unfinished {
                                true => End::Escape(at),
                                false => End::Invalid,
                            };
                            break;
                        }
                    }
                }
                (byte, None) if byte.is_ascii_whitespace() => scanned.is_amid_word = false,
                (byte, _) => scanned.word(at).push(byte),
            }
            at += 1;
        }
        scanned
    }

    /// What goes on here, or else begins here.
    fn word(&mut self, at: usize) -> &mut Vec<u8> {
        if !self.is_amid_word {
            self.is_amid_word = true;
            self.words.push((at, Vec::new()));
        }
        &mut self.words.last_mut().expect("a word has begun").1
    }
}

/// The byte of the escape at the beginning of `text`, and the length of the escape. An error has
/// whether more characters could complete the escape.
fn escaped(text: &[u8]) -> Result<(u8, usize), bool> {
    let byte = match text.get(1).ok_or(true)? {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'x' => {
            let digit = |at: usize| {
                let byte = text.get(at).ok_or(true)?;
                char::from(*byte).to_digit(16).ok_or(false)
            };
            let value = 16 * digit(2)? + digit(3)?;
            return u8::try_from(value).map(|byte| (byte, 4)).map_err(|_| false);
        }
        byte => *byte,
    };
    Ok((byte, 2))
}

/// A name as it can be typed: in quotes if it has white space, quotes, or bytes that no terminal
/// shows.
pub fn quoted(name: &[u8]) -> String {
    match is_plain(name) {
        true => String::from_utf8_lossy(name).into_owned(),
        false => format!("\"{}\"", within_quotes(name)),
    }
}

/// Whether the name can be typed without quotes.
pub fn is_plain(name: &[u8]) -> bool {
    let is_plain = |character: char| {
        !character.is_control() && !character.is_whitespace() && !"\"'\\".contains(character)
    };
    str::from_utf8(name).is_ok_and(|name| !name.is_empty() && name.chars().all(is_plain))
}

/// A name as it can be typed between double quotes.
pub fn within_quotes(name: &[u8]) -> String {
    let mut shown = String::new();
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
    shown
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

    /// The last name of a line: its beginning, its bytes, its open quote and its unfinished escape.
    fn unfinished(line: &str) -> Option<(usize, Vec<u8>, Option<char>, &str)> {
        let last = Unfinished::of(line.as_bytes())?;
        let escape = str::from_utf8(last.escape).unwrap();
        Some((last.begin, last.word, last.quote.map(char::from), escape))
    }

    #[test]
    fn the_last_word_of_a_line_begins_at_its_quote_and_may_be_unfinished() {
        for (line, begin, word, quote, escape) in [
            ("", 0, "", None, ""),
            ("get ", 4, "", None, ""),
            ("get my", 4, "my", None, ""),
            ("ls \"my dir/", 3, "my dir/", Some('"'), ""),
            ("ls 'my dir/", 3, "my dir/", Some('\''), ""),
            ("ls 'my \\", 3, "my \\", Some('\''), ""),
            ("ls \"", 3, "", Some('"'), ""),
            ("ls \"my dir\"", 3, "my dir", None, ""),
            ("ls \"my dir\"/in", 3, "my dir/in", None, ""),
            ("ls my\\ d", 3, "my d", None, ""),
            ("ls my\" d'", 3, "my d'", Some('"'), ""),
            ("get \"a b\" \"c d", 10, "c d", Some('"'), ""),
            ("get caf\\", 4, "caf", None, "\\"),
            ("get \"caf\\xe", 4, "caf", Some('"'), "\\xe"),
            ("get \"caf\\x", 4, "caf", Some('"'), "\\x"),
            ("get é é", 7, "é", None, ""),
        ] {
            let expected = (begin, word.as_bytes().to_vec(), quote, escape);
            assert_eq!(unfinished(line), Some(expected), "{line}");
        }
        assert_eq!(unfinished("get \\xg"), None);
        let before = Unfinished::of(b"get 'a b' c").unwrap().before;
        assert_eq!(before, [b"get".as_slice(), b"a b"]);
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
            let words = split(&line);
            let last = Unfinished::of(&line);
            if let Ok(words) = words {
                let last = last.unwrap();
                let is_word = !last.word.is_empty() || last.begin < line.len();
                let all = last.before.into_iter().chain(is_word.then_some(last.word));
                prop_assert_eq!(Vec::from_iter(all), words);
            }
        }
    }
}
