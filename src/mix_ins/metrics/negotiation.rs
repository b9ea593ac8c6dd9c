//! The format that a client accepts.

use crate::mix_ins::metrics::registry::MetricsFormat;

/// The format for the value of the header `Accept`: OpenMetrics, unless the client prefers
/// `text/plain`.
pub(super) fn format_for(accept: &str) -> MetricsFormat {
    let quality = |types: [&str; 3]| {
        // The most specific range that matches decides.
        let of = |range| {
            accept
                .split(',')
                .filter_map(|it| quality_of(it, range))
                .reduce(f32::max)
        };
        types.into_iter().find_map(of).unwrap_or(0.0)
    };
    let open = quality(["application/openmetrics-text", "application/*", "*/*"]);
    let plain = quality(["text/plain", "text/*", "*/*"]);
    match plain > open {
        true => MetricsFormat::Prometheus,
        false => MetricsFormat::OpenMetrics,
    }
}

/// Returns the quality of an element of the header, if its range is `range`.
fn quality_of(element: &str, range: &str) -> Option<f32> {
    let mut parts = element.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case(range) {
        return None;
    }
    let quality = parts.find_map(|it| it.strip_prefix("q=").or(it.strip_prefix("Q=")));
    Some(quality.map_or(1.0, |it| it.parse().unwrap_or(0.0)))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_openmetrics_unless_the_client_prefers_plain_text() {
        for accept in [
            "",
            "*/*",
            "application/openmetrics-text",
            // Prometheus 2.42.
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;\
             q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            // Prometheus 3.
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
             application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;\
             escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
            // A browser.
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "image/png",
            "text/plain;q=zero",
        ] {
            assert_eq!(format_for(accept), MetricsFormat::OpenMetrics, "{accept}");
        }
        for accept in [
            "text/plain",
            "Text/Plain; version=0.0.4",
            "text/*",
            "text/plain, application/openmetrics-text;q=0.5",
            "application/openmetrics-text;q=0, */*",
        ] {
            assert_eq!(format_for(accept), MetricsFormat::Prometheus, "{accept}");
        }
    }
}
