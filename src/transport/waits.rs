//! The announcement that a thread is going to wait.

use std::cell::RefCell;
use std::rc::Rc;

use crate::transport::sys;

/// Receives the announcements of one thread.
pub(crate) trait WaitObserver {
    /// Notes that the thread is going to wait.
    fn begin_wait(&self);

    /// Notes that the wait is over.
    fn end_wait(&self);
}

struct Observed {
    observer: Rc<dyn WaitObserver>,
    /// The number of forks when the observer was set: a forked child has no observer.
    forks: u32,
    /// Whether an announced wait is under way. A wait within it is not announced again.
    waits: bool,
}

thread_local! {
    static OBSERVED: RefCell<Option<Observed>> = const { RefCell::new(None) };
}

/// Sends the announcements of this thread to `observer`, until the thread ends.
pub(crate) fn observe_this_thread(observer: Rc<dyn WaitObserver>) {
    OBSERVED.set(Some(Observed {
        observer,
        forks: sys::forks(),
        waits: false,
    }));
}

/// Whether the waits of this thread are to be announced.
pub(crate) fn are_observed() -> bool {
    OBSERVED.with_borrow(|observed| {
        observed
            .as_ref()
            .is_some_and(|observed| !observed.waits && observed.forks == sys::forks())
    })
}

/// Calls `wait`, and lets another thread serve the other clients meanwhile.
///
/// Under [`ReactorMixIn`](crate::ReactorMixIn), a few threads serve all connections. If a handler
/// waits for something other than its client, such as a database, a lock or a child process, or
/// computes for long, it does so in `blocking`. The reactor then starts or wakes another thread at
/// once. Without the call, the reactor notices within a few milliseconds that a thread waits. Reads
/// and writes of the request announce their waits themselves.
///
/// In any other thread, this function only calls `wait`. Python has no counterpart in
/// `socketserver`; asyncio has `to_thread`.
///
/// ```
/// use socketserver::{ExchangeHandler, HandlerResult, StreamRequest, blocking};
/// use std::io::Write;
/// # fn ask_the_database(_: &str) -> String { String::new() }
///
/// struct Lookup;
///
/// impl ExchangeHandler for Lookup {
///     fn exchange(&mut self, request: &mut StreamRequest) -> HandlerResult {
///         if let Some(key) = request.next_line(100)? {
///             let value = blocking(|| ask_the_database(&key));
///             writeln!(request, "{value}")?;
///         }
///         Ok(())
///     }
/// }
/// ```
#[doc(alias = "to_thread")]
pub fn blocking<T>(wait: impl FnOnce() -> T) -> T {
    if !are_observed() {
        return wait();
    }
    let observer = OBSERVED.with_borrow_mut(|observed| {
        let observed = observed.as_mut()?;
        observed.waits = true;
        Some(observed.observer.clone())
    });
    let _ends = observer.map(EndOfWait::begin);
    wait()
}

/// Announces the end of the wait, also after a panic.
struct EndOfWait(Rc<dyn WaitObserver>);

impl EndOfWait {
    fn begin(observer: Rc<dyn WaitObserver>) -> Self {
        observer.begin_wait();
        Self(observer)
    }
}

impl Drop for EndOfWait {
    fn drop(&mut self) {
        let is_same_process = OBSERVED.with_borrow_mut(|observed| {
            observed.as_mut().is_some_and(|observed| {
                observed.waits = false;
                observed.forks == sys::forks()
            })
        });
        if is_same_process {
            self.0.end_wait();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[derive(Default)]
    struct Counts {
        begun: Cell<u32>,
        ended: Cell<u32>,
    }

    impl WaitObserver for Counts {
        fn begin_wait(&self) {
            self.begun.set(self.begun.get() + 1);
        }

        fn end_wait(&self) {
            self.ended.set(self.ended.get() + 1);
        }
    }

    fn in_an_observed_thread(waits: impl FnOnce() + Send) -> (u32, u32) {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let counts = Rc::new(Counts::default());
                observe_this_thread(counts.clone());
                waits();
                (counts.begun.get(), counts.ended.get())
            });
            thread.join().unwrap()
        })
    }

    #[test]
    fn a_wait_within_a_wait_is_announced_once() {
        let announced = in_an_observed_thread(|| {
            assert_eq!(blocking(|| blocking(|| 7)), 7);
            blocking(|| ());
        });
        assert_eq!(announced, (2, 2));
    }

    #[test]
    fn a_wait_that_panics_has_ended() {
        let announced = in_an_observed_thread(|| {
            let panicked = std::panic::catch_unwind(|| blocking(|| panic!("in a wait")));
            assert!(panicked.is_err());
            assert!(are_observed());
        });
        assert_eq!(announced, (1, 1));
    }

    #[test]
    fn a_thread_without_an_observer_only_waits() {
        let waited = std::thread::spawn(|| (are_observed(), blocking(|| 7)));
        assert_eq!(waited.join().unwrap(), (false, 7));
    }
}
