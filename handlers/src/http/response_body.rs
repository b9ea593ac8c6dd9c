//! The body of a response that has not been sent yet.

use std::fmt;
use std::fs::File;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use socketserver::ExchangeHandler;

use super::body_writer::BodyWriter;

/// The body of a response: bytes, a file, or the output of a function. After an upgrade it is the
/// handler that continues on the connection.
///
/// The server finds the length of the body and sends the headers `Content-Length` or
/// `Transfer-Encoding`. For a HEAD request the server sends the same headers and no body.
///
/// Python's handlers write to `self.wfile` after `end_headers`, and find the length themselves.
///
/// ```
/// use std::io::Write;
/// use socketserver_handlers::http::{Response, ResponseBody};
///
/// let bytes: Response<ResponseBody> = Response::new("hello\n".into());
/// let nothing = Response::new(ResponseBody::empty());
/// let stream = Response::new(ResponseBody::writer(|out| {
///     for number in 0..1_000_000 {
///         writeln!(out, "{number}")?;
///     }
///     Ok(())
/// }));
/// ```
#[derive(Default)]
#[doc(alias = "wfile")]
pub struct ResponseBody(pub(super) Kind);

/// What a body is.
#[derive(Default)]
pub(super) enum Kind {
    #[default]
    Empty,
    Bytes(Bytes),
    File {
        file: Arc<File>,
        offset: u64,
        length: u64,
    },
    Writer(Box<WriteBody>),
    Upgrade(Upgrade),
}

/// The handler that continues on the connection.
pub(super) struct Upgrade {
    pub(super) handler: Box<dyn ExchangeHandler>,
    /// Whether one call of `exchange` is the whole conversation, and does not wait for the client.
    pub(super) is_one_call: bool,
}

type WriteBody = dyn FnOnce(&mut BodyWriter<'_>) -> io::Result<()> + Send;

impl ResponseBody {
    /// A body without a byte.
    #[must_use]
    pub fn empty() -> Self {
        Self(Kind::Empty)
    }

    /// A complete file, from its first byte, whatever its position is. The length is the length
    /// that the file has now.
    ///
    /// Over plain TCP and Unix sockets the file is sent with sendfile(2). Python's counterpart is
    /// `shutil.copyfileobj(file, self.wfile)`.
    ///
    /// # Errors
    ///
    /// Returns the errors of a look at the file's metadata.
    pub fn file(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self::part_of_file(file, 0, length))
    }

    /// `length` bytes of a file from `offset`. If the file ends earlier, the connection is closed
    /// in the middle of the body, so that the client notices the failure.
    #[must_use]
    pub fn part_of_file(file: File, offset: u64, length: u64) -> Self {
        Self::part_of_shared_file(Arc::new(file), offset, length)
    }

    /// As [`part_of_file`](Self::part_of_file), of a file that other responses send too.
    pub(super) fn part_of_shared_file(file: Arc<File>, offset: u64, length: u64) -> Self {
        Self(Kind::File {
            file,
            offset,
            length,
        })
    }

    /// A body that `write` writes while the response is sent, in chunks. For a client of HTTP/1.0,
    /// the end of the connection ends the body. If the response has a `Content-Length`, `write` has
    /// to write exactly that many bytes.
    ///
    /// `write` does not run for a HEAD request. An error of `write` closes the connection in the
    /// middle of the body, so that the client notices the failure.
    #[must_use]
    pub fn writer(
        write: impl FnOnce(&mut BodyWriter<'_>) -> io::Result<()> + Send + 'static,
    ) -> Self {
        Self(Kind::Writer(Box::new(write)))
    }

    /// Hands the connection to `handler` after the response: for WebSocket, whose response has the
    /// status 101, or for a tunnel, with a success for CONNECT.
    ///
    /// `handler` is an [`ExchangeHandler`], so under a reactor its connection holds no thread while
    /// its client is silent. A [`handler_fn`](socketserver::handler_fn) is an exchange handler too:
    /// its one call is the rest of the conversation, and begins at once, so that the other side of
    /// a tunnel may send first. The deadlines are those of the server again.
    ///
    /// Python's counterpart is a `do_GET` that continues with `self.rfile` and `self.wfile`.
    #[must_use]
    pub fn upgrade(mut handler: impl ExchangeHandler + 'static) -> Self {
        let is_one_call = ExchangeHandler::single_exchanges(&mut handler).is_none();
        Self(Kind::Upgrade(Upgrade {
            handler: Box::new(handler),
            is_one_call,
        }))
    }

    pub(super) fn is_upgrade(&self) -> bool {
        matches!(self.0, Kind::Upgrade(_))
    }

    /// The number of bytes; `None` if that is not known before the body is written.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        match &self.0 {
            Kind::Empty => Some(0),
            Kind::Bytes(bytes) => Some(bytes.len() as u64),
            Kind::File { length, .. } => Some(*length),
            Kind::Writer(_) | Kind::Upgrade(_) => None,
        }
    }
}

impl From<&'static str> for ResponseBody {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl From<&'static [u8]> for ResponseBody {
    fn from(bytes: &'static [u8]) -> Self {
        Bytes::from_static(bytes).into()
    }
}

impl From<String> for ResponseBody {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<Vec<u8>> for ResponseBody {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

/// Bytes that several responses share.
impl From<Bytes> for ResponseBody {
    fn from(bytes: Bytes) -> Self {
        Self(Kind::Bytes(bytes))
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.0, self.length()) {
            (Kind::Upgrade(_), _) => f.write_str("the handler after an upgrade"),
            (_, Some(length)) => write!(f, "a body of {length} bytes"),
            (_, None) => f.write_str("a body that a function writes"),
        }
    }
}
