//! Many runs of MaxVA's equation 11: every optimizer at every rate, from every start, on the same draws.

use crate::harness::gpu::Binding::{Read, Write};
use crate::harness::gpu::{Gpu, Kernel};
use anyhow::{Context, Result, ensure};
use std::ops::Range;
use wgpu_optim::rule::beta_power;
use wgpu_optim::wgpu;
use wgpu_optim::{AnyRule, GroupId, Optimizer, ParamSet, TensorId};

/// Beta of Adam and of AMSGrad, as in the paper.
pub const BETA2: f64 = 0.9;
/// Steps of a submit.
const BATCH: u32 = 8;

/// An optimizer, with a configuration for each rate.
pub struct Entrant {
    pub rules: Vec<AnyRule>,
    /// Slots that the second moment is made of: the first one's value, the second one's square.
    pub slots: (&'static str, Option<&'static str>),
    /// Whether the first slot is divided by 1 - beta2^t.
    pub corrected: bool,
    /// Whether theta may shrink below what f32 holds.
    pub rescales: bool,
}

/// What is run.
pub struct Plan<'a> {
    pub starts: &'a [f32],
    /// From each start, at each rate; a multiple of 64.
    pub runs: usize,
    /// Steps after which something is recorded, ascending.
    pub records: &'a [u32],
    /// Whether S1, S2 and 1/sqrt(v) are recorded beside theta.
    pub measures: bool,
    pub seed: u32,
}

/// What an entrant did.
pub struct Course {
    values: Vec<f32>,
    runs: usize,
    starts: usize,
    rates: usize,
    quantities: usize,
}

impl Course {
    fn at(&self, record: usize, quantity: usize, rate: usize, start: usize) -> impl Iterator<Item = f64> {
        let place = ((record * self.quantities + quantity) * self.rates + rate) * self.starts + start;
        self.values[place * self.runs..][..self.runs].iter().map(|x| f64::from(*x))
    }

    /// log10 f of every run; minus infinity where theta is 0.
    pub fn log_f(&self, record: usize, rate: usize, start: usize) -> Vec<f64> {
        self.at(record, 0, rate, start).map(log_f).collect()
    }

    /// S1, S2, 1/sqrt(v) (1, 2, 3) of every run.
    pub fn measured(&self, record: usize, quantity: usize, rate: usize) -> Vec<f64> {
        self.at(record, quantity, rate, 0).collect()
    }
}

/// log10 f, from log2 |theta|.
pub fn log_f(log_theta: f64) -> f64 {
    if log_theta < -1e37 {
        f64::NEG_INFINITY
    } else if log_theta <= 0.0 {
        2.0 * log_theta * 2f64.log10() - 22f64.log10()
    } else {
        ((log_theta.exp2() - 0.5) / 11.0).log10()
    }
}

/// An entrant's parameters, slots and kernel.
struct Lane {
    optimizer: Optimizer<AnyRule>,
    kernel: Kernel,
    records: wgpu::Buffer,
    count: usize,
    /// Keeps the arenas.
    _params: ParamSet,
}

/// Runs all entrants side by side. `progress` is told the share that is done.
pub fn run(gpu: &Gpu, entrants: &[Entrant], plan: &Plan<'_>, progress: impl Fn(f64)) -> Result<Vec<Course>> {
    ensure!(plan.runs.is_multiple_of(64), "runs come in multiples of 64");
    let last = *plan.records.last().context("nothing is recorded")?;
    let words = plan.runs / 32;
    let draws = gpu.storage("draws", words * last as usize);
    let constants = [("steps", f64::from(last)), ("words", words as f64), ("seed", f64::from(plan.seed))];
    let draw = gpu.kernel_with("draws", include_str!("draws.wgsl"), &constants, &[Write(draws.slice(..))])?;
    let mut encoder = gpu.encoder();
    let mut pass = encoder.begin_compute_pass(&Default::default());
    draw.record(&mut pass, 0, (words as u32 * last).div_ceil(64));
    drop(pass);
    gpu.submit(encoder);

    let lanes = entrants.iter().map(|entrant| lane(gpu, entrant, plan, last, &draws));
    let mut lanes: Vec<Lane> = lanes.collect::<Result<_>>()?;
    let steps: Vec<u32> = (1..=last + 1).collect();
    for batch in steps.chunks(BATCH as usize) {
        let mut encoder = gpu.encoder();
        for &t in batch {
            for lane in &mut lanes {
                let groups = lane.count.div_ceil(64) as u32;
                if t > last {
                    let mut pass = encoder.begin_compute_pass(&Default::default());
                    lane.kernel.record(&mut pass, t, groups);
                    continue;
                }
                let step = lane.optimizer.prepare(&mut encoder)?;
                let mut pass = encoder.begin_compute_pass(&Default::default());
                lane.kernel.record(&mut pass, t, groups);
                step.encode(&mut pass);
            }
        }
        gpu.submit(encoder);
        progress(f64::from(batch[batch.len() - 1]) / f64::from(last));
    }
    let quantities = if plan.measures { 4 } else { 1 };
    let courses = lanes.iter().zip(entrants).map(|(lane, entrant)| {
        let values = gpu.read(&lane.records, 0..lane.count * quantities * plan.records.len())?;
        let (runs, starts, rates) = (plan.runs, plan.starts.len(), entrant.rules.len());
        Ok(Course { values, runs, starts, rates, quantities })
    });
    courses.collect()
}

