//! What the user of a client may type.

use std::time::Duration;

use clap::{Args, Subcommand};
use socketserver_handlers::shell::{Framing, Limits};

use super::failure::Failure;
use super::friends::Friend;
use crate::amounts::{seconds, size};
use crate::auth_options::AuthOptions;
use crate::registry::HANDLERS;
use crate::shell_options::framing;
use crate::url::Url;

#[derive(Debug, Args)]
#[command(subcommand_value_name = "NAME", subcommand_help_heading = "Programs")]
pub struct Options {
    #[command(subcommand)]
    pub program: Program,
}

/// The programs, each with the options that mean something to it.
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
    /// Says each line in a connection, or a datagram, of its own, and shows the answer
    Hello(Exchanges),
    /// Says each line in a connection of its own, and shows the greeting
    Greeting(Exchanges),
    /// Talks with the person at a chat server
    ///
    /// Over a stream it is a call: the two sides take turns until one says "bye". Over datagrams "q"
    /// leaves the friend that one talks with.
    Chat(Chat),
    /// Runs each line in the shell of the server, and shows the output
    ///
    /// The output goes to standard output as it is, in a terminal too. White space at the ends of a
    /// line is not sent.
    Shell(Shell),
    /// Runs here what the operator of the server types, until SIGINT or SIGTERM
    ///
    /// The counterpart of "serve operator". The log shows what is run.
    Operated(Operated),
}

#[derive(Debug, Args)]
pub struct Exchanges {
    #[command(flatten)]
    pub place: Place,

    /// How long to wait for an answer
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "5")]
    pub timeout: Duration,

    #[command(flatten)]
    pub auth: AuthOptions,
}

#[derive(Debug, Args)]
pub struct Chat {
    #[command(flatten)]
    pub place: Place,

    /// A friend to pick by name, at a udp:// or unixgram:// URL; may be given several times
    #[arg(long = "friend", value_name = "NAME=URL", conflicts_with_all = ["url", "auth_key_file"])]
    pub friends: Vec<Friend>,

    /// How long to wait for an answer, which a person types
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "300")]
    pub timeout: Duration,

    #[command(flatten)]
    pub auth: AuthOptions,
}

#[derive(Debug, Args)]
pub struct Shell {
    #[command(flatten)]
    pub place: Place,

    /// How the end of an answer is known: as the server was told; for streams only [default: json]
    #[arg(long, value_parser = framing())]
    pub framing: Option<Framing>,

    /// How long to wait for more of an answer; a command may take its time
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "60")]
    pub timeout: Duration,

    #[command(flatten)]
    pub auth: AuthOptions,
}

#[derive(Debug, Args)]
pub struct Operated {
    #[command(flatten)]
    pub place: Place,

    /// How long a command may run; it is ended then, and the server is told
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "30")]
    command_timeout: Duration,

    /// How much a command may write, in bytes, KiB, MiB or GiB; it is ended then, and the server is told
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "16MiB")]
    output_limit: usize,

    /// Run the commands of another machine too
    ///
    /// Whoever answers at its address can do here whatever you can.
    #[arg(long)]
    pub allow_remote: bool,
}

impl Operated {
    /// How far its commands may go.
    pub fn limits(&self) -> Limits {
        Limits {
            timeout: self.command_timeout,
            output: self.output_limit,
        }
    }
}

/// Where the server is.
#[derive(Debug, Args)]
pub struct Place {
    /// Where the server is: tcp://HOST:PORT, udp://HOST:PORT, unix:///PATH or unixgram:///PATH
    ///
    /// Unless given it is where the handler is served by default, which "socketserver list" shows.
    url: Option<Url>,
}

impl Place {
    /// The URL, which is of a transport that this handler speaks.
    pub fn url(&self, handler: &str) -> Result<Url, Failure> {
        let mut handlers = HANDLERS.iter();
        let entry = handlers
            .find(|entry| entry.name == handler)
            .expect("every program has its handler");
        let Some(url) = &self.url else {
            return Ok(entry.default_address.clone());
        };
        let spoken = match url {
            Url::Tcp(_) | Url::Unix(_) => entry.stream.is_some(),
            Url::Udp(_) | Url::Unixgram(_) => entry.datagram.is_some(),
        };
        match spoken {
            true => Ok(url.clone()),
            false => Err(Failure::Usage(entry.does_not_speak(url))),
        }
    }
}
