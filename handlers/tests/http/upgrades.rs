//! Connections that are handed on.

use std::io::{BufRead, Write};

use socketserver::mock::MockStream;
use socketserver::{
    BaseServer, ExchangeHandler, HandlerResult, ReactorTcpServer, StreamRequest,
    ThreadingTcpServer, handler_fn,
};
use socketserver_handlers::Echo;
use socketserver_handlers::http::{
    Http, HttpResult, Method, Request, RequestBody, Response, ResponseBody, StatusCode, respond_fn,
};

use support::clients::StreamClient;
use support::running_server::RunningServer;

use crate::replies::Reply;

const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";

fn upgrade(request: &mut Request<RequestBody<'_>>) -> HttpResult {
    let status = match *request.method() {
        Method::CONNECT => StatusCode::OK,
        _ => StatusCode::SWITCHING_PROTOCOLS,
    };
    let response = Response::builder().status(status).header("Upgrade", "echo");
    Ok(response.body(ResponseBody::upgrade(Echo))?)
}

#[test]
fn after_an_upgrade_the_other_handler_has_the_connection() {
    let client = MockStream::new()
        .chunk(format!("{UPGRADE}GET"))
        .chunk(" /")
        .chunk("\r\n\r\n");
    let recording = client.run(Http::new(respond_fn(upgrade)));
    recording.result().as_ref().unwrap();
    let written = recording.written();
    let (reply, rest) = Reply::first(&written, "GET");
    assert_eq!(reply.status, 101);
    assert_eq!(reply.header("connection"), Some("upgrade"));
    assert_eq!(reply.header("upgrade"), Some("echo"));
    assert_eq!(rest, b"GET /\r\n\r\n");
}

#[test]
fn connect_hands_the_connection_on_with_a_success() {
    let client = MockStream::new().chunk("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\nhello");
    let written = client.run(Http::new(respond_fn(upgrade))).written();
    let head = written.strip_suffix(b"\r\n\r\nhello").unwrap();
    assert!(head.starts_with(b"HTTP/1.1 200 OK\r\n"));
    let head = str::from_utf8(head).unwrap();
    assert!(
        !head.contains("content-length") && !head.contains("connection"),
        "{head}"
    );
}

#[test]
fn every_step_of_the_other_handler_runs() {
    #[derive(Default)]
    struct Steps;

    impl ExchangeHandler for Steps {
        fn setup(&mut self, request: &mut StreamRequest) -> HandlerResult {
            Ok(request.write_all(b"setup,")?)
        }

        fn exchange(&mut self, request: &mut StreamRequest) -> HandlerResult {
            let count = request.buffer().len();
            request.consume(count);
            Ok(request.write_all(b"exchange,")?)
        }

        fn finish(&mut self, request: &mut StreamRequest) -> HandlerResult {
            Ok(request.write_all(b"finish")?)
        }
    }

    let respond = |_: &mut Request<RequestBody<'_>>| -> HttpResult {
        let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
        Ok(response.body(ResponseBody::upgrade(Steps))?)
    };
    let client = MockStream::new().chunk(UPGRADE).chunk("a").chunk("b");
    let written = client.run(Http::new(respond_fn(respond))).written();
    assert!(written.ends_with(b"\r\n\r\nsetup,exchange,exchange,finish"));
}

#[test]
fn a_function_may_have_the_rest_of_the_conversation() {
    let respond = |_: &mut Request<RequestBody<'_>>| -> HttpResult {
        let handler = handler_fn(|request: &mut StreamRequest| {
            while let Some(line) = request.next_line(100)? {
                writeln!(request, "<{line}>")?;
            }
            Ok(())
        });
        let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
        Ok(response.body(ResponseBody::upgrade(handler))?)
    };
    let client = MockStream::new().chunk(UPGRADE).chunk("a\nb").chunk("c\n");
    let written = client.run(Http::new(respond_fn(respond))).written();
    assert!(written.ends_with(b"\r\n\r\n<a>\n<bc>\n"));
}

#[test]
fn a_function_may_send_before_its_client_sends() {
    let respond = |_: &mut Request<RequestBody<'_>>| -> HttpResult {
        let handler = handler_fn(|request: &mut StreamRequest| Ok(request.write_all(b"hello")?));
        Ok(Response::new(ResponseBody::upgrade(handler)))
    };
    let factory = move || Http::new(respond_fn(respond));
    let connect = "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n";
    let written = MockStream::new().chunk(connect).run(factory()).written();
    assert!(written.ends_with(b"\r\n\r\nhello"), "over a mock");
    let threading = ThreadingTcpServer::bind("127.0.0.1:0", factory).unwrap();
    assert_sends_first(RunningServer::start(threading), connect);
    let reactor = ReactorTcpServer::bind("127.0.0.1:0", factory).unwrap();
    assert_sends_first(RunningServer::start(reactor), connect);
}

/// The client sends `connect` and then waits.
fn assert_sends_first(server: RunningServer<impl BaseServer>, connect: &str) {
    let mut client = StreamClient::connect(&server.address());
    client.send(connect);
    assert!(client.rest().ends_with(b"\r\n\r\nhello"));
    server.close();
}

#[test]
fn an_upgrade_with_another_status_is_a_failure_of_the_handler() {
    let respond = |_: &mut Request<RequestBody<'_>>| -> HttpResult {
        Ok(Response::new(ResponseBody::upgrade(Echo)))
    };
    let recording = MockStream::new()
        .chunk(UPGRADE)
        .run(Http::new(respond_fn(respond)));
    assert!(recording.result().is_err());
    assert_eq!(Reply::only(&recording.written()).status, 500);
}

#[test]
fn the_body_of_a_request_is_not_read_by_the_other_handler() {
    let head =
        |length: usize| UPGRADE.replace("Host: a", &format!("Host: a\r\nContent-Length: {length}"));
    let client = MockStream::new().chunk(format!("{}abcdef", head(3)));
    let written = client.run(Http::new(respond_fn(upgrade))).written();
    assert_eq!(Reply::first(&written, "GET").1, b"def");
    let client = MockStream::new().chunk(format!("{}abcdef", head(100_000)));
    let written = client.run(Http::new(respond_fn(upgrade))).written();
    assert_eq!(Reply::only(&written).status, 400);
}
