//! RAdam, figure 6: how much the learning rate matters to RAdam, Adam and SGD, on the digits.

use crate::Experiment;
use crate::charts::{Axis, Chart, Panel, Series};
use crate::harness::gpu::Gpu;
use crate::harness::report::{Claim, Findings, Table, Verdict, number, plus_minus};
use crate::harness::stats::{mean, standard_error};
use crate::replicas::{Digits, EPOCH, History, Replicas, Setting, Task, bootstrap, mean_of, paired, window};
use anyhow::Result;
use wgpu_optim::rules::{Adam, RAdam, Sgd};
use wgpu_optim::{AnyRule, Curve, Schedule};

pub const EXPERIMENT: Experiment =
    Experiment { name: "radam-rates", title: "RAdam: robustness to the learning rate (figure 6)", run };

/// Rule and beta2.
const METHODS: [(&str, f64); 5] =
    [("RAdam", 0.999), ("RAdam", 0.99), ("Adam", 0.999), ("Adam", 0.99), ("SGD", 0.0)];
const STYLES: [usize; 5] = [1, 4, 0, 3, 2];
const SGD: usize = 4;
const SCHEDULES: [&str; 2] = ["rate x 0.1 after 1/2 and 3/4 of the steps", "constant rate"];
/// Points of accuracy below a method's best that still count as the same performance.
const TOLERANCE: f64 = 2.0;
/// Rates whose curves are shown, by their place in the grid.
const SHOWN: [usize; 4] = [8, 6, 4, 2];
const SOURCE: &str = "RAdam, figure 6";

fn label(method: usize) -> String {
    let (rule, beta2) = METHODS[method];
    if method == SGD { "SGD, momentum 0.9".into() } else { format!("{rule}, beta2 {beta2}") }
}

fn rule(method: usize, lr: f64) -> AnyRule {
    let (rule, beta2) = METHODS[method];
    match rule {
        "RAdam" => AnyRule::new(RAdam { lr, beta2, threshold: 4.0, ..RAdam::default() }),
        "Adam" => AnyRule::new(Adam { lr, beta2, ..Adam::default() }),
        _ => AnyRule::new(Sgd { lr, momentum: 0.9, ..Sgd::default() }),
    }
}

/// Final accuracies of all settings.
struct Sweep {
    rates: Vec<f64>,
    history: History,
}

impl Sweep {
    fn setting(&self, method: usize, schedule: usize, rate: usize) -> usize {
        (method * SCHEDULES.len() + schedule) * self.rates.len() + rate
    }

    /// \[rate, seed\], in %.
    fn accuracies(&self, method: usize, schedule: usize) -> Vec<Vec<f64>> {
        (0..self.rates.len())
            .map(|rate| self.history.final_accuracy(self.setting(method, schedule, rate)))
            .collect()
    }

    /// The place of the best rate, and the accuracies there.
    fn best(&self, method: usize, schedule: usize) -> (usize, Vec<f64>) {
        let all = self.accuracies(method, schedule);
        let best = (0..all.len()).max_by(|a, b| mean(&all[*a]).total_cmp(&mean(&all[*b]))).unwrap_or(0);
        (best, all[best].clone())
    }

    /// The rates of the same performance, as a range of log10.
    fn range(&self, accuracies: &[Vec<f64>], seeds: &[usize]) -> (f64, f64) {
        let x: Vec<f64> = self.rates.iter().map(|rate| rate.log10()).collect();
        let y: Vec<f64> = accuracies.iter().map(|values| mean_of(values, seeds)).collect();
        window(&x, &y, TOLERANCE)
    }

    /// By how many decades `a`'s range is wider than `b`'s.
    fn wider(&self, a: usize, b: usize, schedule: usize) -> (f64, f64) {
        let (a, b) = (self.accuracies(a, schedule), self.accuracies(b, schedule));
        let width = |values: &[Vec<f64>], seeds: &[usize]| {
            let (low, high) = self.range(values, seeds);
            high - low
        };
        bootstrap(self.history.task.seeds, |seeds| width(&a, seeds) - width(&b, seeds))
    }

    fn width(&self, method: usize, schedule: usize) -> (f64, f64) {
        let all = self.accuracies(method, schedule);
        bootstrap(self.history.task.seeds, |seeds| {
            let (low, high) = self.range(&all, seeds);
            high - low
        })
    }

    /// By how many decades the ends of `a`'s range lie above those of `b`'s.
    fn above(&self, a: usize, b: usize, schedule: usize) -> [(f64, f64); 2] {
        let (a, b) = (self.accuracies(a, schedule), self.accuracies(b, schedule));
        let seeds = self.history.task.seeds;
        [
            bootstrap(seeds, |seeds| self.range(&a, seeds).0 - self.range(&b, seeds).0),
            bootstrap(seeds, |seeds| self.range(&a, seeds).1 - self.range(&b, seeds).1),
        ]
    }
}

