//! The handlers that can be served, each under its name.

use std::fmt::Write;

use socketserver::{DatagramRequest, StreamRequest};
use socketserver_handlers::{Echo, Greeting, Hello, Time, Upper, UpperLoop};

use crate::boxed_handler::BoxedHandler;
use crate::url::Url;

/// Makes a handler of some kind for one request.
pub type Factory<R> = fn() -> BoxedHandler<R>;

/// A handler, and what the command knows about it.
#[derive(Debug)]
pub struct Entry {
    pub name: &'static str,
    /// What it does, in a few words.
    pub summary: &'static str,
    /// Where it is served unless the user says otherwise.
    pub default_address: Url,
    /// If it serves connections.
    pub stream: Option<Factory<StreamRequest>>,
    /// If it serves datagrams.
    pub datagram: Option<Factory<DatagramRequest>>,
}

/// Every handler; the ports are the tutorial's. `echo` is not in the tutorial, and its well-known
/// port, 7, is for privileged programs.
pub static HANDLERS: [Entry; 6] = [
    Entry {
        name: "echo",
        summary: "sends back what comes, until the client closes",
        default_address: Url::local_tcp(8007),
        stream: Some(|| BoxedHandler::new(Echo)),
        datagram: Some(|| BoxedHandler::new(Echo)),
    },
    Entry {
        name: "upper",
        summary: "sends one message back in upper case, and closes",
        default_address: Url::local_tcp(9999),
        stream: Some(|| BoxedHandler::new(Upper)),
        datagram: None,
    },
    Entry {
        name: "upper-loop",
        summary: "sends everything back in upper case, until the client closes",
        default_address: Url::local_tcp(9999),
        stream: Some(|| BoxedHandler::new(UpperLoop)),
        datagram: None,
    },
    Entry {
        name: "time",
        summary: "tells the local time in the strftime format that it is sent",
        default_address: Url::local_udp(9000),
        stream: Some(|| BoxedHandler::new(Time)),
        datagram: Some(|| BoxedHandler::new(Time)),
    },
    Entry {
        name: "greeting",
        summary: "greets a client that has said something, and closes",
        default_address: Url::local_tcp(8090),
        stream: Some(|| BoxedHandler::new(Greeting)),
        datagram: None,
    },
    Entry {
        name: "hello",
        summary: "logs one message, answers \"hi\", and closes",
        default_address: Url::local_tcp(8898),
        stream: Some(|| BoxedHandler::new(Hello)),
        datagram: Some(|| BoxedHandler::new(Hello)),
    },
];

impl Entry {
    /// The schemes of the URLs that it can be served on.
    pub fn transports(&self) -> String {
        let stream = self.stream.is_some().then_some("tcp unix");
        let datagram = self.datagram.is_some().then_some("udp unixgram");
        Vec::from_iter(stream.into_iter().chain(datagram)).join(" ")
    }
}

/// A line per handler, in columns.
pub fn table() -> String {
    let mut table = String::new();
    for entry in &HANDLERS {
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
        for entry in &HANDLERS {
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
        for entry in &HANDLERS {
            assert!(entry.name.len() <= 10);
            assert!(entry.transports().len() <= 21);
            assert!(entry.summary.len() <= 60);
        }
    }
}
