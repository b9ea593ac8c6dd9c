//! Requests of connections that the server has not accepted itself.

use std::io;
use std::os::fd::OwnedFd;

use socket2::{SockRef, Type};

use crate::base_server::BaseServer;
use crate::requests::stream_request::StreamRequest;
use crate::server::Server;
use crate::transport::socket_address::from_sockaddr;

impl<S: BaseServer<Request = StreamRequest>> Server<S> {
    /// Makes a request of a connection that the server has not accepted itself, for
    /// [`serve`](Self::serve). `connection` is a `TcpStream`, a `UnixStream` or any other connected
    /// stream socket, such as standard input under inetd.
    ///
    /// The request owns the descriptor from now on, in blocking mode and with `FD_CLOEXEC`, and
    /// counts as running. In Python a program calls `process_request(connection, address)` itself.
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use std::net::{TcpListener, TcpStream};
    /// use socketserver::{Serve, TcpServer, handler_fn};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let mut client = TcpStream::connect(listener.local_addr()?)?;
    ///
    /// let server = TcpServer::without_listener(handler_fn(|r| Ok(r.write_all(b"hi")?))).bind()?;
    /// let (connection, _) = listener.accept()?;
    /// server.serve(server.accepted(connection)?)?;
    ///
    /// let mut answer = String::new();
    /// client.read_to_string(&mut answer)?;
    /// assert_eq!(answer, "hi");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the descriptor is not a connected stream socket, or the client has left. In both cases
    /// the descriptor is closed.
    pub fn accepted(&self, connection: impl Into<OwnedFd>) -> io::Result<StreamRequest> {
        let connection = connection.into();
        let socket = SockRef::from(&connection);
        let needs = |error: io::Error| {
            let what = format!("a connection must be a connected stream socket: {error}");
            io::Error::new(error.kind(), what)
        };
        let kind = socket.r#type().map_err(needs)?;
        if kind != Type::STREAM {
            let error = format!("its type is {kind:?}");
            return Err(needs(io::Error::new(io::ErrorKind::InvalidInput, error)));
        }
        let client = from_sockaddr(&socket.peer_addr().map_err(needs)?);
        socket.set_cloexec(true)?;
        socket.set_nonblocking(false)?;
        let handle = self.stack().layer_handle();
        Ok(StreamRequest::from_socket(connection, client, handle))
    }
}
