//! The discussion: RMSProp as clipping with an adaptive threshold.

use super::noise::{Bank, Noise};
use super::{STEPS_PER_SUBMIT, Sweep};
use crate::Experiment;
use crate::charts::{Axis, Chart, Panel, Series};
use crate::harness::gpu::{Binding, Gpu};
use crate::harness::report::{Claim, Findings, Table, Verdict};
use anyhow::Result;
use wgpu_optim::rules::RmsProp;

pub const EXPERIMENT: Experiment =
    Experiment { name: "heavy-tails-rmsprop", title: "Heavy tails, discussion: RMSProp as clipping", run };

const BETAS: [f64; 3] = [0.9, 0.99, 0.999];
/// Far below every gradient, and among them.
const EPS: [f64; 2] = [1e-12, 0.1];
/// Odd, so that one has |g| = tau in its middle.
const BINS: usize = 121;
/// Gradients of the coordinates go over so many powers of ten, up to 10.
const DECADES: f64 = 5.0;
const TAIL: f64 = 1.2;
/// What f32 may add to a bound.
const ROUNDING: f64 = 1e-5;
const SEED: u32 = 66;

/// One configuration's ratios h_adam / h_clip.
struct Ratios {
    beta2: f64,
    eps: f64,
    /// For each range of |g| / tau: smallest and largest; NaN where there is none.
    bins: Vec<(f64, f64)>,
    steps: u32,
    /// Steps within the bounds as printed.
    inside: u32,
}

impl Ratios {
    fn range(&self) -> (f64, f64) {
        let (low, high) = (f64::INFINITY, f64::NEG_INFINITY);
        self.bins.iter().fold((low, high), |(low, high), bin| (low.min(bin.0), high.max(bin.1)))
    }
}

fn run(gpu: &Gpu) -> Result<Findings> {
    let (len, steps) = gpu.pick((1 << 13, 1000), (1 << 12, 100));
    let ratios = measure(gpu, len, steps)?;
    let range = |eps: Option<f64>| {
        let of = ratios.iter().filter(|ratios| eps.is_none_or(|eps| ratios.eps == eps)).map(Ratios::range);
        of.fold((f64::INFINITY, f64::NEG_INFINITY), |all, range| (all.0.min(range.0), all.1.max(range.1)))
    };
    Ok(Findings {
        claims: claims(&ratios, range(None), range(Some(EPS[0]))),
        charts: vec![chart(&ratios)],
        tables: vec![table(&ratios)],
        notes: notes(len, steps),
    })
}

