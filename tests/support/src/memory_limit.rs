//! A process that has no memory for the stack of a further thread, for as long as a test wants.

use std::fs;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The bytes that small allocations may use meanwhile. The stack of a thread has two megabytes.
const SLACK: u64 = 1 << 20;

/// The most stacks that the C library keeps for later threads.
const MOST_STACKS: usize = 64;

/// While a value of this type lives, the process has no memory for a further thread's stack.
#[derive(Debug)]
pub struct NoMoreMemory {
    before: (u64, u64),
    /// The threads that have the stacks that the C library kept.
    holders: Vec<(Sender<()>, JoinHandle<()>)>,
}

impl NoMoreMemory {
    /// Sets `RLIMIT_AS` to the present address space and a little more. Panics if the process can
    /// start a thread all the same.
    pub fn begin() -> Self {
        let before = getrlimit(Resource::RLIMIT_AS).unwrap();
        let mut holders = Vec::with_capacity(MOST_STACKS);
        setrlimit(Resource::RLIMIT_AS, address_space() + SLACK, before.1).unwrap();
        while holders.len() < MOST_STACKS {
            let (end, ended) = mpsc::channel();
            let holder = thread::Builder::new().spawn(move || {
                // An error means that the sender is dropped.
                let _ = ended.recv();
            });
            match holder {
                Ok(holder) => holders.push((end, holder)),
                Err(_) => return Self { before, holders },
            }
        }
        panic!("the system gives memory all the same");
    }
}

impl Drop for NoMoreMemory {
    fn drop(&mut self) {
        let (soft, hard) = self.before;
        setrlimit(Resource::RLIMIT_AS, soft, hard).unwrap();
        for (end, holder) in self.holders.drain(..) {
            drop(end);
            // The thread returns nothing.
            let _ = holder.join();
        }
    }
}

/// Returns the size of the process's address space in bytes.
fn address_space() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    let pages = pages.split(' ').next().unwrap().parse::<u64>().unwrap();
    pages * 4096
}
