//! The `socketserver` command: lists the handlers of this package, serves any of them, and is the
//! client of most.
//!
//! Standard output has what was asked for: the list, the one line `listening on URL`, or the answers
//! to a client. Everything else goes to standard error, through the log: `RUST_LOG` sets its level,
//! which is `info` unless set.
//!
//! The exit status is 0 after the list, after a conversation, or when a signal has stopped the server;
//! 1 if the server could not be started, or its loop failed, or the server of a client was not there,
//! left, or made no sense; 2 if the command line makes no sense; and 128 plus the signal's number if a
//! second signal ended a server that was still stopping.

mod amounts;
mod auth_options;
mod bounds;
mod boxed_handler;
mod client;
mod command_line;
mod console;
mod exposure;
mod handler_options;
mod registry;
mod serve;
mod service;
mod shell_options;
mod signals;
mod url;

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use command_line::{CommandLine, Task};
use serve::Failure;

fn main() -> ExitCode {
    let task = CommandLine::parse().task;
    let log_level = env_logger::Env::default().default_filter_or("info");
    env_logger::Builder::from_env(log_level).init();
    let done = match task {
        Task::List => list().map_err(Failure::Output),
        Task::Serve(options) => serve::serve(options),
        Task::Client(options) => return client(options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(message)) => command_line::refuse("serve", &message),
        Err(failure) => failed(&failure),
    }
}

/// Has a conversation with a server.
fn client(options: client::Options) -> ExitCode {
    match client::run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(client::Failure::Usage(message)) => command_line::refuse("client", &message),
        Err(failure) => failed(&failure),
    }
}

/// Prints a line per handler, in columns.
fn list() -> io::Result<()> {
    io::stdout().write_all(registry::table().as_bytes())
}

fn failed(failure: &dyn Display) -> ExitCode {
    // Where standard error is closed there is nobody to tell.
    let _ = writeln!(io::stderr(), "socketserver: {failure}");
    ExitCode::FAILURE
}
