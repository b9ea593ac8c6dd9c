//! The file server: types, listings, ranges and conditions.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, SystemTime};

use crate::replies::Reply;
use crate::site::{Site, request};

#[test]
fn a_file_is_sent_with_its_type_and_its_date() {
    let site = Site::new(&[]);
    for (name, expected) in [
        ("a.html", "text/html; charset=utf-8"),
        ("a.txt", "text/plain; charset=utf-8"),
        ("a.css", "text/css; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.json", "application/json"),
        ("a.svg", "image/svg+xml"),
        ("a.png", "image/png"),
        ("a.wasm", "application/wasm"),
        ("a.tar.gz", "application/gzip"),
        ("README", "application/octet-stream"),
        ("a.unknown-extension", "application/octet-stream"),
    ] {
        site.write(name, "content");
        let reply = site.get(&format!("/{name}"), &[]);
        assert_eq!((reply.status, reply.text()), (200, "content"), "{name}");
        assert_eq!(reply.header("content-type"), Some(expected), "{name}");
        assert_eq!(reply.header("accept-ranges"), Some("bytes"));
        httpdate::parse_http_date(reply.header("last-modified").unwrap()).unwrap();
        let head = request(site.files(), "HEAD", &format!("/{name}"), &[]);
        assert_eq!(head.header("content-length"), Some("7"));
        assert_eq!(head.header("etag"), reply.header("etag"));
    }
}

#[test]
fn a_file_without_a_byte_and_a_large_one_are_sent_whole() {
    let site = Site::new(&[("empty", "")]);
    assert_eq!(site.get("/empty", &[]).body, b"");
    let large = Vec::from_iter((0..3_000_000_u32).map(|it| it.to_le_bytes()[1]));
    site.write("large", &large);
    assert!(site.get("/large", &[]).body == large);
}

#[test]
fn a_name_may_have_any_bytes() {
    let site = Site::new(&[("a b&c?d#e%.txt", "odd"), ("ü.txt", "umlaut")]);
    let bytes = OsStr::from_bytes(b"\xff\xfe.txt");
    fs::write(site.root().join(bytes), "no text").unwrap();
    fs::write(site.path("a\nb"), "lines").unwrap();
    assert_eq!(
        site.get("/a%20b%26c%3Fd%23e%25.txt?query", &[]).text(),
        "odd"
    );
    assert_eq!(site.get("/%C3%BC.txt", &[]).text(), "umlaut");
    assert_eq!(site.get("/ü.txt", &[]).text(), "umlaut");
    assert_eq!(site.get("/%ff%FE.txt", &[]).text(), "no text");
    assert_eq!(site.get("/a%0Ab", &[]).text(), "lines");
    // Each link of the listing leads to its file.
    let listing = site.get("/", &[]);
    let links = Vec::from_iter(links(&listing));
    assert_eq!(links.len(), 4);
    for link in links {
        assert_eq!(site.get(&format!("/{link}"), &[]).status, 200, "{link}");
    }
}

/// The targets of the links in the rows of a listing.
fn links(listing: &Reply) -> Vec<String> {
    let rows = listing.text().split("<tr><td><a href=\"").skip(1);
    let links = rows.map(|row| row.split('"').next().unwrap().to_owned());
    links.filter(|link| link != "../").collect()
}

