//! The number of requests from each IP address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::support::lock::lock;
use crate::support::sync::Mutex;

/// The number of requests of each address that has any.
#[derive(Debug, Default)]
pub(crate) struct PerAddress(Mutex<HashMap<IpAddr, usize>>);

/// Counts one request for its address, as long as the ticket exists.
#[derive(Debug)]
pub(crate) struct Ticket {
    counts: Arc<PerAddress>,
    ip: IpAddr,
    rank: usize,
}

impl PerAddress {
    pub(crate) fn ticket(self: &Arc<Self>, ip: IpAddr) -> Ticket {
        let mut counts = lock(&self.0);
        let count = counts.entry(ip).or_default();
        *count += 1;
        Ticket {
            counts: self.clone(),
            ip,
            rank: *count,
        }
    }
}

impl Ticket {
    /// The number of requests of this address when this one was counted, itself included. So of two
    /// requests at once, the second is the one above a limit.
    pub(crate) fn rank(&self) -> usize {
        self.rank
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut counts = lock(&self.counts.0);
        if let Some(count) = counts.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.ip);
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_address_counts_its_tickets_and_leaves_nothing_behind() {
        let counts = Arc::new(PerAddress::default());
        let (one, other) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into());
        let first = counts.ticket(one);
        let second = counts.ticket(one);
        let third = counts.ticket(other);
        assert_eq!((first.rank(), second.rank(), third.rank()), (1, 2, 1));
        drop(first);
        let fourth = counts.ticket(one);
        assert_eq!(fourth.rank(), 2);
        drop((second, third, fourth));
        assert!(lock(&counts.0).is_empty());
    }
}
