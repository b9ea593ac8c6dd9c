//! One message, for a server in the same program.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use super::connection::Connector;
use super::datagrams::Datagrams;
use crate::auth_options::Link;
use crate::failure::{Failure, Problem};
use crate::url::Url;

/// How long each wait for the server may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The most bytes of a reply.
const LONGEST_REPLY: u64 = 1 << 20;

/// A message and its server. The connection is not encrypted.
#[derive(Debug)]
pub struct Message<'a> {
    pub url: &'a Url,
    pub link: Option<Link>,
    pub text: String,
}

/// Sends the message, and returns the reply: over a stream everything until the server closes, at
/// most a mebibyte, and over datagrams one datagram.
///
/// # Errors
///
/// If no server answers, the server closes before it has answered, or no answer arrives within ten
/// seconds.
pub fn send(message: Message<'_>) -> Result<Vec<u8>, Failure> {
    let Message { url, link, text } = message;
    let bytes = text.as_bytes();
    match url {
        Url::Datagram(place) => {
            let server = Datagrams::to(place, TIMEOUT);
            let reply = server.and_then(|server| server.exchange(bytes, TIMEOUT));
            reply.map_err(|problem| problem.at(url))
        }
        Url::Stream(place) => {
            let connector = Connector {
                url: place.clone(),
                link,
                #[cfg(feature = "tls")]
                tls: None,
                timeout: TIMEOUT,
            };
            let reply = exchange(&connector, bytes);
            reply.map_err(|problem| connector.failure(problem))
        }
    }
}

fn exchange(connector: &Connector, message: &[u8]) -> Result<Vec<u8>, Problem> {
    let mut connection = connector.connect()?;
    connection.write_all(message)?;
    match connection.end_output() {
        // The server has closed, and its reply may have arrived already.
        Err(error) if error.kind() == ErrorKind::NotConnected => {}
        ended => ended?,
    }
    let mut reply = Vec::new();
    connection.take(LONGEST_REPLY).read_to_end(&mut reply)?;
    Ok(reply)
}
