//! The simulation: adaptive rates of Adam, RAdam and AdaGrad for the same gradients, from their steps.

use super::theory;
use crate::harness::gpu::{Binding, Gpu, Kernel};
use crate::harness::stats::standard_error;
use anyhow::Result;
use wgpu_optim::rule::Config;
use wgpu_optim::rules::radam::{EpsForm, Fallback};
use wgpu_optim::rules::{AdaGrad, Adam, RAdam};
use wgpu_optim::wgpu::Buffer;
use wgpu_optim::{BufferRange, Optimizer, ParamSet};

/// Coordinates of a block.
pub const BLOCK: usize = 1024;
const STEPS_A_SUBMIT: u32 = 8;
/// Steps of AdaGrad, whose sum is the simple average.
const SIMPLE_STEPS: u32 = 100;

/// Coordinates that share a beta and a mean of their gradients.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    pub beta2: f64,
    pub mean: f64,
}

pub const GROUPS: [Group; 6] = [
    Group { beta2: 0.999, mean: 0.0 },
    Group { beta2: 0.99, mean: 0.0 },
    Group { beta2: 0.9, mean: 0.0 },
    Group { beta2: 0.999, mean: 0.1 },
    Group { beta2: 0.999, mean: 0.3 },
    Group { beta2: 0.999, mean: 1.0 },
];

/// The adaptive rate over all coordinates of a group.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    pub mean: f64,
    pub mean_error: f64,
    pub variance: f64,
    /// Standard error of the variance; of little use where fourth moments are infinite.
    pub error: f64,
}

/// One rule's rates.
pub struct Rates {
    /// By record, block: sums of the rate less its shift, and of its square.
    sums: Vec<[f32; 2]>,
    /// By record, group: scale and shift.
    shifts: Vec<[f32; 2]>,
    main: usize,
    side: usize,
}

impl Rates {
    fn blocks(&self, record: usize, group: usize) -> &[[f32; 2]] {
        let (main, side) = (self.main / BLOCK, self.side / BLOCK);
        let all = main + (GROUPS.len() - 1) * side;
        let sums = &self.sums[record * all..(record + 1) * all];
        if group == 0 { &sums[..main] } else { &sums[main + (group - 1) * side..][..side] }
    }

    /// Mean, less the shift, and variance of some blocks together.
    fn moments(blocks: &[[f32; 2]]) -> (f64, f64) {
        let n = (blocks.len() * BLOCK) as f64;
        let (sum, squares) = blocks.iter().fold((0.0, 0.0), |(sum, squares), [first, second]| {
            (sum + f64::from(*first), squares + f64::from(*second))
        });
        (sum / n, (squares - sum * sum / n) / (n - 1.0))
    }

    pub fn rate(&self, record: usize, group: usize) -> Rate {
        let blocks = self.blocks(record, group);
        let (own, variance) = Self::moments(blocks);
        let parts: Vec<(f64, f64)> = blocks.chunks(1).map(Self::moments).collect();
        let error =
            |of: &dyn Fn(&(f64, f64)) -> f64| standard_error(&parts.iter().map(of).collect::<Vec<_>>());
        Rate {
            mean: own + f64::from(self.shifts[record * GROUPS.len() + group][1]),
            mean_error: error(&|part| part.0),
            variance,
            error: error(&|part| part.1),
        }
    }

    /// The sample variances of the first group's coordinates in lots of `n`.
    pub fn variances_of(&self, record: usize, n: usize) -> Vec<f64> {
        self.blocks(record, 0).chunks_exact(n / BLOCK).map(|blocks| Self::moments(blocks).1).collect()
    }

    pub fn coordinates(&self) -> usize {
        self.main
    }
}

pub struct Simulation {
    /// Steps that were recorded.
    pub records: Vec<u32>,
    pub adam: Rates,
    pub radam: Rates,
    /// Of the first group, up to [`SIMPLE_STEPS`].
    pub adagrad: Rates,
}

impl Simulation {
    /// Records with their steps up to that where the simple average ends.
    pub fn simple(&self) -> impl Iterator<Item = (usize, u32)> {
        self.records.iter().copied().enumerate().take_while(|(_, t)| *t <= SIMPLE_STEPS)
    }

    /// The record of step `t`.
    pub fn at(&self, t: u32) -> usize {
        self.records.partition_point(|record| *record < t)
    }
}

/// A rule's optimizer, and where its steps appear.
struct Runner<C> {
    theta: Buffer,
    optimizer: Optimizer<C>,
    measure: Kernel,
    sums: Buffer,
    shifts: Vec<[f32; 2]>,
}

/// Sizes of the simulation.
#[derive(Clone, Copy)]
struct Size {
    main: usize,
    side: usize,
}

