//! The options of `socketserver client`.

use std::time::Duration;

use clap::{Args, Subcommand};

#[cfg(feature = "files")]
use super::files::options::Files;
use super::friends::Friend;
use super::link_options::LinkOptions;
use crate::amounts::seconds;
use crate::failure::Failure;
use crate::registry::Entry;
use crate::shell_options::{FramingOption, LimitOptions};
use crate::url::Url;

#[derive(Debug, Args)]
#[command(subcommand_value_name = "NAME", subcommand_help_heading = "Programs")]
pub struct Options {
    #[command(subcommand)]
    pub program: Program,
}

/// The programs, each with its own options.
#[derive(Debug, Subcommand)]
pub enum Program {
    /// Sends each line over its own connection, and prints the line in upper case
    Upper(Exchanges),
    /// Sends all lines over one connection, and prints each in upper case
    UpperLoop(Exchanges),
    /// Sends all lines over one connection, and prints what comes back
    Echo(Exchanges),
    /// Sends each line as a strftime format, such as %H:%M, and prints the time
    ///
    /// An empty line asks for date and time.
    Time(Exchanges),
    /// Sends each line over its own connection, or as a datagram, and prints the answer
    Hello(Exchanges),
    /// Sends each line over its own connection, and prints the greeting
    Greeting(Exchanges),
    /// Talks with the person at a chat server
    ///
    /// Over a stream the two sides take turns, and "bye" of either side ends the call. Over
    /// datagrams "q" ends the talk with a friend.
    Chat(Chat),
    /// Runs each line as a command in the shell of the server, and prints the output
    ///
    /// The output goes to standard output as it is, in a terminal too. White space at the ends of a
    /// line is not sent.
    Shell(Shell),
    /// Runs here the commands that the operator of a server types, until SIGINT or SIGTERM
    ///
    /// This is the client of "serve operator". The log shows each command.
    #[command(name = "operated")]
    CommandRunner(CommandRunner),
    /// Logs in to a file service, and lists, gets and puts files
    ///
    /// Example: socketserver client files --user ada get report.pdf
    ///
    /// Without a command on the command line, the commands come from standard input, one in each
    /// line. In a terminal the client shows a prompt, with history and completion; "help" lists the
    /// commands. Otherwise the first command that fails ends the session, unless --continue is
    /// given. If a transfer was interrupted, the same command continues it where it ended.
    #[cfg(feature = "files")]
    Files(Box<Files>),
}

#[derive(Debug, Args)]
pub struct Exchanges {
    #[command(flatten)]
    pub place: Place,

    /// How long the client waits for the server in an exchange, in seconds
    ///
    /// An exchange is a line and the whole answer to it; all waits for the server count together.
    /// Looking up the name, connecting and authenticating have the same time: together with the
    /// line if each line has its own connection, or else before the first line.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "5")]
    pub timeout: Duration,

    #[command(flatten)]
    pub link: LinkOptions,
}

#[derive(Debug, Args)]
pub struct Chat {
    #[command(flatten)]
    pub place: Place,

    /// Friend to pick by name, at a udp:// or unixgram:// URL
    ///
    /// May be given several times. Example: --friend ada=udp://127.0.0.1:8090 --friend
    /// bob=udp://127.0.0.1:8091
    #[arg(
        long = "friend",
        value_name = "NAME=URL",
        conflicts_with_all = ["url", "auth_key_file"]
    )]
    pub friends: Vec<Friend>,

    /// How long the client waits for the answer of the person, in seconds
    ///
    /// The time in which the message is sent counts too. Looking up the name, connecting and
    /// authenticating have the same time.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "300")]
    pub timeout: Duration,

    #[command(flatten)]
    pub link: LinkOptions,
}

#[derive(Debug, Args)]
pub struct Shell {
    #[command(flatten)]
    pub place: Place,

    #[command(flatten)]
    pub framing: FramingOption,

    /// How long the client waits for the server in an exchange, in seconds
    ///
    /// An exchange is a command and the whole answer to it; all waits for the server count
    /// together. The time in which standard output takes nothing does not count. Looking up the
    /// name, connecting and authenticating have the same time, before the first command.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "60")]
    pub timeout: Duration,

    #[command(flatten)]
    pub link: LinkOptions,
}

#[derive(Debug, Args)]
pub struct CommandRunner {
    #[command(flatten)]
    pub place: Place,

    #[command(flatten)]
    pub limits: LimitOptions,

    /// Run the commands of a server on another machine too
    ///
    /// A program that answers at the server's address can then do here whatever you can.
    #[arg(long)]
    pub allow_remote: bool,

    /// Run the commands of a server that another user of this machine has started
    ///
    /// Without this option, a server on this machine has to be your own. Any other user could
    /// listen at the address before your server does, and then do here whatever you can.
    #[arg(long)]
    pub obey_any_user: bool,
}

/// The address of the server.
#[derive(Debug, Args)]
pub struct Place {
    /// Address of the server: tcp://HOST:PORT, udp://HOST:PORT, unix:///PATH or unixgram:///PATH
    ///
    /// The default is the handler's own address, which "socketserver list" shows. tls://HOST:PORT
    /// is TCP with --tls. A path may be relative. unix://@NAME is a name in Linux's abstract
    /// namespace.
    url: Option<Url>,
}

impl Place {
    /// The URL of a server with this handler.
    ///
    /// # Errors
    ///
    /// If the handler does not serve the transport of the URL.
    pub fn url(&self, handler: &str) -> Result<Url, Failure> {
        let entry = Entry::find(handler).expect("every program has its handler");
        let url = self.url.as_ref().unwrap_or(&entry.default_address);
        entry.at(url.clone())?;
        Ok(url.clone())
    }
}
