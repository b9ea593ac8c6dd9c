//! Values that each process of a program has for itself.

use std::sync::OnceLock;

use crate::transport::sys;

/// A value of which each process has its own. A process that the program has forked notices that
/// the value belongs to another process, and makes a new value when it first needs one.
///
/// A mutex that another thread held at the fork is locked in the forked process for ever, and a
/// thread that served there does not exist. So a forked process neither changes nor drops the value
/// of its parent. A read takes no lock, and is async-signal-safe once the value exists.
#[derive(Debug)]
pub(crate) struct PerProcess<T> {
    first: Cell<T>,
}

type Cell<T> = OnceLock<Box<Node<T>>>;

#[derive(Debug)]
struct Node<T> {
    /// The process that has made the value: see [`sys::forks`].
    forks: u32,
    /// `None` only while the node is being dropped.
    value: Option<T>,
    /// The value of a process that was forked since.
    next: Cell<T>,
}

impl<T> PerProcess<T> {
    pub(crate) const fn new() -> Self {
        Self {
            first: OnceLock::new(),
        }
    }

    /// Returns the value of this process.
    #[inline]
    pub(crate) fn get(&self) -> Option<&T> {
        let forks = sys::forks();
        let first = self.first.get()?;
        if first.forks == forks {
            return first.value();
        }
        self.nodes().find(|node| node.forks == forks)?.value()
    }

    /// Returns the value of this process, or of the nearest ancestor that has one.
    pub(crate) fn get_or_inherited(&self) -> Option<&T> {
        self.nodes().last()?.value()
    }

    /// Returns the value of this process. The first call makes it with the value of the nearest
    /// ancestor that has one.
    pub(crate) fn get_or_init(&self, make: impl FnOnce(Option<&T>) -> T) -> &T {
        let forks = sys::forks();
        let mut cell = &self.first;
        let mut inherited = None;
        while let Some(node) = cell.get() {
            if node.forks == forks {
                return node.value().expect("the node is not being dropped");
            }
            inherited = node.value();
            cell = &node.next;
        }
        let node = cell.get_or_init(|| {
            Box::new(Node {
                forks,
                value: Some(make(inherited)),
                next: OnceLock::new(),
            })
        });
        node.value().expect("the node is not being dropped")
    }

    fn nodes(&self) -> impl Iterator<Item = &Node<T>> {
        std::iter::successors(self.first.get(), |node| node.next.get()).map(|node| &**node)
    }
}

impl<T> Node<T> {
    fn value(&self) -> Option<&T> {
        self.value.as_ref()
    }
}

impl<T> Drop for Node<T> {
    fn drop(&mut self) {
        if self.forks != sys::forks() {
            // The drop might wait for a lock, or for a thread, that this process does not have.
            std::mem::forget(self.value.take());
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork};

    use super::*;

    /// Runs `test` in a forked process, and asserts that it returns true there.
    #[allow(unsafe_code)]
    fn assert_in_fork(test: impl FnOnce() -> bool) {
        // SAFETY: the child allocates memory, which fork of the C library prepares for, and ends
        // with _exit; it takes no lock that another thread may have held.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => signal_hook::low_level::exit(i32::from(!test())),
            ForkResult::Parent { child } => {
                assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0));
            }
        }
    }

    #[test]
    fn a_forked_process_makes_its_own_value_of_the_inherited_one_and_the_parent_keeps_its_own() {
        let value = PerProcess::new();
        assert_eq!(value.get(), None);
        assert_eq!(*value.get_or_init(|_| 1), 1);
        assert_eq!(*value.get_or_init(|_| 2), 1);
        assert_in_fork(|| {
            let is_inherited = value.get().is_none() && value.get_or_inherited() == Some(&1);
            let own = *value.get_or_init(|inherited| inherited.unwrap() + 10);
            is_inherited && own == 11 && value.get() == Some(&11)
        });
        assert_eq!(value.get(), Some(&1));
    }

    #[test]
    fn a_value_is_dropped_by_the_process_that_made_it_alone() {
        struct Exits;
        impl Drop for Exits {
            fn drop(&mut self) {
                signal_hook::low_level::exit(1);
            }
        }
        let value = PerProcess::new();
        value.get_or_init(|_| Exits);
        let mut value = Some(value);
        assert_in_fork(|| {
            drop(value.take());
            true
        });
        // The drop would end the test program.
        std::mem::forget(value);
    }
}
