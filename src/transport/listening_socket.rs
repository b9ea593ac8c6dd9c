//! The listening socket of the four bottom layers: its options, its address, its end.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;

use nix::errno::Errno;
use socket2::{SockRef, Socket, Type};

use crate::support::lock::lock;
use crate::support::sync::Mutex;
use crate::transport::bind::{Bound, Group, bind_each, first_socket};
use crate::transport::bound_file::BoundFile;
use crate::transport::descriptors::Descriptors;
use crate::transport::get_request_error::GetRequestError;
use crate::transport::socket_address::from_sockaddr;
use crate::transport::socket_error::SocketError;
use crate::transport::socket_file::{Claim, ClaimError, SocketFile};
use crate::transport::socket_options::SocketOptions;
use crate::transport::socket_set::{SocketSet, Sockets};
use crate::transport::sys;
use crate::values::address::Address;
use crate::values::inet_address::{AddressError, InetAddress};

/// The socket that listens for connections or receives datagrams, or several such sockets, which
/// are opened, bound and closed step by step.
#[derive(Debug)]
pub(crate) struct ListeningSocket {
    endpoint: Endpoint,
    kind: Type,
    pub(crate) options: SocketOptions,
    /// Whether the server removes the file of a given Unix socket.
    pub(crate) owns_file: bool,
    state: Mutex<State>,
}

