//! The responses that a client has received.

/// A response with its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    /// The headers in their order, their names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    /// All responses in `bytes`, to requests with these methods.
    pub fn all(bytes: &[u8], methods: &[&str]) -> Vec<Self> {
        let mut rest = bytes;
        let mut replies = Vec::new();
        for method in methods {
            if rest.is_empty() {
                break;
            }
            let (reply, more) = Self::first(rest, method);
            replies.push(reply);
            rest = more;
        }
        assert!(rest.is_empty(), "left over: {}", rest.escape_ascii());
        replies
    }

    /// The one response in `bytes`, to a GET.
    pub fn only(bytes: &[u8]) -> Self {
        let [reply] = <[Self; 1]>::try_from(Self::all(bytes, &["GET"])).unwrap();
        reply
    }

    /// The first response in `bytes`, and what follows.
    pub fn first<'a>(bytes: &'a [u8], method: &str) -> (Self, &'a [u8]) {
        let end = bytes.windows(4).position(|it| it == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no head: {}", bytes.escape_ascii()));
        let (head, rest) = (str::from_utf8(&bytes[..end]).unwrap(), &bytes[end + 4..]);
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().strip_prefix("HTTP/1.1 ").unwrap();
        let status = status[..3].parse().unwrap();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_ascii_lowercase(), value.to_owned())
        });
        let mut reply = Self {
            status,
            headers: headers.collect(),
            body: Vec::new(),
        };
        let has_none = method == "HEAD" || matches!(status, 100..=199 | 204 | 304);
        if has_none {
            return (reply, rest);
        }
        if reply.header("transfer-encoding") == Some("chunked") {
            let (body, rest) = unchunk(rest);
            reply.body = body;
            return (reply, rest);
        }
        let length = reply.header("content-length").map(|it| it.parse().unwrap());
        let (body, rest) = rest.split_at(length.unwrap_or(rest.len()));
        reply.body = body.to_owned();
        (reply, rest)
    }

    /// The value of the header, which is there once at most.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(it, _)| it == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert_eq!(values.next(), None, "{name} is there twice");
        value
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }

    /// Whether the response announces the end of the connection.
    pub fn closes(&self) -> bool {
        self.header("connection") == Some("close")
    }
}

fn unchunk(mut bytes: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|it| it == b"\r\n").unwrap();
        let length = str::from_utf8(&bytes[..end]).unwrap();
        let length = usize::from_str_radix(length, 16).unwrap();
        let (chunk, rest) = bytes[end + 2..].split_at(length);
        body.extend_from_slice(chunk);
        bytes = rest.strip_prefix(b"\r\n").unwrap();
        if length == 0 {
            return (body, bytes);
        }
    }
}
