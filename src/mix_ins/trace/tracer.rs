//! The lines of a trace, and their receiver.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::process;
use std::sync::Arc;
use std::thread;

use nix::unistd::write;

/// Receives the lines of a trace, from every thread and forked child of a server.
///
/// Python's counterpart is the function that `sys.setprofile` takes.
#[derive(Clone)]
pub struct Tracer {
    show: Arc<dyn Fn(&TraceLine) + Send + Sync>,
    /// The process that has made the tracer.
    process: u32,
}

/// One line of a trace.
///
/// If no other call is shown inside a call, the call has one line, with arguments and result.
/// Otherwise the line of its beginning has no result. Its end has a second line, with the result
/// and without arguments, unless the last inner call has shown the same result.
///
/// `Display` prints the line as text, without colours. Python has no counterpart.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TraceLine {
    /// The name of the thread; in a forked child, `child` and its process id.
    pub thread: String,
    /// The number of open calls around this call, in its thread.
    pub depth: usize,
    /// The layer, or the handler, that is called.
    pub layer: String,
    /// The hook, or the method.
    pub hook: &'static str,
    /// The arguments; empty without arguments, and `None` at the end of a call.
    pub arguments: Option<String>,
    /// The result; `None` at the beginning of a call, and for a call that returns nothing.
    pub result: Option<String>,
}

impl Tracer {
    /// Makes a tracer that calls `show` for each line, in the thread or the forked child of the
    /// call.
    #[must_use]
    pub fn new(show: impl Fn(&TraceLine) + Send + Sync + 'static) -> Self {
        Self {
            show: Arc::new(show),
            process: process::id(),
        }
    }

    /// Shows a call of the program itself, such as `Server.serve_forever`. The calls of hooks
    /// inside are indented. The result is not shown.
    pub fn call<T>(&self, layer: &str, hook: &'static str, call: impl FnOnce() -> T) -> T {
        let _call = Call::begin(Some(self), layer, hook, String::new);
        call()
    }

    fn thread(&self) -> String {
        match process::id() {
            id if id == self.process => thread::current().name().unwrap_or("thread").to_owned(),
            id => format!("child {id}"),
        }
    }
}

/// Writes each line to standard error, with one write(2) and without a lock: a child may be forked
/// at any time.
impl Default for Tracer {
    fn default() -> Self {
        Self::new(|line| {
            // There is no other place to report an error to.
            let _ = write(io::stderr(), format!("{line}\n").as_bytes());
        })
    }
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracer").finish_non_exhaustive()
    }
}

impl fmt::Display for TraceLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (thread, indent) = (&self.thread, 2 * self.depth);
        write!(f, "{thread:15}  {:indent$}{}.{}", "", self.layer, self.hook)?;
        if let Some(arguments) = &self.arguments {
            write!(f, "({arguments})")?;
        }
        match &self.result {
            Some(result) => write!(f, " -> {result}"),
            None => Ok(()),
        }
    }
}

/// The calls of a thread that have not returned.
#[derive(Default)]
struct OpenCalls {
    depth: usize,
    /// The innermost call, if its line is not shown yet, since its result may come first.
    unshown: Option<(Tracer, TraceLine)>,
    /// The result that was shown last.
    last_result: Option<String>,
}

thread_local! {
    static OPEN: RefCell<OpenCalls> = RefCell::default();
}

/// These calls run a handler, or fork, so their line is shown at once.
const SHOWN_AT_ONCE: [&str; 4] = ["process_request", "finish_request", "handle", "exchange"];

/// A call that has begun. The drop of the value is its end.
pub(super) struct Call<'a> {
    /// `None` if there is no trace.
    open: Option<(&'a Tracer, &'a str, &'static str)>,
    result: Option<String>,
}

impl<'a> Call<'a> {
    pub(super) fn begin(
        tracer: Option<&'a Tracer>,
        layer: &'a str,
        hook: &'static str,
        arguments: impl FnOnce() -> String,
    ) -> Self {
        let open = tracer.map(|tracer| (tracer, layer, hook));
        if let Some((tracer, ..)) = open {
            let line = TraceLine {
                thread: tracer.thread(),
                depth: OPEN.with_borrow(|open| open.depth),
                layer: layer.to_owned(),
                hook,
                arguments: Some(one_line(arguments())),
                result: None,
            };
            show_unshown();
            OPEN.with_borrow_mut(|open| {
                open.depth += 1;
                open.unshown = Some((tracer.clone(), line));
            });
            if SHOWN_AT_ONCE.contains(&hook) {
                show_unshown();
            }
        }
        let result = None;
        Self { open, result }
    }

    /// Ends the call with the value that it returns.
    pub(super) fn returns<T>(mut self, value: T, shown: impl FnOnce(&T) -> String) -> T {
        if self.open.is_some() {
            let result = one_line(shown(&value));
            self.result = Some(result).filter(|result| !result.is_empty());
        }
        value
    }
}

/// Returns the text with its control characters escaped, because the text of an error may contain
/// bytes of a client.
fn one_line(text: String) -> String {
    match text.contains(char::is_control) {
        false => text,
        true => text
            .chars()
            .map(|c| match c.is_control() {
                true => c.escape_default().to_string(),
                false => c.to_string(),
            })
            .collect(),
    }
}

/// Shows the beginning of the innermost call, since another call begins inside it.
fn show_unshown() {
    // The function of the tracer runs after the borrow has ended, since it may be traced itself.
    if let Some((tracer, line)) = OPEN.with_borrow_mut(|open| open.unshown.take()) {
        (tracer.show)(&line);
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let Some((tracer, layer, hook)) = self.open else {
            return;
        };
        let result = match thread::panicking() {
            true => Some("panics".to_owned()),
            false => self.result.take(),
        };
        let line = OPEN.with_borrow_mut(|open| {
            open.depth -= 1;
            let is_new = result.is_some() && result != open.last_result;
            let line = match open.unshown.take() {
                Some((_, line)) => Some(TraceLine { result, ..line }),
                None if is_new => Some(TraceLine {
                    thread: tracer.thread(),
                    depth: open.depth,
                    layer: layer.to_owned(),
                    hook,
                    arguments: None,
                    result,
                }),
                None => None,
            };
            if let Some(line) = &line {
                open.last_result.clone_from(&line.result);
            }
            line
        });
        if let Some(line) = line {
            (tracer.show)(&line);
        }
    }
}
