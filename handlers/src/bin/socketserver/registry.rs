//! The handlers that can be served, each under its name.

use std::fmt::Write;
use std::time::Duration;

use clap::{ArgMatches, Args, Command, FromArgMatches};
use socketserver::{DatagramRequest, RequestHandler, StreamRequest};
use socketserver_handlers::chat::Chat;
use socketserver_handlers::exec::Exec;
use socketserver_handlers::shell::{CommandSource, Shell};
use socketserver_handlers::{Echo, Greeting, Hello, Time, Upper, UpperLoop};

use crate::console;
use crate::exec_options::ExecOptions;
use crate::factory::Factory;
use crate::failure::Failure;
#[cfg(feature = "files")]
use crate::files_options::FilesOptions;
#[cfg(feature = "http")]
use crate::http_options::HttpOptions;
use crate::mix_in::MixIn;
use crate::remote::Exposure;
use crate::shell_options::{FramingOption, LimitOptions};
use crate::url::{DatagramUrl, StreamUrl, Url};
use crate::watched::Watched;

/// The mix-ins of a handler whose requests share nothing.
const ANY_MIX_IN: &[MixIn] = &[
    MixIn::Threading,
    MixIn::None,
    MixIn::Forking,
    MixIn::Pool,
    MixIn::Reactor,
];

/// The same, for a handler whose connections are kept alive between two requests.
#[cfg(feature = "http")]
const ANY_MIX_IN_FOR_KEPT_CONNECTIONS: &[MixIn] = &[
    MixIn::Reactor,
    MixIn::Threading,
    MixIn::None,
    MixIn::Forking,
    MixIn::Pool,
];

/// The mix-ins of a handler whose requests share an operator, which child processes cannot share.
const ONE_PROCESS: &[MixIn] = &[MixIn::Threading, MixIn::None, MixIn::Pool];

/// The mix-in of a handler whose operator reads one request after the other.
const ONE_AT_A_TIME: &[MixIn] = &[MixIn::None];

/// A handler, and what the command knows about it.
#[derive(Debug)]
pub struct Entry {
    pub name: &'static str,
    /// A short description of the handler, for the list and the help.
    pub summary: &'static str,
    /// Where the handler is served unless the user gives an address.
    pub default_address: Url,
    /// How to serve connections, if the handler serves them.
    stream: Option<MakeFactory<StreamRequest>>,
    /// How to serve datagrams, if the handler serves them.
    datagram: Option<MakeFactory<DatagramRequest>>,
    /// Adds the options of this handler to its command.
    options: fn(Command) -> Command,
    /// How requests may run beside one another; the first mix-in is the default.
    pub mixins: &'static [MixIn],
    pub exposure: Exposure,
    pub times: Times,
    /// By which number the default of --max-connections is smaller than nine tenths of the
    /// descriptors that the process may open: with these options, and with or without a relay.
    pub descriptors: fn(options: &ArgMatches, has_relay: bool) -> Result<usize, Failure>,
    /// The files of the handlers that SIGHUP opens again.
    pub watched: fn(options: &ArgMatches) -> Result<Option<Watched>, Failure>,
}

/// The times of a client unless the user gives others.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// The --idle-timeout.
    pub idle: Option<Duration>,
    /// The --progress-timeout: the messages or answers may be long.
    pub progress: Option<Duration>,
    /// Whether a client has exchanges, between which a --turn ends, and which alone a --lifetime
    /// bounds.
    pub has_exchanges: bool,
    /// The silence of a connection over TCP after which the kernel asks the client's machine
    /// whether it is still there.
    pub keepalive: Option<Duration>,
}

impl Times {
    const OF_MESSAGES: Self = Self {
        idle: Some(IDLE_TIMEOUT),
        progress: None,
        has_exchanges: true,
        keepalive: None,
    };

    /// An upload keeps its name busy. So the name is free again before a client whose network has
    /// changed has used up its retries.
    #[cfg(feature = "files")]
    const OF_UPLOADS: Self = Self {
        keepalive: Some(Duration::from_secs(10)),
        ..Self::OF_MESSAGES
    };

