//! The user at a terminal: [`converse`].

use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use clap::{CommandFactory, Parser};
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Editor, Helper};
use socketserver_handlers::files::{Kind, escape, unescape};

use super::commands::{Client, Next};
use super::options::{Command, Line};
use super::trouble::Trouble;
use super::words::{Unfinished, is_plain, path_for_user, quoted, split, within_quotes};
use crate::failure::Problem;
use crate::standard_error::print_line;
use crate::standard_streams;

/// Carries out the lines that the user types, until `quit` or the end of the input. A command that
/// fails is reported, and the session goes on.
pub fn converse(client: &RefCell<Client<'_>>) -> Result<(), Problem> {
    let failed = |error| Problem::Input(std::io::Error::other(error));
    // The other types go through the candidates with TAB, which would never reach the names in a
    // directory.
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .completion_show_all_if_ambiguous(true)
        .build();
    let editor = Editor::<Names<'_, '_>, DefaultHistory>::with_config(config);
    let mut editor = editor.map_err(failed)?;
    editor.set_helper(Some(Names { client }));
    loop {
        let directory = path_for_user(client.borrow().remote.directory());
        let line = match editor.readline(&format!("{directory}> ")) {
            Ok(line) => with_closed_directory(line),
            Err(ReadlineError::Eof) => return Ok(()),
            // Ctrl-C gives the line up.
            Err(ReadlineError::Interrupted) => continue,
            Err(error) => return Err(failed(error)),
        };
        // No file has the history, so that nothing can go wrong.
        let _ = editor.add_history_entry(line.as_str());
        match parse(line.as_bytes()).and_then(|command| match command {
            Some(command) => client.borrow_mut().run(&command),
            None => Ok(Next::Command),
        }) {
            Ok(Next::Command) => {}
            Ok(Next::End) => return Ok(()),
            Err(Trouble::Output(error)) => return Err(Problem::Output(error)),
            Err(trouble) => print_line(trouble.to_string()),
        }
    }
}

/// The line with the quote that the completion of a directory has left open at its end.
fn with_closed_directory(mut line: String) -> String {
    let is_open = Unfinished::of(line.as_bytes()).is_some_and(|last| {
        last.quote == Some(b'"') && last.escape.is_empty() && last.word.ends_with(b"/")
    });
    if is_open {
        line.push('"');
    }
    line
}

/// The command of a line; `None` for an empty line, a comment, or a request for help, which is
/// printed.
pub fn parse(line: &[u8]) -> Result<Option<Command>, Trouble> {
    let words = split(line).map_err(|why| Trouble::Here(why.to_owned()))?;
    if words.first().is_none_or(|word| word.starts_with(b"#")) {
        return Ok(None);
    }
    let words = words.into_iter().map(OsString::from_vec);
    match Line::try_parse_from(words) {
        Ok(line) => Ok(Some(line.command)),
        Err(error) if !error.use_stderr() => {
            standard_streams::print(error.to_string()).map_err(Trouble::Output)?;
            Ok(None)
        }
        Err(error) => {
            let text = error.to_string();
            let what = text.lines().next().unwrap_or_default();
            let what = what.strip_prefix("error: ").unwrap_or(what);
            Err(Trouble::Here(format!(
                "{what}; \"help\" shows the commands"
            )))
        }
    }
}

/// Completes commands, the names of the server, and local names where a command takes them.
struct Names<'a, 'b> {
    client: &'a RefCell<Client<'b>>,
}

impl Completer for Names<'_, '_> {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let (before, after) = line.split_at(position);
        let Some(last) = Unfinished::of(before.as_bytes()) else {
            return Ok((position, Vec::new()));
        };
        let pairs = match last.before.first().map(Vec::as_slice) {
            None => commands(&before[last.begin..]),
            Some(command) => {
                let directory = directory_of(&last.word);
                let names = match command {
                    b"put" | b"lcd" => local_names(directory),
                    _ => self.remote_names(directory),
                };
                completions(&last, after, names)
            }
        };
        Ok((last.begin, pairs))
    }
}

impl Names<'_, '_> {
    /// The names in a directory of the server, and whether each is a directory. A list that fails
    /// completes nothing.
    fn remote_names(&self, directory: &[u8]) -> Vec<(Vec<u8>, bool)> {
        let path = match directory {
            b"" => ".".to_owned(),
            directory => escape(directory),
        };
        let entries = self.client.borrow_mut().remote.entries(&path);
        let names = entries.unwrap_or_default().into_iter().filter_map(|entry| {
            let name = unescape(&entry.name)?;
            Some((name, entry.kind == Kind::Directory))
        });
        names.collect()
    }
}

/// The names in a local directory, in their order, and whether each is a directory.
fn local_names(directory: &[u8]) -> Vec<(Vec<u8>, bool)> {
    let path = match directory {
        b"" => Path::new("."),
        directory => Path::new(OsStr::from_bytes(directory)),
    };
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let names = entries.map(|entry| {
        let is_directory = entry.path().is_dir();
        (entry.file_name().into_vec(), is_directory)
    });
    let mut names = Vec::from_iter(names);
    names.sort();
    names
}

/// The part of a path up to its last slash.
fn directory_of(path: &[u8]) -> &[u8] {
    let slash = path.iter().rposition(|byte| *byte == b'/');
    &path[..slash.map_or(0, |slash| slash + 1)]
}

