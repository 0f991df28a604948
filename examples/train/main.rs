//! Trains a multilayer perceptron on handwritten digits, once with each optimizer, on whatever adapter the
//! machine has: `cargo run --release --example train`, or with `--help`.
//!
//! Data, forward, backward and the optimizer's step stay on the GPU; only losses come back.

#[path = "../support/adapter.rs"]
mod adapter;
mod args;
mod data;
mod kernels;
mod network;
mod plot;
mod report;
mod training;

use adapter::Opened;
use anyhow::{Context, Result};
use args::Args;
use clap::Parser;
use data::Data;
use network::Network;
use std::process::ExitCode;
use training::Purpose;
#[cfg(feature = "checkpoint")]
use wgpu_optim::OptimizerState;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    // What can be refused is refused before anything takes time.
    let rules = args.rules()?;
    let data = match &args.data {
        Some(folder) => Data::idx(folder)?,
        None => Data::digits(&mut training::rng(args.seed, Purpose::Split))?,
    };
    let (epochs, batch) = args.length();
    let pictures = plot::Pictures::create(&args.out)?;
    let Opened { adapter, device, queue } = adapter::choose(args.adapter.as_deref())?;

    println!("adapter  {}", adapter::describe(&adapter));
    if adapter::is_software(&adapter) {
        println!("         software adapter: timings say nothing about a GPU");
    }
    let network = Network::new(&device, &queue, &data, &network::HIDDEN, batch)?;
    println!("data     {}: {} samples to train on, {} to test", data.name, data.train.len(), data.test.len());
    println!(
        "network  {}, {} parameters; {epochs} epochs of {} steps, seed {}\n",
        network.shape(),
        network.params.elements(),
        network.train_batches(),
        args.seed
    );

    let steps = epochs * network.train_batches();
    let mut runs = vec![];
    for (label, rule) in &rules {
        let bar = report::bar(label, steps);
        #[cfg(feature = "checkpoint")]
        let saving = Some(saving(args, rules.len())?);
        #[cfg(not(feature = "checkpoint"))]
        let saving = None;
        let gpu = (&device, &queue);
        let run = training::train(&network, gpu, (label, rule), epochs, args.seed, saving, |done, test| {
            bar.set_position(done as u64);
            bar.set_message(report::short(test));
        });
        bar.finish_and_clear();
        let run = run.with_context(|| label.clone())?;
        eprintln!("{}", report::line(&run));
        runs.push(run);
    }
    report::rank(&mut runs);
    println!("\n{}", report::table(&runs));
    println!(
        "loss: mean over the last epoch; ms: wall clock of network and optimizer; dispatches: the optimizer's"
    );
    pictures.draw(&format!("{}, {} perceptron", data.name, network.shape()), &runs)?;
    println!("loss curves: {} and {}", pictures.svg.display(), pictures.png.display());
    Ok(())
}

/// What of a run is kept, and what it goes on from.
#[cfg(feature = "checkpoint")]
fn saving(args: &Args, rules: usize) -> Result<training::Saving<'_>> {
    anyhow::ensure!(
        rules == 1 || args.save.is_none() && args.resume.is_none(),
        "--save and --resume go with one --optimizer, and there are {rules}"
    );
    let save = |state: OptimizerState| Ok(args.save.as_ref().map_or(Ok(()), |file| state.save(file))?);
    Ok(training::Saving {
        from: args.resume.as_ref().map(OptimizerState::open).transpose()?,
        // Nothing is read back where nothing is kept.
        every: if args.save.is_some() { args.every } else { usize::MAX },
        save: Box::new(save),
    })
}
