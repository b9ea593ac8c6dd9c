//! Serves a handler as `serve` does, and shows every call of a hook.

mod lines;
mod watch;

use std::sync::mpsc;

use clap::{ArgMatches, Args, Command, FromArgMatches};

use crate::client::{self, Message};
use crate::failure::{Failure, Problem};
#[cfg(feature = "systemd")]
use crate::passed_sockets::PassedSockets;
use crate::serve::{self, Visitor};
use crate::standard_streams;
use crate::url::{StreamUrl, Url};
use watch::Watch;

/// The options of `serve`, and a message.
#[derive(Debug)]
pub struct Options {
    serve: serve::Options,
    message: Option<String>,
}

#[derive(Debug, Args)]
struct MessageOption {
    /// Send this text to the server as its only client, print the reply, and end
    ///
    /// Over a stream the client then half-closes the connection, and the reply is everything until
    /// the server closes. Over datagrams the text is one datagram, and so is the reply. If there
    /// are several addresses, the text goes to the first.
    #[arg(long, value_name = "TEXT", help_heading = "Options of the trace")]
    message: Option<String>,
}

/// Serves until a signal arrives, or the message has had its reply.
pub fn run(
    mut options: Options,
    #[cfg(feature = "systemd")] passed: PassedSockets,
) -> Result<(), Failure> {
    if options.serve.common.inetd {
        return Err(Failure::usage(
            "--inetd is for serve: the standard output of trace is for the calls",
        ));
    }
    let (tracer, watch) = lines::tracer();
    options.serve.tracer = Some(tracer);
    let (reply, replied) = mpsc::channel();
    let message = options.message.take();
    let visitor = message.map(|text| visitor(&options.serve, text, watch, reply));
    serve::serve(
        &options.serve,
        #[cfg(feature = "systemd")]
        passed,
        visitor,
    )?;
    // If there is no reply, a signal came first.
    match replied.try_recv() {
        Ok(reply) => print_reply(&reply?),
        Err(_) => Ok(()),
    }
}

/// A client that sends the text when the loop waits, and stops the servers when the request has
/// ended. So the lines of the request come after those of the start, and before those of the end.
fn visitor(
    options: &serve::Options,
    text: String,
    watch: Watch,
    reply: mpsc::Sender<Result<Vec<u8>, Failure>>,
) -> Visitor {
    let auth = options.common.auth.clone();
    Box::new(move |url: &Url, servers| {
        let send = || match url {
            Url::Stream(StreamUrl::Tls(_)) => Err(Failure::usage(
                "--message is for a server without TLS; use socketserver client",
            )),
            url => {
                watch.wait_for_loop();
                let link = auth.link(url)?;
                client::send(Message { url, link, text })
            }
        };
        let sent = send();
        if sent.is_ok() {
            watch.wait_for_end();
        }
        // The receiver is there until the servers have ended.
        let _ = reply.send(sent);
        servers.request_shutdown();
    })
}

/// Prints the reply in quotes, as Rust and Python print a text.
fn print_reply(reply: &[u8]) -> Result<(), Failure> {
    let line = format!("reply: {:?}\n", String::from_utf8_lossy(reply));
    standard_streams::print(line).map_err(|error| Failure::Here(Problem::Output(error)))
}

impl Args for Options {
    fn augment_args(command: Command) -> Command {
        serve::Options::augment_args(MessageOption::augment_args(command))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Options {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let serve = serve::Options::from_arg_matches(matches)?;
        let MessageOption { message } = MessageOption::from_arg_matches(&serve.own)?;
        Ok(Self { serve, message })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
