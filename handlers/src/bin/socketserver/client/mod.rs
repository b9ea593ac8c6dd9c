//! The clients: a counterpart of each of the tutorial's.
//!
//! Lines come from standard input, and answers go to standard output; the log and what goes wrong go to
//! standard error. In a terminal there is a prompt. The exit status is 0 if the user has ended the
//! conversation, or nobody reads the answers any more; 1 if the server is not there, leaves or sends
//! nonsense; and 2 if the command line makes no sense.

mod call;
mod connection;
mod conversation;
mod datagrams;
mod echoed;
mod failure;
mod friends;
mod one_reply;
mod operated;
mod options;
mod shell;
mod time;
mod user;

use std::io::{BufReader, StdinLock, StdoutLock};
use std::os::fd::AsFd;
use std::time::Duration;

use socketserver_handlers::shell::Framing;

use crate::auth_options::AuthOptions;
use crate::url::Url;
use connection::{Connection, Connector};
use conversation::{Manner, converse};
use datagrams::{Datagrams, Server};
use failure::Problem;
use friends::Friend;
use options::{Chat, Exchanges, Operated, Program, Shell};

pub use failure::Failure;
pub use options::Options;

type User = user::User<StdinLock<'static>, StdoutLock<'static>>;

/// Has the conversation that was asked for.
pub fn run(options: Options) -> Result<(), Failure> {
    let done = match options.program {
        Program::Upper(options) => upper(&options),
        Program::UpperLoop(options) => echoed("upper-loop", &options),
        Program::Echo(options) => echoed("echo", &options),
        Program::Time(options) => time(&options),
        Program::Hello(options) => one_reply("hello", &options),
        Program::Greeting(options) => one_reply("greeting", &options),
        Program::Chat(options) => chat(&options),
        Program::Shell(options) => shell(&options),
        Program::Operated(options) => operated(&options),
    };
    match done {
        Err(failure) if failure.is_broken_pipe() => Ok(()),
        done => done,
    }
}

/// Row 21 of the tutorial: a line with its end, a connection each.
fn upper(options: &Exchanges) -> Result<(), Failure> {
    // With its end it fits into what the server reads at once.
    let manner = Manner {
        most: conversation::MESSAGE_SIZE - 1,
        ..Manner::as_typed("text> ")
    };
    let connector = connector(options.place.url("upper")?, options.timeout, &options.auth)?;
    each_connected(&connector, manner, |stream, line| {
        one_reply::exchange(stream, &[line, b"\n"].concat())
    })
}

/// Rows 2 and 20, and 5: a line as it is, a connection or a datagram each.
fn one_reply(handler: &str, options: &Exchanges) -> Result<(), Failure> {
    let url = options.place.url(handler)?;
    if is_for_datagrams(&url) {
        let manner = Manner::as_typed("message> ");
        return in_datagrams(&url, options.timeout, &options.auth, manner);
    }
    // A stream has no empty message.
    let manner = Manner {
        skips_empty: true,
        ..Manner::as_typed("message> ")
    };
    let connector = connector(url, options.timeout, &options.auth)?;
    each_connected(&connector, manner, one_reply::exchange)
}

/// Row 18, with the link: each line in one connection.
fn echoed(handler: &str, options: &Exchanges) -> Result<(), Failure> {
    let url = options.place.url(handler)?;
    let manner = Manner::trimmed("text> ");
    if is_for_datagrams(&url) {
        return in_datagrams(&url, options.timeout, &options.auth, manner);
    }
    let connector = connector(url, options.timeout, &options.auth)?;
    connected(&connector, |user, mut stream| {
        converse(user, manner, |user, line| {
            user.show(&echoed::exchange(&mut stream, line)?)
        })
    })
}

/// Row 7, and the same over a stream.
fn time(options: &Exchanges) -> Result<(), Failure> {
    let url = options.place.url("time")?;
    let manner = Manner {
        trims: true,
        ..Manner::as_typed("format> ")
    };
    if is_for_datagrams(&url) {
        return in_datagrams(&url, options.timeout, &options.auth, manner);
    }
    let connector = connector(url, options.timeout, &options.auth)?;
    connected(&connector, |user, stream| {
        let mut stream = BufReader::new(stream);
        converse(user, manner, |user, line| {
            user.show(&time::exchange(&mut stream, line)?)
        })
    })
}