fn measure(gpu: &Gpu, len: usize, steps: u32) -> Result<Vec<Ratios>> {
    let both: Vec<(f64, f64)> = EPS.iter().flat_map(|eps| BETAS.map(|beta2| (beta2, *eps))).collect();
    let bank = Bank::new(gpu, &[Noise::symmetric(TAIL, 1.0)], len, SEED)?;
    let rmsprop =
        |(beta2, eps): &(f64, f64)| RmsProp { lr: 1.0, alpha: *beta2, eps: *eps, ..RmsProp::default() };
    let mut sweep = Sweep::new(gpu, both.iter().map(rmsprop).collect(), len, 0.0)?;
    let gradient = gpu.kernel_with(
        "gradient",
        include_str!("rmsprop_gradient.wgsl"),
        &[("DECADES", DECADES)],
        &[
            Binding::Read(bank.buffer.slice(..)),
            Binding::Write(sweep.param.slice(..)),
            Binding::Write(sweep.grad.slice(..)),
        ],
    )?;
    let configs: Vec<[f32; 2]> = both.iter().map(|(beta2, eps)| [*beta2 as f32, *eps as f32]).collect();
    let v = gpu.storage("v", sweep.elements);
    let words = 2 * BINS + 2;
    let mut empty = [u32::MAX, 0].repeat(BINS);
    empty.extend([0, 0]);
    let found = gpu.upload("ratios", &empty.repeat(both.len()));
    let compare = gpu.kernel_with(
        "compare",
        include_str!("rmsprop_compare.wgsl"),
        &[("LEN", len as f64), ("BINS", BINS as f64)],
        &[
            Binding::Read(gpu.upload("configurations", &configs).slice(..)),
            Binding::Read(sweep.param.slice(..)),
            Binding::Read(sweep.grad.slice(..)),
            Binding::Write(v.slice(..)),
            Binding::Write(found.slice(..)),
        ],
    )?;
    let mut encoder = gpu.encoder();
    for t in 1..=steps {
        let groups = sweep.workgroups();
        let prepared = sweep.optimizer.prepare(&mut encoder)?;
        let mut pass = encoder.begin_compute_pass(&Default::default());
        bank.record(&mut pass, t);
        gradient.record(&mut pass, t, groups);
        prepared.encode(&mut pass);
        compare.record(&mut pass, t, groups);
        drop(pass);
        if t.is_multiple_of(STEPS_PER_SUBMIT) {
            gpu.submit(std::mem::replace(&mut encoder, gpu.encoder()));
            gpu.progress(f64::from(t) / f64::from(steps), &format!("step {t} of {steps}"));
        }
    }
    gpu.submit(encoder);
    let found: Vec<u32> = gpu.read(&found, 0..words * both.len())?;
    let ratios = both.iter().zip(found.chunks(words)).map(|((beta2, eps), found)| Ratios {
        beta2: *beta2,
        eps: *eps,
        bins: found[..2 * BINS]
            .chunks(2)
            .map(|pair| match pair[1] {
                0 => (f64::NAN, f64::NAN),
                _ => (f32::from_bits(pair[0]).into(), f32::from_bits(pair[1]).into()),
            })
            .collect(),
        steps: found[2 * BINS],
        inside: found[2 * BINS + 1],
    });
    Ok(ratios.collect())
}

/// The middle of a range of |g| / tau.
fn middle(bin: usize) -> f64 {
    10f64.powf(-3.0 + 6.0 * (bin as f64 + 0.5) / BINS as f64)
}

fn claims(ratios: &[Ratios], (low, high): (f64, f64), no_eps: (f64, f64)) -> Vec<Claim> {
    let steps: f64 = ratios.iter().map(|ratios| f64::from(ratios.steps)).sum();
    let inside: f64 = ratios.iter().map(|ratios| f64::from(ratios.inside)).sum();
    let within = |value: f64, low: f64, high: f64| value >= low - ROUNDING && value <= high + ROUNDING;
    let printed = within(low, 0.5, 2.0) && within(high, 0.5, 2.0);
    // The same steps against h_clip with eta = alpha / (eps + sqrt(beta2 v)), half as large.
    let holds = [low, high].iter().all(|ratio| within(2.0 * ratio, 0.5, 1.0))
        && [no_eps.0, no_eps.1].iter().all(|ratio| within(2.0 * ratio, 0.5f64.sqrt(), 1.0));
    vec![
        Claim {
            source: "Heavy tails, discussion",
            claim: "RMSProp is ACClip (β1 = 0) with η = 2α/(ε + √(β2 v)) and τ = (ε + √(β2 v))/√(1-β2): \
                    h_clip/2 ≤ h_adam ≤ 2 h_clip."
                .into(),
            paper: "h_adam/h_clip in [0.5, 2]".into(),
            ours: format!(
                "in [{low:.4}, {high:.4}]; {:.2} % of {:.0} million steps within the bounds",
                100.0 * inside / steps,
                steps / 1e6
            ),
            verdict: if printed { Verdict::Reproduced } else { Verdict::NotReproduced },
            why: "Reproduced if every ratio is within the bounds. As printed it lies in [1/4, 1/2]: with \
                  A = ε + √(β2 v) and r = |g|/τ, h_adam is α/(ε + √(β2 v + r² A²)), between α/(A + r A) and \
                  α/(A max(r, 1)), while h_clip is 2α/(A max(r, 1)). The factor 2 is too much. (The paper's line for \
                  h_clip also has a minus sign before x_k.)"
                .into(),
        },
        Claim {
            source: "Heavy tails, discussion, without the factor 2",
            claim: "With η = α/(ε + √(β2 v)): h_clip/2 ≤ h_adam ≤ h_clip, and h_clip/√2 ≤ h_adam where ε is \
                    negligible. So RMSProp is clipping at √(v β2/(1-β2)), within a factor √2."
                .into(),
            paper: String::new(),
            ours: format!(
                "h_adam/h_clip in [{:.4}, {:.4}]; with ε = {:e} in [{:.4}, {:.4}]; bounds {}",
                2.0 * low,
                2.0 * high,
                EPS[0],
                2.0 * no_eps.0,
                2.0 * no_eps.1,
                if holds { "kept by every step" } else { "broken" }
            ),
            verdict: Verdict::Found,
            why: "The largest difference is at |g| = τ, where the soft corner of the root meets the hard one of \
                  clipping; far from it h_adam and h_clip agree."
                .into(),
        },
    ]
}

