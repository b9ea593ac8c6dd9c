//! Answers with the time.

use std::io::{BufRead, Read, Write};
use std::time::SystemTime;

use jiff::fmt::strtime::{BrokenDownTime, Config, PosixCustom};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use socketserver::{
    DatagramRequest, ExchangeHandler, HandlerResult, RequestHandler, StreamRequest,
};

/// The most bytes of a format, and of a reply, as the tutorial's server and client read.
const LIMIT: usize = 1024;

/// The longest line that is read: a format and `\r\n`.
const LONGEST_LINE: u64 = LIMIT as u64 + 2;

const DEFAULT_FORMAT: &str = "%Y-%m-%d %X";

/// Answers with the local time in the format of the client: the tutorial's time server.
///
/// * *Datagrams:* each is a strftime format, and its answer is one datagram.
/// * *Streams:* each line is a format, and its answer is one line, until the client closes. Lines
///   end with `\n` or `\r\n`. The last line needs no end. `%n`, which would make two lines of one
///   answer, is refused.
///
/// Formats and answers are utf-8. An empty format means `%Y-%m-%d %X`. The directives are those of
/// the C locale, as for Python's `time.strftime`, with the differences of
/// [`jiff`](jiff::fmt::strtime): `jiff` lacks the modifiers `%E` and `%O`, and adds `%N`, `%f`,
/// `%:z` and some others.
///
/// Some formats are logged, and answered with `error: ` and the reason: an unknown directive, bytes
/// that are not utf-8, a format or an answer of more than 1024 bytes. After a line that is too long
/// the connection is closed, since the end of the line may never come.
#[derive(Debug, Clone, Copy, Default)]
pub struct Time;

impl RequestHandler<DatagramRequest> for Time {
    fn handle(&mut self, request: &mut DatagramRequest) -> HandlerResult {
        let time = format_time(request.packet(), &local_time()?);
        let reply = time.unwrap_or_else(|error| refuse(request.client_address(), &error));
        // `send`, since an empty answer that is only written is not sent.
        Ok(request.send(reply.as_bytes())?)
    }
}

impl ExchangeHandler for Time {
    fn is_complete(&self, unread: &[u8]) -> bool {
        unread.contains(&b'\n') || unread.len() as u64 >= LONGEST_LINE
    }

    fn exchange(&mut self, request: &mut StreamRequest) -> HandlerResult {
        let mut line = Vec::new();
        Read::take(&mut *request, LONGEST_LINE).read_until(b'\n', &mut line)?;
        let time = format_line(without_line_end(&line), &local_time()?);
        if matches!(time, Err(FormatError::TooLong)) {
            request.close_connection();
        }
        let reply = time.unwrap_or_else(|error| refuse(request.client_address(), &error));
        Ok(writeln!(request, "{reply}")?)
    }
}

