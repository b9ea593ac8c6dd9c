//! What a server's process has when no client is there, and whether it is what it had before.

use socket2::SockAddr;

use crate::census::Census;
use crate::phase::Server;
use crate::process::ServerProcess;

/// By how much a process may grow, in KiB, between the end of the warm-up and the end.
///
/// What is left over for each request would be far above it: a server sees thousands of requests a
/// minute. Below it is what the allocator keeps for the most threads, connections and largest
/// messages that there have been at a time, of which the warm-up has not seen the worst.
const ALLOWED_GROWTH: u64 = 8 << 10;

/// A process at rest: with its server open, and without.
#[derive(Debug, Clone, Copy)]
pub struct AtRest {
    pub open: Census,
    pub closed: Census,
}

impl AtRest {
    /// What the process has before its first server has seen a client, and where that server is,
    /// which is open afterwards.
    pub fn fresh(process: &mut ServerProcess) -> Result<(Self, SockAddr), String> {
        // Before the server: of one that is closed, ended threads may be there for a moment.
        let closed = process.census_at_rest()?;
        let address = process.open()?;
        let open = process.census_at_rest()?;
        Ok((Self { open, closed }, address))
    }

    /// Waits until the process has the threads and children that it had `before`, and counts. What
    /// is made once and then kept may have been added. The server is open afterwards.
    pub fn after_warm_up(server: &mut Server<'_>, before: &Self) -> Result<Self, String> {
        let like = |now: &Census, before: &Census, kept| {
            let descriptors = now.descriptors;
            let before = Census {
                descriptors,
                ..*before
            };
            now.resembles(&before, kept)
        };
        let now = Self::when(server, before, like)?;
        server.open()?;
        Ok(now)
    }

    /// Waits until the process has what it had `before`, and counts. The server is closed
    /// afterwards.
    pub fn at_the_end(server: &mut Server<'_>, before: &Self) -> Result<Self, String> {
        let now = Self::when(server, before, Census::resembles)?;
        for (now, before) in [(now.open, before.open), (now.closed, before.closed)] {
            if now.memory > before.memory + ALLOWED_GROWTH {
                let (before, now) = (before.memory, now.memory);
                let what = format!("grown from {before} to {now} KiB, more than {ALLOWED_GROWTH}");
                server.site.fail(what);
            }
        }
        Ok(now)
    }

    fn when(
        server: &mut Server<'_>,
        before: &Self,
        like: impl Fn(&Census, &Census, (usize, usize)) -> bool,
    ) -> Result<Self, String> {
        server.process.order("limits default")?;
        // The server may have been opened anew just before, and have seen no client.
        let kept = server.site.kind.kept();
        let count = |server: &mut Server<'_>, what, before: &Census, kept| {
            let now = server.process.census_when(|now| like(now, before, kept))?;
            if !like(&now, before, kept) {
                let what = format!("{what}, nobody there: first {before}, then {now}");
                server.site.fail(what);
            }
            Ok::<_, String>(now)
        };
        let open = count(server, "open", &before.open, kept)?;
        server.close()?;
        let closed = count(server, "closed", &before.closed, (0, 0))?;
        Ok(Self { open, closed })
    }
}
