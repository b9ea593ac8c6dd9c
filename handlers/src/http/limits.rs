//! How much, and how long, a client may send.

use std::time::Duration;

use socketserver::Deadlines;

/// The most headers that [`HttpLimits::with_headers`] allows.
pub(super) const MAX_HEADERS: usize = 256;

/// How much a client may send in one request, and how long each part of a request may take.
///
/// A request beyond a limit is refused with the status that each setter names, and the connection
/// is closed. Python's `http.server` has a limit of 65,536 bytes for each line, one of 100 headers,
/// and none for bodies and times.
///
/// ```
/// use std::time::Duration;
/// use socketserver_handlers::http::HttpLimits;
///
/// let limits = HttpLimits::default()
///     .with_body(100 * 1024 * 1024)
///     .with_idle_time(Duration::from_secs(5));
/// assert_eq!(limits.body(), Some(100 * 1024 * 1024));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct HttpLimits {
    head: usize,
    target: usize,
    headers: usize,
    body: Option<u64>,
    head_time: Duration,
    idle_time: Duration,
    progress_time: Duration,
}

impl HttpLimits {
    /// The most bytes of a head: the request line and all headers. 16 KiB unless set.
    pub fn head(&self) -> usize {
        self.head
    }

    /// Sets [`head`](Self::head). A longer head is refused with 431.
    pub fn with_head(self, head: usize) -> Self {
        Self { head, ..self }
    }

    /// The most bytes of a request's target, which is the path with its query. 8 KiB unless set.
    pub fn target(&self) -> usize {
        self.target
    }

    /// Sets [`target`](Self::target). A longer target is refused with 414.
    pub fn with_target(self, target: usize) -> Self {
        Self { target, ..self }
    }

    /// The most headers of a request. 100 unless set.
    pub fn headers(&self) -> usize {
        self.headers
    }

    /// Sets [`headers`](Self::headers); more than 256 count as 256. More headers are refused with
    /// 431.
    pub fn with_headers(self, headers: usize) -> Self {
        let headers = headers.min(MAX_HEADERS);
        Self { headers, ..self }
    }

    /// The most bytes of a request's body; `None` means no limit. 16 MiB unless set.
    pub fn body(&self) -> Option<u64> {
        self.body
    }

    /// Sets [`body`](Self::body). A longer body is refused with 413: before the handler if the
    /// client announces the length, otherwise by an error of the read that passes the limit.
    pub fn with_body(self, body: u64) -> Self {
        let body = Some(body);
        Self { body, ..self }
    }

    /// Removes the limit of [`body`](Self::body), for a handler that streams what it reads.
    pub fn without_body_limit(self) -> Self {
        Self { body: None, ..self }
    }

    /// The time for a head, from its first byte to its last. 20 seconds unless set.
    pub fn head_time(&self) -> Duration {
        self.head_time
    }

    /// Sets [`head_time`](Self::head_time). A client that takes longer is refused with 408.
    pub fn with_head_time(self, head_time: Duration) -> Self {
        Self { head_time, ..self }
    }

    /// The time for which a connection is kept alive between two requests. 60 seconds unless set.
    pub fn idle_time(&self) -> Duration {
        self.idle_time
    }

    /// Sets [`idle_time`](Self::idle_time). After this time the connection is closed.
    pub fn with_idle_time(self, idle_time: Duration) -> Self {
        Self { idle_time, ..self }
    }

    /// The longest time without a byte of a body, in either direction. 30 seconds unless set.
    pub fn progress_time(&self) -> Duration {
        self.progress_time
    }

    /// Sets [`progress_time`](Self::progress_time). A request is refused with 408 if no byte of its
    /// body arrives for this time.
    pub fn with_progress_time(self, progress_time: Duration) -> Self {
        Self {
            progress_time,
            ..self
        }
    }

    /// The deadlines of a connection outside a body. Each is the shorter of a limit and of the
    /// deadline in `server`, which has the deadlines of the server.
    pub(super) fn between_bodies(&self, server: Deadlines) -> Deadlines {
        let sooner = |limit: Duration, own: Option<Duration>| own.map_or(limit, |it| it.min(limit));
        self.within_body(server)
            .with_first_byte(sooner(self.head_time, server.first_byte()))
            .with_idle(sooner(self.idle_time, server.idle()))
            .with_read(sooner(self.head_time, server.read()))
    }

    /// The deadlines while the client sends a body.
    pub(super) fn within_body(&self, server: Deadlines) -> Deadlines {
        let progress = server.progress();
        server.with_progress(progress.map_or(self.progress_time, |it| it.min(self.progress_time)))
    }
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            head: 16 * 1024,
            target: 8 * 1024,
            headers: 100,
            body: Some(16 * 1024 * 1024),
            head_time: Duration::from_secs(20),
            idle_time: Duration::from_secs(60),
            progress_time: Duration::from_secs(30),
        }
    }
}
