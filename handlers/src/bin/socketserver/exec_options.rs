//! The options of `socketserver exec`: the program, and what happens to a program whose client
//! leaves.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, ValueEnum};
use socketserver_handlers::exec::{Exec, OnHangup, Program};

use crate::amounts;
use crate::failure::Failure;

/// The program of each client.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of the program")]
pub struct ExecOptions {
    /// Text that each client of a connection is sent before its program begins
    ///
    /// The text is sent as it is, so a line end has to be part of it, as in $'welcome\r\n' of a
    /// shell.
    #[arg(long, value_name = "TEXT")]
    banner: Option<OsString>,

    /// What happens to a program whose client leaves
    #[arg(long, value_enum, value_name = "WHAT", default_value_t)]
    on_hangup: OnHangupOption,

    /// How long a program that is ended has between SIGTERM and SIGKILL, in seconds
    ///
    /// Both signals go to the process group of the program. At the end of --drain-timeout the
    /// program has at most half a second.
    #[arg(long, value_name = "SECONDS", value_parser = amounts::seconds, default_value = "5")]
    kill_after: Duration,

    /// Count the bytes of each connection, for the log line at its end and for --metrics
    ///
    /// The bytes then go through this process. Without this option a program over TCP, or over a
    /// Unix socket, has the socket itself.
    #[arg(long)]
    count: bool,

    /// Look up the names of both addresses, for at most 5 seconds, or for the given number
    ///
    /// TCPREMOTEHOST is the name of the client, and TCPLOCALHOST the name of the address that the
    /// client has connected to; over UDP they are UDPREMOTEHOST and UDPLOCALHOST. A variable is set
    /// only if its name has the address in turn. The program begins without names when the time is
    /// over. Clients over Unix sockets have no names.
    #[arg(
        long,
        value_name = "SECONDS",
        value_parser = amounts::seconds,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "5"
    )]
    lookup: Option<Duration>,

    /// The program to run, and its arguments, which may look like options of this command
    ///
    /// The program is a path if it has a slash, or else a name that is searched in PATH.
    // One list: if the program were an argument of its own, an option that follows the program
    // would be one of this command.
    #[arg(
        value_names = ["PROGRAM", "ARG"],
        num_args = 1..,
        required = true,
        trailing_var_arg = true
    )]
    command_line: Vec<OsString>,
}

/// The same choices as [`OnHangup`].
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum OnHangupOption {
    /// The program goes on, and reads the end of its input
    #[default]
    Leave,
    /// The program is ended when the connection is gone in both directions: reset, or a closed Unix
    /// socket
    EndIfGone,
    /// The program is ended when the client closes or half-closes, even if the client still reads
    EndIfClosed,
}

impl ExecOptions {
    /// The handler of every client.
    ///
    /// # Errors
    ///
    /// If the program cannot be executed.
    pub fn handler(&self) -> Result<Exec, Failure> {
        let (program, arguments) = self.command_line.split_first().expect("it is required");
        let program = Program::find(program, arguments)?;
        let on_hangup = match self.on_hangup {
            OnHangupOption::Leave => OnHangup::Leave,
            OnHangupOption::EndIfGone => OnHangup::EndIfGone,
            OnHangupOption::EndIfClosed => OnHangup::EndIfClosed,
        };
        let mut exec = Exec::new(program)
            .on_hangup(on_hangup)
            .grace(self.kill_after);
        if let Some(banner) = &self.banner {
            exec = exec.banner(banner.as_encoded_bytes());
        }
        if self.count {
            exec = exec.count_bytes();
        }
        if let Some(within) = self.lookup {
            exec = exec.look_up_names(within);
        }
        Ok(exec)
    }

    /// How many descriptors of this process a client needs, whose program has the socket itself, or
    /// whose bytes are relayed.
    ///
    /// A program with the socket needs the socket, the pipe of its standard error, whose second end
    /// is closed after the start, and the descriptor of its end. A relay needs also both ends of a
    /// socket pair, and three more for the thread that watches the program.
    pub fn descriptors(&self, has_relay: bool) -> usize {
        match has_relay || self.count {
            false => 4,
            true => 8,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{Command, FromArgMatches};

    use super::*;

    fn parse(arguments: &[&str]) -> Result<ExecOptions, clap::Error> {
        let command = ExecOptions::augment_args(Command::new("exec").no_binary_name(true));
        ExecOptions::from_arg_matches(&command.try_get_matches_from(arguments)?)
    }

    #[test]
    fn everything_behind_the_program_is_its_own() {
        for arguments in [
            ["--count", "--", "cat", "-u", "--count", "--"].as_slice(),
            &["--count", "cat", "-u", "--count", "--"],
        ] {
            let options = parse(arguments).unwrap();
            assert!(options.count);
            assert_eq!(options.command_line, ["cat", "-u", "--count", "--"]);
        }
        for argument in ["--count", "--help", "-h", "--lookup=1", "--", "--unknown"] {
            let options = parse(&["cat", argument, "file"]).unwrap();
            assert!(!options.count && options.lookup.is_none());
            assert_eq!(options.command_line, ["cat", argument, "file"]);
        }
    }

    #[test]
    fn a_lookup_takes_its_time_behind_an_equals_sign_and_never_the_program() {
        for (arguments, expected) in [
            (["cat"].as_slice(), None),
            (&["--lookup", "cat"], Some(5.0)),
            (&["--lookup=0.5", "cat"], Some(0.5)),
        ] {
            let options = parse(arguments).unwrap();
            let expected = expected.map(Duration::from_secs_f64);
            assert_eq!(options.lookup, expected, "{arguments:?}");
            assert_eq!(options.command_line, ["cat"]);
        }
        assert!(parse(&["--lookup=0", "cat"]).is_err());
    }

    #[test]
    fn a_program_has_to_be_given_and_an_unknown_option_is_none() {
        for arguments in [[].as_slice(), &["--"], &["--cuont", "cat"]] {
            assert!(parse(arguments).is_err(), "{arguments:?}");
        }
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = parse(&["no-such-program"]).unwrap().handler().unwrap_err();
        let error = error.to_string();
        assert!(error.contains("no-such-program"), "{error}");
    }
}
