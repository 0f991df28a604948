//! ACClip, figures 1, 2 and 4: how far gradients of batches lie from their mean, in attention and without.

use super::Experiment;
use crate::contest::verdict;
use crate::data::{Data, Gaussian, TEXT_TOKENS};
use crate::lab::{Lab, Trainer, train};
use crate::methods::named;
use crate::models::{Convolutions, Network, Norm, Residual, flat, judge};
use crate::store::{Job, Store};
use crate::tasks::{Task, Tasks, reader};
use anyhow::{Context, Result};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use wgpu_optim_papers::charts::{Axis, Chart, Panel, Series};
use wgpu_optim_papers::harness::report::{Claim, Findings, Table, Verdict, plus_minus};
use wgpu_optim_papers::harness::stats::{mean, sorted, standard_error};
use wgpu_optim_papers::replicas::{curve, paired};

pub const EXPERIMENT: Experiment = Experiment {
    name: "networks-noise",
    title: "ACClip: the noise of gradients in attention and without (figures 1, 2 and 4)",
    tasks: &[Task::Text(Norm::Post), Task::Images],
    weight: |store| SUBJECTS.iter().map(|subject| subject.weight(store)).sum::<u64>() * seeds(store) as u64,
    run,
};

/// Width of the networks of text.
const WIDTH: usize = 48;
/// Share of the largest norms that Hill's estimator looks at.
const TAIL: f64 = 0.1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Attention,
    AttentionGaussian,
    Residual,
    ResidualGaussian,
    Images,
}

/// A network on data, with batches of so many examples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Subject {
    kind: Kind,
    name: &'static str,
    examples: usize,
    /// Milliseconds of a gradient.
    cost: u64,
}

const SUBJECTS: [Subject; 7] = [
    Subject { kind: Kind::Attention, name: "attention, text", examples: 16, cost: 18 },
    Subject { kind: Kind::Images, name: "convolutions, images", examples: 16, cost: 3 },
    Subject { kind: Kind::Residual, name: "no attention, text", examples: 16, cost: 10 },
    Subject { kind: Kind::AttentionGaussian, name: "attention, Gaussian", examples: 16, cost: 18 },
    Subject { kind: Kind::ResidualGaussian, name: "no attention, Gaussian", examples: 16, cost: 10 },
    Subject { kind: Kind::Attention, name: "attention, text", examples: 4, cost: 6 },
    Subject { kind: Kind::Attention, name: "attention, text", examples: 64, cost: 70 },
];

impl Subject {
    fn weight(&self, store: &Store) -> u64 {
        (2 * draws(store) * POINTS.len() + steps(store)) as u64 * self.cost
    }

    fn label(&self) -> String {
        format!("{}, batches of {}", self.name, self.examples)
    }
}

/// Shares of the training after which noise is measured.
const POINTS: [f64; 4] = [0.0, 0.1, 0.4, 1.0];

fn seeds(store: &Store) -> usize {
    store.pick(5, 2)
}

fn steps(store: &Store) -> usize {
    store.pick(300, 40)
}

/// Gradients that are looked at, each time.
fn draws(store: &Store) -> usize {
    store.pick(300, 40)
}

/// |g - mean g| of every draw, at every point.
type Norms = Vec<Vec<f32>>;

fn measure(lab: &Lab, store: &Store, tasks: &Tasks, subject: Subject, seed: u64) -> Result<Norms> {
    let letters = tasks.letters()?;
    let host = &lab.host;
    let gaussian = Gaussian { letters, width: WIDTH };
    let residual = || flat::seeded(seed, host, |device| Residual::new(TEXT_TOKENS, WIDTH, 3, device));
    let attention = || flat::seeded(seed, host, |device| reader(Norm::Post, device));
    match subject.kind {
        Kind::Attention => norms(lab, store, attention()?, letters, subject, seed),
        Kind::AttentionGaussian => norms(lab, store, attention()?, &gaussian, subject, seed),
        Kind::Residual => norms(lab, store, residual()?, letters, subject, seed),
        Kind::ResidualGaussian => norms(lab, store, residual()?, &gaussian, subject, seed),
        Kind::Images => {
            let network = flat::seeded(seed, host, |device| Convolutions::new(10, device))?;
            norms(lab, store, network, tasks.fashion()?, subject, seed)
        }
    }
}

