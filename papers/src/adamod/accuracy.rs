//! How much alpha and beta3 matter.

use super::paper;
use crate::charts::{Axis, Chart, Panel};
use crate::harness::gpu::Gpu;
use crate::harness::report::{Claim, Findings, Table, Verdict, plus_minus};
use crate::harness::stats::{mean, standard_error};
use crate::replicas::{Digits, EPOCH, History, Replicas, Setting, Task, bootstrap, mean_of, paired};
use anyhow::Result;
use wgpu_optim::rules::{AdaMod, Adam, Sgd};
use wgpu_optim::{AnyRule, Curve, Schedule};

const ALPHAS: [f64; 3] = [0.1, 0.01, 0.001];
const BETA3S: [f64; 4] = [0.9, 0.99, 0.999, 0.9999];
/// Weight decay: the paper's, and none.
const DECAYS: [f64; 2] = [5e-4, 0.0];
const METHODS: [&str; 3] = ["SGDM", "Adam", "AdaMod"];
const SGDM: usize = 0;
const ADAM: usize = 1;
const ADAMOD: usize = 2;
/// Points of accuracy within which results are the same.
const SAME: f64 = 1.0;
/// Test accuracy, in %, below which a run has failed.
const FAILED: f64 = 90.0;
/// Training accuracy, in %, that tells how fast a run converges.
const REACHED: f64 = 95.0;

/// Settings: `METHODS` by `DECAYS` by `ALPHAS`, then the first three of `BETA3S` (the last is among those).
fn at(method: usize, decay: usize, alpha: usize) -> usize {
    (method * DECAYS.len() + decay) * ALPHAS.len() + alpha
}

fn at_beta3(beta3: usize) -> usize {
    if beta3 == BETA3S.len() - 1 { at(ADAMOD, 0, 2) } else { at(METHODS.len(), 0, beta3) }
}

fn rule(method: usize, lr: f64, weight_decay: f64, beta3: f64) -> AnyRule {
    match method {
        SGDM => AnyRule::new(Sgd { lr, momentum: 0.9, weight_decay, ..Sgd::default() }),
        ADAM => AnyRule::new(Adam { lr, weight_decay, ..Adam::adamw() }),
        _ => paper(AdaMod { lr, beta3, weight_decay, ..AdaMod::default() }),
    }
}

pub fn run(gpu: &Gpu, digits: &Digits, progress: impl FnMut(f64)) -> Result<Findings> {
    let epochs = gpu.pick(200, 8);
    let task = Task {
        layers: 1,
        units: 32,
        first_seed: 0,
        seeds: gpu.pick(12, 2),
        steps: epochs * EPOCH,
        every: EPOCH,
        test_every: 2 * EPOCH,
    };
    let drop = (task.steps * 3 / 4) as u64;
    let factor = Schedule::new(Curve::MultiStep { value: 1.0, factor: 0.1, milestones: vec![drop] })?;
    let mut rules = vec![];
    for method in 0..METHODS.len() {
        for decay in DECAYS {
            rules.extend(ALPHAS.iter().map(|lr| rule(method, *lr, decay, BETA3S[3])));
        }
    }
    rules.extend(BETA3S[..3].iter().map(|beta3| rule(ADAMOD, ALPHAS[2], DECAYS[0], *beta3)));
    let settings: Vec<Setting> =
        rules.into_iter().map(|rule| Setting { rule, factor: factor.clone() }).collect();
    let history = Replicas::new(gpu, digits, task, &settings)?.train(gpu, |_, _, _| (), progress)?;
    Ok(Findings {
        claims: vec![sgdm(&history), adam(&history), adamod(&history), speed(&history), ends(&history)],
        charts: vec![by_alpha(&history), by_beta3(&history)],
        tables: vec![table(&history)],
        notes: format!(
            "Figures 6 and 8: a 64-{}-10 perceptron on {} digits, batches of 32, {epochs} epochs of {EPOCH} \
             steps, rates times 0.1 after three quarters of them, weight decay {} (decoupled but for SGDM), \
             momentum 0.9, beta1 0.9, beta2 0.999, eps 1e-8, beta3 0.9999 for figure 6, {} seeds: the \
             paper's setting for CIFAR-10, on another network and data. Figure 6 also without weight decay.",
            task.units, digits.train, DECAYS[0], task.seeds
        ),
    })
}

