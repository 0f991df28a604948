//! Figures 8 and 9, and what is behind them.

use super::runs::{GROUPS, Rate, Simulation};
use super::{Curves, FIRST, GROWING, Point, growth, lengths, theory};
use crate::charts::{Axis, Chart, Panel, Series};

pub fn all(simulation: &Simulation, curves: &Curves) -> Vec<Chart> {
    let chart = |name: &str, title: &str, panels: [Panel; 2]| Chart {
        name: name.into(),
        title: title.into(),
        columns: 2,
        panels: panels.into(),
    };
    vec![
        chart(
            "radam-variance-equations",
            "Variance of the adaptive rate: equation 4 and its first-order approximation",
            [figure_8(simulation), rectification_panel(curves)],
        ),
        chart(
            "radam-variance-simulation",
            "Variance of the adaptive rate, simulated",
            [figure_9(curves), growth_panel(simulation)],
        ),
        chart(
            "radam-variance-rectified",
            "How steady the rectified variance is, simulated",
            [
                steadiness_panel(curves, "gradients N(0, 1)", &[0, 1, 2]),
                steadiness_panel(curves, "beta = 0.999, gradients N(mean, 1)", &[0, 3, 4, 5]),
            ],
        ),
    ]
}

fn figure_8(simulation: &Simulation) -> Panel {
    let line = |label: &str, style: usize, of: &dyn Fn(f64) -> f64| {
        let points = lengths().filter(|rho| (2.05..2000.0).contains(rho)).step_by(10);
        Series::line(label, points.map(|rho| (rho, of(rho))).collect()).style(style)
    };
    let beyond = |rho: f64, value: f64| if rho > 4.0 { value } else { f64::NAN };
    let seen: Vec<(f64, Rate)> = simulation
        .simple()
        .filter(|(_, t)| *t >= 3)
        .map(|(record, t)| (f64::from(t), simulation.adagrad.rate(record, 0)))
        .collect();
    let dots =
        Series::dots("simulated, simple average", seen.iter().map(|(t, rate)| (*t, rate.variance)).collect());
    Panel::new(
        "Equation 4 and its approximation (figure 8)",
        Axis::new("rho: degrees of freedom").log().range(2.0, 2000.0),
        Axis::new("variance of psi").log().range(1e-6, 100.0),
        vec![
            line("equation 4", 0, &theory::variance),
            line("equation 6, first order", 1, &|rho| beyond(rho, theory::first_order(rho))),
            line("their difference", 2, &|rho| beyond(rho, theory::first_order(rho) - theory::variance(rho))),
            dots.style(4),
        ],
    )
}

fn figure_9(curves: &Curves) -> Panel {
    let points = &curves.points[0];
    let line = |label: &str, style: usize, of: &dyn Fn(&Point) -> f64| {
        Series::line(label, points.iter().map(|point| (f64::from(point.t), of(point))).collect()).style(style)
    };
    let dots = |label: &str, style: usize, from: u32, of: &dyn Fn(&Point) -> Rate| {
        let points = points.iter().filter(|point| point.t >= from);
        Series::dots(label, points.map(|point| (f64::from(point.t), of(point).variance)).collect())
            .style(style)
    };
    Panel::new(
        "Simulated, beta = 0.999 (figure 9)",
        Axis::new("step t").log(),
        Axis::new("variance of psi and of r psi").log(),
        vec![
            line("exact, Adam", 0, &|point| point.exact),
            line("exact, RAdam", 1, &|point| point.exact_rectified),
            dots("simulated, Adam", 5, 1, &|point| point.adam),
            dots("simulated, RAdam", 3, FIRST, &|point| point.radam),
        ],
    )
}

fn growth_panel(simulation: &Simulation) -> Panel {
    let series = |(t, style): (u32, usize)| {
        Series::line(format!("psi at t = {t}"), growth(simulation, t)).style(style)
    };
    Panel::new(
        "Is the variance finite? Sample variances (medians)",
        Axis::new("coordinates").log(),
        Axis::new("sample variance of psi").log(),
        GROWING.into_iter().zip([4, 2, 6, 7]).map(series).collect(),
    )
}

fn rectification_panel(curves: &Curves) -> Panel {
    let limit = theory::variance(theory::rho_infinity(0.999));
    let line = |label: &str, style: usize, of: &dyn Fn(&Point) -> f64| {
        let points = curves.points[0].iter().map(|point| (f64::from(point.t), of(point))).collect();
        Series::line(label, points).style(style)
    };
    Panel::new(
        "The factor r from either, beta = 0.999",
        Axis::new("step t").log(),
        Axis::new("r").log(),
        vec![
            line("equation 6, first order", 1, &|point| point.r),
            line("exact variance of the exponential average", 3, &|point| (limit / point.exact).sqrt()),
        ],
    )
}

fn steadiness_panel(curves: &Curves, title: &str, groups: &[usize]) -> Panel {
    let same_mean = groups.iter().all(|group| GROUPS[*group].mean == 0.0);
    let series = |(number, group): (usize, &usize)| {
        let points: Vec<&Point> = curves.rectified(*group).collect();
        let last = points.last().map_or(f64::NAN, |point| point.exact_rectified);
        let of = GROUPS[*group];
        let label = if same_mean { format!("beta = {}", of.beta2) } else { format!("mean = {}", of.mean) };
        let style = number + if same_mean { 0 } else { 4 };
        let scaled = points.iter().map(|point| (f64::from(point.t), point.radam.variance / last));
        let error = |point: &&Point| {
            let (value, error) = (point.radam.variance / last, point.radam.error / last);
            (value - error, value + error)
        };
        Series::line(label, scaled.collect()).style(style).band(points.iter().map(error).collect())
    };
    Panel::new(
        title,
        Axis::new("step t").log(),
        Axis::new("variance of r psi / that of the last step").log(),
        groups.iter().enumerate().map(series).collect(),
    )
}
