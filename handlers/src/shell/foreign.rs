//! Bytes that are not a command: what a web page can make a browser send to a port of this machine.

/// A protocol other than the shell's. Its bytes are not run as commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Foreign {
    /// A request of HTTP, or a piece of one.
    Http,
    /// A handshake of TLS or DTLS, a packet of QUIC or STUN, or another protocol whose first byte
    /// is a control character.
    Binary,
}

/// The first word of a request. A page can make a browser send the first four to any port; the
/// others need a script of the same origin, or a proxy's settings.
const METHODS: [&str; 10] = [
    "GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE", "PATCH", "CONNECT", "TRACE", "PROPFIND",
];

/// The most bytes at the beginning of a connection that [`Opening`] keeps: a method and a space.
const LONGEST: usize = "PROPFIND ".len();

impl Foreign {
    /// The protocol of which a message is a part; `None` for a command.
    ///
    /// The first line, the header lines and the first bytes of a request are each recognised alone,
    /// because the client and the network decide in which pieces a request arrives.
    pub(super) fn find_in(message: &[u8]) -> Option<Self> {
        let is_binary = |&byte: &u8| byte.is_ascii_control() && !byte.is_ascii_whitespace();
        if message.first().is_some_and(is_binary) {
            return Some(Self::Binary);
        }
        let mut lines = message.split(|&byte| byte == b'\n' || byte == b'\r');
        let is_http = begins_with_method(message) || lines.any(is_line_of_http);
        is_http.then_some(Self::Http)
    }

    /// The protocols, for the log.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Binary => "a binary protocol, such as TLS",
        }
    }
}

/// A line such as `GET / HTTP/1.1`, `PRI * HTTP/2.0`, or `Host: 127.0.0.1`.
fn is_line_of_http(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    let has_version = match line {
        [before @ .., major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
            before.to_ascii_uppercase().ends_with(b" HTTP/")
        }
        _ => false,
    };
    has_version
        || line
            .get(..5)
            .is_some_and(|name| name.eq_ignore_ascii_case(b"host:"))
}

fn begins_with_method(bytes: &[u8]) -> bool {
    METHODS.iter().any(|method| {
        let rest = bytes.strip_prefix(method.as_bytes());
        rest.is_some_and(|rest| rest.first() == Some(&b' '))
    })
}

/// The first bytes of a connection, which may come in any pieces.
#[derive(Debug, Default)]
pub(super) struct Opening(Vec<u8>);

impl Opening {
    /// Adds a message, or the next piece of one, and returns the protocol that the connection
    /// begins with; `None` for a command.
    pub(super) fn add(&mut self, message: &[u8]) -> Option<Foreign> {
        let room = LONGEST.saturating_sub(self.0.len());
        self.0
            .extend_from_slice(&message[..room.min(message.len())]);
        begins_with_method(&self.0).then_some(Foreign::Http)
    }

    /// Whether all bytes so far may be the beginning of a method, so that the next byte decides.
    pub(super) fn is_undecided(&self) -> bool {
        let begins = |method: &&str| method.as_bytes().starts_with(&self.0);
        !self.0.is_empty() && METHODS.iter().any(begins)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_browser_sends_is_no_command() {
        for request in [
            "GET /?;id|tee$IFS/tmp/seen; HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n",
            "GET /?;id; HTTP/1.1",
            "GET /?;id;",
            "POST / HTTP/1.1\r\n",
            "OPTIONS / HTTP/1.1\r\nOrigin: null\r\n",
            "id;x /?; HTTP/1.1\r\nhOsT: localhost\r\n",
            ";id;/ http/1.0\n",
            "Accept: */*\r\nHost: 127.0.0.1\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "\r\nPURGE /;id HTTP/1.1\r\n",
        ] {
            let found = Foreign::find_in(request.as_bytes());
            assert_eq!(found, Some(Foreign::Http), "{request:?}");
        }
        for packet in [
            b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03;id;".as_slice(),
            b"\0\x01\0\0\x21\x12\xa4\x42;id;",
            b"\x16\xfe\xfd",
            b"\x05\x01\0",
            b"\x16",
        ] {
            assert_eq!(
                Foreign::find_in(packet),
                Some(Foreign::Binary),
                "{packet:?}"
            );
        }
    }

    #[test]
    fn a_command_is_no_request() {
        for command in [
            "",
            "ls -l",
            "\n echo hi\n",
            "GETENT=1 env",
            "echo HTTP/1.1 is a version",
            "echo hostname: $(hostname)",
            "host example.org",
            "P=1; echo $P",
            "echo 你好",
        ] {
            assert_eq!(Foreign::find_in(command.as_bytes()), None, "{command:?}");
        }
    }

    #[test]
    fn a_connection_that_begins_with_a_method_is_known_in_whatever_pieces_it_comes() {
        for method in METHODS {
            let request = format!("{method} /;id");
            for size in 1..request.len() {
                let mut opening = Opening::default();
                let mut pieces = request.as_bytes().chunks(size);
                let known = |piece: &[u8]| opening.add(piece).is_some();
                assert!(pieces.any(known), "{method} in pieces of {size}");
            }
            let mut opening = Opening::default();
            assert!(!opening.is_undecided());
            assert_eq!(opening.add(method.as_bytes()), None);
            assert!(opening.is_undecided());
            assert_eq!(opening.add(b"ENT"), None);
            assert!(!opening.is_undecided());
        }
    }
}
