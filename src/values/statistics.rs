//! The numbers of a server.

/// The numbers of a server since it was made, which
/// [`ServerHandle::statistics`](crate::ServerHandle::statistics) returns.
///
/// A request is a connection or a datagram. Each request that was `accepted` is in exactly one of
/// `refused`, `active`, `finished`, `failed`, `timed_out`, `panicked` and `aborted`, once the step
/// between two of them is complete. The exceptions are forked children that a closed server has
/// left running ([`block_on_close`](crate::ForkingMixIn::block_on_close)): their end is not
/// counted. Python has no counterpart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Connections that were accepted, and datagrams that were received.
    pub accepted: u64,
    /// Requests that were [refused](crate::RequestEvent::Refused).
    pub refused: u64,
    /// Requests that run now, in forked children too.
    pub active: u64,
    /// Active requests whose handler waits for the next message, in
    /// [`wait`](crate::StreamRequest::wait), or that wait for more bytes of a preamble. Requests of
    /// forked children are not counted.
    pub idle: u64,
    /// Requests whose handler succeeded.
    pub finished: u64,
    /// Requests that [failed](crate::Outcome::Failed), also if the reason was that the client left.
    pub failed: u64,
    /// Requests that [timed out](crate::Outcome::TimedOut).
    pub timed_out: u64,
    /// Requests that [panicked](crate::Outcome::Panicked).
    pub panicked: u64,
    /// Requests that were [aborted](crate::Outcome::Aborted) because the server stopped.
    pub aborted: u64,
    /// Datagrams that the kernel has dropped, because the receive buffer of the server's socket was
    /// full or because their checksum was wrong (`SO_MEMINFO`, Linux; 0 elsewhere and in a forked
    /// child). They are not among the `accepted` requests. With a
    /// [larger buffer](crate::UdpServer::receive_buffer_size) the kernel drops fewer datagrams.
    pub dropped: u64,
    /// Bytes received, by active requests too. The bytes of a datagram or of a forked child count
    /// when the request ends.
    pub received: u64,
    /// Bytes sent, counted in the same way.
    pub sent: u64,
}

/// The numbers of several servers together.
impl std::iter::Sum for Statistics {
    fn sum<I: Iterator<Item = Self>>(statistics: I) -> Self {
        statistics.fold(Self::default(), |sum, one| {
            // Each field is named, so that the compiler finds a number that is missing here.
            let Self {
                accepted,
                refused,
                active,
                idle,
                finished,
                failed,
                timed_out,
                panicked,
                aborted,
                dropped,
                received,
                sent,
            } = one;
            Self {
                accepted: sum.accepted + accepted,
                refused: sum.refused + refused,
                active: sum.active + active,
                idle: sum.idle + idle,
                finished: sum.finished + finished,
                failed: sum.failed + failed,
                timed_out: sum.timed_out + timed_out,
                panicked: sum.panicked + panicked,
                aborted: sum.aborted + aborted,
                dropped: sum.dropped + dropped,
                received: sum.received + received,
                sent: sum.sent + sent,
            }
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_statistics_has_the_sum_of_each_number() {
        let one = Statistics {
            accepted: 1,
            refused: 2,
            active: 3,
            idle: 4,
            finished: 5,
            failed: 6,
            timed_out: 7,
            panicked: 8,
            aborted: 9,
            dropped: 10,
            received: 11,
            sent: 12,
        };
        let expected = Statistics {
            accepted: 2,
            refused: 4,
            active: 6,
            idle: 8,
            finished: 10,
            failed: 12,
            timed_out: 14,
            panicked: 16,
            aborted: 18,
            dropped: 20,
            received: 22,
            sent: 24,
        };
        assert_eq!([one, one].into_iter().sum::<Statistics>(), expected);
    }
}