impl ListeningSocket {
    pub(crate) fn inet(address: InetAddress, kind: Type) -> Self {
        // This is `SO_REUSEADDR`, which Python does not set: a TCP server can be started again
        // while old connections linger. No UDP connection lingers, and with the option two UDP
        // servers could share a port.
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

    /// Makes the value of a socket that is open and bound already. Its options, its address and its
    /// file belong to the program that has made it.
    pub(crate) fn given(socket: OwnedFd, kind: Type) -> Self {
        let endpoint = Endpoint::Given(Mutex::new(Some(socket)));
        Self::new(endpoint, kind, SocketOptions::default())
    }

    /// Makes the value without a socket, so that no client can connect.
    pub(crate) fn none(kind: Type) -> Self {
        Self::new(Endpoint::Nowhere, kind, SocketOptions::default())
    }

    fn new(endpoint: Endpoint, kind: Type, options: SocketOptions) -> Self {
        Self {
            endpoint,
            kind,
            options,
            owns_file: false,
            state: Mutex::new(State::NotOpened),
        }
    }

    /// Returns the type of the sockets: for streams or for datagrams.
    pub(crate) fn kind(&self) -> Type {
        self.kind
    }

    /// Returns the descriptor that is readable when a client has come, and the requested address.
    /// The first call creates the descriptor unless it was given. A given socket's address is its
    /// own.
    pub(crate) fn open(&self) -> Result<(Arc<OwnedFd>, Address), SocketError> {
        self.with_open(|open| Ok((open.socket.clone(), open.requested().clone())))
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

    /// Takes the given socket, or creates a socket of the first family that the system supports.
    fn create(&self) -> Result<Open, SocketError> {
        if let Endpoint::Given(socket) = &self.endpoint {
            let mut descriptors = Descriptors::hold();
            let socket = lock(socket).take().ok_or(SocketError::Closed)?;
            let open = Open::given(socket, self.kind).map_err(SocketError::Given)?;
            descriptors.register(open.socket.as_raw_fd());
            return Ok(open);
        }
        if let Endpoint::Nowhere = self.endpoint {
            return Open::nowhere();
        }
        let groups = self.endpoint.groups().map_err(SocketError::Address)?;
        let socket = first_socket(&groups, self.kind)?;
        Ok(Open::new(socket, groups))
    }

    /// Sets the options and binds. Returns the real addresses, at least one. A given socket is
    /// bound already, so for such a socket the call only checks that no option is set.
    ///
    /// From then on the server may have another socket than before: a socket of another family, or
    /// several sockets.
    ///
    /// The directory of a Unix socket's file is locked until [`listen`](Self::listen),
    /// [`end_claim`](Self::end_claim) or [`close`](Self::close).
    pub(crate) fn bind(&self) -> Result<Vec<Address>, SocketError> {
        self.with_open(|open| {
            if let Endpoint::Given(_) | Endpoint::Nowhere = self.endpoint {
                let address = open.requested().clone();
                if let (true, Address::Unix(path)) = (self.owns_file, &address) {
                    open.file = BoundFile::at(path);
                }
                return self.options.refuse(&address).map(|()| vec![address]);
            }
            if open.is_bound {
                let error = Errno::EINVAL.into();
                return Err(SocketError::bind(open.requested().clone(), error));
            }
            // An earlier claim would still have the lock that the new claim needs.
            open.claim = None;
            if let Endpoint::Unix(file) = &self.endpoint {
                let claim = file.claim(self.kind);
                let failed = |error| SocketError::Claim(file.path().to_owned(), error);
                open.claim = Some(claim.map_err(failed)?);
            }
            let mut descriptors = Descriptors::hold();
            let bound = bind_each(&open.groups, self.kind, self.options, &open.socket)
                .and_then(|bound| open.take_sockets(bound, &mut descriptors))
                .and_then(|addresses| self.take_file(open).map(|()| addresses));
            if bound.is_err() {
                open.claim = None;
            }
            bound
        })
    }

    /// Notes the file that bind(2) has made, and sets its group and mode, before a client can
    /// connect.
    fn take_file(&self, open: &mut Open) -> Result<(), SocketError> {
        let Endpoint::Unix(file) = &self.endpoint else {
            return Ok(());
        };
        open.file = file.bound();
        let set = match &open.file {
            Some(bound) => bound.set_access(self.options.access),
            None => Ok(()),
        };
        set.map_err(|error| {
            if let Some(bound) = open.file.take() {
                bound.remove();
            }
            SocketError::Claim(file.path().to_owned(), ClaimError::Unusable(error))
        })
    }

    /// Listens for clients, and ends the claim to the path. `backlog` clients may wait to be
    /// accepted on each address. From then on [`accept`](Self::accept) does not block. A given
    /// socket that listens already keeps its waiting clients, and receives the new `backlog`.
    ///
    /// Fails with the address on which listen(2) failed.
    pub(crate) fn listen(&self, backlog: i32) -> Result<(), (Address, io::Error)> {
        if let Endpoint::Nowhere = self.endpoint {
            return Ok(());
        }
        let listens = self.each_socket(|socket| {
            let socket = SockRef::from(socket);
            // The socket is non-blocking: if a client leaves before it is accepted, the loop must
            // not wait for another client.
            socket.set_nonblocking(true)?;
            socket.listen(backlog)
        });
        self.end_claim();
        listens
    }

    /// Calls `step` with each socket. Fails with the address of the socket for which `step` failed.
    pub(crate) fn each_socket(
        &self,
        mut step: impl FnMut(&OwnedFd) -> io::Result<()>,
    ) -> Result<(), (Address, io::Error)> {
        let unknown = |error| (Address::UnixUnnamed, error);
        let sockets = self.opened().map_err(unknown)?;
        for socket in sockets.iter() {
            let address = || SockRef::from(&**socket).local_addr();
            let named = |error| {
                let address = address().map_or(Address::UnixUnnamed, |it| from_sockaddr(&it));
                (address, error)
            };
            step(socket).map_err(named)?;
        }
        Ok(())
    }

    /// Ends the claim to the path of a Unix socket. From now on other servers can find out that the
    /// file is not stale.
    pub(crate) fn end_claim(&self) {
        if let State::Open(open) = &mut *lock(&self.state) {
            open.claim = None;
        }
    }

    /// Returns whether there is a socket at all.
    pub(crate) fn is_listening(&self) -> bool {
        !matches!(self.endpoint, Endpoint::Nowhere)
    }

    /// Whether the socket was not given.
    pub(crate) fn has_made_socket(&self) -> bool {
        !matches!(self.endpoint, Endpoint::Given(_))
    }

    /// Leaves the file of a Unix socket to another process.
    pub(crate) fn leave_file(&self) {
        if let State::Open(open) = &mut *lock(&self.state) {
            open.file = None;
        }
    }

    /// Accepts the next connection, in blocking mode, and returns it with its client's address.
    pub(crate) fn accept(&self) -> Result<(Socket, Address), GetRequestError> {
        if let Endpoint::Nowhere = self.endpoint {
            return Err(GetRequestError::Empty);
        }
        match self.opened()? {
            Sockets::One(socket) => accept(&socket),
            Sockets::Several(sockets) => sockets.in_turn(accept),
        }
    }

    /// Returns the open sockets, for a hook that reports an `io::Error`.
    pub(crate) fn opened(&self) -> io::Result<Sockets> {
        match &*lock(&self.state) {
            State::Open(open) => Ok(match &open.several {
                None => Sockets::One(open.socket.clone()),
                Some(several) => Sockets::Several(several.clone()),
            }),
            // This is the error of a closed descriptor, and ends the loop.
            _ => Err(Errno::EBADF.into()),
        }
    }

    /// Removes the file that bind(2) has made, and closes the socket once its last other user drops
    /// it. The socket cannot be opened again.
    pub(crate) fn close(&self) {
        if let Endpoint::Given(socket) = &self.endpoint {
            // The socket was never opened, and the server still has to close it.
            drop(lock(socket).take());
        }
        let state = std::mem::replace(&mut *lock(&self.state), State::Closed);
        if let State::Open(mut open) = state {
            open.claim = None;
            // The file is removed before the close, while the socket keeps its inode in use and is
            // live for other servers.
            if let Some(file) = open.file.take() {
                file.remove();
            }
            let mut descriptors = Descriptors::hold();
            for descriptor in open.descriptors() {
                descriptors.unregister(descriptor);
            }
            drop(open);
        }
    }
}

/// The address that the socket is to be bound to, or the socket itself.
#[derive(Debug)]
enum Endpoint {
    Inet(InetAddress),
    Unix(SocketFile),
    UnixAbstract(Vec<u8>),
    /// A socket that another program has made, until it is opened.
    Given(Mutex<Option<OwnedFd>>),
    /// No socket: the server serves connections that others have accepted.
    Nowhere,
}

impl Endpoint {
    /// Resolves the endpoint to the groups of which the server listens on one address each.
    fn groups(&self) -> Result<Vec<Group>, AddressError> {
        Ok(match self {
            Self::Inet(address) => address.resolve()?.into_iter().map(Group::from).collect(),
            Self::Unix(file) => vec![Group::of_one(Address::Unix(file.path().to_owned()))],
            Self::UnixAbstract(name) => vec![Group::of_one(Address::UnixAbstract(name.clone()))],
            Self::Given(_) => unreachable!("a given socket has its address"),
            Self::Nowhere => vec![Group::of_one(Address::UnixUnnamed)],
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
    /// The descriptor that is readable when a client has come: that of the socket, or that of
    /// `several`.
    socket: Arc<OwnedFd>,
    /// The sockets of a server that is bound to several addresses.
    several: Option<Arc<SocketSet>>,
    /// The requested addresses, at least one.
    groups: Vec<Group>,
    is_bound: bool,
    /// The claim to the path of a Unix socket, until the server listens.
    claim: Option<Claim>,
    /// The file that bind(2) has made, for a Unix socket.
    file: Option<BoundFile>,
    /// The other end of `socket` for a server that accepts nothing. It keeps `socket` from ever
    /// being readable.
    _silent: Option<UnixStream>,
}

impl Open {
    fn nowhere() -> Result<Self, SocketError> {
        let failed = |error| SocketError::Create(Address::UnixUnnamed, error);
        let (silent, socket) = UnixStream::pair().map_err(failed)?;
        let groups = vec![Group::of_one(Address::UnixUnnamed)];
        Ok(Self {
            _silent: Some(silent),
            ..Self::new(Arc::new(socket.into()), groups)
        })
    }

    fn new(socket: Arc<OwnedFd>, groups: Vec<Group>) -> Self {
        Self {
            socket,
            several: None,
            groups,
            is_bound: false,
            claim: None,
            file: None,
            _silent: None,
        }
    }

    fn requested(&self) -> &Address {
        &self.groups[0].addresses[0]
    }

    /// Returns the descriptors of the sockets on which the server listens, and the descriptor that
    /// is readable when one of several sockets is.
    fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        let several = self.several.iter().flat_map(|several| several.sockets());
        let all = several.chain([&self.socket]);
        all.map(|descriptor| descriptor.as_raw_fd())
    }

    /// Serves on the bound sockets from now on. Returns their addresses.
    fn take_sockets(
        &mut self,
        bound: Vec<Bound>,
        descriptors: &mut Descriptors,
    ) -> Result<Vec<Address>, SocketError> {
        let (mut sockets, addresses): (Vec<_>, Vec<_>) = bound.into_iter().unzip();
        if sockets.len() == 1 {
            self.socket = sockets.remove(0);
        } else {
            let several = SocketSet::new(sockets)
                .map_err(|source| SocketError::Several(addresses[0].clone(), source))?;
            self.socket = several.readable().clone();
            self.several = Some(Arc::new(several));
        }
        for descriptor in self.descriptors() {
            descriptors.register(descriptor);
        }
        self.is_bound = true;
        Ok(addresses)
    }

    /// Takes the given socket, with the address that the system reports. Fails if `socket` is not a
    /// socket of type `kind`.
    fn given(socket: OwnedFd, kind: Type) -> io::Result<Self> {
        let given = SockRef::from(&socket);
        let actual = given.r#type()?;
        if actual != kind {
            let what = format!("its type is {actual:?}, and the server needs {kind:?}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let address = from_sockaddr(&given.local_addr()?);
        // A supervisor passes the descriptor without the flag, so that the descriptor survives
        // exec(2). The programs that a handler starts must not have it.
        given.set_cloexec(true)?;
        Ok(Self::new(Arc::new(socket), vec![Group::of_one(address)]))
    }
}

fn accept(socket: &Arc<OwnedFd>) -> Result<(Socket, Address), GetRequestError> {
    let accepted = sys::accept(&SockRef::from(&**socket));
    let (connection, client) =
        accepted.map_err(|error| GetRequestError::from_accept(error, socket.as_fd()))?;
    Ok((connection, from_sockaddr(&client)))
}