fn show(values: &[f64]) -> String {
    format!("{} %", plus_minus(mean(values), standard_error(values)))
}

/// The final accuracies of a method over alpha, in words.
fn listed(history: &History, method: usize, decay: usize) -> String {
    let of = |alpha: usize| {
        format!("alpha {}: {}", ALPHAS[alpha], show(&history.final_accuracy(at(method, decay, alpha))))
    };
    (0..ALPHAS.len()).map(of).collect::<Vec<_>>().join(", ")
}

/// Whether a difference is above zero, by a margin that another adapter's roundings do not overturn: one seed in twelve
/// that ends elsewhere moves a mean by two standard errors, and does on other adapters. `None` between the two.
fn clearly(difference: f64, error: f64) -> Option<bool> {
    match difference / error {
        ratio if ratio > 4.0 => Some(true),
        ratio if ratio < 1.0 => Some(false),
        _ => None,
    }
}

const CLEARLY: &str = "by four standard errors of the difference over seeds; undecided between one and four";

/// Whether setting `a` is worse than `b`.
fn worse(history: &History, a: usize, b: usize) -> Option<bool> {
    let (difference, error) = paired(&history.final_accuracy(b), &history.final_accuracy(a));
    clearly(difference, error)
}

fn sgdm(history: &History) -> Claim {
    let verdict = match [0, 2].map(|alpha| worse(history, at(SGDM, 0, alpha), at(SGDM, 0, 1))) {
        [Some(true), Some(true)] => Verdict::Reproduced,
        [Some(false), Some(false)] => Verdict::NotReproduced,
        [Some(true), Some(false)] | [Some(false), Some(true)] => Verdict::Partly,
        _ => Verdict::Undecided,
    };
    Claim {
        source: "AdaMod, figure 6",
        claim: "For SGDM both alpha = 0.1 and alpha = 0.001 lead to significantly worse results than 0.01."
            .into(),
        paper: "(curves only)".into(),
        ours: listed(history, SGDM, 0),
        verdict,
        why: format!("Final test accuracy. Reproduced if both are worse, partly if one is: {CLEARLY}."),
    }
}

fn adam(history: &History) -> Claim {
    let worse = |a, b| worse(history, at(ADAM, 0, a), at(ADAM, 0, b));
    let verdict = match (worse(0, 1), worse(0, 2), worse(2, 1)) {
        (Some(true), Some(true), Some(false)) => Verdict::Reproduced,
        (Some(true), Some(true), Some(true)) => Verdict::Partly,
        (Some(false), _, _) | (_, Some(false), _) => Verdict::NotReproduced,
        _ => Verdict::Undecided,
    };
    Claim {
        source: "AdaMod, figure 6",
        claim: "Adam is more or less stable for small rates (0.001 slightly better than 0.01) and worse at \
                0.1."
            .into(),
        paper: "(curves only)".into(),
        ours: listed(history, ADAM, 0),
        verdict,
        why: format!(
            "Reproduced if 0.1 is worse than both others and 0.001 not worse than 0.01, partly if only the first: \
             {CLEARLY}."
        ),
    }
}

/// Best minus worst of the mean final accuracies of some settings, over some seeds.
fn spread(accuracies: &[Vec<f64>], seeds: &[usize]) -> f64 {
    let means: Vec<f64> = accuracies.iter().map(|values| mean_of(values, seeds)).collect();
    means.iter().copied().fold(f64::MIN, f64::max) - means.iter().copied().fold(f64::MAX, f64::min)
}

