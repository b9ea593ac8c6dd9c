//! What our servers should reach, as ratios of one and the same round.

use measuring::{Against, Bound, Goal};

use crate::figures::Figure;
use crate::loads::{Load, Sizes};
use crate::servers::Server;

/// All goals, in the order of the table.
pub fn goals(sizes: &Sizes) -> Vec<Goal<Figure>> {
    use Against::{Itself, Own};
    use Bound::{AtLeast, AtMost};
    use Figure::{Held, P99, P99Without, Rate, Threads};
    let against = |server: Server| Against::Server(server.title());
    let goals = [
        (Load::Hello, Rate, against(Server::Hyper), AtLeast(1.0)),
        (Load::Hello, Rate, against(Server::Go), AtLeast(1.0)),
        (Load::Hello, Rate, against(Server::TinyHttp), AtLeast(2.0)),
        (Load::Small, Rate, against(Server::Nginx), AtLeast(0.8)),
        (Load::Small, Rate, against(Server::Python), AtLeast(30.0)),
        (Load::Large, Rate, against(Server::Nginx), AtLeast(0.9)),
        (Load::Kept, Held, Itself, AtLeast(sizes.kept as f64)),
        (Load::Kept, Threads, Itself, AtMost(8.0)),
        (Load::SlowHeads, P99, Own(P99Without), AtMost(1.2)),
        (Load::SlowHeads, Threads, Itself, AtMost(8.0)),
    ];
    let goal = |(load, figure, against, bound): (Load, _, _, _)| Goal {
        load: load.title(sizes),
        figure,
        server: Server::Ours.title(),
        against,
        bound,
    };
    goals.map(goal).into()
}
