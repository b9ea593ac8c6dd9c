//! One handler over one kind of transport.

use std::fmt;

use socketserver::RequestHandler;

use crate::boxed_handler::BoxedHandler;
use crate::handler_options::HandlerOptions;
use crate::serve::Failure;

/// Makes a handler for each request.
pub type Factory<R> = Box<dyn Fn() -> BoxedHandler<R> + Send + Sync>;

/// How a handler is made ready to serve requests `R`.
pub struct Service<R> {
    /// Makes the factory, once per server, of the user's options: what all requests share, such as
    /// the operator at standard input, is made here.
    pub factory: fn(&HandlerOptions) -> Result<Factory<R>, Failure>,
    /// The options of [`HandlerOptions`] that it has a use for, by their long names. Every other one
    /// is refused.
    pub options: &'static [&'static str],
}

impl<R: 'static> Service<R> {
    /// A handler without options, made anew for each request.
    pub const fn of<H: RequestHandler<R> + Default + 'static>() -> Self {
        Self {
            factory: |_| Ok(Box::new(|| BoxedHandler::new(H::default()))),
            options: &[],
        }
    }
}

impl<R> fmt::Debug for Service<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = self.options;
        f.debug_struct("Service")
            .field("options", &options)
            .finish_non_exhaustive()
    }
}
