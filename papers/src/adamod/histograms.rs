//! Which learning rates the coordinates have in the first steps: counted on the GPU, from the slots.

use super::paper;
use crate::charts::{Axis, Chart, Panel, Series};
use crate::harness::gpu::Gpu;
use crate::harness::report::{Claim, Findings, Table, Verdict, number, plus_minus};
use crate::harness::stats::{mean, standard_error};
use crate::replicas::{Counts, Digits, Histogram, Kind, Replicas, Setting, Task, curve, paired};
use anyhow::Result;
use wgpu_optim::rules::{AdaMod, Adam};
use wgpu_optim::{AnyRule, Schedule, wgpu};

/// The paper's setting for its Transformers.
const LR: f64 = 5e-4;
const BETA2: f64 = 0.98;
const EPS: f64 = 1e-9;
const BETA3: f64 = 0.9999;
const WARMUP: u64 = 4000;
/// "Extremely large", as a decade.
const LARGE: i32 = 4;
/// Share of the coordinates, in %, that counts as "lots".
const LOTS: f64 = 1.0;
/// Steps counted as the first ones.
const FIRST: u32 = 10;

const NAMES: [&str; 3] = ["Adam without warm-up", "Adam with linear warm-up", "AdaMod without warm-up"];
const STYLES: [usize; 3] = [0, 5, 3];
const SOURCE: [&str; 2] = ["AdaMod, figure 1", "AdaMod, figure 3"];

pub fn run(gpu: &Gpu, digits: &Digits, progress: impl FnMut(f64)) -> Result<Findings> {
    let last: u32 = gpu.pick(12, 6);
    let steps: Vec<u32> = (0..=last).map(|i| 1 << i).collect();
    let task = Task {
        layers: 1,
        units: 32,
        first_seed: 0,
        seeds: gpu.pick(8, 3),
        steps: 1 << last,
        every: 64,
        test_every: 1 << last,
    };
    let adam = AnyRule::new(Adam { lr: LR, beta2: BETA2, eps: EPS, ..Adam::default() });
    let adamod = paper(AdaMod { lr: LR, beta2: BETA2, beta3: BETA3, eps: EPS, ..AdaMod::default() });
    let constant = Schedule::constant(1.0)?;
    let warm = constant.clone().warmup(WARMUP)?;
    let settings = [
        Setting { rule: adam.clone(), factor: constant.clone() },
        Setting { rule: adam, factor: warm.clone() },
        Setting { rule: adamod, factor: constant.clone() },
    ];
    let replicas = Replicas::new(gpu, digits, task, &settings)?;
    let mut histograms = vec![];
    for (setting, (factor, kind)) in
        [(&constant, Kind::Adam), (&warm, Kind::Adam), (&constant, Kind::AdaMod)].into_iter().enumerate()
    {
        let row = |t: u32| {
            let lr = LR * factor.at(t.into());
            [lr as f32, (1.0 / (1.0 - BETA2.powi(t as i32))) as f32, EPS as f32]
        };
        histograms.push(Histogram::new(gpu, &replicas, setting, kind, &steps, row)?);
    }
    let parameters = replicas.parameters();
    let measure = |pass: &mut wgpu::ComputePass<'_>, t: u32, when| {
        if when == crate::replicas::When::After {
            histograms.iter().for_each(|histogram| histogram.record(pass, t));
        }
    };
    let history = replicas.train(gpu, measure, progress)?;
    let counts = histograms.iter().map(|histogram| histogram.read(gpu)).collect::<Result<Vec<_>>>()?;
    let losses: Vec<String> = (0..3)
        .map(|setting| {
            let loss = history.final_loss(setting);
            format!("{} {}", NAMES[setting], plus_minus(mean(&loss), standard_error(&loss)))
        })
        .collect();
    Ok(Findings {
        claims: vec![soaring(&counts), restrained(&counts), sources(&counts)],
        charts: vec![ridges(&counts), tails(&counts)],
        tables: vec![table(&counts)],
        notes: format!(
            "Histograms: the setting of the paper's Transformers, alpha {LR}, beta1 0.9, beta2 {BETA2}, eps \
             {EPS:e}, linear warm-up over {WARMUP} steps, beta3 {BETA3}, on a 64-{}-10 perceptron \
             ({parameters} parameters, {} seeds, batches of 32). A coordinate's rate is lr / (sqrt(v / bc2) \
             + eps), for AdaMod the smaller of that and s. Mean training loss at the end: {}.",
            task.units,
            task.seeds,
            losses.join(", ")
        ),
    })
}

