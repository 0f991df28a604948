//! MaxVA, section 4.1: eleven component functions, of which one is drawn at every step. Adam, AMSGrad in three
//! forms, MAdam, each at the constant rate that a search found best.

mod claims;
mod figure;
mod runs;
mod search;

use crate::Experiment;
use crate::harness::gpu::Gpu;
use crate::harness::report::{Findings, number};
use anyhow::Result;
use runs::{BETA2, Course, Entrant, Plan};
use search::Search;
use std::fmt::Write;
use wgpu_optim::AnyRule;
use wgpu_optim::rules::{Adam, MAdam, adam::AmsGrad};

pub const EXPERIMENT: Experiment = Experiment {
    name: "maxva-stochastic",
    title: "MaxVA, section 4.1: convergence with stochastic gradients (equation 11, figure 2)",
    run,
};

/// The forms of AMSGrad are `AMSGRAD` of these.
pub const LABELS: [&str; 5] = [
    "Adam",
    "AMSGrad, max of v, corrected afterwards (PyTorch)",
    "AMSGrad, max of corrected v (optax)",
    "AMSGrad, no correction (paper)",
    "MAdam",
];
const AMSGRAD: [usize; 3] = [1, 2, 3];
const MADAM: usize = 4;
const SHORT: [&str; 5] = ["Adam", "max of v", "max of corrected v", "no correction", "MAdam"];

/// Far below every sqrt(v) here.
const EPS: f64 = 1e-12;
const SEEDS: [u32; 3] = [1, 2, 3];

fn rule(method: usize, lr: f64) -> AnyRule {
    let adam =
        |amsgrad| AnyRule::new(Adam { lr, beta1: 0.0, beta2: BETA2, eps: EPS, amsgrad, ..Adam::default() });
    match method {
        0 => adam(AmsGrad::None),
        1 => adam(AmsGrad::Raw),
        2 => adam(AmsGrad::Corrected),
        3 => adam(AmsGrad::Paper),
        _ => AnyRule::new(madam(lr, None)),
    }
}

fn madam(lr: f64, beta_first: Option<f64>) -> MAdam {
    let (beta1, beta_min, beta_max) = (0.0, 0.5, 1.0);
    MAdam { lr, beta1, beta_min, beta_max, eps: EPS, delta: 0.0, beta_first, ..MAdam::default() }
}

fn entrant(method: usize, rates: &[f64]) -> Entrant {
    Entrant {
        rules: rates.iter().map(|lr| rule(method, *lr)).collect(),
        slots: [("v", None), ("v_max", None), ("v_max", None), ("v_max", None), ("S", Some("u"))][method],
        corrected: method < 2,
        // What Adam remembers shrinks with theta, so that it has no part without scale.
        rescales: method > 0,
    }
}

/// Sizes of a full and of a quick run.
pub struct Sizes {
    /// Rates a decade, each a divisor of the last; from 0.01 up, over two and a quarter decades.
    pub grids: Vec<usize>,
    pub starts: Vec<f32>,
    /// Steps after which methods are compared.
    pub times: Vec<u32>,
    /// From every start: to choose the rate, to judge it, and for the curves.
    pub runs: [usize; 3],
}

impl Sizes {
    fn new(gpu: &Gpu) -> Self {
        Self {
            grids: gpu.pick(vec![2, 5, 10, 20, 80], vec![4, 20]),
            starts: vec![1.0, 0.5, 2.0],
            times: gpu.pick(vec![100, 300, 1000, 3000], vec![30, 100, 300]),
            runs: gpu.pick([256, 1024, 4096], [64, 128, 128]),
        }
    }

    pub fn rates(&self) -> Vec<f64> {
        let finest = self.grids[self.grids.len() - 1];
        (0..=9 * finest / 4).map(|k| 10f64.powf(k as f64 / finest as f64 - 2.0)).collect()
    }

    fn last(&self) -> u32 {
        self.times[self.times.len() - 1]
    }
}

