//! AdaMod, figures 1 to 5 and 7, tables 2 to 5: translation without warm-up, learning rates over time, images, an LSTM.

use super::Experiment;
use crate::contest::{self, Contest, Measure, RULES, Shown, verdict};
use crate::data::Backwards;
use crate::lab::{Lab, Trainer, train};
use crate::methods::named;
use crate::models::{Transformer, flat};
use crate::store::{Job, Store};
use crate::tasks::{Task, Tasks, translator};
use anyhow::Result;
use wgpu_optim_papers::charts::{Axis, Chart, Panel, Series};
use wgpu_optim_papers::harness::report::{Claim, Findings, Verdict, number, plus_minus};
use wgpu_optim_papers::harness::stats::{mean, quantile, standard_error};
use wgpu_optim_papers::replicas::paired;

pub const EXPERIMENT: Experiment = Experiment {
    name: "networks-adamod",
    title: "AdaMod: translation, images and an LSTM (figures 1 to 5 and 7, tables 2 to 5)",
    tasks: &[Task::Backwards, Task::Images, Task::Lstm],
    weight: |store| CONTESTS.iter().map(|(task, methods)| contest::weight(store, *task, methods)).sum(),
    run,
};

const CONTESTS: [(Task, &[&str]); 3] = [
    (Task::Backwards, &["Adam", "Adam, warm-up", "AdaMod"]),
    (Task::Images, &["SGDM", "Adam", "AdaMod", "AMSGrad", "AdaBound"]),
    (Task::Lstm, &["Adam", "AdaMod"]),
];
/// Whose learning rates are looked at.
const LOOKED_AT: [&str; 3] = ["Adam", "Adam, warm-up", "AdaMod"];
/// Shares of the steps at which.
const MOMENTS: [f64; 5] = [0.0, 0.05, 0.2, 0.5, 1.0];
/// Bins of a histogram of log10: from 1e-3 to 1e7.
const BINS: usize = 60;
const LOW: f64 = -3.0;
const HIGH: f64 = 7.0;

/// At every moment: shares of log10 of the learning rates, and their 99th percentile.
type Rates = Vec<(Vec<f64>, f64)>;

fn run(store: &Store, tasks: &Tasks) -> Result<Findings> {
    let hold = |(task, methods): &(Task, &[&str])| Contest::hold(store, tasks, *task, methods);
    let contests = CONTESTS.iter().map(hold).collect::<Result<Vec<_>>>()?;
    let [backwards, images, lstm] = &contests[..] else { unreachable!() };
    let rate = backwards.outcome("Adam, warm-up")?.rate;
    let mut rates = vec![];
    for method in LOOKED_AT {
        let (steps, _) = Task::Backwards.size(store.quick);
        let job = |seed: u64| Job {
            name: format!(
                "learning rates to 1e{HIGH}: {method} at {}, seed {seed}, {steps} steps",
                number(rate)
            ),
            weight: steps as u64 * Task::Backwards.cost(),
            what: seed,
        };
        let jobs: Vec<_> = (0..store.pick(5, 2)).map(job).collect();
        rates.push(store.all(&jobs, |lab, seed| look(lab, tasks, method, rate, *seed))?);
    }
    use Measure::{Accuracy, TestLoss, TrainLoss};
    let claims = vec![
        diverges(backwards)?,
        backwards.claim(
            "AdaMod, table 2",
            "AdaMod without warm-up translates better than Adam with it.",
            "BLEU 34.81 against 34.62, 27.22 against 26.81, 28.47 against 28.15",
            ("AdaMod", "Adam, warm-up"),
            TestLoss,
        )?,
        backwards.claim(
            "AdaMod, figure 2",
            "AdaMod reaches a lower training loss than Adam with warm-up.",
            "(curves only)",
            ("AdaMod", "Adam, warm-up"),
            TrainLoss,
        )?,
        early(&rates),
        restrained(&rates),
        images.as_good(
            "AdaMod, tables 3 and 4",
            "AdaMod classifies images as well as Adam or better.",
            "CIFAR10, ResNet 94.30 against 94.31, DenseNet 94.72 against 94.52 %",
            ("AdaMod", "Adam"),
            (Accuracy, 0.3),
        )?,
        images.claim(
            "AdaMod, table 3",
            "SGD with momentum classifies images better than AdaMod.",
            "CIFAR100, ResNet 78.50 against 74.86, DenseNet 80.00 against 77.28 %",
            ("SGDM", "AdaMod"),
            Accuracy,
        )?,
        beside(images)?,
        lstm.claim(
            "AdaMod, table 5",
            "AdaMod is better than Adam in language modelling with an LSTM.",
            "perplexity 70.78 against 71.08",
            ("AdaMod", "Adam"),
            TestLoss,
        )?,
    ];
    let Shown { mut charts, table, told } =
        contest::shown(store, &contests, ("networks-adamod", "networks-adamod-over-rates"), 3);
    charts.push(Chart {
        name: "networks-adamod-histograms".into(),
        title: format!(
            "Learning rates of all parameters during training, {}, rate {}",
            Task::Backwards.name(),
            number(rate)
        ),
        columns: 3,
        panels: LOOKED_AT.iter().zip(&rates).map(|(method, rates)| histogram(method, rates)).collect(),
    });
    Ok(Findings {
        claims,
        charts,
        tables: vec![table],
        notes: format!(
            "{}. {RULES} beta2 0.98; AdaMod with beta3 = 0.99, whose memory is as large a part of these runs as 0.9999's is \
             of the paper's. Learning rates: what m is multiplied by, rate / (sqrt(v) + eps) with both corrections, and for \
             AdaMod the smaller of that and its bound; at {}, the best rate of Adam with warm-up. IWSLT, WMT, CIFAR and Penn \
             Treebank are not repeated: their place is taken by tasks of this size.",
            told,
            number(rate)
        ),
    })
}

