//! The contest's losses, compared: who beats whom, and where.

use super::contest::{Algorithm, Criterion, Entry, NOISES, SCENARIOS, TAILS};
use crate::harness::report::number;
use crate::harness::stats;

/// Where a scenario is: variant, side of its noise, tail.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub variant: usize,
    pub side: usize,
    pub tail: usize,
}

impl Place {
    pub fn of(scenario: usize) -> Self {
        let noise = scenario % NOISES;
        Self { variant: scenario / NOISES, side: noise / TAILS.len(), tail: noise % TAILS.len() }
    }

    pub fn heavy(self) -> bool {
        TAILS[self.tail] < 2.0
    }

    pub fn light(self) -> bool {
        TAILS[self.tail].is_infinite()
    }

    pub fn falls(self) -> bool {
        self.variant >= 2
    }
}

pub struct Results<'a> {
    /// For each method, criterion and scenario.
    pub entries: &'a [Entry],
}

impl Results<'_> {
    pub fn entry(&self, algorithm: Algorithm, criterion: Criterion, scenario: usize) -> &Entry {
        let place = algorithm as usize * Criterion::ALL.len() + criterion as usize;
        &self.entries[place * SCENARIOS + scenario]
    }

    /// The typical logarithm of a's loss over b's, run by run on the same noise, and its standard error.
    pub fn duel(&self, a: Algorithm, b: Algorithm, scenario: usize) -> (f64, f64) {
        let [a, b] = [a, b].map(|algorithm| &self.entry(algorithm, Criterion::Median, scenario).losses);
        let ratio = |(a, b): (&f64, &f64)| if a == b { 0.0 } else { (a / b).ln() };
        let ratios: Vec<f64> = a.iter().zip(b).map(ratio).collect();
        (stats::median(&ratios), stats::median_standard_error(&ratios))
    }

    /// Whether a's loss is lower than b's by more than two standard errors.
    pub fn beats(&self, a: Algorithm, b: Algorithm, scenario: usize) -> bool {
        let (ratio, error) = self.duel(a, b, scenario);
        ratio < -2.0 * error
    }

    /// Whether a's mean loss is lower than b's by more than two standard errors.
    pub fn beats_in_mean(&self, a: Algorithm, b: Algorithm, scenario: usize) -> bool {
        let [a, b] = [a, b].map(|algorithm| self.value(algorithm, Criterion::Mean, scenario));
        b.0 - a.0 > 2.0 * a.1.hypot(b.1)
    }

    /// Value and standard error of the criterion.
    pub fn value(&self, algorithm: Algorithm, criterion: Criterion, scenario: usize) -> (f64, f64) {
        let losses = &self.entry(algorithm, criterion, scenario).losses;
        match criterion {
            Criterion::Median => (stats::median(losses), stats::median_standard_error(losses)),
            Criterion::Mean => (stats::mean(losses), stats::standard_error(losses)),
        }
    }

    /// The method with the lowest value first, then those that are not worse by two standard errors.
    pub fn winners(&self, criterion: Criterion, scenario: usize) -> Vec<Algorithm> {
        let value = |algorithm| self.value(algorithm, criterion, scenario).0;
        let mut order = Algorithm::ALL;
        order.sort_by(|a, b| value(*a).total_cmp(&value(*b)));
        let best = order[0];
        let equal = |other: &Algorithm| match criterion {
            _ if *other == best => true,
            Criterion::Median => !self.beats(best, *other, scenario),
            Criterion::Mean => !self.beats_in_mean(best, *other, scenario),
        };
        order.into_iter().filter(equal).collect()
    }

    /// In how many of these scenarios something holds, by side of the noise too, and in words.
    pub fn count(&self, among: impl Fn(Place) -> bool, holds: impl Fn(usize) -> bool) -> (f64, String) {
        let of = |side: Option<usize>| {
            let places = (0..SCENARIOS).filter(|scenario| {
                let place = Place::of(*scenario);
                among(place) && side.is_none_or(|side| place.side == side)
            });
            let places: Vec<usize> = places.collect();
            (places.iter().filter(|scenario| holds(**scenario)).count(), places.len())
        };
        let (all, one_sided, symmetric) = (of(None), of(Some(0)), of(Some(1)));
        let words = format!(
            "in {} of {} scenarios (one-sided noise {} of {}, symmetric {} of {})",
            all.0, all.1, one_sided.0, one_sided.1, symmetric.0, symmetric.1
        );
        (all.0 as f64 / all.1 as f64, words)
    }

    /// The typical ratio of losses over these scenarios, with the smallest and the largest.
    pub fn ratio(&self, a: Algorithm, b: Algorithm, among: impl Fn(Place) -> bool) -> String {
        let scenarios = (0..SCENARIOS).filter(|scenario| among(Place::of(*scenario)));
        let ratios: Vec<f64> = scenarios.map(|scenario| self.duel(a, b, scenario).0.exp()).collect();
        format!(
            "loss of {} over that of {}: {} ({} to {})",
            a.name(),
            b.name(),
            number(stats::median(&ratios)),
            number(stats::quantile(&ratios, 0.0)),
            number(stats::quantile(&ratios, 1.0))
        )
    }
}