fn run(gpu: &Gpu) -> Result<Findings> {
    let digits = Digits::new(gpu)?;
    let task = Task {
        layers: 1,
        units: 32,
        first_seed: 0,
        seeds: gpu.pick(8, 2),
        steps: gpu.pick(20, 1) * EPOCH,
        every: EPOCH,
        test_every: EPOCH,
    };
    let rates: Vec<f64> = (0..12).map(|i| 5e-4 * f64::from(1 << i)).collect();
    let steps = task.steps as u64;
    let drops = Curve::MultiStep { value: 1.0, factor: 0.1, milestones: vec![steps / 2, steps * 3 / 4] };
    let factors = [Schedule::new(drops)?, Schedule::constant(1.0)?];
    let mut settings = vec![];
    for method in 0..METHODS.len() {
        for factor in &factors {
            settings
                .extend(rates.iter().map(|lr| Setting { rule: rule(method, *lr), factor: factor.clone() }));
        }
    }
    let what = format!("{} networks", settings.len() * task.seeds);
    let replicas = Replicas::new(gpu, &digits, task, &settings)?;
    let history = replicas.train(gpu, |_, _, _| (), |share| gpu.progress(share, &what))?;
    let sweep = Sweep { rates, history };
    Ok(Findings {
        claims: vec![against(&sweep, "Adam"), against(&sweep, "SGD"), best(&sweep), shift(&sweep)],
        charts: vec![by_rate(&sweep), by_epoch(&sweep)],
        tables: vec![table(&sweep)],
        notes: notes(&sweep, &digits),
    })
}

/// Whether RAdam is less sensitive than `other`, with each schedule and beta2.
fn against(sweep: &Sweep, other: &str) -> Claim {
    let (mut texts, mut wider, mut narrower) = (vec![], 0, 0);
    for (schedule, name) in SCHEDULES.iter().enumerate() {
        for method in (0..METHODS.len()).filter(|method| METHODS[*method].0 == "RAdam") {
            let same =
                |rival: &(&str, f64)| rival.0 == other && (rival.0 == "SGD" || rival.1 == METHODS[method].1);
            let rival = METHODS.iter().position(same).unwrap_or(SGD);
            let (difference, error) = sweep.wider(method, rival, schedule);
            wider += usize::from(difference > 2.0 * error);
            narrower += usize::from(difference < -2.0 * error);
            let (own, rival) = (sweep.width(method, schedule), sweep.width(rival, schedule));
            let beta2 = METHODS[method].1;
            texts.push(format!(
                "{name}, beta2 {beta2}: {} against {} decades",
                plus_minus(own.0, own.1),
                plus_minus(rival.0, rival.1)
            ));
        }
    }
    let all = texts.len();
    let verdict = match wider {
        _ if wider == all => Verdict::Reproduced,
        0 => Verdict::NotReproduced,
        _ => Verdict::Partly,
    };
    Claim {
        source: SOURCE,
        claim: format!("RAdam performs the same over a wider range of learning rates than {other}."),
        paper: "(curves only)".into(),
        ours: texts.join("; "),
        verdict,
        why: format!(
            "Range of rates whose mean final test accuracy is within {TOLERANCE} points of the method's \
             best. Reproduced if RAdam's is wider by two standard errors (bootstrap over seeds) in all {all} \
             cases, partly if in some: it is in {wider}, and narrower in {narrower}."
        ),
    }
}

/// Whether RAdam at its best is better than Adam at its best.
fn best(sweep: &Sweep) -> Claim {
    let of = |method| sweep.best(method, 0);
    let ((radam_rate, radam), (adam_rate, adam), (_, sgd)) = (of(0), of(2), of(SGD));
    let (difference, error) = paired(&radam, &adam);
    let verdict = if difference > 2.0 * error { Verdict::Reproduced } else { Verdict::NotReproduced };
    let show = |values: &[f64]| plus_minus(mean(values), standard_error(values));
    Claim {
        source: "RAdam, table 2 (CIFAR10, ImageNet)",
        claim: "RAdam reaches a higher accuracy than Adam.".into(),
        paper: "CIFAR10: RAdam 91.38 %, Adam 90.54 %, SGD 91.51 %".into(),
        ours: format!(
            "RAdam {} % (rate {}), Adam {} % (rate {}), SGD {} %; RAdam - Adam: {}",
            show(&radam),
            number(sweep.rates[radam_rate]),
            show(&adam),
            number(sweep.rates[adam_rate]),
            show(&sgd),
            plus_minus(difference, error)
        ),
        verdict,
        why:
            "Each at its best rate, beta2 0.999, falling rate. Reproduced if the mean difference over seeds \
             is above two standard errors."
                .into(),
    }
}

