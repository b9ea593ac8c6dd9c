//! The command line: its tasks, and the order of its arguments.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{Command, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::client;
use crate::exec;
use crate::registry::HANDLERS;
use crate::serve;
use crate::trace;

/// Runs small servers over TCP, UDP and Unix sockets, and clients for them
///
/// Example: "socketserver serve upper" serves the handler upper at tcp://127.0.0.1:9999, and
/// "socketserver client upper" in another terminal talks with that server. "socketserver list"
/// shows all handlers.
///
/// The log goes to standard error. The variable RUST_LOG sets its level: error, warn, info, debug
/// or trace. The default is info.
#[derive(Debug, Parser)]
#[command(name = "socketserver", version)]
pub struct CommandLine {
    #[command(subcommand)]
    pub task: Task,
}

#[derive(Debug, Subcommand)]
pub enum Task {
    /// Lists the handlers: name, transports, what each does, default address
    List,
    /// Serves a handler until SIGINT, SIGTERM or SIGHUP stops the server
    ///
    /// Example: socketserver serve upper --listen tcp://127.0.0.1:9000
    ///
    /// The server prints "listening on URL" for each address when it is ready. At the first signal
    /// the server accepts no more requests, gives running requests the time of --drain-timeout, and
    /// exits with status 0.
    ///
    /// A signal that comes before "listening on" ends the program at once. A second signal ends the
    /// program at once too, but the children of a forking server still finish their requests. In
    /// both cases the exit status is 128 plus the number of the signal.
    ///
    /// With --tls-cert, --rules or --access-log, SIGHUP loads or opens the files of these options
    /// again, and does not stop the server.
    ///
    /// SIGUSR2 starts a successor: the same program with the same arguments, which takes the
    /// listening sockets over. This server stops when the successor is ready, and goes on if the
    /// successor fails.
    Serve(Box<serve::Options>),
    /// Serves a handler, and shows each call of a hook as it happens
    ///
    /// Example: socketserver trace upper --message hello
    ///
    /// A hook is a method of the server for one step of its work, such as verify_request; a layer
    /// may override it. Each line shows the thread, the layer, the hook with its arguments, and the
    /// result. A call inside of another call is indented. The lines go to standard output, in
    /// colours if that is a terminal.
    ///
    /// The options are those of "serve". With --message the program is also the client: it sends
    /// one message, prints the reply, and ends. Layers that only this command has are not shown.
    Trace(Box<trace::Options>),
    /// Runs a program for each client, with the connection as its standard input and output
    ///
    /// Example: socketserver exec --listen tcp://127.0.0.1:8023 -- cat
    ///
    /// Over TCP and Unix sockets the program has the socket itself. With TLS, --count,
    /// --idle-timeout or --progress-timeout this process relays the bytes. A datagram is the input
    /// of its program, and the output of the program is the reply.
    ///
    /// The environment of the program has the address of the client under the names of tcpserver
    /// (TCPREMOTEIP and others), and as REMOTE_ADDR. What the program writes to standard error goes
    /// to the log.
    ///
    /// The signals are those of "serve". Programs that still run at the end of --drain-timeout are
    /// ended.
    Exec(Box<exec::Options>),
    /// Talks with a server: sends lines from standard input, and prints the answers
    ///
    /// Example: echo hello | socketserver client upper tcp://127.0.0.1:9999
    ///
    /// The end of the input ends the conversation. So does the line "quit", but not in a chat. The
    /// exit status is 1 if no server answers at the address, or if the server closes the connection
    /// too early or breaks the protocol.
    Client(Box<client::Options>),
    /// Adds, changes, removes or lists the accounts of the file service
    ///
    /// Example: socketserver users add ada --users /etc/files.users
    ///
    /// In a terminal the command asks for a new password, and does not show what is typed.
    /// Otherwise the new password is the first line of standard input.
    #[cfg(feature = "files")]
    Users(crate::users::Options),
}

impl CommandLine {
    /// Parses the arguments of the program. Returns also the command of the task, for the usage in
    /// a later error.
    ///
    /// # Errors
    ///
    /// clap's, which is also a request for help.
    pub fn parse_from_arguments(
        arguments: impl IntoIterator<Item = OsString>,
    ) -> Result<(Self, Command), clap::Error> {
        let mut command = Self::command();
        command.build();
        let mut arguments = Vec::from_iter(arguments);
        for task in ["serve", "trace"] {
            if let Some(serves) = command.find_subcommand_mut(task) {
                handler_first(&mut arguments, serves)?;
            }
        }
        let matches = command.try_get_matches_from_mut(arguments)?;
        let line = Self::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
        let task = matches.subcommand_name();
        let task = task.and_then(|name| command.find_subcommand(name)).cloned();
        Ok((line, task.unwrap_or(command)))
    }
}

