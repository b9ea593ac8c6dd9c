//! Where the user has a server listen: at a URL, or on a socket that a service manager has opened.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TryMapValueParser, TypedValueParser, ValueParserFactory};
use socket2::{SockAddr, SockRef, Type};

#[cfg(feature = "systemd")]
use crate::failure::Failure;
#[cfg(feature = "systemd")]
use crate::passed_sockets::{PassedSockets, SocketName};
use crate::url::{DatagramUrl, StreamUrl, Url, UrlError};

/// A value of `--listen`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    Url(Url),
    /// `fd://NAME` or `fd://NUMBER`.
    #[cfg(feature = "systemd")]
    Passed {
        name: SocketName,
        /// `tls+fd://`: the connections are encrypted.
        is_tls: bool,
    },
}

/// A place where a server listens.
#[derive(Debug)]
pub struct Place {
    /// The URL. For a socket that is open already, the URL of its address.
    pub url: Url,
    pub socket: Option<OwnedFd>,
    /// The place of its `--listen` on the command line.
    pub listener: usize,
    /// Whether another program has made the socket, and removes its file.
    pub is_foreign: bool,
}

/// Why a text is not a value of `--listen`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListenError {
    #[error(transparent)]
    Url(#[from] UrlError),
    #[error("the socket is missing; write fd://NAME, or fd://3 for the first one")]
    NoName,
    #[cfg(not(feature = "systemd"))]
    #[error("this build of the command takes no fd://; build it with the feature systemd")]
    NotHere,
}

impl Listen {
    fn from_os_string(text: OsString) -> Result<Self, ListenError> {
        Self::from_os_str(&text)
    }

    fn from_os_str(text: &OsStr) -> Result<Self, ListenError> {
        let passed = text.to_str().and_then(|text| {
            let name = text.strip_prefix("fd://");
            let tls = text.strip_prefix("tls+fd://");
            name.map(|it| (it, false)).or(tls.map(|it| (it, true)))
        });
        match passed {
            None => Ok(Self::Url(Url::from_os_str(text)?)),
            Some(("", _)) => Err(ListenError::NoName),
            #[cfg(not(feature = "systemd"))]
            Some(_) => Err(ListenError::NotHere),
            #[cfg(feature = "systemd")]
            Some((name, is_tls)) => Ok(Self::Passed {
                name: match name.parse() {
                    Ok(number) => SocketName::Number(number),
                    Err(_) => SocketName::Name(name.to_owned()),
                },
                is_tls,
            }),
        }
    }
}

impl Place {
    pub fn at(url: Url, listener: usize) -> Self {
        Self {
            url,
            socket: None,
            listener,
            is_foreign: false,
        }
    }

    /// The places of the sockets that the predecessor has at a listener: at least one.
    ///
    /// # Errors
    ///
    /// If there is none.
    #[cfg(feature = "systemd")]
    pub fn handed_over(
        passed: &mut PassedSockets,
        listener: usize,
        is_tls: bool,
        is_foreign: bool,
    ) -> Result<Vec<Self>, Failure> {
        let name = SocketName::Name(SocketName::handed_over(listener));
        let places = Self::passed(passed, &name, listener, is_tls)?;
        let places = places.into_iter().map(|place| Self {
            is_foreign,
            ..place
        });
        Ok(places.collect())
    }

    /// The places of the sockets that are meant: at least one.
    ///
    /// # Errors
    ///
    /// If no such socket was passed to this program, or a socket cannot be served.
    #[cfg(feature = "systemd")]
    pub fn passed(
        passed: &mut PassedSockets,
        name: &SocketName,
        listener: usize,
        is_tls: bool,
    ) -> Result<Vec<Self>, Failure> {
        let failed = |error| Failure::Passed(name.to_string(), error);
        let sockets = passed.take(name).map_err(failed)?;
        let place = |socket: OwnedFd| {
            let url = url_of(&socket, is_tls).map_err(failed)?;
            Ok(Self {
                url,
                socket: Some(socket),
                listener,
                is_foreign: true,
            })
        };
        sockets.into_iter().map(place).collect()
    }
}

/// Arguments are parsed as [`Url`]s, but for those with `fd://`.
impl ValueParserFactory for Listen {
    type Parser =
        TryMapValueParser<OsStringValueParser, fn(OsString) -> Result<Listen, ListenError>>;

    fn value_parser() -> Self::Parser {
        OsStringValueParser::new().try_map(Listen::from_os_string)
    }
}

