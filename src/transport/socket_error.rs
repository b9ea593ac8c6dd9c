//! The errors of a listening socket that cannot be opened or bound.

use std::io;
use std::path::PathBuf;

use nix::errno::Errno;

use crate::transport::socket_file::ClaimError;
use crate::values::address::Address;
use crate::values::inet_address::AddressError;

/// The reason why the socket cannot be opened or bound.
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
    /// bind(2) failed, or every address of a name failed.
    Bind {
        address: Address,
        source: io::Error,
        /// The other addresses that were tried.
        others: Vec<(Address, io::Error)>,
    },
    /// The system cannot make the descriptor that is readable when one of several sockets is.
    Several(Address, io::Error),
}

impl SocketError {
    pub(crate) fn bind(address: Address, source: io::Error) -> Self {
        Self::Bind {
            address,
            source,
            others: Vec::new(),
        }
    }

    /// Makes the error of a name of which no address could be bound. `failures` has the failure of
    /// each address, at least one. The failure with the clearest remedy comes first.
    pub(crate) fn of_each(mut failures: Vec<(Address, Self)>) -> Self {
        if failures.len() == 1 {
            return failures.remove(0).1;
        }
        let mut causes: Vec<_> = failures
            .into_iter()
            .map(|(address, error)| (address, error.into_cause()))
            .collect();
        let clearest = (0..causes.len()).min_by_key(|&index| obscurity(&causes[index].1));
        let (address, source) = causes.remove(clearest.unwrap_or(0));
        Self::Bind {
            address,
            source,
            others: causes,
        }
    }

    /// Returns the error of the operating system.
    pub(crate) fn into_cause(self) -> io::Error {
        match self {
            Self::Given(source)
            | Self::Create(_, source)
            | Self::Option(_, _, source)
            | Self::Bind { source, .. }
            | Self::Several(_, source)
            | Self::Claim(_, ClaimError::Unusable(source))
            | Self::Address(
                AddressError::Invalid { source, .. } | AddressError::Unresolved { source, .. },
            ) => source,
            Self::Claim(_, ClaimError::InUse) => Errno::EADDRINUSE.into(),
            Self::Closed => Errno::EBADF.into(),
        }
    }
}

/// Returns the rank of an error of bind(2), where the clearest remedy has the rank 0. An address in
/// use is a fault. An address of another family or machine may be in the name for other machines.
fn obscurity(error: &io::Error) -> u8 {
    match error.kind() {
        io::ErrorKind::AddrInUse => 0,
        io::ErrorKind::PermissionDenied => 1,
        io::ErrorKind::AddrNotAvailable => 3,
        _ if error.raw_os_error() == Some(Errno::EAFNOSUPPORT as i32) => 4,
        _ => 2,
    }
}