#[test]
fn a_directory_without_an_index_is_listed() {
    let site = Site::new(&[
        ("b.txt", "12345"),
        ("A.txt", ""),
        ("dir/c", ""),
        (".hidden", ""),
    ]);
    let reply = site.get("/", &[]);
    assert_eq!(
        reply.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(links(&reply), ["dir/", "A.txt", "b.txt"]);
    assert!(reply.text().contains("5 B") && !reply.text().contains("hidden"));
    assert_eq!(
        links(&site.get("/?sort=size&order=desc", &[])),
        ["dir/", "b.txt", "A.txt"]
    );
    assert_eq!(links(&site.get("/dir/", &[])), ["c"]);
    let head = request(site.files(), "HEAD", "/", &[]);
    assert_eq!(
        head.header("content-length"),
        reply.header("content-length")
    );
}

#[test]
fn an_index_is_served_in_place_of_the_listing() {
    let site = Site::new(&[("index.htm", "old"), ("dir/index.html", "page")]);
    assert_eq!(site.get("/", &[]).text(), "old");
    site.write("index.html", "new");
    assert_eq!(site.get("/", &[]).text(), "new");
    assert_eq!(site.get("/dir/", &[]).text(), "page");
    fs::create_dir_all(site.path("other/index.html")).unwrap();
    assert_eq!(links(&site.get("/other/", &[])), ["index.html/"]);
}

#[test]
fn a_directory_without_a_slash_leads_to_the_slash_and_to_no_other_host() {
    let site = Site::new(&[("dir/a", ""), ("a b/c", "")]);
    for (target, expected) in [
        ("/dir", "/dir/"),
        ("/dir?x=y", "/dir/?x=y"),
        ("//dir", "/dir/"),
        ("///../dir", "/dir/"),
        ("/a%20b", "/a%20b/"),
        ("http://other/dir", "/dir/"),
    ] {
        let reply = site.get(target, &[]);
        assert_eq!(
            (reply.status, reply.header("location")),
            (301, Some(expected)),
            "{target}"
        );
    }
    assert_eq!(site.get("/dir/a/", &[]).status, 404);
}

#[test]
fn a_part_of_a_file_is_sent() {
    let site = Site::new(&[("a", "0123456789")]);
    for (range, part, content) in [
        ("bytes=2-4", "bytes 2-4/10", "234"),
        ("bytes=7-", "bytes 7-9/10", "789"),
        ("bytes=-2", "bytes 8-9/10", "89"),
        ("bytes=0-99", "bytes 0-9/10", "0123456789"),
    ] {
        let reply = site.get("/a", &[&format!("Range: {range}")]);
        assert_eq!((reply.status, reply.text()), (206, content), "{range}");
        assert_eq!(reply.header("content-range"), Some(part), "{range}");
    }
    let reply = site.get("/a", &["Range: bytes=10-"]);
    assert_eq!(
        (reply.status, reply.header("content-range")),
        (416, Some("bytes */10"))
    );
    for lines in [
        &["Range: bytes=1-2,4-5"][..],
        &["Range: bytes=1-2", "Range: bytes=1-2"],
    ] {
        assert_eq!(site.get("/a", lines).status, 200);
    }
    let head = request(site.files(), "HEAD", "/a", &["Range: bytes=1-2"]);
    assert_eq!(
        (head.status, head.header("content-length")),
        (200, Some("10"))
    );
}

#[test]
fn a_download_is_resumed_only_of_the_same_file() {
    let site = Site::new(&[("a", "0123456789")]);
    let etag = site.get("/a", &[]).header("etag").unwrap().to_owned();
    let range = "Range: bytes=5-";
    let same = site.get("/a", &[range, &format!("If-Range: {etag}")]);
    assert_eq!((same.status, same.text()), (206, "56789"));
    site.write("a", "9876543210+");
    let other = site.get("/a", &[range, &format!("If-Range: {etag}")]);
    assert_eq!((other.status, other.text()), (200, "9876543210+"));
}

#[test]
fn a_file_that_the_client_has_is_not_sent() {
    let site = Site::new(&[("a", "content")]);
    let first = site.get("/a", &[]);
    let etag = first.header("etag").unwrap();
    let date = first.header("last-modified").unwrap();
    for line in [
        format!("If-None-Match: {etag}"),
        format!("If-Modified-Since: {date}"),
    ] {
        let reply = site.get("/a", &[&line]);
        assert_eq!((reply.status, reply.body.len()), (304, 0), "{line}");
        assert_eq!(reply.header("etag"), Some(etag));
        assert_eq!(reply.header("last-modified"), Some(date));
        assert_eq!(reply.header("content-length"), None);
    }
    let reply = site.get("/a", &["If-Match: \"other\""]);
    assert_eq!(reply.status, 412);
    let old = fs::File::open(site.path("a")).unwrap();
    old.set_modified(SystemTime::now() - Duration::from_secs(100))
        .unwrap();
    assert_eq!(
        site.get("/a", &[&format!("If-None-Match: {etag}")]).status,
        200
    );
}

#[test]
fn a_file_from_before_1970_and_one_from_the_future_are_served() {
    let site = Site::new(&[("a", "content")]);
    let file = fs::File::open(site.path("a")).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH - Duration::from_secs(1))
        .unwrap();
    let reply = site.get("/a", &[]);
    assert_eq!((reply.status, reply.header("last-modified")), (200, None));
    assert_eq!(site.get("/", &[]).status, 200);
    file.set_modified(SystemTime::now() + Duration::from_secs(1_000_000))
        .unwrap();
    let reply = site.get("/a", &[]);
    let modified = httpdate::parse_http_date(reply.header("last-modified").unwrap()).unwrap();
    assert!(modified <= SystemTime::now());
}

