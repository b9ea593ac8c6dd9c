//! A development server over a Unix socket that is handed its listener: a page in the browser loads
//! itself again when a file has changed, and a restart of the server refuses nobody.
//!
//! The listener is standard input, which a supervisor passes, or systemd with
//! `StandardInput=socket`. The socket belongs to the supervisor, so that clients wait in its queue
//! while the server starts anew. A proxy such as `socat TCP-LISTEN:8080,fork UNIX:PATH` leads a
//! browser there.

use std::error::Error;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use socketserver::{BaseServer, Serve, Server, ServerHandle, ThreadingMixIn, UnixStreamServer};
use socketserver_handlers::http::{
    Http, HttpHandler, HttpResult, Request, RequestBody, Response, ResponseBody, StaticFiles,
    header,
};

/// How often the files are looked at while a page waits.
const INTERVAL: Duration = Duration::from_millis(200);

const SCRIPT: &str = "new EventSource('/.changes').onmessage = () => location.reload();\n";

/// The files of a directory, and the news that they have changed.
#[derive(Clone)]
struct Development {
    root: PathBuf,
    files: StaticFiles,
}

impl HttpHandler for Development {
    fn respond(&mut self, request: &mut Request<RequestBody<'_>>) -> HttpResult {
        let (content_type, body) = match request.uri().path() {
            "/.changes.js" => ("text/javascript", SCRIPT.into()),
            "/.changes" => {
                let (root, server) = (self.root.clone(), request.body().server().clone());
                let events = ResponseBody::writer(move |out| report_changes(&root, &server, out));
                ("text/event-stream", events)
            }
            _ => {
                let mut response = self.files.respond(request)?;
                // A browser asks each time, and gets 304 for what it has.
                let no_cache = header::HeaderValue::from_static("no-cache");
                response
                    .headers_mut()
                    .insert(header::CACHE_CONTROL, no_cache);
                return Ok(response);
            }
        };
        let response = Response::builder().header(header::CONTENT_TYPE, content_type);
        Ok(response.body(body)?)
    }
}

/// Sends an event at each change, until the client leaves or the server stops.
fn report_changes(root: &Path, server: &ServerHandle, out: &mut impl Write) -> io::Result<()> {
    let mut known = newest(root)?;
    while !server.is_draining() {
        let now = newest(root)?;
        match now > known {
            true => out.write_all(b"data: changed\n\n")?,
            // A comment: the write fails if the client has left.
            false => out.write_all(b":\n")?,
        }
        out.flush()?;
        known = now;
        thread::sleep(INTERVAL);
    }
    Ok(())
}

/// The last time at which a file or directory below `root` was changed.
fn newest(root: &Path) -> io::Result<SystemTime> {
    let mut newest = root.metadata()?.modified()?;
    for entry in root.read_dir()? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let modified = match metadata.is_dir() {
            true => self::newest(&entry.path())?,
            false => metadata.modified()?,
        };
        newest = newest.max(modified);
    }
    Ok(newest)
}

/// A server on a listener that somebody else has bound, and keeps.
fn server(
    listener: OwnedFd,
    root: &Path,
) -> Result<Server<impl BaseServer + use<>>, Box<dyn Error>> {
    let development = Development {
        root: root.to_owned(),
        files: StaticFiles::new(root)?,
    };
    let factory = move || Http::new(development.clone());
    let stack = UnixStreamServer::from_listener(UnixListener::from(listener), factory);
    Ok(ThreadingMixIn::new(stack).bind()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    env_logger::init();
    let root = std::env::args_os()
        .nth(1)
        .map_or(PathBuf::from("."), PathBuf::from);
    let server = server(io::stdin().as_fd().try_clone_to_owned()?, &root)?;
    log::info!("serving on {}", server.server_address());
    Ok(server.serve_forever()?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_restart_refuses_nobody_and_a_change_is_reported() {
        let directory = tempfile::tempdir().unwrap();
        let (root, path) = (
            directory.path().join("root"),
            directory.path().join("socket"),
        );
        fs::create_dir(&root).unwrap();
        let listener = UnixListener::bind(&path).unwrap();
        for generation in 0..2 {
            // Sent before the server runs.
            let mut client = UnixStream::connect(&path).unwrap();
            client.write_all(b"GET /.changes HTTP/1.0\r\n\r\n").unwrap();
            let copy = listener.as_fd().try_clone_to_owned().unwrap();
            let server = server(copy, &root).unwrap();
            let handle = server.handle();
            let serving = thread::spawn(move || server.serve_forever());
            let mut lines = BufReader::new(client).lines().map(Result::unwrap);
            assert!(lines.any(|line| line == ":"));
            fs::write(root.join(format!("{generation}.html")), "page").unwrap();
            assert!(lines.any(|line| line == "data: changed"));
            handle.shutdown();
            serving.join().unwrap().unwrap();
        }
    }
}
