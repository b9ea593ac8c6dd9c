//! The calls of a trace in an order that does not depend on how threads take turns.

/// Where a call runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Loop,
    /// The thread or the child that serves the request.
    Worker,
}

/// A call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub place: Place,
    /// The layer or class, the method, and the line of Python's `def`.
    pub text: String,
}

impl Row {
    /// The method, without its class.
    pub fn method(&self) -> &str {
        let name = self.text.split([' ', '(']).next().unwrap_or_default();
        name.rsplit('.').next().unwrap_or_default()
    }

    /// The row without the number of a line of Python's source.
    pub fn without_line(&self) -> Self {
        let text = self.text.split(" (").next().unwrap_or_default().to_owned();
        Self { text, ..*self }
    }

    fn is(&self, method: &str) -> bool {
        self.method() == method
    }
}

/// The mix-ins define these hooks; they leave the others to the layer below.
const DEFINED: [(&str, &[&str]); 2] = [
    ("ThreadingMixIn", &["process_request", "server_close"]),
    (
        "ForkingMixIn",
        &[
            "server_activate",
            "is_ready",
            "process_request",
            "service_actions",
            "server_close",
        ],
    ),
];

/// The calls of `socketserver trace`. A call that a mix-in leaves to the layer below is one row,
/// that of the layer below. Passes of the loop without a client are left out, but for the first.
pub fn here(text: &str) -> Vec<Row> {
    let rows = calls(text).into_iter().filter_map(|(place, call)| {
        let (layer, hook) = call.split(['(', ' ']).next()?.split_once('.')?;
        let mix_in = DEFINED.iter().find(|(name, _)| *name == layer);
        if mix_in.is_some_and(|(_, defined)| !defined.contains(&hook)) {
            return None;
        }
        let text = match (hook, call.split_once(", ")) {
            ("observe", Some((_, event))) => {
                format!("{layer}.observe: {}", event.trim_end_matches(')'))
            }
            ("get_request", _) if call.contains("no request") => {
                format!("{layer}.get_request: no request")
            }
            _ => format!("{layer}.{hook}"),
        };
        Some(Row { place, text })
    });
    let rows = Vec::from_iter(rows);
    let is_idle = |row: &Row| {
        row.is("is_ready") || row.is("service_actions") || row.text.contains("no request")
    };
    let serving = position(&rows, |row| row.is("serve_forever"));
    let client = position(&rows, |row| {
        row.is("get_request") && !row.text.contains("no request")
    });
    let (before, after) = (&rows[..client], &rows[client..]);
    // The first pass, and the look of the pass that finds the client.
    let pass = &before[serving + 1..];
    let first = pass
        .iter()
        .take_while(|row| is_idle(row) && !row.is("service_actions"));
    let actions = pass.iter().find(|row| row.is("service_actions"));
    let looks = pass.iter().rev().take_while(|row| row.is("is_ready"));
    let looks = Vec::from_iter(looks).into_iter().rev();
    let begin = before[..=serving]
        .iter()
        .chain(first)
        .chain(actions)
        .chain(looks);
    let (request, end) = in_order(after, is_idle);
    let actions = rows.iter().find(|row| row.is("service_actions"));
    let all = begin.chain(&request).chain(actions).chain(&end);
    all.cloned().collect()
}

/// The calls of `python_path.py`. Passes of the loop without a client are left out.
pub fn python(text: &str) -> Vec<Row> {
    let calls = calls(text)
        .into_iter()
        .filter(|(_, call)| !call.contains(" -> "));
    let rows = Vec::from_iter(calls.map(|(place, text)| Row { place, text }));
    let is_pass = |row: &Row| row.is("service_actions") || row.is("collect_children");
    let client = position(&rows, |row| row.is("_handle_request_noblock"));
    let (before, after) = rows.split_at(client);
    let closes = |row: &&Row| row.place == Place::Loop;
    let end = position(after, |row| row.is("__exit__"));
    let (serving, closing) = after.split_at(end);
    // A worker may go on while the server closes.
    let late = closing.iter().filter(|row| !closes(row));
    let serving = Vec::from_iter(serving.iter().chain(late).cloned());
    let (request, rest) = in_order(&serving, is_pass);
    assert!(rest.is_empty(), "{rest:?}");
    // The first pass after the request, once.
    let mut passes: Vec<&Row> = Vec::new();
    for row in serving.iter().filter(|row| is_pass(row)) {
        if !passes.contains(&row) {
            passes.push(row);
        }
    }
    let begin = before.iter().filter(|row| !is_pass(row));
    let closing = closing.iter().filter(closes);
    let all = begin.chain(&request).chain(passes).chain(closing);
    all.cloned().collect()
}

/// The calls of the loop up to the hand-over, those of the worker, and the others of the loop.
fn in_order(rows: &[Row], is_idle: impl Fn(&Row) -> bool) -> (Vec<Row>, Vec<Row>) {
    let mut lines = rows.iter().filter(|row| row.place == Place::Loop);
    let handed = lines.by_ref().take_while(|row| !is_idle(row));
    let mut request: Vec<Row> = handed.cloned().collect();
    let workers = rows.iter().filter(|row| row.place == Place::Worker);
    request.extend(workers.cloned());
    (
        request,
        lines.filter(|row| !is_idle(row)).cloned().collect(),
    )
}

fn position(rows: &[Row], is_wanted: impl Fn(&Row) -> bool) -> usize {
    rows.iter()
        .position(is_wanted)
        .unwrap_or_else(|| panic!("{rows:#?}"))
}

/// The lines that begin a call, with their places and without their indent. Lines of results, of
/// the address and of the reply are left out.
fn calls(text: &str) -> Vec<(Place, String)> {
    let call = |line: &str| {
        let (thread, call) = line.split_at_checked(17)?;
        let is_call = call.contains('.') && !line.starts_with(['l', 'r']);
        let is_begin = call.contains('(') || !call.contains(" -> ");
        let place = match thread.trim_end() {
            "main" | "MainThread" => Place::Loop,
            _ => Place::Worker,
        };
        (is_call && is_begin).then(|| (place, call.trim_start().to_owned()))
    };
    text.lines().filter_map(call).collect()
}
