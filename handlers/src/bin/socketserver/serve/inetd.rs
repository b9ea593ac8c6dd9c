//! One client, whom inetd or systemd has accepted: `--inetd`.

use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use socket2::{SockRef, Type};
use socketserver::{
    Address, BaseServer, DatagramRequest, MixIn, Serve, Server, StreamRequest, TcpServer, UdpServer,
};

use super::layers::{Host, Layers};
use super::listen::{url_of, url_of_connection};
use super::listener::MAX_PACKET_SIZE;
use super::options::Options;
use super::site::Site;
use super::target::Target;
use crate::failure::Failure;
#[cfg(feature = "systemd")]
use crate::passed_sockets::PassedSockets;
use crate::stop::StopSignals;
use crate::url::Url;

/// How long a server of datagrams waits for the next datagram. After that, inetd waits again.
const NEXT_DATAGRAM: Duration = Duration::from_secs(10);

/// Serves the client, or the datagrams, at standard input, or at the only socket that systemd has
/// passed.
pub fn serve(
    options: &Options,
    #[cfg(feature = "systemd")] mut passed: PassedSockets,
    signals: StopSignals,
) -> Result<(), Failure> {
    if options.handler.has_operator() {
        return Err(Failure::usage(format!(
            "{} reads the lines of its operator from standard input, which is the client with \
             --inetd; serve it with --listen",
            options.handler.name
        )));
    }
    #[cfg(feature = "systemd")]
    let only = passed.take_only();
    #[cfg(not(feature = "systemd"))]
    let only = None;
    let socket = match only {
        Some(socket) => socket,
        None => io::stdin().as_fd().try_clone_to_owned().map_err(failed)?,
    };
    let kind = SockRef::from(&socket).r#type().map_err(|_| {
        failed(
            "standard input is no socket; the option is for a program that inetd, or systemd with \
             Accept=yes, starts for each client",
        )
    })?;
    let url = match kind {
        Type::STREAM => url_of_connection(&socket),
        _ => url_of(&socket, false),
    };
    let url = url.map_err(failed)?;
    let urls = std::slice::from_ref(&url);
    let site = Site::new(options, urls)?;
    let layers = Layers::new(options, urls, site.exposure)?.one_at_a_time();
    let link = options.common.auth.link(&url)?;
    #[cfg(feature = "tls")]
    let plain = Some(&url).filter(|url| !layers.encrypt(url));
    #[cfg(not(feature = "tls"))]
    let plain = Some(&url);
    match Target::new(options, &url, plain, link.as_ref(), site.audience)? {
        Target::Stream(_, factory) => {
            let bottom = TcpServer::without_listener(factory);
            let mut client = Started {
                site,
                signals: Some(signals),
                connection: Some(socket),
            };
            layers.over_stream(bottom, &url, &mut client)?;
        }
        Target::Datagram(_, factory) => {
            let bottom = UdpServer::from_socket(UdpSocket::from(socket), factory);
            let bottom = bottom.max_packet_size(MAX_PACKET_SIZE);
            let mut datagrams = Started {
                site,
                signals: Some(signals),
                connection: None,
            };
            layers.over_datagrams(bottom, &url, &mut datagrams)?;
        }
    }
    Ok(())
}

fn failed(error: impl ToString) -> Failure {
    Failure::Passed("--inetd".to_owned(), error.to_string())
}

/// A program that was started for a client, or for the datagrams of a socket.
struct Started {
    site: Site,
    signals: Option<StopSignals>,
    connection: Option<OwnedFd>,
}

impl Started {
    /// Binds the server, which a signal stops from now on.
    fn bind<S: BaseServer>(&mut self, stack: S) -> Result<Server<S>, Failure> {
        let server = stack.bind()?;
        self.site.bounds.apply(&server);
        let handle = server.handle();
        if let Some(signals) = self.signals.take() {
            signals.on_first(move |_| handle.request_shutdown());
        }
        Ok(server)
    }
}

/// Serves the connection, and returns when its request has ended.
impl Host<StreamRequest> for Started {
    fn join<S: BaseServer<Request = StreamRequest>>(
        &mut self,
        stack: S,
        _: &Url,
    ) -> Result<Vec<Address>, Failure> {
        let connection = self.connection.take();
        let connection = connection.ok_or_else(|| failed("the client is served already"))?;
        let server = self.bind(stack)?;
        let request = server.accepted(connection).map_err(failed)?;
        server.serve(request)?;
        server.server_close();
        Ok(Vec::new())
    }
}

/// Serves datagrams until none has arrived for a while.
impl Host<DatagramRequest> for Started {
    fn join<S: BaseServer<Request = DatagramRequest>>(
        &mut self,
        stack: S,
        _: &Url,
    ) -> Result<Vec<Address>, Failure> {
        let is_quiet = Arc::new(AtomicBool::new(false));
        let stack = UntilQuiet {
            next: stack,
            is_quiet: is_quiet.clone(),
        };
        let server = self.bind(stack)?;
        server.set_timeout(Some(NEXT_DATAGRAM));
        while !is_quiet.load(Relaxed) && !server.handle().is_draining() {
            server.handle_request()?;
        }
        server.server_close();
        Ok(Vec::new())
    }
}

/// Records that no datagram has arrived in time.
#[derive(Debug)]
struct UntilQuiet<S> {
    next: S,
    /// Relaxed: the loop and its hooks are in one thread.
    is_quiet: Arc<AtomicBool>,
}

impl<S: BaseServer> MixIn for UntilQuiet<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.next
    }

    fn handle_timeout(&self) {
        self.is_quiet.store(true, Relaxed);
        self.next.handle_timeout();
    }
}
