//! ACClip (with momentum and without), Adam, RMSProp, CClip, GClip and SGD on one problem, with noise of many kinds.

use super::contest_report::findings;
use super::noise::{Bank, Noise};
use super::{STEPS_PER_SUBMIT, Sweep};
use crate::Experiment;
use crate::harness::gpu::{Binding, Gpu, Kernel};
use crate::harness::report::Findings;
use crate::harness::stats;
use anyhow::Result;
use wgpu_optim::rules::{ACClip, Adam, CClip, RmsProp, Sgd};
use wgpu_optim::{AnyRule, PreparedStep, wgpu};

pub const EXPERIMENT: Experiment = Experiment {
    name: "heavy-tails-contest",
    title: "Heavy tails: ACClip, Adam, RMSProp, CClip, GClip and SGD, tuned, on the same noise",
    run,
};

pub const TAILS: [f64; 5] = [f64::INFINITY, 3.0, 2.0, 1.5, 1.2];
/// With one-sided and with symmetric noise of each tail.
pub const NOISES: usize = 2 * TAILS.len();
/// Equal scales and spread ones, stationary and falling.
pub const VARIANTS: [&str; 4] = [
    "equal scales, stationary",
    "spread scales, stationary",
    "equal scales, falling",
    "spread scales, falling",
];
pub const SCENARIOS: usize = VARIANTS.len() * NOISES;
pub const COORDINATES: usize = 16;
/// Powers of ten between the smallest and the largest scale, and between the first and the last step.
pub const SPREAD: f64 = 3.0;
pub const FALL: f64 = 2.0;
/// Rates of a search, each twice the one before.
const RATES: i32 = 16;
const SEEDS: [u32; 2] = [64, 65];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    Sgd,
    GClip,
    CClip,
    RmsProp,
    Adam,
    /// Without momentum, as RMSProp is Adam without.
    AcClipPlain,
    AcClip,
}

/// A rate, and a threshold or a beta2; 0 for SGD, which has neither.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    pub lr: f64,
    pub second: f64,
}

impl Algorithm {
    pub const ALL: [Self; 7] =
        [Self::Sgd, Self::GClip, Self::CClip, Self::RmsProp, Self::Adam, Self::AcClipPlain, Self::AcClip];

    pub fn name(self) -> &'static str {
        match self {
            Self::Sgd => "SGD",
            Self::GClip => "GClip",
            Self::CClip => "CClip",
            Self::RmsProp => "RMSProp",
            Self::Adam => "Adam",
            Self::AcClipPlain => "ACClip β1 = 0",
            Self::AcClip => "ACClip",
        }
    }

    /// Exponent of 2 of the smallest rate of the search.
    pub fn lowest(self) -> i32 {
        match self {
            Self::Sgd | Self::RmsProp | Self::Adam => -15,
            Self::GClip | Self::CClip | Self::AcClipPlain | Self::AcClip => -12,
        }
    }

    pub fn seconds(self) -> Vec<f64> {
        match self {
            Self::Sgd => vec![0.0],
            Self::GClip => (-2..7).map(|power| 4f64.powi(power)).collect(),
            Self::CClip => (-4..6).map(|power| 4f64.powi(power)).collect(),
            _ => vec![0.99, 0.999],
        }
    }

    pub fn settings(self) -> Vec<Setting> {
        let rates = (self.lowest()..self.lowest() + RATES).map(|power| 2f64.powi(power));
        rates.flat_map(|lr| self.seconds().into_iter().map(move |second| Setting { lr, second })).collect()
    }

    /// Whether the setting is at an end of the search where it might have gone on: the rate, or a threshold.
    pub fn at_edge(self, setting: Setting) -> bool {
        let rates = [self.lowest(), self.lowest() + RATES - 1].map(|power| 2f64.powi(power));
        let seconds = self.seconds();
        let clips = matches!(self, Self::GClip | Self::CClip);
        rates.contains(&setting.lr)
            || clips && [seconds[0], seconds[seconds.len() - 1]].contains(&setting.second)
    }

    fn rule(self, Setting { lr, second }: Setting) -> AnyRule {
        match self {
            // The kernel clips to a norm for each run.
            Self::Sgd | Self::GClip => AnyRule::new(Sgd { lr, ..Sgd::default() }),
            Self::CClip => AnyRule::new(CClip { lr, threshold: second, ..CClip::default() }),
            Self::RmsProp => AnyRule::new(RmsProp { lr, alpha: second, ..RmsProp::default() }),
            Self::Adam => AnyRule::new(Adam { lr, beta2: second, ..Adam::default() }),
            Self::AcClipPlain => AnyRule::new(ACClip { lr, beta1: 0.0, beta2: second, ..ACClip::default() }),
            Self::AcClip => AnyRule::new(ACClip { lr, beta2: second, ..ACClip::default() }),
        }
    }
}

