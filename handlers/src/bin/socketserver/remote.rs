//! The loopback rule: programs that run commands communicate with this machine only, unless the
//! user gives `--allow-remote`. A server applies the rule to its own address, a client to the
//! address of its server.

use std::net::IpAddr;

use clap::{ArgMatches, Args, Command, FromArgMatches};
use socketserver::Address;

use crate::failure::Failure;
use crate::url::Url;

/// Which clients may reach a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposure {
    /// Clients on every machine.
    Anywhere,
    /// Clients on this machine, for this reason: a sentence without its full stop.
    ThisMachine(&'static str),
}

#[derive(Debug, Args)]
struct AllowRemote {
    /// Permit addresses that other machines can reach
    ///
    /// This handler runs or sends commands. Without this option it listens on loopback addresses
    /// and Unix sockets only. With this option, give --auth-key-file, so that clients need a key,
    /// or --serve-any-user.
    #[arg(long)]
    allow_remote: bool,

    /// Serve every user and every program that can connect, without a key
    ///
    /// This handler runs or sends commands. Without this option it serves only your own user, or
    /// the clients that know the key of --auth-key-file. With this option every user of this
    /// machine can do here whatever you can, and with --allow-remote so can everybody who reaches
    /// the server.
    #[arg(long)]
    serve_any_user: bool,
}

/// Which users a server serves without a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Every user.
    Everybody,
    /// The user who has started the server.
    SameUser,
}

impl Exposure {
    /// Adds `--allow-remote` to the command of a handler that has a use for it.
    pub fn add_options(self, command: Command) -> Command {
        match self {
            Self::Anywhere => command,
            Self::ThisMachine(_) => AllowRemote::augment_args(command),
        }
    }

    /// The exposure that the user asks for. `matches` are those of a command with
    /// [these options](Self::add_options).
    pub fn chosen(self, matches: &ArgMatches) -> Result<Self, clap::Error> {
        match self {
            Self::Anywhere => Ok(self),
            Self::ThisMachine(_) => {
                let AllowRemote { allow_remote, .. } = AllowRemote::from_arg_matches(matches)?;
                Ok(if allow_remote { Self::Anywhere } else { self })
            }
        }
    }

    /// The audience that the user asks for; `has_key` if clients have to know a key.
    ///
    /// # Errors
    ///
    /// If clients of other machines are let in, whose user cannot be known.
    pub fn audience(self, matches: &ArgMatches, has_key: bool) -> Result<Audience, Failure> {
        if self == Self::Anywhere || has_key {
            return Ok(Audience::Everybody);
        }
        let options = AllowRemote::from_arg_matches(matches)?;
        match options {
            AllowRemote {
                serve_any_user: true,
                ..
            } => Ok(Audience::Everybody),
            AllowRemote {
                allow_remote: true, ..
            } => Err(Failure::usage(
                "--allow-remote lets clients of other machines in, whose user cannot be known; \
                 give --auth-key-file, or --serve-any-user if the server is for everybody",
            )),
            _ => Ok(Audience::SameUser),
        }
    }

    /// Refuses a URL that other machines may reach, before anything is bound. All addresses of a
    /// host name count. An unknown name is accepted here, since the server reports it.
    ///
    /// # Errors
    ///
    /// Why the URL is refused, and what to do.
    pub fn permit_url(self, url: &Url) -> Result<(), Failure> {
        let Some(place) = url.host_port().filter(|_| self != Self::Anywhere) else {
            return Ok(());
        };
        let addresses = place.addresses().unwrap_or_default();
        addresses
            .into_iter()
            .try_for_each(|address| self.permit(&address.into()))
    }

    /// Refuses an address that other machines may reach.
    ///
    /// # Errors
    ///
    /// Why the address is refused, and what to do.
    pub fn permit(self, address: &Address) -> Result<(), Failure> {
        match (self, address.ip().and_then(remote)) {
            (Self::ThisMachine(reason), Some(ip)) => Err(Failure::usage(format!(
                "{address} is not served: {}, and {reason}; listen on 127.0.0.1, on [::1] or on a \
                 Unix socket, or give --allow-remote if that is what you want",
                reachable(ip)
            ))),
            _ => Ok(()),
        }
    }
}

/// Refuses a server on another machine, whose commands would run here.
///
/// # Errors
///
/// Why the server is refused, and what to do.
pub fn permit_server(ip: IpAddr) -> Result<(), Failure> {
    match remote(ip) {
        Some(ip) => Err(Failure::usage(format!(
            "{ip} is another machine's address: a program there would run commands here, with all \
             that you may do; give --allow-remote if that is what you want"
        ))),
        None => Ok(()),
    }
}

