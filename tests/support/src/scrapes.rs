//! The text of metrics, as a client reads it.

use std::collections::HashMap;

use socketserver::{Metrics, MetricsFormat};

/// The numbers of a text in OpenMetrics, by name and labels.
#[derive(Debug)]
pub struct Scrape(HashMap<String, f64>);

impl Scrape {
    /// Reads the present numbers.
    pub fn of(metrics: &Metrics) -> Self {
        Self::parse(&metrics.text(MetricsFormat::OpenMetrics).unwrap())
    }

    /// Reads the numbers of a text. Panics if a number occurs twice.
    pub fn parse(text: &str) -> Self {
        let mut numbers = HashMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let before = numbers.insert(name.to_owned(), value.parse().unwrap());
            assert!(before.is_none(), "twice: {name}");
        }
        Self(numbers)
    }

    /// Returns the number with this name and these labels, of the program `socketserver`, if there
    /// is one.
    pub fn find(&self, name: &str, labels: &str) -> Option<f64> {
        let labelled = format!("socketserver_{name}{{{labels}}}");
        self.0.get(&labelled).copied()
    }

    /// Returns the number as [`find`](Self::find) does. Panics if there is none.
    pub fn get(&self, name: &str, labels: &str) -> f64 {
        let found = self.find(name, labels);
        found.unwrap_or_else(|| panic!("no {name}{{{labels}}} in {:#?}", self.0))
    }

    /// Returns the names of all numbers, with their labels.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}
