//! The names in a piece of code that stands in a sentence.

use std::collections::{BTreeMap, BTreeSet};

use crate::names::Names;

/// What a code span or diagram names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Its parts: `["Server", "shutdown"]`.
    pub path: Vec<String>,
    /// It stands before parentheses.
    pub called: bool,
}

impl Word {
    pub fn text(&self) -> String {
        self.path.join("::")
    }
}

/// Names that are not the crate's but Python's, the standard library's, the system's.
#[derive(Debug, Default)]
pub struct WordsOfOthers(BTreeMap<String, u32>);

impl WordsOfOthers {
    /// Reads a list: words with white space between them, and lines that begin with `#` and tell
    /// whose they are.
    pub fn parse(list: &str) -> Self {
        let lines = list.lines().filter(|line| !line.starts_with('#'));
        let words = lines.flat_map(|line| line.split_whitespace());
        Self(words.map(|word| (word.to_owned(), 0)).collect())
    }

    pub fn takes(&mut self, word: &str) -> bool {
        match self.0.get_mut(word) {
            Some(uses) => {
                *uses += 1;
                true
            }
            None => false,
        }
    }

    /// Entries that nothing has asked for.
    pub fn unused(&self) -> BTreeSet<&str> {
        let unused = self.0.iter().filter(|(_, uses)| **uses == 0);
        unused.map(|(word, _)| word.as_str()).collect()
    }
}

/// The words of a page's own programs, which need not be declared elsewhere.
pub fn words_of_programs(programs: &[String]) -> BTreeSet<String> {
    let words = programs.iter().flat_map(|program| all_words(program));
    words.map(|word| word.text()).collect()
}

/// What is wrong with the words of a code span, on a page whose programs have the words `shown`:
/// nothing, as a rule.
pub fn complaints(
    span: &str,
    names: &Names,
    shown: &BTreeSet<String>,
    others: &mut WordsOfOthers,
) -> Vec<String> {
    if others.takes(span) {
        return Vec::new();
    }
    let words = words_of_span(span).into_iter();
    let unexplained = words.filter(|word| !shown.contains(&word.text()));
    unexplained
        .filter_map(|word| complaint(&word, names, others))
        .collect()
}

/// What is wrong with the labels of a diagram, in which only what cannot be a common word counts.
pub fn complaints_of_diagram(text: &str, names: &Names, others: &mut WordsOfOthers) -> Vec<String> {
    let words = all_words(text).into_iter().filter(is_unmistakable);
    words
        .filter_map(|word| complaint(&word, names, others))
        .collect()
}

fn complaint(word: &Word, names: &Names, others: &mut WordsOfOthers) -> Option<String> {
    // The modules in front say where, which a reader of the page does not need to know.
    let is_module = |part: &&String| names.declares_module(part);
    let modules = word.path[..word.path.len() - 1]
        .iter()
        .take_while(is_module);
    let text = word.text();
    let (found, what) = match &word.path[modules.count()..] {
        [name] if word.called => (names.declares_callable(name), "function, method or macro"),
        [name] => (names.declares(name), "name"),
        [owner, member] if names.declares(owner) => {
            (names.declares_member(owner, member), "member")
        }
        _ => (false, "name"),
    };
    let known = found || others.takes(&text);
    (!known).then(|| format!("no such {what}: {text}"))
}

/// The words of a code span that are, or might be, names in Rust.
pub fn words_of_span(span: &str) -> Vec<Word> {
    let all = all_words(span);
    // `127.0.0.1:9999`, `error: no such file` and `--port 80` are not Rust, whatever they contain.
    let is_expression =
        !span.contains(' ') && !span.replace("::", "").contains([':', '=', '$', '%']);
    let is_type = span.contains('<') && span.contains('>') || span.starts_with('&');
    all.into_iter()
        .filter(|word| is_expression || is_type || is_unmistakable(word))
        .collect()
}

/// It has the form of a name, and not that of an English word.
fn is_unmistakable(word: &Word) -> bool {
    let inner_capital = |part: &String| {
        let mut letters = part.chars();
        letters.next();
        part.contains(char::is_lowercase) && letters.any(char::is_uppercase)
    };
    word.called
        || word.path.len() > 1
        || word.path[0].contains('_')
        || word.path.iter().any(inner_capital)
}

/// Every word that is neither a keyword nor a part of a text, a path in the file system, an option.
fn all_words(text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut rest = text;
    let mut before = ' ';
    while let Some(first) = rest.chars().next() {
        if first == '"' {
            let end = rest[1..].find('"').map_or(rest.len(), |end| end + 2);
            (before, rest) = ('"', &rest[end..]);
            continue;
        }
        let is_part = |c: char| c.is_alphanumeric() || "_-/\\".contains(c);
        let mut end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        if end == 0 {
            (before, rest) = (first, &rest[first.len_utf8()..]);
            continue;
        }
        while let Some(further) = rest[end..].strip_prefix("::")
            && further.starts_with(|c: char| c.is_alphabetic() || c == '_')
        {
            let length = further.find(|c| !is_part(c)).unwrap_or(further.len());
            end += 2 + length;
        }
        let (word, after) = rest.split_at(end);
        if "$%@'~".contains(before)
            || before == '.' && is_extension(word)
            || begins_file_name(after)
        {
            // A variable, a format, a lifetime, a part of a file's name.
        } else if is_name(word) {
            words.push(Word {
                path: word.split("::").map(str::to_owned).collect(),
                called: after.starts_with('(') || after.starts_with("!("),
            });
        }
        before = word.chars().next_back().unwrap_or(' ');
        rest = after;
    }
    words
}

