//! The URL of a server: its transport and its address.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::SocketAddr as UnixSocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::builder::{OsStringValueParser, TryMapValueParser, TypedValueParser, ValueParserFactory};
use nix::libc::sockaddr_un;
use nix::net::if_::{if_indextoname, if_nametoindex};
use socketserver::{Address, InetAddress};

/// The most bytes of the path or the name of a Unix socket.
const LONGEST_PATH: usize =
    size_of::<sockaddr_un>() - std::mem::offset_of!(sockaddr_un, sun_path) - 1;

/// The transport and the address of a server: `tcp://HOST:PORT`, `tls://HOST:PORT`,
/// `udp://HOST:PORT`, `unix:///PATH` or `unixgram:///PATH`.
///
/// A path may be relative (`unix://run/socket`), the two slashes may be missing
/// (`unix:/run/socket`, as an address prints in the log), and `@` begins a name in Linux's abstract
/// namespace (`unix://@name`; the file `@name` is `unix://./@name`).
///
/// A URL is printed as the user writes it, except that missing slashes are added. Nothing is
/// percent-encoded: a path is taken byte for byte, and need not be UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Url {
    /// The server accepts connections.
    Stream(StreamUrl),
    /// The server receives datagrams.
    Datagram(DatagramUrl),
}

/// The URL of a server that accepts connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamUrl {
    /// `tcp://HOST:PORT`.
    Tcp(HostPort),
    /// `tls://HOST:PORT`: TCP, encrypted.
    Tls(HostPort),
    /// `unix:///PATH`; an abstract name has a NUL byte in front, as in the framework.
    Unix(PathBuf),
}

/// The URL of a server that receives datagrams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatagramUrl {
    /// `udp://HOST:PORT`.
    Udp(HostPort),
    /// `unixgram:///PATH`.
    Unix(PathBuf),
}

/// A host and a port; port 0 is any free port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    host: Host,
    port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Name(String),
    Ip(IpAddr),
    /// An IPv6 address with its zone: the name or the number of an interface.
    Zoned(Ipv6Addr, String),
}

/// Why a text is not a URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    #[error(
        "the URL has no scheme; write tcp://HOST:PORT, tls://HOST:PORT, udp://HOST:PORT, \
         unix:///PATH or unixgram:///PATH"
    )]
    NoScheme,
    #[error("the scheme {0:?} is unknown; the known ones are tcp, tls, udp, unix and unixgram")]
    UnknownScheme(String),
    #[error(
        "the host is missing before the port; write 0.0.0.0 for every IPv4 address of this \
         machine, or [::] for every IPv6 address too"
    )]
    NoHost,
    #[error("{0:?} is not a host; write a name, an IPv4 address, or an IPv6 address in brackets")]
    BadHost(String),
    #[error("{0:?} is not an IPv6 address; the brackets enclose an IPv6 address, such as [::1]")]
    BadIpv6(String),
    #[error("{0:?} is not a zone; a zone is the name or the number of a network interface")]
    BadZone(String),
    #[error("the bracket around the IPv6 address is not closed; write [ADDRESS]:PORT")]
    OpenBracket,
    #[error("the IPv6 address {0} has no brackets; write [{0}]:PORT")]
    BareIpv6(Ipv6Addr),
    #[error("the port is missing; write HOST:PORT, where port 0 is any free port")]
    NoPort,
    #[error("{0:?} is not a port; a port is a number from 0 to 65535")]
    BadPort(String),
    #[error("the port {0} is out of range; the highest is 65535")]
    PortOutOfRange(String),
    #[error("a URL ends with the port, but {0:?} follows; leave {0:?} out")]
    AfterPort(String),
    #[error("the path is missing; write {0}:///PATH")]
    NoPath(&'static str),
    #[error(
        "the path has {0} bytes, and the path of a Unix socket has at most {LONGEST_PATH}; choose \
         a shorter path, or a path relative to the working directory"
    )]
    LongPath(usize),
    #[error("the path {0:?} contains a byte 0, which no path may have")]
    NulByte(String),
    #[error("the path {0:?} ends with a slash; write the path of a file")]
    Directory(String),
    #[error("the path {0:?} contains a control character; choose another path")]
    ControlCharacter(String),
}