fn norms<N: Network>(
    lab: &Lab,
    store: &Store,
    network: N,
    data: &dyn Data,
    subject: Subject,
    seed: u64,
) -> Result<Norms> {
    // The paper's: Adam for attention, SGD for convolutions.
    let (method, lr) = if subject.kind == Kind::Images { ("SGDM", 0.03) } else { ("Adam, warm-up", 3e-3) };
    let method = named(method);
    let mut recipe = crate::lab::Recipe {
        rule: (method.rule)(lr),
        max_grad_norm: None,
        warmup: method.warmup,
        steps: steps(store),
        examples: subject.examples,
    };
    // Batches of four are noisy; all sizes see as many steps.
    recipe.steps = recipe.steps.max(crate::lab::PARTS);
    let mut found = vec![noise(lab, store, &network, data, subject, seed)?];
    let at: Vec<usize> = POINTS[1..].iter().map(|share| (share * recipe.steps as f64) as usize).collect();
    let watch = |t: usize, trainer: &Trainer<'_, N>| {
        if at.contains(&t) {
            let network = trainer.network.as_ref().context("a step failed")?;
            found.push(noise(lab, store, network, data, subject, seed)?);
        }
        Ok(())
    };
    train(lab, network, data, &recipe, seed, watch)?;
    Ok(found)
}

/// Draws batches that training does not see, twice the same: for the mean gradient, and for the distance from it.
fn noise<N: Network>(
    lab: &Lab,
    store: &Store,
    network: &N,
    data: &dyn Data,
    subject: Subject,
    seed: u64,
) -> Result<Vec<f32>> {
    let gradients = |use_it: &mut dyn FnMut(&[Vec<f32>])| -> Result<()> {
        let mut rng = ChaCha8Rng::seed_from_u64(1 << 32 | seed);
        for _ in 0..draws(store) {
            let (loss, _, _) = judge(network, &data.draw(&mut rng, subject.examples), &lab.host);
            use_it(&flat::gradients(network, &loss.backward())?);
        }
        Ok(())
    };
    let mut sum: Vec<Vec<f64>> = vec![];
    gradients(&mut |gradient| {
        sum.resize_with(gradient.len(), Vec::new);
        for (sum, gradient) in sum.iter_mut().zip(gradient) {
            sum.resize(gradient.len(), 0.0);
            sum.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += f64::from(*g));
        }
    })?;
    let count = draws(store) as f64;
    let mut norms = vec![];
    gradients(&mut |gradient| {
        let pairs = sum.iter().flatten().zip(gradient.iter().flatten());
        let square: f64 = pairs.map(|(sum, g)| (f64::from(*g) - sum / count).powi(2)).sum();
        norms.push(square.sqrt() as f32);
    })?;
    Ok(norms)
}

/// Hill's estimator of the tail index: small where the tail is heavy.
pub fn tail_index(norms: &[f32]) -> f64 {
    let values = sorted(&norms.iter().map(|norm| f64::from(*norm)).collect::<Vec<_>>());
    let count = ((values.len() as f64 * TAIL) as usize).max(2);
    let (rest, tail) = values.split_at(values.len() - count);
    let edge = rest.last().copied().unwrap_or(f64::NAN);
    count as f64 / tail.iter().map(|value| (value / edge).ln()).sum::<f64>()
}

/// What was measured of a subject, \[seed\]\[point\].
struct Measured {
    subject: Subject,
    norms: Vec<Norms>,
}

impl Measured {
    fn indices(&self, point: usize) -> Vec<f64> {
        self.norms.iter().map(|points| tail_index(&points[point])).collect()
    }

