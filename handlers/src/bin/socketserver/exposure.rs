//! Who may reach a handler, by the address that it is served on.

use std::net::{IpAddr, ToSocketAddrs};

use socketserver::Address;

use crate::url::Url;

/// From where clients may come, unless the user says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposure {
    /// From everywhere.
    Anywhere,
    /// From this machine, for this reason: a sentence without its full stop.
    ThisMachine(&'static str),
}

impl Exposure {
    /// The same with the user's word for more.
    pub fn or_anywhere(self, allow_remote: bool) -> Self {
        if allow_remote { Self::Anywhere } else { self }
    }

    /// Refuses a URL that other machines may reach, before anything is bound. A host name may
    /// stand for several addresses, and each of them counts; one that is unknown is left to the server
    /// to report.
    ///
    /// # Errors
    ///
    /// Why it is refused, and what to do.
    pub fn check_url(self, url: &Url) -> Result<(), String> {
        let place = match url {
            Url::Tcp(place) | Url::Udp(place) => place.to_string(),
            Url::Unix(_) | Url::Unixgram(_) => return Ok(()),
        };
        if self == Self::Anywhere {
            return Ok(());
        }
        let mut addresses = place.to_socket_addrs().into_iter().flatten();
        addresses.try_for_each(|address| self.check(&Address::from(address)))
    }

    /// Refuses an address that other machines may reach.
    ///
    /// # Errors
    ///
    /// Why it is refused, and what to do.
    pub fn check(self, address: &Address) -> Result<(), String> {
        match (self, address.ip()) {
            (Self::ThisMachine(reason), Some(ip)) if !ip.is_loopback() => Err(format!(
                "{address} is not served: {}, and {reason}; listen on 127.0.0.1, on [::1] or on a \
                 Unix socket, or give --allow-remote if that is what you want",
                reachable(ip)
            )),
            _ => Ok(()),
        }
    }
}

fn reachable(ip: IpAddr) -> &'static str {
    if ip.is_unspecified() {
        "it stands for every address of this machine, so other machines can reach it"
    } else {
        "other machines may reach it"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Exposure = Exposure::ThisMachine("it is private");

    fn check(exposure: Exposure, url: &str) -> Result<(), String> {
        exposure.check_url(&url.parse().unwrap())
    }

    #[test]
    fn an_address_of_this_machine_alone_is_served() {
        for url in [
            "tcp://127.0.0.1:1",
            "udp://127.9.9.9:1",
            "tcp://[::1]:1",
            "tcp://[::ffff:127.0.0.1]:1",
            "unix:///run/socket",
            "unixgram:///run/socket",
        ] {
            assert_eq!(check(HERE, url), Ok(()), "{url}");
        }
    }

    #[test]
    fn an_address_that_others_may_reach_is_refused_with_the_reason_and_what_to_do() {
        for url in [
            "tcp://0.0.0.0:1",
            "udp://[::]:1",
            "tcp://192.0.2.1:1",
            "tcp://[2001:db8::1]:1",
            "udp://[::ffff:192.0.2.1]:1",
        ] {
            let message = check(HERE, url).unwrap_err();
            assert!(message.contains("it is private"), "{message}");
            assert!(message.contains("--allow-remote"), "{message}");
        }
    }

    #[test]
    fn every_address_is_served_where_that_is_allowed() {
        for exposure in [Exposure::Anywhere, HERE.or_anywhere(true)] {
            assert_eq!(check(exposure, "tcp://0.0.0.0:1"), Ok(()));
        }
        assert_eq!(HERE.or_anywhere(false), HERE);
    }
}
