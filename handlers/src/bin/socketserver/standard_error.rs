//! Standard error, for the log and the messages of the program. No line makes the program wait for
//! long.

use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Stderr, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use env_logger::{Target, WriteStyle};
use log::Log;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{SFlag, fstat};

use crate::fork_gate;

/// How long a line waits for a reader that has read all earlier lines.
const PATIENCE: Duration = Duration::from_millis(200);

/// If poll(2) reports a pipe as writable, this many bytes are free (`PIPE_BUF` of Linux).
const PIECE: usize = 4096;

/// Where the lines go: standard error, unless a test has set another sink.
static OUTLET: Mutex<Option<Outlet>> = Mutex::new(None);

/// Begins the log of the program: its level is `info` unless `RUST_LOG` sets another.
///
/// Opens standard error now. Later, a program whose clients have all its descriptors could not.
pub fn start_log() {
    outlet().get_or_insert_with(Outlet::standard_error);
    let level = env_logger::Env::default().default_filter_or("info");
    let mut log = env_logger::Builder::from_env(level);
    if std::env::var_os("RUST_LOG_STYLE").is_none() {
        log.write_style(match has_colours(&io::stderr()) {
            true => WriteStyle::Always,
            false => WriteStyle::Never,
        });
    }
    log.target(Target::Pipe(Box::new(StandardError)));
    let log = Gated(log.build());
    log::set_max_level(log.0.filter());
    // Called once for the program.
    let _ = log::set_boxed_logger(Box::new(log));
}

/// A log that no thread writes to while another thread forks.
struct Gated(env_logger::Logger);

impl Log for Gated {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.0.matches(record) {
            let _no_fork = fork_gate::hold();
            self.0.log(record);
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}

/// Writes a line that is printed at every log level. Control characters are escaped, since a line
/// may have text of a server or names of files, which must not control the terminal.
pub fn print_line(line: impl AsRef<[u8]>) {
    let _no_fork = fork_gate::hold();
    // Ignored: nothing is there to write the error to.
    let _ = StandardError.write_all(&[&*visible(line.as_ref()), b"\n"].concat());
}

/// A line whose control characters are escaped, as `\n`, `\r`, `\t` or `\xHH` for each byte. Bytes
/// that are not UTF-8 stay, except those from 0x80 to 0x9f: they control a terminal of 8 bits.
pub fn visible(line: &[u8]) -> Vec<u8> {
    let mut shown = Vec::with_capacity(line.len());
    for chunk in line.utf8_chunks() {
        for character in chunk.valid().chars() {
            let mut bytes = [0; 4];
            let bytes = character.encode_utf8(&mut bytes).as_bytes();
            match character {
                '\n' => shown.extend(b"\\n"),
                '\r' => shown.extend(b"\\r"),
                '\t' => shown.extend(b"\\t"),
                control if control.is_control() => bytes.iter().for_each(|byte| {
                    shown.extend(format!("\\x{byte:02x}").into_bytes());
                }),
                _ => shown.extend(bytes),
            }
        }
        for byte in chunk.invalid() {
            match byte {
                0x80..=0x9f => shown.extend(format!("\\x{byte:02x}").into_bytes()),
                byte => shown.push(*byte),
            }
        }
    }
    shown
}

/// Whether colours are wanted on this output: a terminal, unless the environment forbids them.
pub fn has_colours(output: &impl IsTerminal) -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    output.is_terminal()
        && !is_set("NO_COLOR")
        && std::env::var_os("TERM").is_none_or(|it| it != "dumb")
}

/// Writes each buffer as a whole, drops it, or keeps its end for later. Never fails.
#[derive(Debug)]
struct StandardError;

