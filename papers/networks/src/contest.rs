//! Methods against one another on one task, each at its own best rate, and what is concluded from that.

use crate::lab::{DIVERGED, PARTS, Run};
use crate::methods::{Method, named};
use crate::store::{Job, Store};
use crate::tasks::{Task, Tasks};
use anyhow::{Context, Result};
use wgpu_optim_papers::charts::{Axis, Chart, Panel, STYLES, Series};
use wgpu_optim_papers::harness::report::{Claim, Table, Verdict, number, plus_minus};
use wgpu_optim_papers::harness::stats::{mean, standard_error};
use wgpu_optim_papers::replicas::{curve, paired};

/// Seeds that choose the rate, and others that judge it.
const SEARCH: std::ops::Range<u64> = 0..2;
const JUDGE: u64 = 100;
/// Rates on either side of the middle, three to a decade and a half.
const ASIDE: i32 = 3;
/// By how many more rates the grid may grow where the best is its last.
const GROWTH: i32 = 3;

/// What a method reached.
pub struct Outcome {
    pub method: Method,
    pub rate: f64,
    /// The best rate is the last of the grid, which grew as far as it may.
    pub at_edge: bool,
    /// At the best rate, seeds that did not choose it.
    pub runs: Vec<Run>,
    /// Mean test loss of the seeds that choose, at every rate.
    pub search: Vec<(f64, f64)>,
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    TestLoss,
    /// Of the last part of the run.
    TrainLoss,
    /// In %.
    Accuracy,
}

impl Measure {
    pub fn of(self, run: &Run) -> f64 {
        match self {
            Self::TestLoss => run.test_loss,
            Self::TrainLoss => f64::from(run.losses[PARTS - 1]),
            Self::Accuracy => 100.0 * run.accuracy,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::TestLoss => "test loss",
            Self::TrainLoss => "training loss",
            Self::Accuracy => "accuracy in %",
        }
    }
}

pub struct Contest {
    pub task: Task,
    pub outcomes: Vec<Outcome>,
}

type Run1 = (Method, f64, u64);

/// What a contest of these methods weighs, before its grids grow.
pub fn weight(store: &Store, task: Task, methods: &[&str]) -> u64 {
    let runs = (2 * ASIDE as u64 + 1) * (SEARCH.end - SEARCH.start) + seeds(store) as u64;
    let (steps, _) = task.size(store.quick);
    methods.len() as u64 * runs * steps as u64 * task.cost()
}

pub fn seeds(store: &Store) -> usize {
    store.pick(8, 2)
}

impl Contest {
    /// Looks for each method's best rate with two seeds, and then takes others there.
    pub fn hold(store: &Store, tasks: &Tasks, task: Task, methods: &[&str]) -> Result<Self> {
        let outcomes = methods.iter().map(|name| Outcome::of(store, tasks, task, named(name)));
        Ok(Self { task, outcomes: outcomes.collect::<Result<_>>()? })
    }

    pub fn outcome(&self, method: &str) -> Result<&Outcome> {
        let own = self.outcomes.iter().find(|outcome| outcome.method.name == method);
        own.with_context(|| format!("{method} is not in the contest on {}", self.task.name()))
    }

    pub fn values(&self, method: &str, measure: Measure) -> Result<Vec<f64>> {
        Ok(self.outcome(method)?.runs.iter().map(|run| measure.of(run)).collect())
    }

    /// `2.10 ± 0.02 (rate 0.003)`
    pub fn shown(&self, method: &str, measure: Measure) -> Result<String> {
        let outcome = self.outcome(method)?;
        let values = self.values(method, measure)?;
        let edge = if outcome.at_edge { ", the last that was tried" } else { "" };
        Ok(format!(
            "{method} {} (rate {}{edge})",
            plus_minus(mean(&values), standard_error(&values)),
            number(outcome.rate)
        ))
    }

    /// By how much `a` is better than `b` on the same seeds, with its standard error.
    pub fn better(&self, a: &str, b: &str, measure: Measure) -> Result<(f64, f64)> {
        let (a, b) = (self.values(a, measure)?, self.values(b, measure)?);
        let (difference, error) = paired(&a, &b);
        Ok(if measure == Measure::Accuracy { (difference, error) } else { (-difference, error) })
    }

