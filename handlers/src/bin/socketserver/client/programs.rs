//! The table of programs that send a line and show an answer.

use std::io::{BufReader, Stdin, Stdout};

use socketserver_handlers::shell::Framing;

use super::connection::Connection;
use super::conversation::LineRule;
use super::time_left::Exchanges;
use super::{echoed, one_reply, shell, time, user};
use crate::failure::Problem;
use crate::standard_streams::Patient;

/// The user at standard input and output.
pub type User = user::User<BufReader<Patient<Stdin>>, Patient<Stdout>>;

/// Sends a message over a connection, and shows the answer.
pub type Exchange = Box<dyn FnMut(&mut User, &[u8]) -> Result<(), Problem>>;

/// How a program talks with its server.
pub struct Program<'a> {
    /// The name of the handler at the server.
    pub handler: &'static str,
    pub prompt: &'static str,
    pub lines: LineRule,
    pub connections: Connections,
    /// Makes the exchange of messages over a new connection.
    pub exchange: &'a (dyn Fn(Connection) -> Exchange + Sync),
    /// Shows the datagram that answers a message.
    pub show: fn(&mut User, &[u8]) -> Result<(), Problem>,
}

/// For how long a connection lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connections {
    /// The server closes after its answer, so each line has a connection of its own.
    PerLine,
    /// One connection lasts until the user ends the conversation.
    PerSession,
}

pub static UPPER: Program<'_> = Program {
    handler: "upper",
    prompt: "text> ",
    lines: LineRule::WithEnd,
    connections: Connections::PerLine,
    exchange: &one_reply,
    show: User::show,
};

pub static UPPER_LOOP: Program<'_> = Program {
    handler: "upper-loop",
    prompt: "text> ",
    lines: LineRule::TrimmedNotEmpty,
    connections: Connections::PerSession,
    exchange: &echoed,
    show: User::show,
};

pub static ECHO: Program<'_> = Program {
    handler: "echo",
    prompt: "text> ",
    lines: LineRule::TrimmedNotEmpty,
    connections: Connections::PerSession,
    exchange: &echoed,
    show: User::show,
};

pub static TIME: Program<'_> = Program {
    handler: "time",
    prompt: "format> ",
    lines: LineRule::Trimmed,
    connections: Connections::PerSession,
    exchange: &time,
    show: User::show,
};

pub static HELLO: Program<'_> = Program {
    handler: "hello",
    prompt: "message> ",
    lines: LineRule::AsTyped,
    connections: Connections::PerLine,
    exchange: &one_reply,
    show: User::show,
};

pub static GREETING: Program<'_> = Program {
    handler: "greeting",
    prompt: "message> ",
    lines: LineRule::AsTyped,
    connections: Connections::PerLine,
    exchange: &one_reply,
    show: User::show,
};

pub static SHELL: Program<'_> = Program {
    handler: "shell",
    prompt: "command> ",
    lines: LineRule::TrimmedNotEmpty,
    connections: Connections::PerSession,
    exchange: &|stream| framed(stream, Framing::default()),
    show: User::show_bytes,
};

/// The exchange begins with the connection.
fn one_reply(mut stream: Connection) -> Exchange {
    Box::new(move |user, message| user.show(&one_reply::exchange(&mut stream, message)?))
}

fn echoed(mut stream: Connection) -> Exchange {
    Box::new(move |user, message| {
        stream.begin_exchange();
        user.show(&echoed::exchange(&mut stream, message)?)
    })
}

fn time(stream: Connection) -> Exchange {
    let mut stream = BufReader::new(stream);
    Box::new(move |user, format| {
        stream.get_mut().begin_exchange();
        user.show(&time::exchange(&mut stream, format)?)
    })
}

/// Commands of the shell, whose answers come in `framing`.
pub fn framed(mut stream: Connection, framing: Framing) -> Exchange {
    Box::new(move |user, command| {
        stream.begin_exchange();
        shell::exchange(user, &mut stream, framing, command)
    })
}
