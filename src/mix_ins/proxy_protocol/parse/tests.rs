//! Headers of every kind, well formed and not, complete and in pieces.

use std::net::SocketAddr;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::values::address::Address;

const MAX: usize = 536;
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header of version 2 with these addresses and values.
fn version2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[0x20 | command, family], &length, block].concat()
}

fn value(number: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
    [&[number][..], &length, bytes].concat()
}

/// 192.0.2.7:1000 to 198.51.100.1:443.
const INET: &[u8] = &[192, 0, 2, 7, 198, 51, 100, 1, 0x03, 0xe8, 0x01, 0xbb];

fn inet6() -> Vec<u8> {
    let one: std::net::Ipv6Addr = "2001:db8::7".parse().unwrap();
    let other: std::net::Ipv6Addr = "2001:db8::1".parse().unwrap();
    [&one.octets()[..], &other.octets(), &INET[8..]].concat()
}

fn unix(source: &[u8], destination: &[u8]) -> Vec<u8> {
    let mut block = vec![0; 216];
    block[..source.len()].copy_from_slice(source);
    block[108..108 + destination.len()].copy_from_slice(destination);
    block
}

fn with_checksum(family: u8, addresses: &[u8], rest: &[u8]) -> Vec<u8> {
    let block = [addresses, &value(0x03, &[0; 4]), rest].concat();
    let mut header = version2(1, family, &block);
    let checksum = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI).checksum(&header);
    let at = 16 + addresses.len() + 3;
    header[at..at + 4].copy_from_slice(&checksum.to_be_bytes());
    header
}

/// Returns the result for a complete input: its source, `-` without a source, or the error.
fn result(input: &[u8]) -> String {
    match parse(input, MAX) {
        Ok(None) => "incomplete".to_owned(),
        Ok(Some((header, _))) if header.is_local() => "local".to_owned(),
        Ok(Some((header, _))) => header.source().map_or("-".to_owned(), Address::to_string),
        Err(error) => error.to_string(),
    }
}

#[test]
fn each_line_of_version_1_is_taken_or_refused_as_the_specification_has_it() {
    let longest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(107 - 16));
    let too_long = format!("PROXY UNKNOWN {}\r\n", "f".repeat(107 - 15));
    let endless = "PROXY TCP4 1.2.3.4 1.2.3.4 1 ".to_owned() + &"1".repeat(300);
    for (input, expected) in [
        (
            "PROXY TCP4 192.0.2.7 198.51.100.1 1000 443\r\n",
            "192.0.2.7:1000",
        ),
        (
            "PROXY TCP6 2001:db8::7 2001:DB8::1 1000 443\r\n",
            "[2001:db8::7]:1000",
        ),
        (
            "PROXY TCP6 ::ffff:192.0.2.7 ::1 1000 443\r\n",
            "192.0.2.7:1000",
        ),
        (
            "PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n",
            "0.0.0.0:0",
        ),
        ("PROXY UNKNOWN\r\n", "-"),
        ("PROXY UNKNOWN ffff:: ffff:: 1 1\r\n", "-"),
        (&longest, "-"),
        (&too_long, "longer than 107"),
        (&endless, "longer than 107"),
        ("PROXY UNKNOWNJUNK\r\n", "the protocol is"),
        (
            "PROXYxTCP4 192.0.2.7 198.51.100.1 1000 443\r\n",
            "sent no PROXY header",
        ),
        (
            "PROXY  TCP4 192.0.2.7 198.51.100.1 1000 443\r\n",
            "the protocol is",
        ),
        (
            "PROXY TCP4  192.0.2.7 198.51.100.1 1000 443\r\n",
            "two addresses",
        ),
        (
            "PROXY TCP4 192.0.2.7 198.51.100.1 1000 443 \r\n",
            "two addresses",
        ),
        (
            "PROXY TCP4 192.0.2.7 198.51.100.1 1000\r\n",
            "two addresses",
        ),
        (
            "PROXY TCP4 192.0.2.7\t198.51.100.1 1000 443\r\n",
            "two addresses",
        ),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 +11 443\r\n", "a port is"),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 011 443\r\n", "a port is"),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 00 443\r\n", "a port is"),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 -1 443\r\n", "a port is"),
        (
            "PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n",
            "a port is",
        ),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 1000 \r\n", "a port is"),
        (
            "PROXY TCP4 192.0.2.07 198.51.100.1 1000 443\r\n",
            "an address is not",
        ),
        (
            "PROXY TCP4 192.0.2 198.51.100.1 1000 443\r\n",
            "an address is not",
        ),
        ("PROXY TCP4 ::1 ::1 1000 443\r\n", "an address is not"),
        (
            "PROXY TCP6 192.0.2.7 198.51.100.1 1000 443\r\n",
            "an address is not",
        ),
        (
            "PROXY TCP6 fe80::1%lo ::1 1000 443\r\n",
            "an address is not",
        ),
        (
            "PROXY UDP4 192.0.2.7 198.51.100.1 1000 443\r\n",
            "the protocol is",
        ),
        (
            "PROXY tcp4 192.0.2.7 198.51.100.1 1000 443\r\n",
            "the protocol is",
        ),
        ("PROXY \r\n", "the protocol is"),
        ("PROXY\r\n", "sent no PROXY header"),
        ("proxy UNKNOWN\r\n", "sent no PROXY header"),
        ("PROXY UNKNOWN\n", "LF without CR"),
        ("PROXY UNKNOWN\r", "incomplete"),
        ("PROXY UNKNOWN\rX", "CR without LF"),
        ("PROXY UNKNOWN\r\r\n", "CR without LF"),
        ("PROXY UNKN", "incomplete"),
        ("P", "incomplete"),
        ("", "incomplete"),
        ("PING\r\n", "sent no PROXY header"),
        ("GET / HTTP/1.1\r\n", "sent no PROXY header"),
        ("\n", "sent no PROXY header"),
        (" PROXY UNKNOWN\r\n", "sent no PROXY header"),
    ] {
        let found = result(input.as_bytes());
        let matches = match expected.len() < 3 || expected.contains(':') {
            true => found == expected,
            false => found.contains(expected),
        };
        assert!(matches, "{input:?}: {found}, and not {expected}");
    }
    assert!(result(b"PROXY TCP4 \xff\xff 1.2.3.4 1 1\r\n").contains("not text"));
    assert_eq!(result(b"PROXY UNKNOWN \xff\xff\r\n"), "-");
}

