//! Warm-up as the papers discuss it: Adam with none, with linear and with untuned linear warm-up, RAdam,
//! AdaMod and MAdam on a narrow, deep network, where the first steps matter.

mod claims;
mod figure;

use crate::Experiment;
use crate::harness::gpu::Gpu;
use crate::harness::report::{Findings, number};
use crate::harness::stats::mean;
use crate::replicas::{
    Counts, Digits, EPOCH, Histogram, History, Kind, Moves, Replicas, Setting, Task, When,
};
use anyhow::Result;
use wgpu_optim::rules::{AdaMod, Adam, MAdam, RAdam, adamod::Form};
use wgpu_optim::{AnyRule, Curve, Schedule, wgpu};

pub const EXPERIMENT: Experiment = Experiment {
    name: "warmup",
    title: "Warm-up: Adam with and without, RAdam, AdaMod and MAdam where the first steps matter",
    run,
};

const NAMES: [&str; 6] =
    ["Adam, no warm-up", "Adam, linear warm-up", "Adam, untuned warm-up", "RAdam", "AdaMod", "MAdam"];
const NONE: usize = 0;
const LINEAR: usize = 1;
const UNTUNED: usize = 2;
const RADAM: usize = 3;
const ADAMOD: usize = 4;
const MADAM: usize = 5;
const STYLES: [usize; 6] = [0, 5, 6, 1, 3, 4];

const BETA2: f64 = 0.99;
/// What is searched for: steps of the linear warm-up, and AdaMod's beta3.
const LENGTHS: [u64; 4] = [25, 50, 100, 400];
const BETA3S: [f64; 4] = [0.9, 0.99, 0.999, 0.9999];
/// Rates, by factors of two.
const FIRST_RATE: f64 = 2.5e-3;
const RATES: usize = 7;
/// From the best rate to a large one, in places of the grid.
const LARGE: usize = 2;
/// Seeds of the search; those of the comparison are others.
const SEARCH_SEED: usize = 1000;

/// The comparison, and what it was made with.
pub struct Comparison {
    rates: Vec<f64>,
    history: History,
    /// The place of the rate at which Adam with linear warm-up was best in the search, and of a large one.
    best: usize,
    large: usize,
    length: u64,
    beta3: f64,
    /// Mean move of a parameter, \[recorded step, replica\].
    moved_at: Vec<u32>,
    moves: Vec<Vec<f64>>,
    /// Gradients without and with linear warm-up at the large rate.
    gradients: [Counts; 2],
}

impl Comparison {
    fn setting(&self, method: usize, rate: usize) -> usize {
        method * self.rates.len() + rate
    }

    /// The place of the rate with the lowest mean final loss.
    fn best_rate(&self, method: usize) -> usize {
        lowest(&self.history, self.setting(method, 0)..self.setting(method, self.rates.len()))
    }

    /// The mean move of each seed's parameters at each recorded step, \[step, seed\].
    fn moves(&self, method: usize, rate: usize) -> impl Iterator<Item = (u32, &[f64])> {
        let from = self.setting(method, rate) * self.history.task.seeds;
        let seeds = from..from + self.history.task.seeds;
        self.moved_at.iter().zip(&self.moves).map(move |(t, all)| (*t, &all[seeds.clone()]))
    }
}

/// Of these settings the one with the lowest mean final loss, counted from the first.
fn lowest(history: &History, settings: std::ops::Range<usize>) -> usize {
    let loss = |setting: usize| mean(&history.final_loss(setting));
    let from = settings.start;
    settings.min_by(|a, b| loss(*a).total_cmp(&loss(*b))).map_or(0, |best| best - from)
}

fn adam(lr: f64) -> AnyRule {
    AnyRule::new(Adam { lr, beta2: BETA2, ..Adam::default() })
}

fn adamod(lr: f64, beta3: f64) -> AnyRule {
    AnyRule::new(AdaMod { lr, beta2: BETA2, beta3, form: Form::Paper, ..AdaMod::default() })
}

/// A rule at each rate.
fn sweep(rates: &[f64], factor: &Schedule, rule: impl Fn(f64) -> AnyRule) -> Vec<Setting> {
    rates.iter().map(|lr| Setting { rule: rule(*lr), factor: factor.clone() }).collect()
}

