//! The date of responses.

use std::cell::RefCell;
use std::time::{Duration, SystemTime};

use httpdate::HttpDate;

/// The present date as text. Each thread makes it once a second.
#[derive(Debug)]
struct Now {
    second: Option<u64>,
    text: String,
}

thread_local! {
    static NOW: RefCell<Now> = const {
        RefCell::new(Now {
            second: None,
            text: String::new(),
        })
    };
}

/// Calls `write` with the present date, in the format of the header `Date`.
pub(super) fn with_date(write: impl FnOnce(&[u8])) {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    // A clock before 1970 counts as 1970.
    let second = since.unwrap_or_default().as_secs();
    NOW.with_borrow_mut(|now| {
        now.set(second);
        write(now.text.as_bytes());
    });
}

impl Now {
    fn set(&mut self, second: u64) {
        if self.second != Some(second) {
            self.second = Some(second);
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
            self.text = HttpDate::from(time).to_string();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_that_of_the_second() {
        let mut now = Now {
            second: None,
            text: String::new(),
        };
        now.set(784_111_777);
        assert_eq!(now.text, "Sun, 06 Nov 1994 08:49:37 GMT");
        now.set(784_111_777);
        assert_eq!(now.text, "Sun, 06 Nov 1994 08:49:37 GMT");
        now.set(784_111_778);
        assert_eq!(now.text, "Sun, 06 Nov 1994 08:49:38 GMT");
    }

    #[test]
    fn the_date_is_the_present_one() {
        let before = HttpDate::from(SystemTime::now());
        let mut text = String::new();
        with_date(|date| text = String::from_utf8_lossy(date).into_owned());
        let date: HttpDate = text.parse().unwrap();
        assert!(date >= before && date <= HttpDate::from(SystemTime::now()));
    }
}
