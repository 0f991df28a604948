//! The experiments of the papers behind MaxVA, RAdam, AdaMod and ACClip: one folder each, over a small library that they
//! share: the device and its kernels, reports and statistics (`harness`), pictures (`charts`), and networks that are
//! trained many at a time (`replicas`).

pub mod charts;
#[path = "../../examples/train/data.rs"]
#[allow(dead_code)] // MNIST's files are not read here
mod data;
pub mod harness;
pub mod replicas;

mod adamod;
mod heavy_tails;
mod quadratic;
mod rates;
mod reaction;
mod stochastic;
mod variance;
mod warmup;

use anyhow::Result;
use harness::gpu::Gpu;
use harness::report::Findings;

/// In the order of the report.
pub const EXPERIMENTS: &[Experiment] = &[
    stochastic::EXPERIMENT,
    quadratic::EXPERIMENT,
    reaction::EXPERIMENT,
    variance::EXPERIMENT,
    rates::EXPERIMENT,
    adamod::EXPERIMENT,
    heavy_tails::SECOND_MOMENT,
    heavy_tails::RATE,
    heavy_tails::DIMENSION,
    heavy_tails::CONTEST,
    heavy_tails::RMSPROP,
    warmup::EXPERIMENT,
];

/// Experiments of the program in `networks/`, which stands on a framework for networks; they come behind the others.
pub const NETWORKS: &[&str] =
    &["networks-noise", "networks-clipping", "networks-radam", "networks-adamod", "networks-maxva"];

/// All that a report may have, in its order.
pub fn all_names() -> Vec<&'static str> {
    EXPERIMENTS.iter().map(|experiment| experiment.name).chain(NETWORKS.iter().copied()).collect()
}

/// One small program: what it is called, and what it does.
pub struct Experiment {
    pub name: &'static str,
    pub title: &'static str,
    pub run: fn(&Gpu) -> Result<Findings>,
}