impl<C: Config> Runner<C> {
    /// `rules`: one for each group, or for the first alone. `shift`: scale and shift for a step and a group.
    fn new(
        gpu: &Gpu,
        (size, g): (Size, &Buffer),
        rules: Vec<C>,
        records: &[u32],
        shift: impl Fn(u32, &Group) -> [f64; 2],
    ) -> Result<Self> {
        let starts =
            (0..rules.len()).map(|group| if group == 0 { 0 } else { size.main + (group - 1) * size.side });
        let words = size.main + (rules.len() - 1) * size.side;
        let theta = gpu.storage("theta", words);
        let mut builder = ParamSet::builder();
        for (number, start) in starts.enumerate() {
            let group = builder.group(format!("group {number}"));
            let len = if number == 0 { size.main } else { size.side };
            let at = |buffer| BufferRange::new(buffer, 4 * start as u64);
            builder.external(format!("rates {number}"), [len], group, at(&theta), at(g));
        }
        let params = builder.build(&gpu.device)?;
        let optimizer = Optimizer::new(&gpu.device, &gpu.queue, &params, rules)?;

        let all = (size.main + (GROUPS.len() - 1) * size.side) / BLOCK;
        let sums = gpu.storage("sums", 2 * all * records.len());
        let shifts: Vec<[f32; 2]> = records
            .iter()
            .flat_map(|t| GROUPS.iter().map(|group| shift(*t, group).map(|x| x as f32)))
            .collect();
        let table = gpu.upload("shifts", &shifts);
        let bindings = [
            Binding::Read(g.slice(..)),
            Binding::Read(theta.slice(..)),
            Binding::Read(table.slice(..)),
            Binding::Write(sums.slice(..)),
        ];
        let constants = [
            ("BLOCK", BLOCK as f64),
            ("MAIN", size.main as f64),
            ("SIDE", size.side as f64),
            ("GROUPS", GROUPS.len() as f64),
            ("BLOCKS", all as f64),
        ];
        let source = include_str!("measure.wgsl");
        let measure = gpu.kernel_with("variance_measure", source, &constants, &bindings)?;
        Ok(Self { theta, optimizer, measure, sums, shifts })
    }

    fn finish(self, gpu: &Gpu, size: Size) -> Result<Rates> {
        let words = gpu.read::<f32>(&self.sums, 0..(self.sums.size() / 4) as usize)?;
        let sums = bytemuck::cast_slice(&words).to_vec();
        Ok(Rates { sums, shifts: self.shifts, main: size.main, side: size.side })
    }
}

/// What an adaptive rate is about; where its mean is infinite, about 1.
fn about(mean: f64) -> f64 {
    if mean.is_finite() { mean } else { 1.0 }
}

pub fn simulate(gpu: &Gpu, seed: u32) -> Result<Simulation> {
    let size = Size { main: gpu.pick(1 << 20, 1 << 16), side: gpu.pick(1 << 16, 1 << 12) };
    let steps = gpu.pick(1000, 100);
    let later = (13..=40).map(|i| 10f64.powf(f64::from(i) / 10.0).round() as u32);
    let records: Vec<u32> = (1..=16).chain(later.filter(|t| *t > 16)).filter(|t| *t <= steps).collect();

    let words = size.main + (GROUPS.len() - 1) * size.side;
    let g = gpu.storage("g", words);
    let adam =
        GROUPS.map(|Group { beta2, .. }| Adam { lr: 1.0, beta1: 0.0, beta2, eps: 0.0, ..Adam::default() });
    let radam = GROUPS.map(|Group { beta2, .. }| RAdam {
        lr: 1.0,
        beta1: 0.0,
        beta2,
        eps: 0.0,
        threshold: 4.0,
        fallback: Fallback::Sgd,
        eps_form: EpsForm::Hat,
        ..RAdam::default()
    });
    let adagrad = AdaGrad { lr: 1.0, eps: 0.0, ..AdaGrad::default() };
    let exact = |t: u32, group: &Group| about(theory::exact(group.beta2, t, group.mean).0);
    let mut adam = Runner::new(gpu, (size, &g), adam.to_vec(), &records, |t, group| [1.0, exact(t, group)])?;
    let mut radam = Runner::new(gpu, (size, &g), radam.to_vec(), &records, |t, group| {
        let r = theory::rectification(group.beta2, t);
        [1.0, if r.is_nan() { 1.0 } else { r * exact(t, group) }]
    })?;
    let mut adagrad = Runner::new(gpu, (size, &g), vec![adagrad], &records, |t, _| {
        let rho = f64::from(t);
        [rho.sqrt(), if t < 2 { 1.0 } else { about(theory::mean(rho)) }]
    })?;

    let means = gpu.upload("means", &GROUPS.map(|group| group.mean as f32));
    let bindings = [
        Binding::Read(means.slice(..)),
        Binding::Write(g.slice(..)),
        Binding::Write(adam.theta.slice(..)),
        Binding::Write(radam.theta.slice(..)),
        Binding::Write(adagrad.theta.slice(..)),
    ];
    let constants = [("MAIN", size.main as f64), ("SIDE", size.side as f64), ("SEED", f64::from(seed))];
    let gradients = gpu.kernel_with("variance", include_str!("variance.wgsl"), &constants, &bindings)?;

    let mut record = 0;
    let mut encoder = gpu.encoder();
    for t in 1..=steps {
        let simple = t <= SIMPLE_STEPS;
        let steps_of = (adam.optimizer.prepare(&mut encoder)?, radam.optimizer.prepare(&mut encoder)?);
        let adagrad_step = if simple { Some(adagrad.optimizer.prepare(&mut encoder)?) } else { None };
        let mut pass = encoder.begin_compute_pass(&Default::default());
        gradients.record(&mut pass, t, (words / 4).div_ceil(64) as u32);
        steps_of.0.encode(&mut pass);
        steps_of.1.encode(&mut pass);
        if let Some(step) = adagrad_step {
            step.encode(&mut pass);
        }
        if records.get(record) == Some(&t) {
            let blocks = (words / BLOCK) as u32;
            adam.measure.record(&mut pass, record as u32, blocks);
            radam.measure.record(&mut pass, record as u32, blocks);
            if simple {
                adagrad.measure.record(&mut pass, record as u32, (size.main / BLOCK) as u32);
            }
            record += 1;
        }
        drop(pass);
        if t % STEPS_A_SUBMIT == 0 || t == steps {
            gpu.submit(std::mem::replace(&mut encoder, gpu.encoder()));
            gpu.progress(f64::from(t) / f64::from(steps), "a million coordinates");
        }
    }
    Ok(Simulation {
        records,
        adam: adam.finish(gpu, size)?,
        radam: radam.finish(gpu, size)?,
        adagrad: adagrad.finish(gpu, size)?,
    })
}
