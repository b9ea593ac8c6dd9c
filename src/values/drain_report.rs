//! What became of the requests that ran when a server stopped.

/// How the requests ended that were there when a server was shut down or closed, whichever came
/// first.
///
/// ```
/// # use socketserver::DrainReport;
/// let report = DrainReport::default();
/// assert_eq!(report.to_string(), "0 idle, 0 ended, 0 cut off, 0 still running");
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainReport {
    /// Connections that stood idle in [`wait`](crate::StreamRequest::wait), and were told.
    pub idle: usize,
    /// Other requests, or forked children, that ended by themselves.
    pub ended: usize,
    /// Requests whose connection was shut down, or children that were killed, at the deadline.
    pub cut: usize,
    /// Requests and children that were not waited for (`daemon_threads`, `block_on_close(false)`), or
    /// that went on for more than a second after they were cut off because they neither read nor
    /// write.
    pub running: usize,
}

impl std::fmt::Display for DrainReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            idle,
            ended,
            cut,
            running,
        } = self;
        write!(
            f,
            "{idle} idle, {ended} ended, {cut} cut off, {running} still running"
        )
    }
}
