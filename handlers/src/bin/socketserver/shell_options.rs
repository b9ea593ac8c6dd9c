//! The options of commands that run in the shell, at a server or at a client.

use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use socketserver_handlers::shell::{Framing, Limits};

use crate::amounts::{seconds, size};
use crate::failure::Failure;

/// The framing of answers over a stream.
#[derive(Debug, Args)]
pub struct FramingOption {
    /// How the client finds the end of an answer; for streams only [default: json]
    ///
    /// Server and client have to use the same framing. With "ready" the server waits for the
    /// "recv_ready" of the client as long as a command may run, or for its --idle-timeout if that
    /// is less.
    #[arg(long, value_parser = framing())]
    framing: Option<Framing>,
}

/// How far a command may go.
#[derive(Debug, Args)]
pub struct LimitOptions {
    /// How long a command may run, in seconds
    ///
    /// A command that runs longer is ended, and its answer has the reason.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "30")]
    command_timeout: Duration,

    /// How much a command may write: a number of bytes, or of KiB, MiB or GiB, at most 1GiB
    ///
    /// A command that writes more is ended, and its answer has the reason.
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "16MiB")]
    output_limit: usize,
}

impl FramingOption {
    /// The framing that the user has given, or the default.
    pub fn over_streams(&self) -> Framing {
        self.framing.unwrap_or_default()
    }

    /// Refuses a framing that the user has given.
    ///
    /// # Errors
    ///
    /// Why datagrams have no framing.
    pub fn over_datagrams(&self) -> Result<(), Failure> {
        match self.framing {
            None => Ok(()),
            Some(_) => Err(Failure::usage(
                "--framing is for streams: a datagram has its end",
            )),
        }
    }
}

impl LimitOptions {
    /// The limits of each command.
    pub fn limits(&self) -> Limits {
        Limits {
            timeout: self.command_timeout,
            output: self.output_limit,
        }
    }
}

/// Accepts the name of a framing. For any other name, clap's error lists the framings.
fn framing() -> impl TypedValueParser<Value = Framing> {
    let value = |framing: Framing| PossibleValue::new(framing.name()).help(summary(framing));
    PossibleValuesParser::new(Framing::ALL.map(value)).try_map(|name| name.parse::<Framing>())
}

fn summary(framing: Framing) -> &'static str {
    match framing {
        Framing::Raw => "No mark at the end: errors and output are sent as they are",
        Framing::Ready => "Length in decimal; the client sends recv_ready; then that many bytes",
        Framing::Header => "Length in four bytes; then that many bytes",
        Framing::Json => "JSON object with the length, after the object's own length in four bytes",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use clap::Command;

    use super::*;

    fn parse<T: Args>(arguments: &[&str]) -> Result<T, clap::Error> {
        let command = T::augment_args(Command::new("shell").no_binary_name(true));
        T::from_arg_matches(&command.try_get_matches_from(arguments)?)
    }

    #[test]
    fn without_options_the_limits_and_the_framing_are_the_shell_s_own() {
        let limits = parse::<LimitOptions>(&[]).unwrap().limits();
        assert_eq!(limits, Limits::default());
        let framing = parse::<FramingOption>(&[]).unwrap().over_streams();
        assert_eq!(framing, Framing::default());
    }

    #[test]
    fn every_framing_is_accepted_by_its_name_and_has_a_summary() {
        for framing in Framing::ALL {
            let given = parse::<FramingOption>(&["--framing", framing.name()]).unwrap();
            assert_eq!(given.over_streams(), framing);
            assert!(given.over_datagrams().is_err());
            assert!(!summary(framing).is_empty());
        }
    }

    #[test]
    fn an_unknown_framing_is_answered_with_the_known_ones() {
        let message = parse::<FramingOption>(&["--framing", "xml"])
            .unwrap_err()
            .to_string();
        assert!(message.contains("raw, ready, header, json"), "{message}");
    }
}