impl Url {
    /// A TCP port of 127.0.0.1.
    pub const fn local_tcp(port: u16) -> Self {
        Self::Stream(StreamUrl::Tcp(HostPort::local(port)))
    }

    /// A UDP port of 127.0.0.1.
    pub const fn local_udp(port: u16) -> Self {
        Self::Datagram(DatagramUrl::Udp(HostPort::local(port)))
    }

    /// The URL as the user writes it, byte for byte.
    pub fn to_bytes(&self) -> Vec<u8> {
        let path = match self {
            Self::Stream(StreamUrl::Unix(path)) | Self::Datagram(DatagramUrl::Unix(path)) => path,
            _ => return self.to_string().into_bytes(),
        };
        let shown = shown_path(path);
        [self.scheme().as_bytes(), b"://", &shown].concat()
    }

    /// The URL of this server at one of its addresses, with the port that the system has chosen for
    /// port 0. A path has the bytes that were typed, so that the URL can be typed again.
    pub fn at(&self, address: &Address) -> Self {
        let Address::Inet(address) = address else {
            return self.clone();
        };
        let place = HostPort::from(*address);
        match self {
            Self::Stream(StreamUrl::Tcp(_)) => StreamUrl::Tcp(place).into(),
            Self::Stream(StreamUrl::Tls(_)) => StreamUrl::Tls(place).into(),
            Self::Datagram(DatagramUrl::Udp(_)) => DatagramUrl::Udp(place).into(),
            Self::Stream(StreamUrl::Unix(_)) | Self::Datagram(DatagramUrl::Unix(_)) => self.clone(),
        }
    }

    /// The path or the abstract name of a Unix socket; `None` for the others.
    pub fn unix_path(&self) -> Option<&Path> {
        match self {
            Self::Stream(StreamUrl::Unix(path)) | Self::Datagram(DatagramUrl::Unix(path)) => {
                Some(path)
            }
            _ => None,
        }
    }

    /// Parses an argument of the command line, which need not be UTF-8.
    pub fn from_os_str(text: &OsStr) -> Result<Self, UrlError> {
        let bytes = text.as_bytes();
        let lossy = || String::from_utf8_lossy(bytes).into_owned();
        for (scheme, datagrams) in [("unix", false), ("unixgram", true)] {
            let Some(rest) = bytes
                .strip_prefix(scheme.as_bytes())
                .and_then(|rest| rest.strip_prefix(b":"))
            else {
                continue;
            };
            let path = parse_path(rest.strip_prefix(b"//").unwrap_or(rest), scheme)?;
            return Ok(match datagrams {
                false => StreamUrl::Unix(path).into(),
                true => DatagramUrl::Unix(path).into(),
            });
        }
        let text = lossy();
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::NoScheme)?;
        match scheme {
            "tcp" => Ok(StreamUrl::Tcp(rest.parse()?).into()),
            "tls" => Ok(StreamUrl::Tls(rest.parse()?).into()),
            "udp" => Ok(DatagramUrl::Udp(rest.parse()?).into()),
            "" => Err(UrlError::NoScheme),
            _ => Err(UrlError::UnknownScheme(scheme.to_owned())),
        }
    }

    fn from_os_string(text: OsString) -> Result<Self, UrlError> {
        Self::from_os_str(&text)
    }

    /// The part before `://`, which names the transport.
    pub fn scheme(&self) -> &'static str {
        match self {
            Self::Stream(url) => url.scheme(),
            Self::Datagram(url) => url.scheme(),
        }
    }

    /// Whether the server accepts connections, and does not receive datagrams.
    pub fn has_connections(&self) -> bool {
        matches!(self, Self::Stream(_))
    }

    /// The host and the port; `None` for a Unix socket.
    pub fn host_port(&self) -> Option<&HostPort> {
        match self {
            Self::Stream(StreamUrl::Tcp(place) | StreamUrl::Tls(place))
            | Self::Datagram(DatagramUrl::Udp(place)) => Some(place),
            Self::Stream(StreamUrl::Unix(_)) | Self::Datagram(DatagramUrl::Unix(_)) => None,
        }
    }
}

