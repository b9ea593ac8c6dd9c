//! From a local file to the server: [`put`].

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use socketserver_handlers::files::{Answer, Kind, PART_SIZE, Request};

use super::progress::{Progress, Shown};
use super::remote::Remote;
use super::source::Source;
use super::trouble::Trouble;

/// The bytes that are read, hashed and written at a time. The second cache of a processor holds
/// them.
const PIECE: u64 = 256 * 1024;

/// The most bytes of the header of a part, or of the end of an upload.
const HEADER: usize = 256;

/// A content that is to be sent.
struct Upload<'a> {
    source: Source<'a>,
    put: Request,
}

/// Sends a local file to the path `remote` of the server. When this returns without an error, the
/// server has a new file of that name, with the content that the local file had. After an error
/// nothing has changed there.
pub fn put(
    server: &mut Remote<'_>,
    local: &Path,
    remote: &str,
    replace: bool,
    progress: Progress,
) -> Result<(), Trouble> {
    let source = Source::open(local)?;
    let size = source.size();
    let put = Request {
        path: Some(remote.to_owned()),
        size: Some(size),
        digest: Some(server.digest.name().to_owned()),
        if_exists: replace.then(|| "replace".to_owned()),
        ..Request::new("put")
    };
    let shown = progress.begin(source.name(), size);
    let upload = Upload { source, put };
    let begin = Instant::now();
    server.with_retries(|server| match size {
        0..=PART_SIZE => upload.send_at_once(server),
        _ => upload.send(server, &shown),
    })?;
    shown.end(begin.elapsed());
    Ok(())
}

impl Upload<'_> {
    /// Sends a small content together with its announcement.
    fn send_at_once(&self, server: &mut Remote<'_>) -> Result<(), Trouble> {
        let size = self.source.size();
        let mut content = vec![0; usize::try_from(size).expect("a part fits into memory")];
        self.source.read(&mut content, 0)?;
        self.source.check()?;
        let mut hasher = server.digest.hasher();
        hasher.update(&content);
        let hash = hasher.hex();
        let put = Request {
            data_size: size,
            hash: Some(hash.clone()),
            ..self.put.clone()
        };
        let mut message = Vec::with_capacity(content.len() + HEADER);
        put.write(&mut message)?;
        message.extend(content);
        let connection = server.connection()?;
        connection.get_mut().write_all(&message)?;
        self.check_stored(&Answer::read(connection)??, Some(&hash))?;
        server.note_moved(size);
        Ok(())
    }

    /// Announces the content, and sends what the server does not have. The hash is computed on the
    /// way, and sent after the content.
    fn send(&self, server: &mut Remote<'_>, shown: &Shown) -> Result<(), Trouble> {
        let hash = self.hash_of_known(server)?;
        let put = Request {
            hash: hash.clone(),
            ..self.put.clone()
        };
        let (offset, prefix_hash) = match server.ask(&put)? {
            Answer::Send {
                offset,
                prefix_hash,
            } if offset <= self.source.size() => (offset, prefix_hash),
            answer => return self.check_stored(&answer, hash.as_deref()),
        };
        let sent = self.send_rest(server, offset, &prefix_hash, shown);
        let hash = match sent {
            Ok(hash) => hash,
            Err(trouble) => {
                // The server keeps what it has.
                server.abandon();
                return Err(trouble);
            }
        };
        let answer = server.next()?;
        self.check_stored(&answer, Some(&hash))
    }

    /// The hash of the content, if the server has a file of this size under the name: from an
    /// upload whose last answer was lost, or from an earlier run of the same command. If the hash
    /// is the same, nothing is transferred. For other files the hash would only delay the first
    /// byte.
    fn hash_of_known(&self, server: &mut Remote<'_>) -> Result<Option<String>, Trouble> {
        let path = self.put.path.as_deref().unwrap_or_default();
        let entry = match server.stat(path) {
            Ok(entry) => entry,
            // The server refuses the upload for the same reason.
            Err(Trouble::Refused(_)) => None,
            Err(trouble) => return Err(trouble),
        };
        let size = self.source.size();
        match entry {
            Some(entry) if entry.kind == Kind::File && entry.size == size => {
                let hasher = self.source.hash(server.digest, size)?;
                self.source.check()?;
                Ok(Some(hasher.hex()))
            }
            _ => Ok(None),
        }
    }

    /// Sends the parts that the server does not have, and the end. Returns the hash of the content.
    /// If something arrives meanwhile, the server has refused a part, and the rest is not sent.
    fn send_rest(
        &self,
        server: &mut Remote<'_>,
        offset: u64,
        prefix_hash: &str,
        shown: &Shown,
    ) -> Result<String, Trouble> {
        let size = self.source.size();
        // So that the server is not kept waiting for longer than the hash takes.
        let prefix = self.source.hash(server.digest, offset)?;
        let (mut offset, mut hasher) = match prefix.hex() == prefix_hash {
            true => (offset, prefix),
            false => (0, server.digest.hasher()),
        };
        shown.resume_at(offset);
        let mut message = Message::new();
        let mut left_of_part = 0;
        loop {
            message.clear();
            if left_of_part == 0 && offset < size {
                left_of_part = PART_SIZE.min(size - offset);
                message.add(&Request {
                    offset: Some(offset),
                    data_size: left_of_part,
                    ..Request::new("part")
                })?;
            }
            let count = PIECE.min(left_of_part);
            hasher.update(message.read(&self.source, offset, count)?);
            offset += count;
            left_of_part -= count;
            let is_end = offset == size;
            if is_end {
                // In one write with the last bytes: a write of its own would wait for the
                // acknowledgement of those bytes.
                self.source.check()?;
                message.add(&Request {
                    hash: Some(hasher.hex()),
                    ..Request::new("sent")
                })?;
            }
            server.open()?.get_mut().write_all(message.bytes())?;
            server.note_moved(count);
            shown.add(count);
            // In the middle of a part the server could not read the next command.
            let is_refused = left_of_part == 0 && server.open()?.get_ref().has_arrived();
            if is_end || is_refused {
                return Ok(hasher.hex());
            }
        }
    }

    fn check_stored(&self, answer: &Answer, hash: Option<&str>) -> Result<(), Trouble> {
        match answer {
            Answer::Stored {
                size,
                hash: of_server,
            } if *size == self.source.size() && Some(of_server.as_str()) == hash => Ok(()),
            _ => Err(Trouble::nonsense(
                "the answer belongs to another command than put",
            )),
        }
    }
}

/// The bytes of one write. The next write uses the same memory.
struct Message {
    buffer: Vec<u8>,
    length: usize,
}

impl Message {
    fn new() -> Self {
        let piece = usize::try_from(PIECE).expect("a piece fits into memory");
        Self {
            buffer: vec![0; HEADER + piece + HEADER],
            length: 0,
        }
    }

    fn clear(&mut self) {
        self.length = 0;
    }

    /// Adds a header.
    fn add(&mut self, request: &Request) -> Result<(), Trouble> {
        let mut rest = &mut self.buffer[self.length..];
        let before = rest.len();
        request.write(&mut rest)?;
        self.length += before - rest.len();
        Ok(())
    }

    /// Adds bytes of the file, at most [`PIECE`], and returns them.
    fn read(&mut self, source: &Source<'_>, offset: u64, count: u64) -> Result<&[u8], Trouble> {
        let begin = self.length;
        self.length += usize::try_from(count).expect("a piece fits into memory");
        let bytes = &mut self.buffer[begin..self.length];
        source.read(bytes, offset)?;
        Ok(bytes)
    }

    fn bytes(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}