fn adamod(history: &History) -> Claim {
    let seeds = history.task.seeds;
    let (mut texts, mut smaller, mut open, mut failed, mut widest) = (vec![], 0, 0, vec![], 0.0f64);
    for (decay, value) in DECAYS.iter().enumerate() {
        let all = [SGDM, ADAM, ADAMOD].map(|method| {
            let of = |alpha| history.final_accuracy(at(method, decay, alpha));
            (0..ALPHAS.len()).map(of).collect::<Vec<_>>()
        });
        for other in [SGDM, ADAM] {
            let difference = |seeds: &[usize]| spread(&all[other], seeds) - spread(&all[ADAMOD], seeds);
            let (difference, error) = bootstrap(seeds, difference);
            match clearly(difference, error) {
                Some(true) => smaller += 1,
                Some(false) => {}
                None => open += 1,
            }
        }
        widest = widest.max(spread(&all[ADAMOD], &(0..seeds).collect::<Vec<_>>()));
        failed.push(all[ADAMOD][0].iter().filter(|accuracy| **accuracy < FAILED).count());
        let text = |method: usize| {
            let (value, error) = bootstrap(seeds, |seeds| spread(&all[method], seeds));
            format!("{} {}", METHODS[method], plus_minus(value, error))
        };
        texts.push(format!(
            "weight decay {value}: AdaMod {}; best minus worst, in points: {}, {}, {}",
            listed(history, ADAMOD, decay),
            text(ADAMOD),
            text(ADAM),
            text(SGDM)
        ));
    }
    let verdict = match (smaller, open) {
        (4, _) if widest <= SAME => Verdict::Reproduced,
        (0, 0) => Verdict::NotReproduced,
        (0, _) => Verdict::Undecided,
        _ => Verdict::Partly,
    };
    let mut why = format!(
        "Reproduced if AdaMod's spread is at most {SAME} point and below those of both others (bootstrap over \
         seeds), with weight decay and without, partly if below in some of these four cases: it is in {smaller}, \
         and {open} are undecided, {CLEARLY}."
    );
    if failed[0] > failed[1] {
        why += &format!(
            " At alpha 0.1 {} of {seeds} seeds end below {FAILED} % with weight decay, {} without: the \
             network fits all training digits, gradients vanish and the rates grow, AdaMod's bound with \
             them, until decay alone moves the weights so far that the loss jumps.",
            failed[0], failed[1]
        );
    }
    Claim {
        source: "AdaMod, figure 6",
        claim: "AdaMod has almost identical final test accuracy for alpha in {0.1, 0.01, 0.001}; SGDM and \
                Adam have not."
            .into(),
        paper: "(curves only)".into(),
        ours: texts.join(". "),
        verdict,
        why,
    }
}

/// The epoch in which each seed first reaches [`REACHED`]; the number of epochs where none does.
fn reached(history: &History, setting: usize) -> Vec<f64> {
    let mut epochs = vec![history.task.records() as f64; history.task.seeds];
    for record in (0..history.task.records()).rev() {
        for (epoch, accuracy) in epochs.iter_mut().zip(history.train_accuracy(setting, record)) {
            if accuracy >= REACHED {
                *epoch = (record + 1) as f64;
            }
        }
    }
    epochs
}

fn speed(history: &History) -> Claim {
    let epochs: Vec<Vec<f64>> = (0..BETA3S.len()).map(|beta3| reached(history, at_beta3(beta3))).collect();
    let slower = epochs.windows(2).filter(|pair| {
        let (difference, error) = paired(&pair[1], &pair[0]);
        difference > 2.0 * error
    });
    let slower = slower.count();
    let texts: Vec<String> = BETA3S
        .iter()
        .zip(&epochs)
        .map(|(beta3, epochs)| format!("beta3 {beta3}: {}", plus_minus(mean(epochs), standard_error(epochs))))
        .collect();
    let verdict = match slower {
        3 => Verdict::Reproduced,
        0 => Verdict::NotReproduced,
        _ => Verdict::Partly,
    };
    Claim {
        source: "AdaMod, figure 8",
        claim: "For alpha = 0.001, a larger beta3 converges more slowly.".into(),
        paper: "(curves only)".into(),
        ours: format!("epochs until {REACHED} % of the training digits are right: {}", texts.join(", ")),
        verdict,
        why: format!(
            "Reproduced if each beta3 takes longer than the one before by two standard errors, partly if \
             some do: {slower} of 3."
        ),
    }
}

