//! What the user may type.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::auth_options::AuthOptions;
use crate::bounds::Bounds;
use crate::client;
use crate::handler_options::HandlerOptions;
use crate::registry::{Entry, HANDLERS};
use crate::url::Url;

/// Serves small handlers over TCP, UDP and Unix sockets
#[derive(Debug, Parser)]
#[command(name = "socketserver", version)]
pub struct CommandLine {
    #[command(subcommand)]
    pub task: Task,
}

#[derive(Debug, Subcommand)]
pub enum Task {
    /// Prints a line per handler: name, transports, what it does, default address
    List,
    /// Serves a handler until SIGINT or SIGTERM
    ///
    /// When it is ready it prints "listening on URL". SIGINT and SIGTERM stop it: it accepts no
    /// more, lets running requests end for as long as --drain-timeout says, and exits with 0. A
    /// second signal ends it at once, with 128 plus the signal's number; the children of a forking
    /// server still finish their requests.
    Serve(Serve),
    /// Talks with a server: lines from standard input, answers to standard output
    ///
    /// "quit" or the end of the input ends it. The exit status is 1 if the server is not there, leaves
    /// before the end, or makes no sense.
    Client(client::Options),
}

#[derive(Debug, Args)]
pub struct Serve {
    /// What to serve
    #[arg(value_parser = handler())]
    pub handler: &'static Entry,

    /// Where to listen: tcp://HOST:PORT, udp://HOST:PORT, unix:///PATH or unixgram:///PATH
    ///
    /// An IPv6 address stands in brackets. Port 0 is any free port. Without the option it is the
    /// handler's own address, which "socketserver list" shows.
    #[arg(long, value_name = "URL")]
    pub listen: Option<Url>,

    /// How requests run beside one another
    ///
    /// Unless set it is threading, or none for a handler that allows nothing else.
    #[arg(long, value_enum)]
    pub mixin: Option<MixIn>,

    /// How many requests run at a time, with "--mixin pool" or "--mixin forking"
    ///
    /// The pool has so many threads: four more than there are processors, and at most 32, unless
    /// set. The forking server has at most so many children: 40 unless set.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub workers: Option<u16>,

    #[command(flatten)]
    pub bounds: Bounds,

    #[command(flatten)]
    pub auth: AuthOptions,

    #[command(flatten, next_help_heading = "Options of some handlers")]
    pub for_handler: HandlerOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MixIn {
    /// One request at a time
    None,
    /// A thread per request
    Threading,
    /// A child process per request
    Forking,
    /// A fixed number of threads
    Pool,
}

/// Accepts the name of a handler; clap's refusal of any other lists them.
fn handler() -> impl TypedValueParser<Value = &'static Entry> {
    let name = |entry: &'static Entry| PossibleValue::new(entry.name).help(entry.summary);
    PossibleValuesParser::new(HANDLERS.iter().map(name)).try_map(|name| {
        let found = HANDLERS.iter().find(|entry| entry.name == name);
        found.ok_or("there is no such handler")
    })
}

/// Ends the program as clap does where it finds the mistake itself: with the usage, and status 2.
pub fn refuse(task: &str, message: &str) -> ! {
    let mut command = CommandLine::command();
    command.build();
    let command = command
        .find_subcommand_mut(task)
        .expect("it is a variant of `Task`");
    command.error(ErrorKind::ArgumentConflict, message).exit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_of_the_command_line_holds_together() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn a_handler_is_served_in_threads_on_its_own_address_unless_told_otherwise() {
        let line = CommandLine::try_parse_from(["socketserver", "serve", "upper"]).unwrap();
        let Task::Serve(options) = line.task else {
            panic!("it is the task that was asked for");
        };
        assert_eq!(options.handler.name, "upper");
        assert_eq!(options.mixin, None);
        assert_eq!(options.handler.mixins[0], MixIn::Threading);
        assert_eq!(options.listen, None);
        assert_eq!(options.workers, None);
        assert!(options.for_handler.given().is_empty());
    }
}
