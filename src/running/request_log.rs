//! The log lines of requests. The number of lines of one kind in a minute is bounded.

use std::fmt;
use std::io;
use std::time::Instant;

use crate::running::client_name::ClientName;
use crate::running::floods::HeldBack;
use crate::running::server_handle::ServerHandle;
use crate::support::log::{Level, is_logged, log_line};
use crate::values::request_event::RequestEvent;

/// Logs an event in the life of a request.
pub(crate) fn log_event(client: ClientName<'_>, event: &RequestEvent) {
    match event {
        RequestEvent::Accepted => log_line!(Level::Debug, "{client}: accepted"),
        RequestEvent::Refused(why) => {
            log_recurring(Level::Info, &client, &format_args!("refused: {why}"));
        }
        RequestEvent::Handshake { .. } | RequestEvent::Started { .. } => {}
        RequestEvent::Ended {
            outcome,
            accepted,
            received,
            sent,
            ..
        } => {
            let lasted = ElapsedSince(*accepted);
            log_line!(
                Level::Debug,
                "{client}: {outcome} after {lasted}, {received} bytes received, {sent} sent"
            );
        }
    }
}

/// Logs a line that clients can cause at will. The first lines of its kind in a minute have the
/// level `level`, and the others the level debug. The next line at `level` has the number of the
/// others.
///
/// A forked child, which has one request, logs every line at `level`.
pub(crate) fn log_recurring(level: Level, client: &ClientName<'_>, text: &dyn fmt::Display) {
    log_throttled(client.server, level, client, text);
}

/// Logs an error of `get_request` that a layer has made, and not a system call.
pub(crate) fn log_failed_layer(server: &ServerHandle, error: &io::Error) {
    let text = format_args!("get_request has failed: {error}");
    log_throttled(server, Level::Error, &server.server_address(), &text);
}

fn log_throttled(
    server: &ServerHandle,
    level: Level,
    about: &dyn fmt::Display,
    text: &dyn fmt::Display,
) {
    if !is_logged(level) {
        return;
    }
    let shared = server.shared();
    if shared.is_forked_child() {
        log_line!(level, "{about}: {text}");
        return;
    }
    let text = text.to_string();
    match shared.floods().admit(level, &text, Instant::now()) {
        Some(0) => log_line!(level, "{about}: {text}"),
        Some(others) => log_line!(level, "{about}: {text} ({others} more before, {AT_DEBUG})"),
        None => log_line!(Level::Debug, "{about}: {text}"),
    }
}

/// Logs how many lines were held back since the last logged line of their kind.
pub(crate) fn log_held_back(server: &ServerHandle) {
    for kind in server.shared().floods().drain() {
        let HeldBack {
            held_back,
            level,
            text,
        } = kind;
        let address = server.server_address();
        log_line!(level, "{address}: {held_back} more, {AT_DEBUG}: {text}");
    }
}

const AT_DEBUG: &str = "logged at level debug";

/// The time since an instant. The clock is read only when the value is formatted, which happens
/// only if the line is logged.
struct ElapsedSince(Instant);

impl fmt::Display for ElapsedSince {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0.elapsed())
    }
}
