//! `socketserver exec`: the options of every server, and those of the program for each client.

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use crate::exec_options::ExecOptions;
use crate::registry::EXEC;
use crate::serve::{self, CommonOptions};

/// The options of `socketserver exec`, which serves as `socketserver serve` does.
#[derive(Debug)]
pub struct Options(pub serve::Options);

impl Args for Options {
    fn augment_args(command: Command) -> Command {
        let command = CommonOptions::augment_args(command)
            .mut_arg("listen", with_own_default)
            .mut_arg("max_connections", |option| {
                let help = "How many programs, one for each connection or datagram, run at a time; \
                            further clients wait";
                let further = "The default is nine tenths of the file descriptors that the process \
                               may open, divided by 4, or by 8 where this process relays the \
                               bytes: 230 or 115 if \"ulimit -n\" is 1024.";
                option.help(help).long_help(format!("{help}\n\n{further}"))
            })
            .mut_arg("idle_timeout", |option| {
                let help = "How long no byte may move in either direction, in seconds [default: no \
                            bound]";
                let further = "The program is ended after this time. The bytes go through this \
                               process, as with --count.";
                option.help(help).long_help(format!("{help}\n\n{further}"))
            })
            .mut_arg("lifetime", |option| {
                let help = "How long a program may run, in seconds [default: no bound]";
                let further = "The program is ended after this time. This option is for datagrams \
                               too.";
                option.help(help).long_help(format!("{help}\n\n{further}"))
            });
        ExecOptions::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// The option whose help names the default of this task.
fn with_own_default(option: Arg) -> Arg {
    let of_handlers =
        "The default is the handler's own address, which \"socketserver list\" shows.";
    let own = format!("The default is {}.", EXEC.default_address);
    let help = option.get_long_help().map(ToString::to_string);
    option.long_help(help.unwrap_or_default().replace(of_handlers, &own))
}

impl FromArgMatches for Options {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(serve::Options {
            handler: &EXEC,
            common: CommonOptions::from_arg_matches(matches)?,
            own: matches.clone(),
            tracer: None,
        }))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