/// What the last name of a line can become, given the names in its directory. If the user has begun
/// a quote, or a name needs quotes, all names have quotes, so that they begin in the same way. The
/// quote of a directory stays open for the names in the directory. `after` is the line behind the
/// cursor.
fn completions(last: &Unfinished<'_>, after: &str, mut names: Vec<(Vec<u8>, bool)>) -> Vec<Pair> {
    let directory = directory_of(&last.word);
    let begin = &last.word[directory.len()..];
    names.retain(|(name, _)| {
        let rest = name.strip_prefix(begin);
        rest.is_some_and(|rest| could_begin(rest, last.escape))
    });
    let is_quoted = last.quote.is_some()
        || !(directory.is_empty() || is_plain(directory))
        || names.iter().any(|(name, _)| !is_plain(name));
    let open = if is_quoted { "\"" } else { "" };
    let is_closed = last
        .quote
        .is_some_and(|quote| after.as_bytes().first() == Some(&quote));
    let pairs = names.iter().map(|(name, is_directory)| {
        let path = [directory, name].concat();
        let path = match is_quoted {
            true => within_quotes(&path),
            false => quoted(&path),
        };
        let end = match (is_directory, is_closed) {
            (true, _) => "/",
            (false, true) => "",
            (false, false) => open,
        };
        Pair {
            display: quoted(name),
            replacement: format!("{open}{path}{end}"),
        }
    });
    pairs.collect()
}

/// Whether the rest of a name could follow where the user has typed the beginning of an escape.
fn could_begin(rest: &[u8], escape: &[u8]) -> bool {
    match (escape, rest) {
        // A backslash alone keeps any character.
        ([] | [_], _) => true,
        (escape, [byte, ..]) => {
            let whole = format!("\\x{byte:02x}");
            whole.as_bytes().starts_with(&escape.to_ascii_lowercase())
        }
        (_, []) => false,
    }
}

/// The commands that begin with these characters.
fn commands(word: &str) -> Vec<Pair> {
    let line = Line::command();
    let names = line.get_subcommands().map(clap::Command::get_name);
    let names = names.chain(["help"]).filter(|name| name.starts_with(word));
    Vec::from_iter(names.map(|name| Pair {
        display: name.to_owned(),
        replacement: format!("{name} "),
    }))
}

impl Helper for Names<'_, '_> {}

impl Hinter for Names<'_, '_> {
    type Hint = String;
}

impl Highlighter for Names<'_, '_> {}

impl Validator for Names<'_, '_> {}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the line can become, with these names in the directory of its last word. A name that
    /// ends with a slash is a directory.
    fn completed(line: &str, names: &[&[u8]]) -> Vec<String> {
        let (before, after) = line.split_once('|').unwrap_or((line, ""));
        let last = Unfinished::of(before.as_bytes()).unwrap();
        let names = names.iter().map(|name| match name.strip_suffix(b"/") {
            Some(name) => (name.to_vec(), true),
            None => (name.to_vec(), false),
        });
        let pairs = completions(&last, after, names.collect());
        let begin = &before[..last.begin];
        let lines = pairs
            .iter()
            .map(|pair| format!("{begin}{}{after}", pair.replacement));
        lines.collect()
    }

    #[test]
    fn a_name_in_quotes_is_completed_and_goes_on_in_a_directory() {
        let names: [&[u8]; 5] = [b"caf\xe9", b"my dir/", b"my file", b"plain", b"sub/"];
        for (line, expected) in [
            ("get my", ["get \"my dir/", "get \"my file\""].as_slice()),
            ("get \"my f", &["get \"my file\""]),
            ("get 'my f", &["get \"my file\""]),
            ("get my\\ f", &["get \"my file\""]),
            ("get \"my f|\" x", &["get \"my file\" x"]),
            ("get ca", &["get \"caf\\xe9\""]),
            ("get \"caf", &["get \"caf\\xe9\""]),
            ("get \"caf\\xE", &["get \"caf\\xe9\""]),
            ("get \"caf\\xf", &[]),
            ("ls \"my d", &["ls \"my dir/"]),
            ("ls \"a b/my d", &["ls \"a b/my dir/"]),
            ("ls \"a b\"/pl", &["ls \"a b/plain\""]),
            ("ls s", &["ls sub/"]),
            ("ls \"s", &["ls \"sub/"]),
            ("get x/pl", &["get x/plain"]),
            ("get pl", &["get plain"]),
            ("get none", &[]),
        ] {
            assert_eq!(completed(line, &names), expected, "{line}");
        }
    }

    #[test]
    fn a_completed_file_is_the_name_when_the_line_is_split() {
        for name in ["a b", "it's", "q\"q", "back\\slash", "\x1b[2J", "\n"] {
            let name = name.as_bytes();
            for line in ["get ", "get \"", "get '", "get \"x y/"] {
                let lines = completed(line, &[name]);
                let words = split(lines[0].as_bytes()).unwrap();
                assert!(words[1].ends_with(name), "{lines:?}");
            }
        }
    }

    #[test]
    fn a_directory_whose_quote_is_open_can_be_entered_and_nothing_else() {
        for (line, closed) in [
            ("ls \"my dir/", "ls \"my dir/\""),
            ("ls \"my dir/\"", "ls \"my dir/\""),
            ("ls \"my d", "ls \"my d"),
            ("ls 'my dir/", "ls 'my dir/"),
            ("ls \"my dir/\\", "ls \"my dir/\\"),
            ("ls sub/", "ls sub/"),
            ("", ""),
        ] {
            assert_eq!(with_closed_directory(line.to_owned()), closed);
        }
    }

    #[test]
    fn local_names_are_those_of_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("my dir")).unwrap();
        std::fs::write(directory.path().join(OsStr::from_bytes(b"caf\xe9")), "").unwrap();
        let path = directory.path().as_os_str().as_bytes();
        let names = local_names(path);
        assert_eq!(
            names,
            [(b"caf\xe9".to_vec(), false), (b"my dir".to_vec(), true)]
        );
        assert!(local_names(b"/missing/").is_empty());
    }
}
