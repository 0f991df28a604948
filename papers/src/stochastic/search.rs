//! Which rate is best, by which measure, and who then is ahead.

use super::runs::Course;
use super::{AMSGRAD, LABELS, MADAM, Sizes};
use crate::harness::report::Table;
use crate::harness::stats::{mean, median, median_standard_error, standard_error};
use std::fmt::Write;

/// By what a rate is chosen, and methods are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Criterion {
    Median,
    Mean,
}

const CRITERIA: [Criterion; 2] = [Criterion::Median, Criterion::Mean];

/// MAdam, or the first of two, against another: by two standard errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Against {
    Lower,
    Higher,
    Even,
}

fn against(difference: f64, error: f64) -> Against {
    match difference {
        difference if difference < -2.0 * error => Against::Lower,
        difference if difference > 2.0 * error => Against::Higher,
        _ => Against::Even,
    }
}

/// Of medians.
pub fn compare(a: &[f64], b: &[f64]) -> Against {
    let error = median_standard_error(a).hypot(median_standard_error(b));
    against(median(a) - median(b), error)
}

/// How a method did at its chosen rate, on draws that the choice did not see.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub rate: f64,
    /// Of log10 f.
    pub median: f64,
    pub error: f64,
    /// Of f.
    pub mean: f64,
    pub mean_error: f64,
    /// Share of runs with f above its start.
    pub failed: f64,
    /// Share of runs with theta = 0.
    pub zeros: f64,
}

pub struct Search<'a> {
    sizes: &'a Sizes,
    rates: Vec<f64>,
    /// Median of log10 f and mean of f, `[method][start][time][rate]`.
    found: Vec<Vec<Vec<Vec<[f64; 2]>>>>,
    /// Indices of the chosen rates of each method, ascending.
    chosen: Vec<Vec<usize>>,
    judged: Vec<Course>,
}

impl<'a> Search<'a> {
    pub fn new(sizes: &'a Sizes, courses: &[Course]) -> Self {
        let rates = sizes.rates();
        let summary = |course: &Course, start: usize, time: usize, rate: usize| {
            let log_f = course.log_f(time, rate, start);
            [median(&log_f), mean(&log_f.iter().map(|x| 10f64.powf(*x)).collect::<Vec<_>>())]
        };
        let found = courses.iter().map(|course| {
            let of_start = |start| {
                let of_time =
                    |time| (0..rates.len()).map(|rate| summary(course, start, time, rate)).collect();
                (0..sizes.times.len()).map(of_time).collect()
            };
            (0..sizes.starts.len()).map(of_start).collect()
        });
        let found = found.collect();
        let mut search = Self { sizes, rates, found, chosen: vec![], judged: vec![] };
        for method in 0..courses.len() {
            let mut chosen: Vec<usize> = search
                .cells()
                .map(|(start, time, grid, criterion)| search.choice(method, start, time, grid, criterion))
                .collect();
            chosen.sort_unstable();
            chosen.dedup();
            search.chosen.push(chosen);
        }
        search
    }

    /// Every start, time, grid and criterion.
    fn cells(&self) -> impl Iterator<Item = (usize, usize, usize, Criterion)> + use<> {
        let [starts, times, grids] =
            [self.sizes.starts.len(), self.sizes.times.len(), self.sizes.grids.len()];
        (0..starts * times * grids * CRITERIA.len()).map(move |i| {
            let (criterion, i) = (CRITERIA[i % 2], i / 2);
            (i / grids / times, i / grids % times, i % grids, criterion)
        })
    }

    /// Index of the rate with the lowest median or mean.
    fn choice(&self, method: usize, start: usize, time: usize, grid: usize, criterion: Criterion) -> usize {
        let finest = self.sizes.grids[self.sizes.grids.len() - 1];
        let values = &self.found[method][start][time];
        let on_grid = (0..self.rates.len()).step_by(finest / self.sizes.grids[grid]);
        let value = |rate: &usize| values[*rate][criterion as usize];
        on_grid.min_by(|a, b| value(a).total_cmp(&value(b))).unwrap_or(0)
    }

    pub fn chosen_rates(&self, method: usize) -> Vec<f64> {
        self.chosen[method].iter().map(|rate| self.rates[*rate]).collect()
    }

    /// The rate that the median chooses.
    pub fn best(&self, method: usize, start: usize, time: usize, grid: usize) -> f64 {
        self.rates[self.choice(method, start, time, grid, Criterion::Median)]
    }

    /// Takes the runs at the chosen rates.
    pub fn judge(&mut self, judged: Vec<Course>) {
        self.judged = judged;
    }

    /// Median of log10 f at all rates of the search.
    pub fn medians(&self, method: usize, start: usize, time: usize) -> Vec<f64> {
        self.found[method][start][time].iter().map(|found| found[0]).collect()
    }

    /// log10 f of the runs that judge.
    fn runs(&self, method: usize, start: usize, time: usize, grid: usize, criterion: Criterion) -> Vec<f64> {
        let rate = self.choice(method, start, time, grid, criterion);
        let place = self.chosen[method].binary_search(&rate).unwrap_or(0);
        self.judged[method].log_f(time, place, start)
    }

