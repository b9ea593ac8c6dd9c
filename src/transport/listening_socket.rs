//! The listening socket of the four bottom layers: its options, its address, its end.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use nix::errno::Errno;
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use crate::support::lock::lock;
use crate::support::sync::Mutex;
use crate::transport::get_request_error::GetRequestError;
use crate::transport::socket_address::{from_sockaddr, to_sockaddr};
use crate::transport::socket_file::{BoundFile, Claim, ClaimError, SocketFile};
use crate::transport::sys;
use crate::values::address::{Address, AddressError, InetAddress};

/// The socket that listens for connections or receives datagrams, which is opened, bound and closed
/// step by step.
#[derive(Debug)]
pub(crate) struct ListeningSocket {
    endpoint: Endpoint,
    kind: Type,
    pub(crate) options: SocketOptions,
    state: Mutex<State>,
}

impl ListeningSocket {
    pub(crate) fn inet(address: InetAddress, kind: Type) -> Self {
        // `SO_REUSEADDR`, which Python leaves off: a TCP server can be started again while old
        // connections linger. No UDP connection lingers, and with the option two UDP servers could
        // share a port.
        let options = SocketOptions {
            reuse_address: (kind == Type::STREAM).then_some(true),
            ..SocketOptions::default()
        };
        Self::new(Endpoint::Inet(address), kind, options)
    }

    pub(crate) fn unix(path: PathBuf, kind: Type) -> Self {
        let endpoint = match Address::from_unix_path(path) {
            Address::UnixAbstract(name) => Endpoint::UnixAbstract(name),
            Address::Unix(path) => Endpoint::Unix(SocketFile::new(path)),
            other => unreachable!("a path cannot be {other}"),
        };
        Self::new(endpoint, kind, SocketOptions::default())
    }

    /// A socket that is open and bound already. Its options, its address and its file belong to
    /// whoever has made it.
    pub(crate) fn given(socket: OwnedFd, kind: Type) -> Self {
        let endpoint = Endpoint::Given(Mutex::new(Some(socket)));
        Self::new(endpoint, kind, SocketOptions::default())
    }

    fn new(endpoint: Endpoint, kind: Type, options: SocketOptions) -> Self {
        Self {
            endpoint,
            kind,
            options,
            state: Mutex::new(State::NotOpened),
        }
    }

    /// The socket, which the first call creates unless it is given, and the requested address: of a
    /// given socket, its own.
    pub(crate) fn open(&self) -> Result<(Arc<OwnedFd>, Address), SocketError> {
        self.with_open(|open| Ok((open.socket.clone(), open.addresses[0].clone())))
    }

    /// Runs `step` on the open socket, which the first call creates.
    fn with_open<T>(
        &self,
        step: impl FnOnce(&mut Open) -> Result<T, SocketError>,
    ) -> Result<T, SocketError> {
        let mut state = lock(&self.state);
        if let State::NotOpened = *state {
            *state = State::Open(self.create()?);
        }
        match &mut *state {
            State::Open(open) => step(open),
            _ => Err(SocketError::Closed),
        }
    }

    /// Takes the given socket, or creates a socket of the first family that the system supports,
    /// for the addresses of that family.
    fn create(&self) -> Result<Open, SocketError> {
        if let Endpoint::Given(socket) = &self.endpoint {
            let socket = lock(socket).take().ok_or(SocketError::Closed)?;
            return Open::given(socket, self.kind).map_err(SocketError::Given);
        }
        let mut addresses = self.endpoint.addresses().map_err(SocketError::Address)?;
        let mut failure = None;
        for first in &addresses {
            let family = domain(first);
            match Socket::new(family, self.kind, None) {
                Ok(socket) => {
                    addresses.retain(|address| domain(address) == family);
                    return Ok(Open {
                        socket: Arc::new(OwnedFd::from(socket)),
                        addresses,
                        claim: None,
                        file: None,
                    });
                }
                Err(source) => {
                    failure.get_or_insert_with(|| SocketError::Create(first.clone(), source));
                }
            }
        }
        Err(failure.expect("an endpoint has at least one address"))
    }

