//! The options that are about some handlers only.

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, FromArgMatches};

use crate::shell_options::ShellOptions;

/// Options that some handlers have a use for, together with which of them were given: one that means
/// nothing to the handler is refused, never ignored.
#[derive(Debug)]
pub struct HandlerOptions {
    options: Options,
    given: Vec<String>,
}

#[derive(Debug, Args)]
struct Options {
    #[command(flatten)]
    shell: ShellOptions,

    /// Listen also where other machines can connect
    ///
    /// Handlers that run commands listen on loopback addresses and Unix sockets only, unless this is
    /// given: whoever reaches them needs no password.
    #[arg(long)]
    allow_remote: bool,
}

impl HandlerOptions {
    /// The long names of those that the user has given.
    pub fn given(&self) -> &[String] {
        &self.given
    }

    /// Those of the shell.
    pub fn shell(&self) -> &ShellOptions {
        &self.options.shell
    }

    /// Whether a handler that is for this machine may be served to others.
    pub fn allow_remote(&self) -> bool {
        self.options.allow_remote
    }
}

impl Args for HandlerOptions {
    fn augment_args(command: Command) -> Command {
        Options::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Options::augment_args_for_update(command)
    }
}

impl FromArgMatches for HandlerOptions {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self {
            options: Options::from_arg_matches(matches)?,
            given: given(matches),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.options.update_from_arg_matches(matches)?;
        self.given = given(matches);
        Ok(())
    }
}

/// The long names of the options among them that the user has typed.
fn given(matches: &ArgMatches) -> Vec<String> {
    let command = Options::augment_args(Command::new("options"));
    let mut given = Vec::new();
    for option in command.get_arguments() {
        if matches.value_source(option.get_id().as_str()) == Some(ValueSource::CommandLine) {
            given.extend(option.get_long().map(str::to_owned));
        }
    }
    given
}
