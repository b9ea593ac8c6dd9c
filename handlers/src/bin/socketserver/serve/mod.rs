//! Serves one handler over any transport with any mix-in.

mod access;
mod bounds;
mod concurrency;
mod options;
#[cfg(feature = "proxy-protocol")]
mod proxy_protocol;
mod reload;
mod site;
mod target;
#[cfg(feature = "tls")]
mod tls;

#[cfg(feature = "tls")]
use socketserver::TlsConfig;
use socketserver::{
    BaseServer, Serve, StreamRequest, TcpServer, UdpServer, UnixDatagramServer, UnixStreamServer,
};
use socketserver_handlers::LoopLimit;

use crate::failure::Failure;
use crate::stop::StopSignals;
use crate::url::{DatagramUrl, StreamUrl};
use concurrency::Concurrency;
#[cfg(feature = "proxy-protocol")]
use proxy_protocol::Proxies;
use site::Site;
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
    let layers = StreamLayers {
        #[cfg(feature = "proxy-protocol")]
        proxies: options.common.proxy.over(url, site.exposure)?,
        #[cfg(feature = "tls")]
        tls: options.common.tls.load(url)?,
        concurrency,
    };
    match target {
        Target::Stream(StreamUrl::Tcp(place), factory) => {
            layers.serve(TcpServer::new(site.inet_address(&place), factory), site)
        }
        Target::Stream(StreamUrl::Unix(path), factory) => {
            let mut server = UnixStreamServer::new(path, factory);
            if let Some(mode) = access.mode {
                server = server.mode(mode);
            }
            if let Some(group) = access.group {
                server = server.group(group);
            }
            layers.serve(server, site)
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

/// The layers around the bottom layer of a server of connections.
struct StreamLayers {
    #[cfg(feature = "proxy-protocol")]
    proxies: Option<Proxies>,
    #[cfg(feature = "tls")]
    tls: Option<TlsConfig>,
    concurrency: Concurrency,
}

impl StreamLayers {
    fn serve<S>(self, bottom: S, site: Site) -> Result<(), Failure>
    where
        S: BaseServer<Request = StreamRequest>,
    {
        #[cfg(feature = "tls")]
        if let Some(config) = &self.tls {
            let reload = reload::Reload::default();
            let encrypted = tls::encrypt(bottom, config.clone(), reload.clone());
            let reload = Some(reload);
            return self.serve_behind_proxies(encrypted, Site { reload, ..site });
        }
        self.serve_behind_proxies(bottom, site)
    }

    /// A proxy's header comes before the encryption.
    fn serve_behind_proxies<S>(self, inner: S, site: Site) -> Result<(), Failure>
    where
        S: BaseServer<Request = StreamRequest>,
    {
        #[cfg(feature = "proxy-protocol")]
        if let Some(proxies) = self.proxies {
            return self.concurrency.serve(proxies.before(inner), site);
        }
        self.concurrency.serve(inner, site)
    }
}
