//! Encrypted connections: our server, the hand-written one, and their clients.
//!
//! Both servers read the certificate in the directory in which they are started, choose the same
//! ciphers, and give tickets in the same way.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Instant;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConnection, ServerConfig, ServerConnection, StreamOwned};
use socketserver::{
    HandlerResult, RequestHandler, Serve, StreamRequest, TcpServer, ThreadingMixIn, TlsMixIn,
    TlsOptions,
};
use support::certificates::Authority;
use support::tls_clients::TlsClients;

use crate::load::{Limits, Load};
use crate::process::{Announce, ServerKind};

/// `TlsMixIn` and `ThreadingMixIn` over TCP.
pub static THREADING: ServerKind = ServerKind {
    name: "tls-threading",
    serve: threading,
};

/// A thread for each connection, with rustls.
pub static THREAD_LOOP: ServerKind = ServerKind {
    name: "peer-tls-loop",
    serve: thread_loop,
};

const CERTIFICATE: &str = "certificate.pem";
const KEY: &str = "key.pem";

/// The size of a record of TLS, which one read returns at most.
const BUFFER: usize = 16 << 10;

fn threading(announce: Announce) -> io::Result<()> {
    let config = TlsOptions::new(CERTIFICATE, KEY)
        .load()
        .map_err(io::Error::other)?;
    let server = TcpServer::new("127.0.0.1:0", || Echo)
        .mix_in(ThreadingMixIn::new)
        .mix_in(|next| TlsMixIn::new(next, config))
        .bind()
        .map_err(io::Error::other)?;
    announce(server.local_addr().expect("it is bound to an IP address"));
    server.serve_forever().map_err(io::Error::other)
}

struct Echo;

impl RequestHandler for Echo {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        let mut buffer = [0; BUFFER];
        loop {
            let count = request.read(&mut buffer)?;
            if count == 0 {
                return Ok(());
            }
            request.write_all(&buffer[..count])?;
        }
    }
}

fn thread_loop(announce: Announce) -> io::Result<()> {
    let chain = CertificateDer::pem_file_iter(CERTIFICATE)
        .and_then(Iterator::collect)
        .map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_file(KEY).map_err(io::Error::other)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(io::Error::other)?;
    config.ticketer = ring::Ticketer::new().map_err(io::Error::other)?;
    let config = Arc::new(config);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    announce(listener.local_addr()?);
    loop {
        let (connection, _) = listener.accept()?;
        // As our server does. Else a ticket or a record waits until the one before is confirmed.
        connection.set_nodelay(true)?;
        let tls = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
        thread::spawn(move || echo(StreamOwned::new(tls, connection)));
    }
}

fn echo(mut stream: StreamOwned<ServerConnection, TcpStream>) -> io::Result<()> {
    let mut buffer = [0; BUFFER];
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            stream.conn.send_close_notify();
            return stream.flush();
        }
        stream.write_all(&buffer[..count])?;
        stream.flush()?;
    }
}

/// The clients of both servers, none of which resumes a session.
pub struct Clients(Authority);

impl Clients {
    /// New clients, and a new certificate, which the servers that are started next have.
    pub fn new() -> io::Result<Self> {
        let authority = Authority::new();
        let [certificate, key] = [CERTIFICATE, KEY].map(|name| authority.path(name));
        authority.server(&["localhost"]).copy_to(&certificate, &key);
        std::env::set_current_dir(authority.path("."))?;
        Ok(Self(authority))
    }

    /// Clients that connect, exchange a message, and close.
    pub fn visits(&self, server: SocketAddr) -> Visits {
        let clients = TlsClients::new(&self.0).without_resumption();
        Visits { server, clients }
    }

    /// Clients that stay, each of which has exchanged a message.
    pub fn connected(&self, server: SocketAddr, count: usize) -> io::Result<Connected> {
        let clients = TlsClients::new(&self.0).without_resumption();
        let connections = (0..count).map(|_| {
            let mut connection = connect(&clients, server)?;
            exchange(&mut connection, SHORT)?;
            Ok(connection)
        });
        let connections = connections.collect::<io::Result<_>>()?;
        Ok(Connected { connections })
    }
}

/// What a client sends, and receives again.
const SHORT: &[u8] = b"a request of two and thirty byte";
const LONG: &[u8] = &[b'l'; 256 << 10];

/// How much of a message is sent before its echo is read, so that neither side waits for the other.
const PIECE: usize = 64 << 10;

/// How many visitors there are at a time.
const VISITORS: usize = 4;

/// Clients that connect, make a full handshake, exchange a short message, and close.
pub struct Visits {
    server: SocketAddr,
    clients: TlsClients,
}

impl Load for Visits {
    fn run(&mut self, limits: Limits) -> io::Result<u64> {
        let end = Instant::now() + limits.time;
        let begun = AtomicU64::new(0);
        let visitor = || {
            let mut ended = 0;
            while Instant::now() < end && begun.fetch_add(1, Relaxed) < limits.exchanges {
                let mut connection = connect(&self.clients, self.server)?;
                exchange(&mut connection, SHORT)?;
                connection.conn.send_close_notify();
                connection.flush()?;
                connection.read_to_end(&mut Vec::new())?;
                ended += 1;
            }
            Ok(ended)
        };
        thread::scope(|scope| {
            let visitors = Vec::from_iter((0..VISITORS).map(|_| scope.spawn(visitor)));
            let ended = |visitor: thread::ScopedJoinHandle<'_, io::Result<u64>>| {
                visitor.join().expect("a visitor does not panic")
            };
            visitors.into_iter().map(ended).sum()
        })
    }
}

/// Clients that stay, and exchange long messages one after another.
pub struct Connected {
    connections: Vec<Connection>,
}

impl Load for Connected {
    fn run(&mut self, limits: Limits) -> io::Result<u64> {
        let end = Instant::now() + limits.time;
        let mut ended = 0;
        while Instant::now() < end && ended < limits.exchanges {
            for connection in &mut self.connections {
                exchange(connection, LONG)?;
                ended += 1;
            }
        }
        Ok(ended)
    }
}

type Connection = StreamOwned<ClientConnection, TcpStream>;

fn connect(clients: &TlsClients, server: SocketAddr) -> io::Result<Connection> {
    let connection = TcpStream::connect(server)?;
    connection.set_nodelay(true)?;
    Ok(StreamOwned::new(clients.begin(), connection))
}

fn exchange(connection: &mut Connection, message: &[u8]) -> io::Result<()> {
    for piece in message.chunks(PIECE) {
        connection.write_all(piece)?;
        connection.flush()?;
        let mut echo = vec![0; piece.len()];
        connection.read_exact(&mut echo)?;
        if echo != piece {
            return Err(io::Error::other("the echo is another message"));
        }
    }
    Ok(())
}
