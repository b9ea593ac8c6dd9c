//! The `socketserver` command: lists the handlers of this package, serves any of them, and is the
//! client of most.
//!
//! Standard output has the result only: the list, the one line `listening on URL`, or the answers
//! to a client. Everything else goes to standard error, through the log: `RUST_LOG` sets its level,
//! which is `info` by default.
//!
//! The exit status is
//!
//! * 0 after the list, after a conversation, or when a signal has stopped the server;
//! * 1 if the server could not be started, or its loop failed, or the server of a client was not
//!   there, left, or made no sense;
//! * 2 if the command line makes no sense;
//! * 128 plus the signal's number if the signal ended a program that had not begun, or was the
//!   second and ended a program that was still stopping.
//!
//! Imports run one way: `command_line`; `serve`, `client`; `registry`; the options and rules that
//! they share; `failure`; `url`, `mix_in`, `amounts`.

mod amounts;
mod auth_options;
mod client;
mod command_line;
mod console;
mod factory;
mod failure;
mod mix_in;
mod registry;
mod remote;
mod serve;
mod shell_options;
mod stop;
mod url;

use std::env;
use std::io::{self, Write};
use std::process::ExitCode;

use command_line::{CommandLine, Task};
use failure::{Failure, Problem};

fn main() -> ExitCode {
    let parsed = CommandLine::parse_from_arguments(env::args_os());
    let (line, mut command) = parsed.unwrap_or_else(|error| error.exit());
    let log_level = env_logger::Env::default().default_filter_or("info");
    env_logger::Builder::from_env(log_level).init();
    let done = match line.task {
        Task::List => list().map_err(|error| Failure::Here(Problem::Output(error))),
        Task::Serve(options) => serve::serve(&options),
        Task::Client(options) => client::run(options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.exit(&mut command),
    }
}

/// Prints a line per handler, in columns.
fn list() -> io::Result<()> {
    io::stdout().write_all(registry::table().as_bytes())
}
