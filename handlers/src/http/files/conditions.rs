//! Whether a client has a file already, by RFC 9110, section 13.

use std::time::{Duration, SystemTime};

use ::http::header::{
    HeaderMap, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE,
};
use httpdate::HttpDate;

use super::file_status::FileStatus;

/// What distinguishes one version of a file from the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Validators {
    /// With its quotation marks.
    pub(super) etag: String,
    pub(super) last_modified: Option<HttpDate>,
}

/// The age of a file's last write at which its date is a strong validator.
const STRONG_AFTER: Duration = Duration::from_secs(60);

/// The result of the conditions of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Proceed,
    NotModified,
    Failed,
}

impl Validators {
    pub(super) fn new(status: &FileStatus) -> Self {
        let (seconds, nanoseconds) = status.modified;
        let etag = format!("\"{seconds:x}.{nanoseconds:x}-{:x}\"", status.length);
        Self {
            etag,
            last_modified: date(seconds),
        }
    }

    /// Evaluates the conditions of a GET or HEAD, in the order of RFC 9110, section 13.2.2.
    pub(super) fn evaluate(&self, headers: &HeaderMap) -> Verdict {
        if headers.contains_key(IF_MATCH) {
            if !self.has_match(headers, &IF_MATCH, Comparison::Strong) {
                return Verdict::Failed;
            }
        } else if let Some(date) = date_in(headers, &IF_UNMODIFIED_SINCE)
            && self.is_modified_since(date)
        {
            return Verdict::Failed;
        }
        if headers.contains_key(IF_NONE_MATCH) {
            if self.has_match(headers, &IF_NONE_MATCH, Comparison::Weak) {
                return Verdict::NotModified;
            }
        } else if let Some(date) = date_in(headers, &IF_MODIFIED_SINCE)
            && !self.is_modified_since(date)
        {
            return Verdict::NotModified;
        }
        Verdict::Proceed
    }

    /// Whether a range of this version is what the client asks for.
    ///
    /// A date counts only if the file was written last [`STRONG_AFTER`] ago: before that, the file
    /// may change once more within the second of the date (RFC 9110, section 8.8.2.2).
    pub(super) fn permits_range(&self, headers: &HeaderMap) -> bool {
        let Some(value) = headers.get(IF_RANGE) else {
            return true;
        };
        let is_same_date = || {
            let date = date_in(headers, &IF_RANGE);
            date.is_some() && date == self.last_modified && self.has_strong_date()
        };
        value.as_bytes() == self.etag.as_bytes() || is_same_date()
    }

    fn has_strong_date(&self) -> bool {
        let modified = self.last_modified.map(SystemTime::from);
        modified.is_some_and(|modified| {
            let age = SystemTime::now().duration_since(modified);
            age.is_ok_and(|age| age >= STRONG_AFTER)
        })
    }

    fn is_modified_since(&self, date: HttpDate) -> bool {
        self.last_modified.is_none_or(|modified| modified > date)
    }

    fn has_match(&self, headers: &HeaderMap, name: &HeaderName, comparison: Comparison) -> bool {
        let values = headers.get_all(name).into_iter();
        let mut values = values.filter_map(|value| value.to_str().ok());
        values.any(|value| value.trim() == "*" || has_tag(value, &self.etag, comparison))
    }
}

/// Whether a weak tag counts as equal to a strong one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// Whether a list of tags has `etag`. A tag may have a comma in it.
fn has_tag(list: &str, etag: &str, comparison: Comparison) -> bool {
    let mut rest = list;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (is_weak, quoted) = match rest.strip_prefix("W/") {
            Some(quoted) => (true, quoted),
            None => (false, rest),
        };
        let Some(end) = quoted.strip_prefix('"').and_then(|it| it.find('"')) else {
            return false;
        };
        let (tag, more) = quoted.split_at(end + 2);
        if tag == etag && !(is_weak && comparison == Comparison::Strong) {
            return true;
        }
        rest = more;
    }
}

/// The date of a header that is valid and there once.
fn date_in(headers: &HeaderMap, name: &HeaderName) -> Option<HttpDate> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

/// A time of modification as a date: no date lies before 1970, and none in the future.
fn date(seconds: i64) -> Option<HttpDate> {
    let since = Duration::from_secs(u64::try_from(seconds).ok()?);
    let time = SystemTime::UNIX_EPOCH.checked_add(since)?;
    Some(HttpDate::from(time.min(SystemTime::now())))
}

#[cfg(test)]
mod tests {
    use ::http::HeaderValue;

    use super::*;

    const TIME: i64 = 784_111_777;
    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn validators() -> Validators {
        Validators {
            etag: "\"a,b\"".to_owned(),
            last_modified: date(TIME),
        }
    }

