//! A report of the requests that ran when a server stopped.

/// The numbers of the requests that ran when a server was shut down or closed, whichever came
/// first, by the way in which they ended. [`Server::server_close`](crate::Server::server_close)
/// returns this report. Python has no counterpart.
///
/// ```
/// # use socketserver::DrainReport;
/// let report = DrainReport::default();
/// assert_eq!(report.to_string(), "0 idle, 0 ended, 0 aborted, 0 still running");
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainReport {
    /// Connections that were idle when the drain began, so that
    /// [`wait`](crate::StreamRequest::wait) returned false, or that waited for more bytes of a
    /// preamble.
    pub idle: usize,
    /// Other requests, or forked children, that ended by themselves.
    pub ended: usize,
    /// Requests whose connection was shut down, and children that were killed, at the drain
    /// timeout.
    pub aborted: usize,
    /// Requests and children that `server_close` did not wait for (`daemon_threads`,
    /// `block_on_close(false)`), and aborted requests that went on for more than a second because
    /// they neither read nor wrote.
    pub running: usize,
    /// Connections, of the requests above and of earlier ones, that [lingered](crate::Lingering)
    /// when the drain began or later. The server waited for the rest of what their clients sent.
    /// Connections of forked children are not counted. The text of the report has this number if it
    /// is not zero.
    pub lingered: usize,
    /// Clients that were accepted from the backlog after the stop request, to be served or refused:
    /// see [`Backlog`](crate::Backlog). The clients that were served are among the numbers above.
    /// The text of the report has this number if it is not zero.
    pub backlog: usize,
}

/// The numbers of several servers together.
impl std::iter::Sum for DrainReport {
    fn sum<I: Iterator<Item = Self>>(reports: I) -> Self {
        reports.fold(Self::default(), |sum, report| {
            // Each field is named, so that the compiler finds a number that is missing here.
            let Self {
                idle,
                ended,
                aborted,
                running,
                lingered,
                backlog,
            } = report;
            Self {
                idle: sum.idle + idle,
                ended: sum.ended + ended,
                aborted: sum.aborted + aborted,
                running: sum.running + running,
                lingered: sum.lingered + lingered,
                backlog: sum.backlog + backlog,
            }
        })
    }
}

impl std::fmt::Display for DrainReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            idle,
            ended,
            aborted,
            running,
            lingered,
            backlog,
        } = self;
        write!(
            f,
            "{idle} idle, {ended} ended, {aborted} aborted, {running} still running"
        )?;
        if *lingered > 0 {
            write!(f, ", {lingered} lingered")?;
        }
        if *backlog > 0 {
            write!(f, ", {backlog} from the backlog")?;
        }
        Ok(())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_reports_has_the_sum_of_each_number() {
        let report = DrainReport {
            idle: 1,
            ended: 2,
            aborted: 3,
            running: 4,
            lingered: 5,
            backlog: 6,
        };
        let sum: DrainReport = [report, report].into_iter().sum();
        assert_eq!(
            sum.to_string(),
            "2 idle, 4 ended, 6 aborted, 8 still running, 10 lingered, 12 from the backlog"
        );
    }
}