    /// The claim that `a` is better than `b`.
    pub fn claim(
        &self,
        source: &'static str,
        claim: &str,
        paper: &str,
        (a, b): (&str, &str),
        measure: Measure,
    ) -> Result<Claim> {
        let (difference, error) = self.better(a, b, measure)?;
        Ok(Claim {
            source,
            claim: claim.into(),
            paper: paper.into(),
            ours: format!(
                "{}, {}: {}; {}; better by {}",
                self.task.name(),
                measure.name(),
                self.shown(a, measure)?,
                self.shown(b, measure)?,
                plus_minus(difference, error)
            ),
            verdict: verdict(difference, error),
            why:
                "Reproduced if better by two standard errors over the same seeds, each at its best rate; not \
                  reproduced if worse by as much; undecided between."
                    .into(),
        })
    }

    /// The claim that `a` is not worse than `b`: at most `margin` worse, and surely so.
    pub fn as_good(
        &self,
        source: &'static str,
        claim: &str,
        paper: &str,
        (a, b): (&str, &str),
        (measure, margin): (Measure, f64),
    ) -> Result<Claim> {
        let (difference, error) = self.better(a, b, measure)?;
        let mut made = self.claim(source, claim, paper, (a, b), measure)?;
        made.verdict = verdict(difference + margin, error);
        made.why = format!(
            "Reproduced if at most {} worse, by two standard errors over the same seeds; not reproduced if \
             worse than that by as much; undecided between.",
            number(margin)
        );
        Ok(made)
    }

    /// The loss over the steps, each at its best rate.
    fn over_steps(&self) -> Panel {
        let (steps, _) = self.task.size(false);
        let line = |outcome: &Outcome| {
            let at = |part: usize| (part as f64 + 0.5) * steps as f64 / PARTS as f64;
            let values = |part: usize| outcome.runs.iter().map(|run| f64::from(run.losses[part])).collect();
            let points = (0..PARTS).map(|part| (at(part), values(part)));
            curve(outcome.method.name, points).style(style(outcome.method.name))
        };
        let series: Vec<Series> = self.outcomes.iter().map(line).collect();
        let runs = self.outcomes.iter().flat_map(|outcome| &outcome.runs);
        let lowest = runs.map(|run| f64::from(run.losses[PARTS - 1])).fold(f64::INFINITY, f64::min);
        let first =
            self.outcomes.iter().map(|outcome| f64::from(outcome.runs[0].losses[0])).fold(0.0, f64::max);
        let y = Axis::new("training loss (nats)").log().range(0.9 * lowest.max(1e-4), 1.1 * first.min(10.0));
        Panel::new(self.task.name(), Axis::new("step"), y, series)
    }

    /// The test loss over the rate.
    fn over_rates(&self) -> Panel {
        let line = |outcome: &Outcome| {
            let points = outcome.search.iter().map(|(rate, loss)| (*rate, *loss)).collect();
            Series::line(outcome.method.name, points).style(style(outcome.method.name))
        };
        let series: Vec<Series> = self.outcomes.iter().map(line).collect();
        let losses = self.outcomes.iter().flat_map(|outcome| outcome.search.iter().map(|(_, loss)| *loss));
        let lowest = losses.clone().fold(f64::INFINITY, f64::min);
        // What diverged is far above the rest.
        let highest = losses.filter(|loss| *loss < 10.0 * lowest).fold(lowest, f64::max);
        let y = Axis::new("test loss (nats)").log().range(0.95 * lowest, 1.1 * highest);
        Panel::new(self.task.name(), Axis::new("learning rate").log(), y, series)
    }

    fn rows(&self, table: &mut Table) {
        for outcome in &self.outcomes {
            for measure in [Measure::TrainLoss, Measure::TestLoss, Measure::Accuracy] {
                let values: Vec<f64> = outcome.runs.iter().map(|run| measure.of(run)).collect();
                table.row(&[
                    &self.task.name(),
                    &outcome.method.name,
                    &outcome.rate,
                    &measure.name(),
                    &mean(&values),
                    &standard_error(&values),
                    &values.len(),
                ]);
            }
        }
    }

    /// A line for the notes.
    fn told(&self, store: &Store) -> String {
        let (steps, examples) = self.task.size(store.quick);
        format!(
            "{}: {}; {steps} steps, batches of {examples}, {} seeds",
            self.task.name(),
            self.task.describes(),
            seeds(store)
        )
    }
}

/// What some contests show together.
pub struct Shown {
    /// Loss over steps, loss over rates.
    pub charts: Vec<Chart>,
    pub table: Table,
    /// What was trained, for the notes.
    pub told: String,
}

