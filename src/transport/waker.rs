//! The waker, which ends the loop's wait before a request comes.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;

use nix::poll::{PollFd, PollFlags};

use crate::support::deadline::Deadline;
use crate::support::sync::atomic::{AtomicBool, Ordering};
use crate::transport::descriptors::Descriptors;
use crate::transport::poll::poll_until;
use crate::transport::sys::{self, HALF_CLOSED};

/// Ends the wait of the loop, from any thread, from a signal handler, and from a forked child.
///
/// A waker is a pair of connected sockets. A byte that is written to the write end ends the wait on
/// the read end. The byte stays until the loop [drains](Self::drain) the pair, so that a wake just
/// before the wait is not lost. The loop waits on two descriptors with poll(2), which costs one
/// system call for each pass, and no further descriptor. A forked child shares the pair, so that a
/// handler in the child can stop the parent's loop.
#[derive(Debug)]
pub(crate) struct Waker<P = SocketPair> {
    pair: P,
    /// Set while a wake byte is in the pair. Repeated wakes write one byte, so the pair always has
    /// room for a child's stop byte.
    pending: AtomicBool,
}

impl<P: Bytes> Waker<P> {
    /// Ends the wait under way, or the next one.
    ///
    /// The caller first changes the state that the loop reads, then calls this.
    pub(crate) fn wake(&self) {
        // Release: pairs with the `swap` in `drain`, after which the loop sees the caller's
        // changes. If the flag was set already, a byte is in the pair, or about to be.
        if !self.pending.swap(true, Ordering::AcqRel) {
            self.pair.write(WAKE);
        }
    }

    /// Stops the loop of the process on the other side of a fork.
    pub(crate) fn stop(&self) {
        self.pair.write(STOP);
    }

    /// Removes the bytes from the pair. Returns whether a forked child has stopped the loop. The
    /// loop reads its state after this call.
    pub(crate) fn drain(&self) -> bool {
        let stop = self.pair.read_all();
        // The flag is cleared after the read. If it were cleared before, a wake in between would
        // set it again, its byte would be read here, and all later wakes would be skipped. Acquire:
        // pairs with `wake`.
        self.pending.swap(false, Ordering::AcqRel);
        stop
    }
}

impl Waker {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            pair: SocketPair::new()?,
            pending: AtomicBool::new(false),
        })
    }

    /// Returns the descriptor that is readable after a wake, for a wait on more than one other
    /// descriptor.
    pub(crate) fn read_end(&self) -> BorrowedFd<'_> {
        self.pair.read_end.as_fd()
    }

    /// Makes a further write end, for a signal handler.
    #[cfg(not(any(target_os = "android", target_os = "linux")))]
    pub(crate) fn write_end(&self) -> io::Result<OwnedFd> {
        Ok(self.pair.write_end.try_clone()?.into())
    }

    /// Lets the events of this epoll instance end the wait too, until the waker is dropped.
    /// [`drain`](Self::drain) takes the events. Only the first call has an effect.
    #[cfg(any(target_os = "android", target_os = "linux"))]
    pub(crate) fn wait_for_events_too(&self, epoll: OwnedFd) {
        let _ = self.pair.events.set(epoll);
    }

    /// Returns the descriptors of the pair.
    pub(crate) fn descriptors(&self) -> [RawFd; 2] {
        let SocketPair {
            write_end,
            read_end,
            ..
        } = &self.pair;
        [write_end.as_raw_fd(), read_end.as_raw_fd()]
    }

    /// Closes this process's copies of the descriptors of the waker of the process that has forked
    /// this process. The caller has a waker of its own, and never uses this waker again.
    pub(crate) fn close_inherited(&self) {
        let mut open = Descriptors::hold();
        for descriptor in self.descriptors() {
            open.unregister(descriptor);
            // No descriptor is closed twice: a value of another process is never dropped here.
            let _ = nix::unistd::close(descriptor);
        }
        if let Some(events) = self.pair.events.get() {
            let _ = nix::unistd::close(events.as_raw_fd());
        }
    }

    /// Waits until `socket` is readable or shut down, the waker ends the wait, or the deadline is
    /// over. Without a socket, only the waker and the deadline end the wait.
    pub(crate) fn wait(
        &self,
        socket: Option<BorrowedFd<'_>>,
        deadline: Deadline,
    ) -> io::Result<Woken> {
        let read_end = self.read_end();
        let events = self.pair.events.get().map(|events| events.as_fd());
        // Without `events`, the socket is the second descriptor, and no third is passed.
        let (second, third) = match (events, socket) {
            (None, socket) => (socket, None),
            (events, socket) => (events, socket),
        };
        let count = 1 + [second, third].iter().flatten().count();
        let fd =
            |fd: Option<_>| PollFd::new(fd.unwrap_or(read_end), PollFlags::POLLIN | HALF_CLOSED);
        let mut fds = [
            PollFd::new(read_end, PollFlags::POLLIN),
            fd(second),
            fd(third),
        ];
        poll_until(&mut fds[..count], deadline)?;
        let wakers = 1 + usize::from(events.is_some());
        // `nix` has no name for `POLLRDHUP`, and returns `None` for events that contain it.
        let shut_down = |fd: &PollFd<'_>| {
            let events = fd.revents();
            events.is_none_or(|events| events.contains(PollFlags::POLLHUP))
        };
        let has_error = |fd: &PollFd<'_>| {
            let events = fd.revents();
            events.is_some_and(|events| events.contains(PollFlags::POLLERR))
        };
        Ok(Woken {
            by_waker: fds[..wakers].iter().any(|fd| fd.any().unwrap_or(true)),
            shut_down: fds[wakers..count].iter().any(shut_down),
            has_error: fds[wakers..count].iter().any(has_error),
        })
    }
}

