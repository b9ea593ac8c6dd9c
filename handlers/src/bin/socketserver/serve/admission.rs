//! Which clients a server admits: `--allow`, `--deny`, `--rules` and `--rate`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use socketserver_handlers::admission::{Admission, Network, Rate, Rules, RulesError};

use crate::failure::Failure;
use crate::url::Url;
use crate::watched::Watched;

/// The options of who is admitted.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of admission")]
pub struct AdmissionOptions {
    /// Serve the clients of this network or address, such as 10.0.0.0/8, and no others
    ///
    /// May be given several times. Of all networks of --allow, --deny and --rules, the smallest
    /// that has a client's address decides. With --allow 10.0.0.0/8 --deny 10.1.0.0/16, for
    /// example, 10.2.0.1 is served, and 10.1.0.1 is not.
    ///
    /// The server closes the connection of a refused client before it reads a byte. With
    /// --proxy-protocol the address is that of the proxy's client. Clients over Unix sockets have
    /// no address, and are served.
    #[arg(long, value_name = "NETWORK", value_parser = str::parse::<Network>)]
    allow: Vec<Network>,

    /// Refuse the clients of this network or address, such as 10.1.0.0/16
    ///
    /// May be given several times. Without --allow, and without a line "allow" in the file of
    /// --rules, all other clients are served.
    #[arg(long, value_name = "NETWORK", value_parser = str::parse::<Network>)]
    deny: Vec<Network>,

    /// File with further networks: a line "allow NETWORK" or "deny NETWORK" for each
    ///
    /// "#" begins a comment. SIGHUP loads the file again, and does not stop the server. If a line
    /// is wrong then, the rules from before stay in use.
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,

    /// How many clients each address of the server admits in a second, or in SECONDS
    ///
    /// 50 admits 50 clients in a second, and 50/10 admits 50 clients in ten seconds. That many
    /// clients may come at once; then places become free evenly. Further clients are refused.
    #[arg(long, value_name = "N[/SECONDS]", value_parser = str::parse::<Rate>)]
    rate: Option<Rate>,
}

impl AdmissionOptions {
    /// The admission of servers on `urls`; `None` if everybody is admitted at any rate.
    ///
    /// # Errors
    ///
    /// If the file of rules is broken, or no client on `urls` has an address.
    pub fn over(&self, urls: &[Url]) -> Result<Option<Admission>, Failure> {
        let given = [
            ("--allow", !self.allow.is_empty()),
            ("--deny", !self.deny.is_empty()),
            ("--rules", self.rules.is_some()),
        ];
        let given = given.iter().find(|(_, is_given)| *is_given);
        if given.is_none() && self.rate.is_none() {
            return Ok(None);
        }
        if let (Some((option, _)), Some(url)) = (given, urls.first())
            && urls.iter().all(|url| url.host_port().is_none())
        {
            return Err(Failure::usage(format!(
                "{option} is for the addresses of clients, and clients over {} have none; give \
                 --socket-mode and --socket-group, which decide who may connect",
                url.scheme()
            )));
        }
        Ok(Some(Admission::new(self.load()?, self.rate)))
    }

    /// The file of rules, which SIGHUP reads again for `admission`.
    pub fn watched(&self, admission: &Admission) -> Option<Watched> {
        self.rules.as_ref()?;
        let given = Self {
            allow: self.allow.clone(),
            deny: self.deny.clone(),
            rules: self.rules.clone(),
            rate: self.rate,
        };
        let admission = admission.clone();
        Some(Watched {
            loaded: "the rules were loaded again",
            kept: "the rules from before stay in use",
            load: Arc::new(move || {
                let rules = given.load().map_err(|error| error.to_string())?;
                admission.set_rules(rules);
                Ok(())
            }),
        })
    }

    /// The rules of the command line and the file.
    fn load(&self) -> Result<Rules, RulesError> {
        let rules = self
            .allow
            .iter()
            .copied()
            .fold(Rules::default(), Rules::allow);
        let rules = self.deny.iter().copied().fold(rules, Rules::deny);
        match &self.rules {
            None => Ok(rules),
            Some(file) => rules.with_file(file),
        }
    }
}
