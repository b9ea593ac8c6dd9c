//! Messages for a client from other threads than its handler's.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, OnceLock};

use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError, bounded};

use crate::running::unparks::Unpark;
use crate::support::sync::atomic::{AtomicUsize, Ordering, fence};
use crate::transport::sys::forks;
use crate::transport::waker::Waker;

/// The most bytes, and the most messages, that wait for one client.
const MOST_BYTES: usize = 1 << 20;
const MOST_MESSAGES: usize = 1024;

/// Sends whole messages to the client of a connection, from any thread.
///
/// [`StreamRequest::outbox`](crate::StreamRequest::outbox) makes an outbox. A clone sends to the
/// same client. The thread of the handler delivers the messages in their order: at once while the
/// handler waits in [`wait`](crate::StreamRequest::wait) or
/// [`next_line`](crate::StreamRequest::next_line), otherwise before the handler's next wait, or at
/// its end. So no message lands in the middle of an answer. The messages are counted, and bounded
/// by the deadlines, as answers are. At most 1 MiB and 1,024 messages wait in an outbox.
///
/// In Python, other threads keep `self.request` and call its `sendall`.
///
/// ```
/// use std::io::Write;
/// use socketserver::{HandlerResult, RequestHandler, StreamRequest};
///
/// /// Announces every line to all others.
/// struct Room(std::sync::Arc<std::sync::Mutex<Vec<socketserver::Outbox>>>);
///
/// impl RequestHandler for Room {
///     fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
///         self.0.lock().unwrap().push(request.outbox()?);
///         while let Some(line) = request.next_line(1000)? {
///             let message = format!("{line}\n");
///             // An outbox whose client has gone, or does not read, leaves the room.
///             self.0.lock().unwrap().retain(|other| other.send(message.as_bytes()).is_ok());
///         }
///         Ok(())
///     }
/// }
/// # use socketserver::mock::MockStream;
/// # let room = Room(Default::default());
/// # let recording = MockStream::new().chunk("hello\n").run(room);
/// # assert_eq!(recording.written(), b"hello\n");
/// ```
#[derive(Debug, Clone)]
pub struct Outbox {
    shared: Arc<Shared>,
    sender: Sender<Box<[u8]>>,
}

#[derive(Debug)]
struct Shared {
    /// The bytes of the messages that wait. Relaxed: a bound, which orders nothing.
    bytes: AtomicUsize,
    /// Wakes the handler's thread. Set when that thread waits for the first time.
    waker: OnceLock<Waker>,
    /// Ends the parking of the connection under a reactor.
    unpark: Option<Unpark>,
    /// The process that serves the connection: see [`forks`].
    forks: u32,
}

impl Shared {
    fn wake(&self) {
        // See `OutboxReceiver::waker`.
        fence(Ordering::SeqCst);
        if let Some(unpark) = &self.unpark {
            unpark.unpark();
        }
        if let Some(waker) = self.waker.get() {
            waker.wake();
        }
    }
}

/// The reason why an [`Outbox`] did not take a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OutboxError {
    /// The client does not read its messages, or the handler does not wait: too many bytes or
    /// messages wait already.
    #[error("the outbox is full: {bytes} bytes wait, since the client does not read")]
    #[non_exhaustive]
    Full {
        /// The bytes that wait.
        bytes: usize,
    },
    /// The connection has ended, or another process serves it: the program has forked since.
    #[error("the connection has ended")]
    Closed,
}

impl Outbox {
    /// Leaves a whole message for the client, without waiting.
    ///
    /// After success the handler's thread will send the message, unless the connection fails
    /// before.
    ///
    /// # Errors
    ///
    /// [`OutboxError::Full`] if more than 1 MiB, or 1,024 messages, would wait, and
    /// [`OutboxError::Closed`] if the connection has ended.
    pub fn send(&self, message: &[u8]) -> Result<(), OutboxError> {
        if self.shared.forks != forks() {
            return Err(OutboxError::Closed);
        }
        let length = message.len();
        let waiting = self.shared.bytes.fetch_add(length, Ordering::Relaxed);
        let refused = if waiting.saturating_add(length) > MOST_BYTES {
            OutboxError::Full { bytes: waiting }
        } else {
            match self.sender.try_send(message.into()) {
                Ok(()) => {
                    self.shared.wake();
                    return Ok(());
                }
                Err(TrySendError::Full(_)) => OutboxError::Full { bytes: waiting },
                Err(TrySendError::Disconnected(_)) => OutboxError::Closed,
            }
        };
        self.shared.bytes.fetch_sub(length, Ordering::Relaxed);
        Err(refused)
    }
}

/// The handler's end of its outbox.
#[derive(Debug)]
pub(crate) struct OutboxReceiver {
    outbox: Outbox,
    receiver: Receiver<Box<[u8]>>,
}

impl OutboxReceiver {
    /// Makes an outbox whose messages end the parking of the connection, if it is parked.
    pub(crate) fn new(unpark: Option<Unpark>) -> Self {
        let (sender, receiver) = bounded(MOST_MESSAGES);
        let shared = Arc::new(Shared {
            bytes: AtomicUsize::new(0),
            waker: OnceLock::new(),
            unpark,
            forks: forks(),
        });
        Self {
            outbox: Outbox { shared, sender },
            receiver,
        }
    }

    pub(crate) fn outbox(&self) -> Outbox {
        self.outbox.clone()
    }

    /// The next message that waits.
    pub(crate) fn take(&self) -> Option<Box<[u8]>> {
        match self.receiver.try_recv() {
            Ok(message) => {
                let bytes = &self.outbox.shared.bytes;
                bytes.fetch_sub(message.len(), Ordering::Relaxed);
                Some(message)
            }
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => None,
        }
    }

    fn waker(&self) -> io::Result<&Waker> {
        let waker = &self.outbox.shared.waker;
        if waker.get().is_none() {
            // Only the handler's thread calls this method, so no other thread sets the waker.
            let _ = waker.set(Waker::new()?);
            // Either this thread sees a message, or its sender sees the waker: each stores one
            // value and then loads the other.
            fence(Ordering::SeqCst);
            if !self.receiver.is_empty() {
                self.outbox.shared.wake();
            }
        }
        Ok(waker.get().expect("it was set above"))
    }

    /// Returns the descriptor that is readable once a message has been left since
    /// [`clear`](Self::clear).
    pub(crate) fn readiness(&self) -> io::Result<BorrowedFd<'_>> {
        Ok(self.waker()?.read_end())
    }

    /// Makes [`readiness`](Self::readiness) wait for the next message. The caller takes the
    /// messages after this call.
    pub(crate) fn clear(&self) {
        if let Some(waker) = self.outbox.shared.waker.get() {
            waker.drain();
        }
    }
}
