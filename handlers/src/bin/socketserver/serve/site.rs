//! Which clients the servers of the program serve, and within which bounds.

use super::bounds::Bounds;
use super::options::Options;
use crate::failure::Failure;
use crate::remote::{Audience, Exposure};
use crate::url::Url;

/// What all servers of the program have in common.
#[derive(Debug)]
pub struct Site {
    pub exposure: Exposure,
    pub audience: Audience,
    pub bounds: Bounds,
}

impl Site {
    /// The site of these options at all URLs of the program.
    ///
    /// # Errors
    ///
    /// If the options contradict one another, or an option applies to none of the URLs.
    pub fn new(options: &Options, urls: &[Url]) -> Result<Self, Failure> {
        let Options {
            handler,
            common,
            own,
            ..
        } = options;
        let has_host = |url: &Url| url.host_port().is_some();
        if let (true, false, Some(url)) = (
            common.all_addresses,
            urls.iter().any(has_host),
            urls.first(),
        ) {
            return Err(Failure::usage(format!(
                "--all-addresses is for the name of a host, and {} has none",
                url.scheme()
            )));
        }
        let changes_bytes = common.may_change_bytes();
        let share = |by_deadlines| (handler.descriptors)(own, by_deadlines || changes_bytes);
        let bounds = common.bounds.over(urls, handler.times, &share)?;
        let exposure = handler.exposure.chosen(own)?;
        let audience = handler.exposure.audience(own, common.auth.has_key())?;
        for url in urls {
            exposure.permit_url(url)?;
        }
        Ok(Self {
            exposure,
            audience,
            bounds,
        })
    }
}
