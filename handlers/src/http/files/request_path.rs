//! The path of a request as the name of a file.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, CONTROLS, percent_decode, percent_encode};

/// The bytes of a name that a URL and an attribute of HTML have encoded.
const ENCODED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'&')
    .add(b'\'')
    .add(b'/')
    .add(b':')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// A path below the root, whose segments are names of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RequestPath {
    segments: Vec<OsString>,
    /// Whether the path ends with a slash, as that of a directory does.
    is_directory: bool,
}

/// Why a path names no file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PathError {
    /// A percent sign without two digits.
    Malformed,
    /// A name with a slash or a NUL, which no file has.
    NoName,
}

impl RequestPath {
    /// Parses the path of a URI. Empty segments and `.` are skipped, and `..` removes the segment
    /// before it, if there is one.
    ///
    /// # Errors
    ///
    /// If the path cannot be the name of a file.
    pub(super) fn parse(path: &str) -> Result<Self, PathError> {
        let mut segments = Vec::new();
        let mut is_directory = true;
        for segment in path.split('/') {
            let name = decode(segment)?;
            is_directory = matches!(&name[..], b"" | b"." | b"..");
            match &name[..] {
                b"" | b"." => {}
                b".." => drop(segments.pop()),
                name if name.contains(&b'/') || name.contains(&0) => return Err(PathError::NoName),
                _ => segments.push(OsString::from_vec(name)),
            }
        }
        Ok(Self {
            segments,
            is_directory,
        })
    }

    pub(super) fn is_directory(&self) -> bool {
        self.is_directory
    }

    /// Whether a segment is the name of a hidden file.
    pub(super) fn is_hidden(&self) -> bool {
        self.segments.iter().any(|name| is_hidden(name))
    }

    /// The names of the directories on the way, and of the file.
    pub(super) fn segments(&self) -> &[OsString] {
        &self.segments
    }

    /// The path relative to the root. The path of the root is `.`.
    pub(super) fn below_root(&self) -> PathBuf {
        match &self.segments[..] {
            [] => PathBuf::from("."),
            segments => segments.iter().collect(),
        }
    }

    /// The path in a URL, as that of a directory.
    pub(super) fn to_directory_url(&self) -> String {
        let mut url = String::from("/");
        for name in &self.segments {
            url.push_str(&encode(name));
            url.push('/');
        }
        url
    }

    /// Whether the last segment has an extension.
    pub(super) fn has_extension(&self) -> bool {
        let name = self.segments.last();
        name.is_some_and(|name| Path::new(name).extension().is_some())
    }
}

/// A name of a file in a URL.
pub(super) fn encode(name: &OsStr) -> String {
    percent_encode(name.as_bytes(), ENCODED).to_string()
}

pub(super) fn is_hidden(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".")
}

fn decode(segment: &str) -> Result<Vec<u8>, PathError> {
    let is_encoded = |encoded: &str| {
        let mut digits = encoded.bytes();
        let mut is_digit = || digits.next().is_some_and(|it| it.is_ascii_hexdigit());
        is_digit() && is_digit()
    };
    match segment.split('%').skip(1).all(is_encoded) {
        true => Ok(percent_decode(segment.as_bytes()).collect()),
        false => Err(PathError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn below_root(path: &str) -> String {
        let path = RequestPath::parse(path).unwrap();
        path.below_root().into_os_string().into_string().unwrap()
    }

    #[test]
    fn a_path_never_leaves_its_root() {
        for (path, expected) in [
            ("/", "."),
            ("", "."),
            ("//", "."),
            ("/a", "a"),
            ("/a/", "a"),
            ("//a///b", "a/b"),
            ("/./a/.", "a"),
            ("/..", "."),
            ("/../../a", "a"),
            ("/a/../b", "b"),
            ("/a/%2e%2E/b", "b"),
            ("/%2e%2e/%2e%2e/a", "a"),
            ("/a%20b", "a b"),
            ("/a+b", "a+b"),
            ("/%25", "%"),
            ("/...", "..."),
            ("/a\\..\\b", "a\\..\\b"),
        ] {
            assert_eq!(below_root(path), expected, "{path}");
        }
    }

    #[test]
    fn what_no_file_is_named_is_an_error() {
        for path in ["/%", "/%4", "/%zz", "/a%", "/%%41", "/%+1"] {
            assert_eq!(
                RequestPath::parse(path),
                Err(PathError::Malformed),
                "{path}"
            );
        }
        for path in ["/a%2fb", "/%2F", "/a%00", "/..%2f..%2fetc"] {
            assert_eq!(RequestPath::parse(path), Err(PathError::NoName), "{path}");
        }
    }

    #[test]
    fn a_directory_ends_with_a_slash() {
        for (path, expected) in [
            ("/", true),
            ("/a", false),
            ("/a/", true),
            ("/a/..", true),
            ("/a/.", true),
            ("/a/../b", false),
        ] {
            let path = RequestPath::parse(path).unwrap();
            assert_eq!(path.is_directory(), expected, "{path:?}");
        }
    }

    #[test]
    fn hidden_names_are_found_on_the_whole_way() {
        for (path, expected) in [
            ("/.git/config", true),
            ("/a/.env", true),
            ("/%2egit/config", true),
            ("/a/b.c", false),
            ("/a/../b", false),
        ] {
            assert_eq!(
                RequestPath::parse(path).unwrap().is_hidden(),
                expected,
                "{path}"
            );
        }
    }

    proptest! {
        #[test]
        fn an_encoded_name_is_read_back(name in prop::collection::vec(1_u8.., 1..20)) {
            let name = OsString::from_vec(name);
            prop_assume!(!name.as_bytes().contains(&b'/') && name != "." && name != "..");
            let encoded = encode(&name);
            prop_assert!(encoded.is_ascii());
            let path = RequestPath::parse(&format!("/{encoded}/")).unwrap();
            prop_assert_eq!(path.segments(), [name]);
            let url = path.to_directory_url();
            prop_assert_eq!(RequestPath::parse(&url).unwrap(), path);
        }

        #[test]
        fn no_path_has_a_segment_that_leads_upward(path in "[a./%2efF\\\\]{0,30}") {
            if let Ok(path) = RequestPath::parse(&path) {
                let leads_upward =
                    |name: &OsString| name == ".." || name.as_bytes().contains(&b'/');
                prop_assert!(!path.segments().iter().any(leads_upward));
            }
        }
    }
}
