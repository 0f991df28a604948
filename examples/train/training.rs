//! One run: forward, backward and the optimizer's step in one compute pass, an epoch's losses read at its end.

use crate::network::{Network, Score};
use anyhow::{Context, Result};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::time::{Duration, Instant};
use wgpu_optim::{AnyRule, Optimizer, OptimizerState};

/// Steps recorded into one encoder.
const STEPS_PER_SUBMIT: usize = 16;

/// What a random number is for; each purpose has its own stream of one seed.
#[derive(Debug, Clone, Copy)]
pub enum Purpose {
    Split,
    Parameters,
    Order,
}

/// The random numbers of a seed for one purpose.
pub fn rng(seed: u64, purpose: Purpose) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(purpose as u64);
    rng
}

/// What came out of training with one optimizer.
#[derive(Debug, Clone)]
pub struct Run {
    pub optimizer: String,
    /// Loss of each step's batch, before the step.
    pub losses: Vec<f64>,
    pub steps_per_epoch: usize,
    /// Test before the first and after every epoch.
    pub tests: Vec<Score>,
    /// Wall clock of the training without the tests, of `timed` steps.
    pub time: Duration,
    pub timed: usize,
    pub dispatches: usize,
}

impl Run {
    /// Wall clock of one step, in milliseconds.
    pub fn ms_per_step(&self) -> f64 {
        self.time.as_secs_f64() * 1e3 / self.timed.max(1) as f64
    }

    /// Mean loss of the last epoch's batches; NaN after a divergence.
    pub fn final_loss(&self) -> f64 {
        let last = &self.losses[self.losses.len() - self.steps_per_epoch..];
        last.iter().sum::<f64>() / last.len() as f64
    }

    /// Share of the test samples that the trained network has right.
    pub fn accuracy(&self) -> f64 {
        self.tests.last().map_or(0.0, |score| score.accuracy)
    }
}

/// Where a run starts from, and what is done with what it can go on with.
pub struct Saving<'a> {
    /// A state that [`train`] gave.
    pub from: Option<OptimizerState>,
    /// Epochs between two states.
    pub every: usize,
    pub save: Box<dyn FnMut(OptimizerState) -> Result<()> + 'a>,
}

/// Numbers as words of a state.
fn words(numbers: impl Iterator<Item = f64>) -> Vec<u32> {
    numbers.map(f64::to_bits).flat_map(|bits| [bits as u32, (bits >> 32) as u32]).collect()
}

/// The same back.
fn numbers(words: &[u32]) -> Vec<f64> {
    words.chunks_exact(2).map(|two| f64::from_bits(u64::from(two[0]) | u64::from(two[1]) << 32)).collect()
}

/// Trains `network` from the parameters of `seed`, or goes on from a state. `progress` is told the steps recorded so far and
/// the test's last score.
pub fn train(
    network: &Network,
    (device, queue): (&wgpu_optim::wgpu::Device, &wgpu_optim::wgpu::Queue),
    (name, config): (&str, &AnyRule),
    epochs: usize,
    seed: u64,
    mut saving: Option<Saving<'_>>,
    mut progress: impl FnMut(usize, Score),
) -> Result<Run> {
    network.initialise(&mut rng(seed, Purpose::Parameters))?;
    let mut biases = config.clone();
    if biases.get("weight_decay").is_some() {
        biases.set("weight_decay", 0.0)?;
    }
    let mut optimizer = Optimizer::new(device, queue, &network.params, [config.clone(), biases])?;

    // A rule may go without a rate.
    let rates: Vec<_> = network.groups.iter().filter_map(|group| Some((*group, config.get("lr")?))).collect();

    let mut random = rng(seed, Purpose::Order);
    let mut order = network.train_order();
    let mut tests = vec![];
    let mut losses = vec![];
    if let Some(state) = saving.as_ref().and_then(|saving| saving.from.as_ref()) {
        network.params.load_params(queue, state)?;
        optimizer.load_state(state)?;
        losses = numbers(state.get("host/losses").context("the state is not one of this program")?);
        let scores = numbers(state.get("host/tests").unwrap_or_default());
        tests = scores.chunks_exact(2).map(|score| Score { loss: score[0], accuracy: score[1] }).collect();
    } else {
        tests.push(network.test()?);
    }
    let mut time = Duration::ZERO;
    let steps = (epochs * network.train_batches()) as f64;
    let done = losses.len() / network.train_batches();
    for epoch in 0..epochs {
        let start = Instant::now();
        order.shuffle(&mut random);
        if epoch < done {
            continue;
        }
        network.reorder(&order);
        let batches: Vec<usize> = (0..network.train_batches()).collect();
        for chunk in batches.chunks(STEPS_PER_SUBMIT) {
            let mut encoder = network.encoder();
            for &batch in chunk {
                // From the full rate evenly down to 0, which the step after the last would have.
                let left = 1.0 - optimizer.steps() as f64 / steps;
                for (group, lr) in &rates {
                    optimizer.group_mut(*group)?.set("lr", lr * left)?;
                }
                let step = optimizer.prepare(&mut encoder)?;
                let mut pass = encoder.begin_compute_pass(&Default::default());
                network.record_gradients(&mut pass, batch);
                step.encode(&mut pass);
            }
            network.submit(encoder);
            progress(losses.len() + chunk[chunk.len() - 1] + 1, tests[tests.len() - 1]);
        }
        losses.extend(network.train_losses()?);
        time += start.elapsed();
        tests.push(network.test()?);
        if let Some(saving) = &mut saving
            && (epoch + 1).is_multiple_of(saving.every)
        {
            let mut state = optimizer.read_checkpoint_blocking(&network.params)?;
            state.insert("host/losses", words(losses.iter().copied()))?;
            state.insert("host/tests", words(tests.iter().flat_map(|score| [score.loss, score.accuracy])))?;
            (saving.save)(state)?;
        }
    }
    Ok(Run {
        optimizer: name.into(),
        losses,
        steps_per_epoch: network.train_batches(),
        tests,
        time,
        timed: (epochs - done.min(epochs)) * network.train_batches(),
        dispatches: optimizer.dispatches_per_step(),
    })
}
