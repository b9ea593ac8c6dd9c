//! A list of files as lines: [`line`].

use jiff::Timestamp;
use jiff::tz::TimeZone;
use socketserver_handlers::files::{Entry, Kind, unescape};

use super::words::quoted;

/// A line with kind, size, time and name.
pub fn line(entry: &Entry) -> String {
    let (kind, end) = match entry.kind {
        Kind::File => ("file", ""),
        Kind::Directory => ("dir", "/"),
        Kind::Link => ("link", "@"),
        Kind::Partial => ("partial", ""),
        _ => ("other", ""),
    };
    let size = match entry.kind {
        Kind::Directory => "-".to_owned(),
        _ => entry.size.to_string(),
    };
    let time = Timestamp::from_second(entry.modified).map_or_else(
        |_| "-".to_owned(),
        |time| {
            time.to_zoned(TimeZone::system())
                .strftime("%Y-%m-%d %H:%M:%S")
                .to_string()
        },
    );
    // A name that is not escaped as the protocol requires is shown as it arrived, in quotes.
    let name = unescape(&entry.name).unwrap_or_else(|| entry.name.clone().into_bytes());
    format!("{kind:<7} {size:>12} {time:<19} {}{end}\n", quoted(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_one_line_whatever_its_name_is() {
        let entry = |name: &str, kind, modified| Entry {
            name: name.to_owned(),
            kind,
            size: 5,
            modified,
            version: None,
        };
        let shown = line(&entry("two\nlines%FF", Kind::File, 0));
        assert!(shown.starts_with("file               5 19"), "{shown}");
        assert!(shown.ends_with(" \"two\\nlines\\xff\"\n"), "{shown}");
        let shown = line(&entry("d", Kind::Directory, i64::MAX));
        assert_eq!(shown, format!("dir     {:>12} {:<19} d/\n", "-", "-"));
    }
}