/// Refuses a URL to which passwords would come from other machines, over connections that are not
/// encrypted.
///
/// # Errors
///
/// Why the URL is refused, and what to do.
#[cfg(feature = "files")]
pub fn permit_passwords(url: &Url) -> Result<(), Failure> {
    let place = url.host_port();
    let addresses = place
        .and_then(|place| place.addresses().ok())
        .unwrap_or_default();
    match addresses
        .into_iter()
        .find_map(|address| remote(address.ip()))
    {
        Some(ip) => Err(Failure::usage(format!(
            "{url} is not served: {}, and everybody between could read the passwords; encrypt with \
             --tls-cert, listen on 127.0.0.1, on [::1] or on a Unix socket, or give \
             --allow-plain-passwords if that is what you want",
            reachable(ip)
        ))),
        None => Ok(()),
    }
}

/// Refuses to show metrics at an address that other machines may reach.
///
/// # Errors
///
/// Why the address is refused, and what to do.
#[cfg(feature = "metrics")]
pub fn permit_metrics(address: &Address) -> Result<(), Failure> {
    match address.ip().and_then(remote) {
        Some(ip) => Err(Failure::usage(format!(
            "metrics are not served at {address}: {}, and whoever reaches the metrics may read \
             them; choose 127.0.0.1, [::1] or a Unix socket, or give --metrics-allow-remote if \
             that is what you want",
            reachable(ip)
        ))),
        None => Ok(()),
    }
}

/// The rule: an address is remote unless it is a loopback address. Returns an IPv4 address in an
/// IPv6 one (`::ffff:127.0.0.1`) as IPv4.
fn remote(ip: IpAddr) -> Option<IpAddr> {
    let ip = ip.to_canonical();
    (!ip.is_loopback()).then_some(ip)
}

fn reachable(ip: IpAddr) -> &'static str {
    if ip.is_unspecified() {
        "it means every address of this machine, so other machines can reach it"
    } else {
        "other machines may reach it"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Exposure = Exposure::ThisMachine("it is private");

    fn permit(exposure: Exposure, url: &str) -> Result<(), Failure> {
        exposure.permit_url(&url.parse().unwrap())
    }

    fn chosen(arguments: &[&str]) -> Exposure {
        let command = HERE.add_options(Command::new("test").no_binary_name(true));
        HERE.chosen(&command.get_matches_from(arguments)).unwrap()
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
            permit(HERE, url).expect(url);
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
            let message = permit(HERE, url).unwrap_err().to_string();
            assert!(message.contains("it is private"), "{message}");
            assert!(message.contains("--allow-remote"), "{message}");
        }
    }

    #[test]
    fn every_address_is_served_where_that_is_allowed() {
        for exposure in [Exposure::Anywhere, chosen(&["--allow-remote"])] {
            permit(exposure, "tcp://0.0.0.0:1").unwrap();
        }
        assert_eq!(chosen(&[]), HERE);
    }

    #[test]
    fn without_a_key_or_an_option_the_same_user_alone_is_served() {
        let audience = |arguments: &[&str], has_key| {
            let command = HERE.add_options(Command::new("test").no_binary_name(true));
            HERE.audience(&command.get_matches_from(arguments), has_key)
        };
        assert_eq!(audience(&[], false).unwrap(), Audience::SameUser);
        assert_eq!(audience(&[], true).unwrap(), Audience::Everybody);
        let any = ["--serve-any-user", "--allow-remote"];
        assert_eq!(audience(&any[..1], false).unwrap(), Audience::Everybody);
        assert_eq!(audience(&any, false).unwrap(), Audience::Everybody);
        assert_eq!(audience(&any[1..], true).unwrap(), Audience::Everybody);
        let message = audience(&any[1..], false).unwrap_err().to_string();
        assert!(message.contains("--serve-any-user"), "{message}");
    }

    #[test]
    fn a_server_on_another_machine_is_refused_with_the_reason_and_what_to_do() {
        for ip in ["192.0.2.1", "2001:db8::1", "0.0.0.0"] {
            let message = permit_server(ip.parse().unwrap()).unwrap_err();
            let message = message.to_string();
            assert!(message.contains("would run commands here"), "{message}");
            assert!(message.contains("--allow-remote"), "{message}");
        }
        for ip in ["127.0.0.1", "127.9.9.9", "::1"] {
            permit_server(ip.parse().unwrap()).unwrap();
        }
    }
}
