//! Measurements between the steps: histograms of learning rates or gradients, and how far parameters move.

use super::Replicas;
use crate::harness::gpu::Binding::{Read, Write};
use crate::harness::gpu::{Gpu, Kernel};
use anyhow::Result;
use wgpu::{BufferSlice, ComputePass};
use wgpu_optim::wgpu;

/// The bins: from 10^LOW to 10^HIGH.
const LOW: i32 = -12;
const HIGH: i32 = 8;
const PER_DECADE: usize = 10;
const BINS: usize = (HIGH - LOW) as usize * PER_DECADE;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// |g|
    Gradient = 0,
    /// `lr / (sqrt(v / bc2) + eps)`
    Adam = 1,
    /// The smaller of that and s.
    AdaMod = 2,
}

/// At one step: learning rate, `1 / (1 - beta2^t)` and eps.
pub type Row = [f32; 3];

/// Histograms of all coordinates of a setting, a row for each step that is asked for.
#[derive(Debug)]
pub struct Histogram {
    kernel: Kernel,
    groups: u32,
    counts: wgpu::Buffer,
    seeds: usize,
    parameters: usize,
    steps: Vec<u32>,
}

impl Histogram {
    /// After these steps (of gradients: in them), with a row for each.
    pub fn new(
        gpu: &Gpu,
        replicas: &Replicas,
        setting: usize,
        kind: Kind,
        steps: &[u32],
        row: impl Fn(u32) -> Row,
    ) -> Result<Self> {
        let (seeds, stride, parameters) =
            (replicas.task.seeds, replicas.layout.stride, replicas.layout.parameters);
        let rows: Vec<[f32; 4]> =
            steps.iter().map(|t| row(*t)).map(|[lr, c, eps]| [lr, c, eps, 0.0]).collect();
        let rows = gpu.upload("rows of a histogram", &rows);
        let counts = gpu.storage("histogram", steps.len() * seeds * 2 * BINS);
        let bytes = 4 * (seeds * stride) as u64;
        let own = bytes * setting as u64;
        let a: BufferSlice<'_> = match kind {
            Kind::Gradient => replicas.grads.slice(own..own + bytes),
            _ => replicas.slot(setting, "v")?,
        };
        let b = if kind == Kind::AdaMod { replicas.slot(setting, "s")? } else { a };
        let constants = [
            ("parameters", parameters as f64),
            ("stride", stride as f64),
            ("seeds", seeds as f64),
            ("kind", f64::from(kind as u32)),
            ("bins", BINS as f64),
            ("low", f64::from(LOW)),
            ("per_decade", PER_DECADE as f64),
        ];
        let bindings = [Read(rows.slice(..)), Read(a), Read(b), Write(counts.slice(..))];
        let source = include_str!("histogram.wgsl");
        let kernel = gpu.kernel_with("histogram", source, &constants, &bindings)?;
        let groups = (seeds * stride).div_ceil(64) as u32;
        Ok(Self { kernel, groups, counts, seeds, parameters, steps: steps.to_vec() })
    }

    /// Records the counting if step `t` is one of its steps.
    pub fn record(&self, pass: &mut ComputePass<'_>, t: u32) {
        if let Ok(row) = self.steps.binary_search(&t) {
            self.kernel.record(pass, row as u32, self.groups);
        }
    }

    pub fn read(&self, gpu: &Gpu) -> Result<Counts> {
        let counts = gpu.read(&self.counts, 0..self.counts.size() as usize / 4)?;
        let (seeds, parameters, steps) = (self.seeds, self.parameters, self.steps.clone());
        Ok(Counts { counts, seeds, parameters, steps })
    }
}

/// A histogram's counts, \[row, seed, had a gradient or never had one, bin\].
#[derive(Debug)]
pub struct Counts {
    counts: Vec<u32>,
    seeds: usize,
    parameters: usize,
    /// The steps of the rows.
    pub steps: Vec<u32>,
}

impl Counts {
    fn part(&self, row: usize, seed: usize, never: bool) -> &[u32] {
        let from = ((row * self.seeds + seed) * 2 + usize::from(never)) * BINS;
        &self.counts[from..from + BINS]
    }

    /// Share of a seed's coordinates in each bin, \[bin\], and the bins' middles; of all seeds together.
    pub fn shares(&self, row: usize) -> Vec<(f64, f64)> {
        let all = (self.seeds * self.parameters) as f64;
        let sum = |bin: usize| {
            let both = |seed| self.part(row, seed, false)[bin] + self.part(row, seed, true)[bin];
            f64::from((0..self.seeds).map(both).sum::<u32>())
        };
        let middle = |bin: usize| 10f64.powf(f64::from(LOW) + (bin as f64 + 0.5) / PER_DECADE as f64);
        (0..BINS).map(|bin| (middle(bin), sum(bin) / all)).collect()
    }

