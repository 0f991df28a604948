//! Theorem 4: how fast projected GClip converges, with the threshold as printed, G k^(alpha - 1), and with
//! G k^(1 / alpha).

use super::noise::{Bank, Noise};
use super::{STEPS_PER_SUBMIT, Sweep, rate_report};
use crate::Experiment;
use crate::harness::gpu::{Binding, Gpu};
use crate::harness::report::Findings;
use crate::harness::stats;
use anyhow::Result;
use wgpu_optim::rules::CClip;

pub const EXPERIMENT: Experiment = Experiment {
    name: "heavy-tails-rate",
    title: "Heavy tails, theorem 4: the rate of projected GClip, with two thresholds",
    run,
};

pub const ALPHAS: [f64; 4] = [1.2, 1.5, 1.8, 2.0];
/// The domain is [-BOUND, BOUND]; f(x) = x^2 / 2, so mu is 1.
pub const BOUND: f64 = 4.0;
/// `E|g|^alpha <= G^alpha` by Minkowski's inequality, for |x|, for noise with `E|xi|^alpha = 1`, and for the mean that
/// is taken off it.
pub const G: f64 = BOUND + 2.0;
/// Probabilities of the large value of rare noise: 2^-1, 2^-2 ...
pub const RARE: usize = 18;
/// As many of them as symmetric noise has: no squared bias to look for.
const SYMMETRIC: usize = 14;
/// Kinds of noise for each alpha.
const KINDS: usize = RARE + SYMMETRIC + 2;
/// Tail index of the fixed noise, above alpha.
pub const ABOVE: f64 = 0.1;
/// Batches of runs, for standard errors.
const BATCHES: usize = 8;
const SEED: u32 = 62;

/// How the threshold grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threshold {
    Printed,
    Corrected,
}

impl Threshold {
    pub const ALL: [Self; 2] = [Self::Printed, Self::Corrected];

