//! The time server's client, over a stream.

use std::io::{BufRead, BufReader, Read, Write};

use crate::failure::Problem;

/// The longest line of an answer, in bytes.
const LONGEST: u64 = 65_536;

/// Sends a format as a line, and reads a line.
pub fn exchange<S: Read + Write>(
    stream: &mut BufReader<S>,
    format: &[u8],
) -> Result<Vec<u8>, Problem> {
    stream.get_mut().write_all(&[format, b"\n"].concat())?;
    stream.get_mut().flush()?;
    let mut line = Vec::new();
    stream.by_ref().take(LONGEST).read_until(b'\n', &mut line)?;
    match line.pop() {
        Some(b'\n') => Ok(line),
        Some(_) if line.len() as u64 + 1 == LONGEST => {
            let reason = format!("its line has more than {LONGEST} bytes");
            Err(Problem::Nonsense(reason))
        }
        _ => Err(Problem::Left),
    }
}

#[cfg(test)]
mod tests {
    use socketserver::mock::MockStream;

    use super::*;

    #[test]
    fn a_format_is_a_line_and_so_is_its_answer() {
        let server = MockStream::new().chunk("20").chunk("26\n12\n");
        let (stream, recording) = server.into_request();
        let mut stream = BufReader::new(stream);
        assert_eq!(exchange(&mut stream, b"%Y").unwrap(), b"2026");
        assert_eq!(exchange(&mut stream, b"%m").unwrap(), b"12");
        assert_eq!(recording.writes(), [b"%Y\n", b"%m\n"]);
    }

    #[test]
    fn a_line_without_an_end_is_an_error() {
        for (answer, expected) in [
            (vec![], "the server closed"),
            (b"2026".to_vec(), "the server closed"),
            (
                vec![b'a'; 100_000],
                "the answer breaks the protocol: its line has",
            ),
        ] {
            let (stream, _) = MockStream::new().chunk(answer).into_request();
            let error = exchange(&mut BufReader::new(stream), b"%Y").unwrap_err();
            assert!(error.to_string().starts_with(expected), "{error}");
        }
    }
}