/// The event that ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Woken {
    /// The waker has ended the wait.
    pub by_waker: bool,
    /// The socket has been shut down: the requests in its queue are the last.
    pub shut_down: bool,
    /// The socket has an error, which ends every wait until the error is removed.
    pub has_error: bool,
}

/// The byte that makes the loop read its state again.
const WAKE: u8 = b'w';
/// The loop stops. A forked child writes this byte, since the parent does not see the child's
/// memory.
const STOP: u8 = b's';

/// The pipe that carries the bytes of a [`Waker`]: a pair of sockets, or a model of one.
pub(crate) trait Bytes {
    /// Adds a byte without waiting. The byte is dropped if the pair is full: the bytes in the pair
    /// wake the loop as well.
    fn write(&self, byte: u8);

    /// Removes every byte. Returns whether a [`STOP`] was among them.
    fn read_all(&self) -> bool;
}

/// Two connected sockets in non-blocking mode.
#[derive(Debug)]
pub(crate) struct SocketPair {
    write_end: UnixStream,
    read_end: UnixStream,
    /// A further descriptor whose events end the wait: an epoll instance.
    events: OnceLock<OwnedFd>,
}

impl SocketPair {
    fn new() -> io::Result<Self> {
        let mut open = Descriptors::hold();
        let (write_end, read_end) = UnixStream::pair()?;
        write_end.set_nonblocking(true)?;
        read_end.set_nonblocking(true)?;
        open.register(write_end.as_raw_fd());
        open.register(read_end.as_raw_fd());
        Ok(Self {
            write_end,
            read_end,
            events: OnceLock::new(),
        })
    }
}

impl Drop for SocketPair {
    fn drop(&mut self) {
        let mut open = Descriptors::hold();
        open.unregister(self.write_end.as_raw_fd());
        open.unregister(self.read_end.as_raw_fd());
    }
}

impl Bytes for SocketPair {
    fn write(&self, byte: u8) {
        let _ = (&self.write_end).write(&[byte]);
    }

