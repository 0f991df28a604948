//! Trains the digits network with its batches shared out over ranks and its optimizer's state too:
//! `mpirun -n 4 target/release/examples/train_ranks`, or `scripts/mpirun.sh 4`. The same network, data and schedule as
//! `examples/train`.

#[path = "../../examples/support/adapter.rs"]
mod adapter;
#[path = "../../examples/train/data.rs"]
#[allow(dead_code)] // MNIST's files are not read here
mod data;
#[path = "../../examples/train/kernels.rs"]
#[allow(dead_code)]
mod kernels;
#[path = "../../examples/train/network.rs"]
#[allow(dead_code)]
mod network;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use data::Data;
use indicatif::{ProgressBar, ProgressStyle};
use mpi::traits::{Communicator, CommunicatorCollectives};
use network::Network;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use wgpu_optim::{AnyRule, Options};
use wgpu_optim_mpi::{ShardedOptimizer, Sharding, Timings, everyone};

/// Trains a network on handwritten digits, on as many ranks as mpirun started
#[derive(Parser)]
struct Arguments {
    /// The optimizer's rule
    #[arg(long, default_value = "adamw")]
    rule: String,
    /// Default 1e-3
    #[arg(long, default_value_t = 1e-3)]
    lr: f64,
    #[arg(long, default_value_t = 10)]
    epochs: usize,
    /// Of all ranks together; a multiple of their number
    #[arg(long, default_value_t = 48)]
    batch: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A folder for what the run can go on with, after every epoch
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    /// Go on from the last run that is whole in this folder, by any number of ranks
    #[arg(long, value_name = "DIR")]
    resume: Option<PathBuf>,
    /// Seconds to wait for the other ranks
    #[arg(long, default_value_t = 60)]
    timeout: u64,
    /// Part of the name or backend of the adapter to use
    #[arg(long, value_name = "TEXT")]
    adapter: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Some(universe) = mpi::initialize() else {
        eprintln!("error: MPI does not start");
        return ExitCode::FAILURE;
    };
    let world = universe.world();
    if let Err(error) = run(&arguments, &world) {
        eprintln!("rank {}: error: {error:#}", world.rank());
        // Others may wait, and MPI could not end what was begun.
        world.abort(1);
    }
    ExitCode::SUCCESS
}

fn run(arguments: &Arguments, world: &mpi::topology::SimpleCommunicator) -> Result<()> {
    let (rank, ranks) = (world.rank() as usize, world.size() as usize);
    let timeout = Duration::from_secs(arguments.timeout);
    // What one rank cannot do all hear of.
    let opened = everyone(world, adapter::choose(arguments.adapter.as_deref()), timeout)?;
    let own = arguments.batch / ranks;
    ensure!(
        own > 0 && own * ranks == arguments.batch,
        "--batch {}: not a multiple of {ranks} ranks",
        arguments.batch
    );
    let data = Data::digits(&mut ChaCha8Rng::seed_from_u64(arguments.seed))?;
    let (device, queue) = (&opened.device, &opened.queue);
    let network = Network::new(device, queue, &data, &network::HIDDEN, own)?;
    network.initialise(&mut ChaCha8Rng::seed_from_u64(arguments.seed + 1))?;

    let mut rule = AnyRule::named(&arguments.rule)?;
    rule.set("lr", arguments.lr)?;
    let mut biases = rule.clone();
    if biases.get("weight_decay").is_some() {
        biases.set("weight_decay", 0.0)?;
    }
    let mut sharding = Sharding::default();
    sharding.timeout = timeout;
    let groups = [rule, biases];
    let options = Options::default();
    let mut optimizer =
        ShardedOptimizer::new(world, device, queue, &network.params, groups, &options, &sharding)?;

    let steps_of_epoch = data.train.len() / arguments.batch;
    let steps = arguments.epochs * steps_of_epoch;
    let done = match &arguments.resume {
        Some(folder) => optimizer.load(folder)? as usize,
        None => 0,
    };
    ensure!(done.is_multiple_of(steps_of_epoch), "the saved run had other batches");
    let bar = if rank == 0 { ProgressBar::new(steps as u64) } else { ProgressBar::hidden() };
    bar.set_style(ProgressStyle::with_template(
        "{bar:30} {pos} of {len} steps [{elapsed}, {eta} left]  {msg}",
    )?);
    if rank == 0 {
        println!("adapter  {}", adapter::describe(&opened.adapter));
        println!(
            "network  {}, {} parameters; {ranks} ranks, batches of {own} each, {} epochs of {steps_of_epoch} steps\n",
            network.shape(),
            network.params.elements(),
            arguments.epochs
        );
    }
    let mut random = ChaCha8Rng::seed_from_u64(arguments.seed + 2);
    let mut order = network.train_order();
    let mut timings: Vec<Timings> = vec![];
    for epoch in 0..arguments.epochs {
        order.shuffle(&mut random);
        if epoch * steps_of_epoch < done {
            continue;
        }
        // This rank's part of each batch, and what is left over.
        let batches = order.chunks_exact(arguments.batch);
        let mut of_rank: Vec<u32> =
            batches.clone().flat_map(|batch| &batch[rank * own..(rank + 1) * own]).copied().collect();
        of_rank.extend(order.iter().filter(|sample| !of_rank.contains(sample)).copied().collect::<Vec<_>>());
        network.reorder(&of_rank);
        for batch in 0..steps_of_epoch {
            let step = epoch * steps_of_epoch + batch;
            for group in 0..2 {
                let left = 1.0 - step as f64 / steps as f64;
                optimizer.group_mut(group).context("there are two groups")?.set("lr", arguments.lr * left)?;
            }
            let mut encoder = network.encoder();
            network.record_gradients(&mut encoder.begin_compute_pass(&Default::default()), batch);
            network.submit(encoder);
            optimizer.step()?;
            timings.push(optimizer.timings());
            bar.inc(1);
        }
        if let Some(folder) = &arguments.save {
            optimizer.save(folder)?;
        }
        let score = network.test()?;
        bar.set_message(format!("test loss {:.4}, {:.1} %", score.loss, 100.0 * score.accuracy));
    }
    bar.finish_and_clear();
    let score = network.test()?;
    let state = optimizer.state_bytes();
    let mut states = vec![0u64; ranks];
    world.all_gather_into(&state, &mut states[..]);
    if rank == 0 {
        let median = |of: fn(&Timings) -> Duration| {
            let mut all: Vec<f64> = timings.iter().map(|timings| of(timings).as_secs_f64() * 1e3).collect();
            all.sort_by(f64::total_cmp);
            all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
        };
        println!(
            "| ranks | state of a rank, bytes | test loss | right | download, ms | reduce | step | gather | upload |"
        );
        println!("|---|---|---|---|---|---|---|---|---|");
        println!(
            "| {ranks} | {} | {:.6} | {:.2} % | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} |",
            states.iter().max().context("there is a rank")?,
            score.loss,
            100.0 * score.accuracy,
            median(|timings| timings.download),
            median(|timings| timings.reduce),
            median(|timings| timings.step),
            median(|timings| timings.gather),
            median(|timings| timings.upload),
        );
    }
    Ok(())
}