fn begins_file_name(after: &str) -> bool {
    let extension = after.strip_prefix('.').unwrap_or_default();
    let end = extension.find(|c: char| !c.is_alphanumeric());
    is_extension(&extension[..end.unwrap_or(extension.len())])
}

fn is_extension(word: &str) -> bool {
    [
        "conf", "lock", "md", "py", "rs", "service", "sh", "sock", "socket", "toml", "txt",
    ]
    .contains(&word)
}

fn is_name(word: &str) -> bool {
    const KEYWORDS: &str = " as async bool break char const crate dyn else enum extern f64 false \
         fn for i32 i64 if impl in let loop match mod move mut pub ref return self Self static str \
         struct super trait true type u8 u16 u32 u64 unsafe use usize where while ";
    let is_identifier =
        !word.contains(['-', '/', '\\']) && !word.starts_with(|c: char| c.is_numeric());
    // One letter is a type parameter.
    is_identifier && word.len() > 1 && !KEYWORDS.contains(&format!(" {word} "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(span: &str) -> Vec<String> {
        let shown = |word: Word| word.text() + if word.called { "()" } else { "" };
        words_of_span(span).into_iter().map(shown).collect()
    }

    #[test]
    fn names_are_found_in_what_looks_like_rust() {
        assert_eq!(words("Server"), ["Server"]);
        assert_eq!(words("Server::shutdown"), ["Server::shutdown"]);
        assert_eq!(words("wait()"), ["wait()"]);
        assert_eq!(words("while request.wait()? { … }"), ["wait()"]);
        assert_eq!(words("max_children"), ["max_children"]);
        assert_eq!(words("idle"), ["idle"]);
        assert_eq!(
            words("Server<ThreadingMixIn<TcpServer<F>>>"),
            ["Server", "ThreadingMixIn", "TcpServer"]
        );
        assert_eq!(words("&mut StreamRequest"), ["StreamRequest"]);
        assert_eq!(words("log::warn!(…)"), ["log::warn()"]);
        assert_eq!(
            words("TcpServer::new(\"localhost:0\", Upper::default)"),
            ["TcpServer::new()", "Upper::default"]
        );
    }

    #[test]
    fn no_names_are_found_in_other_texts() {
        let others = [
            "cargo run -- serve upper",
            "127.0.0.1:9999",
            "address in use: stop it (os error 98)",
            "src/base_server.rs",
            "base_server.rs",
            "Cargo.toml",
            "signal-hook",
            "--queue-size",
            "$RUST_LOG",
            "F",
            "self",
            "u16",
            "\"some_text\"",
        ];
        for other in others {
            assert_eq!(words(other), [""; 0], "{other}");
        }
    }

    fn complaints_about(span: &str) -> Vec<String> {
        let mut names = Names::default();
        names.read(
            "struct Server; impl Server { fn shutdown(&self) {} } struct Other { idle: u8 } \
             mod part {}",
        );
        let shown = words_of_programs(&["struct Shown;".to_owned()]);
        let mut others = WordsOfOthers::parse("# The system's\naccept");
        complaints(span, &names, &shown, &mut others)
    }

    #[test]
    fn a_wrong_name_is_found() {
        for right in [
            "Server",
            "Server::shutdown",
            "part::Server",
            "shutdown()",
            "idle",
            "accept",
            "serve it",
            "Shown",
        ] {
            assert_eq!(complaints_about(right), [""; 0], "{right}");
        }
        let wrong = [
            "Sever",
            "Server::shut_down",
            "Other::shutdown",
            "idle()",
            "idel",
            "no_such",
            "part::Sever",
        ];
        for wrong in wrong {
            assert_eq!(complaints_about(wrong).len(), 1, "{wrong}");
        }
    }

    #[test]
    fn a_diagram_is_looked_at_for_what_cannot_be_english() {
        let (names, mut others) = (Names::default(), WordsOfOthers::default());
        let diagram = "flowchart TD\n a[the loop] --> b[Server.serve_forever]\n b --> c[TcpServer]";
        let complaints = complaints_of_diagram(diagram, &names, &mut others);
        assert_eq!(complaints.len(), 2, "{complaints:?}");
    }

    #[test]
    fn an_entry_that_nothing_uses_is_found() {
        let mut others = WordsOfOthers::parse("# Python's\nrfile wfile");
        complaints("rfile", &Names::default(), &BTreeSet::new(), &mut others);
        assert_eq!(Vec::from_iter(others.unused()), ["wfile"]);
    }
}