    #[cfg(feature = "http")]
    const OF_FILES: Self = Self {
        progress: Some(Duration::from_secs(60)),
        ..Self::OF_MESSAGES
    };

    /// A program decides itself how long its client may be idle.
    const OF_PROGRAMS: Self = Self {
        idle: None,
        progress: None,
        has_exchanges: false,
        // The handler sets the system's own times.
        keepalive: None,
    };
}

/// How long a client may keep its connection waiting.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// Makes the factory of a server from the handler's [options](Entry::options), once per server. All
/// requests share what is made here, such as the operator at standard input.
///
/// The second argument is the URL of the server if what clients send there is not encrypted.
type MakeFactory<R> = fn(&ArgMatches, Option<&Url>) -> Result<Factory<R>, Failure>;

/// A handler at a URL of a transport that it serves.
#[derive(Debug)]
pub enum Service {
    Stream(StreamUrl, MakeFactory<StreamRequest>),
    Datagram(DatagramUrl, MakeFactory<DatagramRequest>),
}

/// Every handler. The ports are the tutorial's. The exceptions are `echo`, which the tutorial
/// lacks, and `files`, which has no port there: their well-known ports 7 and 21 are for privileged
/// programs.
pub static HANDLERS: &[Entry] = &[
    Entry {
        name: "echo",
        summary: "sends everything back, until the client closes",
        default_address: Url::local_tcp(8007),
        stream: Some(default::<Echo, _>),
        datagram: Some(default::<Echo, _>),
        options: none,
        mixins: ANY_MIX_IN,
        exposure: Exposure::Anywhere,
        times: Times::OF_MESSAGES,
        descriptors: one,
        watched: no_files,
    },
    Entry {
        name: "upper",
        summary: "sends one message back in upper case, and closes",
        default_address: Url::local_tcp(9999),
        stream: Some(default::<Upper, _>),
        datagram: None,
        options: none,
        mixins: ANY_MIX_IN,
        exposure: Exposure::Anywhere,
        times: Times::OF_MESSAGES,
        descriptors: one,
        watched: no_files,
    },
    Entry {
        name: "upper-loop",
        summary: "sends everything back in upper case, until the client closes",
        default_address: Url::local_tcp(9999),
        stream: Some(default::<UpperLoop, _>),
        datagram: None,
        options: none,
        mixins: ANY_MIX_IN,
        exposure: Exposure::Anywhere,
        times: Times::OF_MESSAGES,
        descriptors: one,
        watched: no_files,
    },
    Entry {
        name: "time",
        summary: "answers with the local time in the strftime format sent",
        default_address: Url::local_udp(9000),
        stream: Some(default::<Time, _>),
        datagram: Some(default::<Time, _>),
        options: none,
        mixins: ANY_MIX_IN,
        exposure: Exposure::Anywhere,
        times: Times::OF_MESSAGES,
        descriptors: one,
        watched: no_files,
    },
    Entry {
        name: "greeting",
        summary: "greets a client that has sent a message, and closes",
        default_address: Url::local_tcp(8090),
        stream: Some(default::<Greeting, _>),
        datagram: None,
        options: none,
        mixins: ANY_MIX_IN,
        exposure: Exposure::Anywhere,
        times: Times::OF_MESSAGES,
        descriptors: one,
        watched: no_files,
    },
    Entry {
        name: "hello",
        summary: "logs one message, answers \"hi\", and closes",
        default_address: Url::local_tcp(8898),
        stream: Some(default::<Hello, _>),
        datagram: Some(default::<Hello, _>),
        options: none,
        mixins: ANY_MIX_IN,
        exposure: Exposure::Anywhere,
        times: Times::OF_MESSAGES,
        descriptors: one,
        watched: no_files,
    },
    #[cfg(feature = "http")]
    Entry {
        name: "http",
        summary: "serves the files of a directory over HTTP",
        default_address: Url::local_tcp(8000),
        stream: Some(http),
        datagram: None,
        options: http_options,
        mixins: ANY_MIX_IN_FOR_KEPT_CONNECTIONS,
        exposure: Exposure::Anywhere,
        times: Times::OF_FILES,
        descriptors: one,
        watched: access_log,
    },
    Entry {
        name: "chat",
        summary: "passes messages to and from you, at this terminal",
        default_address: Url::local_tcp(8090),
        stream: Some(chat),
        datagram: Some(chat),
        options: none,
        mixins: ONE_PROCESS,
        exposure: Exposure::Anywhere,
        times: Times::OF_MESSAGES,
        descriptors: one,
        watched: no_files,
    },
    Entry {
        name: "shell",
        summary: "runs commands in the shell, and answers with their output",
        default_address: Url::local_tcp(8080),
        stream: Some(shell_over_streams),
        datagram: Some(shell_over_datagrams),
        options: shell_options,
        mixins: ANY_MIX_IN,
        exposure: Exposure::ThisMachine("whoever reaches it can run every command that you can"),
        times: Times::OF_MESSAGES,
        descriptors: one,
        watched: no_files,
    },
    #[cfg(feature = "files")]
    Entry {
        name: "files",
        summary: "logs users in, and keeps their files in homes",
        default_address: Url::local_tcp(8021),
        stream: Some(FilesOptions::factory),
        datagram: None,
        options: FilesOptions::augment_args,
        mixins: ANY_MIX_IN,
        exposure: Exposure::Anywhere,
        times: Times::OF_UPLOADS,
        descriptors: one,
        watched: no_files,
    },
    Entry {
        name: "operator",
        summary: "sends its client the commands that you type, to run there",
        default_address: Url::local_udp(8090),
        stream: None,
        datagram: Some(command_source),
        options: none,
        mixins: ONE_AT_A_TIME,
        exposure: Exposure::ThisMachine("whoever reaches it is sent the commands that you type"),
        times: Times::OF_MESSAGES,
        descriptors: one,
        watched: no_files,
    },
];

