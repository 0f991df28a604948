//! Curves and rates of MaxVA's section 4.1, as charts and tables.

use super::search::Search;
use super::{Curves, LABELS, Sizes};
use crate::charts::{Axis, Chart, Panel, Series};
use crate::harness::report::Table;
use crate::harness::stats::{median, quantile_sorted, sorted};

/// Runs of the paper's figure, whose standard error is drawn.
const RUNS: usize = 100;

type Values = Vec<(f64, f64)>;

/// Median over the first runs, and a standard error to either side.
fn summary(curves: &Curves<'_>, values: impl Fn(usize) -> Vec<f64>) -> (Values, Values) {
    let records = curves.times.iter().enumerate().map(|(record, time)| {
        let values = values(record);
        let values = sorted(&values[..RUNS.min(values.len())]);
        let aside = 0.5 / (values.len() as f64).sqrt();
        let at = |q| quantile_sorted(&values, q);
        ((f64::from(*time), at(0.5)), (at(0.5 - aside), at(0.5 + aside)))
    });
    records.unzip()
}

/// Figure 2: f, S1, S2 and their sum, at the rates of a fine and of a coarse search.
pub fn curves(curves: &Curves<'_>, densities: &[usize; 2]) -> Chart {
    let mut panels = vec![];
    for (rate, density) in densities.iter().enumerate() {
        let panel = |title: &str, x: Axis, y: Axis, of: &dyn Fn(usize, usize) -> Vec<f64>| {
            let series = LABELS.iter().enumerate().map(|(method, label)| {
                let (points, band) = summary(curves, |record| of(method, record));
                Series::line(*label, points).style(method).band(band)
            });
            let title = format!("{title}; best of {density} rates a decade");
            Panel::new(title, x, y, series.collect())
        };
        let step = || Axis::new("step");
        // Before the first change there is nothing to draw.
        let top = LABELS
            .iter()
            .enumerate()
            .map(|(method, _)| median(&curves.courses[method].measured(curves.times.len() - 1, 2, rate)));
        let top = 1.5 * top.fold(1.0, f64::max);
        let course = |method: usize| &curves.courses[method];
        panels.push(panel("Objective", step(), Axis::new("log10 f"), &|method, record| {
            course(method).log_f(record, rate, 0)
        }));
        panels.push(panel(
            "Accumulated update size",
            step().log(),
            Axis::new("S1").log(),
            &|method, record| course(method).measured(record, 1, rate),
        ));
        panels.push(panel(
            "Change of the step size",
            step().log(),
            Axis::new("S2").log().range(0.3, top),
            &|method, record| course(method).measured(record, 2, rate),
        ));
    }
    Chart {
        name: "maxva-stochastic".into(),
        title: format!(
            "MaxVA, equation 11: median and standard error of {RUNS} runs, each at its best constant rate"
        ),
        columns: 3,
        panels,
    }
}

/// f at the end over the rate.
pub fn rates(sizes: &Sizes, search: &Search<'_>) -> Chart {
    let panels = sizes.times.iter().enumerate().map(|(time, steps)| {
        let series = LABELS.iter().enumerate().map(|(method, label)| {
            let medians = search.medians(method, 0, time);
            Series::line(*label, sizes.rates().into_iter().zip(medians).collect()).style(method)
        });
        let (x, y) = (Axis::new("learning rate").log(), Axis::new("log10 f, median"));
        Panel::new(format!("After {steps} steps"), x, y, series.collect())
    });
    Chart {
        name: "maxva-stochastic-rates".into(),
        title: format!("MaxVA, equation 11, from θ = 1: which rate is best ({} runs at each)", sizes.runs[0]),
        columns: 2,
        panels: panels.collect(),
    }
}

/// The curves' medians over all runs.
pub fn curve_table(curves: &Curves<'_>, rates: &[Vec<f64>]) -> Table {
    let mut table = Table::new(
        "maxva-stochastic",
        &["optimizer", "lr", "step", "median_log10_f", "median_s1", "median_s2", "median_s1_plus_s2"],
    );
    for (method, label) in LABELS.iter().enumerate() {
        for (rate, lr) in rates[method].iter().enumerate() {
            for (record, time) in curves.times.iter().enumerate() {
                let course = &curves.courses[method];
                let log_f = median(&course.log_f(record, rate, 0));
                let [s1, s2] = [1, 2].map(|quantity| median(&course.measured(record, quantity, rate)));
                let sum = median(&curves.bound(method, record, rate));
                table.row(&[label, lr, time, &log_f, &s1, &s2, &sum]);
            }
        }
    }
    table
}