/// Rows 1 and 4 over a stream, and 6 over datagrams.
fn chat(options: &Chat) -> Result<(), Failure> {
    let timeout = options.timeout;
    let connect = |url: &Url| {
        let server = Datagrams::to(url)?;
        Ok(move |message: &[u8]| server.exchange(message, timeout))
    };
    if !options.friends.is_empty() {
        Friend::check_names(&options.friends).map_err(Failure::Usage)?;
        return friends::chat(&mut User::here(), &options.friends, connect);
    }
    let url = options.place.url("chat")?;
    if is_for_datagrams(&url) {
        options.auth.check(&url).map_err(Failure::Usage)?;
        let talk = || friends::talk_with(&mut User::here(), &url, connect(&url)?);
        return talk().map(drop).map_err(|problem| problem.at(&url));
    }
    let connector = connector(url, timeout, &options.auth)?;
    connected(&connector, |user, mut stream| call::call(user, &mut stream))
}

/// Rows 10, 14, 15 and 16 over a stream, and the shell over datagrams.
fn shell(options: &Shell) -> Result<(), Failure> {
    let url = options.place.url("shell")?;
    let manner = Manner::trimmed("command> ");
    if is_for_datagrams(&url) {
        options.auth.check(&url).map_err(Failure::Usage)?;
        if options.framing.is_some() {
            let message = "--framing is for streams: a datagram has its end";
            return Err(Failure::Usage(message.to_owned()));
        }
        return with_datagrams(&url, |user, server| {
            converse(user, manner, |user, line| {
                user.write(&server.exchange(line, options.timeout)?)?;
                user.flush()
            })
        });
    }
    let framing = options.framing.unwrap_or(Framing::Json);
    let connector = connector(url, options.timeout, &options.auth)?;
    connected(&connector, |user, mut stream| {
        converse(user, manner, |user, line| {
            shell::exchange(user, &mut stream, framing, line)
        })
    })
}

/// Row 12: the server has the operator.
fn operated(options: &Operated) -> Result<(), Failure> {
    let url = options.place.url("operator")?;
    let there = |problem: Problem| problem.at(&url);
    let server = Server::find(&url).map_err(there)?;
    if !options.allow_remote {
        operated::check_server(server.ip()).map_err(Failure::Usage)?;
    }
    let stop = operated::stop_signal().map_err(Failure::Signals)?;
    let server = server.connect().map_err(there)?;
    operated::obey(&server, &options.limits(), stop.as_fd()).map_err(there)
}

fn is_for_datagrams(url: &Url) -> bool {
    matches!(url, Url::Udp(_) | Url::Unixgram(_))
}

fn connector(url: Url, timeout: Duration, auth: &AuthOptions) -> Result<Connector, Failure> {
    Ok(Connector {
        url,
        link: auth.link()?,
        timeout,
    })
}

/// A conversation in one connection.
fn connected(
    server: &Connector,
    converse: impl FnOnce(&mut User, Connection) -> Result<(), Problem>,
) -> Result<(), Failure> {
    let stream = server.connect();
    let done = stream.and_then(|stream| converse(&mut User::here(), stream));
    done.map_err(|problem| server.explain(problem).at(&server.url))
}

/// A conversation with a connection for each line.
fn each_connected(
    server: &Connector,
    manner: Manner,
    exchange: impl Fn(&mut Connection, &[u8]) -> Result<Vec<u8>, Problem>,
) -> Result<(), Failure> {
    let done = converse(&mut User::here(), manner, |user, line| {
        user.show(&exchange(&mut server.connect()?, line)?)
    });
    done.map_err(|problem| server.explain(problem).at(&server.url))
}

/// A conversation in datagrams, of which each has its answer.
fn in_datagrams(
    url: &Url,
    timeout: Duration,
    auth: &AuthOptions,
    manner: Manner,
) -> Result<(), Failure> {
    auth.check(url).map_err(Failure::Usage)?;
    with_datagrams(url, |user, server| {
        converse(user, manner, |user, line| {
            user.show(&server.exchange(line, timeout)?)
        })
    })
}

fn with_datagrams(
    url: &Url,
    converse: impl FnOnce(&mut User, &Datagrams) -> Result<(), Problem>,
) -> Result<(), Failure> {
    let done = Datagrams::to(url).and_then(|server| converse(&mut User::here(), &server));
    done.map_err(|problem| problem.at(url))
}