/// The learning rates over a run.
fn look(lab: &Lab, tasks: &Tasks, method: &str, lr: f64, seed: u64) -> Result<Rates> {
    let network = flat::seeded(seed, &lab.host, translator)?;
    let recipe = tasks.recipe(Task::Backwards, &named(method), lr);
    let moments: Vec<usize> =
        MOMENTS.iter().map(|share| ((share * recipe.steps as f64) as usize).max(1)).collect();
    let mut rates = vec![];
    let watch = |t: usize, trainer: &Trainer<'_, Transformer>| {
        if moments.contains(&t) {
            // Without the schedule of the rate, but for warm-up, which is what is looked at.
            let warming = recipe.factor(t).min(1.0);
            let factor = if t as f64 / recipe.steps as f64 > recipe.warmup { 1.0 } else { warming };
            let v = trainer.slot("v")?;
            let (beta1, beta2) = (0.9f64.powi(t as i32), 0.98f64.powi(t as i32));
            let eta = v
                .iter()
                .map(|v| lr * factor / ((f64::from(*v) / (1.0 - beta2)).sqrt() + 1e-8) / (1.0 - beta1));
            let all: Vec<f64> = if method == "AdaMod" {
                eta.zip(trainer.slot("s")?).map(|(eta, s)| eta.min(f64::from(s))).collect()
            } else {
                eta.collect()
            };
            rates.push((shares(&all), quantile(&all, 0.99)));
        }
        Ok(())
    };
    train(lab, network, &Backwards::default(), &recipe, seed, watch)?;
    Ok(rates)
}

fn shares(values: &[f64]) -> Vec<f64> {
    let mut counts = vec![0.0; BINS];
    for value in values {
        let bin = ((value.log10() - LOW) / (HIGH - LOW) * BINS as f64).clamp(0.0, BINS as f64 - 1.0);
        counts[bin as usize] += 100.0 / values.len() as f64;
    }
    counts
}

/// Whether Adam without warm-up fails.
fn diverges(contest: &Contest) -> Result<Claim> {
    let mut claim = contest.claim(
        "AdaMod, table 2",
        "Without warm-up Adam does not converge on translation.",
        "/ (divergence)",
        ("Adam, warm-up", "Adam"),
        Measure::TestLoss,
    )?;
    let chance = f64::from(crate::data::WORDS).ln();
    let adam = mean(&contest.values("Adam", Measure::TestLoss)?);
    let worse = claim.verdict == Verdict::Reproduced;
    claim.verdict = match (adam > 0.9 * chance, worse) {
        (true, _) => Verdict::Reproduced,
        (false, true) => Verdict::Partly,
        (false, false) => Verdict::NotReproduced,
    };
    claim.why = format!(
        "Reproduced if Adam at its best rate stays within a tenth of chance ({} nats), partly if it learns and is worse than \
         with warm-up by two standard errors.",
        number(chance)
    );
    Ok(claim)
}