impl StreamUrl {
    fn scheme(&self) -> &'static str {
        match self {
            Self::Tcp(_) => "tcp",
            Self::Tls(_) => "tls",
            Self::Unix(_) => "unix",
        }
    }
}

impl DatagramUrl {
    fn scheme(&self) -> &'static str {
        match self {
            Self::Udp(_) => "udp",
            Self::Unix(_) => "unixgram",
        }
    }
}

impl HostPort {
    const fn local(port: u16) -> Self {
        Self {
            host: Host::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            port,
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether the host is the name `localhost`, which means this machine over IPv4 and IPv6.
    pub fn is_localhost(&self) -> bool {
        let Host::Name(name) = &self.host else {
            return false;
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        name.eq_ignore_ascii_case("localhost")
    }

    /// Looks the host up, and returns its addresses: at least one.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        Ok(self.inet_address().to_socket_addrs()?.collect())
    }

    /// The address for a server, and for a look-up.
    pub fn inet_address(&self) -> InetAddress {
        match &self.host {
            Host::Name(name) => (name.as_str(), self.port).into(),
            Host::Ip(ip) => (*ip, self.port).into(),
            Host::Zoned(ip, zone) => (format!("{ip}%{zone}"), self.port).into(),
        }
    }
}

/// As the library prints the address: an IPv4 address in an IPv6 one is IPv4.
impl From<SocketAddr> for HostPort {
    fn from(address: SocketAddr) -> Self {
        let host = match (address.ip().to_canonical(), address) {
            (IpAddr::V6(ip), SocketAddr::V6(it)) if it.scope_id() != 0 => {
                Host::Zoned(ip, it.scope_id().to_string())
            }
            (ip, _) => Host::Ip(ip),
        };
        let port = address.port();
        Self { host, port }
    }
}

impl From<StreamUrl> for Url {
    fn from(url: StreamUrl) -> Self {
        Self::Stream(url)
    }
}

impl From<DatagramUrl> for Url {
    fn from(url: DatagramUrl) -> Self {
        Self::Datagram(url)
    }
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        Self::from_os_str(OsStr::new(text))
    }
}

/// Arguments are parsed with [`Url::from_os_str`].
impl ValueParserFactory for Url {
    type Parser = TryMapValueParser<OsStringValueParser, fn(OsString) -> Result<Url, UrlError>>;

    fn value_parser() -> Self::Parser {
        OsStringValueParser::new().try_map(Url::from_os_string)
    }
}

impl FromStr for HostPort {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        if let Some(bracketed) = text.strip_prefix('[') {
            let (ip, rest) = bracketed.split_once(']').ok_or(UrlError::OpenBracket)?;
            let port = match rest.strip_prefix(':') {
                Some(port) => parse_port(port)?,
                None if rest.is_empty() => return Err(UrlError::NoPort),
                None => return Err(UrlError::BadHost(format!("[{bracketed}"))),
            };
            let (ip, zone) = match ip.split_once('%') {
                Some((ip, zone)) => (ip, Some(parse_zone(zone)?)),
                None => (ip, None),
            };
            let Ok(ip) = ip.parse::<Ipv6Addr>() else {
                return Err(UrlError::BadIpv6(ip.to_owned()));
            };
            let host = match zone {
                Some(zone) => Host::Zoned(ip, zone),
                None => Host::Ip(ip.into()),
            };
            return Ok(Self { host, port });
        }
        if let Ok(ip) = text.parse() {
            return Err(UrlError::BareIpv6(ip));
        }
        let (host, port) = text.split_once(':').ok_or(UrlError::NoPort)?;
        let host = parse_host(host)?;
        let port = parse_port(port)?;
        Ok(Self { host, port })
    }
}