    /// Share of the coordinates from 10^`decade` on, in %, for each seed; and of those without a gradient yet.
    pub fn share_from(&self, row: usize, decade: i32) -> [Vec<f64>; 2] {
        let first = ((decade - LOW).max(0) as usize * PER_DECADE).min(BINS);
        let share = |seed, never| {
            let count: u32 = self.part(row, seed, never)[first..].iter().sum();
            100.0 * f64::from(count) / self.parameters as f64
        };
        let never: Vec<f64> = (0..self.seeds).map(|seed| share(seed, true)).collect();
        [never.iter().enumerate().map(|(seed, never)| never + share(seed, false)).collect(), never]
    }

    /// Share of the coordinates below 10^`decade`, zeros included, in %, for each seed.
    pub fn share_below(&self, row: usize, decade: f64) -> Vec<f64> {
        let end = ((decade - f64::from(LOW)) * PER_DECADE as f64).round().clamp(0.0, BINS as f64) as usize;
        let share = |seed| {
            let zeros: u32 = self.part(row, seed, true).iter().sum();
            let small: u32 = self.part(row, seed, false)[..end].iter().sum();
            100.0 * f64::from(zeros + small) / self.parameters as f64
        };
        (0..self.seeds).map(share).collect()
    }

    /// The decade (log10) below which a share `q` of the coordinates with a gradient lies, for each seed,
    /// within its bin linearly.
    pub fn quantile(&self, row: usize, q: f64) -> Vec<f64> {
        let of = |seed| {
            let counts = self.part(row, seed, false);
            let mut left = q * f64::from(counts.iter().sum::<u32>());
            for (bin, count) in counts.iter().enumerate() {
                let count = f64::from(*count);
                if count >= left && count > 0.0 {
                    return f64::from(LOW) + (bin as f64 + left / count) / PER_DECADE as f64;
                }
                left -= count;
            }
            f64::NAN
        };
        (0..self.seeds).map(of).collect()
    }
}

/// The mean over a replica's parameters of how far a step moves them.
#[derive(Debug)]
pub struct Moves {
    kernel: Kernel,
    replicas: usize,
    moves: wgpu::Buffer,
    /// In rising order.
    steps: Vec<u32>,
}

impl Moves {
    /// Of these steps.
    pub fn new(gpu: &Gpu, replicas: &Replicas, steps: &[u32]) -> Result<Self> {
        let all = replicas.replicas;
        let before = gpu.storage("parameters before a step", all * replicas.layout.stride);
        let mut encoder = gpu.encoder();
        encoder.copy_buffer_to_buffer(&replicas.params, 0, &before, 0, before.size());
        gpu.submit(encoder);
        // Row 0 is of steps that nobody asked for.
        let moves = gpu.storage("moves", (steps.len() + 1) * all);
        let constants = [
            ("replicas", all as f64),
            ("parameters", replicas.layout.parameters as f64),
            ("stride", replicas.layout.stride as f64),
        ];
        let bindings = [Read(replicas.params.slice(..)), Write(before.slice(..)), Write(moves.slice(..))];
        let kernel = gpu.kernel_with("moves", include_str!("moves.wgsl"), &constants, &bindings)?;
        Ok(Self { kernel, replicas: all, moves, steps: steps.to_vec() })
    }

    /// Records the measurement behind the optimizers' step `t`, if that is wanted or the next.
    pub fn record(&self, pass: &mut ComputePass<'_>, t: u32) {
        match self.steps.binary_search(&t) {
            Ok(row) => self.kernel.record(pass, row as u32 + 1, self.replicas as u32),
            Err(next) if self.steps.get(next) == Some(&(t + 1)) => {
                self.kernel.record(pass, 0, self.replicas as u32);
            }
            Err(_) => {}
        }
    }

    /// \[row, replica\]
    pub fn read(&self, gpu: &Gpu) -> Result<Vec<Vec<f64>>> {
        let values: Vec<f32> = gpu.read(&self.moves, 0..self.moves.size() as usize / 4)?;
        let rows = values.chunks(self.replicas).skip(1);
        Ok(rows.map(|row| row.iter().map(|x| f64::from(*x)).collect()).collect())
    }
}
