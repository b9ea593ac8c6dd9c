//! What differs from run to run in the output of a command.

use regex_lite::Regex;

/// The kinds of text that differ, each with the sign that takes its place before the comparison.
#[derive(Debug, Default)]
pub struct Varying(Vec<(Regex, &'static str)>);

impl Varying {
    /// The names of kinds, with commas between them.
    pub fn parse(kinds: &str) -> Result<Self, String> {
        let kind = |name: &str| {
            let (pattern, sign) = match name {
                "time" => (
                    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\dZ?|\b\d\d:\d\d\b",
                    "<time>",
                ),
                // The kernel chooses the ports of clients, which have five digits.
                "port" => (r":\d{5}\b", ":<port>"),
                "number" => (r"\d+", "<number>"),
                "hex" => (r"\b[0-9a-f]{16,}\b", "<hex>"),
                _ => return Err(format!("not understood: {name}")),
            };
            Ok((Regex::new(pattern).expect("the pattern is right"), sign))
        };
        kinds
            .split(", ")
            .map(kind)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The text with a sign for each part that differs.
    pub fn without(&self, text: &str) -> String {
        let replace = |text: String, (pattern, sign): &(Regex, &str)| {
            pattern.replace_all(&text, *sign).into_owned()
        };
        self.0.iter().fold(text.to_owned(), replace)
    }
}

#[test]
fn what_differs_has_a_sign() {
    let line = "[2026-11-23T05:17:18Z INFO] 127.0.0.1:41806 at 127.0.0.1:9999: 5 bytes";
    let varying = Varying::parse("time, port").unwrap();
    assert_eq!(
        varying.without(line),
        "[<time> INFO] 127.0.0.1:<port> at 127.0.0.1:9999: 5 bytes"
    );
    assert_eq!(Varying::default().without(line), line);
}