#[test]
fn each_header_of_version_2_is_taken_or_refused_as_the_specification_has_it() {
    let authority = value(0x02, b"example.com");
    let with = |addresses: &[u8], rest: &[u8]| [addresses, rest].concat();
    let mut other_version = version2(1, 0x11, INET);
    other_version[12] = 0x11;
    let mut wrong_signature = version2(1, 0x11, INET);
    wrong_signature[5] = b'X';
    let mut damaged = with_checksum(0x11, INET, &authority);
    damaged[16] ^= 1;
    let two_checksums = value(0x03, &[0; 4]);
    let ssl = |rest: &[u8]| value(0x20, &[&[1, 0, 0, 0, 0][..], rest].concat());
    for (input, expected) in [
        (version2(1, 0x11, INET), "192.0.2.7:1000"),
        (version2(1, 0x21, &inet6()), "[2001:db8::7]:1000"),
        (
            version2(1, 0x31, &unix(b"/run/a", b"/run/b")),
            "unix:/run/a",
        ),
        (version2(1, 0x31, &unix(b"\0name", b"")), "unix:@name"),
        (version2(1, 0x31, &unix(b"", b"/run/b")), "unix:unnamed"),
        (
            version2(1, 0x31, &unix(&[b'a'; 108], b"")),
            &*format!("unix:{}", "a".repeat(108)),
        ),
        (version2(1, 0x00, b""), "-"),
        (version2(1, 0x00, &authority), "-"),
        (version2(0, 0x00, b""), "local"),
        // The family and what follows have no meaning in LOCAL.
        (version2(0, 0x11, INET), "local"),
        (version2(0, 0x11, b""), "local"),
        (version2(0, 0xff, b"junk"), "local"),
        (version2(0, 0x12, INET), "local"),
        (version2(1, 0x12, INET), "about a datagram"),
        (version2(1, 0x22, &inet6()), "about a datagram"),
        (version2(1, 0x32, &unix(b"a", b"b")), "about a datagram"),
        (version2(1, 0x10, INET), "no such family"),
        (version2(1, 0x13, INET), "no such family"),
        (version2(1, 0x41, INET), "no such family"),
        (version2(2, 0x11, INET), "neither LOCAL nor PROXY"),
        (version2(0xf, 0x11, INET), "neither LOCAL nor PROXY"),
        (other_version, "another version"),
        (wrong_signature, "sent no PROXY header"),
        (
            version2(1, 0x11, &INET[..11]),
            "less than that of its addresses",
        ),
        (version2(1, 0x11, b""), "less than that of its addresses"),
        (version2(1, 0x21, INET), "less than that of its addresses"),
        (version2(1, 0x31, INET), "less than that of its addresses"),
        (version2(1, 0x11, &with(INET, &authority)), "192.0.2.7:1000"),
        (
            version2(1, 0x11, &with(INET, &authority[..3])),
            "a value is malformed",
        ),
        (version2(1, 0x11, &with(INET, &[4])), "a value is malformed"),
        (
            version2(1, 0x11, &with(INET, &value(0x02, b"\xff"))),
            "a value is malformed",
        ),
        (
            version2(1, 0x11, &with(INET, &value(0x20, b"\x01"))),
            "a value is malformed",
        ),
        (
            version2(1, 0x11, &with(INET, &ssl(&value(0x21, b"TLSv1.3")))),
            "192.0.2.7:1000",
        ),
        (
            version2(1, 0x11, &with(INET, &ssl(b"\x21\0\x09x"))),
            "about encryption is malformed",
        ),
        (
            version2(1, 0x11, &with(INET, &value(0x04, &[0; 9]))),
            "192.0.2.7:1000",
        ),
        (
            version2(1, 0x11, &with(INET, &value(0xea, b"vpce"))),
            "192.0.2.7:1000",
        ),
        (with_checksum(0x11, INET, b""), "192.0.2.7:1000"),
        (
            with_checksum(0x21, &inet6(), &authority),
            "[2001:db8::7]:1000",
        ),
        (with_checksum(0x00, b"", &authority), "-"),
        (damaged, "checksum is wrong"),
        (
            version2(1, 0x11, &with(INET, &value(0x03, b"abc"))),
            "a value is malformed",
        ),
        (with_checksum(0x11, INET, &two_checksums), "two checksums"),
        (version2(1, 0x11, &[0; 521]), "537 bytes, and at most 536"),
        (version2(0, 0x00, &[0; 521]), "537 bytes, and at most 536"),
        (
            version2(1, 0x11, &with(INET, &value(0x04, &[0; 505]))),
            "192.0.2.7:1000",
        ),
        (SIGNATURE.to_vec(), "incomplete"),
        (version2(1, 0x11, INET)[..27].to_vec(), "incomplete"),
        (b"\r\nhello\r\n".to_vec(), "sent no PROXY header"),
    ] {
        let found = result(&input);
        let is_exact =
            expected.len() < 12 || expected.starts_with("unix:") || expected.contains(":1000");
        let matches = match is_exact {
            true => found == expected,
            false => found.contains(expected),
        };
        assert!(
            matches,
            "{}: {found}, and not {expected}",
            input.escape_ascii()
        );
    }
}

