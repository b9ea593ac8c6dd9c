//! What became of the requests that ran when a server stopped.

/// How the requests ended that were running when a server was shut down or closed, whichever came
/// first.
///
/// ```
/// # use socketserver::DrainReport;
/// let report = DrainReport::default();
/// assert_eq!(report.to_string(), "requests ended: 0, cut off: 0, still running: 0");
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainReport {
    /// Requests, or forked children, that ended by themselves.
    pub ended: usize,
    /// Requests whose connection was shut down, or children that were killed, at the deadline.
    pub cut: usize,
    /// Requests and children that were not waited for (`daemon_threads`, `block_on_close(false)`), or
    /// that went
    /// on for more than a second after they were cut off because they neither read nor write.
    pub running: usize,
}

impl std::fmt::Display for DrainReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            ended,
            cut,
            running,
        } = self;
        write!(
            f,
            "requests ended: {ended}, cut off: {cut}, still running: {running}"
        )
    }
}