    /// Sets the options and binds. Returns the real address. A given socket is bound already, so
    /// for that the call only checks that no option is set.
    ///
    /// The directory of a Unix socket's file is locked until [`listen`](Self::listen),
    /// [`end_claim`](Self::end_claim) or [`close`](Self::close).
    pub(crate) fn bind(&self) -> Result<Address, SocketError> {
        self.with_open(|open| {
            if let Endpoint::Given(_) = self.endpoint {
                let address = open.addresses[0].clone();
                return self.options.refuse(&address).map(|()| address);
            }
            let socket = SockRef::from(&*open.socket);
            // An earlier claim would hold the lock that the new claim needs.
            open.claim = None;
            if let Endpoint::Unix(file) = &self.endpoint {
                let claim = file.claim(self.kind);
                let failed = |error| SocketError::Claim(file.path().to_owned(), error);
                open.claim = Some(claim.map_err(failed)?);
            }
            let bound = self
                .set_options(&socket, &open.addresses[0])
                .and_then(|()| bind_to_first(&socket, &open.addresses));
            match (&bound, &self.endpoint) {
                (Ok(_), Endpoint::Unix(file)) => open.file = file.bound(),
                (Ok(_), _) => {}
                (Err(_), _) => open.claim = None,
            }
            bound
        })
    }

    fn set_options(&self, socket: &Socket, address: &Address) -> Result<(), SocketError> {
        let failed = |option| move |source| SocketError::Option(option, address.clone(), source);
        if self.options.reuse_address == Some(true) {
            let set = socket.set_reuse_address(true);
            set.map_err(failed("SO_REUSEADDR"))?;
        }
        if self.options.reuse_port == Some(true) {
            let set = socket.set_reuse_port(true);
            set.map_err(failed("SO_REUSEPORT"))?;
        }
        if let Address::Inet(SocketAddr::V6(_)) = address {
            // Systems differ in their default, so the option is set to either value.
            let set = socket.set_only_v6(self.options.only_v6.unwrap_or(false));
            set.map_err(failed("IPV6_V6ONLY"))?;
        }
        Ok(())
    }

    /// Listens for clients, of whom `backlog` may wait to be accepted, and ends the claim to the
    /// path. From then on [`accept`](Self::accept) does not block. A given socket that listens
    /// already keeps its waiting clients, and has the new `backlog`.
    pub(crate) fn listen(&self, backlog: i32) -> io::Result<()> {
        let socket = self.opened()?;
        let socket = SockRef::from(&*socket);
        // Non-blocking: if a client leaves before it is accepted, the loop must not wait for
        // another.
        let listens = socket
            .set_nonblocking(true)
            .and_then(|()| socket.listen(backlog));
        self.end_claim();
        listens
    }

    /// Ends the claim to the path of a Unix socket. By now other servers see that the file is not
    /// stale.
    pub(crate) fn end_claim(&self) {
        if let State::Open(open) = &mut *lock(&self.state) {
            open.claim = None;
        }
    }

    /// Accepts the next connection, in blocking mode, and returns it with its client's address.
    pub(crate) fn accept(&self) -> Result<(Socket, Address), GetRequestError> {
        let socket = self.opened()?;
        let accepted = sys::accept(&SockRef::from(&*socket));
        let (connection, client) =
            accepted.map_err(|error| GetRequestError::from_accept(error, socket.as_fd()))?;
        Ok((connection, from_sockaddr(&client)))
    }

    /// The socket, for a hook that reports an `io::Error`.
    pub(crate) fn opened(&self) -> io::Result<Arc<OwnedFd>> {
        match &*lock(&self.state) {
            State::Open(open) => Ok(open.socket.clone()),
            // The error of a closed descriptor, which ends the loop.
            _ => Err(Errno::EBADF.into()),
        }
    }

    /// Closes the socket, once its last other user drops it, and removes the file that bind(2) has
    /// made. The socket cannot be opened again.
    pub(crate) fn close(&self) {
        if let Endpoint::Given(socket) = &self.endpoint {
            // Never opened, so the server still has to close it.
            drop(lock(socket).take());
        }
        let state = std::mem::replace(&mut *lock(&self.state), State::Closed);
        if let State::Open(open) = state {
            drop(open.claim);
            drop(open.socket);
            if let Some(file) = open.file {
                file.remove();
            }
        }
    }

    /// Closes a forked child's copy. The parent's stays as it is.
    pub(crate) fn close_in_child(&self) {
        // `try_lock`, because a thread that held the lock at the fork does not exist in the child.
        if let Ok(state) = self.state.try_lock()
            && let State::Open(open) = &*state
        {
            // No double close: the `Arc`s that own the descriptor are never dropped, since the
            // child ends with `_exit`.
            let _ = nix::unistd::close(open.socket.as_fd().as_raw_fd());
        }
    }
}

/// The address that the socket is to be bound to, or the socket itself.
#[derive(Debug)]
enum Endpoint {
    Inet(InetAddress),
    Unix(SocketFile),
    UnixAbstract(Vec<u8>),
    /// A socket of somebody else's making, until it is opened.
    Given(Mutex<Option<OwnedFd>>),
}

