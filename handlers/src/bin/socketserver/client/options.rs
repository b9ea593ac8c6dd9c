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
    /// Sends each line in a connection of its own, and shows it in upper case
    Upper(Exchanges),
    /// Sends each line in one connection, and shows it in upper case
    UpperLoop(Exchanges),
    /// Sends each line, and shows what comes back
    Echo(Exchanges),
    /// Sends each line as a strftime format, and shows the time
    ///
    /// An empty line asks for date and time.
    Time(Exchanges),
    /// Sends each line in a connection, or a datagram, of its own, and shows the answer
    Hello(Exchanges),
    /// Sends each line in a connection of its own, and shows the greeting
    Greeting(Exchanges),
    /// Talks with the person at a chat server
    ///
    /// Over a stream the two sides take turns until one sends "bye". Over datagrams "q" leaves the
    /// friend.
    Chat(Chat),
    /// Runs each line in the shell of the server, and shows the output
    ///
    /// The output goes to standard output as it is, in a terminal too. White space at the ends of a
    /// line is not sent.
    Shell(Shell),
    /// Runs here the commands that the operator of the server types, until SIGINT or SIGTERM
    ///
    /// The counterpart of "serve operator". The log shows the commands.
    #[command(name = "operated")]
    CommandRunner(CommandRunner),
    /// Logs in to a file service: lists, gets and puts files, with a prompt or by commands
    ///
    /// Without a command on the command line, the commands come from standard input, a line each.
    /// In a terminal there is a prompt, with history and completion. Elsewhere the first command
    /// that fails ends the session. A transfer that was broken off goes on where it was, when it is
    /// asked for again.
    #[cfg(feature = "files")]
    Files(Box<Files>),
}

#[derive(Debug, Args)]
pub struct Exchanges {
    #[command(flatten)]
    pub place: Place,

    /// How long an exchange may wait for the server, all its waits together
    ///
    /// An exchange is a line, and the whole answer to it. Looking up the name, connecting and
    /// authenticating has the same time: together with the line where each line has a connection of
    /// its own, before the first line elsewhere.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "5")]
    pub timeout: Duration,

    #[command(flatten)]
    pub link: LinkOptions,
}

#[derive(Debug, Args)]
pub struct Chat {
    #[command(flatten)]
    pub place: Place,

    /// A friend to pick by name, at a udp:// or unixgram:// URL; may be given several times
    #[arg(
        long = "friend",
        value_name = "NAME=URL",
        conflicts_with_all = ["url", "auth_key_file"]
    )]
    pub friends: Vec<Friend>,

    /// How long an exchange may wait for the server: a message, and the answer that a person types
    ///
    /// Looking up the name, connecting and authenticating has the same time.
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

    /// How long an exchange may wait for the server, all its waits together
    ///
    /// An exchange is a command, and the whole answer to it. The time in which standard output
    /// takes nothing does not count. Looking up the name, connecting and authenticating has the
    /// same time, before the first command.
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

    /// Run the commands of another machine too
    ///
    /// A program that answers at the server's address can do here whatever you can.
    #[arg(long)]
    pub allow_remote: bool,

    /// Run the commands of a server that another user of this machine has started
    ///
    /// Without this option, a server on this machine has to be of your own user: any other user can
    /// listen at the address before your server does, and do here whatever you can.
    #[arg(long)]
    pub obey_any_user: bool,
}

/// The address of the server.
#[derive(Debug, Args)]
pub struct Place {
    /// Where the server is: tcp://HOST:PORT, udp://HOST:PORT, unix:///PATH or unixgram:///PATH
    ///
    /// tls://HOST:PORT is TCP with --tls. A path may be relative; unix://@NAME is a name in Linux's
    /// abstract namespace. The default is the handler's own address, which "socketserver list"
    /// shows.
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
