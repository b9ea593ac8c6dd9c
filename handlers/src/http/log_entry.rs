//! One line of an access log.

use std::fmt;

use ::http::StatusCode;
use jiff::Zoned;
use socketserver::Address;

/// The most bytes of a request line in the log.
const LINE: usize = 1024;

/// One request and its response, for the log.
///
/// The [`Display`](fmt::Display) of an entry is a line in the common log format of NCSA, which most
/// programs that read access logs understand: `HOST - - [TIME] "REQUEST LINE" STATUS BYTES`. In the
/// request line, quotation marks, backslashes and bytes that are not printable ASCII are escaped,
/// so that a client cannot write a line of its own. The host of a client over a Unix socket is
/// `unix`.
///
/// Python's `log_request` receives the status and the size, and writes nearly the same line.
#[derive(Debug, Clone)]
pub struct LogEntry<'a> {
    pub(super) client: &'a Address,
    pub(super) line: &'a [u8],
    pub(super) status: StatusCode,
    pub(super) bytes: u64,
}

impl LogEntry<'_> {
    /// The client's address.
    #[must_use]
    pub fn client_address(&self) -> &Address {
        self.client
    }

    /// The request line as the client has sent it, without its end. Empty if the client has not
    /// sent a complete line. Python's `self.requestline`.
    #[must_use]
    #[doc(alias = "requestline")]
    pub fn request_line(&self) -> &[u8] {
        self.line
    }

    /// The status of the response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The bytes of the response's body that were written.
    #[must_use]
    pub fn body_bytes(&self) -> u64 {
        self.bytes
    }
}

impl fmt::Display for LogEntry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.client {
            Address::Inet(address) => write!(f, "{}", address.ip())?,
            _ => f.write_str("unix")?,
        }
        write!(
            f,
            " - - [{}] \"",
            Zoned::now().strftime("%d/%b/%Y:%H:%M:%S %z")
        )?;
        match self.line {
            [] => f.write_str("-")?,
            line => write_escaped(f, &line[..line.len().min(LINE)])?,
        }
        write!(f, "\" {} ", self.status.as_str())?;
        match self.bytes {
            0 => f.write_str("-"),
            bytes => write!(f, "{bytes}"),
        }
    }
}

fn write_escaped(f: &mut fmt::Formatter<'_>, line: &[u8]) -> fmt::Result {
    for &byte in line {
        match byte {
            b'"' | b'\\' => write!(f, "\\{}", char::from(byte))?,
            b' '..=b'~' => write!(f, "{}", char::from(byte))?,
            byte => write!(f, "\\x{byte:02x}")?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(client: &Address, line: &[u8], bytes: u64) -> String {
        let status = StatusCode::OK;
        let entry = LogEntry {
            client,
            line,
            status,
            bytes,
        };
        entry.to_string()
    }

    #[test]
    fn an_entry_is_a_line_of_the_common_log_format() {
        let client = Address::from(([192, 0, 2, 1], 5000));
        let text = line(&client, b"GET /a HTTP/1.1", 7);
        let (host, rest) = text.split_once(" - - [").unwrap();
        let (time, rest) = rest.split_once("] ").unwrap();
        assert_eq!(host, "192.0.2.1");
        assert_eq!(rest, r#""GET /a HTTP/1.1" 200 7"#);
        let time = jiff::fmt::strtime::parse("%d/%b/%Y:%H:%M:%S %z", time);
        time.unwrap().to_zoned().unwrap();
    }

    #[test]
    fn a_client_cannot_write_a_line_of_its_own() {
        let client = Address::from(([192, 0, 2, 1], 5000));
        let text = line(&client, b"GET /\"\n\x1b\\\xff HTTP/1.1", 0);
        assert!(
            text.ends_with(r#""GET /\"\x0a\x1b\\\xff HTTP/1.1" 200 -"#),
            "{text}"
        );
        assert!(line(&client, b"", 0).ends_with("\"-\" 200 -"));
        assert!(line(&client, &[b'a'; 10_000], 0).len() < 1200);
    }
}
