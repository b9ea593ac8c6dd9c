//! Serves one handler over any transport with any mix-in.

mod access;
mod bounds;
mod concurrency;
mod options;
mod site;
mod target;

use socketserver::{Serve, TcpServer, UdpServer, UnixDatagramServer, UnixStreamServer};
use socketserver_handlers::LoopLimit;

use crate::failure::Failure;
use crate::stop::StopSignals;
use crate::url::{DatagramUrl, StreamUrl};
use concurrency::Concurrency;
use target::Target;

pub use options::Options;

/// Datagrams are received up to this size, in bytes, which is more than UDP can carry.
const MAX_PACKET_SIZE: usize = 65_535;

/// Serves until a signal arrives and the running requests have ended.
pub fn serve(options: &Options) -> Result<(), Failure> {
    // First: a step that waits, such as a name look-up, does not hold the program at a signal.
    let signals = StopSignals::catch().map_err(Failure::Signals)?;
    let concurrency = Concurrency::new(options)?;
    let url = options.common.listen.as_ref();
    let url = url.unwrap_or(&options.handler.default_address);
    let access = options.common.access.over(url)?;
    let (target, site) = Target::new(options, signals)?;
    access.permit(site.audience, url)?;
    match target {
        Target::Stream(StreamUrl::Tcp(place), factory) => {
            concurrency.serve(TcpServer::new(site.inet_address(&place), factory), site)
        }
        Target::Stream(StreamUrl::Unix(path), factory) => {
            let mut server = UnixStreamServer::new(path, factory);
            if let Some(mode) = access.mode {
                server = server.mode(mode);
            }
            if let Some(group) = access.group {
                server = server.group(group);
            }
            concurrency.serve(server, site)
        }
        Target::Datagram(DatagramUrl::Udp(place), factory) => {
            let server = UdpServer::new(site.inet_address(&place), factory);
            let server = server.max_packet_size(MAX_PACKET_SIZE);
            concurrency.serve(server.mix_in(LoopLimit::new), site)
        }
        Target::Datagram(DatagramUrl::Unix(path), factory) => {
            let mut server = UnixDatagramServer::new(path, factory);
            if let Some(mode) = access.mode {
                server = server.mode(mode);
            }
            if let Some(group) = access.group {
                server = server.group(group);
            }
            let server = server.max_packet_size(MAX_PACKET_SIZE);
            concurrency.serve(server.mix_in(LoopLimit::new), site)
        }
    }
}
