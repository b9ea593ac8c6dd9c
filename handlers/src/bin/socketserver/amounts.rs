//! Times and sizes that the user types.

use std::time::Duration;

/// Parses a time in seconds, whole or not: more than 0, and at most a year.
///
/// # Errors
///
/// Why the text is no such amount.
pub fn seconds(text: &str) -> Result<Duration, String> {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    let number = text.parse::<f64>().ok();
    let time = number.and_then(|number| Duration::try_from_secs_f64(number).ok());
    match time {
        Some(Duration::ZERO) => {
            Err("a time of 0 seconds would be over at once; write more than 0".to_owned())
        }
        Some(time) if time <= YEAR => Ok(time),
        Some(_) => Err("the longest time is a year: at most 31536000 seconds".to_owned()),
        None => Err("write a number of seconds, such as 30 or 0.5".to_owned()),
    }
}

/// Parses a size in bytes, such as `16777216` or `16MiB`, with the units `KiB`, `MiB` and `GiB`:
/// more than 0, and at most 1 GiB.
///
/// # Errors
///
/// Why the text is no such amount.
pub fn size(text: &str) -> Result<usize, String> {
    const UNITS: [(&str, usize); 3] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
    let in_unit = |&(unit, bytes)| Some((text.strip_suffix(unit)?, bytes));
    let (number, unit) = UNITS.iter().find_map(in_unit).unwrap_or((text, 1));
    if number.is_empty() || !number.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err("write a number of bytes, or of KiB, MiB or GiB, such as 16MiB".to_owned());
    }
    let bytes = number
        .parse()
        .ok()
        .and_then(|it: usize| it.checked_mul(unit));
    match bytes {
        Some(0) => Err("a size of 0 bytes leaves room for nothing; write more than 0".to_owned()),
        Some(bytes) if bytes <= 1 << 30 => Ok(bytes),
        _ => Err("the largest size is 1GiB".to_owned()),
    }
}

/// Parses a size in bytes, with the units of [`size`] and `TiB`, up to the largest size of a file.
///
/// # Errors
///
/// Why the text is no such size.
#[cfg(feature = "files")]
pub fn large_size(text: &str) -> Result<u64, String> {
    let in_unit = |&(unit, bytes)| Some((text.strip_suffix(unit)?, bytes));
    let (number, unit) = LARGE_UNITS.iter().find_map(in_unit).unwrap_or((text, 1));
    if number.is_empty() || !number.bytes().all(|digit| digit.is_ascii_digit()) {
        let units = "KiB, MiB, GiB or TiB";
        return Err(format!(
            "write a number of bytes, or of {units}, such as 2GiB"
        ));
    }
    let bytes = number.parse().ok().and_then(|it: u64| it.checked_mul(unit));
    bytes
        .filter(|bytes| i64::try_from(*bytes).is_ok())
        .ok_or_else(|| "the largest size is 8388607TiB".to_owned())
}

/// A size as [`large_size`] reads it.
#[cfg(feature = "files")]
pub fn shown_size(bytes: u64) -> String {
    let fits = |&&(_, unit): &&(&str, u64)| bytes >= unit && bytes.is_multiple_of(unit);
    match LARGE_UNITS.iter().rev().find(fits) {
        Some((name, unit)) => format!("{}{name}", bytes / unit),
        None => bytes.to_string(),
    }
}

#[cfg(feature = "files")]
const LARGE_UNITS: [(&str, u64); 4] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_time_is_a_number_of_seconds_whole_or_not() {
        assert_eq!(seconds("30"), Ok(Duration::from_secs(30)));
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        assert_eq!(seconds("31536000"), Ok(Duration::from_secs(31_536_000)));
    }

    #[test]
    fn a_text_that_is_no_time_is_refused_with_what_to_write() {
        for (text, reason) in [
            ("", "write a number"),
            ("-1", "write a number"),
            ("30s", "write a number"),
            ("nan", "write a number"),
            ("inf", "write a number"),
            ("1e300", "write a number"),
            ("0", "over at once"),
            ("1e-30", "over at once"),
            ("31536001", "at most 31536000"),
        ] {
            let error = seconds(text).unwrap_err();
            assert!(error.contains(reason), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_size_is_in_bytes_unless_it_has_a_unit() {
        for (text, bytes) in [
            ("1", 1),
            ("1000", 1000),
            ("1KiB", 1024),
            ("16MiB", 16_777_216),
            ("1GiB", 1_073_741_824),
            ("1073741824", 1_073_741_824),
        ] {
            assert_eq!(size(text), Ok(bytes));
        }
    }

    #[test]
    fn a_text_that_is_no_size_is_refused_with_what_to_write() {
        for (text, reason) in [
            ("", "write a number"),
            ("MiB", "write a number"),
            ("+1", "write a number"),
            ("-1", "write a number"),
            ("1.5MiB", "write a number"),
            ("16MB", "write a number"),
            ("16 MiB", "write a number"),
            ("0", "room for nothing"),
            ("0KiB", "room for nothing"),
            ("1073741825", "1GiB"),
            ("2GiB", "1GiB"),
            ("99999999999999999999999", "1GiB"),
            ("18014398509481985KiB", "1GiB"),
        ] {
            let error = size(text).unwrap_err();
            assert!(error.contains(reason), "{text:?}: {error}");
        }
    }

    #[cfg(feature = "files")]
    #[test]
    fn a_large_size_is_read_as_it_is_shown() {
        for (text, bytes) in [
            ("0", 0),
            ("1000", 1000),
            ("1KiB", 1 << 10),
            ("1536KiB", 3 << 19),
            ("500MiB", 500 << 20),
            ("8388607TiB", 8_388_607 << 40),
        ] {
            assert_eq!(large_size(text), Ok(bytes));
            assert_eq!(shown_size(bytes), text);
        }
        for text in [
            "",
            "-1",
            "1.5GiB",
            "1 KiB",
            "8388608TiB",
            "99999999999999999999",
        ] {
            large_size(text).unwrap_err();
        }
    }

    proptest! {
        #[test]
        fn any_text_is_an_amount_within_its_bounds_or_an_error(text: String) {
            if let Ok(bytes) = size(&text) {
                prop_assert!((1..=1 << 30).contains(&bytes));
            }
            if let Ok(time) = seconds(&text) {
                prop_assert!(time > Duration::ZERO && time.as_secs() <= 31_536_000);
            }
        }
    }
}