#[test]
fn compressed_files_are_sent_to_clients_that_accept_them() {
    let site = Site::new(&[("a.js", "plain"), ("a.js.gz", "gzipped"), ("b.js", "plain")]);
    let get =
        |target: &str, lines: &[&str]| request(site.files().precompressed(), "GET", target, lines);
    let accept = "Accept-Encoding: gzip, br";
    let reply = get("/a.js", &[accept]);
    assert_eq!(
        (reply.text(), reply.header("content-encoding")),
        ("gzipped", Some("gzip"))
    );
    assert_eq!(
        reply.header("content-type"),
        Some("text/javascript; charset=utf-8")
    );
    assert_eq!(reply.header("vary"), Some("accept-encoding"));
    let plain = get("/a.js", &[]);
    assert_eq!(
        (plain.text(), plain.header("content-encoding")),
        ("plain", None)
    );
    assert_eq!(plain.header("vary"), Some("accept-encoding"));
    assert_ne!(plain.header("etag"), reply.header("etag"));
    assert_eq!(get("/b.js", &[accept]).text(), "plain");
    site.write("a.js.br", "smaller");
    let reply = get("/a.js", &[accept]);
    assert_eq!(
        (reply.text(), reply.header("content-encoding")),
        ("smaller", Some("br"))
    );
    let part = get("/a.js", &[accept, "Range: bytes=1-3"]);
    assert_eq!(
        (part.text(), part.header("content-range")),
        ("mal", Some("bytes 1-3/7"))
    );
    // Without the option, a file of that name is a file of its own.
    assert_eq!(site.get("/a.js", &[accept]).text(), "plain");
}

#[test]
fn a_single_page_is_served_for_what_is_not_there() {
    let site = Site::new(&[
        ("index.html", "page"),
        ("a.js", "script"),
        ("dir/b", "file"),
    ]);
    let get = |target: &str, lines: &[&str]| {
        let reply = request(site.files().single_page(), "GET", target, lines);
        (reply.status, reply.text().to_owned())
    };
    let page = (200, "page".to_owned());
    assert_eq!(get("/users/1", &[]), page);
    assert_eq!(get("/users/a.b", &["Accept: text/html, */*"]), page);
    assert_eq!(get("/dir/", &[]), page);
    assert_eq!(get("/a.js", &[]), (200, "script".to_owned()));
    assert_eq!(get("/b.js", &["Accept: */*"]).0, 404);
    assert_eq!(site.get("/users/1", &[]).status, 404);
}

#[test]
fn scripts_of_other_sites_may_read_the_files_if_that_is_wanted() {
    let site = Site::new(&[("a", "content")]);
    let cors = |method: &str, target: &str, lines: &[&str]| {
        request(site.files().cors(), method, target, lines)
    };
    for (target, status) in [("/a", 200), ("/b", 404)] {
        let reply = cors("GET", target, &["Origin: http://b"]);
        assert_eq!(reply.status, status);
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    }
    let lines = [
        "Origin: http://b",
        "Access-Control-Request-Headers: range, x-own",
    ];
    let reply = cors("OPTIONS", "/a", &lines);
    assert_eq!(reply.status, 204);
    assert_eq!(
        reply.header("access-control-allow-headers"),
        Some("range, x-own")
    );
    assert_eq!(
        reply.header("access-control-allow-methods"),
        Some("GET, HEAD, OPTIONS")
    );
    let reply = site.get("/a", &["Origin: http://b"]);
    assert_eq!(reply.header("access-control-allow-origin"), None);
}

#[test]
fn files_are_read_and_nothing_else() {
    let site = Site::new(&[("a", "content")]);
    for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND"] {
        let reply = request(site.files(), method, "/a", &[]);
        assert_eq!(
            (reply.status, reply.header("allow")),
            (405, Some("GET, HEAD, OPTIONS"))
        );
    }
    for target in ["/a", "*"] {
        let reply = request(site.files(), "OPTIONS", target, &[]);
        assert_eq!(
            (reply.status, reply.header("allow")),
            (204, Some("GET, HEAD, OPTIONS"))
        );
    }
}
