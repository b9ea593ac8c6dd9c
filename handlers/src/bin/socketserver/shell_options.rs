//! The options of the shell.

use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use socketserver_handlers::shell::{Framing, Limits, Shell};

use crate::amounts::{seconds, size};

/// How the shell answers, and how far its commands may go.
#[derive(Debug, Args)]
pub struct ShellOptions {
    /// How the client knows where the answer to a command ends
    #[arg(long, value_parser = framing(), default_value = "json")]
    framing: Framing,

    /// How long a command may run; it is ended then, and the client is told
    ///
    /// With "--framing ready" a client has as long to say that it is ready, or --idle-timeout if that is
    /// less.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "30")]
    command_timeout: Duration,

    /// How much a command may write, in bytes, KiB, MiB or GiB; it is ended then, and the client is told
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "16MiB")]
    output_limit: usize,
}

impl ShellOptions {
    /// The long names of those that mean something to a shell over streams.
    pub const STREAM: &[&str] = &["framing", "command-timeout", "output-limit", "allow-remote"];

    /// The long names of those that mean something to a shell over datagrams, which need no frame.
    pub const DATAGRAM: &[&str] = &["command-timeout", "output-limit", "allow-remote"];

    /// The shell that they ask for.
    pub fn shell(&self) -> Shell {
        Shell::default().framing(self.framing).limits(Limits {
            timeout: self.command_timeout,
            output: self.output_limit,
        })
    }
}

/// Accepts the name of a framing; clap's refusal of any other lists them.
pub fn framing() -> impl TypedValueParser<Value = Framing> {
    let value = |framing: Framing| PossibleValue::new(framing.name()).help(summary(framing));
    PossibleValuesParser::new(Framing::ALL.map(value)).try_map(|name| name.parse::<Framing>())
}

fn summary(framing: Framing) -> &'static str {
    match framing {
        Framing::Raw => "It does not: errors and output are sent as they are",
        Framing::Ready => "The length in decimal; the client says recv_ready; then so many bytes",
        Framing::Header => "The length in four bytes; then so many bytes",
        Framing::Json => "A JSON object with the length, after its own length in four bytes",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use clap::{Command, FromArgMatches};

    use super::*;

    fn options(arguments: &[&str]) -> Result<ShellOptions, clap::Error> {
        let command = ShellOptions::augment_args(Command::new("shell").no_binary_name(true));
        ShellOptions::from_arg_matches(&command.try_get_matches_from(arguments)?)
    }

    #[test]
    fn without_options_the_limits_and_the_framing_are_the_shell_s_own() {
        let ShellOptions {
            framing,
            command_timeout: timeout,
            output_limit: output,
        } = options(&[]).unwrap();
        assert_eq!(framing, Framing::default());
        assert_eq!(Limits { timeout, output }, Limits::default());
    }

    #[test]
    fn every_framing_is_accepted_by_its_name_and_has_a_summary() {
        for framing in Framing::ALL {
            let given = options(&["--framing", framing.name()]).unwrap();
            assert_eq!(given.framing, framing);
            assert!(!summary(framing).is_empty());
        }
    }

    #[test]
    fn an_unknown_framing_is_answered_with_the_known_ones() {
        let message = options(&["--framing", "xml"]).unwrap_err().to_string();
        assert!(message.contains("raw, ready, header, json"), "{message}");
    }
}
