//! RAdam: the variance of the adaptive rate, in equations and simulated (figures 8 and 9).

mod charts;
mod claims;
mod runs;
mod theory;

use crate::Experiment;
use crate::harness::gpu::Gpu;
use crate::harness::report::{Findings, Table};
use crate::harness::stats::median;
use anyhow::Result;
use runs::{BLOCK, GROUPS, Rate, Simulation, simulate};

pub const EXPERIMENT: Experiment = Experiment {
    name: "radam-variance",
    title: "RAdam, figures 8 and 9: the variance of the adaptive rate, with and without rectification",
    run,
};

/// The first step that RAdam rectifies.
const FIRST: u32 = 5;
/// Steps whose growth of the sample variance is looked at.
const GROWING: [u32; 4] = [1, 2, 3, 5];

fn run(gpu: &Gpu) -> Result<Findings> {
    let simulation = simulate(gpu, 1)?;
    let curves = Curves::new(&simulation);
    let notes = format!(
        "{} coordinates with beta = 0.999 and gradients N(0, 1), {} for every other pair of beta and mean. \
         The rate psi is what the library's own step shows: with lr = 1, no momentum, eps = 0 and theta = \
         0 before the step, theta is -g psi after it. Adam's is the exponential average's, RAdam's \
         (threshold 4) is r psi, AdaGrad's times sqrt(t) is that of the simple average, for which psi^2 is \
         scaled inverse chi squared with rho = t degrees of freedom. All see the same gradients. Lines \
         called exact are integrals of the transform of v, for the exponential average itself. Standard \
         errors come from blocks of {BLOCK} coordinates; they mean little below t = 9, where the eighth \
         moment of psi is infinite, and the variance itself is infinite for t = 1 and 2.\n\n\
         The slides' figures show neither beta nor the number of coordinates of the simulation in their \
         text.",
        simulation.adam.coordinates(),
        gpu.pick(1 << 16, 1 << 12),
    );
    Ok(Findings {
        claims: claims::all(&simulation, &curves),
        charts: charts::all(&simulation, &curves),
        tables: vec![table(&curves), simple_table(&simulation)],
        notes,
    })
}

/// What is known and what was seen of a group at a recorded step.
struct Point {
    t: u32,
    /// Exact variance of the exponential average's rate, and of the rectified one.
    exact: f64,
    exact_rectified: f64,
    r: f64,
    adam: Rate,
    radam: Rate,
}

struct Curves {
    /// By group.
    points: Vec<Vec<Point>>,
}

impl Curves {
    fn new(simulation: &Simulation) -> Self {
        let point = |group: usize, (record, t): (usize, &u32)| {
            let (beta2, mean) = (GROUPS[group].beta2, GROUPS[group].mean);
            let (exact, r) = (theory::exact(beta2, *t, mean).1, theory::rectification(beta2, *t));
            Point {
                t: *t,
                exact,
                exact_rectified: r * r * exact,
                r,
                adam: simulation.adam.rate(record, group),
                radam: simulation.radam.rate(record, group),
            }
        };
        let of = |group| simulation.records.iter().enumerate().map(|record| point(group, record)).collect();
        Self { points: (0..GROUPS.len()).map(of).collect() }
    }

    /// The points at which RAdam rectifies.
    fn rectified(&self, group: usize) -> impl Iterator<Item = &Point> {
        self.points[group].iter().filter(|point| point.t >= FIRST)
    }

    /// Largest over smallest simulated variance where RAdam rectifies: without rectification and with it.
    fn unsteadiness(&self, group: usize) -> [f64; 2] {
        let of = |variance: &dyn Fn(&Point) -> f64| {
            let (low, high) = self
                .rectified(group)
                .map(variance)
                .fold((f64::INFINITY, 0f64), |ends, x| (ends.0.min(x), ends.1.max(x)));
            high / low
        };
        [of(&|point| point.adam.variance), of(&|point| point.radam.variance)]
    }
}

/// Values of rho from 2.01 to 2000, the length for beta = 0.999.
fn lengths() -> impl Iterator<Item = f64> {
    (0..).map(|i| 2.0 + 10f64.powf(f64::from(i) / 1000.0 - 2.0)).take_while(|rho| *rho < 2000.0)
}

/// Number of coordinates and the median of the sample variances of so many.
fn growth(simulation: &Simulation, t: u32) -> Vec<(f64, f64)> {
    let record = simulation.at(t);
    let lots = (0..).map(|k| BLOCK << k).take_while(|n| *n <= simulation.adam.coordinates() / 16);
    lots.map(|n| (n as f64, median(&simulation.adam.variances_of(record, n)))).collect()
}

fn table(curves: &Curves) -> Table {
    let columns = [
        "beta2",
        "mean",
        "t",
        "rho",
        "r",
        "exact",
        "adam",
        "adam_se",
        "exact_rectified",
        "radam",
        "radam_se",
    ];
    let mut table = Table::new("radam-variance", &columns);
    for (group, points) in GROUPS.iter().zip(&curves.points) {
        for point in points {
            let rho = theory::rho(group.beta2, point.t);
            let (adam, radam) = (&point.adam, &point.radam);
            table.row(&[
                &group.beta2,
                &group.mean,
                &point.t,
                &rho,
                &point.r,
                &point.exact,
                &adam.variance,
                &adam.error,
                &point.exact_rectified,
                &radam.variance,
                &radam.error,
            ]);
        }
    }
    table
}

fn simple_table(simulation: &Simulation) -> Table {
    let columns =
        ["rho", "equation_4", "first_order", "simulated", "se", "mean", "simulated_mean", "mean_se"];
    let mut table = Table::new("radam-variance-simple", &columns);
    for (record, t) in simulation.simple() {
        let (rho, rate) = (f64::from(t), simulation.adagrad.rate(record, 0));
        let known = |value: f64, from: u32| if t < from { f64::INFINITY } else { value };
        let first_order = known(theory::first_order(rho), 5);
        let (variance, mean) = (known(theory::variance(rho), 3), known(theory::mean(rho), 2));
        table.row(&[
            &t,
            &variance,
            &first_order,
            &rate.variance,
            &rate.error,
            &mean,
            &rate.mean,
            &rate.mean_error,
        ]);
    }
    table
}