fn run(gpu: &Gpu) -> Result<Findings> {
    let sizes = Sizes::new(gpu);
    let methods: Vec<usize> = (0..LABELS.len()).collect();
    let rates = sizes.rates();
    let mut plan = Plan {
        starts: &sizes.starts,
        runs: sizes.runs[0],
        records: &sizes.times,
        measures: false,
        seed: SEEDS[0],
    };
    let entrants: Vec<Entrant> = methods.iter().map(|method| entrant(*method, &rates)).collect();
    let courses = runs::run(gpu, &entrants, &plan, |share| {
        gpu.progress(0.5 * share, &format!("search over {} rates", rates.len()));
    })?;
    let mut search = Search::new(&sizes, &courses);

    // The chosen rates again, on other draws: the best of many is too good on those that it was chosen by.
    (plan.runs, plan.seed) = (sizes.runs[1], SEEDS[1]);
    let entrants: Vec<Entrant> =
        methods.iter().map(|method| entrant(*method, &search.chosen_rates(*method))).collect();
    let judged = runs::run(gpu, &entrants, &plan, |share| {
        gpu.progress(0.5 + 0.4 * share, "the chosen rates, on other draws");
    })?;
    search.judge(judged);

    // The curves, at the best rates of the finest grid and of a coarse one.
    let grids = [sizes.grids.len() - 1, sizes.grids.len() / 2];
    let curve_rates: Vec<Vec<f64>> = methods
        .iter()
        .map(|method| {
            grids.iter().map(|grid| search.best(*method, 0, sizes.times.len() - 1, *grid)).collect()
        })
        .collect();
    let times = curve_times(sizes.last());
    plan = Plan { starts: &[1.0], runs: sizes.runs[2], records: &times, measures: true, seed: SEEDS[2] };
    let entrants: Vec<Entrant> =
        methods.iter().zip(&curve_rates).map(|(method, rates)| entrant(*method, rates)).collect();
    let curves = runs::run(gpu, &entrants, &plan, |share| gpu.progress(0.9 + 0.07 * share, "curves"))?;

    let firsts = [0.0, 0.5, 0.9, 0.999];
    let rules = firsts.iter().map(|beta| AnyRule::new(madam(curve_rates[MADAM][1], Some(*beta)))).collect();
    let same = Entrant { rules, ..entrant(MADAM, &[]) };
    plan =
        Plan { starts: &[1.0], runs: sizes.runs[1], records: &sizes.times, measures: false, seed: SEEDS[2] };
    let same =
        &runs::run(gpu, &[same], &plan, |share| gpu.progress(0.97 + 0.03 * share, "beta at t = 1"))?[0];

    let curves = Curves { times: &times, courses: &curves };
    let claims = vec![
        claims::adam_diverges(&sizes, &search),
        claims::madam_below(&sizes, &search),
        claims::mean_below(&sizes, &search),
        claims::settles(&curves),
        claims::smaller_s1(&curves),
        claims::grows_slowly(&curves),
        claims::larger_s2(&curves),
        claims::one_rate(&sizes, &search, &curves),
        claims::beta_first(&sizes, same, &firsts),
    ];
    let charts =
        vec![figure::curves(&curves, &grids.map(|grid| sizes.grids[grid])), figure::rates(&sizes, &search)];
    let tables = vec![figure::curve_table(&curves, &curve_rates), search.table(), search.rate_table()];
    Ok(Findings { claims, charts, tables, notes: notes(&sizes, &search, &curve_rates) })
}

/// What was recorded of the curves: rate 0 is the finest grid's best, 1 a coarse grid's.
pub struct Curves<'a> {
    pub times: &'a [u32],
    pub courses: &'a [Course],
}

impl Curves<'_> {
    fn last(&self) -> usize {
        self.times.len() - 1
    }

    /// S1 + S2 of every run.
    pub fn bound(&self, method: usize, record: usize, rate: usize) -> Vec<f64> {
        let course = &self.courses[method];
        let (s1, s2) = (course.measured(record, 1, rate), course.measured(record, 2, rate));
        s1.iter().zip(s2).map(|(s1, s2)| s1 + s2).collect()
    }
}

/// Every step at first, then evenly in their logarithm.
fn curve_times(last: u32) -> Vec<u32> {
    let mut times: Vec<u32> = (1..=30.min(last)).collect();
    let mut next = 30f64;
    while times[times.len() - 1] < last {
        next *= 1.06;
        times.push((next.round() as u32).min(last));
    }
    times
}

fn notes(sizes: &Sizes, search: &Search<'_>, curve_rates: &[Vec<f64>]) -> String {
    let rates = sizes.rates();
    let mut text = format!(
        "**Settings.** The paper's: alpha = 0; Adam and AMSGrad with beta = 0.9; MAdam with (0.5, 1). Left out there and \
         chosen here: theta starts at 1 (the edge of the quadratic part; {} too, in the table), {} steps, eps = {EPS:e}, delta \
         = 0. The rate is searched for each optimizer, number of steps and start among {} from {} to {}, by the median of f \
         over {} runs, on grids of {:?} rates a decade that are parts of each other; what is reported comes from {} other \
         runs at the chosen rate. Every optimizer sees the same draws, and all rates, starts and runs of one advance in one \
         dispatch.\n\n",
        sizes.starts[1..].iter().map(|start| start.to_string()).collect::<Vec<_>>().join(" and "),
        sizes.last(),
        rates.len(),
        number(rates[0]),
        number(rates[rates.len() - 1]),
        sizes.runs[0],
        sizes.grids,
        sizes.runs[1],
    );
    let lr =
        |(label, rates): (&&str, &Vec<f64>)| format!("{label} {} and {}", number(rates[0]), number(rates[1]));
    let lr: Vec<String> = SHORT.iter().zip(curve_rates).map(lr).collect();
    write!(text, "**Rates of the curves**, upper and lower row: {}.\n\n", lr.join("; ")).ok();
    text += "**Below f32.** f leaves f32 within some hundred steps and theta within a thousand. Below |theta| = 2^-80 \
             the problem has no scale, since v no longer changes: theta and gradient are then multiplied by powers of \
             two, and log |theta| is kept. Where theta is 0 exactly in one of the methods, a run is not compared; ";
    writeln!(text, "that happened in up to {:.2} % of the runs of a setting.\n", 100.0 * search.most_zeros())
        .ok();
    text += "**Where MAdam ends below AMSGrad**, by how many decades of f (median; positive: MAdam is lower than the \
             best form of AMSGrad; in brackets: within two standard errors). It depends on grid, time and start.\n\n";
    text + &search.markdown()
}
