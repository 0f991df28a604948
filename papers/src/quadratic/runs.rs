//! Runs of the noisy quadratic model on the GPU: every configuration of a rule over every setting and run,
//! one dispatch a step; and what their blocks of runs say.

use crate::harness::gpu::{Binding, Gpu};
use crate::harness::stats::{mean, standard_error};
use anyhow::Result;
use bytemuck::{Pod, Zeroable};
use std::ops::Range;
use wgpu_optim::rule::Config;
use wgpu_optim::{BufferRange, Optimizer, Options, ParamSet};

/// Runs of a block, as many as the paper has for each point.
pub const BLOCK: usize = 100;
/// Steps recorded before a submit.
const STEPS_A_SUBMIT: u32 = 8;

/// One noisy quadratic; as in the kernels.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Setting {
    pub h: [f32; 2],
    pub sigma: f32,
    /// Standard deviation of the start, or its distance.
    pub start: f32,
    /// 1 where it is a distance.
    pub fixed: u32,
    pub pad: u32,
}

/// What is run: `runs`, a multiple of [`BLOCK`], of each setting under each configuration.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    pub settings: &'a [Setting],
    pub runs: usize,
    pub seed: u32,
    /// Steps after which losses are kept, rising.
    pub snapshots: &'a [u32],
    /// Which part of the experiment this is, for the progress bar.
    pub progress: (f64, f64),
}

/// The sums of a block of runs at a snapshot: loss, its square, squares of both coordinates.
pub type Sums = [f32; 4];

/// What one rule's runs left.
pub struct Losses {
    configs: usize,
    settings: usize,
    blocks: usize,
    /// By snapshot, configuration, setting, block.
    sums: Vec<Sums>,
}

impl Losses {
    /// The blocks of one configuration in one setting at one snapshot.
    pub fn sums(&self, snapshot: usize, config: usize, setting: usize) -> &[Sums] {
        let first = ((snapshot * self.configs + config) * self.settings + setting) * self.blocks;
        &self.sums[first..first + self.blocks]
    }

    /// The mean loss of each block.
    pub fn means(&self, snapshot: usize, config: usize, setting: usize) -> Vec<f64> {
        self.sums(snapshot, config, setting).iter().map(|sums| f64::from(sums[0]) / BLOCK as f64).collect()
    }

    /// The standard error over the runs of each block.
    pub fn errors(&self, snapshot: usize, config: usize, setting: usize) -> Vec<f64> {
        let n = BLOCK as f64;
        let error = |sums: &Sums| {
            let (loss, square) = (f64::from(sums[0]) / n, f64::from(sums[1]) / n);
            ((square - loss * loss).max(0.0) / (n - 1.0)).sqrt()
        };
        self.sums(snapshot, config, setting).iter().map(error).collect()
    }

    /// The configuration of `among` with the lowest mean loss in these blocks. One that diverged is never it.
    pub fn best(
        &self,
        snapshot: usize,
        setting: usize,
        among: impl IntoIterator<Item = usize>,
        blocks: Range<usize>,
    ) -> usize {
        let loss = |config: usize| {
            let loss = mean(&self.means(snapshot, config, setting)[blocks.clone()]);
            if loss.is_nan() { f64::INFINITY } else { loss }
        };
        let losses = among.into_iter().map(|config| (config, loss(config)));
        losses.min_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |(config, _)| config)
    }

    /// Blocks of a setting.
    pub fn blocks(&self) -> usize {
        self.blocks
    }
}

/// One rule's parameters, gradients and optimizer, and the kernel that makes the gradients.
struct Runs<C> {
    theta: wgpu_optim::wgpu::Buffer,
    optimizer: Optimizer<C>,
    gradients: crate::harness::gpu::Kernel,
    cells: usize,
    name: String,
    progress: (f64, f64),
}

impl<C: Config> Runs<C> {
    fn new(gpu: &Gpu, name: &str, configs: &[C], options: &Options, plan: &Plan) -> Result<Self> {
        let cells = plan.settings.len() * plan.runs;
        let words = 2 * cells * configs.len();
        let (theta, g) = (gpu.storage("theta", words), gpu.storage("g", words));
        let mut builder = ParamSet::builder();
        for config in 0..configs.len() {
            let group = builder.group(format!("{name} {config}"));
            let at = |buffer| BufferRange::new(buffer, (8 * cells * config) as u64);
            builder.external(format!("{name} {config}"), [2 * cells], group, at(&theta), at(&g));
        }
        let params = builder.build(&gpu.device)?;
        let optimizer = Optimizer::with_options(&gpu.device, &gpu.queue, &params, configs.to_vec(), options)?;
        let settings = gpu.upload("settings", plan.settings);
        let constants =
            [("RUNS", plan.runs as f64), ("CONFIGS", configs.len() as f64), ("SEED", f64::from(plan.seed))];
        let bindings =
            [Binding::Read(settings.slice(..)), Binding::Write(theta.slice(..)), Binding::Write(g.slice(..))];
        let gradients =
            gpu.kernel_with("quadratic", include_str!("quadratic.wgsl"), &constants, &bindings)?;
        Ok(Self { theta, optimizer, gradients, cells, name: name.into(), progress: plan.progress })
    }

