//! The target of a request line, in one of the four forms of RFC 9112, section 3.2.

use ::http::uri::{Authority, Scheme, Uri};
use ::http::{Method, StatusCode};
use bytes::Bytes;
use memchr::memchr;

use super::refusal::Refusal;

const NO_TARGET: Refusal = Refusal::bad("The target of the request is not a valid URI.");

/// Parses the target of a request with this method.
///
/// # Errors
///
/// The refusal of a target whose form the method does not have.
pub(super) fn parse(method: &Method, target: Bytes) -> Result<Uri, Refusal> {
    if target.contains(&b'#') {
        return Err(Refusal::bad("The target of a request has no fragment."));
    }
    if method == Method::CONNECT {
        return authority_form(target);
    }
    if &target[..] == b"*" {
        return match *method {
            Method::OPTIONS => Ok(Uri::from_static("*")),
            _ => Err(Refusal::bad("The target '*' is for OPTIONS only.")),
        };
    }
    let is_path = target.first() == Some(&b'/');
    let uri = Uri::from_maybe_shared(target).map_err(|_| NO_TARGET)?;
    match uri.authority() {
        None if is_path => Ok(uri),
        None => Err(NO_TARGET),
        // A path that begins with two slashes is a path: no client means a host by that.
        Some(_) if is_path => Err(NO_TARGET),
        Some(authority) => {
            let is_http = |it: &Scheme| *it == Scheme::HTTP || *it == Scheme::HTTPS;
            if !uri.scheme().is_some_and(is_http) {
                return Err(Refusal::bad(
                    "The scheme of the target is not http or https.",
                ));
            }
            check_authority(authority)?;
            Ok(uri)
        }
    }
}

/// Parses the value of a `Host` header, which may be empty.
///
/// # Errors
///
/// The refusal of a value that is no host with an optional port.
pub(super) fn parse_host(value: &[u8]) -> Result<(), Refusal> {
    if value.is_empty() || is_usual_host(value) {
        return Ok(());
    }
    let host = Authority::try_from(value)
        .map_err(|_| Refusal::bad("The header Host is not a host with an optional port."))?;
    check_authority(&host)
}

/// The form of CONNECT: a host and a port.
fn authority_form(target: Bytes) -> Result<Uri, Refusal> {
    const NO_HOST: Refusal = Refusal::bad("The target of CONNECT is a host and a port.");
    let authority = Authority::from_maybe_shared(target).map_err(|_| NO_HOST)?;
    check_authority(&authority)?;
    if authority.port_u16().is_none() {
        return Err(NO_HOST);
    }
    Uri::builder()
        .authority(authority)
        .build()
        .map_err(|_| Refusal::new(StatusCode::URI_TOO_LONG, "The target is too long."))
}

/// Refuses a user's name before the host, a host without a name, and a port that is no number.
fn check_authority(authority: &Authority) -> Result<(), Refusal> {
    let text = authority.as_str();
    if text.contains('@') || authority.host().is_empty() {
        return Err(Refusal::bad(
            "The host of the request is not the name of a host.",
        ));
    }
    let behind_brackets = text.rsplit(']').next().unwrap_or(text);
    match behind_brackets.split_once(':') {
        Some((_, port)) if !is_port(port) => Err(Refusal::bad(
            "The port of the request is not a number of a port.",
        )),
        _ => Ok(()),
    }
}

/// Whether a host is a name or an IPv4 address, with or without a port, and has only letters,
/// digits, dots and hyphens. Nearly every host is of this kind, and needs no parser of URIs.
fn is_usual_host(value: &[u8]) -> bool {
    let (name, port) = match memchr(b':', value) {
        Some(colon) => (&value[..colon], Some(&value[colon + 1..])),
        None => (value, None),
    };
    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    !name.is_empty()
        && name.iter().all(is_of_name)
        && port.is_none_or(|port| str::from_utf8(port).is_ok_and(is_port))
}

/// Whether a text is a port in digits. A number may have a sign, and a port has no sign.
fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(method: Method, target: &'static str) -> bool {
        parse(&method, Bytes::from_static(target.as_bytes())).is_ok()
    }

    #[test]
    fn each_method_has_its_forms_of_a_target() {
        for target in [
            "/", "//", "//a/b", "/a?b=c", "/%41", "/a:b@c", "/?", "/a//../b",
        ] {
            assert!(accepts(Method::GET, target), "{target}");
        }
        for target in [
            "http://a/",
            "http://a",
            "https://a:80/b?c",
            "http://[::1]:80/",
        ] {
            assert!(accepts(Method::GET, target), "{target}");
            assert!(!accepts(Method::CONNECT, target), "{target}");
        }
        for target in ["a:80", "127.0.0.1:80", "[::1]:443"] {
            assert!(accepts(Method::CONNECT, target), "{target}");
            assert!(!accepts(Method::GET, target), "{target}");
        }
        assert!(accepts(Method::OPTIONS, "*"));
        assert!(accepts(Method::OPTIONS, "/"));
    }

    #[test]
    fn odd_targets_are_refused() {
        for target in [
            "",
            "a",
            "a/b",
            "*",
            "/#a",
            "/a b",
            "http:/a",
            "http://",
            "http:///a",
            "ftp://a/",
            "http://u@a/",
            "http://a:b/",
            "http://a:/",
            "http://a:99999/",
            "?a",
            "../a",
            "\\a",
        ] {
            assert!(!accepts(Method::GET, target), "{target}");
        }
        for target in [
            "", "a", "a:", "a:b", ":80", "u@a:80", "/", "*", "a:80/", "a:99999",
        ] {
            assert!(!accepts(Method::CONNECT, target), "{target}");
        }
    }

    #[test]
    fn a_usual_host_is_one_for_the_parser_of_uris_too() {
        for host in ["a", "A-1.b", "127.0.0.1:80", "a:8080", "-", ".", "a."] {
            assert!(is_usual_host(host.as_bytes()), "{host}");
            let authority = Authority::try_from(host).unwrap();
            assert!(check_authority(&authority).is_ok(), "{host}");
        }
        for host in [
            "", ":80", "a:", "a:b", "a:99999", "a:+80", "a_b", "a@b", "[::1]", "a:1:2",
        ] {
            assert!(!is_usual_host(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn a_host_has_a_name_and_may_have_a_port() {
        for host in ["", "a", "a.b:80", "127.0.0.1", "[::1]", "[::1]:80"] {
            assert!(parse_host(host.as_bytes()).is_ok(), "{host}");
        }
        for host in ["a b", "a:b", "u@a", "a/b", ":80", "a:", "[::1", "a:80:80"] {
            assert!(parse_host(host.as_bytes()).is_err(), "{host}");
        }
    }
}