#[test]
fn the_addresses_and_the_values_of_a_header_can_be_read() {
    let ssl = [
        &[0x01 | 0x02, 0, 0, 0, 0][..],
        &value(0x21, b"TLSv1.3"),
        &value(0x22, b"Grace"),
        &value(0x23, b"TLS_AES_256_GCM_SHA384"),
    ];
    let values = [
        value(0x01, b"h2"),
        value(0x02, b"example.com"),
        value(0x05, b"id-1"),
        value(0x20, &ssl.concat()),
        value(0xea, b"vpce"),
    ];
    let input = with_checksum(0x11, INET, &values.concat());
    let (header, length) = parse(&input, MAX).unwrap().unwrap();
    assert_eq!(length, input.len());
    assert_eq!((header.version(), header.is_local()), (2, false));
    let to: SocketAddr = "198.51.100.1:443".parse().unwrap();
    assert_eq!(header.destination(), Some(&Address::from(to)));
    assert_eq!(header.alpn(), Some(&b"h2"[..]));
    assert_eq!(header.authority(), Some("example.com"));
    assert_eq!(header.unique_id(), Some(&b"id-1"[..]));
    assert_eq!(header.value(0xea), Some(&b"vpce"[..]));
    assert_eq!(header.value(0xeb), None);
    let ssl = header.ssl().unwrap();
    assert_eq!(ssl.version(), Some("TLSv1.3"));
    assert_eq!(ssl.common_name(), Some("Grace"));
    assert_eq!(ssl.cipher(), Some("TLS_AES_256_GCM_SHA384"));
    assert!(ssl.is_encrypted() && ssl.is_verified());
    let shown = format!("{header:?}");
    assert!(
        shown.contains("192.0.2.7:1000") && shown.contains("234"),
        "{shown}"
    );

    let unix = version2(1, 0x31, &unix(b"/run/a", b"/run/b"));
    let (header, _) = parse(&unix, MAX).unwrap().unwrap();
    let to = Address::Unix(PathBuf::from("/run/b"));
    assert_eq!(header.destination(), Some(&to));
    assert_eq!((header.authority(), header.ssl()), (None, None));
}

