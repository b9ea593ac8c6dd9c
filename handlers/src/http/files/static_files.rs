//! The files of a directory as a service.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use ::http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_RANGES, ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ALLOW, CONTENT_ENCODING, CONTENT_RANGE,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, InvalidHeaderValue,
    LAST_MODIFIED, LOCATION, RANGE, VARY,
};
use ::http::{Method, Request, Response, StatusCode, Uri};
use rustix::io::Errno;
use socketserver::HandlerError;

use super::conditions::{Validators, Verdict};
use super::encodings::{self, Coding};
use super::entries::{Entries, Order};
use super::file_status::FileStatus;
use super::listing_page;
use super::range::Range;
use super::request_path::{PathError, RequestPath};
use super::root::{Found, Root, is_absent};
use crate::http::handler::{HttpHandler, HttpResult};
use crate::http::request_body::RequestBody;
use crate::http::response_body::ResponseBody;

/// The files that are served in place of a directory.
const INDEX: [&str; 2] = ["index.html", "index.htm"];

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");

/// Serves the files of a directory, as `python3 -m http.server` does, with what the users of that
/// server miss.
///
/// * GET and HEAD of files, with their type, their date, and an `ETag`. For a directory the
///   response is its `index.html`, or a listing, which `?sort=size&order=desc` sorts.
/// * A part of a file for the header `Range`, so that a client can resume a download. A client that
///   has the file already receives no file. The conditions are those of RFC 9110, in its order. A
///   request for several ranges is answered with the complete file.
/// * The content of a file is sent with sendfile(2).
/// * Only files below the root are served: openat2(2) with `RESOLVE_BENEATH` refuses links that
///   lead out of the root, and all absolute links. Names that begin with a dot are not served and
///   not listed.
///
/// Python's counterpart is `http.server.SimpleHTTPRequestHandler`, which follows every link, serves
/// hidden files, and knows neither ranges nor `ETag`.
///
/// ```no_run
/// use socketserver::ReactorTcpServer;
/// use socketserver_handlers::http::{Http, StaticFiles};
///
/// let files = StaticFiles::new("site")?.precompressed();
/// let server = ReactorTcpServer::bind("127.0.0.1:8000", move || Http::new(files.clone()))?;
/// server.serve_forever()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[doc(alias = "SimpleHTTPRequestHandler")]
pub struct StaticFiles {
    root: Arc<Root>,
    has_cors: bool,
    is_one_page: bool,
    are_precompressed: bool,
}

/// A file that is served, and the type of its content.
struct Served {
    file: Arc<File>,
    status: FileStatus,
    content_type: HeaderValue,
    coding: Option<Coding>,
}

impl StaticFiles {
    /// Serves the files of the directory `root`. Python's `directory`.
    ///
    /// If a build puts another directory at this path, its files are served within a tenth of a
    /// second.
    ///
    /// # Errors
    ///
    /// If there is no such directory, or the system has no openat2(2), which Linux has since 5.6.
    #[doc(alias = "directory")]
    pub fn new(root: impl AsRef<Path>) -> io::Result<Self> {
        Ok(Self {
            root: Arc::new(Root::new(root.as_ref())?),
            has_cors: false,
            is_one_page: false,
            are_precompressed: false,
        })
    }

    /// Lets the scripts of every web site read the files: each response has
    /// `Access-Control-Allow-Origin: *`, and the preflight request of a browser has an answer.
    /// Python has no counterpart.
    #[must_use]
    pub fn cors(self) -> Self {
        Self {
            has_cors: true,
            ..self
        }
    }

    /// Serves the root's `index.html` in place of a page that does not exist, for an application of
    /// one page whose script makes the pages. A missing path with an extension, if the browser does
    /// not ask for it as a page, is still answered with 404. Python has no counterpart.
    #[must_use]
    pub fn single_page(self) -> Self {
        Self {
            is_one_page: true,
            ..self
        }
    }

    /// Serves `NAME.br` or `NAME.gz` in place of `NAME` if that file exists, and the client accepts
    /// its coding. The file has to have the same content. Python has no counterpart.
    #[must_use]
    pub fn precompressed(self) -> Self {
        Self {
            are_precompressed: true,
            ..self
        }
    }