fn run(gpu: &Gpu) -> Result<Findings> {
    let digits = Digits::new(gpu)?;
    let steps = gpu.pick(20, 1) * EPOCH;
    let task = Task {
        layers: 6,
        units: 16,
        first_seed: 0,
        seeds: gpu.pick(12, 3),
        steps,
        every: EPOCH / 3,
        test_every: steps,
    };
    let rates: Vec<f64> = (0..RATES).map(|i| FIRST_RATE * f64::from(1 << i)).collect();
    let decay = Schedule::new(Curve::Cosine { peak: 1.0, end: 0.0, total: steps as u64 })?;
    let warm =
        |steps: u64| Ok::<_, anyhow::Error>(Schedule::constant(1.0)?.warmup(steps)?.times(decay.clone()));

    // On other seeds: how long a linear warm-up, and which beta3.
    let mut settings = vec![];
    for length in LENGTHS {
        settings.extend(sweep(&rates, &warm(length)?, adam));
    }
    for beta3 in BETA3S {
        settings.extend(sweep(&rates, &decay, |lr| adamod(lr, beta3)));
    }
    let searching = Task { first_seed: SEARCH_SEED, seeds: gpu.pick(4, 2), ..task };
    let search = Replicas::new(gpu, &digits, searching, &settings)?.train(
        gpu,
        |_, _, _| (),
        |share| gpu.progress(0.3 * share, "search"),
    )?;
    let place = |settings: std::ops::Range<usize>| {
        let best = lowest(&search, settings);
        (best / RATES, best % RATES)
    };
    let (length, best) = place(0..LENGTHS.len() * RATES);
    let (beta3, _) = place(LENGTHS.len() * RATES..settings.len());
    let (length, beta3, large) = (LENGTHS[length], BETA3S[beta3], (best + LARGE).min(RATES - 1));

    let untuned = Schedule::new(Curve::UntunedWarmup { beta2: BETA2 })?.times(decay.clone());
    let factors = [&decay, &warm(length)?, &untuned];
    let mut settings: Vec<Setting> = factors.iter().flat_map(|factor| sweep(&rates, factor, adam)).collect();
    settings.extend(sweep(&rates, &decay, |lr| {
        AnyRule::new(RAdam { lr, beta2: BETA2, threshold: 4.0, ..RAdam::default() })
    }));
    settings.extend(sweep(&rates, &decay, |lr| adamod(lr, beta3)));
    settings
        .extend(sweep(&rates, &decay, |lr| AnyRule::new(MAdam { lr, beta_max: BETA2, ..MAdam::default() })));

    let replicas = Replicas::new(gpu, &digits, task, &settings)?;
    let moved_at: Vec<u32> = (1..=steps as u32).filter(|t| *t <= 20 || t % 10 == 0).collect();
    let moves = Moves::new(gpu, &replicas, &moved_at)?;
    let counted: Vec<u32> = (1..=10).chain([20, 50, 100, 200, 500]).filter(|t| *t <= steps as u32).collect();
    let count = |method: usize| {
        let setting = method * RATES + large;
        Histogram::new(gpu, &replicas, setting, Kind::Gradient, &counted, |_| [0.0; 3])
    };
    let gradients = [count(NONE)?, count(LINEAR)?];
    let measure = |pass: &mut wgpu::ComputePass<'_>, t: u32, when| match when {
        When::Before => gradients.iter().for_each(|histogram| histogram.record(pass, t)),
        When::After => moves.record(pass, t),
    };
    let history = replicas.train(gpu, measure, |share| gpu.progress(0.3 + 0.7 * share, "comparison"))?;
    let gradients = [gradients[0].read(gpu)?, gradients[1].read(gpu)?];
    let moves = moves.read(gpu)?;
    let all = Comparison { rates, history, best, large, length, beta3, moved_at, moves, gradients };
    Ok(Findings {
        claims: claims::all(&all),
        charts: figure::charts(&all),
        tables: figure::tables(&all),
        notes: notes(&all, &digits),
    })
}

fn notes(all: &Comparison, digits: &Digits) -> String {
    let task = all.history.task;
    format!(
        "A 64-({})x{}-10 perceptron with max(x, 0), {} digits, batches of 32, {} steps with a rate that \
         falls along half a cosine to 0, {} seeds, beta1 0.9, beta2 {BETA2} (MAdam: 0.5 to {BETA2}), eps \
         1e-8: a network so narrow and deep that large first steps switch units off for good. Rates {} to {} \
         by factors of two. Chosen on other seeds, by the lowest mean final training loss over all rates: \
         linear warm-up over {} steps (of {LENGTHS:?}), beta3 {} (of {BETA3S:?}); and, for comparisons at \
         one rate, the best rate of Adam with that warm-up, {}, and the large rate {}. Untuned warm-up: \
         min(1, t (1 - beta2) / 2), {} steps. The average step size is the mean of |theta_t - theta_(t-1)| \
         over all parameters, which for Adam and MAdam is that of |eta m / (sqrt(v) + eps)|, as MaxVA's \
         section 5 defines it.",
        task.units,
        task.layers,
        digits.train,
        task.steps,
        task.seeds,
        number(all.rates[0]),
        number(all.rates[RATES - 1]),
        all.length,
        all.beta3,
        number(all.rates[all.best]),
        number(all.rates[all.large]),
        (2.0 / (1.0 - BETA2)).round()
    )
}