/// How runs are summed up, for the search and for the ranking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Criterion {
    Median,
    Mean,
}

impl Criterion {
    pub const ALL: [Self; 2] = [Self::Median, Self::Mean];

    fn of(self, losses: &[f64]) -> f64 {
        match self {
            Self::Median => stats::median(losses),
            Self::Mean => stats::mean(losses),
        }
    }
}

/// The losses of a method in a scenario, one for each run, with what the search chose for it by a criterion.
#[derive(Debug)]
pub struct Entry {
    pub algorithm: Algorithm,
    pub setting: Setting,
    pub losses: Vec<f64>,
}

#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    pub steps: u32,
    pub search_runs: usize,
    pub runs: usize,
}

fn run(gpu: &Gpu) -> Result<Findings> {
    let sizes = gpu.pick(
        Sizes { steps: 1000, search_runs: 16, runs: 128 },
        Sizes { steps: 64, search_runs: 4, runs: 16 },
    );
    // Every setting in every scenario: a group for each setting.
    let all = Algorithm::ALL.map(Algorithm::settings);
    let searched =
        race(gpu, all.each_ref().map(|settings| &settings[..]), SCENARIOS, sizes.search_runs, sizes, 0)?;
    // Of each criterion the best setting in each scenario: a group for each scenario.
    let chosen: Vec<Vec<Setting>> =
        all.iter().zip(&searched).map(|(settings, losses)| choose(settings, losses)).collect();
    let chosen: [&[Setting]; 7] = std::array::from_fn(|place| &chosen[place][..]);
    let raced = race(gpu, chosen, 1, sizes.runs, sizes, 1)?;
    let mut entries = vec![];
    for ((algorithm, settings), losses) in Algorithm::ALL.into_iter().zip(chosen).zip(raced) {
        let entry = |(setting, losses): (&Setting, _)| Entry { algorithm, setting: *setting, losses };
        entries.extend(settings.iter().zip(losses).map(entry));
    }
    Ok(findings(&entries, sizes))
}

