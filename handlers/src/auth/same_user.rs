//! A handler for the clients of one user.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::geteuid;
use socketserver::{Address, DatagramRequest, HandlerResult, RequestHandler, StreamRequest};

use super::peer_user;

/// Runs a handler only for clients of the user who has started the server.
///
/// How the client's user is found depends on the transport:
///
/// * Unix stream sockets: `SO_PEERCRED`.
/// * TCP and UDP on Linux: the owner of the client's socket in `/proc/net`. A client is refused if
///   no socket in the network namespace of this machine has the client's address. Over UDP a client
///   is also refused if its address is not a loopback address. Root is a user like any other.
/// * Unix datagram sockets: the handler checks nothing, because the operating system accepts
///   datagrams only from users who may write to the file of the socket. Give the file the mode
///   0600.
///
/// The handler checks the user of a connection when the first byte of the client has arrived. Until
/// then no method of the inner handler runs. The request of a refused client ends with a
/// [`SameUserError`], which the server logs with the client's address. No method of the inner
/// handler runs then, and nothing is sent.
///
/// ```
/// use socketserver::ThreadingTcpServer;
/// use socketserver_handlers::auth::SameUser;
/// use socketserver_handlers::shell::Shell;
///
/// let server = ThreadingTcpServer::bind("127.0.0.1:0", || SameUser::new(Shell::default()))?;
/// # Ok::<(), socketserver::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct SameUser<H> {
    handler: H,
    has_come: bool,
}

/// Why [`SameUser`] refuses a client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SameUserError {
    /// The peer runs as another user. The peer is the client of [`SameUser`], and the server of
    /// [`permit_udp_socket`] and [`permit_file`].
    #[error("refused: the peer's user is {client}, and only user {own} is accepted")]
    OtherUser {
        /// The number of the peer's user.
        client: u32,
        /// The number of the user of this process.
        own: u32,
    },

    /// The operating system does not know the peer's user.
    #[error("refused: the user of the peer is unknown: {0}")]
    Unknown(#[source] io::Error),
}

impl<H> SameUser<H> {
    /// Runs `handler` for clients of the effective user of this process.
    #[must_use]
    pub fn new(handler: H) -> Self {
        Self {
            handler,
            has_come: false,
        }
    }
}

/// Refuses the UDP socket at this loopback address, unless the user of this process owns the
/// socket. For a client that runs the commands of its server.
///
/// # Errors
///
/// If another user owns the socket, or the operating system does not know the user.
pub fn permit_udp_socket(address: SocketAddr) -> Result<(), SameUserError> {
    permit(peer_user::of_udp_socket(address))
}

/// Refuses the file of a Unix socket, unless the user of this process owns the file. For a client
/// that runs the commands of its server.
///
/// # Errors
///
/// If another user owns the file, or the file cannot be found.
pub fn permit_file(path: &Path) -> Result<(), SameUserError> {
    permit(fs::metadata(path).map(|metadata| metadata.uid()))
}

fn permit(user: io::Result<u32>) -> Result<(), SameUserError> {
    let own = geteuid().as_raw();
    match user {
        Ok(client) if client == own => Ok(()),
        Ok(client) => Err(SameUserError::OtherUser { client, own }),
        Err(error) => Err(SameUserError::Unknown(error)),
    }
}

impl<H: RequestHandler> RequestHandler for SameUser<H> {
    /// Fails, and so ends the request, if the client runs as another user.
    fn setup(&mut self, request: &mut StreamRequest) -> HandlerResult {
        // A client that leaves without a byte, such as a health check, is not logged as refused.
        self.has_come = request.wait()?;
        if self.has_come {
            permit(peer_user::of_connection(request))?;
            self.handler.setup(request)?;
        }
        Ok(())
    }

    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        match self.has_come {
            true => self.handler.handle(request),
            false => Ok(()),
        }
    }

    fn finish(&mut self, request: &mut StreamRequest) -> HandlerResult {
        match self.has_come {
            true => self.handler.finish(request),
            false => Ok(()),
        }
    }
}

