//! The environment of a program: the inherited variables, and the variables that describe its
//! client.

use std::ffi::{CString, OsString};
use std::net::SocketAddr;
use std::os::unix::ffi::OsStringExt;

use socketserver::{Address, DatagramRequest, StreamRequest, blocking};

use crate::exec::names::Names;
use crate::shell::is_of_service_manager;

/// Variables that are added to the inherited environment.
pub(super) type Variables = Vec<(&'static str, OsString)>;

/// The beginnings of the names of variables that describe a client, as this module, UCSPI, TLS
/// wrappers and CGI set them. If this process has inherited such variables, a program would take
/// them for those of its own client.
const OF_A_CLIENT: [&str; 13] = [
    "TCPREMOTE",
    "TCPLOCAL",
    "TCPCONNNUM",
    "UDPREMOTE",
    "UDPLOCAL",
    "IPCREMOTE",
    "IPCLOCAL",
    "IPCCONNNUM",
    "REMOTE_",
    "SSL_PROTOCOL",
    "SSL_CIPHER",
    "SSL_CLIENT_",
    "SSL_TLS_SNI",
];

/// The variables of this process that a program inherits, each as `NAME=VALUE`.
pub(super) fn inherited(own: impl IntoIterator<Item = (OsString, OsString)>) -> Vec<CString> {
    let is_inherited = |(name, _): &(OsString, OsString)| {
        let name = name.as_encoded_bytes();
        let is_of_client = OF_A_CLIENT
            .iter()
            .any(|beginning| name.starts_with(beginning.as_bytes()))
            || name == b"PROTO";
        !is_of_client && !is_of_service_manager(name)
    };
    entries(own.into_iter().filter(is_inherited))
}

/// The variables as they are in an environment: each `NAME=VALUE`. A variable with a byte 0, as a
/// name in a certificate may have it, is left out.
pub(super) fn entries<N: Into<OsString>>(
    variables: impl IntoIterator<Item = (N, OsString)>,
) -> Vec<CString> {
    let entry = |(name, value): (N, OsString)| {
        let mut entry = name.into().into_vec();
        entry.push(b'=');
        entry.append(&mut value.into_vec());
        CString::new(entry).ok()
    };
    variables.into_iter().filter_map(entry).collect()
}

/// The variables that state the client of a connection. `names` are looked up if they are wanted.
pub(super) fn of_stream(request: &StreamRequest, names: Option<&Names>) -> Variables {
    let client = request.client_address();
    #[cfg(feature = "proxy-protocol")]
    let destination = request
        .proxy_header()
        .and_then(|it| it.destination().cloned());
    #[cfg(not(feature = "proxy-protocol"))]
    let destination = None;
    let local = destination.or_else(|| request.local_address());
    let mut variables = of_addresses("TCP", client, local.as_ref());
    variables.extend(of_names("TCP", client, local.as_ref(), names));
    // Behind a proxy at a Unix socket, the peer is the proxy.
    let is_unix = !matches!(client, Address::Inet(_));
    if let Some(peer) = is_unix.then(|| request.peer_credentials().ok()).flatten() {
        variables.extend([
            ("IPCREMOTEPID", peer.process_id.to_string().into()),
            ("IPCREMOTEEUID", peer.user_id.to_string().into()),
            ("IPCREMOTEEGID", peer.group_id.to_string().into()),
        ]);
    }
    // The session of this server comes before what a proxy states of its own.
    #[cfg(feature = "tls")]
    variables.extend(of_session(request));
    #[cfg(feature = "proxy-protocol")]
    add_missing(&mut variables, of_proxy(request));
    variables
}

/// The encryption between the client, or a proxy, and this server.
#[cfg(feature = "tls")]
fn of_session(request: &StreamRequest) -> Variables {
    let Some(session) = request.tls_session() else {
        return Variables::new();
    };
    let always = [
        ("SSL_PROTOCOL", session.version().into()),
        ("SSL_CIPHER", session.cipher().into()),
    ];
    let name = session.server_name();
    let name = name.map(|it| ("SSL_TLS_SNI_SERVERNAME", it.into()));
    let subject = session.peer_subject();
    let subject = subject.map(|it| ("SSL_CLIENT_S_DN", it.into()));
    always.into_iter().chain(name).chain(subject).collect()
}

/// Adds the variables whose names are not there yet.
#[cfg(feature = "proxy-protocol")]
fn add_missing(variables: &mut Variables, further: Variables) {
    for (name, value) in further {
        if variables.iter().all(|(there, _)| *there != name) {
            variables.push((name, value));
        }
    }
}

/// What a trusted proxy states about the encryption between the client and the proxy.
#[cfg(feature = "proxy-protocol")]
fn of_proxy(request: &StreamRequest) -> Variables {
    let mut variables = Variables::new();
    if let Some(header) = request.proxy_header()
        && let Some(ssl) = header.ssl().filter(|ssl| ssl.is_encrypted())
    {
        let facts = [
            ("SSL_PROTOCOL", ssl.version()),
            ("SSL_CIPHER", ssl.cipher()),
            ("SSL_TLS_SNI_SERVERNAME", header.authority()),
            (
                "SSL_CLIENT_S_DN_CN",
                ssl.common_name().filter(|_| ssl.is_verified()),
            ),
        ];
        let known = facts.into_iter();
        variables.extend(known.filter_map(|(name, value)| Some((name, value?.into()))));
    }
    variables
}

/// The variables that state the sender of a datagram.
pub(super) fn of_datagram(request: &DatagramRequest, names: Option<&Names>) -> Variables {
    let client = request.client_address();
    let local = request.local_address();
    let local = local.unwrap_or_else(|| request.server().server_address());
    let mut variables = of_addresses("UDP", client, Some(&local));
    variables.extend(of_names("UDP", client, Some(&local), names));
    variables
}

/// The names of both addresses, as far as they are wanted, and are there in time.
fn of_names(
    protocol: &str,
    remote: &Address,
    local: Option<&Address>,
    names: Option<&Names>,
) -> Variables {
    let Some(names) = names else {
        return Variables::new();
    };
    let addresses = [remote.ip(), local.and_then(Address::ip)];
    let found = blocking(|| names.of(addresses));
    let variables = match protocol {
        "TCP" => ["TCPREMOTEHOST", "TCPLOCALHOST"],
        _ => ["UDPREMOTEHOST", "UDPLOCALHOST"],
    };
    let variables = variables.into_iter().zip(found);
    variables
        .filter_map(|(variable, name)| Some((variable, name?.into())))
        .collect()
}

/// The addresses of both sides. `protocol` is that of an internet address.
fn of_addresses(protocol: &str, remote: &Address, local: Option<&Address>) -> Variables {
    let mut variables = Variables::new();
    match remote {
        Address::Inet(remote) => {
            variables.push(("PROTO", protocol.into()));
            let names = match protocol {
                "TCP" => ["TCPREMOTEIP", "TCPREMOTEPORT"],
                _ => ["UDPREMOTEIP", "UDPREMOTEPORT"],
            };
            let [ip, port] = texts(*remote);
            variables.extend([
                (names[0], ip.clone()),
                (names[1], port.clone()),
                ("REMOTE_ADDR", ip),
                ("REMOTE_PORT", port),
            ]);
        }
        unix => {
            variables.push(("PROTO", "IPC".into()));
            if let Some(path) = path_of(unix) {
                variables.push(("IPCREMOTEPATH", path.clone()));
                variables.push(("REMOTE_ADDR", path));
            }
        }
    }
    match local {
        Some(Address::Inet(local)) => {
            let [ip, port] = texts(*local);
            let names = match protocol {
                "TCP" => ["TCPLOCALIP", "TCPLOCALPORT"],
                _ => ["UDPLOCALIP", "UDPLOCALPORT"],
            };
            variables.extend([(names[0], ip), (names[1], port)]);
        }
        Some(unix) => variables.extend(path_of(unix).map(|path| ("IPCLOCALPATH", path))),
        None => {}
    }
    variables
}

/// The address and the port, as programs expect them: an IPv4 client of an IPv6 socket has its IPv4
/// address.
fn texts(address: SocketAddr) -> [OsString; 2] {
    let ip = address.ip().to_canonical();
    let ip = match address {
        // The zone is part of a link-local address.
        SocketAddr::V6(address) if address.scope_id() != 0 => {
            format!("{ip}%{}", address.scope_id())
        }
        _ => ip.to_string(),
    };
    [ip.into(), address.port().to_string().into()]
}

/// The path of a Unix socket, or its abstract name behind an at sign; `None` without a name.
fn path_of(address: &Address) -> Option<OsString> {
    match address {
        Address::Unix(path) => Some(path.into()),
        Address::UnixAbstract(name) => Some(OsString::from_vec([b"@", name.as_slice()].concat())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use socketserver::mock::MockStream;

    use super::*;

    fn shown(variables: Variables) -> Vec<String> {
        let shown = variables.into_iter();
        Vec::from_iter(shown.map(|(name, value)| format!("{name}={}", value.to_string_lossy())))
    }

    #[test]
    fn both_addresses_of_a_connection_are_stated() {
        let client = MockStream::new()
            .client_address(([192, 0, 2, 1], 1234))
            .local_address(([192, 0, 2, 7], 80));
        let (request, _) = client.into_request();
        let expected = [
            "PROTO=TCP",
            "TCPREMOTEIP=192.0.2.1",
            "TCPREMOTEPORT=1234",
            "REMOTE_ADDR=192.0.2.1",
            "REMOTE_PORT=1234",
            "TCPLOCALIP=192.0.2.7",
            "TCPLOCALPORT=80",
        ];
        assert_eq!(shown(of_stream(&request, None)), expected);
    }

    #[test]
    fn an_ipv4_client_of_an_ipv6_socket_has_its_ipv4_address_and_a_zone_is_kept() {
        let mapped: SocketAddr = "[::ffff:192.0.2.1]:5".parse().unwrap();
        assert_eq!(texts(mapped), ["192.0.2.1", "5"]);
        let zoned: SocketAddr = "[fe80::1%3]:5".parse().unwrap();
        assert_eq!(texts(zoned), ["fe80::1%3", "5"]);
    }

    #[test]
    fn a_unix_client_is_stated_by_its_name_if_there_is_one() {
        let here = Address::Unix(PathBuf::from("/run/here"));
        let unnamed = of_addresses("TCP", &Address::UnixUnnamed, Some(&here));
        assert_eq!(shown(unnamed), ["PROTO=IPC", "IPCLOCALPATH=/run/here"]);
        let named = Address::UnixAbstract(b"client".to_vec());
        let expected = ["PROTO=IPC", "IPCREMOTEPATH=@client", "REMOTE_ADDR=@client"];
        assert_eq!(shown(of_addresses("TCP", &named, None)), expected);
    }

    #[test]
    fn a_variable_with_a_byte_0_is_left_out() {
        let variables = [("NAME", "value"), ("ODD", "a\0b"), ("EMPTY", "")];
        let variables = variables.map(|(name, value)| (name, OsString::from(value)));
        assert_eq!(entries(variables), [c"NAME=value", c"EMPTY="]);
    }

    #[cfg(feature = "proxy-protocol")]
    #[test]
    fn a_variable_that_is_there_stays_as_it_is() {
        let mut variables = vec![("A", OsString::from("first"))];
        let further = vec![("A", OsString::from("second")), ("B", OsString::from("b"))];
        add_missing(&mut variables, further);
        assert_eq!(shown(variables), ["A=first", "B=b"]);
    }

    #[test]
    fn what_is_the_server_s_own_or_states_another_client_is_not_inherited() {
        let own = [
            "PATH",
            "LISTEN_FDS",
            "LISTEN_PID",
            "LISTEN_FDNAMES",
            "LISTEN_PIDFDID",
            "NOTIFY_SOCKET",
            "MAINPID",
            "SYSTEMD_EXEC_PID",
            "JOURNAL_STREAM",
            "MEMORY_PRESSURE_WATCH",
            "WATCHDOG_USEC",
            "LISTENER",
            "CREDENTIALS_DIRECTORY",
            "PROTO",
            "PROTOCOL",
            "TCPREMOTEIP",
            "TCPREMOTEHOST",
            "REMOTE_HOST",
            "SSL_CLIENT_S_DN",
            "SSL_CERT_FILE",
        ];
        let own = own.map(|name| (OsString::from(name), OsString::from("x")));
        let expected = [
            c"PATH=x",
            c"MEMORY_PRESSURE_WATCH=x",
            c"LISTENER=x",
            c"CREDENTIALS_DIRECTORY=x",
            c"PROTOCOL=x",
            c"SSL_CERT_FILE=x",
        ];
        assert_eq!(inherited(own), expected);
    }
}
