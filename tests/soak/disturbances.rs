//! What is done to a server while it serves.

use crate::closing::Closing;
use crate::phase::close;
use crate::process::ServerProcess;
use crate::site::Site;

/// A turn of a server's owner.
const TURNS: [Turn; 8] = [
    Turn::Order("restart"),
    Turn::CloseAndOpen,
    Turn::Suspend,
    Turn::Order("limits wait"),
    Turn::Order("limits refuse"),
    Turn::Order("limits address"),
    Turn::Order("limits default"),
    Turn::Order("restart"),
];

#[derive(Debug, Clone, Copy)]
enum Turn {
    Order(&'static str),
    Suspend,
    CloseAndOpen,
}

/// Takes all turns in one order after another, until it is told to stop. Gives what the servers
/// said that were closed.
pub fn disturb(
    site: &Site<'_>,
    process: &mut ServerProcess,
    longest_pause: u64,
    mut rng: fastrand::Rng,
) -> Closing {
    let mut closings = Closing::default();
    let mut turns = TURNS;
    let done = loop {
        rng.shuffle(&mut turns);
        let done = turns.iter().try_for_each(|turn| {
            site.pause(rng.u64(longest_pause / 4..=longest_pause));
            match site.stop.is_set() {
                true => Ok(()),
                false => take(*turn, site, process, &mut closings, &mut rng),
            }
        });
        if done.is_err() || site.stop.is_set() {
            break done;
        }
    };
    if let Err(what) = done {
        site.failures.add(what);
    }
    closings
}

fn take(
    turn: Turn,
    site: &Site<'_>,
    process: &mut ServerProcess,
    closings: &mut Closing,
    rng: &mut fastrand::Rng,
) -> Result<(), String> {
    match turn {
        Turn::Order(order) => drop(process.order(order)?),
        Turn::Suspend => {
            process.order("suspend")?;
            site.pause(rng.u64(10..300));
            process.order("resume")?;
        }
        Turn::CloseAndOpen => {
            if !site.kind.transport.is_unix() {
                // A stranger who gets the port is to be left alone.
                site.set_address(None);
            }
            close(site, process, closings)?;
            site.pause(rng.u64(..50));
            site.set_address(Some(process.open()?));
        }
    }
    Ok(())
}