fn parse_host(host: &str) -> Result<Host, UrlError> {
    if host.is_empty() {
        return Err(UrlError::NoHost);
    }
    if let Ok(ip) = host.parse() {
        return Ok(Host::Ip(IpAddr::V4(ip)));
    }
    let of_a_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if !host.chars().all(of_a_name) {
        return Err(UrlError::BadHost(host.to_owned()));
    }
    Ok(Host::Name(host.to_owned()))
}

/// Parses the zone behind the `%`, which a URL may write as `%25`. If both readings are possible,
/// as in `%254`, returns the reading that is an interface of this machine, and rather that of a
/// URL.
fn parse_zone(zone: &str) -> Result<String, UrlError> {
    let is_interface = |zone: &str| match zone.parse() {
        Ok(number) => if_indextoname(number).is_ok(),
        Err(_) => if_nametoindex(zone).is_ok(),
    };
    let zone = match zone.strip_prefix(ENCODED_PERCENT) {
        Some(decoded) if !decoded.is_empty() && (is_interface(decoded) || !is_interface(zone)) => {
            decoded
        }
        _ => zone,
    };
    // An interface may have any other character in its name.
    let of_an_interface = |c: char| c.is_ascii_graphic() && !matches!(c, '%' | '/' | '[' | ']');
    match !zone.is_empty() && zone.chars().all(of_an_interface) {
        true => Ok(zone.to_owned()),
        false => Err(UrlError::BadZone(zone.to_owned())),
    }
}

/// What follows the `%` in the URL's form of a `%`.
const ENCODED_PERCENT: &str = "25";

fn parse_port(text: &str) -> Result<u16, UrlError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(digits);
    match (number, rest) {
        ("", "") => Err(UrlError::NoPort),
        ("", _) => Err(UrlError::BadPort(text.to_owned())),
        (_, rest) if rest.starts_with(['/', '?', '#']) => Err(UrlError::AfterPort(rest.to_owned())),
        (number, "") => number
            .parse()
            .map_err(|_| UrlError::PortOutOfRange(number.to_owned())),
        _ => Err(UrlError::BadPort(text.to_owned())),
    }
}

fn parse_path(path: &[u8], scheme: &'static str) -> Result<PathBuf, UrlError> {
    let text = || String::from_utf8_lossy(path).into_owned();
    let (mut name, is_abstract) = match path {
        [b'@', name @ ..] => (name.to_owned(), true),
        _ => (path.to_owned(), false),
    };
    if name.is_empty() || path == b"/" {
        return Err(UrlError::NoPath(scheme));
    }
    if !is_abstract && name.ends_with(b"/") {
        return Err(UrlError::Directory(text()));
    }
    if name.contains(&0) {
        return Err(UrlError::NulByte(text()));
    }
    if text().contains(char::is_control) {
        return Err(UrlError::ControlCharacter(text()));
    }
    if name.len() > LONGEST_PATH {
        return Err(UrlError::LongPath(name.len()));
    }
    if is_abstract {
        name.insert(0, 0);
    }
    Ok(OsString::from_vec(name).into())
}

/// The path of a Unix socket as the user writes it: with `@` before an abstract name.
fn shown_path(path: &Path) -> Vec<u8> {
    match path.as_os_str().as_bytes() {
        [0, name @ ..] => [b"@", name].concat(),
        path => path.to_owned(),
    }
}

/// The address of a Unix socket with this path or abstract name.
pub fn unix_address(path: &Path) -> io::Result<UnixSocketAddr> {
    match path.as_os_str().as_bytes() {
        [0, name @ ..] => UnixSocketAddr::from_abstract_name(name),
        _ => UnixSocketAddr::from_pathname(path),
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream(url) => url.fmt(f),
            Self::Datagram(url) => url.fmt(f),
        }
    }
}

