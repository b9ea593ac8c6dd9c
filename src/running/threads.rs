//! The threads of a server, until they are joined.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle, ThreadId};

use crate::support::lock::lock;
use crate::support::sync::Mutex;

/// The threads that have not been joined.
///
/// Each thread, when it ends, joins the thread that ended before it. So at most one ended thread is
/// left unjoined, and no other code has to look for ended threads.
#[derive(Debug, Default)]
pub(crate) struct Threads {
    unjoined: Mutex<Unjoined>,
}

impl Threads {
    /// Starts a thread with this name that calls `work` with `value`. Returns the value, with the
    /// error, if the system has no further thread.
    pub fn start_thread<V: Send + 'static>(
        self: &Arc<Self>,
        name: &str,
        value: V,
        work: impl FnOnce(V) + Send + 'static,
    ) -> Result<(), (V, io::Error)> {
        // The value is not in the closure, because a failing `spawn` drops the closure.
        let slot = Arc::new(Mutex::new(Some(value)));
        let (threads, thread_slot) = (self.clone(), slot.clone());
        // The list is locked until the thread is entered, because the thread looks for its entry
        // when it ends.
        let mut unjoined = lock(&self.unjoined);
        let spawned = thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _ends = EndOfThread(&threads);
            let value = lock(&thread_slot).take();
            if let Some(value) = value {
                work(value);
            }
        });
        match spawned {
            Ok(thread) => {
                unjoined.running.insert(thread.thread().id(), thread);
                Ok(())
            }
            Err(error) => match lock(&slot).take() {
                Some(value) => Err((value, error)),
                None => Ok(()),
            },
        }
    }

    /// Waits until every thread has ended.
    pub fn join(&self) {
        let mut unjoined = lock(&self.unjoined);
        let running = Vec::from_iter(unjoined.running.drain().map(|(_, thread)| thread));
        let ended = unjoined.ended.take();
        drop(unjoined);
        for thread in running.into_iter().chain(ended) {
            // The result is ignored: an error is the thread's panic, which the panic hook has
            // printed.
            let _ = thread.join();
        }
    }

    fn end_this_thread(&self) {
        let mut unjoined = lock(&self.unjoined);
        let Some(this) = unjoined.running.remove(&thread::current().id()) else {
            // `join` has removed this thread.
            return;
        };
        let before = unjoined.ended.replace(this);
        drop(unjoined);
        before.map(JoinHandle::join);
    }
}

#[derive(Debug, Default)]
struct Unjoined {
    running: HashMap<ThreadId, JoinHandle<()>>,
    ended: Option<JoinHandle<()>>,
}

/// Removes the thread from the list when it ends, also by a panic.
struct EndOfThread<'a>(&'a Threads);

impl Drop for EndOfThread<'_> {
    fn drop(&mut self) {
        self.0.end_this_thread();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn of_the_ended_threads_at_most_one_is_left_to_join() {
        let threads = Arc::new(Threads::default());
        let (sender, receiver) = channel();
        for number in 0..20 {
            let sender = sender.clone();
            let started =
                threads.start_thread("thread", number, move |number| sender.send(number).unwrap());
            assert!(started.is_ok());
        }
        let mut numbers = Vec::from_iter(receiver.iter().take(20));
        numbers.sort_unstable();
        assert_eq!(numbers, Vec::from_iter(0..20));
        while !lock(&threads.unjoined).running.is_empty() {
            thread::yield_now();
        }
        threads.join();
        assert!(lock(&threads.unjoined).ended.is_none());
    }

    #[test]
    fn after_join_every_thread_has_ended() {
        let threads = Arc::new(Threads::default());
        let (release, released) = channel::<()>();
        let alive = Arc::new(());
        let started = threads.start_thread("thread", alive.clone(), move |_alive| {
            let _ = released.recv();
        });
        assert!(started.is_ok());
        assert_eq!(Arc::strong_count(&alive), 2);
        drop(release);
        threads.join();
        assert_eq!(Arc::strong_count(&alive), 1);
    }
}
