//! The handlers of the servers under test.

use std::io::{BufRead, Write};

use socketserver::{
    DatagramRequest, ExchangeHandler, HandlerResult, RequestHandler, StreamRequest, TlsConfig,
};

pub use socketserver::{datagram_handler_fn as datagram_handler, handler_fn as stream_handler};

/// Sends the first line of a stream back, and a datagram as it is.
#[derive(Debug, Default)]
pub struct EchoLine;

impl ExchangeHandler for EchoLine {
    fn exchange(&mut self, request: &mut StreamRequest) -> HandlerResult {
        let mut line = Vec::new();
        request.read_until(b'\n', &mut line)?;
        request.close_connection();
        Ok(request.write_all(&line)?)
    }
}

impl RequestHandler<DatagramRequest> for EchoLine {
    fn handle(&mut self, request: &mut DatagramRequest) -> HandlerResult {
        let packet = request.packet().to_owned();
        Ok(request.write_all(&packet)?)
    }
}

/// Answers each line with itself. Answers the line `who` with the client's data in the TLS session.
#[derive(Debug, Default, Clone)]
pub struct TlsEcho;

impl ExchangeHandler for TlsEcho {
    fn is_complete(&self, unread: &[u8]) -> bool {
        unread.contains(&b'\n')
    }

    fn exchange(&mut self, request: &mut StreamRequest) -> HandlerResult {
        let Some(line) = request.next_line(1 << 20)? else {
            return Ok(());
        };
        let answer = match (&*line, request.tls_session()) {
            ("who", Some(session)) => {
                let alpn = session.alpn().unwrap_or(b"none");
                format!(
                    "{} for {}, over {}, {}",
                    session.peer_subject().unwrap_or("nobody".to_owned()),
                    session.server_name().unwrap_or("no name"),
                    session.version(),
                    String::from_utf8_lossy(alpn),
                )
            }
            ("who", None) => "unencrypted".to_owned(),
            _ => line,
        };
        Ok(writeln!(request, "{answer}")?)
    }
}

/// Answers each line with itself and the version of TLS. The line `STARTTLS` begins the encryption.
#[derive(Debug, Clone)]
pub struct StartTls(pub TlsConfig);

impl RequestHandler for StartTls {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        while request.wait()? {
            match &*read_line(request)? {
                "STARTTLS" => {
                    writeln!(request, "go ahead")?;
                    request.start_tls(&self.0)?;
                }
                "STARTTLS again" => {
                    let error = request.start_tls(&self.0).unwrap_err();
                    writeln!(request, "{error}")?;
                }
                line => {
                    let version = request.tls_session().map_or("plain", |it| it.version());
                    let answer = format!("{line} over {version}");
                    writeln!(request, "{answer}")?;
                }
            }
        }
        Ok(())
    }
}

/// Reads a line, without its end; empty at the end of file.
pub fn read_line(request: &mut StreamRequest) -> std::io::Result<String> {
    let mut line = String::new();
    request.read_line(&mut line)?;
    line.truncate(line.trim_end_matches('\n').len());
    Ok(line)
}

/// Panics and prints nothing: in a forked child the lock of standard error, or of the test harness
/// that captures it, may belong to a thread that the child does not have.
pub fn silent_panic(message: &'static str) -> ! {
    std::panic::resume_unwind(Box::new(message))
}