/// The handler of `socketserver exec`, which is not in the list.
pub static EXEC: Entry = Entry {
    name: "exec",
    summary: "runs a program for each client, on its connection",
    default_address: Url::local_tcp(8023),
    stream: Some(exec),
    datagram: Some(exec),
    options: ExecOptions::augment_args,
    mixins: ANY_MIX_IN,
    exposure: Exposure::Anywhere,
    times: Times::OF_PROGRAMS,
    descriptors: of_program,
    watched: no_files,
};

fn exec<R>(options: &ArgMatches, _: Option<&Url>) -> Result<Factory<R>, Failure>
where
    Exec: RequestHandler<R>,
{
    let exec = ExecOptions::from_arg_matches(options)?.handler()?;
    Ok(Box::new(move || Box::new(exec.clone())))
}

/// Handlers without files that SIGHUP opens again.
fn no_files(_: &ArgMatches) -> Result<Option<Watched>, Failure> {
    Ok(None)
}

#[cfg(feature = "http")]
fn access_log(options: &ArgMatches) -> Result<Option<Watched>, Failure> {
    HttpOptions::from_arg_matches(options)?.watched()
}

/// The descriptors of a client whose handler answers it when it needs a further descriptor and has
/// none.
fn one(_: &ArgMatches, _: bool) -> Result<usize, Failure> {
    Ok(1)
}

/// The descriptors of a client with a program, who is closed if one of them is lacking.
fn of_program(options: &ArgMatches, has_relay: bool) -> Result<usize, Failure> {
    Ok(ExecOptions::from_arg_matches(options)?.descriptors(has_relay))
}

/// A handler without options, made anew for each request.
fn default<H, R>(_: &ArgMatches, _: Option<&Url>) -> Result<Factory<R>, Failure>
where
    H: RequestHandler<R> + Default + 'static,
{
    Ok(Box::new(|| Box::new(H::default())))
}

