//! Files that were compressed in advance, beside the files themselves.

use ::http::header::{ACCEPT_ENCODING, HeaderMap};

/// A coding of the content of a file. The coded content is in another file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Coding {
    /// The name in `Accept-Encoding` and `Content-Encoding`.
    pub(super) name: &'static str,
    /// The suffix that the name of the coded file has.
    pub(super) suffix: &'static str,
}

/// The codings, the smaller first.
const CODINGS: [Coding; 2] = [
    Coding {
        name: "br",
        suffix: ".br",
    },
    Coding {
        name: "gzip",
        suffix: ".gz",
    },
];

/// The codings that a client accepts, the best first.
pub(super) fn accepted(headers: &HeaderMap) -> Vec<Coding> {
    let mut weighed = Vec::from_iter(
        CODINGS
            .iter()
            .map(|coding| (weight(headers, coding), coding)),
    );
    weighed.retain(|(weight, _)| *weight > 0);
    // A stable sort: of two with one weight, the smaller stays first.
    weighed.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    weighed.into_iter().map(|(_, coding)| *coding).collect()
}

/// How much the client prefers a coding, in thousandths. 0 if the client does not accept the
/// coding.
fn weight(headers: &HeaderMap, coding: &Coding) -> u16 {
    let lines = headers.get_all(ACCEPT_ENCODING).into_iter();
    let lines = lines.filter_map(|line| line.to_str().ok());
    let mut of_all = 0;
    for element in lines.flat_map(|line| line.split(',')) {
        let (name, parameters) = element.split_once(';').unwrap_or((element, ""));
        let name = name.trim();
        if name.eq_ignore_ascii_case(coding.name) {
            return thousandths(parameters);
        }
        if name == "*" {
            of_all = thousandths(parameters);
        }
    }
    of_all
}

/// The weight in `q=0.5`; the largest without it, and none if it is not valid.
fn thousandths(parameters: &str) -> u16 {
    let parameters = parameters.trim();
    if parameters.is_empty() {
        return 1000;
    }
    let weight = parameters
        .strip_prefix("q=")
        .or(parameters.strip_prefix("Q="));
    match weight.and_then(|weight| weight.parse::<f32>().ok()) {
        Some(weight) if (0.0..=1.0).contains(&weight) => (weight * 1000.0) as u16,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use ::http::HeaderValue;

    use super::*;

    #[test]
    fn the_codings_are_those_that_the_client_accepts_in_its_order() {
        for (value, expected) in [
            ("gzip, deflate, br, zstd", &["br", "gzip"][..]),
            ("GZIP", &["gzip"]),
            ("br;q=0.5, gzip;q=0.8", &["gzip", "br"]),
            ("br;q=0, gzip; q=1", &["gzip"]),
            ("*", &["br", "gzip"]),
            ("*;q=0, gzip", &["gzip"]),
            ("br;q=x", &[]),
            ("br;q=2", &[]),
            ("br;q=NaN", &[]),
            ("identity", &[]),
            ("", &[]),
        ] {
            let value = HeaderValue::from_static(value);
            let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, value.clone())]);
            let names = Vec::from_iter(accepted(&headers).iter().map(|coding| coding.name));
            assert_eq!(names, expected, "{value:?}");
        }
        assert!(accepted(&HeaderMap::new()).is_empty());
    }
}