impl Endpoint {
    /// Resolves the endpoint to its addresses, at least one.
    fn addresses(&self) -> Result<Vec<Address>, AddressError> {
        Ok(match self {
            Self::Inet(address) => address.resolve()?.into_iter().map(Address::from).collect(),
            Self::Unix(file) => vec![Address::Unix(file.path().to_owned())],
            Self::UnixAbstract(name) => vec![Address::UnixAbstract(name.clone())],
            Self::Given(_) => unreachable!("a given socket has its address"),
        })
    }
}

#[derive(Debug)]
enum State {
    NotOpened,
    Open(Open),
    Closed,
}

#[derive(Debug)]
struct Open {
    socket: Arc<OwnedFd>,
    /// The addresses of the endpoint that are of the socket's family, at least one.
    addresses: Vec<Address>,
    /// The claim to the path of a Unix socket, until the server listens.
    claim: Option<Claim>,
    /// The file that bind(2) has made, for a Unix socket.
    file: Option<BoundFile>,
}

impl Open {
    /// The given socket, with the address that the system reports. Fails if `socket` is not a
    /// socket of type `kind`.
    fn given(socket: OwnedFd, kind: Type) -> io::Result<Self> {
        let given = SockRef::from(&socket);
        let actual = given.r#type()?;
        if actual != kind {
            let what = format!("its type is {actual:?}, and the server needs {kind:?}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let address = from_sockaddr(&given.local_addr()?);
        // A supervisor passes the descriptor without the flag, so that it survives exec(2). The
        // programs that a handler starts must not have it.
        given.set_cloexec(true)?;
        Ok(Self {
            socket: Arc::new(socket),
            addresses: vec![address],
            claim: None,
            file: None,
        })
    }
}

/// The options that bind sets before bind(2); `None` where the caller has chosen nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SocketOptions {
    /// `SO_REUSEADDR`.
    pub(crate) reuse_address: Option<bool>,
    /// `SO_REUSEPORT`.
    pub(crate) reuse_port: Option<bool>,
    /// `IPV6_V6ONLY`, for IPv6 sockets.
    pub(crate) only_v6: Option<bool>,
}

impl SocketOptions {
    /// Fails if the caller has chosen an option, since `address` is bound already.
    fn refuse(&self, address: &Address) -> Result<(), SocketError> {
        let chosen = [
            ("SO_REUSEADDR", self.reuse_address),
            ("SO_REUSEPORT", self.reuse_port),
            ("IPV6_V6ONLY", self.only_v6),
        ];
        match chosen.into_iter().find(|(_, value)| value.is_some()) {
            None => Ok(()),
            Some((option, _)) => {
                let what = "the socket was given to the server, and is bound already; set the \
                            option where the socket is made, before bind(2)";
                let source = io::Error::new(io::ErrorKind::InvalidInput, what);
                Err(SocketError::Option(option, address.clone(), source))
            }
        }
    }
}

/// Why the socket cannot be opened or bound.
#[derive(Debug)]
pub(crate) enum SocketError {
    /// The socket has been closed.
    Closed,
    /// The given descriptor is not a socket that the server can use.
    Given(io::Error),
    /// The requested address cannot be resolved to a socket address.
    Address(AddressError),
    /// socket(2) failed.
    Create(Address, io::Error),
    /// The option with this name in C could not be set.
    Option(&'static str, Address, io::Error),
    /// The path of a Unix socket could not be claimed.
    Claim(PathBuf, ClaimError),
    /// bind(2) failed.
    Bind(Address, io::Error),
}

/// Binds to the first of the addresses that can be bound, and returns the bound address as the
/// system reports it. If none can be bound, the first failure is returned.
fn bind_to_first(socket: &Socket, addresses: &[Address]) -> Result<Address, SocketError> {
    let mut failure = None;
    for address in addresses {
        match to_sockaddr(address).and_then(|it| socket.bind(&it)) {
            Ok(()) => {
                let bound = socket.local_addr().map(|it| from_sockaddr(&it));
                return Ok(bound.unwrap_or_else(|_| address.clone()));
            }
            Err(source) => {
                failure.get_or_insert_with(|| SocketError::Bind(address.clone(), source));
            }
        }
    }
    Err(failure.expect("an endpoint has at least one address"))
}

fn domain(address: &Address) -> Domain {
    match address {
        Address::Inet(address) => SockAddr::from(*address).domain(),
        _ => Domain::UNIX,
    }
}