#[cfg(feature = "http")]
fn http(options: &ArgMatches, _: Option<&Url>) -> Result<Factory<StreamRequest>, Failure> {
    HttpOptions::from_arg_matches(options)?.factory()
}

fn chat<R>(_: &ArgMatches, _: Option<&Url>) -> Result<Factory<R>, Failure>
where
    Chat: RequestHandler<R>,
{
    let chat = Chat::new(console::operator("reply> "));
    Ok(Box::new(move || Box::new(chat.clone())))
}

fn shell_over_streams(
    options: &ArgMatches,
    _: Option<&Url>,
) -> Result<Factory<StreamRequest>, Failure> {
    let limits = LimitOptions::from_arg_matches(options)?.limits();
    let framing = FramingOption::from_arg_matches(options)?.over_streams();
    let shell = Shell::default().limits(limits).framing(framing);
    Ok(Box::new(move || Box::new(shell)))
}

fn shell_over_datagrams(
    options: &ArgMatches,
    _: Option<&Url>,
) -> Result<Factory<DatagramRequest>, Failure> {
    FramingOption::from_arg_matches(options)?.over_datagrams()?;
    let limits = LimitOptions::from_arg_matches(options)?.limits();
    let shell = Shell::default().limits(limits);
    Ok(Box::new(move || Box::new(shell)))
}

fn command_source(_: &ArgMatches, _: Option<&Url>) -> Result<Factory<DatagramRequest>, Failure> {
    let command_source = CommandSource::new(console::operator("command> "));
    Ok(Box::new(move || Box::new(command_source.clone())))
}

fn none(command: Command) -> Command {
    command
}

#[cfg(feature = "http")]
fn http_options(command: Command) -> Command {
    HttpOptions::augment_args(command)
}

fn shell_options(command: Command) -> Command {
    LimitOptions::augment_args(FramingOption::augment_args(command))
}

impl Entry {
    /// The handler of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        HANDLERS.iter().find(|entry| entry.name == name)
    }

    /// The command that serves the handler, with the options that only this handler has.
    pub fn command(&self) -> Command {
        let command = Command::new(self.name).next_help_heading("Options of this handler");
        let command = self.exposure.add_options((self.options)(command));
        // `augment_args` sets these to the description of the options.
        command.about(self.summary).long_about(None)
    }

    /// Whether the handler has an operator at standard input.
    pub fn has_operator(&self) -> bool {
        !self.mixins.contains(&MixIn::Forking)
    }

    /// The schemes of the URLs on which the handler can be served.
    pub fn transports(&self) -> String {
        let stream = self.stream.is_some().then_some("tcp unix");
        let datagram = self.datagram.is_some().then_some("udp unixgram");
        Vec::from_iter(stream.into_iter().chain(datagram)).join(" ")
    }

    /// The handler at `url`.
    ///
    /// # Errors
    ///
    /// If the handler does not serve this transport, or this build has no TLS.
    pub fn at(&self, url: Url) -> Result<Service, Failure> {
        match (url, self.stream, self.datagram) {
            (Url::Stream(StreamUrl::Tls(_)), ..) if cfg!(not(feature = "tls")) => {
                Err(Failure::usage(
                    "this build of the command has no TLS; build it with the feature tls",
                ))
            }
            (Url::Stream(url), Some(service), _) => Ok(Service::Stream(url, service)),
            (Url::Datagram(url), _, Some(service)) => Ok(Service::Datagram(url, service)),
            (url, ..) => Err(Failure::usage(format!(
                "{} does not run over {}; choose one of: {}",
                self.name,
                url.scheme(),
                self.transports()
            ))),
        }
    }
}

/// A line per handler, in columns.
pub fn table() -> String {
    let mut table = String::new();
    for entry in HANDLERS {
        let (name, summary, address) = (entry.name, entry.summary, &entry.default_address);
        let transports = entry.transports();
        writeln!(table, "{name:10}  {transports:21}  {summary:60}  {address}")
            .expect("writing to a String succeeds");
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