fn lane(gpu: &Gpu, entrant: &Entrant, plan: &Plan<'_>, last: u32, draws: &wgpu::Buffer) -> Result<Lane> {
    let each = plan.starts.len() * plan.runs;
    let mut builder = ParamSet::builder();
    let groups: Vec<GroupId> = (0..entrant.rules.len()).map(|i| builder.group(format!("rate {i}"))).collect();
    let tensors: Vec<TensorId> = groups
        .iter()
        .map(|group| builder.tensor(format!("theta {}", group.index()), [each], *group))
        .collect();
    let params = builder.build(&gpu.device)?;
    let optimizer = Optimizer::new(&gpu.device, &gpu.queue, &params, entrant.rules.iter().cloned())?;
    ensure!(optimizer.dispatches_per_step() == 1, "too many runs for this adapter's bindings");
    let start: Vec<f32> = plan.starts.iter().flat_map(|start| vec![*start; plan.runs]).collect();
    for tensor in &tensors {
        params.write_param(&gpu.queue, *tensor, &start)?;
    }

    let count = each * tensors.len();
    // The kernel takes all rates as one run of elements.
    let whole = |slices: Vec<wgpu::BufferSlice<'_>>| -> Result<Range<u64>> {
        let first = slices[0].offset();
        let apart = slices.windows(2).any(|pair| pair[1].offset() != pair[0].offset() + 4 * each as u64);
        ensure!(!apart && slices.len() == tensors.len(), "the rates do not adjoin");
        Ok(first..first + 4 * count as u64)
    };
    let theta = whole(tensors.iter().map(|tensor| params.param(*tensor)).collect::<Result<_, _>>()?)?;
    let g = whole(tensors.iter().map(|tensor| params.grad(*tensor)).collect::<Result<_, _>>()?)?;
    let slot = |name| {
        let slices =
            tensors.iter().map(|tensor| optimizer.slot(*tensor, name)).collect::<Result<Vec<_>, _>>()?;
        let slices = slices.concat();
        Ok::<_, anyhow::Error>((slices[0].buffer(), whole(slices)?.start / 4))
    };
    let a = slot(entrant.slots.0)?;
    let b = entrant.slots.1.map(slot).transpose()?;

    let correction = |t: u32| if entrant.corrected { 1.0 / (1.0 - beta_power(BETA2, t.into())) } else { 1.0 };
    let script: Vec<[u32; 2]> = (0..=last)
        .map(|t| {
            let record = plan.records.binary_search(&t).map_or(0, |number| number as u32 + 1);
            [record, (correction(t.max(1)) as f32).to_bits()]
        })
        .collect();
    let script = gpu.upload("script", &script);
    let shifts = gpu.storage("shifts", count);
    let quantities = if plan.measures { 4 } else { 1 };
    let sums = count * quantities * plan.records.len();
    let records = gpu.storage("records", sums + if plan.measures { 3 * count } else { 0 });
    let constants = [
        ("count", count as f64),
        ("runs", plan.runs as f64),
        ("last", f64::from(last)),
        ("measures", f64::from(u8::from(plan.measures))),
        ("sums", sums as f64),
        ("rescales", f64::from(u8::from(entrant.rescales))),
        ("a_start", a.1 as f64),
        ("b_start", b.map_or(0, |b| b.1) as f64),
        ("has_b", f64::from(u8::from(b.is_some()))),
    ];
    let bindings = [
        Write(params.param(tensors[0])?.buffer().slice(theta)),
        Write(params.grad(tensors[0])?.buffer().slice(g)),
        Write(shifts.slice(..)),
        Read(script.slice(..)),
        Read(draws.slice(..)),
        Read(a.0.slice(..)),
        Read(b.map_or(a.0, |b| b.0).slice(..)),
        Write(records.slice(..)),
    ];
    let kernel = gpu.kernel_with("equation 11", include_str!("stochastic.wgsl"), &constants, &bindings)?;
    Ok(Lane { optimizer, kernel, records, count, _params: params })
}