/// The losses of all methods, all in step and on the same noise: for each method's settings in their order, and of
/// each for so many scenarios, one vector with a loss for each run. Stage 0 is the search, 1 the race.
fn race(
    gpu: &Gpu,
    settings: [&[Setting]; 7],
    scenarios: usize,
    runs: usize,
    sizes: Sizes,
    stage: usize,
) -> Result<Vec<Vec<Vec<f64>>>> {
    let noises: Vec<Noise> = TAILS
        .iter()
        .map(|tail| Noise::one_sided(*tail, 1.0))
        .chain(TAILS.iter().map(|tail| Noise::symmetric(*tail, 1.0)))
        .collect();
    let bank = Bank::new(gpu, &noises, runs * COORDINATES, SEEDS[stage])?;
    let mut racers = vec![];
    for (algorithm, settings) in Algorithm::ALL.into_iter().zip(settings) {
        racers.push(Racer::new(gpu, &bank, algorithm, settings, scenarios, (runs, sizes.steps))?);
    }
    let mut encoder = gpu.encoder();
    for t in 1..=sizes.steps {
        let mut prepared: Vec<(PreparedStep<'_>, &Kernel, u32)> = vec![];
        for racer in &mut racers {
            let groups = racer.groups();
            prepared.push((racer.sweep.optimizer.prepare(&mut encoder)?, &racer.gradient, groups));
        }
        let mut pass = encoder.begin_compute_pass(&Default::default());
        bank.record(&mut pass, t);
        for (prepared, gradient, groups) in prepared {
            gradient.record(&mut pass, t, groups);
            prepared.encode(&mut pass);
        }
        drop(pass);
        if t.is_multiple_of(STEPS_PER_SUBMIT / 2) {
            gpu.submit(std::mem::replace(&mut encoder, gpu.encoder()));
            let share = f64::from(t) / f64::from(sizes.steps);
            let what = ["searching", "racing"][stage];
            gpu.progress(
                [0.8 * share, 0.8 + 0.2 * share][stage],
                &format!("{what}, step {t} of {}", sizes.steps),
            );
        }
    }
    gpu.submit(encoder);
    racers
        .iter()
        .map(|racer| {
            let losses: Vec<f32> = gpu.read(&racer.losses, 0..racer.runs)?;
            // A run that failed counts as the worst.
            let loss = |loss: &f32| if loss.is_nan() { f64::INFINITY } else { f64::from(*loss) };
            Ok(losses.chunks(runs).map(|runs| runs.iter().map(loss).collect()).collect())
        })
        .collect()
}

/// One method's runs.
struct Racer {
    sweep: Sweep<AnyRule>,
    gradient: Kernel,
    losses: wgpu::Buffer,
    runs: usize,
}

impl Racer {
    fn new(
        gpu: &Gpu,
        bank: &Bank,
        algorithm: Algorithm,
        settings: &[Setting],
        scenarios: usize,
        (runs, steps): (usize, u32),
    ) -> Result<Self> {
        let rules = settings.iter().map(|setting| algorithm.rule(*setting)).collect();
        let sweep = Sweep::new(gpu, rules, scenarios * runs * COORDINATES, 1.0)?;
        let losses = gpu.storage("losses", settings.len() * scenarios * runs);
        let threshold = |setting: &Setting| match algorithm {
            Algorithm::GClip => setting.second as f32,
            _ => f32::MAX,
        };
        let thresholds: Vec<f32> =
            settings.iter().flat_map(|setting| vec![threshold(setting); scenarios]).collect();
        let gradient = gpu.kernel_with(
            "gradient",
            include_str!("contest.wgsl"),
            &[
                ("RUNS", runs as f64),
                ("COORDINATES", COORDINATES as f64),
                ("NOISES", NOISES as f64),
                ("STEPS", steps.into()),
                ("WINDOW", (steps / 10).into()),
                ("SPREAD", SPREAD),
                ("FALL", FALL),
            ],
            &[
                Binding::Read(bank.buffer.slice(..)),
                Binding::Read(sweep.param.slice(..)),
                Binding::Write(sweep.grad.slice(..)),
                Binding::Write(losses.slice(..)),
                Binding::Read(gpu.upload("thresholds", &thresholds).slice(..)),
            ],
        )?;
        Ok(Self { sweep, gradient, losses, runs: settings.len() * scenarios * runs })
    }

    fn groups(&self) -> u32 {
        self.runs.div_ceil(64) as u32
    }
}

/// For each criterion and scenario the setting with the lowest loss.
fn choose(settings: &[Setting], losses: &[Vec<f64>]) -> Vec<Setting> {
    let mut chosen = vec![];
    for criterion in Criterion::ALL {
        for scenario in 0..SCENARIOS {
            let loss = |place: usize| criterion.of(&losses[place * SCENARIOS + scenario]);
            let best = (0..settings.len()).min_by(|a, b| loss(*a).total_cmp(&loss(*b)));
            chosen.push(settings[best.unwrap_or(0)]);
        }
    }
    chosen
}