    /// Records everything; `after` records what happens after each step, 0 for the start.
    fn advance(
        &mut self,
        gpu: &Gpu,
        steps: u32,
        mut after: impl FnMut(&mut wgpu_optim::wgpu::ComputePass<'_>, u32),
    ) -> Result<()> {
        let groups = self.cells.div_ceil(64) as u32;
        let mut t = 0;
        while t <= steps {
            let (from, to) = self.progress;
            gpu.progress(from + (to - from) * f64::from(t) / f64::from(steps), &self.name);
            let mut encoder = gpu.encoder();
            for t in t..=steps.min(t + STEPS_A_SUBMIT - 1) {
                let step = if t > 0 { Some(self.optimizer.prepare(&mut encoder)?) } else { None };
                let mut pass = encoder.begin_compute_pass(&Default::default());
                self.gradients.record(&mut pass, t, groups);
                if let Some(step) = step {
                    step.encode(&mut pass);
                }
                after(&mut pass, t);
            }
            gpu.submit(encoder);
            t += STEPS_A_SUBMIT;
        }
        Ok(())
    }
}

/// Runs every configuration of a rule.
pub fn losses<C: Config>(
    gpu: &Gpu,
    name: &str,
    configs: &[C],
    options: &Options,
    plan: &Plan,
) -> Result<Losses> {
    let mut runs = Runs::new(gpu, name, configs, options, plan)?;
    let blocks = configs.len() * plan.settings.len() * plan.runs / BLOCK;
    let sums = gpu.storage("sums", 4 * blocks * plan.snapshots.len());
    let settings = gpu.upload("settings", plan.settings);
    let bindings = [
        Binding::Read(settings.slice(..)),
        Binding::Read(runs.theta.slice(..)),
        Binding::Write(sums.slice(..)),
    ];
    let constants = [("RUNS", plan.runs as f64), ("BLOCK", BLOCK as f64)];
    let kernel = gpu.kernel_with("quadratic_loss", include_str!("loss.wgsl"), &constants, &bindings)?;
    let steps = plan.snapshots.last().copied().unwrap_or(0);
    runs.advance(gpu, steps, |pass, t| {
        if let Some(number) = plan.snapshots.iter().position(|snapshot| *snapshot == t) {
            kernel.record(pass, number as u32, blocks.div_ceil(64) as u32);
        }
    })?;
    let words = gpu.read::<f32>(&sums, 0..4 * blocks * plan.snapshots.len())?;
    Ok(Losses {
        configs: configs.len(),
        settings: plan.settings.len(),
        blocks: plan.runs / BLOCK,
        sums: bytemuck::cast_slice(&words).to_vec(),
    })
}

/// One step of a trace: mean loss, its standard error, and where the run `shown` is.
#[derive(Debug, Clone, Copy)]
pub struct Trace {
    pub loss: f64,
    pub error: f64,
    pub theta: (f64, f64),
}

/// Every step of the first setting, for each configuration.
pub fn traces<C: Config>(
    gpu: &Gpu,
    name: &str,
    configs: &[C],
    options: &Options,
    plan: &Plan,
    shown: usize,
) -> Result<Vec<Vec<Trace>>> {
    let mut runs = Runs::new(gpu, name, configs, options, plan)?;
    let steps = plan.snapshots.last().copied().unwrap_or(0);
    let count = (steps as usize + 1) * configs.len();
    let traces = gpu.storage("traces", 4 * count);
    let [h0, h1] = plan.settings[0].h;
    let constants = [
        ("RUNS", plan.runs as f64),
        ("CONFIGS", configs.len() as f64),
        ("SHOWN", shown as f64),
        ("H0", f64::from(h0)),
        ("H1", f64::from(h1)),
    ];
    let bindings = [Binding::Read(runs.theta.slice(..)), Binding::Write(traces.slice(..))];
    let kernel = gpu.kernel_with("quadratic_trace", include_str!("trace.wgsl"), &constants, &bindings)?;
    runs.advance(gpu, steps, |pass, t| kernel.record(pass, t, configs.len() as u32))?;
    let words: Vec<[f32; 4]> = bytemuck::cast_slice(&gpu.read::<f32>(&traces, 0..4 * count)?).to_vec();
    let trace = |words: &[f32; 4]| {
        let [loss, square, x, y] = words.map(f64::from);
        let error = ((square - loss * loss).max(0.0) / (plan.runs as f64 - 1.0)).sqrt();
        Trace { loss, error, theta: (x, y) }
    };
    let of = |config: usize| words.iter().skip(config).step_by(configs.len()).map(trace).collect();
    Ok((0..configs.len()).map(of).collect())
}

/// `1 - a / b` of paired blocks, and its standard error.
pub fn reduction(a: &[f64], b: &[f64]) -> (f64, f64) {
    let scale = mean(b);
    let ratio = mean(a) / scale;
    let residuals: Vec<f64> = a.iter().zip(b).map(|(a, b)| (a - ratio * b) / scale).collect();
    (1.0 - ratio, standard_error(&residuals))
}
