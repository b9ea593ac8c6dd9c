//! A file header: the name, the size and the MD5 of a file, sent before its content. The receiver
//! then knows the end of the content, and detects errors of the transfer.
//!
//! `cargo run -p socketserver-handlers --example file_header`

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use socketserver::{HandlerResult, RequestHandler, Serve, StreamRequest, TcpServer};
use socketserver_handlers::{ContentError, FileHeader};

/// Receives files, and answers each with its name and size, or the error.
struct Receive;

impl RequestHandler for Receive {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        while let Some(header) = FileHeader::read(request)? {
            match header.receive_content(&mut *request, std::io::sink()) {
                Ok(()) => writeln!(
                    request,
                    "{:?}, {} bytes, md5 {}: as it was sent",
                    header.file_name, header.file_size, header.md5
                )?,
                Err(ContentError::Io(error)) => return Err(error.into()),
                Err(error) => writeln!(request, "{:?}: {error}", header.file_name)?,
            }
        }
        Ok(())
    }
}

/// Sends a file unchanged, and again with one byte changed; returns the answers.
fn send_twice() -> Result<String, Box<dyn std::error::Error>> {
    let content = b"a file's content".to_vec();
    let mut changed = content.clone();
    changed[0] ^= 1;
    let server = TcpServer::new("127.0.0.1:0", || Receive).bind()?;
    let mut client = TcpStream::connect(server.local_addr().ok_or("there is an address")?)?;
    let header = FileHeader::new("notes.txt", content.as_slice())?;
    for content in [content, changed] {
        header.write(&mut client)?;
        client.write_all(&content)?;
    }
    client.shutdown(Shutdown::Write)?;
    server.handle_request()?;
    let mut answers = String::new();
    client.read_to_string(&mut answers)?;
    Ok(answers)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    print!("{}", send_twice()?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_arrives_and_one_that_was_changed_is_found_out() {
        let answers = send_twice().unwrap();
        let [whole, changed] = answers.lines().collect::<Vec<_>>()[..] else {
            panic!("{answers}");
        };
        assert!(whole.ends_with("as it was sent"), "{whole}");
        assert!(changed.contains("was changed on its way"), "{changed}");
    }
}
