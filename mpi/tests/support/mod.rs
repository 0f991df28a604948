//! What all ranks do in all tests: a model, its gradients, an optimizer that has all of it.

pub mod bad;
pub mod equal;
pub mod resume;

use crate::adapter;
use mpi::topology::{Communicator, SimpleCommunicator};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::process::ExitCode;
use wgpu_optim::{AnyRule, LossScale, NonFinite, Optimizer, Options, ParamSet, Wrappers};
use wgpu_optim_mpi::{ShardedOptimizer, Sharding};

pub struct Lab {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
}

impl Lab {
    pub fn open() -> Self {
        let opened = adapter::choose(std::env::var("WGPU_OPTIM_ADAPTER").ok().as_deref()).unwrap();
        Self { device: opened.device, queue: opened.queue }
    }
}

/// Names, shapes and groups.
pub const MODEL: [(&str, &[usize], usize); 8] = [
    ("embedding", &[301, 66], 0),
    ("first.weight", &[64, 48], 0),
    ("first.bias", &[64], 1),
    ("empty", &[0], 1),
    ("second.weight", &[5, 9, 3, 3], 0),
    ("scale", &[], 1),
    ("odd", &[37, 3], 1),
    ("last", &[12_345], 0),
];

/// The model, or the first tensors of it.
pub fn set(lab: &Lab, tensors: usize) -> ParamSet {
    let mut builder = ParamSet::builder();
    let groups = [builder.group("weights"), builder.group("biases")];
    for (name, shape, group) in &MODEL[..tensors] {
        builder.tensor(*name, shape, groups[*group]);
    }
    builder.build(&lab.device).unwrap()
}

pub fn groups(rule: &AnyRule) -> [AnyRule; 2] {
    let mut other = rule.clone();
    let _ = other.set("weight_decay", 0.01);
    [rule.clone(), other]
}

/// Numbers of many sizes, the same wherever they are asked for.
pub fn numbers(seed: u64, step: u64, rank: usize, set: &ParamSet) -> Vec<Vec<f32>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed << 32 | step << 8 | rank as u64);
    let mut number = |_| rng.random_range(-1.0f32..1.0) * 10f32.powi(rng.random_range(-3..1));
    set.tensors().iter().map(|tensor| (0..tensor.len).map(&mut number).collect()).collect()
}

pub fn write_params(lab: &Lab, set: &ParamSet, values: &[Vec<f32>]) {
    for (tensor, values) in set.tensors().iter().zip(values) {
        set.write_param(&lab.queue, set.find(&tensor.name).unwrap(), values).unwrap();
    }
}

pub fn write_grads(lab: &Lab, set: &ParamSet, values: &[Vec<f32>]) {
    for (tensor, values) in set.tensors().iter().zip(values) {
        set.write_grad(&lab.queue, set.find(&tensor.name).unwrap(), values).unwrap();
    }
}

/// The bits of all parameters.
pub fn params(lab: &Lab, set: &ParamSet) -> Vec<Vec<u32>> {
    let read = |name: &str| {
        let values = set.read_param_blocking(&lab.queue, set.find(name).unwrap()).unwrap();
        values.iter().map(|value| value.to_bits()).collect()
    };
    set.tensors().iter().map(|tensor| read(&tensor.name)).collect()
}

/// The sum in the order of the ranks, over their number.
pub fn reduced(all: &[Vec<Vec<f32>>]) -> Vec<Vec<f32>> {
    let mut sum = all[0].clone();
    for one in &all[1..] {
        sum.iter_mut().zip(one).for_each(|(sum, one)| sum.iter_mut().zip(one).for_each(|(sum, x)| *sum += x));
    }
    if all.len() > 1 {
        sum.iter_mut().flatten().for_each(|sum| *sum /= all.len() as f32);
    }
    sum
}

/// Everything that is over all tensors, and more.
pub fn everything() -> Wrappers {
    Wrappers {
        max_grad_norm: Some(2.0),
        non_finite: NonFinite::Skip,
        loss_scale: Some(LossScale { initial: 8.0, interval: 2, ..LossScale::default() }),
        grad_accumulation_steps: Some(2),
        ema: Some(0.9),
        zero_grad: true,
        ..Wrappers::default()
    }
}

pub fn options(wrappers: Wrappers) -> Options {
    let mut options = Options::default();
    options.wrappers = wrappers;
    options
}

pub fn alone(lab: &Lab, set: &ParamSet, rule: &AnyRule, options: &Options) -> Optimizer<AnyRule> {
    Optimizer::with_options(&lab.device, &lab.queue, set, groups(rule), options).unwrap()
}

pub fn sharded(
    world: &SimpleCommunicator,
    lab: &Lab,
    set: &ParamSet,
    rule: &AnyRule,
    options: &Options,
    sharding: &Sharding,
) -> Result<ShardedOptimizer<AnyRule>, wgpu_optim_mpi::Error> {
    ShardedOptimizer::new(world, &lab.device, &lab.queue, set, groups(rule), options, sharding)
}

pub fn rank(world: &SimpleCommunicator) -> usize {
    world.rank() as usize
}

pub fn ranks(world: &SimpleCommunicator) -> usize {
    world.size() as usize
}

/// Ends the rank. Mesa's exit handlers are left out: now and then one frees twice. MPI is told by its own.
pub fn leave(code: u8) -> ExitCode {
    ExitCode::from(code)
}