/// The pictures and the table of contests, called `name`; the picture over rates is called `rates`.
pub fn shown(store: &Store, contests: &[Contest], (name, rates): (&str, &str), columns: usize) -> Shown {
    let chart = |name: &str, title: &str, panel: fn(&Contest) -> Panel| Chart {
        name: name.into(),
        title: title.into(),
        columns,
        panels: contests.iter().map(panel).collect(),
    };
    let columns = ["task", "method", "rate", "measure", "mean", "standard_error", "seeds"];
    let mut table = Table::new(name, &columns);
    contests.iter().for_each(|contest| contest.rows(&mut table));
    let told: Vec<String> = contests.iter().map(|contest| contest.told(store)).collect();
    let charts = vec![
        chart(name, "Training loss at each method's best rate", Contest::over_steps),
        chart(rates, "Test loss over the learning rate", Contest::over_rates),
    ];
    Shown { charts, table, told: told.join(". ") }
}

/// Behind every contest.
pub const RULES: &str = "Every method is tried at seven rates from a thirtieth to thirty times a middle one (a factor \
    of the square root of ten apart, and up to three more where the best is the last), with two seeds; other seeds then \
    judge the rate with the lowest test loss. Rates fall linearly to 0 in the last half of the steps; warm-up is linear \
    in the first fifth. A seed sets first weights and batches, the same for all methods. burn differentiates on the \
    CPU; every step is made by this library on the adapter.";

pub fn verdict(difference: f64, error: f64) -> Verdict {
    if difference > 2.0 * error {
        Verdict::Reproduced
    } else if difference < -2.0 * error {
        Verdict::NotReproduced
    } else {
        Verdict::Undecided
    }
}

/// The same colour for the same method wherever it is; methods that never meet share one.
pub fn style(method: &str) -> usize {
    let order = ["Adam", "RAdam", "SGDM", "ACClip", "clipped SGDM", "Adam, warm-up", "CClip", "AMSGrad"];
    let others = ["MAdam", "LaMAdam", "LaProp", "AdaMod", "AdaBelief", "LAMB", "AdaBound"];
    let styles = [7, 3, 4, 3, 6, 5, 6];
    let first = order.iter().position(|name| *name == method);
    let second = || others.iter().position(|name| *name == method).map(|i| styles[i]);
    first.or_else(second).unwrap_or(0) % STYLES
}

impl Outcome {
    fn of(store: &Store, tasks: &Tasks, task: Task, method: Method) -> Result<Self> {
        let rate = |k: i32| method.rate * 10f64.powf(f64::from(k) / 2.0);
        let (mut low, mut high) = (-ASIDE, ASIDE);
        loop {
            let grid: Vec<i32> = (low..=high).collect();
            let wanted = grid.iter().flat_map(|k| SEARCH.map(|seed| (method, rate(*k), seed))).collect();
            let runs = runs(store, tasks, task, wanted)?;
            let losses = runs.chunks(SEARCH.count()).map(|runs| {
                let losses: Vec<f64> =
                    runs.iter().map(|run| run.test_loss.min(f64::from(DIVERGED))).collect();
                mean(&losses)
            });
            let losses: Vec<f64> = losses.collect();
            let best = (0..grid.len()).min_by(|a, b| losses[*a].total_cmp(&losses[*b])).unwrap_or(0);
            let (first, last) = (best == 0, best == grid.len() - 1);
            let room = (high - low) < 2 * ASIDE + GROWTH;
            if (first || last) && room && !store.quick {
                store.expect(SEARCH.end * task.size(store.quick).0 as u64 * task.cost());
                if first {
                    low -= 1
                } else {
                    high += 1
                }
                continue;
            }
            let rate = rate(grid[best]);
            let judges = JUDGE..JUDGE + seeds(store) as u64;
            let judged = judges.map(|seed| (method, rate, seed)).collect();
            return Ok(Self {
                method,
                rate,
                at_edge: first || last,
                runs: self::runs(store, tasks, task, judged)?,
                search: grid
                    .iter()
                    .map(|k| method.rate * 10f64.powf(f64::from(*k) / 2.0))
                    .zip(losses)
                    .collect(),
            });
        }
    }
}

fn runs(store: &Store, tasks: &Tasks, task: Task, wanted: Vec<Run1>) -> Result<Vec<Run>> {
    let (steps, examples) = task.size(store.quick);
    let job = |(method, lr, seed): Run1| Job {
        name: format!(
            "{}: {} at {}, seed {seed}, {steps} steps of {examples}",
            task.name(),
            method.name,
            number(lr)
        ),
        weight: steps as u64 * task.cost(),
        what: (method, lr, seed),
    };
    let jobs: Vec<Job<Run1>> = wanted.into_iter().map(job).collect();
    store.all(&jobs, |lab, (method, lr, seed)| tasks.run(lab, task, method, *lr, *seed))
}
