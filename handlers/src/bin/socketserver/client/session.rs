//! A user's session with a server, over connections or datagrams.

use std::time::Duration;

use super::connection::Connector;
use super::conversation::converse;
use super::datagrams::Datagrams;
use super::link_options::LinkOptions;
use super::programs::{Connections, Program, User};
use crate::failure::Failure;
use crate::url::{DatagramUrl, Url};

/// A user's session with a server.
#[derive(Debug)]
pub enum Session {
    Stream(Connector),
    Datagram { url: DatagramUrl, timeout: Duration },
}

impl Session {
    /// A session with the server at `url`. `timeout` bounds each exchange.
    ///
    /// # Errors
    ///
    /// If the options ask for a link over datagrams, or a file has no key.
    pub fn new(url: Url, timeout: Duration, options: &LinkOptions) -> Result<Self, Failure> {
        let link = options.auth.link(&url)?;
        #[cfg(feature = "tls")]
        let tls = options.tls.load(&url)?;
        Ok(match url {
            Url::Stream(url) => Self::Stream(Connector {
                url,
                link,
                #[cfg(feature = "tls")]
                tls,
                timeout,
            }),
            Url::Datagram(url) => Self::Datagram { url, timeout },
        })
    }

    /// Connects the user with the server, as `program` defines.
    pub fn run(&self, program: &Program<'_>) -> Result<(), Failure> {
        let user = &mut User::here();
        let (prompt, rule) = (program.prompt, program.lines);
        match self {
            Self::Stream(connector) => {
                let rule = rule.over_stream();
                let done = match program.connections {
                    Connections::PerSession => connector.connect().and_then(|stream| {
                        converse(user, prompt, rule, (program.exchange)(stream))
                    }),
                    Connections::PerLine => converse(user, prompt, rule, |user, message| {
                        let mut exchange = (program.exchange)(connector.connect()?);
                        exchange(user, message)
                    }),
                };
                done.map_err(|problem| connector.failure(problem))
            }
            Self::Datagram { url, timeout } => {
                let done = Datagrams::to(url, *timeout).and_then(|server| {
                    converse(user, prompt, rule, |user, message| {
                        (program.show)(user, &server.exchange(message, *timeout)?)
                    })
                });
                done.map_err(|problem| problem.at(&url.clone().into()))
            }
        }
    }
}
