//! The page that lists a directory.

use std::ffi::OsString;
use std::fmt::Write;
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::entries::{Entries, Entry, Key, Order};
use super::request_path::{RequestPath, encode};

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884}\
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem}\
h1{font-size:1.15rem;font-weight:600;overflow-wrap:anywhere;margin:.5rem 0 1rem}\
a{text-decoration:none}a:hover,a:focus{text-decoration:underline}\
table{border-collapse:collapse;width:100%}\
th{text-align:left;font-size:.85rem;font-weight:600;white-space:nowrap}\
th,td{padding:.45rem .25rem;border-bottom:1px solid var(--line);vertical-align:baseline}\
td:first-child{width:100%;overflow-wrap:anywhere}\
.size,.time{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums;\
padding-left:1rem}\
td.size,td.time,p{opacity:.75;font-size:.9rem}\
@media(max-width:34rem){.clock{display:none}th,td{padding:.6rem .15rem}\
.size,.time{padding-left:.75rem}}";

/// The page of the directory at `path`.
pub(super) fn page(path: &RequestPath, listed: &Entries, order: Order) -> String {
    let zone = TimeZone::system();
    let title = escape(&title(path.segments()));
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Index of {title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>Index of \
         {}</h1>\n<table>\n<thead><tr>{}</tr></thead>\n<tbody>\n",
        way(path.segments()),
        columns(order),
    );
    if !path.segments().is_empty() {
        page.push_str(
            "<tr><td><a href=\"../\">../</a></td><td class=\"size\"></td>\
             <td class=\"time\"></td></tr>\n",
        );
    }
    for entry in &listed.entries {
        row(&mut page, entry, &zone);
    }
    page.push_str("</tbody>\n</table>\n");
    match (listed.entries.len(), listed.are_incomplete) {
        (0, _) => page.push_str("<p>There are no files here.</p>\n"),
        (count, true) => page.push_str(&format!("<p>There are more than these {count}.</p>\n")),
        _ => {}
    }
    page.push_str("</body>\n</html>\n");
    page
}

/// The directories on the way to this one, each as a link.
fn way(segments: &[OsString]) -> String {
    let mut way = String::from("<a href=\"/\">/</a>");
    let mut url = String::from("/");
    for name in segments {
        url.push_str(&encode(name));
        url.push('/');
        let text = escape(&name.to_string_lossy());
        way.push_str(&format!("<a href=\"{url}\">{text}/</a>"));
    }
    way
}

/// The heads of the columns, each a link that sorts by it.
fn columns(order: Order) -> String {
    let column = |key: Key| {
        let is_sorted = order.key == key;
        let (label, class) = match key {
            Key::Name => ("Name", "name"),
            Key::Size => ("Size", "size"),
            Key::Time => ("Modified", "time"),
        };
        let next = match is_sorted && !order.is_reversed {
            true => "desc",
            false => "asc",
        };
        let (mark, sorted) = match (is_sorted, order.is_reversed) {
            (false, _) => ("", "none"),
            (true, false) => (" ▲", "ascending"),
            (true, true) => (" ▼", "descending"),
        };
        let name = key.name();
        format!(
            "<th class=\"{class}\" aria-sort=\"{sorted}\">\
             <a href=\"?sort={name}&amp;order={next}\">{label}{mark}</a></th>"
        )
    };
    Key::ALL.into_iter().map(column).collect()
}

fn row(page: &mut String, entry: &Entry, zone: &TimeZone) {
    let slash = if entry.is_directory { "/" } else { "" };
    let size = match entry.is_directory {
        true => "–".to_owned(),
        false => size(entry.length),
    };
    let (url, name) = (encode(&entry.name), escape(&entry.name.to_string_lossy()));
    // A name with a colon is no scheme: `encode` leaves no colon.
    writeln!(
        page,
        "<tr><td><a href=\"{url}{slash}\">{name}{slash}</a></td>\
         <td class=\"size\">{size}</td><td class=\"time\">{}</td></tr>",
        time(entry.modified, zone)
    )
    .expect("writing to a String succeeds");
}

/// A time in the server's zone; empty for a time beyond the years 1 to 9999.
fn time(time: SystemTime, zone: &TimeZone) -> String {
    let Ok(time) = Timestamp::try_from(time) else {
        return String::new();
    };
    let zoned = time.to_zoned(zone.clone());
    zoned
        .strftime(
            "<time datetime=\"%Y-%m-%dT%H:%M:%S%:z\">%Y-%m-%d<span class=\"clock\"> %H:%M</span>\
             </time>",
        )
        .to_string()
}

/// A length with three digits at most and a unit.
fn size(length: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if length < 1024 {
        return format!("{length} B");
    }
    let mut value = length as f64 / 1024.0;
    let mut units = UNITS.into_iter();
    let mut unit = units.next().unwrap_or_default();
    // Of 1023.5 KiB, the text would be 1024 KiB.
    while value >= 1023.5
        && let Some(next) = units.next()
    {
        value /= 1024.0;
        unit = next;
    }
    match value < 9.95 {
        true => format!("{value:.1} {unit}"),
        false => format!("{value:.0} {unit}"),
    }
}

fn title(segments: &[OsString]) -> String {
    let names = segments
        .iter()
        .map(|name| format!("{}/", name.to_string_lossy()));
    format!("/{}", names.collect::<String>())
}

/// Text of a page and of an attribute.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // A name may have a control character, which would break the line.
            character if character.is_control() => escaped.push('\u{fffd}'),
            character => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_few_digits() {
        for (length, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (10_188, "9.9 KiB"),
            (10_189, "10 KiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(size(length), expected);
        }
    }

    #[test]
    fn a_name_cannot_become_markup() {
        let entry = Entry {
            name: "<script>\"'&\n.html".into(),
            is_directory: false,
            length: 1,
            modified: SystemTime::now(),
        };
        let listed = Entries {
            entries: vec![entry],
            are_incomplete: false,
        };
        let path = RequestPath::parse("/%3Ci%3E/").unwrap();
        let page = page(&path, &listed, Order::default());
        assert!(
            !page.contains("<script>") && !page.contains("<i>"),
            "{page}"
        );
        assert!(
            page.contains("&lt;script&gt;&quot;&#39;&amp;\u{fffd}.html</a>"),
            "{page}"
        );
        assert!(
            page.contains("href=\"%3Cscript%3E%22%27%26%0A.html\""),
            "{page}"
        );
    }
}