    /// The response to a GET or HEAD.
    fn get(&mut self, request: &Request<RequestBody<'_>>) -> HttpResult {
        let path = match RequestPath::parse(request.uri().path()) {
            Ok(path) => path,
            Err(PathError::NoName) => return self.not_found(request, None),
            Err(PathError::Malformed) => {
                let reason = "The path has a percent sign without two digits.";
                return Ok(self.error_page(StatusCode::BAD_REQUEST, reason));
            }
        };
        if path.is_hidden() {
            return self.not_found(request, Some(&path));
        }
        let below_root = path.below_root();
        match self.root.open(&below_root) {
            Ok(Found::File(file, status)) if !path.is_directory() => {
                self.file(request, &below_root, file, status)
            }
            Ok(Found::Directory) if !path.is_directory() => redirect(request.uri(), &path),
            Ok(Found::Directory) => self.directory(request, &path),
            Ok(Found::File(..) | Found::Other) => self.not_found(request, Some(&path)),
            Err(error) => self.explain(request, &path, error),
        }
    }

    /// The response to a request for a directory.
    fn directory(&mut self, request: &Request<RequestBody<'_>>, path: &RequestPath) -> HttpResult {
        for index in INDEX {
            let index = path.below_root().join(index);
            match self.root.open(&index) {
                Ok(Found::File(file, status)) => {
                    return self.file(request, &index, file, status);
                }
                Ok(_) => {}
                Err(error) if is_absent(&error) => {}
                Err(error) => return self.explain(request, path, error),
            }
        }
        if self.is_one_page {
            return self.not_found(request, Some(path));
        }
        let order = Order::parse(request.uri().query().unwrap_or_default());
        let (root, directory) = match self.root.open_directory(&path.below_root()) {
            Ok(opened) => opened,
            Err(error) => return self.explain(request, path, error),
        };
        let entries = Entries::read(&root, &path.below_root(), directory, order)?;
        let page = listing_page::page(path, &entries, order);
        let response = Response::builder()
            .header(CONTENT_TYPE, "text/html; charset=utf-8")
            .header(
                CONTENT_SECURITY_POLICY,
                "default-src 'none'; style-src 'unsafe-inline'",
            );
        Ok(response.body(page.into())?)
    }

    /// The response to a request for a file.
    fn file(
        &mut self,
        request: &Request<RequestBody<'_>>,
        path: &Path,
        file: Arc<File>,
        status: FileStatus,
    ) -> HttpResult {
        let content_type = content_type(path)?;
        let mut served = Served {
            file,
            status,
            content_type,
            coding: None,
        };
        if self.are_precompressed {
            for coding in encodings::accepted(request.headers()) {
                let mut name = path.as_os_str().to_owned();
                name.push(coding.suffix);
                if let Ok(Found::File(file, status)) = self.root.open(name.as_ref()) {
                    (served.file, served.status) = (file, status);
                    served.coding = Some(coding);
                    break;
                }
            }
        }
        let mut response = self.served(request, served)?;
        if self.are_precompressed {
            let vary = HeaderValue::from_name(ACCEPT_ENCODING);
            response.headers_mut().insert(VARY, vary);
        }
        Ok(response)
    }

    /// The response with a file, with a part of the file, or with the reason for neither.
    fn served(&mut self, request: &Request<RequestBody<'_>>, served: Served) -> HttpResult {
        let validators = Validators::new(&served.status);
        let length = served.status.length;
        let mut response = match validators.evaluate(request.headers()) {
            Verdict::Failed => {
                let reason = "The file is not the one that the request is about.";
                return Ok(self.error_page(StatusCode::PRECONDITION_FAILED, reason));
            }
            Verdict::NotModified => {
                let mut response = Response::new(ResponseBody::empty());
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                response
            }
            Verdict::Proceed => match range(request, &validators, length) {
                Range::Whole => {
                    let body = ResponseBody::part_of_shared_file(served.file, 0, length);
                    described(Response::new(body), served.content_type, served.coding)
                }
                Range::Part {
                    first,
                    length: count,
                } => {
                    let body = ResponseBody::part_of_shared_file(served.file, first, count);
                    let last = first + count - 1;
                    let part = format!("bytes {first}-{last}/{length}");
                    let response = Response::builder()
                        .status(StatusCode::PARTIAL_CONTENT)
                        .header(CONTENT_RANGE, part)
                        .body(body)?;
                    described(response, served.content_type, served.coding)
                }
                Range::Unsatisfiable => {
                    let reason = "The file has none of the bytes that the request is about.";
                    let mut page = self.error_page(StatusCode::RANGE_NOT_SATISFIABLE, reason);
                    let all = HeaderValue::try_from(format!("bytes */{length}"))?;
                    page.headers_mut().insert(CONTENT_RANGE, all);
                    return Ok(page);
                }
            },
        };
        let headers = response.headers_mut();
        headers.insert(ETAG, HeaderValue::try_from(validators.etag)?);
        if let Some(date) = validators.last_modified {
            headers.insert(LAST_MODIFIED, HeaderValue::try_from(date.to_string())?);
        }
        Ok(response)
    }

