//! The clients: one for each client of the tutorial.
//!
//! Lines come from standard input, and answers go to standard output; the log and errors go to
//! standard error. In a terminal there is a prompt. The exit status is 0 if the user has ended the
//! conversation, or standard output is a closed pipe. It is 1 if no server answers, or the server
//! closes the connection too early or breaks the protocol. It is 2 if the command line is wrong.

mod call;
mod command_runner;
mod connection;
mod conversation;
mod datagrams;
mod echoed;
#[cfg(feature = "files")]
mod files;
mod friends;
mod link_options;
mod message;
mod one_reply;
mod options;
mod programs;
mod session;
mod shell;
mod time;
mod time_left;
#[cfg(feature = "tls")]
mod tls;
mod user;

use std::os::fd::AsFd;
use std::time::Duration;

use crate::failure::{Failure, Problem};
use crate::remote;
use crate::stop::StopSignals;
use crate::url::{DatagramUrl, Url};
use command_runner::Runner;
use datagrams::{Datagrams, Server};
use friends::Friends;
use options::{Chat, CommandRunner, Exchanges, Shell};
use programs::{Program, User};
use session::Session;

pub use message::{Message, send};
pub use options::Options;

/// How long the look-up of an operator's name may take.
const LOOK_UP: Duration = Duration::from_secs(10);

/// Runs the client that the user asks for.
pub fn run(options: Options) -> Result<(), Failure> {
    use options::Program;

    match options.program {
        Program::Upper(options) => exchanges(&options, &programs::UPPER),
        Program::UpperLoop(options) => exchanges(&options, &programs::UPPER_LOOP),
        Program::Echo(options) => exchanges(&options, &programs::ECHO),
        Program::Time(options) => exchanges(&options, &programs::TIME),
        Program::Hello(options) => exchanges(&options, &programs::HELLO),
        Program::Greeting(options) => exchanges(&options, &programs::GREETING),
        Program::Chat(options) => chat(options),
        Program::Shell(options) => shell(&options),
        Program::CommandRunner(options) => run_commands(&options),
        #[cfg(feature = "files")]
        Program::Files(options) => files::run(&options),
    }
}

fn exchanges(options: &Exchanges, program: &Program<'_>) -> Result<(), Failure> {
    let url = options.place.url(program.handler)?;
    Session::new(url, options.timeout, &options.link)?.run(program)
}

/// Runs each line in the server's shell. Over a stream the answers come in the framing that the
/// user has chosen. Datagrams have no framing.
fn shell(options: &Shell) -> Result<(), Failure> {
    let url = options.place.url(programs::SHELL.handler)?;
    let session = Session::new(url, options.timeout, &options.link)?;
    if let Session::Datagram { .. } = session {
        options.framing.over_datagrams()?;
    }
    let framing = options.framing.over_streams();
    session.run(&Program {
        exchange: &|stream| programs::framed(stream, framing),
        ..programs::SHELL
    })
}

/// Talks with the operator of a chat server: a call over a stream, a friend over datagrams, or
/// several friends by their names.
fn chat(options: Chat) -> Result<(), Failure> {
    let timeout = options.timeout;
    let connect = |url: &DatagramUrl| {
        let server = Datagrams::to(url, timeout)?;
        Ok(move |message: &[u8]| server.exchange(message, timeout))
    };
    let user = &mut User::here();
    if !options.friends.is_empty() {
        #[cfg(feature = "tls")]
        if let Some(option) = options.link.tls.given() {
            return Err(Failure::usage(format!(
                "{option} is for connections, and --friend uses datagrams"
            )));
        }
        return Friends::try_from(options.friends)?.chat(user, connect);
    }
    let url = options.place.url("chat")?;
    match Session::new(url, timeout, &options.link)? {
        Session::Stream(connector) => {
            let stream = connector.connect();
            let done = stream.and_then(|mut stream| call::call(user, &mut stream));
            done.map_err(|problem| connector.failure(problem))
        }
        Session::Datagram { url, .. } => {
            let done = connect(&url).and_then(|exchange| friends::talk_with(user, &url, exchange));
            done.map(drop).map_err(|problem| problem.at(&url.into()))
        }
    }
}

/// Runs the commands of the server's operator.
fn run_commands(options: &CommandRunner) -> Result<(), Failure> {
    let Url::Datagram(url) = options.place.url("operator")? else {
        return Err(Failure::usage("an operator sends commands in datagrams"));
    };
    // Before the look-up, so that a signal ends the look-up too.
    let signals = StopSignals::catch().map_err(Failure::Signals)?;
    let there = |problem: Problem| problem.at(&url.clone().into());
    let server = Server::find(&url, LOOK_UP).map_err(there)?;
    if !options.allow_remote {
        for ip in server.ips() {
            remote::permit_server(ip)?;
        }
    }
    let server = server.connect().map_err(there)?;
    let stop = signals.into_descriptor().map_err(Failure::Signals)?;
    let runner = Runner {
        server: &server,
        limits: options.limits.limits(),
        obeys_any_user: options.obey_any_user,
    };
    runner.run_commands(stop.as_fd()).map_err(there)
}