impl fmt::Display for StreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme())?;
        match self {
            Self::Tcp(place) | Self::Tls(place) => place.fmt(f),
            Self::Unix(path) => String::from_utf8_lossy(&shown_path(path)).fmt(f),
        }
    }
}

impl fmt::Display for DatagramUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme())?;
        match self {
            Self::Udp(place) => place.fmt(f),
            Self::Unix(path) => String::from_utf8_lossy(&shown_path(path)).fmt(f),
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.port;
        match &self.host {
            Host::Name(name) => write!(f, "{name}:{port}"),
            Host::Ip(IpAddr::V4(ip)) => write!(f, "{ip}:{port}"),
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:{port}"),
            // So that no zone can be read in two ways.
            Host::Zoned(ip, zone) if zone.starts_with(ENCODED_PERCENT) => {
                write!(f, "[{ip}%{ENCODED_PERCENT}{zone}]:{port}")
            }
            Host::Zoned(ip, zone) => write!(f, "[{ip}%{zone}]:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Url, UrlError> {
        text.parse()
    }

    #[test]
    fn every_kind_of_url_is_parsed_and_prints_as_it_is_written() {
        for text in [
            "tcp://127.0.0.1:9999",
            "tcp://localhost:0",
            "tcp://[::1]:65535",
            "tcp://[::]:80",
            "tls://localhost:443",
            "udp://0.0.0.0:9000",
            "udp://time-server.example_1.org:9000",
            "unix:///run/upper.sock",
            "unix:///tmp/a b/ü%20:?#.sock",
            "unixgram:///run/time.sock",
            "unix://@name",
            "unixgram://@a/b/",
            "unix://./relative.sock",
            "unixgram://relative.sock",
            "unix://./@file",
            "unix:///tmp/%41.sock",
        ] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn an_ip_address_is_not_taken_for_a_name() {
        let Url::Stream(StreamUrl::Tcp(place)) = parse("tcp://127.0.0.1:09999").unwrap() else {
            panic!("it is a TCP address");
        };
        assert_eq!(place, HostPort::local(9999));
        let Url::Datagram(DatagramUrl::Udp(place)) = parse("udp://[0:0::0:1]:7").unwrap() else {
            panic!("it is a UDP address");
        };
        assert_eq!(place.host, Host::Ip(Ipv6Addr::LOCALHOST.into()));
    }

    #[test]
    fn each_mistake_has_a_message_of_its_own() {
        let quoted = str::to_owned;
        let table = [
            ("", UrlError::NoScheme),
            ("127.0.0.1:9999", UrlError::NoScheme),
            ("://127.0.0.1:9999", UrlError::NoScheme),
            ("tcp:127.0.0.1:9999", UrlError::NoScheme),
            (
                "http://localhost:80",
                UrlError::UnknownScheme(quoted("http")),
            ),
            ("TCP://localhost:80", UrlError::UnknownScheme(quoted("TCP"))),
            ("tcp://:9999", UrlError::NoHost),
            ("tcp://a b:9999", UrlError::BadHost(quoted("a b"))),
            ("tcp://ü:9999", UrlError::BadHost(quoted("ü"))),
            (
                "tcp://user@host:9999",
                UrlError::BadHost(quoted("user@host")),
            ),
            ("tcp://[::1", UrlError::OpenBracket),
            ("tcp://[::1]9999", UrlError::BadHost(quoted("[::1]9999"))),
            (
                "tcp://[localhost]:1",
                UrlError::BadIpv6(quoted("localhost")),
            ),
            ("tcp://[]:1", UrlError::BadIpv6(quoted(""))),
            ("tcp://::1", UrlError::BareIpv6(Ipv6Addr::LOCALHOST)),
            ("tcp://", UrlError::NoPort),
            ("tls://", UrlError::NoPort),
            ("tls:localhost:443", UrlError::NoScheme),
            ("tcp://localhost", UrlError::NoPort),
            ("tcp://localhost:", UrlError::NoPort),
            ("tcp://[::1]", UrlError::NoPort),
            ("udp://[::1]:", UrlError::NoPort),
            ("tcp://localhost:http", UrlError::BadPort(quoted("http"))),
            ("tcp://localhost:-1", UrlError::BadPort(quoted("-1"))),
            ("tcp://localhost:+1", UrlError::BadPort(quoted("+1"))),
            ("tcp://localhost:80x", UrlError::BadPort(quoted("80x"))),
            ("tcp://localhost:1:2", UrlError::BadPort(quoted("1:2"))),
            (
                "tcp://localhost:65536",
                UrlError::PortOutOfRange(quoted("65536")),
            ),
            (
                "udp://a:99999999999999999999",
                UrlError::PortOutOfRange(quoted("99999999999999999999")),
            ),
            ("tcp://localhost:80/", UrlError::AfterPort(quoted("/"))),
            (
                "tcp://localhost:80/a?b",
                UrlError::AfterPort(quoted("/a?b")),
            ),
            ("unix://", UrlError::NoPath("unix")),
            ("unixgram:///", UrlError::NoPath("unixgram")),
            ("unix:", UrlError::NoPath("unix")),
            ("unix://@", UrlError::NoPath("unix")),
            ("unixgram:run/", UrlError::Directory(quoted("run/"))),
            ("unix:///run/", UrlError::Directory(quoted("/run/"))),
            (
                "unix:///run/a\nb",
                UrlError::ControlCharacter(quoted("/run/a\nb")),
            ),
            ("unix:///run/a\0b", UrlError::NulByte(quoted("/run/a\0b"))),
        ];
        for (text, error) in table {
            assert_eq!(parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn localhost_is_a_name_and_not_an_address() {
        let is_localhost = |text: &str| text.parse::<HostPort>().unwrap().is_localhost();
        for text in ["localhost:0", "LocalHost:1", "localhost.:2"] {
            assert!(is_localhost(text), "{text}");
        }
        for text in ["127.0.0.1:0", "[::1]:0", "localhost.localdomain:0", "a:0"] {
            assert!(!is_localhost(text), "{text}");
        }
    }

    #[test]
    fn a_zone_is_read_by_name_and_number_as_it_is_and_in_the_form_of_a_url() {
        for (text, zone) in [
            ("tcp://[fe80::1%eth0]:7", "eth0"),
            ("tcp://[fe80::1%25eth0]:7", "eth0"),
            ("tcp://[fe80::1%4]:7", "4"),
            ("tcp://[fe80::1%254]:7", "4"),
            ("tcp://[fe80::1%25]:7", "25"),
            ("tcp://[fe80::1%25254]:7", "254"),
            ("tcp://[fe80::1%br-1.2:3]:7", "br-1.2:3"),
        ] {
            let url = parse(text).unwrap();
            let place = url.host_port().unwrap();
            let ip = "fe80::1".parse().unwrap();
            assert_eq!(place.host, Host::Zoned(ip, zone.to_owned()), "{text}");
            assert_eq!(parse(&url.to_string()), Ok(url), "{text}");
        }
        for text in ["tcp://[::1%]:7", "tcp://[::1%a b]:7", "udp://[::1%a%b]:7"] {
            assert!(matches!(parse(text), Err(UrlError::BadZone(_))), "{text}");
        }
        let four = parse("tcp://[127.0.0.1%lo]:7");
        assert_eq!(four, Err(UrlError::BadIpv6("127.0.0.1".to_owned())));
    }

    #[test]
    fn an_address_of_the_system_becomes_a_url_that_means_the_same_address() {
        for zone in [0, 1, 25, 254, 2513] {
            let ip = "fe80::1".parse().unwrap();
            let address = SocketAddr::V6(std::net::SocketAddrV6::new(ip, 7, 0, zone));
            let url = Url::from(StreamUrl::Tcp(address.into()));
            let again = parse(&url.to_string()).unwrap();
            assert_eq!(again.host_port().unwrap().addresses().unwrap(), [address]);
        }
        let mapped: SocketAddr = "[::ffff:192.0.2.7]:7".parse().unwrap();
        assert_eq!(HostPort::from(mapped).to_string(), "192.0.2.7:7");
    }

    #[test]
    fn a_message_names_what_to_write() {
        let message = |text| parse(text).unwrap_err().to_string();
        assert_eq!(
            message("tcp://::1"),
            "the IPv6 address ::1 has no brackets; write [::1]:PORT"
        );
        let long = format!("unixgram:///{}", "x".repeat(107));
        let long = message(&long);
        assert!(
            long.starts_with("the path has 108 bytes") && long.contains("at most 107"),
            "{long}"
        );
        assert!(parse(&format!("unix://@{}", "x".repeat(107))).is_ok());
    }

    #[test]
    fn a_path_has_the_bytes_of_the_argument_and_prints_them() {
        for (argument, path) in [
            (&b"unix:///run/\xff"[..], &b"/run/\xff"[..]),
            (b"unixgram://\xc3\x28", b"\xc3\x28"),
            (b"unix://@\xfe\xff", b"\0\xfe\xff"),
        ] {
            let url = Url::from_os_str(OsStr::from_bytes(argument)).unwrap();
            assert_eq!(url.unix_path().unwrap().as_os_str().as_bytes(), path);
            assert_eq!(url.to_bytes(), argument);
        }
    }

    #[test]
    fn the_slashes_may_be_missing_before_a_path() {
        for (short, long) in [
            ("unix:/run/a", "unix:///run/a"),
            ("unix:@name", "unix://@name"),
            ("unixgram:a", "unixgram://a"),
        ] {
            assert_eq!(parse(short).unwrap().to_string(), long);
        }
    }

    fn any_host() -> impl Strategy<Value = Host> + Clone {
        prop_oneof![
            any::<IpAddr>().prop_map(Host::Ip),
            "[a-z][a-zA-Z0-9._-]{0,20}".prop_map(Host::Name),
        ]
    }

    fn any_url() -> impl Strategy<Value = Url> {
        let place = (any_host(), any::<u16>()).prop_map(|(host, port)| HostPort { host, port });
        let path = "(/[^/\\pC]{1,5}){1,4}".prop_map(PathBuf::from);
        prop_oneof![
            place.clone().prop_map(|it| StreamUrl::Tcp(it).into()),
            place.clone().prop_map(|it| StreamUrl::Tls(it).into()),
            place.prop_map(|it| DatagramUrl::Udp(it).into()),
            path.clone().prop_map(|it| StreamUrl::Unix(it).into()),
            path.prop_map(|it| DatagramUrl::Unix(it).into()),
        ]
    }

    proptest! {
        #[test]
        fn any_text_is_a_url_that_prints_and_parses_back_or_an_error(text: String) {
            if let Ok(url) = parse(&text) {
                prop_assert_eq!(parse(&url.to_string()), Ok(url));
            }
        }

        #[test]
        fn any_text_after_a_scheme_is_a_url_that_prints_and_parses_back_or_an_error(
            text in "(tcp|tls|udp|unix|unixgram|http):?/{0,4}[\\[]?[a-z0-9.:é%@ \n]{0,12}\
                [\\]]?[:/]{0,2}[0-9a]{0,6}",
        ) {
            if let Ok(url) = parse(&text) {
                prop_assert_eq!(parse(&url.to_string()), Ok(url));
            }
        }

        #[test]
        fn every_url_parses_back_from_what_it_prints(url in any_url()) {
            prop_assert_eq!(parse(&url.to_string()), Ok(url));
        }
    }
}
