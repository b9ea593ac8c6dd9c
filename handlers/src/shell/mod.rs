//! Running commands, for oneself and for others.
//!
//! [`run`] runs one within [`Limits`]. [`Shell`] does so for its clients: the tutorial's remote shells.
//! [`Commander`] is the other way round: it sends its clients what they are to run.

mod commander;
mod conversation_error;
mod datagram;
mod framing;
mod group;
mod limits;
mod one_datagram;
mod output;
mod outputs;
mod refusal;
mod reply;
mod run;
mod stream;

pub use commander::Commander;
pub use framing::{Framing, UnknownFraming};
pub use limits::Limits;
pub use one_datagram::MAX_DATAGRAM;
pub use output::{Ending, Output};
pub use refusal::Refusal;
pub use run::run;

/// Runs what its clients send, and answers with what it wrote: the tutorial's remote shells.
///
/// <div class="warning">
///
/// Whoever can connect runs whatever they like, as the user who started the server. Serve it where
/// only those who may do that can connect: on 127.0.0.1 or a Unix socket, or behind something that
/// asks who they are.
///
/// </div>
///
/// Each command is [run](run()) by itself in the system's shell, within the [`Limits`]. The answer is
/// its standard error, then its standard output, both to their ends; the tutorial's servers with a
/// frame throw the standard output away where there is an error. What else there is to say stands in
/// the last line, in brackets:
///
/// * `[ended: it ran for more than 30s]`, `[ended: it wrote more than 16777216 bytes]`;
/// * `[not run: …]` for a command that is empty or only white space, is not utf-8, has a NUL byte in
///   it, or is too long to have come whole;
/// * `[failed: …]` if the operating system could not run it.
///
/// In each of these cases the log says so too, with the client's address. Of a command that is not
/// found the shell itself speaks on standard error. Its exit status is not told, as in the tutorial.
///
/// # Over a stream
///
/// What one read gives is one command, however many lines it has: no mark ends it, so two that arrive
/// together run as one script, and one that arrives in pieces runs in pieces, as with the tutorial's
/// servers. The answer comes in the frame of [`Framing`]. Then comes the next command, until the client
/// closes, or the server stops: it finishes the command that runs.
///
/// At most 1024 bytes are a command. If more have come, it is not run, since half a command may mean
/// something else, and the connection is closed after the answer, since where the next one begins is
/// unknown. Exactly 1024 bytes are run.
///
/// A client that leaves while its command runs ends it, and with it the request, with an error. One that
/// ends its writing side only cannot be told from one that has left. It is answered with what came until
/// then, and `[ended: the client left]`: a client has to keep its side open until it has its answer.
///
/// # Over datagrams
///
/// A datagram is a command, and the answer is one datagram, without a frame; an empty one if the command
/// wrote nothing. It has at most [`MAX_DATAGRAM`] bytes; of a longer one
/// [the end is cut off](Output::into_datagram), and its last line says how many bytes that were. A
/// command runs until it ends or meets a limit, since nobody can see a client leave. A datagram that
/// was longer than the server receives is not run.
///
/// ```
/// use socketserver::mock::MockStream;
/// use socketserver_handlers::shell::{Framing, Shell};
///
/// let client = MockStream::new().chunk("echo oops >&2; echo hi").chunk(" ");
/// let recording = client.run(Shell::default().framing(Framing::Header));
/// assert_eq!(
///     recording.written(),
///     b"\x08\0\0\0oops\nhi\n\x20\0\0\0[not run: the command is empty]\n"
/// );
/// ```
#[derive(Debug, Clone, Copy, Default)]
#[must_use]
pub struct Shell {
    framing: Framing,
    limits: Limits,
}

impl Shell {
    /// How a client of a stream knows where an answer ends; [`Framing::Json`] unless set.
    pub fn framing(self, framing: Framing) -> Self {
        Self { framing, ..self }
    }

    /// How far each command may go; [`Limits::default`] unless set.
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }
}
