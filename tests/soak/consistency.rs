//! Whether what the servers say of themselves agrees with what their clients saw.

use crate::closing::Closing;
use crate::phase::Server;
use crate::site::Count;

/// Writes down what does not agree, for every server; all of them have been closed.
pub fn check(servers: &[Server<'_>]) {
    for server in servers {
        let counted = |what| server.site.counted(what);
        let Closing {
            accepted,
            refused,
            panicked,
            sent,
            ..
        } = server.closings;
        let is_stream = server.site.kind.transport.is_stream();
        let served = match is_stream {
            true => counted(Count::GoodConnections),
            false => counted(Count::Exchanges),
        };
        let mut claims = vec![
            ("somebody was served well", 1, served),
            ("it has accepted whom it has served", served, accepted),
            (
                "it has accepted no more than there were",
                accepted,
                counted(Count::Attempts),
            ),
            (
                "it has refused those who saw it",
                counted(Count::Refused),
                refused,
            ),
            (
                "no more handlers have panicked than were told to",
                panicked,
                counted(Count::Panics),
            ),
        ];
        // A child that is killed does not tell how much it has sent.
        if !server.site.kind.forks() {
            let bytes = counted(Count::Bytes);
            claims.push(("it has sent what arrived", bytes, sent));
        }
        for (claim, less, more) in claims {
            if less > more {
                let what = format_args!("it does not hold that {claim}: {less} > {more}");
                server.site.fail(what);
            }
        }
    }
}