    fn shown(&self, point: usize) -> String {
        let values = self.indices(point);
        format!("{} {}", self.subject.label(), plus_minus(mean(&values), standard_error(&values)))
    }
}

fn run(store: &Store, tasks: &Tasks) -> Result<Findings> {
    let mut all = vec![];
    for subject in SUBJECTS {
        let job = |seed: u64| Job {
            name: format!(
                "noise: {}, seed {seed}, {} steps, {} draws",
                subject.label(),
                steps(store),
                draws(store)
            ),
            weight: subject.weight(store),
            what: seed,
        };
        let jobs: Vec<Job<u64>> = (0..seeds(store) as u64).map(job).collect();
        let norms = store.all(&jobs, |lab, seed| measure(lab, store, tasks, subject, *seed))?;
        all.push(Measured { subject, norms });
    }
    let [attention, images, residual, gaussian, plain, small, large] = &all[..] else { unreachable!() };
    let last = POINTS.len() - 1;
    let claims = vec![
        heavier(
            "ACClip, figure 1",
            "The noise of an attention network has a heavier tail than that of a convolutional network on images.",
            attention,
            images,
            last,
        ),
        during(
            "ACClip, figure 2a",
            "During the training of an attention network the noise becomes more concentrated: its tail index grows.",
            attention,
            true,
        ),
        during("ACClip, figure 2b", "In a convolutional network it remains as it was.", images, false),
        heavier(
            "ACClip, figure 4",
            "On text, noise has a heavier tail with attention than without.",
            attention,
            residual,
            last,
        ),
        heavier(
            "ACClip, figure 4",
            "On Gaussian data, noise has a heavier tail with attention than without.",
            gaussian,
            plain,
            last,
        ),
        heavier(
            "ACClip, figure 4",
            "Without attention, noise on text has a heavier tail than noise on Gaussian data.",
            residual,
            plain,
            last,
        ),
        by_batch(small, attention, large, last),
    ];
    let mut table =
        Table::new("networks-noise", &["network", "batch", "step", "tail_index", "standard_error", "seeds"]);
    for measured in &all {
        for (point, share) in POINTS.iter().enumerate() {
            let values = measured.indices(point);
            let step = (share * steps(store) as f64) as usize;
            let Subject { name, examples, .. } = measured.subject;
            table.row(&[&name, &examples, &step, &mean(&values), &standard_error(&values), &values.len()]);
        }
    }
    Ok(Findings {
        claims,
        charts: vec![
            Chart {
                name: "networks-noise".into(),
                title: "Norm of the noise of a batch's gradient, over its median: all seeds".into(),
                columns: 3,
                panels: all[..5].iter().map(|measured| histogram(measured, last)).collect(),
            },
            Chart {
                name: "networks-noise-training".into(),
                title:
                    "Hill's tail index of the noise: mean and standard error over seeds (small: a heavy tail)"
                        .into(),
                columns: 2,
                panels: vec![
                    over_training("by network and data", all[..5].iter(), steps(store)),
                    over_training("by batch", [small, attention, large].into_iter(), steps(store)),
                ],
            },
        ],
        tables: vec![table],
        notes: format!(
            "Norm of g - mean g of {} batches, none of them trained on; the mean is theirs. Tail index: Hill's estimator \
             over the largest tenth of the norms, {} seeds; norms of sums over many coordinates have large indices, so \
             only differences mean something. Attention: {}. Convolutions: {}. Without attention: the same layers of \
             48 with the attention taken out. Gaussian: normal vectors in the place of embedded letters, so that answers \
             cannot be told. Attention is trained by Adam with warm-up at 0.003, convolutions by SGD with momentum at \
             0.03, {} steps.",
            draws(store),
            seeds(store),
            Task::Text(Norm::Post).describes(),
            Task::Images.describes(),
            steps(store)
        ),
    })
}

const RULE: &str = "Difference of the tail indices over the same seeds, after training: reproduced beyond two standard \
                    errors, not reproduced beyond them on the other side, undecided between.";

