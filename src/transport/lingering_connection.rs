//! A connection whose request has ended, and whose client may still send.

use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Instant;

use nix::libc::MSG_DONTWAIT;
use socket2::Socket;

use crate::support::deadline::Deadline;
use crate::transport::connection::Connection;
use crate::transport::poll::readable_by;
use crate::transport::sys;
use crate::values::lingering::Lingering;

/// The most bytes of an answer that the kernel sends at once, whatever the link: the initial window
/// of RFC 3390 is 4380 bytes.
const LEAVES_AT_ONCE: u64 = 4096;

/// The most bytes that one recv(2) drops.
const READ_SIZE: usize = 16 * 1024;

/// The most calls of recv(2) for one connection before other connections have their turn.
const READS_IN_A_ROW: u32 = 16;

/// A connection that is read until its client ends it, or a bound is reached. The drop of the value
/// closes the connection.
#[derive(Debug)]
pub(crate) struct LingeringConnection {
    connection: Arc<Connection>,
    until: Deadline,
    bytes_left: u64,
}

impl LingeringConnection {
    /// Decides whether the connection, whose writing side has ended, has to linger. If it need not,
    /// closes it, and returns `None`.
    ///
    /// `in_any_case` is true if the handler cannot have read everything that its client sends,
    /// because the request was refused or has failed.
    ///
    /// An ordinary exchange costs no system call here, in two cases. The last read has shown that
    /// the client has ended its side. Or the last read has returned all bytes that had arrived, and
    /// the answer is so short that it has been sent. In all other cases recv(2) shows whether bytes
    /// are unread, and for a long answer `SIOCOUTQ` shows whether bytes are unsent.
    pub(crate) fn new(
        connection: Arc<Connection>,
        bounds: &Lingering,
        in_any_case: bool,
    ) -> Option<Self> {
        if bounds.is_disabled() || !connection.has_socket() || connection.reading().has_ended() {
            return None;
        }
        if !in_any_case && !has_to_linger(&connection) {
            return None;
        }
        let until = Instant::now().checked_add(bounds.timeout());
        Some(Self {
            connection,
            until: until.map_or(Deadline::NEVER, Deadline::at),
            bytes_left: bounds.max_bytes(),
        })
    }

    /// Drops the bytes that have arrived. Returns whether the connection still lingers.
    pub(crate) fn drop_received(&mut self) -> bool {
        for _ in 0..READS_IN_A_ROW {
            if self.bytes_left == 0 {
                return self.has_unsent();
            }
            match self.drop_one() {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }

    /// Lingers in the calling thread.
    pub(crate) fn linger_here(mut self) {
        while self.is_reading() {
            match readable_by(self.socket().as_fd(), self.until) {
                Ok(true) if !self.deadline().is_over() && self.drop_received() => {}
                _ => return,
            }
        }
        if let Some(left) = self.deadline().left() {
            std::thread::sleep(left);
        }
    }

    /// Returns whether more bytes may be dropped. If not, the connection waits for its deadline, so
    /// that its unsent bytes can be sent.
    pub(crate) fn is_reading(&self) -> bool {
        self.bytes_left > 0
    }

    pub(crate) fn deadline(&self) -> Deadline {
        self.until
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket().as_fd()
    }

    fn socket(&self) -> &Socket {
        self.connection.socket()
    }

    /// Drops bytes with one recv(2). Returns their number: 0 at the end of file.
    fn drop_one(&mut self) -> io::Result<usize> {
        let size = usize::try_from(self.bytes_left).unwrap_or(usize::MAX);
        let count = receive_and_drop(self.socket(), size)?;
        self.bytes_left -= count as u64;
        Ok(count)
    }

    fn has_unsent(&self) -> bool {
        has_unsent(self.socket())
    }
}

impl Drop for LingeringConnection {
    fn drop(&mut self) {
        // A forked child may have a copy of the descriptor. Without this call, the client could go
        // on sending, and no process would read.
        self.connection.shut_down_both();
    }
}

fn has_to_linger(connection: &Connection) -> bool {
    let is_short = connection.traffic().sent() <= LEAVES_AT_ONCE;
    if is_short && connection.reading().was_empty() {
        return false;
    }
    // A single byte shows that something is unread.
    match receive_and_drop(connection.socket(), 1) {
        Ok(0) => false,
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            !is_short && has_unsent(connection.socket())
        }
        Err(error) => error.kind() == ErrorKind::Interrupted,
    }
}

/// Drops at most `size` bytes with one recv(2) that does not wait. Returns their number: 0 at the
/// end of file.
fn receive_and_drop(socket: &Socket, size: usize) -> io::Result<usize> {
    let mut buffer = [MaybeUninit::uninit(); READ_SIZE];
    socket.recv_with_flags(&mut buffer[..size.min(READ_SIZE)], MSG_DONTWAIT)
}

/// Returns whether the client's kernel has not confirmed the whole answer.
fn has_unsent(socket: &Socket) -> bool {
    // The end of the writing side counts as one byte.
    let has_unsent = sys::unsent_bytes(socket.as_fd()).is_none_or(|count| count > 1);
    // Bytes that were written to a Unix socket have arrived at its client already.
    let is_unix = || socket.local_addr().is_ok_and(|it| it.is_unix());
    has_unsent && !is_unix()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::io::{Read as _, Write as _};

    use socket2::{Domain, Type};

    use super::*;

    /// Makes a connection whose handler has read "hello", and had room for more, and makes its
    /// client.
    fn after_an_exchange() -> (Arc<Connection>, Socket) {
        let (server, client) = Socket::pair(Domain::UNIX, Type::STREAM, None).unwrap();
        let connection = Connection::new(Some(server));
        (&client).write_all(b"hello").unwrap();
        let read = connection.socket().read(&mut [0; 100]);
        connection.reading().note_read(&read, 100);
        (connection, client)
    }

    #[test]
    fn after_an_ordinary_exchange_the_connection_is_left_as_it_is_for_the_close() {
        let (connection, client) = after_an_exchange();
        (&client).write_all(b"not looked at").unwrap();
        let lingering = LingeringConnection::new(connection.clone(), &Lingering::default(), false);
        assert!(lingering.is_none());
        // The connection is neither shut down nor read.
        connection.socket().write_all(b"open").unwrap();
        assert_eq!(connection.socket().read(&mut [0; 100]).unwrap(), 13);
    }

    #[test]
    fn after_a_failed_request_the_connection_lingers_and_its_drop_ends_both_sides() {
        let (connection, client) = after_an_exchange();
        let lingering = LingeringConnection::new(connection.clone(), &Lingering::default(), true);
        drop(lingering.unwrap());
        assert!((&client).write_all(b"more").is_err());
    }
}
