//! Serves one handler over any transports with any mix-in.

mod access;
mod admission;
mod bounds;
mod concurrency;
mod inetd;
mod layers;
mod listen;
mod listener;
#[cfg(feature = "metrics")]
mod metrics;
mod options;
#[cfg(feature = "proxy-protocol")]
mod proxy_protocol;
mod reload;
#[cfg(feature = "systemd")]
mod restart;
mod server_group;
mod shards;
mod site;
mod target;
#[cfg(feature = "tls")]
mod tls;
mod visitor;

use crate::failure::Failure;
#[cfg(feature = "systemd")]
use crate::passed_sockets::PassedSockets;
#[cfg(feature = "systemd")]
use crate::service_manager::ServiceManager;
use crate::stop::StopSignals;
use layers::Layers;
use listener::Listener;
#[cfg(feature = "systemd")]
use restart::Predecessor;
use server_group::ServerGroup;
use site::Site;

pub use options::{CommonOptions, Options};
pub use visitor::Visitor;

/// Serves until a signal arrives, or the visitor has had its reply, and the running requests have
/// ended.
pub fn serve(
    options: &Options,
    #[cfg(feature = "systemd")] mut passed: PassedSockets,
    visitor: Option<Visitor>,
) -> Result<(), Failure> {
    if options.common.inetd {
        let signals = StopSignals::catch().map_err(Failure::Signals)?;
        return inetd::serve(
            options,
            #[cfg(feature = "systemd")]
            passed,
            signals,
        );
    }
    // The signals come first, so that a signal ends the program even while a step waits, such as a
    // name look-up.
    #[cfg(feature = "systemd")]
    let caught = StopSignals::catch_with_restart();
    #[cfg(not(feature = "systemd"))]
    let caught = StopSignals::catch();
    let signals = caught.map_err(Failure::Signals)?;
    if let Some(user) = &options.common.user {
        user.permit()?;
    }
    #[cfg(feature = "systemd")]
    let predecessor = passed.take_predecessor().map(Predecessor::new);
    let places = options.places(
        #[cfg(feature = "systemd")]
        &mut passed,
        #[cfg(feature = "systemd")]
        predecessor.is_some(),
    )?;
    #[cfg(all(feature = "systemd", feature = "metrics"))]
    let metrics_socket = passed.take_metrics();
    #[cfg(feature = "systemd")]
    if let Some(left) = passed.left() {
        log::warn!("passed sockets are closed, because no --listen names them: {left}");
    }
    let urls = Vec::from_iter(places.iter().map(|place| place.url.clone()));
    let site = Site::new(options, &urls)?;
    let layers = Layers::new(options, &urls, site.exposure)?;
    let listeners = Listener::of(options, places, site.audience, &layers)?;
    let mut group = ServerGroup::new(
        site,
        layers.fork(),
        options.tracer.clone(),
        layers.files(),
        #[cfg(feature = "systemd")]
        ServiceManager::connect().map_err(Failure::Thread)?,
    );
    // After the check of all options, so that a wrong option binds no address.
    #[cfg(feature = "metrics")]
    if let Some(metrics) = options.common.metrics.bind(
        #[cfg(feature = "systemd")]
        metrics_socket,
    )? {
        group.show(metrics);
    }
    for listener in listeners {
        listener.bind(&layers, &mut group)?;
    }
    if let Some(user) = &options.common.user {
        user.assume()?;
    }
    group.serve(
        signals,
        visitor,
        #[cfg(feature = "systemd")]
        options,
        #[cfg(feature = "systemd")]
        predecessor,
    )
}
