//! The state of the listening socket, which the loop and the members of the crew share.

use std::any::Any;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::support::sync::Mutex;

/// The most clients that are accepted in a row, before connections have their turns.
pub(super) const MOST_ACCEPTED: u32 = 64;

/// The permission of the members to accept. A member holds the lock while it accepts, so that the
/// loop and a member never accept at the same time.
#[derive(Default)]
pub(super) struct Accepting {
    pub state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    /// The listening socket, while members may accept.
    pub socket: Option<Arc<OwnedFd>>,
    pub batch: Batch,
    /// The panic of `service_actions`, which the loop resumes.
    pub panic: Option<Box<dyn Any + Send>>,
}

/// How many clients are accepted in a row.
///
/// The number follows the traffic, so that accept(2) is seldom called when no client waits. As long
/// as a client waits, epoll reports the listening socket again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch(u32);

impl Default for Batch {
    fn default() -> Self {
        Self(1)
    }
}

impl Batch {
    pub fn size(self) -> u32 {
        self.0
    }

    /// Notes the number of clients that were there.
    pub fn note(&mut self, accepted: u32) {
        self.0 = if accepted >= self.0 {
            (accepted * 2).min(MOST_ACCEPTED)
        } else {
            accepted.max(1)
        };
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_batch_grows_with_the_traffic_and_falls_to_what_was_there() {
        let mut batch = Batch::default();
        let mut sizes = Vec::new();
        for accepted in [1, 2, 4, 3, 3, 0, 1] {
            batch.note(accepted);
            sizes.push(batch.size());
        }
        assert_eq!(sizes, [2, 4, 8, 3, 6, 1, 2]);
        for _ in 0..10 {
            batch.note(batch.size());
        }
        assert_eq!(batch.size(), MOST_ACCEPTED);
    }
}
