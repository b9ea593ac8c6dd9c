//! Passwords that the user types or has in a file.

use std::fs;
use std::io::{self, BufRead, IsTerminal};
use std::path::Path;

use crate::failure::Failure;
use crate::standard_streams;

/// The most bytes of a password.
const LONGEST: u64 = 4096;

/// The first line of a file.
pub fn from_file(path: &Path) -> Result<String, Failure> {
    let text = fs::read_to_string(path).map_err(|error| {
        Failure::Files(format!(
            "cannot read the password in {}: {error}",
            path.display()
        ))
    })?;
    not_empty(first_line(&text))
}

/// Asks the terminal, without an echo.
pub fn ask(prompt: &str) -> Result<String, Failure> {
    let typed = rpassword::prompt_password(prompt).map_err(|error| {
        Failure::Files(format!(
            "cannot ask for a password: {error}; without a terminal, give --password-file"
        ))
    })?;
    not_empty(&typed)
}

/// A new password: typed twice in a terminal, or else the first line of standard input.
pub fn new() -> Result<String, Failure> {
    if io::stdin().is_terminal() {
        let password = ask("new password: ")?;
        return match ask("the same again: ")? == password {
            true => Ok(password),
            false => Err(Failure::Files("the two passwords differ".to_owned())),
        };
    }
    let mut line = String::new();
    let input = standard_streams::input();
    io::BufReader::new(io::Read::take(input, LONGEST))
        .read_line(&mut line)
        .map_err(|error| Failure::Here(crate::failure::Problem::Input(error)))?;
    not_empty(first_line(&line))
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn not_empty(password: &str) -> Result<String, Failure> {
    match password {
        "" => Err(Failure::Files("the password is empty".to_owned())),
        password => Ok(password.to_owned()),
    }
}
