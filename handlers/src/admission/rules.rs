//! Which addresses are allowed, and which are denied.

use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::{InvalidNetwork, Network};

/// The networks whose clients are allowed, and the networks whose clients are denied.
///
/// The smallest network that has a client's address decides. If the same network is allowed and
/// denied, its clients are denied. A client in none of the networks is allowed, unless at least one
/// network is allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct Rules {
    allowed: Vec<Network>,
    denied: Vec<Network>,
}

/// Why a file of rules cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RulesError {
    /// The file cannot be read.
    #[error("cannot read the rules in {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A line is not a rule.
    #[error("{}:{line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The number of the line, from 1.
        line: usize,
        /// The reason.
        reason: String,
    },
}

/// The largest file of rules, in bytes. The bound keeps the check of a client fast, since each
/// client is compared with every network.
const LARGEST: u64 = 1 << 20;

impl Rules {
    /// Allows a network too.
    pub fn allow(mut self, network: Network) -> Self {
        self.allowed.push(network);
        self
    }

    /// Denies a network too.
    pub fn deny(mut self, network: Network) -> Self {
        self.denied.push(network);
        self
    }

    /// Adds the rules of a file. Each line is `allow NETWORK` or `deny NETWORK`. Empty lines are
    /// skipped, and `#` begins a comment.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, has more than 1 MiB, or has a line that is not a rule. The error
    /// names the line.
    pub fn with_file(self, path: &Path) -> Result<Self, RulesError> {
        let unreadable = |source| RulesError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let mut text = String::new();
        let file = File::open(path).map_err(unreadable)?;
        let length = file.take(LARGEST + 1).read_to_string(&mut text);
        if length.map_err(unreadable)? as u64 > LARGEST {
            let message = format!("the file has more than {LARGEST} bytes");
            return Err(unreadable(io::Error::other(message)));
        }
        let mut rules = self;
        for (index, line) in text.lines().enumerate() {
            rules = rules.with_line(line).map_err(|reason| RulesError::Line {
                path: path.to_owned(),
                line: index + 1,
                reason,
            })?;
        }
        Ok(rules)
    }

    /// Whether a client of this address is allowed.
    #[must_use]
    pub fn allows(&self, ip: IpAddr) -> bool {
        let smallest = |networks: &[Network]| {
            let having = networks.iter().filter(|network| network.contains(ip));
            having.map(Network::prefix).max()
        };
        match (smallest(&self.allowed), smallest(&self.denied)) {
            (None, None) => self.allowed.is_empty(),
            (allowed, denied) => allowed > denied,
        }
    }

    fn with_line(self, line: &str) -> Result<Self, String> {
        let rule = line.split('#').next().unwrap_or_default();
        let mut words = rule.split_whitespace();
        let network = |word: Option<&str>| {
            let word = word.ok_or("the network is missing")?;
            let network = word.parse();
            network.map_err(|error: InvalidNetwork| error.to_string())
        };
        let rules = match words.next() {
            None => self,
            Some("allow") => self.allow(network(words.next())?),
            Some("deny") => self.deny(network(words.next())?),
            Some(word) => return Err(format!("{word:?} is neither \"allow\" nor \"deny\"")),
        };
        match words.next() {
            None => Ok(rules),
            Some(word) => Err(format!(
                "{word:?} follows the network; write a line for each network"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn of(text: &str) -> Result<Rules, RulesError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        Rules::default().with_file(file.path())
    }

    fn allows(text: &str, ip: &str) -> bool {
        of(text).unwrap().allows(ip.parse().unwrap())
    }

    #[test]
    fn the_smallest_network_decides_whatever_the_order() {
        let rules = "deny 10.0.0.0/8\nallow 10.1.0.0/16\ndeny 10.1.2.3\n";
        let reversed = "deny 10.1.2.3\nallow 10.1.0.0/16\ndeny 10.0.0.0/8\n";
        for rules in [rules, reversed] {
            assert!(!allows(rules, "10.2.0.1"));
            assert!(allows(rules, "10.1.0.1"));
            assert!(allows(rules, "::ffff:10.1.0.1"));
            assert!(!allows(rules, "10.1.2.3"));
            // Something is allowed, so that everything else is not.
            assert!(!allows(rules, "192.0.2.1"));
        }
    }

    #[test]
    fn without_a_network_that_is_allowed_all_but_the_denied_are() {
        assert!(allows("", "192.0.2.1"));
        assert!(allows("deny 192.0.2.0/24", "192.0.3.1"));
        assert!(!allows("deny 192.0.2.0/24", "192.0.2.1"));
        assert!(!allows("allow 2001:db8::/32", "192.0.2.1"));
    }

    #[test]
    fn of_equal_networks_the_one_that_denies_decides() {
        assert!(!allows("allow 10.0.0.0/8\ndeny 10.0.0.0/8", "10.0.0.1"));
    }

    #[test]
    fn comments_and_empty_lines_are_no_rules_and_a_broken_line_is_named() {
        let rules = "# who may come\n\n  allow\t10.0.0.0/8 # the office\r\n";
        assert!(allows(rules, "10.0.0.1"));
        for (text, expected) in [
            (
                "allow 10.0.0.0/8\npermit 10.0.0.0/8",
                ":2: \"permit\" is neither",
            ),
            ("deny", ":1: the network is missing"),
            ("allow 10.0.0.1/8", ":1: \"10.0.0.1/8\" is not a network"),
            (
                "allow 10.0.0.0/8 11.0.0.0/8",
                ":1: \"11.0.0.0/8\" follows the network",
            ),
        ] {
            let error = of(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let missing = Rules::default().with_file(Path::new("/missing/rules"));
        let error = missing.unwrap_err().to_string();
        assert!(
            error.starts_with("cannot read the rules in /missing/rules"),
            "{error}"
        );
    }
}