/// Moves the name of the handler behind `serve` or `trace`, before all options: clap takes options
/// before a subcommand for those of the task, and the user may type them in any order.
///
/// # Errors
///
/// If there is no handler of this name.
fn handler_first(arguments: &mut [OsString], serve: &mut Command) -> Result<(), clap::Error> {
    const AFTER_TASK: usize = 2;
    if arguments.get(1).is_none_or(|task| task != serve.get_name()) {
        return Ok(());
    }
    let mut place = AFTER_TASK;
    while let Some(argument) = arguments.get(place) {
        let argument = argument.to_string_lossy();
        if !argument.starts_with('-') {
            if serve.find_subcommand(&*argument).is_none() {
                let handlers = Vec::from_iter(HANDLERS.iter().map(|entry| entry.name)).join(", ");
                let message =
                    format!("there is no handler '{argument}'; choose one of: {handlers}");
                return Err(serve.error(ErrorKind::InvalidSubcommand, message));
            }
            arguments[AFTER_TASK..=place].rotate_right(1);
            break;
        }
        place += if takes_value(&argument, serve) { 2 } else { 1 };
    }
    Ok(())
}

/// True if the next argument is the value of `option`, an option of `serve` or of a handler.
fn takes_value(option: &str, serve: &Command) -> bool {
    let name = option.strip_prefix("--");
    let commands = std::iter::once(serve).chain(serve.get_subcommands());
    let mut options = commands.flat_map(Command::get_arguments);
    options.any(|it| name.is_some() && it.get_long() == name && it.get_action().takes_values())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mix_in::MixIn;

    fn parse(arguments: &str) -> Result<Task, clap::Error> {
        let arguments = ["socketserver"].into_iter().chain(arguments.split(' '));
        let parsed = CommandLine::parse_from_arguments(arguments.map(OsString::from));
        parsed.map(|(line, _)| line.task)
    }

    fn serve(arguments: &str) -> serve::Options {
        match parse(arguments) {
            Ok(Task::Serve(options)) => *options,
            other => panic!("{arguments}: {other:?}"),
        }
    }

    #[test]
    fn the_definition_of_the_command_line_holds_together() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn a_handler_is_served_in_threads_on_its_own_address_by_default() {
        let options = serve("serve upper");
        assert_eq!(options.handler.name, "upper");
        assert_eq!(options.common.mixin, None);
        assert_eq!(options.handler.mixins[0], MixIn::Threading);
        assert_eq!(options.common.workers, None);
    }

    #[test]
    fn options_are_the_same_before_and_after_the_name_of_the_handler() {
        for line in [
            "serve shell --workers 3 --framing raw --allow-remote --mixin=pool",
            "serve --workers 3 --framing raw --allow-remote --mixin=pool shell",
            "serve --workers 3 --allow-remote shell --framing raw --mixin=pool",
            "serve --framing raw --mixin=pool shell --workers 3 --allow-remote",
        ] {
            let options = serve(line);
            assert_eq!(options.handler.name, "shell");
            assert_eq!(options.common.workers, Some(3), "{line}");
            assert_eq!(options.common.mixin, Some(MixIn::Pool), "{line}");
            assert!(options.own.get_flag("allow_remote"), "{line}");
        }
        for line in [
            "serve upper --auth-digest md5 --auth-key-file key",
            "serve --auth-digest md5 upper --auth-key-file key",
        ] {
            assert_eq!(serve(line).handler.name, "upper");
        }
    }

    #[test]
    fn an_option_of_another_handler_is_refused_wherever_it_is_typed() {
        for line in [
            "serve upper --framing raw",
            "serve --framing raw upper",
            "serve operator --output-limit 1KiB",
            "serve --allow-remote echo",
        ] {
            let error = parse(line).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnknownArgument, "{line}");
        }
    }

    #[test]
    fn a_name_of_no_handler_is_refused_with_the_names() {
        for line in ["serve uper", "serve --workers 3 uper", "serve help"] {
            let error = parse(line).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidSubcommand, "{line}");
            assert!(error.to_string().contains("upper-loop, time"), "{error}");
        }
    }
}
