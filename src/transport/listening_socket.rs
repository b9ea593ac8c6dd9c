//! The listening socket of the four bottom layers: its options, its address, its end.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use crate::running::server_handle::ServerHandle;
use crate::support::lock::lock;
use crate::values::address::{Address, InetAddress};
use crate::values::error::Error;

/// A socket that is created, bound and closed step by step.
#[derive(Debug)]
pub(crate) struct ServerSocket {
    requested: Requested,
    kind: Type,
    pub(crate) allow_reuse_address: bool,
    pub(crate) allow_reuse_port: bool,
    pub(crate) only_v6: bool,
    handle: ServerHandle,
    state: Mutex<State>,
}

/// What the user asked for.
#[derive(Debug)]
enum Requested {
    Inet(InetAddress),
    Unix(PathBuf),
}

#[derive(Debug)]
enum State {
    NotCreated,
    /// The socket, and the addresses of its family that the requested one stands for.
    Open(Arc<OwnedFd>, Vec<Address>),
    Closed,
}

impl ServerSocket {
    pub(crate) fn inet(address: InetAddress, kind: Type) -> Self {
        // Python leaves it off; on, a server can be started again while old connections linger. UDP
        // has nothing that lingers, and there it would let two servers share a port.
        let allow_reuse_address = kind == Type::STREAM;
        Self::new(Requested::Inet(address), kind, allow_reuse_address)
    }

    pub(crate) fn unix(path: PathBuf, kind: Type) -> Self {
        Self::new(Requested::Unix(path), kind, false)
    }

    fn new(requested: Requested, kind: Type, allow_reuse_address: bool) -> Self {
        Self {
            requested,
            kind,
            allow_reuse_address,
            allow_reuse_port: false,
            only_v6: false,
            handle: ServerHandle::new(),
            state: Mutex::new(State::NotCreated),
        }
    }

    pub(crate) fn handle(&self) -> &ServerHandle {
        &self.handle
    }

    /// The socket, created by the first call.
    pub(crate) fn open(&self) -> Result<Arc<OwnedFd>, Error> {
        let mut state = lock(&self.state);
        match &*state {
            State::Open(socket, _) => return Ok(socket.clone()),
            State::Closed => {
                return Err(Error::Closed {
                    address: self.handle.server_address(),
                });
            }
            State::NotCreated => {}
        }
        let (socket, addresses) = self.create()?;
        self.handle.set_requested_address(addresses[0].clone());
        let socket = Arc::new(OwnedFd::from(socket));
        *state = State::Open(socket.clone(), addresses);
        Ok(socket)
    }

    /// A socket of the first family that this system has, with those addresses that are of it.
    fn create(&self) -> Result<(Socket, Vec<Address>), Error> {
        let addresses = match &self.requested {
            Requested::Unix(path) => vec![Address::from_unix_path(path.clone())],
            Requested::Inet(address) => address.resolve()?.into_iter().map(Address::from).collect(),
        };
        let mut failure = None;
        for first in &addresses {
            match Socket::new(domain(first), self.kind, None) {
                Ok(socket) => {
                    let family = domain(first);
                    let of_family = |address: &&Address| domain(address) == family;
                    return Ok((
                        socket,
                        addresses.iter().filter(of_family).cloned().collect(),
                    ));
                }
                Err(source) => {
                    let address = first.clone();
                    failure.get_or_insert(Error::CreateSocket { address, source });
                }
            }
        }
        Err(failure.expect("an address stands for at least one"))
    }

    /// Sets the options, binds, and makes the real address known.
    pub(crate) fn bind(&self) -> Result<(), Error> {
        let socket = self.open()?;
        let socket = SockRef::from(&*socket);
        let candidates = match &*lock(&self.state) {
            State::Open(_, addresses) => addresses.clone(),
            _ => Vec::new(),
        };
        self.set_options(&socket, &candidates)?;
        let mut failure = None;
        for address in candidates {
            match address
                .to_sockaddr()
                .and_then(|sockaddr| socket.bind(&sockaddr))
            {
                Ok(()) => {
                    let bound = socket.local_addr().map(|it| Address::from_sockaddr(&it));
                    self.handle.set_server_address(bound.unwrap_or(address));
                    return Ok(());
                }
                Err(source) => {
                    failure.get_or_insert_with(|| Error::bind(address, source));
                }
            }
        }
        Err(failure.expect("an address stands for at least one"))
    }

    fn set_options(&self, socket: &Socket, candidates: &[Address]) -> Result<(), Error> {
        let failed = |option| {
            move |source| {
                let address = self.handle.server_address();
                Error::SetOption {
                    option,
                    address,
                    source,
                }
            }
        };
        if self.allow_reuse_address {
            socket
                .set_reuse_address(true)
                .map_err(failed("SO_REUSEADDR"))?;
        }
        if self.allow_reuse_port {
            socket
                .set_reuse_port(true)
                .map_err(failed("SO_REUSEPORT"))?;
        }
        if let [Address::Inet(SocketAddr::V6(_)), ..] = candidates {
            // Systems differ in their default, so it is set either way.
            socket
                .set_only_v6(self.only_v6)
                .map_err(failed("IPV6_V6ONLY"))?;
        }
        Ok(())
    }

    /// Closes it, unless others still use it. It cannot be opened again.
    pub(crate) fn close(&self) {
        *lock(&self.state) = State::Closed;
    }

    /// Closes a forked child's copy. The parent's stays as it is.
    pub(crate) fn close_in_child(&self) {
        // It is never locked for longer than a look; but who was looking at the fork is not here.
        if let Ok(state) = self.state.try_lock()
            && let State::Open(socket, _) = &*state
        {
            // The `Arc`s that own it are never dropped here: this process ends with `_exit`.
            let _ = nix::unistd::close(socket.as_fd().as_raw_fd());
        }
    }

    /// The socket, for a hook that reports in `io::Error`.
    pub(crate) fn opened(&self) -> io::Result<Arc<OwnedFd>> {
        match &*lock(&self.state) {
            State::Open(socket, _) => Ok(socket.clone()),
            _ => Err(closed()),
        }
    }
}

fn closed() -> io::Error {
    // EBADF is what Python's closed socket says, and what ends the loop.
    io::Error::from_raw_os_error(nix::libc::EBADF)
}

fn domain(address: &Address) -> Domain {
    match address {
        Address::Inet(address) => SockAddr::from(*address).domain(),
        _ => Domain::UNIX,
    }
}