    pub fn exponent(self, alpha: f64) -> f64 {
        match self {
            Self::Printed => alpha - 1.0,
            Self::Corrected => 1.0 / alpha,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// At each k the worst of the rare noises.
    WorstOneSided,
    WorstSymmetric,
    /// One distribution with a tail index a little above alpha.
    FixedOneSided,
    FixedSymmetric,
}

impl Family {
    pub const ALL: [Self; 4] =
        [Self::WorstOneSided, Self::WorstSymmetric, Self::FixedOneSided, Self::FixedSymmetric];

    /// Places in [`kinds`], and how many of the first count for the error at k = 2^n: probabilities 2^-1 to 2^-n.
    /// Rarer values are not met in most runs, and at these k the domain's border stops their steps.
    fn kinds(self, k: u32) -> (std::ops::Range<usize>, usize) {
        let kinds = match self {
            Self::WorstOneSided => 0..RARE,
            Self::WorstSymmetric => RARE..RARE + SYMMETRIC,
            Self::FixedOneSided => KINDS - 2..KINDS - 1,
            Self::FixedSymmetric => KINDS - 1..KINDS,
        };
        (kinds, k.ilog2() as usize)
    }
}

fn kinds(alpha: f64) -> Vec<Noise> {
    let p = |count: usize| (1..=count).map(|power| 0.5f64.powi(power as i32));
    let rare = p(RARE).map(|p| Noise::rare(p, alpha));
    let symmetric = p(SYMMETRIC).map(|p| Noise::rare_symmetric(p, alpha));
    let fixed = [Noise::one_sided(alpha + ABOVE, alpha), Noise::symmetric(alpha + ABOVE, alpha)];
    rare.chain(symmetric).chain(fixed).collect()
}

/// Errors of one threshold, alpha and family at each of the recorded k, with the slopes of their logarithms.
#[derive(Debug)]
pub struct Curve {
    pub alpha: f64,
    pub threshold: Threshold,
    pub family: Family,
    /// Mean of f and its standard error.
    pub error: Vec<(f64, f64)>,
    /// The part of f that is the squared mean of the average: what more runs would not remove.
    pub bias: Vec<f64>,
    pub slope: (f64, f64),
    pub bias_slope: (f64, f64),
}

/// The k that are recorded, and from which on slopes are fitted.
#[derive(Debug)]
pub struct Times {
    pub at: Vec<u32>,
    pub fit_from: u32,
}

fn run(gpu: &Gpu) -> Result<Findings> {
    let (runs, last) = gpu.pick((1024, 14), (64, 8));
    let times = Times { at: (3..=last).map(|power| 1 << power).collect(), fit_from: 1 << (last - 5) };
    let moments = measure(gpu, runs, &times.at)?;
    let mut curves = vec![];
    for (place, threshold) in Threshold::ALL.into_iter().enumerate() {
        for (alpha_place, alpha) in ALPHAS.into_iter().enumerate() {
            let block = (place * ALPHAS.len() + alpha_place) * KINDS;
            for family in Family::ALL {
                curves.push(curve((alpha, threshold, family), &moments, block, runs, &times));
            }
        }
    }
    Ok(rate_report::findings(&curves, &times, runs))
}

/// For each time, block (threshold, alpha, kind of noise) and batch: mean and mean square of the average.
fn measure(gpu: &Gpu, runs: usize, times: &[u32]) -> Result<Vec<Vec<[f32; 2]>>> {
    let noises: Vec<Noise> = ALPHAS.into_iter().flat_map(kinds).collect();
    let bank = Bank::new(gpu, &noises, runs, SEED)?;
    let both = Threshold::ALL.map(|threshold| ALPHAS.map(|alpha| (threshold, alpha)));
    let configs: Vec<_> = both.into_iter().flatten().collect();
    let len = KINDS * runs;
    let start = vec![CClip::default(); configs.len()];
    let mut sweep = Sweep::new(gpu, start, len, BOUND as f32)?;
    let (gradient, average) = sweep.gradient(gpu, &bank.buffer, BOUND)?;
    let batches = sweep.elements / (runs / BATCHES);
    let trace = gpu.storage("trace", times.len() * batches * 2);
    let moments = gpu.kernel_with(
        "moments",
        include_str!("rate_moments.wgsl"),
        &[("BATCH", (runs / BATCHES) as f64)],
        &[Binding::Read(average.slice(..)), Binding::Write(trace.slice(..))],
    )?;

    let last = *times.last().unwrap_or(&0);
    let mut encoder = gpu.encoder();
    let mut recorded = 0;
    for k in 1..=last {
        for (group, (threshold, alpha)) in sweep.groups.iter().zip(&configs) {
            let cclip = sweep.optimizer.group_mut(*group)?;
            cclip.lr = 4.0 / (f64::from(k) + 1.0);
            cclip.threshold = G * f64::from(k).powf(threshold.exponent(*alpha));
        }
        let workgroups = sweep.workgroups();
        let prepared = sweep.optimizer.prepare(&mut encoder)?;
        let mut pass = encoder.begin_compute_pass(&Default::default());
        bank.record(&mut pass, k);
        gradient.record(&mut pass, k, workgroups);
        if times[recorded] == k {
            moments.record(&mut pass, recorded as u32, batches.div_ceil(64) as u32);
            recorded += 1;
        }
        prepared.encode(&mut pass);
        drop(pass);
        if k.is_multiple_of(STEPS_PER_SUBMIT) {
            gpu.submit(std::mem::replace(&mut encoder, gpu.encoder()));
            gpu.progress(f64::from(k) / f64::from(last), &format!("step {k} of {last}"));
        }
    }
    gpu.submit(encoder);
    let trace: Vec<[f32; 2]> = gpu.read(&trace, 0..times.len() * batches * 2)?;
    Ok(trace.chunks(batches).map(<[_]>::to_vec).collect())
}

/// Takes at each time the worst block of the family, which starts at `start`. Standard errors by leaving out one
/// batch after the other.
fn curve(
    (alpha, threshold, family): (f64, Threshold, Family),
    moments: &[Vec<[f32; 2]>],
    start: usize,
    runs: usize,
    times: &Times,
) -> Curve {
    // At a time, without one batch (or with all): the worst f, and the worst squared bias.
    let worst = |(k, all): (&u32, &Vec<[f32; 2]>), without: usize| {
        let (kinds, met) = family.kinds(*k);
        kinds.enumerate().fold((0.0, 0.0), |worst: (f64, f64), (place, kind)| {
            let batches = &all[(start + kind) * BATCHES..][..BATCHES];
            let kept =
                batches.iter().enumerate().filter(|(batch, _)| *batch != without).map(|(_, sums)| sums);
            let kept: Vec<_> = kept.collect();
            let part =
                |part: usize| kept.iter().map(|sums| f64::from(sums[part])).sum::<f64>() / kept.len() as f64;
            let (mean, square) = (part(0), part(1));
            let n = (runs / BATCHES * kept.len()) as f64;
            // Without what the mean of so many runs differs from its expectation.
            let bias = mean * mean - (square - mean * mean) / (n - 1.0);
            let f = if place < met { square / 2.0 } else { 0.0 };
            (worst.0.max(f), worst.1.max(bias / 2.0))
        })
    };
    let replicas: Vec<Vec<(f64, f64)>> = (0..=BATCHES)
        .map(|without| times.at.iter().zip(moments).map(|at| worst(at, without)).collect())
        .collect();
    let fitted: Vec<usize> = (0..times.at.len()).filter(|at| times.at[*at] >= times.fit_from).collect();
    let x: Vec<f64> = fitted.iter().map(|at| f64::from(times.at[*at]).ln()).collect();
    let slopes = |part: fn(&(f64, f64)) -> f64| {
        let of = |replica: &Vec<(f64, f64)>| {
            stats::slope(&x, &fitted.iter().map(|at| part(&replica[*at]).ln()).collect::<Vec<_>>()).0
        };
        let left_out: Vec<f64> = replicas[..BATCHES].iter().map(of).collect();
        (of(&replicas[BATCHES]), jackknife(&left_out))
    };
    let error = |at: usize| {
        let left_out: Vec<f64> = replicas[..BATCHES].iter().map(|replica| replica[at].0).collect();
        (replicas[BATCHES][at].0, jackknife(&left_out))
    };
    Curve {
        alpha,
        threshold,
        family,
        error: (0..times.at.len()).map(error).collect(),
        bias: replicas[BATCHES].iter().map(|point| point.1).collect(),
        slope: slopes(|point| point.0),
        bias_slope: slopes(|point| point.1),
    }
}

/// The standard error from values that leave out one batch each.
fn jackknife(left_out: &[f64]) -> f64 {
    let n = left_out.len() as f64;
    stats::deviation(left_out) * (n - 1.0) / n.sqrt()
}
