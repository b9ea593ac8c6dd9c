//! The sending of a content to the client: [`send`].

use std::io::{ErrorKind, Write};
use std::os::unix::fs::FileExt;

use crate::files::home::{Home, size, version};
use crate::files::protocol::{Answer, PART_SIZE, Request, bad};
use crate::files::refusal::{Code, Interrupted, Refusal};
use rustix::fs::fstat;

/// The bytes of a part, which are in memory: less than the protocol allows.
const PIECE: u64 = 128 * 1024;

const _: () = assert!(PIECE <= PART_SIZE);

/// Sends the file that the client asks for, in parts, and returns the last message.
pub(super) fn send(
    request: &Request,
    home: &Home,
    client: &mut impl Write,
) -> Result<Answer, Interrupted> {
    let path = request
        .path
        .as_deref()
        .ok_or_else(|| bad("get lacks its path"))?;
    let digest = request.digest()?;
    let (file, stat) = home.file(path)?;
    let (size, version) = (size(&stat), version(&stat));
    let wanted = match request.offset {
        Some(offset) if request.version.as_ref() == Some(&version) && offset <= size => offset,
        _ => 0,
    };
    let (prefix, seen) = digest.of_file(&file, wanted, |_| Ok::<_, std::io::Error>(()))?;
    let is_same = seen == wanted && request.prefix_hash.as_ref() == Some(&prefix.hex());
    let (mut offset, mut hasher) = match is_same {
        true => (wanted, prefix),
        false => (0, digest.hasher()),
    };
    let begin = Answer::Begin {
        size,
        version: version.clone(),
        offset,
    };
    begin.write(client)?;
    let mut buffer = vec![0; piece(size - offset)];
    while offset < size {
        let wanted = piece(size - offset);
        let count = match file.read_at(&mut buffer[..wanted], offset) {
            // The file has become shorter.
            Ok(0) => return Err(Refusal::new(Code::Changed).into()),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(Refusal::from(error).into()),
        };
        let part = &buffer[..count];
        hasher.update(part);
        let data_size = count as u64;
        Answer::Part { offset, data_size }.write(client)?;
        client.write_all(part).map_err(Interrupted::lost)?;
        offset += data_size;
    }
    let now = fstat(&file).map_err(Refusal::from)?;
    if self::version(&now) != version {
        return Err(Refusal::new(Code::Changed).into());
    }
    let hash = hasher.hex();
    Ok(Answer::Sent { size, hash })
}

fn piece(length: u64) -> usize {
    usize::try_from(length.min(PIECE)).expect("a piece fits into memory")
}