/// The logarithm of the 99th percentile at a moment, of every seed.
fn extreme(rates: &[Rates], moment: usize) -> Vec<f64> {
    rates.iter().map(|moments| moments[moment].1.log10()).collect()
}

/// Figure 1: large rates in the beginning, without warm-up.
fn early(rates: &[Vec<Rates>]) -> Claim {
    let (first, last) = (extreme(&rates[0], 0), extreme(&rates[0], MOMENTS.len() - 1));
    let (difference, error) = paired(&first, &last);
    let show = |values: &[f64]| plus_minus(mean(values), standard_error(values));
    Claim {
        source: "AdaMod, figure 1",
        claim: "Adam's learning rates are extremely large in the early stage.".into(),
        paper: "(histograms only)".into(),
        ours: format!(
            "99th percentile, log10: step 1 {}, end {}; {} decades lower",
            show(&first),
            show(&last),
            plus_minus(difference, error)
        ),
        verdict: verdict(difference, error),
        why: "Reproduced if the 99th percentile over all parameters is larger at the first step than at the end, at an \
              equal rate, by two standard errors over the seeds; not reproduced if smaller."
            .into(),
    }
}

/// Figure 3: AdaMod against Adam at every moment.
fn restrained(rates: &[Vec<Rates>]) -> Claim {
    let at = |moment: usize| paired(&extreme(&rates[0], moment), &extreme(&rates[2], moment));
    let all: Vec<(f64, f64)> = (0..MOMENTS.len()).map(at).collect();
    let lower = all.iter().filter(|(difference, error)| *difference > 2.0 * error).count();
    let told: Vec<String> = MOMENTS
        .iter()
        .zip(&all)
        .map(|(share, (difference, error))| {
            format!("{} %: {}", 100.0 * share, plus_minus(*difference, *error))
        })
        .collect();
    Claim {
        source: "AdaMod, figure 3",
        claim: "AdaMod restrains extremely large learning rates throughout the training.".into(),
        paper: "(histograms only)".into(),
        ours: format!("99th percentile, decades below Adam's, after shares of the steps: {}", told.join(", ")),
        verdict: match lower {
            lower if lower == all.len() => Verdict::Reproduced,
            0 => Verdict::NotReproduced,
            _ => Verdict::Partly,
        },
        why: "Reproduced if lower by two standard errors over the seeds at all five moments, partly if at some.".into(),
    }
}

/// The other methods that the paper names.
fn beside(images: &Contest) -> Result<Claim> {
    let shown = |method: &str| images.shown(method, Measure::Accuracy);
    Ok(Claim {
        source: "AdaMod, related work",
        claim: "AMSGrad and AdaBound beside AdaMod on images.".into(),
        paper: String::new(),
        ours: format!("accuracy in %: {}, {}, {}", shown("AMSGrad")?, shown("AdaBound")?, shown("AdaMod")?),
        verdict: Verdict::Found,
        why: "The paper discusses them and does not measure them.".into(),
    })
}

fn histogram(method: &str, rates: &[Rates]) -> Panel {
    let at = |bin: usize| 10f64.powf(LOW + (bin as f64 + 0.5) * (HIGH - LOW) / BINS as f64);
    let line = |(moment, share): (usize, &f64)| {
        let of = |bin: usize| mean(&rates.iter().map(|moments| moments[moment].0[bin]).collect::<Vec<_>>());
        let label = if *share == 0.0 { "step 1".into() } else { format!("{} % of the steps", 100.0 * share) };
        Series::plain(label, (0..BINS).map(|bin| (at(bin), of(bin))).collect()).style(moment)
    };
    let series = MOMENTS.iter().enumerate().map(line).collect();
    Panel::new(method, Axis::new("learning rate of a parameter").log(), Axis::new("share (%)"), series)
}
