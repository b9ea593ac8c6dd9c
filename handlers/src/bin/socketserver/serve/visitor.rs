//! A client that comes from the program itself, once its servers are ready.

use socketserver::ServersHandle;

use crate::url::Url;

/// Visits the server at the URL, and may stop the servers after that. Called in a thread of its
/// own.
pub type Visitor = Box<dyn FnOnce(&Url, &ServersHandle) + Send>;
