//! Commands in the system's shell. They run here for clients, or at the clients.
//!
//! [`run`] runs one command within [`Limits`]. [`Shell`] runs the commands of its clients, as the
//! tutorial's remote shells do. [`CommandSource`] sends commands to its clients, which run them.

mod command_source;
mod conversation_error;
mod datagram;
mod environment;
mod foreign;
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

pub use command_source::CommandSource;
pub(crate) use environment::is_of_service_manager;
pub use framing::{Framing, UnknownFraming};
pub(crate) use group::Group;
pub use limits::Limits;
pub use one_datagram::MAX_DATAGRAM;
pub use output::{Ending, Output};
pub use refusal::Refusal;
pub use run::run;

/// Runs the commands of its clients, and answers with their output: the tutorial's remote shells.
///
/// <div class="warning">
///
/// Every client can run every command, as the user who started the server. A loopback address is no
/// protection: every user of the machine reaches it, and so does every page in a browser on the
/// machine. Put [`SameUser`](crate::auth::SameUser) or
/// [`Authenticated`](crate::auth::Authenticated) around the shell.
///
/// </div>
///
/// # What a browser sends
///
/// A web page can make a browser on the machine send a request to any port. The page chooses the
/// address, the body and a part of the header lines, and a shell would run all of them. So the
/// shell runs nothing of a message that has one of these:
///
/// * a line that ends with ` HTTP/1.1` or another version,
/// * a line that begins with `Host:`,
/// * the method of a request, and a space, at the beginning,
/// * a control character as the first byte, as in TLS, QUIC and STUN.
///
/// The request then ends with an error, which the server logs as an attack, and nothing is sent. If
/// the first bytes of a connection may be the beginning of a method, such as `P`, the shell waits
/// up to a second for the next byte.
///
/// # Commands and answers
///
/// Each command is [run](run()) by itself in the system's shell, within the [`Limits`]. The answer
/// is its standard error, then its standard output, both complete. (The tutorial's servers with a
/// frame drop the standard output if there is an error.) The last line, in brackets, is a note in
/// these cases:
///
/// * `[ended: it ran for more than 30s]`, `[ended: it wrote more than 16777216 bytes]`;
/// * `[not run: …]` for a command that is empty or only white space, is not utf-8, contains a NUL
///   byte, or is too long;
/// * `[failed: …]` if the operating system could not run it.
///
/// The log has the same note with the client's address. For an unknown command the system's shell
/// writes a message to standard error. The answer does not have the exit status, as in the
/// tutorial.
///
/// # Over a stream
///
/// One read is one command, whatever its number of lines, since no mark ends a command. Two
/// commands that arrive together run as one script, and a command that arrives in pieces runs in
/// pieces, as with the tutorial's servers. The answer comes in the frame of [`Framing`]. Then the
/// shell reads the next command, until the client closes or the server stops. A stopping server
/// finishes the command that runs.
///
/// A command has at most 1024 bytes. If more bytes have arrived, no part of them is run, since half
/// of a command may mean something else. The connection is closed after the answer, since the
/// beginning of the next command is unknown. Exactly 1024 bytes are run.
///
/// A client may shut down its write end after its command, as `nc -N` does, and still reads its
/// answer; in [`Framing::Ready`] that counts as ready. If the client has reset the connection, or
/// has closed a Unix socket, its command is ended, and the request ends with an error. A client
/// that has closed a TCP socket looks like a client that still reads, until the server writes to
/// it. So its command runs to its end, at most for [`Limits::timeout`], and the write of the answer
/// fails.
///
/// # Over datagrams
///
/// A datagram is a command, and the answer is one datagram without a frame. The answer is empty if
/// the command wrote nothing, and has at most [`MAX_DATAGRAM`] bytes. A longer answer [loses its
/// end](Output::into_datagram), and its last line has the number of missing bytes. A command runs
/// until it ends or reaches a limit, since the server cannot notice that a client over datagrams
/// has left. A datagram that is longer than the server receives is not run.
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
    /// Sets how a client over a stream finds the end of an answer; the default is
    /// [`Framing::Json`].
    pub fn framing(self, framing: Framing) -> Self {
        Self { framing, ..self }
    }

    /// Sets the limits of each command; the default is [`Limits::default`].
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }
}
