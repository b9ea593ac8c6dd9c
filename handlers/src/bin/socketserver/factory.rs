//! The factory of a handler whose type is known at run time only.

use socketserver::RequestHandler;

/// Makes a handler for each request. One server type serves every entry of the registry.
pub type Factory<R> = Box<dyn Fn() -> Box<dyn RequestHandler<R>> + Send + Sync>;
