//! What the reactor should reach, as ratios of one and the same round.

use crate::figures::{Figure, Quartiles};
use crate::loads::{Load, Sizes};
use crate::measurement::Measurement;
use crate::servers::Server;

/// A bound for a figure of the reactor.
#[derive(Debug)]
pub struct Goal {
    pub load: Load,
    pub figure: Figure,
    pub against: Against,
    pub bound: Bound,
}

/// What the figure is divided by.
#[derive(Debug, Clone, Copy)]
pub enum Against {
    /// Nothing.
    Itself,
    /// The same figure of another server.
    Server(Server),
    /// The same figure of tokio or of Go, whichever is greater.
    BetterOfTokioAndGo,
    /// The reactor's p99 without the clients that disturb.
    P99Without,
}

/// Where the median should be.
#[derive(Debug, Clone, Copy)]
pub enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    pub fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }

    pub fn text(self) -> String {
        match self {
            Self::AtLeast(bound) => format!("≥ {bound}"),
            Self::AtMost(bound) => format!("≤ {bound}"),
        }
    }
}

impl Against {
    pub fn title(self) -> String {
        match self {
            Self::Itself => "–".to_owned(),
            Self::Server(server) => server.title().to_owned(),
            Self::BetterOfTokioAndGo => "the better of tokio and Go".to_owned(),
            Self::P99Without => "p99 µs without them".to_owned(),
        }
    }
}

impl Goal {
    /// The quartiles of the ratios of all rounds; `None` if a server is missing.
    pub fn measured(&self, measurement: &Measurement) -> Option<Quartiles> {
        let reactor = measurement.of(Server::Reactor)?;
        let of = |server| measurement.of(server);
        let divisor = |round| match self.against {
            Against::Itself => Some(1.0),
            Against::Server(server) => of(server)?.figure(round, self.figure),
            Against::BetterOfTokioAndGo => {
                let tokio = of(Server::Tokio)?.figure(round, self.figure)?;
                Some(tokio.max(of(Server::Go)?.figure(round, self.figure)?))
            }
            Against::P99Without => reactor.figure(round, Figure::P99Without),
        };
        let ratio = |round| Some(reactor.figure(round, self.figure)? / divisor(round)?);
        Quartiles::of((0..reactor.samples.len()).filter_map(ratio))
    }

    /// All goals, in the order of the table. The number of busy connections at the drain is two.
    pub fn all(sizes: &Sizes) -> Vec<Self> {
        use Against::{BetterOfTokioAndGo, Itself, P99Without};
        use Bound::{AtLeast, AtMost};
        use Figure::{Cpu, P99, Rate};
        let bare = Against::Server(Server::BareEpoll);
        let tokio = Against::Server(Server::Tokio);
        let go = Against::Server(Server::Go);
        let idle = sizes.idle as f64;
        let goals = [
            (Load::Exchange64, Rate, BetterOfTokioAndGo, AtLeast(1.15)),
            (Load::Exchange64, Cpu, bare, AtMost(1.06)),
            (Load::Exchange1000, Rate, BetterOfTokioAndGo, AtLeast(1.05)),
            (Load::Exchange1000, Cpu, bare, AtMost(1.10)),
            (Load::Exchange1000, P99, tokio, AtMost(0.35)),
            (Load::Exchange1, Cpu, tokio, AtMost(1.0)),
            (Load::Connect, Rate, BetterOfTokioAndGo, AtLeast(1.10)),
            (Load::Blocking5000, P99, P99Without, AtMost(1.5)),
            (Load::Blocking12000, P99, P99Without, AtMost(1.5)),
            (Load::Slow, P99, P99Without, AtMost(1.2)),
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
        let goal = |(load, figure, against, bound)| Self {
            load,
            figure,
            against,
            bound,
        };
        goals.map(goal).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Sample;
    use crate::measurement::Rounds;

    fn rounds(server: Server, rates: &[Option<f64>]) -> Rounds {
        let sample = |rate: &Option<f64>| rate.map(|rate| Sample::from([(Figure::Rate, rate)]));
        let samples = rates.iter().map(sample).collect();
        Rounds { server, samples }
    }

    fn measured(servers: Vec<Rounds>) -> Option<Quartiles> {
        let measurement = Measurement {
            load: Load::Connect,
            servers,
            failures: Vec::new(),
        };
        let goal = Goal {
            load: Load::Connect,
            figure: Figure::Rate,
            against: Against::BetterOfTokioAndGo,
            bound: Bound::AtLeast(1.0),
        };
        goal.measured(&measurement)
    }

    #[test]
    fn a_ratio_is_of_figures_of_the_same_round() {
        let ratios = measured(vec![
            rounds(Server::Tokio, &[Some(10.0), Some(100.0), None]),
            rounds(Server::Go, &[Some(20.0), Some(50.0), Some(1.0)]),
            rounds(Server::Reactor, &[Some(40.0), Some(100.0), Some(900.0)]),
        ]);
        let expected = Quartiles {
            low: 1.25,
            median: 1.5,
            high: 1.75,
        };
        assert_eq!(ratios, Some(expected));
    }

    #[test]
    fn without_one_of_the_servers_there_is_no_ratio() {
        let reactor = rounds(Server::Reactor, &[Some(1.0)]);
        let tokio = rounds(Server::Tokio, &[Some(1.0)]);
        assert_eq!(measured(vec![tokio, reactor]), None);
    }

    #[test]
    fn a_bound_is_itself_within_it() {
        assert!(Bound::AtLeast(1.1).holds(1.1) && !Bound::AtLeast(1.1).holds(1.09));
        assert!(Bound::AtMost(0.0).holds(0.0) && !Bound::AtMost(0.0).holds(0.1));
    }
}
