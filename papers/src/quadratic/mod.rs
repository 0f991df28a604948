//! MaxVA, section 4.2 and figure 3: MAdam against Adam with its best beta on the noisy quadratic model.

mod figure;
mod runs;
mod settings;

use crate::Experiment;
use crate::charts::Chart;
use crate::harness::gpu::Gpu;
use crate::harness::report::Findings;
use crate::harness::stats::mean;
use anyhow::Result;
use figure::Example;
use runs::{Losses, Plan, Setting, losses};
use settings::Study;
use std::ops::Range;
use wgpu_optim::Options;
use wgpu_optim::rules::{Adam, MAdam};

pub const EXPERIMENT: Experiment = Experiment {
    name: "maxva-quadratic",
    title: "MaxVA, section 4.2 and figure 3: MAdam and Adam on the noisy quadratic model",
    run,
};

/// Betas of the authors' script, and two more.
const ADAM_BETAS: [f64; 8] = [0.5, 0.6, 0.7, 0.8, 0.9, 0.99, 0.95, 0.999];
const SCRIPT_BETAS: usize = 6;
/// MAdam's largest betas; the first is the script's.
const MADAM_BETAS: [f64; 4] = [0.99, 0.9, 0.999, 1.0];
const H: [f32; 2] = [1.0, 20.0];
const SIGMA: f32 = 0.2;
const SOURCE: &str = "MaxVA, section 4.2, figure 3";
/// Styles of the charts.
const ADAM: usize = 0;
const MADAM: usize = 1;
const SCRIPT: usize = 2;

/// Configurations: every rate under the first beta, then under the next.
#[derive(Debug, Clone)]
struct Grid {
    rates: Vec<f64>,
    betas: Vec<f64>,
}

impl Grid {
    fn pairs(&self) -> impl Iterator<Item = (f64, f64)> {
        self.betas.iter().flat_map(|beta| self.rates.iter().map(|lr| (*lr, *beta)))
    }

    fn adam(&self) -> Vec<Adam> {
        self.pairs().map(|(lr, beta2)| Adam { lr, beta2, eps: 0.0, ..Adam::default() }).collect()
    }

    fn madam(&self) -> Vec<MAdam> {
        let madam = |(lr, beta_max)| MAdam { lr, beta_max, eps: 0.0, delta: 0.0, ..MAdam::default() };
        self.pairs().map(madam).collect()
    }

    /// The configurations of the first `betas`.
    fn first(&self, betas: usize) -> Range<usize> {
        0..self.rates.len() * betas.min(self.betas.len())
    }

    /// The configurations of one rate under the first `betas`.
    fn at(&self, rate: usize, betas: usize) -> impl Iterator<Item = usize> {
        self.first(betas).skip(rate).step_by(self.rates.len())
    }

    fn rate(&self, config: usize) -> f64 {
        self.rates[config % self.rates.len()]
    }

    fn beta(&self, config: usize) -> f64 {
        self.betas[config / self.rates.len()]
    }
}

/// All rules over the same settings.
struct Sweep {
    adam: Grid,
    madam: Grid,
    adam_losses: Losses,
    madam_losses: Losses,
    /// MAdam as the script has it, with the first of MAdam's betas.
    script_losses: Losses,
}

/// A best configuration, chosen in one half of the blocks, with the losses of the other half.
struct Best {
    config: usize,
    means: Vec<f64>,
    /// Standard error over as many runs as the paper has.
    error: f64,
}

impl Sweep {
    fn measure(gpu: &Gpu, adam: Grid, madam: Grid, plan: &Plan) -> Result<Self> {
        let (from, to) = plan.progress;
        let part =
            |a: f64, b: f64| Plan { progress: (from + a * (to - from), from + b * (to - from)), ..*plan };
        let mut options = Options::default();
        let adam_losses = losses(gpu, "Adam", &adam.adam(), &options, &part(0.0, 0.5))?;
        let madam_losses = losses(gpu, "MAdam", &madam.madam(), &options, &part(0.5, 0.88))?;
        options.wgsl = Some(include_str!("script.wgsl").into());
        let script = &madam.madam()[madam.first(1)];
        let script_losses = losses(gpu, "the script's MAdam", script, &options, &part(0.88, 1.0))?;
        Ok(Self { adam, madam, adam_losses, madam_losses, script_losses })
    }

    fn best(losses: &Losses, at: (usize, usize), among: impl IntoIterator<Item = usize>) -> Best {
        let (half, all) = (losses.blocks() / 2, losses.blocks());
        let config = losses.best(at.0, at.1, among, 0..half);
        let means = losses.means(at.0, config, at.1)[half..all].to_vec();
        let error = mean(&losses.errors(at.0, config, at.1)[half..all]);
        Best { config, means, error }
    }

    /// Adam's best under the script's betas or all of them; `at` is snapshot and setting.
    fn adam(&self, at: (usize, usize), betas: usize) -> Best {
        Self::best(&self.adam_losses, at, self.adam.first(betas))
    }

    fn madam(&self, at: (usize, usize), betas: usize) -> Best {
        Self::best(&self.madam_losses, at, self.madam.first(betas))
    }

    fn script(&self, at: (usize, usize)) -> Best {
        Self::best(&self.script_losses, at, self.madam.first(1))
    }
}

fn setting(sigma: f32, fixed: bool) -> Setting {
    Setting { h: H, sigma, start: 1.0, fixed: fixed.into(), pad: 0 }
}

