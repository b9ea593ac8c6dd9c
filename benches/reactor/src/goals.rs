//! What the reactor should reach, as ratios of one and the same round.

use measuring::{Against, Bound, Goal};

use crate::figures::Figure;
use crate::loads::{Load, Sizes};
use crate::servers::Server;

/// All goals, in the order of the table. The number of busy connections at the drain is two.
pub fn goals(sizes: &Sizes) -> Vec<Goal<Figure>> {
    use Against::Itself;
    use Bound::{AtLeast, AtMost};
    use Figure::{Cpu, P99, Rate};
    const TOKIO_AND_GO: &[&str] = &[Server::Tokio.title(), Server::Go.title()];
    let better = Against::Best(TOKIO_AND_GO);
    let without = Against::Own(Figure::P99Without);
    let bare = Against::Server(Server::BareEpoll.title());
    let tokio = Against::Server(Server::Tokio.title());
    let go = Against::Server(Server::Go.title());
    let idle = sizes.idle as f64;
    let goals = [
        (Load::Exchange64, Rate, better, AtLeast(1.15)),
        (Load::Exchange64, Cpu, bare, AtMost(1.06)),
        (Load::Exchange1000, Rate, better, AtLeast(1.05)),
        (Load::Exchange1000, Cpu, bare, AtMost(1.10)),
        (Load::Exchange1000, P99, tokio, AtMost(0.35)),
        (Load::Exchange1, Cpu, tokio, AtMost(1.0)),
        (Load::Connect, Rate, better, AtLeast(1.10)),
        (Load::Blocking5000, P99, without, AtMost(1.5)),
        (Load::Blocking12000, P99, without, AtMost(1.5)),
        (Load::Slow, P99, without, AtMost(1.2)),
        (Load::Slow, Figure::Threads, Itself, AtMost(8.0)),
        (Load::Greedy, P99, go, AtMost(0.33)),
        (Load::Greedy, Figure::Evenness, Itself, AtLeast(0.95)),
        (Load::Idle, Figure::Held, Itself, AtLeast(idle)),
        (Load::Idle, Figure::Kilobytes, Itself, AtMost(0.6)),
        (Load::Idle, Figure::Threads, Itself, AtMost(8.0)),
        (Load::Drain, Figure::DrainTime, Itself, AtMost(100.0)),
        (Load::Drain, Figure::Answered, Itself, AtLeast(2.0)),
        (Load::Rest, Figure::Switches, Itself, AtMost(0.0)),
        (Load::Rest, Figure::IdleCpu, Itself, AtMost(0.0)),
    ];
    let goal = |(load, figure, against, bound): (Load, _, _, _)| Goal {
        load: load.title(sizes),
        figure,
        server: Server::Reactor.title(),
        against,
        bound,
    };
    goals.map(goal).into()
}
