//! The handlers that can be served, each under its name.

use std::fmt::Write;

use socketserver::{DatagramRequest, RequestHandler, StreamRequest};
use socketserver_handlers::chat::Chat;
use socketserver_handlers::shell::{Commander, Shell};
use socketserver_handlers::{Echo, Greeting, Hello, Time, Upper, UpperLoop};

use crate::boxed_handler::BoxedHandler;
use crate::command_line::MixIn;
use crate::console;
use crate::exposure::Exposure;
use crate::handler_options::HandlerOptions;
use crate::serve::Failure;
use crate::service::{Factory, Service};
use crate::shell_options::ShellOptions;
use crate::url::Url;

/// The mix-ins of a handler whose requests need nothing of one another.
const ANY_MIX_IN: &[MixIn] = &[MixIn::Threading, MixIn::None, MixIn::Forking, MixIn::Pool];

/// The mix-ins of a handler whose requests share an operator, whom processes cannot share.
const ONE_PROCESS: &[MixIn] = &[MixIn::Threading, MixIn::None, MixIn::Pool];

/// The mix-in of a handler whose operator reads one request after the other.
const ONE_AT_A_TIME: &[MixIn] = &[MixIn::None];

/// A handler, and what the command knows about it.
#[derive(Debug)]
pub struct Entry {
    pub name: &'static str,
    /// What it does, in a few words.
    pub summary: &'static str,
    /// Where it is served unless the user says otherwise.
    pub default_address: Url,
    /// If it serves connections.
    pub stream: Option<Service<StreamRequest>>,
    /// If it serves datagrams.
    pub datagram: Option<Service<DatagramRequest>>,
    /// How its requests may run beside one another; the first is the default.
    pub mixins: &'static [MixIn],
    pub exposure: Exposure,
}

/// Every handler; the ports are the tutorial's. `echo` is not in the tutorial, and its well-known
/// port, 7, is for privileged programs.
pub static HANDLERS: &[Entry] = &[
    Entry {
        name: "echo",
        summary: "sends back what comes, until the client closes",
        default_address: Url::local_tcp(8007),
        stream: Some(Service::of::<Echo>()),
        datagram: Some(Service::of::<Echo>()),
        mixins: ANY_MIX_IN,
        exposure: Exposure::Anywhere,
    },
    Entry {
        name: "upper",
        summary: "sends one message back in upper case, and closes",
        default_address: Url::local_tcp(9999),
        stream: Some(Service::of::<Upper>()),
        datagram: None,
        mixins: ANY_MIX_IN,
        exposure: Exposure::Anywhere,
    },
    Entry {
        name: "upper-loop",
        summary: "sends everything back in upper case, until the client closes",
        default_address: Url::local_tcp(9999),
        stream: Some(Service::of::<UpperLoop>()),
        datagram: None,
        mixins: ANY_MIX_IN,
        exposure: Exposure::Anywhere,
    },
    Entry {
        name: "time",
        summary: "tells the local time in the strftime format that it is sent",
        default_address: Url::local_udp(9000),
        stream: Some(Service::of::<Time>()),
        datagram: Some(Service::of::<Time>()),
        mixins: ANY_MIX_IN,
        exposure: Exposure::Anywhere,
    },
    Entry {
        name: "greeting",
        summary: "greets a client that has said something, and closes",
        default_address: Url::local_tcp(8090),
        stream: Some(Service::of::<Greeting>()),
        datagram: None,
        mixins: ANY_MIX_IN,
        exposure: Exposure::Anywhere,
    },
    Entry {
        name: "hello",
        summary: "logs one message, answers \"hi\", and closes",
        default_address: Url::local_tcp(8898),
        stream: Some(Service::of::<Hello>()),
        datagram: Some(Service::of::<Hello>()),
        mixins: ANY_MIX_IN,
        exposure: Exposure::Anywhere,
    },
    Entry {
        name: "chat",
        summary: "passes messages to and from you, at this terminal",
        default_address: Url::local_tcp(8090),
        stream: Some(Service {
            factory: chat,
            options: &[],
        }),
        datagram: Some(Service {
            factory: chat,
            options: &[],
        }),
        mixins: ONE_PROCESS,
        exposure: Exposure::Anywhere,
    },
    Entry {
        name: "shell",
        summary: "runs commands in the shell, and answers with their output",
        default_address: Url::local_tcp(8080),
        stream: Some(Service {
            factory: shell,
            options: ShellOptions::STREAM,
        }),
        datagram: Some(Service {
            factory: shell,
            options: ShellOptions::DATAGRAM,
        }),
        mixins: ANY_MIX_IN,
        exposure: Exposure::ThisMachine("whoever reaches it can run every command that you can"),
    },
    Entry {
        name: "operator",
        summary: "sends its client the commands that you type, to run there",
        default_address: Url::local_udp(8090),
        stream: None,
        datagram: Some(Service {
            factory: commander,
            options: &["allow-remote"],
        }),
        mixins: ONE_AT_A_TIME,
        exposure: Exposure::ThisMachine("whoever reaches it is sent the commands that you type"),
    },
];