    fn read_all(&self) -> bool {
        let mut stop = false;
        let mut bytes = [0; 64];
        while let Ok(count @ 1..) = (&self.read_end).read(&mut bytes) {
            stop |= bytes[..count].contains(&STOP);
            if count < bytes.len() {
                break;
            }
        }
        if let Some(events) = self.events.get() {
            sys::take_events(events.as_fd());
        }
        stop
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn is_woken(waker: &Waker) -> bool {
        let now = Deadline::after(Some(Duration::ZERO));
        waker.wait(None, now).unwrap().by_waker
    }

    #[test]
    fn a_wake_before_the_wait_ends_the_wait() {
        let waker = Waker::new().unwrap();
        waker.wake();
        assert!(waker.wait(None, Deadline::NEVER).unwrap().by_waker);
    }

    #[test]
    fn a_drained_waker_ends_no_wait() {
        let waker = Waker::new().unwrap();
        waker.wake();
        assert!(!waker.drain());
        assert!(!is_woken(&waker));
    }

    #[test]
    fn a_stop_is_not_taken_for_a_wake() {
        let waker = Waker::new().unwrap();
        waker.wake();
        waker.stop();
        waker.wake();
        assert!(waker.drain());
        assert!(!waker.drain());
    }

    #[test]
    fn however_many_wakes_there_were_one_drain_takes_them_and_no_wake_blocks() {
        let waker = Waker::new().unwrap();
        for _ in 0..1_000_000 {
            waker.wake();
        }
        waker.drain();
        assert!(!is_woken(&waker));
    }

    #[test]
    fn a_stop_has_room_however_many_wakes_there_were() {
        let waker = Waker::new().unwrap();
        for _ in 0..1_000_000 {
            waker.wake();
        }
        waker.stop();
        assert!(waker.drain());
    }

    #[test]
    fn a_wait_does_not_end_before_its_deadline() {
        let waker = Waker::new().unwrap();
        let begin = Instant::now();
        let timeout = Duration::from_micros(2500);
        let deadline = Deadline::after(Some(timeout));
        assert!(!waker.wait(None, deadline).unwrap().by_waker);
        assert!(begin.elapsed() >= timeout);
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::atomic::AtomicUsize;
    use loom::sync::{Arc, Condvar, Mutex};

    use super::*;

    /// The part of a pair of sockets that a waker needs: bytes, and a wait until one arrives.
    #[derive(Default)]
    struct Model {
        bytes: Mutex<Vec<u8>>,
        readable: Condvar,
    }

    impl Bytes for Model {
        fn write(&self, byte: u8) {
            self.bytes.lock().unwrap().push(byte);
            self.readable.notify_one();
        }

        fn read_all(&self) -> bool {
            let bytes = std::mem::take(&mut *self.bytes.lock().unwrap());
            bytes.contains(&STOP)
        }
    }

    impl Model {
        fn wait(&self) {
            let mut bytes = self.bytes.lock().unwrap();
            while bytes.is_empty() {
                bytes = self.readable.wait(bytes).unwrap();
            }
        }
    }

    fn waker() -> Waker<Model> {
        Waker {
            pair: Model::default(),
            pending: AtomicBool::new(false),
        }
    }

    #[test]
    fn a_loop_that_waits_and_drains_sees_every_change_that_was_followed_by_a_wake() {
        loom::model(|| {
            // Relaxed, so that only the waker orders the changes.
            let shared = Arc::new((waker(), AtomicUsize::new(0)));
            let threads = [(), ()].map(|()| {
                let shared = shared.clone();
                loom::thread::spawn(move || {
                    shared.1.fetch_add(1, Ordering::Relaxed);
                    shared.0.wake();
                })
            });
            // The loop sleeps until both changes are there: a lost wake is a deadlock.
            while shared.1.load(Ordering::Relaxed) < 2 {
                shared.0.pair.wait();
                shared.0.drain();
            }
            for thread in threads {
                thread.join().unwrap();
            }
        });
    }

    #[test]
    fn a_wake_while_the_loop_drains_does_not_hold_back_the_next() {
        loom::model(|| {
            let shared = Arc::new((waker(), AtomicUsize::new(0)));
            let thread = {
                let shared = shared.clone();
                loom::thread::spawn(move || {
                    for _ in 0..3 {
                        shared.1.fetch_add(1, Ordering::Relaxed);
                        shared.0.wake();
                    }
                })
            };
            while shared.1.load(Ordering::Relaxed) < 3 {
                shared.0.pair.wait();
                shared.0.drain();
            }
            thread.join().unwrap();
        });
    }

    #[test]
    fn a_stop_from_a_child_is_seen_beside_the_wakes() {
        loom::model(|| {
            let shared = Arc::new(waker());
            let child = {
                let shared = shared.clone();
                loom::thread::spawn(move || shared.stop())
            };
            shared.wake();
            while !shared.drain() {
                shared.pair.wait();
            }
            child.join().unwrap();
        });
    }
}
