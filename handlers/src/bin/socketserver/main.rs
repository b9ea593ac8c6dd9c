//! The `socketserver` command: lists the handlers of this package, serves any of them, and is the
//! client of most.
//!
//! Standard output has only the result: the list, a line `listening on URL` for each address, or
//! the answers to a client. Everything else goes to standard error, through the log. `RUST_LOG`
//! sets the level of the log, which is `info` by default.
//!
//! The exit status is
//!
//! * 0 after the list, after a conversation, or when a signal has stopped the server;
//! * 1 if the server could not be started, or its loop failed; for a client, if no server answered,
//!   or the server closed the connection too early or broke the protocol;
//! * 2 if the command line is wrong;
//! * 128 plus the signal's number if the signal came before the program was ready, or was the
//!   second signal of a program that was still stopping.
//!
//! Imports run one way: `command_line`; `trace`, `exec`; `serve`, `client`; `registry`; the options
//! and rules that they share; `passed_sockets`, `privileges`; `failure`; `url`, `mix_in`,
//! `amounts`, `service_manager`, `standard_error`, `watched`; `fork_gate`.

mod amounts;
mod auth_options;
mod client;
mod command_line;
mod console;
mod exec;
mod exec_options;
mod factory;
mod failure;
#[cfg(feature = "files")]
mod files_options;
mod fork_gate;
#[cfg(feature = "http")]
mod http_options;
mod inherited;
mod mix_in;
#[cfg(feature = "systemd")]
mod passed_sockets;
#[cfg(feature = "files")]
mod passwords;
mod privileges;
mod registry;
mod remote;
mod serve;
#[cfg(feature = "systemd")]
mod service_manager;
mod shell_options;
mod standard_error;
mod standard_streams;
mod stop;
mod trace;
mod url;
#[cfg(feature = "files")]
mod users;
mod watched;

use std::env;
use std::io;
use std::process::ExitCode;

use clap::CommandFactory;
use command_line::{CommandLine, Task};
use failure::{Failure, Problem};

fn main() -> ExitCode {
    // The first call: it changes the environment, which no other thread may read then.
    #[cfg(feature = "systemd")]
    let passed = passed_sockets::PassedSockets::take_over();
    inherited::unblock_stop_signals();
    let parsed = CommandLine::parse_from_arguments(env::args_os());
    let (line, mut command) = match parsed {
        Ok(parsed) => parsed,
        Err(error) if error.use_stderr() => {
            return Failure::Usage(error).exit(&mut CommandLine::command());
        }
        Err(help) => return exit(print_help(&help), &mut CommandLine::command()),
    };
    standard_error::start_log();
    let done = match line.task {
        Task::List => list().map_err(|error| Failure::Here(Problem::Output(error))),
        // A closed standard output is an error here: without the line, nobody knows the address.
        Task::Serve(options) => match serve::serve(
            &options,
            #[cfg(feature = "systemd")]
            passed,
            None,
        ) {
            Err(failure) => return failure.exit(&mut command),
            served => served,
        },
        Task::Trace(options) => match trace::run(
            *options,
            #[cfg(feature = "systemd")]
            passed,
        ) {
            Err(failure) => return failure.exit(&mut command),
            traced => traced,
        },
        Task::Exec(options) => match serve::serve(
            &options.0,
            #[cfg(feature = "systemd")]
            passed,
            None,
        ) {
            Err(failure) => return failure.exit(&mut command),
            served => served,
        },
        Task::Client(options) => client::run(*options),
        #[cfg(feature = "files")]
        Task::Users(options) => users::run(&options),
    };
    exit(done, &mut command)
}

/// The exit status of a task. It is not a failure if the reader of standard output closes the pipe
/// early, as head(1) does.
fn exit(done: Result<(), Failure>, command: &mut clap::Command) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.is_broken_pipe() => ExitCode::SUCCESS,
        Err(failure) => failure.exit(command),
    }
}

/// Prints the help, or the version, that the user asks for.
fn print_help(help: &clap::Error) -> Result<(), Failure> {
    let text = help.render();
    let text = match standard_error::has_colours(&io::stdout()) {
        true => text.ansi().to_string(),
        false => text.to_string(),
    };
    standard_streams::print(text).map_err(|error| Failure::Here(Problem::Output(error)))
}

/// Prints a line per handler, in columns.
fn list() -> io::Result<()> {
    standard_streams::print(registry::table())
}