/// Mean over steps of the factor by which RAdam shrinks Adam's steps; 0 in its first steps, which have no
/// denominator.
fn mean_rectification(beta2: f64, steps: usize) -> f64 {
    let rho_inf = 2.0 / (1.0 - beta2) - 1.0;
    let variance = |rho: f64| (rho - 4.0) * (rho - 2.0) / rho;
    let factor = |t: usize| {
        let power = beta2.powi(t as i32);
        let rho = rho_inf - 2.0 * t as f64 * power / (1.0 - power);
        if rho > 4.0 { (variance(rho) / variance(rho_inf)).sqrt() } else { 0.0 }
    };
    (1..=steps).map(factor).sum::<f64>() / steps as f64
}

/// Where RAdam's range of rates lies.
fn shift(sweep: &Sweep) -> Claim {
    let steps = sweep.history.task.steps;
    let (mut texts, mut off) = (vec![], vec![]);
    for (radam, adam) in [(0, 2), (1, 3)] {
        let beta2 = METHODS[radam].1;
        let [low, high] = sweep.above(radam, adam, 0).map(|(value, error)| plus_minus(value, error));
        texts.push(format!("beta2 {beta2}: lower end {low} decades above Adam's, upper end {high}"));
        let expected = -mean_rectification(beta2, steps / 2).log10();
        off.push(format!("{} decades with beta2 {beta2}", number(expected)));
    }
    Claim {
        source: SOURCE,
        claim: "Where RAdam's range of good rates lies, compared with Adam's.".into(),
        paper: String::new(),
        ours: texts.join("; "),
        verdict: Verdict::Found,
        why: format!(
            "Falling rate. RAdam takes off r_t, as a mean over the {} steps before the rate falls {}: in a \
             run as short as this it needs a larger rate and allows one, which moves the range more than it \
             widens it.",
            steps / 2,
            off.join(" and ")
        ),
    }
}

fn by_rate(sweep: &Sweep) -> Chart {
    let panel = |(schedule, name): (usize, &&str)| {
        let line = |method: usize| {
            let all = sweep.accuracies(method, schedule);
            let points = sweep.rates.iter().zip(&all).map(|(rate, values)| (*rate, values.clone()));
            crate::replicas::curve(label(method), points).style(STYLES[method])
        };
        let series: Vec<Series> = (0..METHODS.len()).map(line).collect();
        let x = Axis::new("learning rate").log();
        Panel::new(*name, x, Axis::new("test accuracy at the end (%)").range(84.0, 99.0), series)
    };
    Chart {
        name: "radam-rates".into(),
        title: "Test accuracy on the digits over the learning rate: mean and standard error over seeds"
            .into(),
        columns: 2,
        panels: SCHEDULES.iter().enumerate().map(panel).collect(),
    }
}

fn by_epoch(sweep: &Sweep) -> Chart {
    let panel = |method: usize| {
        let line = |(style, rate): (usize, &usize)| {
            let setting = sweep.setting(method, 0, *rate);
            let name = format!("rate {}", number(sweep.rates[*rate]));
            sweep.history.test_curve(name, setting, |step| step / EPOCH as f64).style(style)
        };
        let series = SHOWN.iter().enumerate().map(line).collect();
        let y = Axis::new("test accuracy (%)").range(70.0, 99.0);
        Panel::new(label(method), Axis::new("epoch"), y, series)
    };
    Chart {
        name: "radam-epochs".into(),
        title: "RAdam's figure 6 on the digits: mean and standard error over seeds".into(),
        columns: 3,
        panels: [0, 2, SGD].map(panel).into(),
    }
}

fn table(sweep: &Sweep) -> Table {
    let mut table = Table::new(
        "radam-rates",
        &["method", "beta2", "schedule", "rate", "accuracy_percent", "standard_error"],
    );
    for (method, (rule, beta2)) in METHODS.iter().enumerate() {
        for (schedule, name) in SCHEDULES.iter().enumerate() {
            for (rate, values) in sweep.rates.iter().zip(sweep.accuracies(method, schedule)) {
                table.row(&[rule, beta2, name, rate, &mean(&values), &standard_error(&values)]);
            }
        }
    }
    table
}

fn notes(sweep: &Sweep, digits: &Digits) -> String {
    let task = sweep.history.task;
    format!(
        "A 64-{}-10 perceptron with max(x, 0), {} digits to train on and {} to test, batches of 32 drawn \
         with replacement, {} steps, {} seeds: first parameters and batches, the same for all methods. The \
         text at hand gives neither the rates nor the schedule of figure 6, so rates go from {} to {} by \
         factors of two, with a falling and with a constant rate. RAdam as in the paper (threshold 4, a step \
         along m before it), beta1 0.9, eps 1e-8; SGD with momentum 0.9. All {} networks advance together; \
         the optimizers take three dispatches a step, one for each rule.",
        task.units,
        digits.train,
        digits.test,
        task.steps,
        task.seeds,
        number(sweep.rates[0]),
        number(sweep.rates[sweep.rates.len() - 1]),
        sweep.history.replicas,
    )
}
