//! The papers' tables and figures on these networks: one file for each group of them.

pub mod adamod;
pub mod clipping;
pub mod maxva;
pub mod noise;
pub mod radam;

use crate::store::Store;
use crate::tasks::{Task, Tasks};
use anyhow::Result;
use wgpu_optim_papers::harness::report::Findings;

/// What is called by its name.
pub struct Experiment {
    pub name: &'static str,
    pub title: &'static str,
    /// What it needs data of.
    pub tasks: &'static [Task],
    /// Milliseconds on one core, about.
    pub weight: fn(&Store) -> u64,
    pub run: fn(&Store, &Tasks) -> Result<Findings>,
}

/// In the order of the report, which names them too: `wgpu_optim_papers::NETWORKS`.
pub const EXPERIMENTS: &[Experiment] =
    &[noise::EXPERIMENT, clipping::EXPERIMENT, radam::EXPERIMENT, adamod::EXPERIMENT, maxva::EXPERIMENT];