impl Write for StandardError {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        outlet()
            .get_or_insert_with(Outlet::standard_error)
            .write_line(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn outlet() -> MutexGuard<'static, Option<Outlet>> {
    // A panic under the lock leaves a line half written, and nothing worse. A forked child finds
    // the lock free: see `fork_gate`.
    OUTLET.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file for lines, as long as somebody reads them.
///
/// A line waits for a reader at most [`PATIENCE`]. While the file accepts nothing, further lines
/// are dropped without a wait. The next line that the file accepts comes after a line with their
/// number.
#[derive(Debug)]
struct Outlet {
    sink: Sink,
    /// The end of a line of which the beginning was written.
    rest: Vec<u8>,
    dropped: u64,
    is_stuck: bool,
}

/// The file that takes the lines.
#[derive(Debug)]
enum Sink {
    /// A file that no other program uses.
    Own(File),
    /// Standard error itself.
    Shared(Stderr),
    /// None: the lines are lost.
    Nowhere,
}

impl Outlet {
    fn standard_error() -> Self {
        Self::new(match is_client() {
            true => Sink::Nowhere,
            false => open_standard_error(),
        })
    }

    fn new(sink: Sink) -> Self {
        Self {
            sink,
            rest: Vec::new(),
            dropped: 0,
            is_stuck: false,
        }
    }

    fn write_line(&mut self, line: &[u8]) {
        let wait = if self.is_stuck {
            Duration::ZERO
        } else {
            PATIENCE
        };
        let deadline = Instant::now() + wait;
        let written = self.write_until(&self.rest, deadline);
        self.rest.drain(..written);
        self.is_stuck = !self.rest.is_empty();
        if !self.is_stuck && self.dropped > 0 {
            let note = format!(
                "[{} lines of the log are missing here: nobody read it]\n",
                self.dropped
            );
            if self.write_or_keep(note.as_bytes(), deadline) {
                self.dropped = 0;
            }
        }
        if self.is_stuck || !self.write_or_keep(line, deadline) {
            self.dropped += 1;
        }
    }

    /// Writes the line, or its beginning, and keeps the rest. Returns false if nothing was written.
    fn write_or_keep(&mut self, line: &[u8], deadline: Instant) -> bool {
        let written = self.write_until(line, deadline);
        self.is_stuck = written < line.len();
        if self.is_stuck && written > 0 {
            self.rest = line[written..].to_vec();
        }
        !self.is_stuck || written > 0
    }

    /// Writes the bytes until the deadline, and returns how many were written. If the file refuses
    /// bytes for another reason than a missing reader, such as a full disk or a pipe without a read
    /// end, the bytes are lost, and count as written.
    fn write_until(&self, bytes: &[u8], deadline: Instant) -> usize {
        let Some(file) = self.sink.descriptor() else {
            return bytes.len();
        };
        let mut written = 0;
        while written < bytes.len() {
            let piece = &bytes[written..bytes.len().min(written + PIECE)];
            let wrote = match is_writable(file, Duration::ZERO) {
                true => nix::unistd::write(file, piece).map_err(io::Error::from),
                false => Err(ErrorKind::WouldBlock.into()),
            };
            match wrote {
                Ok(count) if count > 0 => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() || !is_writable(file, left) {
                        return written;
                    }
                }
                Ok(_) | Err(_) => return bytes.len(),
            }
        }
        written
    }
}

impl Sink {
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Own(file) => Some(file.as_fd()),
            Self::Shared(stderr) => Some(stderr.as_fd()),
            Self::Nowhere => None,
        }
    }
}

/// Waits until the file takes bytes, or fails.
fn is_writable(file: BorrowedFd<'_>, wait: Duration) -> bool {
    let timeout = PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX);
    let mut file = [PollFd::new(file, PollFlags::POLLOUT)];
    // An error is an interruption by a signal. The next write shows the state.
    poll(&mut file, timeout).is_ok_and(|count| count > 0)
}