    pub fn verdict(
        &self,
        method: usize,
        start: usize,
        time: usize,
        grid: usize,
        criterion: Criterion,
    ) -> Outcome {
        let log_f = self.runs(method, start, time, grid, criterion);
        let f: Vec<f64> = log_f.iter().map(|x| 10f64.powf(*x)).collect();
        let share =
            |of: &dyn Fn(f64) -> bool| log_f.iter().filter(|x| of(**x)).count() as f64 / log_f.len() as f64;
        let before = super::runs::log_f(f64::from(self.sizes.starts[start]).log2());
        let not_zero: Vec<f64> = log_f.iter().copied().filter(|x| x.is_finite()).collect();
        Outcome {
            rate: self.rates[self.choice(method, start, time, grid, criterion)],
            median: median(&not_zero),
            error: median_standard_error(&not_zero),
            mean: mean(&f),
            mean_error: standard_error(&f),
            failed: share(&|x| x > before),
            zeros: share(&|x| x == f64::NEG_INFINITY),
        }
    }

    /// MAdam against a form of AMSGrad.
    pub fn against(
        &self,
        form: usize,
        start: usize,
        time: usize,
        grid: usize,
        criterion: Criterion,
    ) -> Against {
        let [own, other] = [MADAM, form].map(|method| self.runs(method, start, time, grid, criterion));
        // The same draws: a run is left out of both.
        let pairs = own.iter().zip(&other).filter(|(a, b)| a.is_finite() && b.is_finite());
        let (own, other): (Vec<f64>, Vec<f64>) = pairs.map(|(a, b)| (*a, *b)).unzip();
        match criterion {
            Criterion::Median => compare(&own, &other),
            Criterion::Mean => {
                let f = |log_f: &[f64]| log_f.iter().map(|x| 10f64.powf(*x)).collect::<Vec<_>>();
                let (own, other) = (f(&own), f(&other));
                against(mean(&own) - mean(&other), standard_error(&own).hypot(standard_error(&other)))
            }
        }
    }

    /// MAdam against the form of AMSGrad that does best, and which that is.
    pub fn against_best(
        &self,
        start: usize,
        time: usize,
        grid: usize,
        criterion: Criterion,
    ) -> (Against, usize) {
        let value = |form: usize| {
            let outcome = self.verdict(form, start, time, grid, criterion);
            if criterion == Criterion::Median { outcome.median } else { outcome.mean }
        };
        let form = AMSGRAD.into_iter().min_by(|a, b| value(*a).total_cmp(&value(*b))).unwrap_or(AMSGRAD[0]);
        (self.against(form, start, time, grid, criterion), form)
    }

    /// The largest share of runs with theta = 0, over all settings.
    pub fn most_zeros(&self) -> f64 {
        let methods = 0..LABELS.len();
        let shares = self.cells().flat_map(|(start, time, grid, criterion)| {
            methods.clone().map(move |method| self.verdict(method, start, time, grid, criterion).zeros)
        });
        shares.fold(0.0, f64::max)
    }

    /// By how much MAdam is lower, for each start, time and grid.
    pub fn markdown(&self) -> String {
        let mut text = String::from("| start | steps |");
        self.sizes.grids.iter().for_each(|grid| text += &format!(" {grid} rates a decade |"));
        text += "\n|---|---|";
        self.sizes.grids.iter().for_each(|_| text += "---|");
        text += "\n";
        for (start, theta) in self.sizes.starts.iter().enumerate() {
            for (time, steps) in self.sizes.times.iter().enumerate() {
                write!(text, "| {theta} | {steps} |").ok();
                for grid in 0..self.sizes.grids.len() {
                    let (against, form) = self.against_best(start, time, grid, Criterion::Median);
                    let [own, other] = [MADAM, form]
                        .map(|method| self.verdict(method, start, time, grid, Criterion::Median));
                    let ahead = format!("{:+.2}", other.median - own.median);
                    let cell = if against == Against::Even { format!("({ahead})") } else { ahead };
                    write!(text, " {cell} |").ok();
                }
                text += "\n";
            }
        }
        text
    }

    /// Every setting.
    pub fn table(&self) -> Table {
        let mut table = Table::new(
            "maxva-stochastic-settings",
            &[
                "optimizer",
                "start",
                "steps",
                "rates_per_decade",
                "chosen_by",
                "lr",
                "median_log10_f",
                "standard_error",
                "mean_f",
                "mean_standard_error",
                "share_above_start",
                "share_zero",
            ],
        );
        for (start, time, grid, criterion) in self.cells() {
            for (method, label) in LABELS.iter().enumerate() {
                let it = self.verdict(method, start, time, grid, criterion);
                let (steps, density) = (self.sizes.times[time], self.sizes.grids[grid]);
                let chosen = if criterion == Criterion::Median { "median" } else { "mean" };
                table.row(&[
                    label,
                    &self.sizes.starts[start],
                    &steps,
                    &density,
                    &chosen,
                    &it.rate,
                    &it.median,
                    &it.error,
                    &it.mean,
                    &it.mean_error,
                    &it.failed,
                    &it.zeros,
                ]);
            }
        }
        table
    }

    /// The search itself, from the first start.
    pub fn rate_table(&self) -> Table {
        let mut table = Table::new(
            "maxva-stochastic-rates",
            &["optimizer", "start", "steps", "lr", "median_log10_f", "mean_f"],
        );
        for (method, label) in LABELS.iter().enumerate() {
            for (time, steps) in self.sizes.times.iter().enumerate() {
                for (lr, found) in self.rates.iter().zip(&self.found[method][0][time]) {
                    table.row(&[label, &self.sizes.starts[0], steps, lr, &found[0], &found[1]]);
                }
            }
        }
        table
    }
}