/// The URL of a bound socket that a server can serve.
///
/// # Errors
///
/// Why the socket cannot be served, and what to do.
pub fn url_of(socket: &OwnedFd, is_tls: bool) -> Result<Url, String> {
    let socket = SockRef::from(socket);
    let unknown = |error: io::Error| format!("its address cannot be read: {error}");
    let kind = socket.r#type().map_err(unknown)?;
    let address = socket.local_addr().map_err(unknown)?;
    if kind == Type::STREAM && !socket.is_listener().map_err(unknown)? {
        return Err(match socket.peer_addr() {
            Ok(_) => "it is a connection, as of a unit with Accept=yes; give --inetd, and no \
                      --listen"
                .to_owned(),
            Err(_) => "it does not listen; whoever opens it has to call listen(2)".to_owned(),
        });
    }
    if kind == Type::DGRAM && socket.peer_addr().is_ok() {
        return Err("it is connected to a single peer".to_owned());
    }
    url_at(kind, &address, is_tls)
}

/// The URL of the address at which a client has connected.
///
/// # Errors
///
/// Why the socket is no connection, and what to do.
pub fn url_of_connection(socket: &OwnedFd) -> Result<Url, String> {
    let socket = SockRef::from(socket);
    if socket.is_listener().unwrap_or(false) {
        return Err(
            "it is a listening socket, as inetd passes it with \"wait\", and systemd with \
             Accept=no; write nowait there, or give --listen fd://3 here"
                .to_owned(),
        );
    }
    let unknown = |error: io::Error| format!("its address cannot be read: {error}");
    url_at(Type::STREAM, &socket.local_addr().map_err(unknown)?, false)
}

fn url_at(kind: Type, address: &SockAddr, is_tls: bool) -> Result<Url, String> {
    let place = match (address.as_socket(), unix_path(address)) {
        (Some(inet), _) => Ok(inet.into()),
        (None, Some(path)) => Err(path),
        // A socket pair, for a connection.
        (None, None) => Err(PathBuf::new()),
    };
    match (kind, place, is_tls) {
        (Type::STREAM, Ok(inet), true) => Ok(StreamUrl::Tls(inet).into()),
        (_, _, true) => Err("tls+fd:// is for a TCP socket".to_owned()),
        (Type::STREAM, Ok(inet), false) => Ok(StreamUrl::Tcp(inet).into()),
        (Type::STREAM, Err(path), false) => Ok(StreamUrl::Unix(path).into()),
        (Type::DGRAM, Ok(inet), false) => Ok(DatagramUrl::Udp(inet).into()),
        (Type::DGRAM, Err(path), false) => Ok(DatagramUrl::Unix(path).into()),
        (kind, ..) => Err(format!("its type, {kind:?}, cannot be served")),
    }
}

/// The path of a Unix socket, or its abstract name behind a byte 0.
fn unix_path(address: &SockAddr) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let named = address.as_abstract_namespace().map(|name| {
        let bytes = [b"\0", name].concat();
        OsString::from_vec(bytes).into()
    });
    named.or_else(|| address.as_pathname().map(ToOwned::to_owned))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    fn parse(text: &str) -> Result<Listen, ListenError> {
        Listen::from_os_str(OsStr::new(text))
    }

    #[test]
    fn a_socket_is_named_or_numbered_and_everything_else_is_a_url() {
        let passed = |name, is_tls| Ok(Listen::Passed { name, is_tls });
        let name = |name: &str| SocketName::Name(name.to_owned());
        assert_eq!(parse("fd://web"), passed(name("web"), false));
        assert_eq!(parse("fd://3"), passed(SocketName::Number(3), false));
        assert_eq!(parse("tls+fd://web"), passed(name("web"), true));
        assert_eq!(parse("fd://"), Err(ListenError::NoName));
        assert!(matches!(parse("tcp://127.0.0.1:0"), Ok(Listen::Url(_))));
        assert!(matches!(parse("fd:3"), Err(ListenError::Url(_))));
    }

    #[test]
    fn the_url_of_a_socket_is_what_a_client_types_and_a_connection_has_none() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        let url = |socket: OwnedFd, is_tls| url_of(&socket, is_tls).map(|url| url.to_string());
        let copy = |socket: &TcpListener| socket.try_clone().unwrap().into();
        assert_eq!(url(copy(&listener), false), Ok(format!("tcp://{address}")));
        assert_eq!(url(copy(&listener), true), Ok(format!("tls://{address}")));
        let error = url(client.into(), false).unwrap_err();
        assert!(error.contains("--inetd"), "{error}");
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        assert_eq!(url(socket.into(), false), Ok(format!("udp://{address}")));
        let bound = socket2::Socket::new(socket2::Domain::IPV4, Type::STREAM, None).unwrap();
        bound
            .bind(
                &"127.0.0.1:0"
                    .parse::<std::net::SocketAddr>()
                    .unwrap()
                    .into(),
            )
            .unwrap();
        let error = url(bound.into(), false).unwrap_err();
        assert!(error.contains("listen(2)"), "{error}");
    }
}