/// The shares above [`LARGE`], a mean over the first steps for each seed: of all coordinates, and of those
/// without a gradient yet.
fn first(counts: &Counts) -> [Vec<f64>; 2] {
    let rows = (0..counts.steps.len()).filter(|row| counts.steps[*row] <= FIRST);
    let shares: Vec<[Vec<f64>; 2]> = rows.map(|row| counts.share_from(row, LARGE)).collect();
    [0, 1].map(|part| {
        let of = |seed: usize| mean(&shares.iter().map(|shares| shares[part][seed]).collect::<Vec<_>>());
        (0..shares[0][part].len()).map(of).collect()
    })
}

fn soaring(counts: &[Counts]) -> Claim {
    let ([without, never], [with, _]) = (first(&counts[0]), first(&counts[1]));
    let (difference, error) = paired(&without, &with);
    let verdict = match difference > 2.0 * error {
        true if mean(&without) >= LOTS => Verdict::Reproduced,
        true => Verdict::Partly,
        false => Verdict::NotReproduced,
    };
    let show = |values: &[f64]| plus_minus(mean(values), standard_error(values));
    Claim {
        source: SOURCE[0],
        claim: "Without warm-up, lots of Adam's learning rates soar over 10,000 in the first 10 updates; \
                with warm-up they do not."
            .into(),
        paper: "over 10,000".into(),
        ours: format!(
            "share of coordinates above 10,000 in the first {FIRST} steps: {} % without, {} % with warm-up; \
             {} % never had a gradient until then",
            show(&without),
            show(&with),
            show(&never)
        ),
        verdict,
        why: format!(
            "Reproduced if the share without warm-up is larger by two standard errors and at least {LOTS} %, \
             partly if only larger. A rate above 10,000 takes a root of v below {}: those are coordinates \
             whose pixel was empty, or whose unit was off, in all samples so far. Their rate is alpha / eps, \
             and they do not move.",
            number(LR / 10f64.powi(LARGE))
        ),
    }
}

fn restrained(counts: &[Counts]) -> Claim {
    let steps = &counts[0].steps;
    let quantile = |setting: usize, row: usize| counts[setting].quantile(row, 0.99);
    let mut lower = vec![];
    let mut shown = vec![];
    for (row, step) in steps.iter().enumerate() {
        let (adam, adamod) = (quantile(0, row), quantile(2, row));
        let (difference, error) = paired(&adam, &adamod);
        if difference > 2.0 * error {
            lower.push(*step);
        }
        if [0, steps.len() / 2, steps.len() - 1].contains(&row) {
            let show = |values: &[f64]| number(10f64.powf(mean(values)));
            let decades = if error < 1e-3 { number(difference) } else { plus_minus(difference, error) };
            shown.push(format!("step {step}: {} against {} ({decades} decades)", show(&adam), show(&adamod)));
        }
    }
    let verdict = match lower.len() {
        all if all == steps.len() => Verdict::Reproduced,
        0 => Verdict::NotReproduced,
        _ => Verdict::Partly,
    };
    Claim {
        source: SOURCE[1],
        claim: "AdaMod restrains extremely large learning rates throughout the training.".into(),
        paper: "(histograms only)".into(),
        ours: format!(
            "99 % of the coordinates with a gradient have a rate below, Adam's against AdaMod's: {}",
            shown.join("; ")
        ),
        verdict,
        why: format!(
            "Reproduced if AdaMod's is lower by two standard errors at all {} counted steps (1 to {}), \
             partly if at some: it is at {}. s starts at 0 and grows over 1 / (1 - beta3) steps.",
            steps.len(),
            steps[steps.len() - 1],
            lower.len()
        ),
    }
}

