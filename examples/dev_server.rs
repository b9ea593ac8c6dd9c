//! A development server on a Unix socket that another program has opened. A page in the browser
//! reloads when a file has changed, and a restart of the server refuses no client.
//!
//! The listening socket is standard input. A supervisor passes it, or systemd with
//! `StandardInput=socket`. The socket belongs to the supervisor, so that clients wait in its
//! backlog while the server restarts. A proxy such as `socat TCP-LISTEN:8080,fork UNIX:PATH`
//! connects a browser with the server.

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

/// The files of a directory, and events about their changes.
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
                // A browser asks each time, and receives 304 if the file has not changed.
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

/// A server on a listening socket that another program has bound, and keeps.
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
