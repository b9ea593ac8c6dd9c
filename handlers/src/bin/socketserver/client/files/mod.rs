//! The client of the file service.
//!
//! Imports run one way: `prompt`; `commands`; `trees`; `upload`, `download`; `remote`; `source`;
//! `trouble`; `listing`, `progress`, `words`, `options`.

mod commands;
mod download;
mod listing;
pub mod options;
mod progress;
mod prompt;
mod remote;
mod source;
mod trees;
mod trouble;
mod upload;
mod words;

use std::cell::RefCell;
use std::io::{self, BufRead, BufReader, IsTerminal, Read};

use socketserver_handlers::files::ContentDigest;

use super::session::Session;
use crate::failure::{Failure, Problem};
use crate::passwords;
use crate::registry::Entry;
use crate::standard_error::print_line;
use crate::standard_streams;
use commands::{Client, Next};
use options::Files;
use progress::Progress;
use remote::{Manner, Remote};
use trouble::Trouble;
use words::quoted;

/// The most bytes of a line: two paths in quotes.
const LONGEST_LINE: u64 = 1 << 16;

/// Carries out the command of the command line, or those of standard input.
pub fn run(options: &Files) -> Result<(), Failure> {
    let entry = Entry::find("files").expect("every program has its handler");
    let url = options.url.as_ref().unwrap_or(&entry.default_address);
    entry.at(url.clone())?;
    let session = Session::new(url.clone(), options.timeout, &options.link)?;
    let Session::Stream(connector) = session else {
        return Err(Failure::usage("the file service has connections only"));
    };
    let password = match &options.password_file {
        Some(file) => passwords::from_file(file)?,
        None => passwords::ask(&format!(
            "password of {} at {url}: ",
            quoted(options.user.as_bytes())
        ))?,
    };
    let mut digests = ContentDigest::ALL.into_iter();
    let manner = Manner {
        digest: digests
            .find(|it| it.name() == options.digest)
            .unwrap_or_default(),
        allows_plain_passwords: options.allow_plain_passwords,
        retries: options.retries,
        is_quiet: options.quiet,
    };
    let there = |trouble: Trouble| connector.failure(trouble.into());
    let remote = Remote::connect(&connector, &options.user, password, manner).map_err(there)?;
    let progress = Progress::chosen(options.quiet);
    let client = RefCell::new(Client { remote, progress });
    let is_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    let done = match &options.command {
        Some(command) => client
            .borrow_mut()
            .run(command)
            .map(drop)
            .map_err(Problem::from),
        None if is_terminal => prompt::converse(&client),
        None => run_script(&client, options.goes_on),
    };
    if done.is_ok() {
        client.into_inner().remote.quit();
    }
    done.map_err(|problem| connector.failure(problem))
}

/// Carries out the commands of standard input, up to the first that fails, or all.
fn run_script(client: &RefCell<Client<'_>>, goes_on: bool) -> Result<(), Problem> {
    let mut input = BufReader::new(standard_streams::input());
    let mut failed = 0;
    for number in 1_u64.. {
        let mut line = Vec::new();
        let mut bounded = Read::take(&mut input, LONGEST_LINE + 1);
        let read = bounded
            .read_until(b'\n', &mut line)
            .map_err(Problem::Input)?;
        if read == 0 {
            break;
        }
        if line.len() as u64 > LONGEST_LINE {
            return Err(Problem::LineTooLong(line.len() - 1));
        }
        let done = prompt::parse(&line).and_then(|command| match command {
            Some(command) => client.borrow_mut().run(&command),
            None => Ok(Next::Command),
        });
        match done {
            Ok(Next::Command) => {}
            Ok(Next::End) => break,
            Err(Trouble::Output(error)) => return Err(Problem::Output(error)),
            Err(trouble) if goes_on => {
                print_line(format!("line {number}: {trouble}"));
                failed += 1;
            }
            Err(trouble) => {
                print_line(format!(
                    "line {number} has failed, and no further line is run"
                ));
                return Err(trouble.into());
            }
        }
    }
    match failed {
        0 => Ok(()),
        failed => Err(Problem::LocalFile(format!(
            "commands that have failed: {failed}"
        ))),
    }
}
