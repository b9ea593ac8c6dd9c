//! The bottom layer over Unix stream sockets.

use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use crate::mix_in::MixIn;
use crate::request_handler::HandlerFactory;
use crate::requests::stream_request::StreamRequest;
use crate::server::{Serve, Server};
use crate::servers::tcp::TcpServer;
use crate::values::error::Error;

/// Serves the connections of a Unix stream socket, one at a time unless a mix-in is around it.
///
/// Python's `UnixStreamServer`, which derives from `TCPServer`; here it is a layer over
/// [`TcpServer`]. The differences are the address and its file: the server removes its file when it
/// is closed, and replaces a file that a killed server has left behind. Python does neither. A path
/// that begins with a NUL byte is a name in Linux's abstract namespace, without a file.
///
/// ```
/// use socketserver::{Serve, UnixStreamServer};
/// # use socketserver::{HandlerResult, RequestHandler, StreamRequest};
/// # struct Nothing;
/// # impl RequestHandler for Nothing {
/// #     fn handle(&mut self, _: &mut StreamRequest) -> HandlerResult { Ok(()) }
/// # }
/// # let directory = tempfile::tempdir().unwrap();
/// # let path = directory.path().join("socket");
/// let server = UnixStreamServer::new(&path, || Nothing).bind()?;
/// assert!(path.exists());
/// server.server_close();
/// assert!(!path.exists());
/// # Ok::<(), socketserver::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a layer does nothing until `bind` makes a server of the stack"]
pub struct UnixStreamServer<F> {
    next: TcpServer<F>,
}

impl<F: HandlerFactory<StreamRequest>> UnixStreamServer<F> {
    /// Makes a bottom layer that is to listen on `path`, and makes its handlers with
    /// `handler_factory`.
    ///
    /// [`bind`](crate::Serve::bind) creates the socket, so this cannot fail.
    pub fn new(path: impl Into<PathBuf>, handler_factory: F) -> Self {
        let next = TcpServer::unix(path.into(), handler_factory);
        Self { next }
    }

    /// Makes a server of this layer alone, with the default options, bound and listening:
    /// `UnixStreamServer::bind("example.sock", Handler::default)`. Python's constructor.
    ///
    /// For other options, and for a mix-in, begin with [`new`](Self::new), and end with the method
    /// [`bind`](Serve::bind) of the trait [`Serve`], which has to be in scope.
    ///
    /// # Errors
    ///
    /// Those of [`Serve::bind`].
    pub fn bind(path: impl Into<PathBuf>, handler_factory: F) -> Result<Server<Self>, Error> {
        Serve::bind(Self::new(path, handler_factory))
    }

    /// Makes a bottom layer over a socket that is bound already, as
    /// [`TcpServer::from_listener`] does. The server never removes the socket's file: whoever has
    /// made the socket does.
    pub fn from_listener(listener: UnixListener, handler_factory: F) -> Self {
        let next = TcpServer::given(listener.into(), handler_factory);
        Self { next }
    }

    /// As [`TcpServer::request_queue_size`].
    pub fn request_queue_size(mut self, size: u32) -> Self {
        self.next = self.next.request_queue_size(size);
        self
    }
}

impl<F: HandlerFactory<StreamRequest>> MixIn for UnixStreamServer<F> {
    type Next = TcpServer<F>;

    fn next(&self) -> &TcpServer<F> {
        &self.next
    }
}
