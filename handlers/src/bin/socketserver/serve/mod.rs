//! Serves one handler over any transports with any mix-in.

mod access;
mod bounds;
mod concurrency;
mod layers;
mod listener;
mod options;
#[cfg(feature = "proxy-protocol")]
mod proxy_protocol;
mod reload;
mod server_group;
mod shards;
mod site;
mod target;
#[cfg(feature = "tls")]
mod tls;

use crate::failure::Failure;
use crate::stop::StopSignals;
use layers::Layers;
use listener::Listener;
use server_group::ServerGroup;
use site::Site;

pub use options::Options;

/// Serves until a signal arrives and the running requests have ended.
pub fn serve(options: &Options) -> Result<(), Failure> {
    // First: a step that waits, such as a name look-up, does not hold the program at a signal.
    let signals = StopSignals::catch().map_err(Failure::Signals)?;
    let urls = options.urls();
    let site = Site::new(options, &urls)?;
    let layers = Layers::new(options, &urls, site.exposure)?;
    let listeners = Listener::of(options, &urls, site.audience)?;
    let mut group = ServerGroup::new(site, layers.fork());
    for listener in listeners {
        listener.bind(&layers, &mut group)?;
    }
    group.serve(signals)
}