/// The script's rates: 1e-3 to 9e-3, 1e-2 to 9e-2, 0.1 and 0.2.
fn script_rates() -> Vec<f64> {
    let decade = |unit: f64| (1..=9).map(move |i| f64::from(i) * unit);
    decade(1e-3).chain(decade(1e-2)).chain([0.1, 0.2]).collect()
}

fn run(gpu: &Gpu) -> Result<Findings> {
    let steps = gpu.pick(1000, 250);
    let thin = |values: Vec<f64>| -> Vec<f64> { values.into_iter().step_by(gpu.pick(1, 4)).collect() };
    let betas = |values: &[f64], quick: usize| values[..gpu.pick(values.len(), quick)].to_vec();

    // Figure 3, with many more runs than its 100.
    let rates = thin(script_rates());
    let plan = Plan {
        settings: &[setting(SIGMA, false)],
        runs: gpu.pick(5000, 400),
        seed: 1,
        snapshots: &[steps],
        progress: (0.0, 0.4),
    };
    let adam = Grid { rates: rates.clone(), betas: betas(&ADAM_BETAS, 2) };
    let madam = Grid { rates, betas: betas(&MADAM_BETAS, 1) };
    let figure = Sweep::measure(gpu, adam, madam, &plan)?;

    // Other settings. Of the last, which is the first with other curvatures, only the path is of interest.
    let mut settings: Vec<Setting> = vec![setting(SIGMA, false)];
    settings.extend(gpu.pick([0.02, 0.06, 0.6, 2.0].as_slice(), &[2.0]).iter().map(|s| setting(*s, false)));
    settings.extend(gpu.pick([0.02, 0.2, 2.0].as_slice(), &[]).iter().map(|s| setting(*s, true)));
    let other_h = Setting { h: [H[0] * 4.0, H[1] / 16.0], ..settings[0] };
    settings.push(other_h);
    let rates = thin((0..=24).map(|i| 1e-3 * 10f64.powf(f64::from(i) / 12.0)).collect());
    let snapshots = [steps / 4, steps];
    let plan = Plan {
        settings: &settings,
        runs: gpu.pick(1600, 400),
        seed: 2,
        snapshots: &snapshots,
        progress: (0.4, 0.95),
    };
    let adam =
        Grid { rates: rates.clone(), betas: gpu.pick(vec![0.5, 0.7, 0.9, 0.95, 0.99, 0.999], vec![0.9]) };
    let madam = Grid { rates, betas: gpu.pick(vec![0.99, 0.999, 1.0], vec![0.99]) };
    let study = Sweep::measure(gpu, adam, madam, &plan)?;
    let study = Study::new(&study, &settings, &snapshots);

    let example = Example::measure(gpu, &figure, steps)?;
    let mut claims = vec![study.claim(&figure)];
    claims.extend(figure::claims(&figure));
    claims.push(example.claim());
    claims.extend(study.found(&figure));
    claims.push(figure::replication(&figure));
    let panels = [figure::losses(&figure), figure::replications(&figure), example.losses(), example.paths()];
    let title = "Noisy quadratic model: h = (1, 20), sigma = 0.2, start N(0, 1)".into();
    let chart = Chart { name: "maxva-quadratic".into(), title, columns: 2, panels: panels.into() };
    Ok(Findings {
        claims,
        charts: vec![chart, study.chart()],
        tables: vec![figure::table(&figure), study.table(), example.table()],
        notes: notes(gpu),
    })
}

fn notes(gpu: &Gpu) -> String {
    format!(
        "**Settings.** The text leaves out steps, start, momentum and grids; they are those of the script \
         that the authors published with the paper (`synthetic_data/nqm.py`): h = (1, 20), sigma = 0.2, \
         start N(0, 1), 1000 steps, momentum 0.9, 20 rates from 1e-3 to 0.2, Adam's beta in {{0.5, 0.6, \
         0.7, 0.8, 0.9, 0.99}}, MAdam's in [0.5, 0.99], loss of the last step without the noise's \
         constant. eps and delta are 0 (1e-10 and 1e-16 there), which makes both rules free of the \
         gradient's scale to the last bit. Beyond it: {} runs in the place of 100, beta 0.95 and 0.999 for \
         Adam, 0.9, 0.999 and 1 for MAdam's largest; and in the other settings {} runs over 25 rates, 12 a \
         decade, of either rule. All rules see the same starts and the same noise.\n\n\
         **Choice and measurement.** Rate and beta are chosen in one half of the runs, losses are those of \
         the other half, in blocks of 100 runs, which give the standard errors.\n\n\
         **Names.** The caption of figure 3 gives 1.84e-3 (2.51e-4) to Adam and 4.05e-3 (4.84e-4) to \
         MAdam. The names are swapped, or the figure would contradict the text; and by these numbers MAdam \
         would be 55 % lower, not 30-40 %.\n\n\
         **The script's MAdam is not algorithm 1.** In the place of the mean of the gradients under the \
         weights it has the momentum, with the present gradient in it, divided by w. Both were run.\n\n\
         **Starts.** A normal start is now and then farther away than Adam's best rate carries it in the \
         time given; these few runs make much of its mean loss and of its standard error. From a start at \
         a given distance the difference is another one: where the start is many noises away, an Adam with \
         a long memory (beta = 0.999) still has the first large gradients in v when it arrives, takes \
         small steps for that, and can win.\n\n\
         **Why MAdam gains.** While all gradients point one way, both rules step by the learning rate. In \
         noise MAdam's v is k times the mean square (`maxva-reaction` measures k), so that it steps by \
         1/sqrt(k) of it, and the loss around the optimum is proportional to that: a decay of the rate \
         that comes by itself.",
        gpu.pick(5000, 400),
        gpu.pick(1600, 400),
    )
}