    /// The response to a request for a file that is not there.
    fn not_found(
        &mut self,
        request: &Request<RequestBody<'_>>,
        path: Option<&RequestPath>,
    ) -> HttpResult {
        let is_page =
            |path: &RequestPath| !path.has_extension() || asks_for_html(request.headers());
        if self.is_one_page && path.is_some_and(is_page) {
            let index = Path::new(INDEX[0]);
            if let Ok(Found::File(file, status)) = self.root.open(index) {
                return self.file(request, index, file, status);
            }
        }
        Ok(self.error_page(StatusCode::NOT_FOUND, "There is no such file."))
    }

    /// The response to a request for a file that cannot be opened.
    fn explain(
        &mut self,
        request: &Request<RequestBody<'_>>,
        path: &RequestPath,
        error: io::Error,
    ) -> HttpResult {
        if is_absent(&error) {
            return self.not_found(request, Some(path));
        }
        match Errno::from_io_error(&error) {
            Some(Errno::ACCESS | Errno::PERM) => {
                let reason = "The server may not read this file.";
                Ok(self.error_page(StatusCode::FORBIDDEN, reason))
            }
            Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN) => {
                let reason = "The server has too much to do at present.";
                Ok(self.error_page(StatusCode::SERVICE_UNAVAILABLE, reason))
            }
            _ => {
                let path = path.below_root();
                Err(HandlerError::from(format!(
                    "{path:?} cannot be opened: {error}"
                )))
            }
        }
    }
}

impl HttpHandler for StaticFiles {
    fn respond(&mut self, request: &mut Request<RequestBody<'_>>) -> HttpResult {
        let mut response = match *request.method() {
            Method::GET | Method::HEAD => self.get(request)?,
            Method::OPTIONS => {
                let mut response = Response::new(ResponseBody::empty());
                *response.status_mut() = StatusCode::NO_CONTENT;
                response.headers_mut().insert(ALLOW, METHODS);
                response
            }
            _ => {
                let reason = "Files are read with GET and HEAD.";
                let mut page = self.error_page(StatusCode::METHOD_NOT_ALLOWED, reason);
                page.headers_mut().insert(ALLOW, METHODS);
                page
            }
        };
        if self.has_cors {
            permit_other_sites(request, response.headers_mut());
        }
        Ok(response)
    }
}

/// The part of a file that a request is about.
fn range(request: &Request<RequestBody<'_>>, validators: &Validators, length: u64) -> Range {
    let headers = request.headers();
    let mut values = headers.get_all(RANGE).into_iter();
    match (values.next().map(HeaderValue::to_str), values.next()) {
        // A range is for GET alone.
        (Some(Ok(value)), None)
            if request.method() == Method::GET && validators.permits_range(headers) =>
        {
            Range::parse(value, length)
        }
        _ => Range::Whole,
    }
}

/// A response with the headers that describe its content.
fn described(
    mut response: Response<ResponseBody>,
    content_type: HeaderValue,
    coding: Option<Coding>,
) -> Response<ResponseBody> {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(coding) = coding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name));
    }
    response
}

/// The type of a file by its name. Text is taken for UTF-8.
fn content_type(path: &Path) -> Result<HeaderValue, InvalidHeaderValue> {
    let guessed = mime_guess::from_path(path).first_raw();
    match guessed.unwrap_or("application/octet-stream") {
        text if text.starts_with("text/") && !text.contains("charset") => {
            HeaderValue::try_from(format!("{text}; charset=utf-8"))
        }
        other => Ok(HeaderValue::from_static(other)),
    }
}

/// Redirects a client from `/a` to `/a/`, to which the links of the directory's page are relative.
/// The path begins with one slash: two would begin the name of another host.
fn redirect(uri: &Uri, path: &RequestPath) -> HttpResult {
    let mut location = path.to_directory_url();
    if let Some(query) = uri.query() {
        location.push('?');
        location.push_str(query);
    }
    let response = Response::builder().status(StatusCode::MOVED_PERMANENTLY);
    Ok(response
        .header(LOCATION, location)
        .body(ResponseBody::empty())?)
}

/// Whether a browser asks for a page, and not for a script or an image.
fn asks_for_html(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(ACCEPT).into_iter();
    values.any(|value| {
        value
            .to_str()
            .is_ok_and(|value| value.contains("text/html"))
    })
}

/// Permits the scripts of other sites to read the response, and to ask for it in the first place.
fn permit_other_sites(request: &Request<RequestBody<'_>>, headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    if request.method() != Method::OPTIONS {
        let exposed = HeaderValue::from_static("ETag, Content-Range, Accept-Ranges");
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        return;
    }
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    if let Some(wanted) = request.headers().get(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
}
