//! The services that the tests serve.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};

use socketserver::mock::{MockStream, StreamRecording};
use socketserver_handlers::http::{
    Http, HttpHandler, HttpLimits, HttpResult, LogEntry, Method, Request, RequestBody, Response,
    ResponseBody, StatusCode,
};

/// Answers with the method, the target and the body of each request. The path chooses how.
#[derive(Debug, Clone, Default)]
pub struct Reflect {
    /// The status and the bytes of each response.
    pub log: Arc<Mutex<Vec<(u16, u64)>>>,
    /// The request lines.
    pub lines: Arc<Mutex<Vec<String>>>,
}

impl HttpHandler for Reflect {
    fn respond(&mut self, request: &mut Request<RequestBody<'_>>) -> HttpResult {
        let path = request.uri().path().to_owned();
        match path.as_str() {
            "/unread" => return Ok(Response::new("unread".into())),
            "/fails" => return Err("this service fails".into()),
            "/panics" => panic!("this service panics"),
            "/nothing" => {
                let response = Response::builder().status(StatusCode::NO_CONTENT);
                return Ok(response.body(ResponseBody::empty())?);
            }
            "/writer" => return Ok(Response::new(ResponseBody::writer(numbers))),
            "/writer-fails" => {
                return Ok(Response::new(ResponseBody::writer(|out| {
                    out.write_all(b"begin")?;
                    Err(std::io::Error::other("the writer fails"))
                })));
            }
            "/close" => {
                let response = Response::builder().header("Connection", "close");
                return Ok(response.body("bye".into())?);
            }
            _ => {}
        }
        let mut body = Vec::new();
        request.body_mut().read_to_end(&mut body)?;
        let mut text = format!("{} {} ", request.method(), request.uri()).into_bytes();
        text.append(&mut body);
        for (name, value) in request.body().trailers() {
            text.extend_from_slice(format!(" {name}={}", value.to_str()?).as_bytes());
        }
        let mut response = Response::new(text.into());
        if request.method() == Method::POST {
            *response.status_mut() = StatusCode::CREATED;
        }
        Ok(response)
    }

    fn log_request(&mut self, entry: &LogEntry<'_>) {
        let entry_of = (entry.status().as_u16(), entry.body_bytes());
        self.log.lock().unwrap().push(entry_of);
        let line = entry.request_line().escape_ascii().to_string();
        self.lines.lock().unwrap().push(line);
    }
}

/// Ten thousand lines, some of which are sent at once.
fn numbers(out: &mut socketserver_handlers::http::BodyWriter<'_>) -> std::io::Result<()> {
    for number in 0..10_000 {
        writeln!(out, "{number}")?;
        if number % 3000 == 1 {
            out.flush()?;
        }
    }
    Ok(())
}

/// What `/writer` answers.
pub fn all_numbers() -> Vec<u8> {
    let lines = (0..10_000).map(|number| format!("{number}\n"));
    lines.collect::<String>().into_bytes()
}

/// Runs [`Reflect`] for a client.
pub fn run(client: MockStream) -> StreamRecording {
    client.run(Http::new(Reflect::default()))
}

/// Runs [`Reflect`] within these limits for a client that sends `bytes`.
pub fn run_within(limits: HttpLimits, bytes: impl AsRef<[u8]>) -> StreamRecording {
    let handler = Http::new(Reflect::default()).limits(limits);
    MockStream::new().chunk(bytes).run(handler)
}
