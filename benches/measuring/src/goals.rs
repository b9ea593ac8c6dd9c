//! What a server should reach, as ratios of one and the same round.

use crate::figures::{Figure, Quartiles};
use crate::measurement::Measurement;

/// A bound for a figure of a server.
#[derive(Debug)]
pub struct Goal<F> {
    /// The title of the load.
    pub load: String,
    /// The figure that is bounded.
    pub figure: F,
    /// The server whose figure is bounded.
    pub server: &'static str,
    /// What the figure is divided by.
    pub against: Against<F>,
    /// Where the median should be.
    pub bound: Bound,
}

/// What a figure is divided by.
#[derive(Debug, Clone, Copy)]
pub enum Against<F> {
    /// Nothing.
    Itself,
    /// The same figure of another server.
    Server(&'static str),
    /// The same figure of one of these servers, whichever is greatest.
    Best(&'static [&'static str]),
    /// Another figure of the same server.
    Own(F),
}

/// Where the median should be.
#[derive(Debug, Clone, Copy)]
pub enum Bound {
    /// At this, or above.
    AtLeast(f64),
    /// At this, or below.
    AtMost(f64),
}

impl Bound {
    /// Whether a value is within the bound.
    #[must_use]
    pub fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }

    /// The bound, in the table.
    #[must_use]
    pub fn text(self) -> String {
        match self {
            Self::AtLeast(bound) => format!("≥ {bound}"),
            Self::AtMost(bound) => format!("≤ {bound}"),
        }
    }
}

impl<F: Figure> Against<F> {
    /// The divisor, in the table.
    #[must_use]
    pub fn title(self) -> String {
        match self {
            Self::Itself => "–".to_owned(),
            Self::Server(server) => server.to_owned(),
            Self::Best(servers) => format!("the best of {}", servers.join(", ")),
            Self::Own(figure) => figure.title().to_owned(),
        }
    }
}

impl<F: Figure> Goal<F> {
    /// The quartiles of the ratios of all rounds; `None` if a server is missing.
    pub fn measured(&self, measurement: &Measurement<F>) -> Option<Quartiles> {
        let measured = measurement.of(self.server)?;
        let of = |server, round| measurement.of(server)?.figure(round, self.figure);
        let divisor = |round| match self.against {
            Against::Itself => Some(1.0),
            Against::Server(server) => of(server, round),
            Against::Best(servers) => {
                let figures = servers.iter().map(|server| of(server, round));
                // `None` if one of them is missing.
                figures
                    .reduce(|best, next| Some(best?.max(next?)))
                    .flatten()
            }
            Against::Own(figure) => measured.figure(round, figure),
        };
        let ratio = |round| Some(measured.figure(round, self.figure)? / divisor(round)?);
        Quartiles::of((0..measured.samples.len()).filter_map(ratio))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Sample;
    use crate::measurement::Rounds;

    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    struct Rate;

    impl Figure for Rate {
        fn title(self) -> &'static str {
            "rate"
        }

        fn decimals(self) -> usize {
            0
        }
    }

    fn rounds(server: &'static str, rates: &[Option<f64>]) -> Rounds<Rate> {
        let sample = |rate: &Option<f64>| rate.map(|rate| Sample::from([(Rate, rate)]));
        let samples = rates.iter().map(sample).collect();
        Rounds { server, samples }
    }

    fn measured(servers: Vec<Rounds<Rate>>) -> Option<Quartiles> {
        let measurement = Measurement {
            load: "load".to_owned(),
            servers,
            skipped: Vec::new(),
            failures: Vec::new(),
        };
        let goal = Goal {
            load: "load".to_owned(),
            figure: Rate,
            server: "ours",
            against: Against::Best(&["tokio", "Go"]),
            bound: Bound::AtLeast(1.0),
        };
        goal.measured(&measurement)
    }

    #[test]
    fn a_ratio_is_of_figures_of_the_same_round() {
        let ratios = measured(vec![
            rounds("tokio", &[Some(10.0), Some(100.0), None]),
            rounds("Go", &[Some(20.0), Some(50.0), Some(1.0)]),
            rounds("ours", &[Some(40.0), Some(100.0), Some(900.0)]),
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
        let ours = rounds("ours", &[Some(1.0)]);
        let tokio = rounds("tokio", &[Some(1.0)]);
        assert_eq!(measured(vec![tokio, ours]), None);
    }

    #[test]
    fn a_bound_is_itself_within_it() {
        assert!(Bound::AtLeast(1.1).holds(1.1) && !Bound::AtLeast(1.1).holds(1.09));
        assert!(Bound::AtMost(0.0).holds(0.0) && !Bound::AtMost(0.0).holds(0.1));
    }
}