fn heavier(source: &'static str, claim: &str, a: &Measured, b: &Measured, point: usize) -> Claim {
    let (difference, error) = paired(&b.indices(point), &a.indices(point));
    Claim {
        source,
        claim: claim.into(),
        paper: "(histograms only)".into(),
        ours: format!(
            "tail index: {}; {}; apart by {}",
            a.shown(point),
            b.shown(point),
            plus_minus(difference, error)
        ),
        verdict: verdict(difference, error),
        why: RULE.into(),
    }
}

/// Whether the index grows between the first tenth and the end, or stays.
fn during(source: &'static str, claim: &str, of: &Measured, grows: bool) -> Claim {
    let last = POINTS.len() - 1;
    let (difference, error) = paired(&of.indices(last), &of.indices(1));
    let verdict = match (grows, difference.abs() > 2.0 * error) {
        (true, _) => verdict(difference, error),
        (false, true) => Verdict::NotReproduced,
        (false, false) => Verdict::Reproduced,
    };
    let points: Vec<String> = (0..POINTS.len())
        .map(|point| {
            let values = of.indices(point);
            format!("{} % {}", 100.0 * POINTS[point], plus_minus(mean(&values), standard_error(&values)))
        })
        .collect();
    Claim {
        source,
        claim: claim.into(),
        paper: "(histograms only)".into(),
        ours: format!("tail index after shares of the training: {}; grown from 10 % to the end by {}", points.join(", "), plus_minus(difference, error)),
        verdict,
        why: "From a tenth of the training to its end, over the same seeds: beyond two standard errors it changed. Before \
              the first step there is nothing that the network knows, so that point is shown and not judged."
            .into(),
    }
}

fn by_batch(small: &Measured, middle: &Measured, large: &Measured, point: usize) -> Claim {
    let (difference, error) = paired(&large.indices(point), &small.indices(point));
    Claim {
        source: "ACClip, section 5.3",
        claim: "How the tail depends on the batch.".into(),
        paper: String::new(),
        ours: format!(
            "{}; {}; {}; from 4 to 64 grown by {}",
            small.shown(point),
            middle.shown(point),
            large.shown(point),
            plus_minus(difference, error)
        ),
        verdict: Verdict::Found,
        why: "Means of more examples are nearer to normal where moments are finite: the index grows with the batch.".into(),
    }
}

fn histogram(measured: &Measured, point: usize) -> Panel {
    let bins = 40;
    let (low, high) = (0.4, 2.4);
    let mut counts = vec![0.0; bins];
    let mut all = 0.0;
    for points in &measured.norms {
        let norms = sorted(&points[point].iter().map(|norm| f64::from(*norm)).collect::<Vec<_>>());
        let middle = norms[norms.len() / 2];
        for norm in norms {
            let bin = ((norm / middle - low) / (high - low) * bins as f64).clamp(0.0, bins as f64 - 1.0);
            counts[bin as usize] += 1.0;
            all += 1.0;
        }
    }
    let at = |bin: usize| low + (bin as f64 + 0.5) * (high - low) / bins as f64;
    let points = counts.iter().enumerate().map(|(bin, count)| (at(bin), 100.0 * count / all)).collect();
    let x = Axis::new("norm over its median (the last bar: all above)").range(low, high);
    Panel::new(measured.subject.label(), x, Axis::new("share (%)"), vec![Series::bars("", points)])
}

fn over_training<'a>(title: &str, all: impl Iterator<Item = &'a Measured>, steps: usize) -> Panel {
    let line = |measured: &Measured| {
        let points =
            POINTS.iter().enumerate().map(|(point, share)| (share * steps as f64, measured.indices(point)));
        // The same in both panels.
        let style = SUBJECTS.iter().position(|subject| *subject == measured.subject).unwrap_or(0);
        curve(measured.subject.label(), points).style(style)
    };
    Panel::new(title, Axis::new("step"), Axis::new("tail index"), all.map(line).collect())
}
