//! The socket and the handlers of a server, parsed from the user's options.

use socketserver::{DatagramRequest, StreamRequest};

use super::options::Options;
use super::site::Site;
use crate::factory::Factory;
use crate::failure::Failure;
use crate::registry::Service;
use crate::stop::StopSignals;
use crate::url::{DatagramUrl, StreamUrl};

/// A socket that a server can open, and the handlers for its requests.
pub enum Target {
    Stream(StreamUrl, Factory<StreamRequest>),
    Datagram(DatagramUrl, Factory<DatagramRequest>),
}

impl Target {
    /// The target of these options, and the site where it is served.
    ///
    /// # Errors
    ///
    /// If the options contradict one another or the handler, or the key file has no key.
    pub fn new(options: &Options, signals: StopSignals) -> Result<(Self, Site), Failure> {
        let Options {
            handler,
            common,
            own,
        } = options;
        let url = common.listen.as_ref().unwrap_or(&handler.default_address);
        if common.all_addresses && url.host_port().is_none() {
            return Err(Failure::usage(format!(
                "--all-addresses is for the name of a host, and {} has none",
                url.scheme()
            )));
        }
        let service = handler.at(url.clone())?;
        let site = Site {
            url: url.clone(),
            all_addresses: common.all_addresses,
            bounds: common.bounds.over(url)?,
            exposure: handler.exposure.chosen(own)?,
            signals,
        };
        site.exposure.permit_url(url)?;
        let link = common.auth.link(url)?;
        let target = match service {
            Service::Stream(url, make_factory) => {
                let factory = make_factory(own)?;
                let guarded = match link {
                    Some(link) => link.guard(factory),
                    None => factory,
                };
                Self::Stream(url, guarded)
            }
            Service::Datagram(url, make_factory) => Self::Datagram(url, make_factory(own)?),
        };
        Ok((target, site))
    }
}
