//! One URL on which the handler is served.

use std::os::fd::OwnedFd;

use socketserver::{TcpServer, UdpServer, UnixDatagramServer, UnixStreamServer};

use super::access::Access;
use super::layers::Layers;
use super::listen::Place;
use super::options::{CommonOptions, Options};
use super::server_group::ServerGroup;
use super::shards::Shards;
use super::target::Target;
use crate::failure::Failure;
use crate::remote::Audience;
use crate::url::{DatagramUrl, StreamUrl, Url};

/// Datagrams are received up to this size, in bytes, which is more than UDP can carry.
pub const MAX_PACKET_SIZE: usize = 65_535;

/// A URL, and the handlers for each server there.
pub struct Listener {
    url: Url,
    /// The socket, if it is open already.
    socket: Option<OwnedFd>,
    /// Whether the server removes the file of a Unix socket that is open already.
    owns_file: bool,
    /// The place of its `--listen` on the command line.
    index: usize,
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
    pub fn of(
        options: &Options,
        places: Vec<Place>,
        audience: Audience,
        layers: &Layers,
    ) -> Result<Vec<Self>, Failure> {
        let CommonOptions {
            access,
            auth,
            all_addresses,
            shards,
            ..
        } = &options.common;
        let can_share = |place: &Place| !place.is_foreign && place.url.host_port().is_some();
        if shards.is_some() && !places.iter().any(can_share) {
            return Err(Failure::usage(
                "--shards is for tcp://, tls:// and udp://; a Unix socket, or a socket that is \
                 open already, cannot be shared",
            ));
        }
        let urls = |places: &mut dyn Iterator<Item = &Place>| {
            Vec::from_iter(places.map(|place| place.url.clone()))
        };
        let link = auth.link_over(&urls(&mut places.iter()))?;
        let unbound = &mut places.iter().filter(|place| !place.is_foreign);
        let access = access.over(&urls(unbound))?;
        let listener = |place: Place| {
            let access = match &place.socket {
                None => access.at(&place.url),
                Some(_) => Access::of_file(&place.url),
            };
            access.permit(audience, &place.url)?;
            let count = match &place.socket {
                None => shards.filter(|_| can_share(&place)).unwrap_or(1),
                Some(_) => 1,
            };
            #[cfg(feature = "tls")]
            let plain = Some(&place.url).filter(|url| !layers.encrypt(url));
            #[cfg(not(feature = "tls"))]
            let plain = Some(&place.url);
            let target = |_| Target::new(options, &place.url, plain, link.as_ref(), audience);
            Ok(Self {
                targets: (0..count).map(target).collect::<Result<_, Failure>>()?,
                url: place.url,
                socket: place.socket,
                owns_file: !place.is_foreign,
                index: place.listener,
                access,
                every_address: *all_addresses,
            })
        };
        places.into_iter().map(listener).collect()
    }

    /// Binds each server, which joins the group.
    pub fn bind(self, layers: &Layers, group: &mut ServerGroup) -> Result<(), Failure> {
        group.begin(self.index);
        if let Some(socket) = self.socket {
            let owns_file = self.owns_file;
            let mut each = self.targets.into_iter().zip([socket]);
            return each.try_for_each(|(target, socket)| {
                serve_on(socket, owns_file, target, &self.url, layers, group)
            });
        }
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

/// Serves on a socket that is open already.
fn serve_on(
    socket: OwnedFd,
    owns_file: bool,
    target: Target,
    url: &Url,
    layers: &Layers,
    group: &mut ServerGroup,
) -> Result<(), Failure> {
    match target {
        Target::Stream(StreamUrl::Tcp(_) | StreamUrl::Tls(_), factory) => {
            let server = TcpServer::from_listener(socket.into(), factory);
            layers.over_stream(server, url, group)
        }
        Target::Stream(StreamUrl::Unix(_), factory) => {
            let server = UnixStreamServer::from_listener(socket.into(), factory);
            let server = server.remove_file(owns_file);
            layers.over_stream(server, url, group)
        }
        Target::Datagram(DatagramUrl::Udp(_), factory) => {
            let server = UdpServer::from_socket(socket.into(), factory);
            let server = server.max_packet_size(MAX_PACKET_SIZE);
            layers.over_datagrams(server, url, group)
        }
        Target::Datagram(DatagramUrl::Unix(_), factory) => {
            let server = UnixDatagramServer::from_socket(socket.into(), factory);
            let server = server
                .remove_file(owns_file)
                .max_packet_size(MAX_PACKET_SIZE);
            layers.over_datagrams(server, url, group)
        }
    }?;
    Ok(())
}