/// What the largest rates are.
fn sources(counts: &[Counts]) -> Claim {
    let last = counts[0].steps.len() - 1;
    let show = |setting: usize| {
        let [share, never] = counts[setting].share_from(last, LARGE);
        let other: Vec<f64> = share.iter().zip(&never).map(|(share, never)| share - never).collect();
        let text = |values: &[f64]| plus_minus(mean(values), standard_error(values));
        format!("{}: {} % never had a gradient, {} % had one", NAMES[setting], text(&never), text(&other))
    };
    Claim {
        source: SOURCE[1],
        claim: "Which coordinates have rates above 10,000 later.".into(),
        paper: String::new(),
        ours: format!("at step {}: {}; {}", counts[0].steps[last], show(0), show(2)),
        verdict: Verdict::Found,
        why: "AdaMod's bound is an average of alpha / eps too where no gradient ever came: there it only \
              delays."
            .into(),
    }
}

/// One panel a method, the steps above each other.
fn ridges(counts: &[Counts]) -> Chart {
    let rows =
        |counts: &Counts| (0..counts.steps.len()).flat_map(|row| counts.shares(row)).collect::<Vec<_>>();
    let highest = counts.iter().flat_map(rows).map(|(_, share)| share).fold(0.0, f64::max);
    let panel = |setting: usize| {
        let counts = &counts[setting];
        let series = counts.steps.iter().enumerate().map(|(row, step)| {
            let (base, shares) = (f64::from(*step), counts.shares(row));
            // The axis has powers of two above each other: a ridge may fill most of what is between two.
            let top = |share: f64| base * 2f64.powf(0.9 * (share / highest).sqrt());
            let shares = shares.into_iter().filter(|(rate, _)| (1e-6..1e7).contains(rate));
            let points: Vec<(f64, f64)> = shares.map(|(rate, share)| (rate, top(share))).collect();
            let band = points.iter().map(|(_, top)| (base, *top)).collect();
            Series::plain("", points).band(band)
        });
        let x = Axis::new("learning rate of a coordinate").log().range(1e-6, 1e7);
        let end = 2.0 * f64::from(counts.steps[counts.steps.len() - 1]);
        Panel::new(NAMES[setting], x, Axis::new("step").log().range(0.9, end), series.collect())
    };
    Chart {
        name: "adamod-histograms".into(),
        title: "AdaMod's figures 1 and 3 on the digits: learning rates at steps 1, 2, 4, ... (height: root \
                of the frequency)"
            .into(),
        columns: 3,
        panels: (0..3).map(panel).collect(),
    }
}

fn tails(counts: &[Counts]) -> Chart {
    let lines = |of: &dyn Fn(&Counts, usize) -> Vec<f64>| {
        let line = |setting: usize| {
            let points = counts[setting].steps.iter().enumerate();
            let points = points.map(|(row, step)| (f64::from(*step), of(&counts[setting], row)));
            curve(NAMES[setting], points).style(STYLES[setting])
        };
        (0..3).map(line).collect::<Vec<Series>>()
    };
    let step = || Axis::new("step").log();
    let quantile = lines(&|counts, row| counts.quantile(row, 0.99).iter().map(|x| 10f64.powf(*x)).collect());
    let share = lines(&|counts, row| counts.share_from(row, LARGE)[0].clone());
    Chart {
        name: "adamod-tails".into(),
        title: "Large learning rates over time: mean and standard error over seeds".into(),
        columns: 2,
        panels: vec![
            Panel::new(
                "99 % of the coordinates with a gradient are below",
                step(),
                Axis::new("learning rate of a coordinate").log(),
                quantile,
            ),
            Panel::new("rates above 10,000", step(), Axis::new("share of all coordinates (%)"), share),
        ],
    }
}

fn table(counts: &[Counts]) -> Table {
    let mut table = Table::new("adamod-histograms", &["method", "step", "rate", "share"]);
    for (name, counts) in NAMES.iter().zip(counts) {
        for (row, step) in counts.steps.iter().enumerate() {
            for (rate, share) in counts.shares(row).iter().filter(|(_, share)| *share > 0.0) {
                table.row(&[name, step, &number(*rate), share]);
            }
        }
    }
    table
}