#[test]
fn a_client_without_a_verified_certificate_is_not_verified_whatever_the_result() {
    for (client, verify, expected) in [
        (0x07, 0, true),
        (0x03, 0, true),
        (0x05, 0, true),
        // The result is zero for a client without a certificate too.
        (0x01, 0, false),
        (0x02, 0, false),
        (0x00, 0, false),
        (0x03, 18, false),
    ] {
        let ssl = value(0x20, &[client, 0, 0, 0, verify]);
        let input = version2(1, 0x11, &[INET, &ssl].concat());
        let (header, _) = parse(&input, MAX).unwrap().unwrap();
        assert_eq!(
            header.ssl().unwrap().is_verified(),
            expected,
            "{client}, {verify}"
        );
    }
}

/// A header that is well formed.
fn well_formed() -> impl Strategy<Value = Vec<u8>> {
    let values = prop::collection::vec(
        (0x30_u8..=0xff, prop::collection::vec(any::<u8>(), 0..40)),
        0..4,
    );
    let values = values.prop_map(|all| {
        // A name of a namespace is text.
        let own = all.into_iter().filter(|(number, _)| *number != 0x30);
        own.flat_map(|(number, bytes)| value(number, &bytes))
            .collect::<Vec<u8>>()
    });
    let line = any::<(std::net::Ipv6Addr, std::net::Ipv6Addr, u16, u16)>()
        .prop_map(|(a, b, from, to)| format!("PROXY TCP6 {a} {b} {from} {to}\r\n").into_bytes());
    let line4 = any::<(std::net::Ipv4Addr, std::net::Ipv4Addr, u16, u16)>()
        .prop_map(|(a, b, from, to)| format!("PROXY TCP4 {a} {b} {from} {to}\r\n").into_bytes());
    let inet = any::<[u8; 12]>();
    let inet = (inet, values.clone()).prop_map(|(it, rest)| with_checksum(0x11, &it, &rest));
    let inet6 = (prop::array::uniform32(any::<u8>()), values)
        .prop_map(|(it, rest)| version2(1, 0x21, &[&it[..], &[1, 2, 3, 4], &rest].concat()));
    let local =
        prop::collection::vec(any::<u8>(), 0..520).prop_map(|block| version2(0, 0x11, &block));
    prop_oneof![line, line4, inet, inet6, local]
}

/// Beginnings of headers, with any bytes after them.
fn anything() -> impl Strategy<Value = Vec<u8>> {
    let begin = prop::sample::select(vec![
        b"".to_vec(),
        b"PROXY ".to_vec(),
        b"PROXY TCP4 ".to_vec(),
        SIGNATURE.to_vec(),
        [SIGNATURE, b"\x21\x11\x00\x30"].concat(),
        [SIGNATURE, b"\x21\x31\x01\x00"].concat(),
        [SIGNATURE, b"\x21\x00\x00\x20\x20\x00\x1d"].concat(),
    ]);
    (begin, prop::collection::vec(any::<u8>(), 0..600))
        .prop_map(|(begin, rest)| [begin, rest].concat())
}

proptest! {
    #[test]
    fn a_header_is_complete_with_its_last_byte_and_the_bytes_behind_it_have_no_effect(
        header in well_formed(), rest in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        for cut in 0..header.len() {
            prop_assert_eq!(parse(&header[..cut], MAX), Ok(None));
        }
        let whole = parse(&header, MAX);
        let (_, length) = whole.clone().unwrap().unwrap();
        prop_assert_eq!(length, header.len());
        prop_assert_eq!(parse(&[header, rest].concat(), MAX), whole);
    }

    #[test]
    fn any_bytes_have_a_result_which_the_further_bytes_do_not_change(bytes in anything()) {
        let whole = parse(&bytes, MAX);
        for cut in 0..bytes.len() {
            let part = parse(&bytes[..cut], MAX);
            if part != Ok(None) {
                prop_assert_eq!(&part, &whole);
            }
        }
        if bytes.len() >= MAX {
            prop_assert_ne!(whole, Ok(None));
        }
    }
}
