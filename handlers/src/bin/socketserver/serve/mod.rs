//! Serves one handler over any transport with any mix-in.

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
    let (target, site) = Target::new(options, signals)?;
    match target {
        Target::Stream(StreamUrl::Tcp(place), factory) => {
            concurrency.serve(TcpServer::new(site.inet_address(&place), factory), site)
        }
        Target::Stream(StreamUrl::Unix(path), factory) => {
            concurrency.serve(UnixStreamServer::new(path, factory), site)
        }
        Target::Datagram(DatagramUrl::Udp(place), factory) => {
            let server = UdpServer::new(site.inet_address(&place), factory);
            let server = server.max_packet_size(MAX_PACKET_SIZE);
            concurrency.serve(server.mix_in(LoopLimit::new), site)
        }
        Target::Datagram(DatagramUrl::Unix(path), factory) => {
            let server = UnixDatagramServer::new(path, factory);
            let server = server.max_packet_size(MAX_PACKET_SIZE);
            concurrency.serve(server.mix_in(LoopLimit::new), site)
        }
    }
}