/// Why a format has no answer.
#[derive(Debug, thiserror::Error)]
enum FormatError {
    #[error("the format is longer than {} bytes", LIMIT)]
    TooLong,
    #[error("the format is not utf-8")]
    NotUtf8,
    /// An unknown directive.
    #[error(transparent)]
    Strftime(#[from] jiff::Error),
    #[error("the time in this format is longer than {} bytes", LIMIT)]
    ReplyTooLong,
    #[error("the time in this format has more than one line")]
    SeveralLines,
}

fn refuse(client: &socketserver::Address, error: &FormatError) -> String {
    log::warn!("{client}: {error}");
    format!("error: {error}")
}

fn local_time() -> Result<Zoned, jiff::Error> {
    let now = Timestamp::try_from(SystemTime::now())?;
    Ok(now.to_zoned(TimeZone::system()))
}

fn format_time(format: &[u8], time: &Zoned) -> Result<String, FormatError> {
    if format.len() > LIMIT {
        return Err(FormatError::TooLong);
    }
    let format = match str::from_utf8(format) {
        Ok("") => DEFAULT_FORMAT,
        Ok(format) => format,
        Err(_) => return Err(FormatError::NotUtf8),
    };
    let c_locale = Config::new().custom(PosixCustom::new());
    // Widths have no effect above 20, so the reply is short for every format.
    let reply = BrokenDownTime::from(time).to_string_with_config(&c_locale, format)?;
    if reply.len() > LIMIT {
        return Err(FormatError::ReplyTooLong);
    }
    Ok(reply)
}

fn format_line(format: &[u8], time: &Zoned) -> Result<String, FormatError> {
    let reply = format_time(format, time)?;
    if reply.contains('\n') {
        return Err(FormatError::SeveralLines);
    }
    Ok(reply)
}

fn without_line_end(line: &[u8]) -> &[u8] {
    match line {
        [format @ .., b'\r', b'\n'] | [format @ .., b'\n'] => format,
        unfinished => unfinished,
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use proptest::prelude::*;
    use socketserver::mock::{MockDatagram, MockStream};

    use super::*;

    fn some_time() -> Zoned {
        "2024-02-03T04:05:06+08:00[+08:00]".parse().unwrap()
    }

    fn formatted(format: impl AsRef<[u8]>) -> String {
        match format_time(format.as_ref(), &some_time()) {
            Ok(time) => time,
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn an_empty_format_means_date_and_time() {
        assert_eq!(formatted(""), "2024-02-03 04:05:06");
    }

    #[test]
    fn directives_mean_what_they_mean_in_python() {
        let table = [
            ("%Y %m %d", "2024 02 03"),
            ("%X", "04:05:06"),
            ("%x", "02/03/24"),
            ("%c", "Sat Feb  3 04:05:06 2024"),
            ("%a %A %w", "Sat Saturday 6"),
            ("%b %B", "Feb February"),
            ("%H %I %p %M %S", "04 04 AM 05 06"),
            ("%j %U %W", "034 04 05"),
            ("%G %V %u", "2024 05 6"),
            ("%y %C", "24 20"),
            (
                "%D %F %T %R %r",
                "02/03/24 2024-02-03 04:05:06 04:05 04:05:06 AM",
            ),
            ("%e %h %s", " 3 Feb 1706904306"),
            ("%z", "+0800"),
            ("%t%n%%", "\t\n%"),
            ("时间 %H", "时间 04"),
        ];
        for (format, time) in table {
            assert_eq!(formatted(format), time, "{format}");
        }
    }

    #[test]
    fn a_wrong_format_is_refused_with_the_reason() {
        let unknown = |directive| {
            format!(
                "error: strftime formatting failed: found unrecognized specifier directive \
                 `{directive}`"
            )
        };
        assert_eq!(formatted("%K"), unknown("K"));
        assert_eq!(formatted("%Ey"), unknown("E"));
        assert_eq!(formatted("%\n"), unknown("\\n"));
        assert_eq!(formatted(b"%Y\xff"), "error: the format is not utf-8");
        for format in ["%", "%5", "%_", "%:", "%.", "%é", "%.K"] {
            assert!(formatted(format).starts_with("error: "), "{format}");
        }
    }

    #[test]
    fn neither_format_nor_answer_grows_beyond_its_limit() {
        assert_eq!(formatted(" ".repeat(1024)), " ".repeat(1024));
        let too_long = "error: the format is longer than 1024 bytes";
        assert_eq!(formatted(" ".repeat(1025)), too_long);
        assert_eq!(formatted(vec![0xff; 1 << 20]), too_long);
        assert_eq!(formatted("%20Y".repeat(51)).len(), 1020);
        let too_long = "error: the time in this format is longer than 1024 bytes";
        assert_eq!(formatted("%20Y".repeat(52)), too_long);
        assert_eq!(formatted("%c".repeat(512)), too_long);
    }

    #[test]
    fn no_width_makes_a_long_answer() {
        for directive in ["d", "A", "Y", "s", "f", ".f", "N", "c", "Z", "%"] {
            for width in ["255", "_255", "0255", "^255"] {
                let time = formatted(format!("%{width}{directive}"));
                assert!(time.len() <= 24, "%{width}{directive} gives {time}");
            }
            for width in ["256", "999999999", "-999999999", "99999999999999999999"] {
                let time = formatted(format!("%{width}{directive}"));
                assert!(
                    time.starts_with("error: "),
                    "%{width}{directive} gives {time}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_have_an_answer_within_the_limit(format: Vec<u8>) {
            prop_assert!(formatted(format).len() <= LIMIT);
        }

        #[test]
        fn any_directives_have_an_answer_within_the_limit(
            format in "(%[-_0^#]?[0-9]{0,4}:{0,4}[.]?[0-9]{0,3}[a-zA-Z%+é]){0,100}",
        ) {
            prop_assert!(formatted(format).len() <= LIMIT);
        }

        #[test]
        fn any_bytes_on_a_stream_have_an_answer_per_line(
            lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..5),
        ) {
            let lines = lines.join(&b'\n');
            let expected = match lines.last() {
                Some(b'\n') => lines.iter().filter(|&&byte| byte == b'\n').count(),
                Some(_) => lines.iter().filter(|&&byte| byte == b'\n').count() + 1,
                None => 0,
            };
            let recording = MockStream::new().chunk(&lines).run(Time);
            prop_assert!(recording.result().is_ok());
            let answers = recording.written();
            prop_assert_eq!(answers.iter().filter(|&&byte| byte == b'\n').count(), expected);
            prop_assert!(matches!(answers.last(), None | Some(b'\n')));
        }
    }

    #[test]
    fn a_datagram_is_a_format_and_its_answer_a_datagram() {
        let recording = MockDatagram::new("%%Y %% 点").run(Time);
        recording.result().as_ref().unwrap();
        assert_eq!(recording.sent(), ["%Y % 点".as_bytes()]);
    }

    #[test]
    fn an_empty_datagram_asks_for_the_local_time_of_now() {
        let before = local_time().unwrap();
        let sent = MockDatagram::new("").run(Time).sent();
        let after = local_time().unwrap();
        let [reply] = sent.try_into().unwrap();
        let reply = String::from_utf8(reply).unwrap();
        let times = [before, after].map(|time| format_time(b"", &time).unwrap());
        assert!(
            times[0] <= reply && reply <= times[1],
            "{reply} is not in {times:?}"
        );
    }

    #[test]
    fn a_datagram_with_a_wrong_format_is_answered_with_the_reason() {
        for (packet, reply) in [
            (
                b"%K".as_slice(),
                "error: strftime formatting failed: found unrecognized specifier directive `K`",
            ),
            (b"\xc4\xe3\xba\xc3", "error: the format is not utf-8"),
            (&[b' '; 8192], "error: the format is longer than 1024 bytes"),
        ] {
            let recording = MockDatagram::new(packet).run(Time);
            recording.result().as_ref().unwrap();
            assert_eq!(recording.sent(), [reply.as_bytes()]);
        }
    }

    #[test]
    fn a_format_with_an_empty_answer_is_answered_with_an_empty_datagram() {
        // The fraction of a whole second, and a fraction of no digits.
        let whole_second = format_time(b"%.f", &some_time()).unwrap();
        assert_eq!(whole_second, "");
        let sent = MockDatagram::new("%.0f").run(Time).sent();
        assert_eq!(sent, [b""]);
    }

    #[test]
    fn a_failed_send_is_reported() {
        let client = MockDatagram::new("%Y").send_error(ErrorKind::ConnectionRefused);
        assert!(client.run(Time).result().is_err());
    }

    #[test]
    fn each_line_is_answered_with_a_line_before_the_next_is_read() {
        let recording = MockStream::new().chunk("%%a\n").chunk("b\r\n").run(Time);
        recording.result().as_ref().unwrap();
        assert_eq!(recording.writes(), [b"%a\n", b"b\n".as_slice()]);
        assert!(recording.is_flushed() && recording.is_shut_down());
    }

    #[test]
    fn a_line_in_pieces_is_one_line() {
        let client = MockStream::new()
            .chunk("%")
            .chunk("%a")
            .chunk("\r")
            .chunk("\nb");
        let recording = client.chunk("\n").run(Time);
        recording.result().as_ref().unwrap();
        assert_eq!(recording.writes(), [b"%a\n".as_slice(), b"b\n"]);
    }

    #[test]
    fn lines_that_arrive_together_are_answered_together() {
        let recording = MockStream::new().chunk("a\nb\r\n%%\n").run(Time);
        assert_eq!(recording.writes(), [b"a\nb\n%\n"]);
    }

    #[test]
    fn an_empty_line_asks_for_date_and_time() {
        let recording = MockStream::new().chunk("\n").run(Time);
        let reply = String::from_utf8(recording.written()).unwrap();
        let shape = reply.replace(|c: char| c.is_ascii_digit(), "9");
        assert_eq!(shape, "9999-99-99 99:99:99\n");
    }

    #[test]
    fn the_last_line_needs_no_end() {
        let recording = MockStream::new().chunk("a\nb").run(Time);
        recording.result().as_ref().unwrap();
        assert_eq!(recording.written(), b"a\nb\n");
    }

    #[test]
    fn a_line_with_a_wrong_format_is_answered_with_the_reason_and_the_next_with_the_time() {
        let recording = MockStream::new().chunk(b"%K\n\xff\na%nb\nc\n").run(Time);
        recording.result().as_ref().unwrap();
        let expected = "error: strftime formatting failed: found unrecognized specifier directive \
             `K`\nerror: the format is not utf-8\nerror: the time in this format has more than one \
             line\nc\n";
        assert_eq!(String::from_utf8(recording.written()).unwrap(), expected);
    }

    #[test]
    fn the_longest_line_is_answered() {
        for end in ["\n", "\r\n"] {
            let client = MockStream::new()
                .chunk(" ".repeat(1024))
                .chunk(end)
                .chunk("b\n");
            let recording = client.run(Time);
            recording.result().as_ref().unwrap();
            let expected = format!("{}\nb\n", " ".repeat(1024));
            assert_eq!(recording.written(), expected.as_bytes());
        }
    }

    #[test]
    fn a_line_without_end_is_refused_and_the_rest_is_not_read() {
        for line in ["a".repeat(1 << 20), format!("{}\nb\n", "a".repeat(1025))] {
            let recording = MockStream::new().chunk(line).run(Time);
            recording.result().as_ref().unwrap();
            let expected = b"error: the format is longer than 1024 bytes\n";
            assert_eq!(recording.writes(), [expected]);
            assert!(recording.is_shut_down());
        }
    }

    #[test]
    fn a_client_that_leaves_without_a_message_is_sent_nothing() {
        let recording = MockStream::new().run(Time);
        recording.result().as_ref().unwrap();
        assert_eq!(recording.written(), b"");
    }

    #[test]
    fn a_reset_within_a_line_is_reported_and_the_lines_before_were_answered() {
        let client = MockStream::new().chunk("a\nb");
        let recording = client.read_error(ErrorKind::ConnectionReset).run(Time);
        let error = recording.result().as_ref().unwrap_err();
        let error = error.downcast_ref::<std::io::Error>().unwrap();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(recording.written(), b"a\n");
    }

    #[test]
    fn a_failed_write_ends_the_request() {
        let client = MockStream::new().chunk("a\n").chunk("b\n");
        let recording = client.write_error_after(1, ErrorKind::BrokenPipe).run(Time);
        assert!(recording.result().is_err());
        assert_eq!(recording.written(), b"a");
    }

    #[test]
    fn a_stopping_server_lets_a_line_be_finished_and_waits_for_no_other() {
        let client = MockStream::new()
            .chunk("a")
            .drain()
            .chunk("b\n")
            .chunk("too late\n");
        let recording = client.run(Time);
        recording.result().as_ref().unwrap();
        assert_eq!(recording.written(), b"ab\n");
    }
}