fn chat<R>(_: &HandlerOptions) -> Result<Factory<R>, Failure>
where
    Chat: RequestHandler<R>,
{
    let chat = Chat::new(console::operator("reply> "));
    Ok(Box::new(move || BoxedHandler::new(chat.clone())))
}

fn shell<R>(options: &HandlerOptions) -> Result<Factory<R>, Failure>
where
    Shell: RequestHandler<R>,
{
    let shell = options.shell().shell();
    Ok(Box::new(move || BoxedHandler::new(shell)))
}

fn commander(_: &HandlerOptions) -> Result<Factory<DatagramRequest>, Failure> {
    let commander = Commander::new(console::operator("command> "));
    Ok(Box::new(move || BoxedHandler::new(commander.clone())))
}

impl Entry {
    /// The schemes of the URLs that it can be served on.
    pub fn transports(&self) -> String {
        let stream = self.stream.is_some().then_some("tcp unix");
        let datagram = self.datagram.is_some().then_some("udp unixgram");
        Vec::from_iter(stream.into_iter().chain(datagram)).join(" ")
    }

    /// Says that it is not for URLs such as this one, and for which it is.
    pub fn does_not_speak(&self, url: &Url) -> String {
        format!(
            "{} does not speak {}; it speaks: {}",
            self.name,
            url.scheme(),
            self.transports()
        )
    }

    /// The options that it has a use for over the transport of `url`.
    fn options_over(&self, url: &Url) -> &'static [&'static str] {
        let options = match url {
            Url::Tcp(_) | Url::Unix(_) => self.stream.as_ref().map(|it| it.options),
            Url::Udp(_) | Url::Unixgram(_) => self.datagram.as_ref().map(|it| it.options),
        };
        options.unwrap_or_default()
    }

    /// Refuses the options of other handlers, and other transports, among those that were given.
    ///
    /// # Errors
    ///
    /// Which one has no meaning here, and where it has one.
    pub fn check_options(&self, given: &[String], url: &Url) -> Result<(), String> {
        let known = self.options_over(url);
        let Some(option) = given
            .iter()
            .find(|option| !known.contains(&option.as_str()))
        else {
            return Ok(());
        };
        let name = self.name;
        let scheme = url.scheme();
        let meaningful = takers(option).join(", ");
        Err(format!(
            "--{option} has no meaning for {name} over {scheme}; it is an option of: {meaningful}"
        ))
    }
}

/// What has a use for this option: handlers, each with its transports.
fn takers(option: &str) -> Vec<String> {
    let takes = |options: &[&str]| options.contains(&option);
    let mut takers = Vec::new();
    for entry in HANDLERS {
        let name = entry.name;
        if entry.stream.as_ref().is_some_and(|it| takes(it.options)) {
            takers.push(format!("{name} over tcp and unix"));
        }
        if entry.datagram.as_ref().is_some_and(|it| takes(it.options)) {
            takers.push(format!("{name} over udp and unixgram"));
        }
    }
    takers
}

/// A line per handler, in columns.
pub fn table() -> String {
    let mut table = String::new();
    for entry in HANDLERS {
        let (name, summary, address) = (entry.name, entry.summary, &entry.default_address);
        let transports = entry.transports();
        writeln!(table, "{name:10}  {transports:21}  {summary:60}  {address}")
            .expect("a String takes whatever is written");
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_handler_speaks_the_transport_of_its_default_address() {
        for entry in HANDLERS {
            let scheme = entry.default_address.scheme();
            assert!(entry.transports().split(' ').any(|it| it == scheme));
        }
    }

    #[test]
    fn no_two_handlers_have_the_same_name() {
        let mut names = Vec::from_iter(HANDLERS.iter().map(|entry| entry.name));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), HANDLERS.len());
    }

    #[test]
    fn the_columns_of_the_table_are_wide_enough() {
        for entry in HANDLERS {
            assert!(entry.name.len() <= 10);
            assert!(entry.transports().len() <= 21);
            assert!(entry.summary.len() <= 60);
        }
    }
}
