//! A client in the program itself, which connects when the servers are ready.

use socketserver::ServersHandle;

use crate::url::Url;

/// Connects to the server at the URL, and may stop the servers after that. The function runs in its
/// own thread.
pub type Visitor = Box<dyn FnOnce(&Url, &ServersHandle) + Send>;
