//! The socket and the handlers of a server, parsed from the user's options.

use socketserver::{DatagramRequest, RequestHandler, StreamRequest};
use socketserver_handlers::auth::SameUser;

use super::options::Options;
use super::site::Site;
use crate::factory::Factory;
use crate::failure::Failure;
use crate::registry::Service;
use crate::remote::Audience;
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
        let link = common.auth.link(url)?;
        let site = Site {
            url: url.clone(),
            all_addresses: common.all_addresses,
            bounds: common.bounds.over(url, handler.progress_timeout)?,
            exposure: handler.exposure.chosen(own)?,
            audience: handler.exposure.audience(own, link.is_some())?,
            signals,
            reload: None,
        };
        site.exposure.permit_url(url)?;
        let audience = site.audience;
        let target = match service {
            Service::Stream(url, make_factory) => {
                let factory = make_factory(own)?;
                let guarded = match (link, audience) {
                    (Some(link), _) => link.guard(factory),
                    (None, Audience::Everybody) => factory,
                    (None, Audience::SameUser) => same_user(factory),
                };
                Self::Stream(url, guarded)
            }
            Service::Datagram(url, make_factory) => {
                let factory = make_factory(own)?;
                let guarded = match audience {
                    Audience::Everybody => factory,
                    Audience::SameUser => same_user(factory),
                };
                Self::Datagram(url, guarded)
            }
        };
        Ok((target, site))
    }
}

/// Lets the clients of the same user alone reach the handlers.
fn same_user<R>(factory: Factory<R>) -> Factory<R>
where
    R: 'static,
    SameUser<Box<dyn RequestHandler<R>>>: RequestHandler<R>,
{
    Box::new(move || Box::new(SameUser::new(factory())))
}