fn chart(ratios: &[Ratios]) -> Chart {
    let extremes = |eps: f64, high: bool, scale: f64| -> Vec<(f64, f64)> {
        let of = |bin: usize| {
            let bins = ratios.iter().filter(|ratios| ratios.eps == eps).map(|ratios| ratios.bins[bin]);
            let bins = bins.filter(|bin| !bin.0.is_nan());
            let fold = |a: f64, b: f64| if a.is_nan() || (b > a) == high { b } else { a };
            scale * bins.map(|bin| if high { bin.1 } else { bin.0 }).fold(f64::NAN, fold)
        };
        (0..BINS).map(|bin| (middle(bin), of(bin))).collect()
    };
    let flat = |y: f64| vec![(1e-3, y), (1e3, y)];
    let panel = |title: &str, scale: f64, bounds: (f64, f64)| {
        let mut series = vec![
            Series::line("bounds stated in the title", flat(bounds.0)).style(7),
            Series::line("", flat(bounds.1)).style(7),
        ];
        for (place, eps) in EPS.into_iter().enumerate() {
            for high in [false, true] {
                let points = extremes(eps, high, scale);
                let label = if high { String::new() } else { format!("smallest and largest, ε = {eps:e}") };
                series.push(Series::line(label, points).style(place));
            }
        }
        let x = Axis::new("|g| / τ").log().range(1e-3, 1e3);
        Panel::new(title, x, Axis::new("h_adam / h_clip").range(0.0, 2.1), series)
    };
    Chart {
        name: "heavy-tails-rmsprop".into(),
        title: "Step sizes of RMSProp against those of clipping".into(),
        columns: 2,
        panels: vec![
            panel("as printed, η = 2α/(ε + √(β2 v)): in [½, 2]?", 1.0, (0.5, 2.0)),
            panel("η = α/(ε + √(β2 v)): in [½, 1]", 2.0, (0.5, 1.0)),
        ],
    }
}

fn table(ratios: &[Ratios]) -> Table {
    let mut table =
        Table::new("heavy-tails-rmsprop", &["beta2", "eps", "g_over_tau", "smallest_ratio", "largest_ratio"]);
    for ratios in ratios {
        for (bin, (low, high)) in ratios.bins.iter().enumerate().filter(|(_, bin)| !bin.0.is_nan()) {
            table.row(&[&ratios.beta2, &ratios.eps, &middle(bin), low, high]);
        }
    }
    table
}

fn notes(len: usize, steps: u32) -> String {
    format!(
        "h_adam is measured: `rmsprop` with lr = α = 1 steps from 0, so that the new parameter over -g is its step size. \
         h_clip is computed from the v before the step. {len} coordinates of scales from 10^{} to 10 for each of \
         β2 = {BETAS:?} and ε = {EPS:?}, {steps} steps of Student's t with {TAIL} degrees of freedom. Ratios are those of \
         the printed η; without its factor 2 they are twice as large.",
        1.0 - DECADES
    )
}
