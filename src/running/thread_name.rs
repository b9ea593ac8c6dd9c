//! The names of a server's threads.

use std::os::fd::OwnedFd;

use socket2::{SockRef, Type};

use crate::values::address::Address;

/// The most bytes of a server's name: Linux shows 15 bytes of a thread's name, and the role of the
/// thread, with a space before, takes up to 6.
const LONGEST_SERVER: usize = 9;

/// Makes the name of a thread of the server with this address and listening socket:
/// `tcp:9999 serve`, `udp:53 pool`, `echo.sock serve`. The name has at most 15 bytes if `role` has
/// 5.
pub(crate) fn thread_name(address: &Address, socket: Option<&OwnedFd>, role: &str) -> String {
    let kind = socket.map(|socket| SockRef::from(socket).r#type());
    thread_name_over(kind.and_then(Result::ok), address, role)
}

/// Makes the name of a thread of the server with this address and kind of listening sockets.
pub(crate) fn thread_name_over(kind: Option<Type>, address: &Address, role: &str) -> String {
    let server = match address {
        Address::Inet(address) => {
            let transport = match kind {
                Some(Type::DGRAM) => "udp",
                _ => "tcp",
            };
            format!("{transport}:{}", address.port())
        }
        Address::Unix(path) => {
            let file = path.file_name().unwrap_or(path.as_os_str());
            file.to_string_lossy().replace(char::is_control, "?")
        }
        // The name is escaped, because the name of a thread has no NUL byte.
        Address::UnixAbstract(name) => format!("@{}", name.escape_ascii()),
        Address::UnixUnnamed => "unix".to_owned(),
    };
    let fits = |end: &usize| server.is_char_boundary(*end);
    let end = (0..=LONGEST_SERVER.min(server.len())).rfind(fits);
    format!("{} {role}", &server[..end.unwrap_or(0)])
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn a_thread_is_named_for_the_transport_and_port_of_its_server_within_fifteen_bytes() {
        let stream = OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
        let datagrams = OwnedFd::from(UdpSocket::bind("127.0.0.1:0").unwrap());
        let address = Address::from(([127, 0, 0, 1], 65535));
        let name = thread_name(&address, Some(&stream), "serve");
        assert_eq!((&*name, name.len()), ("tcp:65535 serve", 15));
        assert_eq!(
            thread_name(&address, Some(&datagrams), "pool"),
            "udp:65535 pool"
        );
    }

    #[test]
    fn a_thread_of_a_unix_server_is_named_for_its_file_cut_between_characters() {
        let name = |path: &str| {
            let address = Address::from_unix_path(path.into());
            thread_name(&address, None, "serve")
        };
        assert_eq!(name("/run/app/echo.sock"), "echo.sock serve");
        assert_eq!(name("/run/12345678é.sock"), "12345678 serve");
        assert_eq!(name("/run/a\nb"), "a?b serve");
        assert_eq!(name("\0a\0b"), "@a\\x00b serve");
    }
}
