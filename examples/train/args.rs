//! The command line, and the optimizers that it asks for.

use anyhow::Result;
use clap::Parser;
use clap::builder::RangedU64ValueParser;
use std::path::PathBuf;
use wgpu_optim::AnyRule;
use wgpu_optim::rules::REGISTRY;
use wgpu_optim::rules::names;

/// Epochs and samples of a step, for the bundled digits and for `--data`.
pub const DIGITS: (usize, usize) = (20, 32);
pub const IDX: (usize, usize) = (2, 128);

/// Trains a network on handwritten digits, once with each optimizer, entirely on the GPU. All start from the
/// same parameters and see the same batches; the learning rate falls evenly to 0.
#[derive(Debug, Parser)]
#[command(name = "train")]
pub struct Args {
    /// A name (with options that suit this network), or JSON such as '{"optimizer": "adamw", "lr": 1e-3}'
    /// (other options at their defaults). May be repeated [default: every rule].
    #[arg(long = "optimizer", value_name = "NAME|JSON")]
    pub optimizers: Vec<String>,

    /// Times that every sample is seen [default: 20, with --data 2]
    #[arg(long, value_parser = RangedU64ValueParser::<usize>::new().range(1..=10_000))]
    pub epochs: Option<usize>,

    /// Samples of a step [default: 32, with --data 128]
    #[arg(long, value_parser = RangedU64ValueParser::<usize>::new().range(1..=65_536))]
    pub batch: Option<usize>,

    /// Decides on held-out samples, first parameters and order of the batches
    #[arg(long, default_value_t = 0)]
    pub seed: u64,

    /// Folder with MNIST or Fashion-MNIST, in place of the bundled digits: train-images-idx3-ubyte,
    /// train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, plain or with .gz
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,

    /// Part of the name or backend of the adapter to use [default: the fastest kind]
    #[arg(long, value_name = "TEXT")]
    pub adapter: Option<String>,

    /// Keeps what the run can go on with in this file, with one optimizer
    #[cfg(feature = "checkpoint")]
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,

    /// Epochs between two times that it is written
    #[cfg(feature = "checkpoint")]
    #[arg(long, value_name = "N", default_value_t = 1, requires = "save",
          value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    pub every: usize,

    /// Goes on from such a file, with the same other options
    #[cfg(feature = "checkpoint")]
    #[arg(long, value_name = "FILE")]
    pub resume: Option<PathBuf>,

    /// Folder for train.svg and train.png
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub out: PathBuf,
}

impl Args {
    /// Epochs and samples of a step.
    pub fn length(&self) -> (usize, usize) {
        let (epochs, batch) = if self.data.is_some() { IDX } else { DIGITS };
        (self.epochs.unwrap_or(epochs), self.batch.unwrap_or(batch))
    }

    /// The optimizers to train with, each with a label of its own.
    pub fn rules(&self) -> Result<Vec<(String, AnyRule)>> {
        let all = || names().into_iter().map(String::from).collect();
        let wanted: Vec<String> = if self.optimizers.is_empty() { all() } else { self.optimizers.clone() };
        let mut rules = vec![];
        for (i, text) in wanted.iter().enumerate() {
            let (mut label, rule) = rule(text)?;
            match wanted[..i].iter().filter(|other| *other == text).count() {
                0 => {}
                before => label += &format!(" ({})", before + 1),
            }
            rules.push((label, rule));
        }
        Ok(rules)
    }
}

/// A label and the configuration behind a name or JSON.
fn rule(text: &str) -> Result<(String, AnyRule)> {
    if text.trim_start().starts_with('{') {
        return Ok((label(text), AnyRule::from_json(text)?));
    }
    for entry in REGISTRY {
        if entry.name == text {
            return Ok((text.into(), (entry.example)()));
        }
        if let Some((_, preset)) = entry.presets.iter().find(|(name, _)| *name == text) {
            // A preset's own options, at the rate that suits the rule.
            let mut rule = preset();
            if let Some(lr) = (entry.example)().get("lr") {
                rule.set("lr", lr)?;
            }
            return Ok((text.into(), rule));
        }
    }
    // Refuses the name, and says which ones there are.
    Ok((text.into(), AnyRule::named(text)?))
}

/// `{"optimizer": "adam", "lr": 0.01}` as `adam, lr 0.01`.
fn label(json: &str) -> String {
    let mut options: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(json).unwrap_or_default();
    let name = options.remove("optimizer");
    let mut label = name.as_ref().and_then(|name| name.as_str()).unwrap_or("?").to_string();
    for (option, value) in options {
        label += &format!(", {option} {value}");
    }
    label
}