/// Whether standard error is the connection of a client: inetd makes it all three standard streams.
fn is_client() -> bool {
    let socket = |stream: BorrowedFd<'_>| {
        let status = fstat(stream).ok()?;
        let kind = SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT;
        (kind == SFlag::S_IFSOCK).then_some((status.st_dev, status.st_ino))
    };
    let input = socket(io::stdin().as_fd());
    input.is_some() && input == socket(io::stderr().as_fd())
}

/// Opens the pipe or the terminal of standard error anew, without blocking writes: the flag of a
/// descriptor that other programs share stays as it is. Where that is not possible, and for files
/// and sockets, returns standard error itself, written in pieces for which poll(2) finds room.
fn open_standard_error() -> Sink {
    let stderr = io::stderr();
    let is_pipe = fstat(&stderr).is_ok_and(|status| {
        SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT == SFlag::S_IFIFO
    });
    if !is_pipe && !stderr.is_terminal() {
        return Sink::Shared(stderr);
    }
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let anew = File::options()
        .write(true)
        .custom_flags(flags)
        .open("/proc/self/fd/2");
    anew.map_or(Sink::Shared(stderr), Sink::Own)
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, Read, pipe};
    use std::os::fd::OwnedFd;

    use super::*;

    fn piped() -> (Outlet, PipeReader) {
        let (reader, writer) = pipe().unwrap();
        (Outlet::new(Sink::Own(OwnedFd::from(writer).into())), reader)
    }

    #[test]
    fn no_control_character_of_a_line_reaches_the_terminal() {
        for (line, shown) in [
            (
                "plain café \\ 你好".as_bytes(),
                "plain café \\ 你好".as_bytes(),
            ),
            (b"\x1b[2J\x07\x00\x7f", br"\x1b[2J\x07\x00\x7f"),
            (b"one\ntwo\r\tthree", br"one\ntwo\r\tthree"),
            ("\u{9b}2J".as_bytes(), br"\xc2\x9b2J"),
            (b"\x9b2J \xff\xe9", b"\\x9b2J \xff\xe9"),
        ] {
            assert_eq!(
                visible(line).escape_ascii().to_string(),
                shown.escape_ascii().to_string()
            );
        }
    }

    #[test]
    fn lines_are_dropped_while_nobody_reads_and_counted_when_somebody_does() {
        let (mut outlet, mut reader) = piped();
        let line = format!("{}\n", "x".repeat(999));
        for _ in 0..1000 {
            outlet.write_line(line.as_bytes());
        }
        let dropped = outlet.dropped;
        assert!((900..1000).contains(&dropped), "{dropped}");
        let mut read = vec![0; 1000 * (1000 - usize::try_from(dropped).unwrap())];
        reader.read_exact(&mut read).unwrap();
        outlet.write_line(b"next\n");
        let expected =
            format!("[{dropped} lines of the log are missing here: nobody read it]\nnext\n");
        drop(outlet);
        assert_eq!(io::read_to_string(reader).unwrap(), expected);
    }

    #[test]
    fn the_end_of_a_line_comes_before_the_next_line() {
        let (mut outlet, reader) = piped();
        let line = format!("{}\n", "x".repeat(1 << 20));
        outlet.write_line(line.as_bytes());
        assert!(!outlet.rest.is_empty());
        let reading = std::thread::spawn(move || io::read_to_string(reader).unwrap());
        while !outlet.rest.is_empty() {
            outlet.write_line(b"");
        }
        outlet.write_line(b"next\n");
        drop(outlet);
        let text = reading.join().unwrap();
        assert!(text.starts_with(&line), "{} bytes", text.len());
        assert!(text.ends_with("next\n"));
    }

    #[test]
    fn a_line_that_no_file_takes_is_lost() {
        let (mut outlet, reader) = piped();
        drop(reader);
        outlet.write_line(b"lost\n");
        assert_eq!((outlet.dropped, outlet.rest.len()), (0, 0));
        let full = File::options().write(true).open("/dev/full").unwrap();
        Outlet::new(Sink::Own(full)).write_line(b"lost\n");
    }
}