fn ends(history: &History) -> Claim {
    let all: Vec<Vec<f64>> = (0..BETA3S.len()).map(|beta3| history.final_accuracy(at_beta3(beta3))).collect();
    let (spread, error) = bootstrap(history.task.seeds, |seeds| spread(&all, seeds));
    let texts: Vec<String> =
        BETA3S.iter().zip(&all).map(|(beta3, values)| format!("beta3 {beta3}: {}", show(values))).collect();
    let verdict = match spread {
        _ if spread + 2.0 * error <= SAME => Verdict::Reproduced,
        _ if spread - 2.0 * error <= SAME => Verdict::Partly,
        _ => Verdict::NotReproduced,
    };
    Claim {
        source: "AdaMod, figure 8",
        claim: "The final performances with beta3 in {0.9, 0.99, 0.999, 0.9999} are very close.".into(),
        paper: "(curves only)".into(),
        ours: format!(
            "test accuracy {}; best minus worst {} points",
            texts.join(", "),
            plus_minus(spread, error)
        ),
        verdict,
        why: format!(
            "Reproduced if the spread plus two standard errors (bootstrap over seeds) is at most {SAME} \
             point, partly if the spread minus two is."
        ),
    }
}

fn by_alpha(history: &History) -> Chart {
    let panel = |(decay, method): (usize, usize)| {
        let line = |alpha: usize| {
            let name = format!("alpha {}", ALPHAS[alpha]);
            history.test_curve(name, at(method, decay, alpha), |step| step / EPOCH as f64).style(alpha)
        };
        let y = Axis::new("test accuracy (%)").range(84.0, 99.0);
        let title = format!("{}, weight decay {}", METHODS[method], DECAYS[decay]);
        Panel::new(title, Axis::new("epoch"), y, (0..ALPHAS.len()).map(line).collect())
    };
    let all = (0..DECAYS.len()).flat_map(|decay| (0..METHODS.len()).map(move |method| (decay, method)));
    Chart {
        name: "adamod-alpha".into(),
        title: "AdaMod's figure 6 on the digits: mean and standard error over seeds".into(),
        columns: 3,
        panels: all.map(panel).collect(),
    }
}

fn by_beta3(history: &History) -> Chart {
    let x = |step: f64| step / EPOCH as f64;
    let name = |beta3: usize| format!("beta3 {}", BETA3S[beta3]);
    let train = |beta3| history.train_curve(name(beta3), at_beta3(beta3), x).style(beta3);
    let test = |beta3| history.test_curve(name(beta3), at_beta3(beta3), x).style(beta3);
    let axis = |name| Axis::new(name).range(84.0, 100.5);
    let all = 0..BETA3S.len();
    Chart {
        name: "adamod-beta3".into(),
        title: "AdaMod's figure 8 on the digits, alpha 0.001: mean and standard error over seeds".into(),
        columns: 2,
        panels: vec![
            Panel::new(
                "training",
                Axis::new("epoch"),
                axis("training accuracy (%)"),
                all.clone().map(train).collect(),
            ),
            Panel::new("test", Axis::new("epoch"), axis("test accuracy (%)"), all.map(test).collect()),
        ],
    }
}

fn table(history: &History) -> Table {
    let columns =
        ["method", "alpha", "beta3", "weight_decay", "epoch", "test_accuracy_percent", "standard_error"];
    let mut table = Table::new("adamod-accuracy", &columns);
    let mut add = |method: usize, alpha: f64, beta3: f64, decay: f64, setting: usize| {
        let beta3 = if method == ADAMOD { beta3.to_string() } else { String::new() };
        for (number, step) in history.tested.iter().enumerate() {
            let values = history.test_accuracy(setting, number);
            let (middle, error) = (mean(&values), standard_error(&values));
            table.row(&[&METHODS[method], &alpha, &beta3, &decay, &(step / EPOCH), &middle, &error]);
        }
    };
    for method in 0..METHODS.len() {
        for (decay, value) in DECAYS.iter().enumerate() {
            for (alpha, lr) in ALPHAS.iter().enumerate() {
                add(method, *lr, BETA3S[3], *value, at(method, decay, alpha));
            }
        }
    }
    for (number, beta3) in BETA3S[..3].iter().enumerate() {
        add(ADAMOD, ALPHAS[2], *beta3, DECAYS[0], at_beta3(number));
    }
    table
}
