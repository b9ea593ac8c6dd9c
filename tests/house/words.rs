//! The words that comments do not use.

use support::words::BANNED;

/// Two words in a row that comments do not use either. A password, and a number of words, are as
/// good as any.
const BANNED_PAIRS: &[(&str, &str)] = &[("the", "word"), ("a", "word")];

/// The banned words in the comments of a source file. Code in comments is not looked at.
pub fn banned_words(file: &str, source: &str) -> Vec<String> {
    let mut violations = Vec::new();
    let mut block = Block::default();
    for (line, text) in (1..).zip(source.lines().map(comment)) {
        let Some(text) = text else {
            block = Block::default();
            continue;
        };
        for word in block.words_of(text) {
            let pair = (block.last_word.as_str(), word.as_str());
            if BANNED.contains(&pair.1) {
                violations.push(format!("{file}:{line}: {word}"));
            } else if BANNED_PAIRS.contains(&pair) {
                violations.push(format!("{file}:{line}: {} {word}", pair.0));
            }
            block.last_word = word;
        }
    }
    violations
}

/// The functions whose names have a banned word: the names of tests are sentences.
pub fn banned_names(file: &str, source: &str) -> Vec<String> {
    let name = |line: &str| {
        let line = line.trim_start();
        let name = line
            .strip_prefix("pub ")
            .unwrap_or(line)
            .strip_prefix("fn ")?;
        let end = name.find(|c: char| !c.is_alphanumeric() && c != '_')?;
        let is_sentence = name[..end].matches('_').count() >= 2;
        let is_banned = name[..end].split('_').any(|word| BANNED.contains(&word));
        (is_sentence && is_banned).then(|| format!("{file}: {}", &name[..end]))
    };
    source.lines().filter_map(name).collect()
}

#[test]
fn a_banned_word_in_the_name_of_a_test_is_found() {
    let source = "fn a_client_is_told() {\n    pub fn hears(\n    pub fn nobody_says_it<T>(";
    assert_eq!(
        banned_names("a.rs", source),
        ["a.rs: a_client_is_told", "a.rs: nobody_says_it"]
    );
}

/// The text of the comment that a line has, without its slashes.
fn comment(line: &str) -> Option<&str> {
    let text = match line.trim_start().strip_prefix("//") {
        Some(text) => text,
        None => {
            let (code, text) = line.rsplit_once(" // ")?;
            let in_string = code.matches('"').count() % 2 == 1;
            (!in_string).then_some(text)?
        }
    };
    Some(text.trim_start_matches(['/', '!']))
}

/// What goes on from one line of a comment to the next.
#[derive(Default)]
struct Block {
    in_code_block: bool,
    in_code_span: bool,
    last_word: String,
}

impl Block {
    /// The words of the next line, in lower case, without code and without the targets of links,
    /// whose names the code decides.
    fn words_of(&mut self, text: &str) -> Vec<String> {
        if text.trim_start().starts_with("```") {
            self.in_code_block = !self.in_code_block;
            return Vec::new();
        }
        if self.in_code_block {
            return Vec::new();
        }
        if text.trim().is_empty() {
            // A code span ends with its paragraph.
            self.in_code_span = false;
        }
        let prose = without_link_targets(&self.without_code(text)).to_lowercase();
        let is_letter = |c: char| c.is_alphanumeric() || "_'’".contains(c);
        let words = prose.split(|c| !is_letter(c)).filter(|it| !it.is_empty());
        words.map(str::to_owned).collect()
    }

    fn without_code(&mut self, text: &str) -> String {
        let mut prose = String::new();
        for (index, part) in text.split('`').enumerate() {
            self.in_code_span ^= index > 0;
            prose.push_str(if self.in_code_span { " _ " } else { part });
        }
        prose
    }
}

fn without_link_targets(text: &str) -> String {
    let mut parts = text.split("](");
    let mut prose = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        prose.push_str(part.split_once(')').map_or("", |(_, after)| after));
    }
    prose
}

#[test]
fn a_banned_word_is_found_in_prose_alone() {
    let source = "//! Is told of `told`, and [`heard`](Waker::heard) the
        //! word; a password, words and `a
        //! word said` there.
        let url = \"http://told.example // says\"; // Says so.
        /// ```
        /// // It tells.
        /// ```
        // It stands, forgotten, in the code.
        // The
        let word = told;
        // word is foretold in the_word, the `first` word.";
    assert_eq!(
        banned_words("a.rs", source),
        [
            "a.rs:1: told",
            "a.rs:2: the word",
            "a.rs:4: says",
            "a.rs:8: stands"
        ]
    );
}