impl<H: RequestHandler<DatagramRequest>> RequestHandler<DatagramRequest> for SameUser<H> {
    /// Fails, and so ends the request, if the sender runs as another user.
    fn setup(&mut self, request: &mut DatagramRequest) -> HandlerResult {
        if let Address::Inet(sender) = request.client_address() {
            permit_udp_socket(*sender)?;
        }
        self.handler.setup(request)
    }

    fn handle(&mut self, request: &mut DatagramRequest) -> HandlerResult {
        self.handler.handle(request)
    }

    fn finish(&mut self, request: &mut DatagramRequest) -> HandlerResult {
        self.handler.finish(request)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpStream, UdpSocket};
    use std::os::unix::net::UnixStream;
    use std::thread;
    use std::time::Duration;

    use socketserver::mock::{MockDatagram, MockStream};
    use socketserver::{BaseServer, Server, ThreadingTcpServer, ThreadingUdpServer};
    use socketserver::{ServerHandle, ThreadingUnixStreamServer};

    use super::*;
    use crate::{Echo, UpperLoop};

    fn serve<S: BaseServer>(server: Server<S>) -> (ServerHandle, thread::JoinHandle<()>) {
        let handle = server.handle();
        let serving = thread::spawn(move || server.serve_forever().unwrap());
        (handle, serving)
    }

    #[test]
    fn a_client_of_the_same_user_is_served_over_every_transport() {
        let upper = || SameUser::new(UpperLoop);
        for address in ["127.0.0.1:0", "[::1]:0", "[::]:0"] {
            let Ok(server) = ThreadingTcpServer::bind(address, upper) else {
                println!("skipped: this machine has no {address}");
                continue;
            };
            let port = server.local_addr().unwrap().port();
            let host = if address == "[::1]:0" {
                "::1"
            } else {
                "127.0.0.1"
            };
            let mut client = TcpStream::connect((host, port)).unwrap();
            let (handle, serving) = serve(server);
            client.write_all(b"hi").unwrap();
            let mut answer = [0; 2];
            client.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"HI");
            handle.shutdown();
            serving.join().unwrap();
        }

        let server = ThreadingUdpServer::bind("127.0.0.1:0", || SameUser::new(Echo)).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        client.connect(server.local_addr().unwrap()).unwrap();
        let (handle, serving) = serve(server);
        client.send(b"hi").unwrap();
        assert_eq!(client.recv(&mut [0; 10]).unwrap(), 2);
        handle.shutdown();
        serving.join().unwrap();

        let directory = support::short_paths::directory();
        let path = directory.path().join("socket");
        let server = ThreadingUnixStreamServer::bind(path.as_path(), upper).unwrap();
        let mut client = UnixStream::connect(&path).unwrap();
        let (handle, serving) = serve(server);
        client.write_all(b"hi").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(io::read_to_string(client).unwrap(), "HI");
        handle.shutdown();
        serving.join().unwrap();
    }

    #[test]
    fn a_client_whose_user_cannot_be_known_is_refused_and_the_handler_does_not_run() {
        let recording = MockStream::new().chunk("hi").run(SameUser::new(UpperLoop));
        let error = recording.result().as_ref().unwrap_err();
        let error = error.downcast_ref::<SameUserError>().unwrap();
        assert!(matches!(error, SameUserError::Unknown(_)), "{error}");
        assert_eq!(recording.written(), b"");

        let sender = ([127, 255, 255, 1], 9);
        let client = MockDatagram::new("hi").client_address(sender);
        let recording = client.run(SameUser::new(Echo));
        assert!(recording.result().is_err());
        assert!(recording.sent().is_empty());
    }

    #[test]
    fn another_user_is_named_in_the_error() {
        let own = geteuid().as_raw();
        let error = permit(Ok(own + 1)).unwrap_err().to_string();
        assert!(
            error.contains(&format!("the peer's user is {}", own + 1)),
            "{error}"
        );
        permit(Ok(own)).unwrap();
    }
}
