//! The handlers of a server, made from the user's options.

use socketserver::{DatagramRequest, RequestHandler, StreamRequest, TraceHandler, Tracer};
use socketserver_handlers::auth::SameUser;

use super::options::Options;
use crate::auth_options::Link;
use crate::factory::Factory;
use crate::failure::Failure;
use crate::registry::Service;
use crate::remote::Audience;
use crate::url::{DatagramUrl, StreamUrl, Url};

/// A socket that a server can open, and the handlers for its requests.
pub enum Target {
    Stream(StreamUrl, Factory<StreamRequest>),
    Datagram(DatagramUrl, Factory<DatagramRequest>),
}

impl Target {
    /// The target of these options at one URL. `plain` is the same URL if what clients send there
    /// is not encrypted.
    ///
    /// # Errors
    ///
    /// If the options contradict the handler.
    pub fn new(
        options: &Options,
        url: &Url,
        plain: Option<&Url>,
        link: Option<&Link>,
        audience: Audience,
    ) -> Result<Self, Failure> {
        let Options {
            handler,
            own,
            tracer,
            ..
        } = options;
        let name = handler.name;
        match handler.at(url.clone())? {
            Service::Stream(url, make_factory) => {
                let factory = make_factory(own, plain)?;
                let guarded = match (link, audience) {
                    (Some(link), _) => link.clone().guard(factory),
                    (None, Audience::Everybody) => factory,
                    (None, Audience::SameUser) => same_user(factory),
                };
                Ok(Self::Stream(url, traced(guarded, name, tracer.as_ref())))
            }
            Service::Datagram(url, make_factory) => {
                let factory = make_factory(own, plain)?;
                let guarded = match audience {
                    Audience::Everybody => factory,
                    Audience::SameUser => same_user(factory),
                };
                Ok(Self::Datagram(url, traced(guarded, name, tracer.as_ref())))
            }
        }
    }
}

/// Serves only clients of the same user.
fn same_user<R>(factory: Factory<R>) -> Factory<R>
where
    R: 'static,
    SameUser<Box<dyn RequestHandler<R>>>: RequestHandler<R>,
{
    Box::new(move || Box::new(SameUser::new(factory())))
}

/// Shows the steps of the handlers, if there is a tracer.
fn traced<R>(factory: Factory<R>, name: &'static str, tracer: Option<&Tracer>) -> Factory<R>
where
    R: 'static,
    TraceHandler<Box<dyn RequestHandler<R>>>: RequestHandler<R>,
{
    match tracer.cloned() {
        None => factory,
        Some(tracer) => Box::new(move || {
            let handler = TraceHandler::new(factory()).tracer(&tracer);
            Box::new(handler.name(name))
        }),
    }
}
