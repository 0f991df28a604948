//! AdaMod: the learning rates of single coordinates in the first steps (figures 1 and 3), and accuracy over
//! alpha (figure 6) and beta3 (figure 8), on the digits.

mod accuracy;
mod histograms;

use crate::Experiment;
use crate::harness::gpu::Gpu;
use crate::harness::report::Findings;
use crate::replicas::Digits;
use anyhow::Result;
use wgpu_optim::AnyRule;
use wgpu_optim::rules::{AdaMod, adamod::Form};

pub const EXPERIMENT: Experiment = Experiment {
    name: "adamod",
    title: "AdaMod: early learning rates (figures 1, 3), robustness to alpha (figure 6) and beta3 (figure 8)",
    run,
};

/// The share of the work that the histograms are.
const HISTOGRAMS: f64 = 0.1;

/// As the paper's algorithm 2 has it.
fn paper(adamod: AdaMod) -> AnyRule {
    AnyRule::new(AdaMod { form: Form::Paper, ..adamod })
}

fn run(gpu: &Gpu) -> Result<Findings> {
    let digits = Digits::new(gpu)?;
    let early = histograms::run(gpu, &digits, |share| gpu.progress(HISTOGRAMS * share, "histograms"))?;
    let later = accuracy::run(gpu, &digits, |share| {
        gpu.progress(HISTOGRAMS + (1.0 - HISTOGRAMS) * share, "alpha and beta3");
    })?;
    Ok(Findings {
        claims: [early.claims, later.claims].concat(),
        charts: [early.charts, later.charts].concat(),
        tables: [early.tables, later.tables].concat(),
        notes: format!(
            "AdaMod is the paper's algorithm 2 (the authors' code bounds lr / bc1 instead and moves up to \
             twice as far in the first 40 steps).\n\n{}\n\n{}",
            early.notes, later.notes
        ),
    })
}
