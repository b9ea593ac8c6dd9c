//! One URL on which the handler is served.

use socketserver::{TcpServer, UdpServer, UnixDatagramServer, UnixStreamServer};

use super::access::Access;
use super::layers::Layers;
use super::options::{CommonOptions, Options};
use super::server_group::ServerGroup;
use super::shards::Shards;
use super::target::Target;
use crate::failure::Failure;
use crate::remote::Audience;
use crate::url::{DatagramUrl, StreamUrl, Url};

/// Datagrams are received up to this size, in bytes, which is more than UDP can carry.
const MAX_PACKET_SIZE: usize = 65_535;

/// A URL, and the handlers for each server there.
pub struct Listener {
    url: Url,
    /// The handlers of each server: several with `--shards`.
    targets: Vec<Target>,
    access: Access,
    /// Whether to listen on every address of the host.
    every_address: bool,
}

impl Listener {
    /// The listeners of these options.
    ///
    /// # Errors
    ///
    /// If the options contradict one another or the handler, or the key file has no key.
    pub fn of(options: &Options, urls: &[Url], audience: Audience) -> Result<Vec<Self>, Failure> {
        let CommonOptions {
            access,
            auth,
            all_addresses,
            shards,
            ..
        } = &options.common;
        let has_host = |url: &Url| url.host_port().is_some();
        if shards.is_some() && !urls.iter().any(has_host) {
            return Err(Failure::usage(
                "--shards is for tcp://, tls:// and udp://; a Unix socket cannot be shared",
            ));
        }
        let link = auth.link_over(urls)?;
        let access = access.over(urls)?;
        let listener = |url: &Url| {
            access.permit(audience, url)?;
            let count = shards.filter(|_| has_host(url)).unwrap_or(1);
            let target = |_| Target::new(options, url, link.as_ref(), audience);
            Ok(Self {
                url: url.clone(),
                targets: (0..count).map(target).collect::<Result<_, Failure>>()?,
                access: access.at(url),
                every_address: *all_addresses,
            })
        };
        urls.iter().map(listener).collect()
    }

    /// Binds each server, which joins the group.
    pub fn bind(self, layers: &Layers, group: &mut ServerGroup) -> Result<(), Failure> {
        let (url, access) = (&self.url, self.access);
        let mut shards = match url.host_port() {
            None => None,
            Some(place) => {
                let count = u16::try_from(self.targets.len()).unwrap_or(u16::MAX);
                Some(Shards::new(url, place, self.every_address, count)?)
            }
        };
        for target in self.targets {
            let share = shards.as_ref().is_some_and(|shards| shards.share);
            let address = shards.as_mut().and_then(Shards::next);
            let bound = match (target, address) {
                (Target::Stream(StreamUrl::Tcp(_) | StreamUrl::Tls(_), factory), Some(address)) => {
                    let server = TcpServer::new(address, factory).allow_reuse_port(share);
                    layers.over_stream(server, url, group)
                }
                (Target::Datagram(DatagramUrl::Udp(_), factory), Some(address)) => {
                    let server = UdpServer::new(address, factory).allow_reuse_port(share);
                    let server = server.max_packet_size(MAX_PACKET_SIZE);
                    layers.over_datagrams(server, url, group)
                }
                (Target::Stream(StreamUrl::Unix(path), factory), _) => {
                    let mut server = UnixStreamServer::new(path, factory);
                    if let Some(mode) = access.mode {
                        server = server.mode(mode);
                    }
                    if let Some(owner) = access.group {
                        server = server.group(owner);
                    }
                    layers.over_stream(server, url, group)
                }
                (Target::Datagram(DatagramUrl::Unix(path), factory), _) => {
                    let mut server = UnixDatagramServer::new(path, factory);
                    if let Some(mode) = access.mode {
                        server = server.mode(mode);
                    }
                    if let Some(owner) = access.group {
                        server = server.group(owner);
                    }
                    let server = server.max_packet_size(MAX_PACKET_SIZE);
                    layers.over_datagrams(server, url, group)
                }
                (_, None) => unreachable!("each URL of a host has as many addresses as targets"),
            }?;
            if let Some(shards) = &mut shards {
                shards.follow(&bound);
            }
        }
        Ok(())
    }
}