    fn headers(lines: &[(HeaderName, &'static str)]) -> HeaderMap {
        let lines = lines.iter();
        let lines = lines.map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        HeaderMap::from_iter(lines)
    }

    #[test]
    fn conditions_are_evaluated_in_the_order_of_the_rfc() {
        let (same, other, weak) = ("\"a,b\"", "\"a\", \"b\"", "W/\"a,b\"");
        for (lines, expected) in [
            (&[][..], Verdict::Proceed),
            (&[(IF_NONE_MATCH, same)], Verdict::NotModified),
            (&[(IF_NONE_MATCH, weak)], Verdict::NotModified),
            (
                &[(IF_NONE_MATCH, "\"x\", W/\"y\",\"a,b\"")],
                Verdict::NotModified,
            ),
            (&[(IF_NONE_MATCH, "*")], Verdict::NotModified),
            (&[(IF_NONE_MATCH, other)], Verdict::Proceed),
            (&[(IF_NONE_MATCH, "a,b")], Verdict::Proceed),
            (&[(IF_MODIFIED_SINCE, DATE)], Verdict::NotModified),
            (&[(IF_MODIFIED_SINCE, AFTER)], Verdict::NotModified),
            (&[(IF_MODIFIED_SINCE, BEFORE)], Verdict::Proceed),
            (&[(IF_MODIFIED_SINCE, "yesterday")], Verdict::Proceed),
            // The tag counts, and the date beside it does not.
            (
                &[(IF_NONE_MATCH, other), (IF_MODIFIED_SINCE, DATE)],
                Verdict::Proceed,
            ),
            (
                &[(IF_NONE_MATCH, same), (IF_MODIFIED_SINCE, BEFORE)],
                Verdict::NotModified,
            ),
            (&[(IF_MATCH, same)], Verdict::Proceed),
            (&[(IF_MATCH, "*")], Verdict::Proceed),
            (&[(IF_MATCH, other)], Verdict::Failed),
            (&[(IF_MATCH, weak)], Verdict::Failed),
            (
                &[(IF_MATCH, same), (IF_UNMODIFIED_SINCE, BEFORE)],
                Verdict::Proceed,
            ),
            (
                &[(IF_MATCH, same), (IF_NONE_MATCH, same)],
                Verdict::NotModified,
            ),
            (&[(IF_MATCH, other), (IF_NONE_MATCH, same)], Verdict::Failed),
            (&[(IF_UNMODIFIED_SINCE, DATE)], Verdict::Proceed),
            (&[(IF_UNMODIFIED_SINCE, BEFORE)], Verdict::Failed),
            (&[(IF_UNMODIFIED_SINCE, "yesterday")], Verdict::Proceed),
        ] {
            assert_eq!(
                validators().evaluate(&headers(lines)),
                expected,
                "{lines:?}"
            );
        }
    }

    #[test]
    fn a_range_is_of_the_version_that_the_client_has() {
        for (value, expected) in [
            ("\"a,b\"", true),
            ("W/\"a,b\"", false),
            ("\"a\"", false),
            (DATE, true),
            (AFTER, false),
            (BEFORE, false),
            ("yesterday", false),
        ] {
            let headers = headers(&[(IF_RANGE, value)]);
            assert_eq!(validators().permits_range(&headers), expected, "{value}");
        }
        assert!(validators().permits_range(&HeaderMap::new()));
    }

    #[test]
    fn the_date_of_a_file_that_was_written_in_the_last_minute_permits_no_range() {
        let now = SystemTime::now();
        for (age, expected) in [(0, false), (30, false), (120, true)] {
            let modified = HttpDate::from(now - Duration::from_secs(age));
            let mut headers = HeaderMap::new();
            headers.insert(
                IF_RANGE,
                HeaderValue::try_from(modified.to_string()).unwrap(),
            );
            let validators = Validators {
                etag: "\"a\"".to_owned(),
                last_modified: Some(modified),
            };
            assert_eq!(validators.permits_range(&headers), expected, "{age}");
            headers.insert(IF_RANGE, HeaderValue::from_static("\"a\""));
            assert!(validators.permits_range(&headers), "{age}");
        }
    }

    #[test]
    fn a_time_that_is_no_date_is_left_out_and_one_in_the_future_is_now() {
        assert_eq!(date(-1), None);
        assert!(date(i64::MAX).is_none_or(|it| it <= SystemTime::now().into()));
        let tomorrow = SystemTime::now() + Duration::from_secs(24 * 60 * 60);
        let tomorrow = tomorrow.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let date = date(tomorrow.as_secs().try_into().unwrap()).unwrap();
        assert!(date <= SystemTime::now().into());
    }
}
