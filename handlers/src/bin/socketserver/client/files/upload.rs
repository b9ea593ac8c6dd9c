//! From a local file to the server: [`put`].

use std::fs::{File, FileType};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Instant;

use nix::libc;
use socketserver_handlers::files::{Answer, PART_SIZE, Request};

use super::progress::{Progress, Shown};
use super::remote::Remote;
use super::trouble::Trouble;

/// The bytes of a part.
const PIECE: u64 = 256 * 1024;

/// A content that is to be sent.
struct Source<'a> {
    name: &'a [u8],
    file: &'a File,
    size: u64,
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
    let name = local.as_os_str().as_encoded_bytes();
    let failed = |error| Trouble::local("read", name, &error);
    // The open does not wait: a FIFO may have no writer.
    let mut options = File::options();
    let file = options
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(local)
        .map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        let what = kind(metadata.file_type());
        let name = super::words::quoted(name);
        return Err(Trouble::Here(format!("{name} is {what}")));
    }
    let size = metadata.len();
    let hashed = server.digest.of_file(&file, size, |_| Ok(()));
    let (hasher, seen) = hashed.map_err(failed)?;
    if seen < size {
        return Err(shorter(name));
    }
    let put = Request {
        path: Some(remote.to_owned()),
        size: Some(size),
        digest: Some(server.digest.name().to_owned()),
        hash: Some(hasher.hex()),
        if_exists: replace.then(|| "replace".to_owned()),
        ..Request::new("put")
    };
    let file = &file;
    let source = Source {
        name,
        file,
        size,
        put,
    };
    let shown = progress.begin(name, size);
    let begin = Instant::now();
    server.with_retries(|server| match size {
        0..=PART_SIZE => source.send_at_once(server),
        _ => source.send(server, &shown),
    })?;
    shown.end(begin.elapsed());
    Ok(())
}

impl Source<'_> {
    /// Sends a small content together with its announcement.
    fn send_at_once(&self, server: &mut Remote<'_>) -> Result<(), Trouble> {
        let put = Request {
            data_size: self.size,
            ..self.put.clone()
        };
        let message = self.message(&put, 0)?;
        let connection = server.connection()?;
        connection.get_mut().write_all(&message)?;
        self.check_stored(&Answer::read(connection)??)?;
        server.note_moved(self.size);
        Ok(())
    }

    /// Announces the content, and sends what the server does not have.
    fn send(&self, server: &mut Remote<'_>, shown: &Shown) -> Result<(), Trouble> {
        let (offset, prefix_hash) = match server.ask(&self.put)? {
            Answer::Send {
                offset,
                prefix_hash,
            } if offset <= self.size => (offset, prefix_hash),
            answer => return self.check_stored(&answer),
        };
        // So that the server is not kept waiting for longer than the hash takes.
        let prefix = server.digest.of_file(self.file, offset, |_| Ok(()));
        let (prefix, _) = prefix.map_err(|error| Trouble::local("read", self.name, &error))?;
        let mut offset = if prefix.hex() == prefix_hash {
            offset
        } else {
            0
        };
        shown.resume_at(offset);
        loop {
            let size = PIECE.min(self.size - offset);
            let part = Request {
                offset: Some(offset),
                data_size: size,
                ..Request::new("part")
            };
            let message = match self.message(&part, offset) {
                Ok(message) => message,
                Err(trouble) => {
                    // The server keeps what it has.
                    server.abandon();
                    return Err(trouble);
                }
            };
            let connection = server.open()?;
            connection.get_mut().write_all(&message)?;
            offset += size;
            server.note_moved(size);
            shown.add(size);
            if offset == self.size {
                break;
            }
            // The server has refused the upload, so the rest is not sent.
            if server.open()?.get_ref().has_arrived() {
                break;
            }
        }
        let answer = server.next()?;
        self.check_stored(&answer)
    }

    /// A message whose body is the content from `offset`.
    fn message(&self, header: &Request, offset: u64) -> Result<Vec<u8>, Trouble> {
        let mut message = Vec::new();
        header.write(&mut message)?;
        let begin = message.len();
        let size = usize::try_from(header.data_size).expect("a part fits into memory");
        message.resize(begin + size, 0);
        match self.file.read_exact_at(&mut message[begin..], offset) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                Err(shorter(self.name))
            }
            Err(error) => Err(Trouble::local("read", self.name, &error)),
            Ok(()) => Ok(message),
        }
    }

    fn check_stored(&self, answer: &Answer) -> Result<(), Trouble> {
        match answer {
            Answer::Stored { size, hash }
                if *size == self.size && self.put.hash.as_ref() == Some(hash) =>
            {
                Ok(())
            }
            _ => Err(Trouble::nonsense(
                "the answer belongs to another command than put",
            )),
        }
    }
}

fn shorter(name: &[u8]) -> Trouble {
    let name = super::words::quoted(name);
    Trouble::Here(format!("{name} has become shorter while it was sent"))
}

fn kind(file: FileType) -> &'static str {
    match file.is_dir() {
        true => "a directory; give -r to put all that is in it",
        false => "neither a file nor a directory",
    }
}
