//! The user at a terminal: [`converse`].

use std::cell::RefCell;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use clap::{CommandFactory, Parser};
use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{Context, Editor, Helper};
use socketserver_handlers::files::{Kind, escape, unescape};

use super::commands::{Client, Next};
use super::options::{Command, Line};
use super::trouble::Trouble;
use super::words::{path_for_user, quoted, split};
use crate::failure::Problem;
use crate::standard_error::print_line;
use crate::standard_streams;

/// Carries out the lines that the user types, until `quit` or the end of the input. A command that
/// fails is reported, and the session goes on.
pub fn converse(client: &RefCell<Client<'_>>) -> Result<(), Problem> {
    let failed = |error| Problem::Input(std::io::Error::other(error));
    let mut editor = Editor::<Names<'_, '_>, DefaultHistory>::new().map_err(failed)?;
    editor.set_helper(Some(Names {
        client,
        local: FilenameCompleter::new(),
    }));
    loop {
        let directory = path_for_user(client.borrow().remote.directory());
        let line = match editor.readline(&format!("{directory}> ")) {
            Ok(line) => line,
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
    local: FilenameCompleter,
}

impl Completer for Names<'_, '_> {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        position: usize,
        context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let before = &line[..position];
        let begin = before
            .rfind(char::is_whitespace)
            .map_or(0, |space| space + 1);
        let word = &before[begin..];
        match before[..begin].split_whitespace().next() {
            None => Ok((begin, commands(word))),
            Some("put" | "lcd") => self.local.complete(line, position, context),
            Some(_) => Ok((begin, self.remote_names(word))),
        }
    }
}

impl Names<'_, '_> {
    fn remote_names(&self, word: &str) -> Vec<Pair> {
        let Some(word) = split(word.as_bytes()).ok().map(|words| words.concat()) else {
            return Vec::new();
        };
        let slash = word
            .iter()
            .rposition(|byte| *byte == b'/')
            .map_or(0, |slash| slash + 1);
        let (directory, begin) = word.split_at(slash);
        let path = match directory {
            b"" => ".".to_owned(),
            directory => escape(directory),
        };
        // A list that fails completes nothing.
        let entries = self
            .client
            .borrow_mut()
            .remote
            .entries(&path)
            .unwrap_or_default();
        let candidates = entries.iter().filter_map(|entry| {
            let name = unescape(&entry.name).filter(|name| name.starts_with(begin))?;
            let slash: &[u8] = if entry.kind == Kind::Directory {
                b"/"
            } else {
                b""
            };
            Some(Pair {
                display: quoted(&name),
                replacement: quoted(&[directory, &name, slash].concat()),
            })
        });
        candidates.collect()
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
