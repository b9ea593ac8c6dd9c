//! The real clients of a server behind a proxy.

use clap::Args;
use socketserver::{BaseServer, ProxyProtocolMixIn, StreamRequest, TrustedNetwork};

use crate::failure::Failure;
use crate::remote::Exposure;
use crate::url::Url;

/// The options for a server behind a proxy.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of a server behind a proxy")]
pub struct ProxyOptions {
    /// Read a PROXY header, version 1 or 2, at the beginning of each connection
    ///
    /// For a server behind HAProxy or another proxy that sends the address of its client in such a
    /// header. Handlers, the log and the limit per address then have the address of the client, and
    /// not that of the proxy. Example: --proxy-protocol --trust 10.0.0.5
    ///
    /// The server closes connections that come from no address of --trust, or have no header within
    /// five seconds. Health checks of the proxy start no handler.
    #[arg(long)]
    proxy_protocol: bool,

    /// Network or address of a proxy whose PROXY headers are believed, such as 10.0.0.0/8, or
    /// "unix"
    ///
    /// May be given several times. "unix" means every proxy that can connect to the Unix socket.
    /// Trust proxies alone: everybody who connects from a trusted address can name any address as
    /// that of its client.
    #[arg(long, value_name = "NETWORK", value_parser = trusted)]
    trust: Vec<Trusted>,
}

/// A proxy whose headers are believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trusted {
    Network(TrustedNetwork),
    Unix,
}

/// The proxies before a server.
#[derive(Debug, Clone)]
pub struct Proxies(Vec<Trusted>);

fn trusted(text: &str) -> Result<Trusted, String> {
    if text == "unix" {
        return Ok(Trusted::Unix);
    }
    match text.parse() {
        Ok(network) => Ok(Trusted::Network(network)),
        Err(error) => Err(format!("{error}, or \"unix\"")),
    }
}

impl ProxyOptions {
    /// Whether connections begin with a header.
    pub fn is_given(&self) -> bool {
        self.proxy_protocol
    }

    /// The proxies before the servers of connections among `urls`; `None` if the clients connect
    /// themselves.
    ///
    /// # Errors
    ///
    /// If one of the two options is given without the other, if no trusted proxy can connect to one
    /// of `urls`, or if the handler is for clients of this machine alone.
    pub fn over(&self, urls: &[Url], exposure: Exposure) -> Result<Option<Proxies>, Failure> {
        if !self.proxy_protocol {
            return match self.trust.is_empty() {
                true => Ok(None),
                false => Err(Failure::usage(
                    "--trust is for the PROXY headers of proxies; give --proxy-protocol too",
                )),
            };
        }
        let with_connections = Vec::from_iter(urls.iter().filter(|url| url.has_connections()));
        if let (true, Some(url)) = (with_connections.is_empty(), urls.first()) {
            return Err(Failure::no_connections("--proxy-protocol", url));
        }
        let is_trusted = |is_unix| {
            let may_connect = |trusted: &Trusted| (*trusted == Trusted::Unix) == is_unix;
            self.trust.iter().any(may_connect)
        };
        let mut kinds = with_connections
            .into_iter()
            .map(|url| url.unix_path().is_some());
        if let Some(is_unix) = kinds.find(|is_unix| !is_trusted(*is_unix)) {
            return Err(Failure::usage(match is_unix {
                true => {
                    "--proxy-protocol over a Unix socket needs --trust unix, without which \
                         every connection is closed"
                }
                false => {
                    "--proxy-protocol needs the networks of the proxies, without which every \
                          connection is closed; give --trust, such as --trust 127.0.0.1"
                }
            }));
        }
        if let Exposure::ThisMachine(reason) = exposure {
            return Err(Failure::usage(format!(
                "--proxy-protocol lets clients of other machines in, through the proxy, and \
                 {reason}; give --allow-remote if that is what you want"
            )));
        }
        Ok(Some(Proxies(self.trust.clone())))
    }
}

impl Proxies {
    /// Puts the layer that learns the real clients around `inside`.
    pub fn before<S>(self, inside: S) -> ProxyProtocolMixIn<S>
    where
        S: BaseServer<Request = StreamRequest>,
    {
        let layer = ProxyProtocolMixIn::new(inside);
        self.0
            .into_iter()
            .fold(layer, |layer, trusted| match trusted {
                Trusted::Network(network) => layer.trust(network),
                Trusted::Unix => layer.trust_unix(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trusted_proxy_is_a_network_an_address_or_every_unix_client() {
        assert_eq!(trusted("unix"), Ok(Trusted::Unix));
        let network = "10.0.0.0/8".parse().unwrap();
        assert_eq!(trusted("10.0.0.0/8"), Ok(Trusted::Network(network)));
        let error = trusted("haproxy").unwrap_err();
        assert!(
            error.contains("10.0.0.0/8") && error.contains("unix"),
            "{error}"
        );
    }
}
