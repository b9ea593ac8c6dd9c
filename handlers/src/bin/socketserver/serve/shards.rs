//! Several sockets at one address, between which the kernel divides the clients.

use socketserver::{
    Address, InetAddress, Serve, TcpServer, UdpServer, datagram_handler_fn, handler_fn,
};

use crate::failure::Failure;
use crate::url::{HostPort, Url};

/// The address of a number of servers.
#[derive(Debug)]
pub struct Shards {
    address: InetAddress,
    left: u16,
    /// Whether there are several servers, which share the address with `SO_REUSEPORT`.
    pub share: bool,
}

impl Shards {
    /// `count` servers at this place of `url`: on every address of the host, if `every` is set.
    ///
    /// # Errors
    ///
    /// If another program has the address. Without this check, two programs of one user could share
    /// a port by mistake.
    pub fn new(url: &Url, place: &HostPort, every: bool, count: u16) -> Result<Self, Failure> {
        let address = match every || place.is_localhost() {
            true => InetAddress::all(place.inet_address()),
            false => place.inet_address(),
        };
        let share = count > 1;
        if share && place.port() != 0 {
            match url.has_connections() {
                true => {
                    TcpServer::new(address.clone(), handler_fn(|_| Ok(())))
                        .into_server()?
                        .server_bind()?;
                }
                false => {
                    UdpServer::new(address.clone(), datagram_handler_fn(|_| Ok(())))
                        .into_server()?
                        .server_bind()?;
                }
            }
        }
        Ok(Self {
            address,
            left: count,
            share,
        })
    }

    /// The address for the next server, unless there is no further one.
    pub fn next(&mut self) -> Option<InetAddress> {
        self.left = self.left.checked_sub(1)?;
        Some(self.address.clone())
    }

    /// Makes the further servers listen where the first server listens, whose port the system may
    /// have chosen.
    pub fn follow(&mut self, bound: &[Address]) {
        let inet = bound.iter().filter_map(|address| match address {
            Address::Inet(address) => Some(*address),
            _ => None,
        });
        self.address = Vec::from_iter(inet).into();
    }
}
