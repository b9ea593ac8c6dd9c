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
/// # let directory = support::short_paths::directory();
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
    /// Returns the errors of [`Serve::bind`].
    pub fn bind(path: impl Into<PathBuf>, handler_factory: F) -> Result<Server<Self>, Error> {
        Serve::bind(Self::new(path, handler_factory))
    }

    /// Makes a bottom layer over a socket that is bound already, as [`TcpServer::from_listener`]
    /// does. The server does not remove the socket's file: the program that has made the socket
    /// removes the file. [`remove_file`](Self::remove_file) changes that.
    pub fn from_listener(listener: UnixListener, handler_factory: F) -> Self {
        let next = TcpServer::given(listener.into(), handler_factory);
        Self { next }
    }

    /// Sets whether the server removes the file of a given socket when it is closed; false unless
    /// set. The successor in a restart sets this option, after the predecessor has
    /// [handed the socket over](crate::ServerHandle::hand_over). A server whose loop has never run
    /// leaves the file. A server that has made its socket itself removes the file in any case.
    /// Python has no counterpart.
    pub fn remove_file(mut self, remove: bool) -> Self {
        *self.next.owns_file() = remove;
        self
    }

    /// Sets the length of the backlog: see [`TcpServer::request_queue_size`].
    pub fn request_queue_size(mut self, size: u32) -> Self {
        self.next = self.next.request_queue_size(size);
        self
    }

    /// Sets the mode of the socket's file, such as `0o660`, which decides who may connect. Without
    /// this call the umask decides, as in Python.
    ///
    /// On Linux, bind(2) makes the file with this mode less the umask, and the server sets the rest
    /// before it listens. So the file never permits more than the mode does. The umask, which
    /// belongs to the whole process, is not changed. On another system the file has the mode that
    /// the umask leaves until the server sets this mode, still before it listens.
    ///
    /// [`bind`](crate::Serve::bind) fails with [`Error::SetOption`] if the mode has more than three
    /// octal digits, or if the socket is [given](Self::from_listener) or has an abstract name.
    /// `bind` fails with [`Error::SocketFile`] if the system refuses the mode.
    ///
    /// ```
    /// use std::os::unix::fs::MetadataExt;
    /// use socketserver::{Serve, UnixStreamServer};
    /// # use socketserver::{HandlerResult, RequestHandler, StreamRequest};
    /// # struct Nothing;
    /// # impl RequestHandler for Nothing {
    /// #     fn handle(&mut self, _: &mut StreamRequest) -> HandlerResult { Ok(()) }
    /// # }
    /// # let directory = support::short_paths::directory();
    /// # let path = directory.path().join("socket");
    /// let server = UnixStreamServer::new(&path, || Nothing).mode(0o660).bind()?;
    /// assert_eq!(std::fs::metadata(&path)?.mode() & 0o777, 0o660);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "chmod")]
    pub fn mode(mut self, mode: u32) -> Self {
        self.next.file_access().mode = Some(mode);
        self
    }

    /// Sets the group that the socket's file belongs to, by its number. Without this call the
    /// system decides: the group of the process, or that of the directory.
    ///
    /// The server sets the group before it listens. With a [`mode`](Self::mode), the former group
    /// has no right to the file at any time.
    ///
    /// [`bind`](crate::Serve::bind) fails with [`Error::SocketFile`] if the process may not give
    /// the file to the group: only members of the group and privileged processes may. `bind` fails
    /// with [`Error::SetOption`] as for [`mode`](Self::mode).
    #[doc(alias = "chown")]
    pub fn group(mut self, group_id: u32) -> Self {
        self.next.file_access().group = Some(group_id);
        self
    }
}

impl<F: HandlerFactory<StreamRequest>> MixIn for UnixStreamServer<F> {
    type Next = TcpServer<F>;

    fn next(&self) -> &TcpServer<F> {
        &self.next
    }
}
