//! One run: burn differentiates a network on the CPU, and one of our optimizers makes the steps on the adapter.

use crate::data::Data;
use crate::models::{Network, flat, judge};
use anyhow::{Context, Result, ensure};
use burn::tensor::Device;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use wgpu_optim::{AnyRule, BufferRange, GroupId, Optimizer, Options, ParamSet, TensorId, Wrappers, wgpu};

/// Words between the beginnings of tensors: what a binding's offset is a multiple of on every device.
const ALIGNMENT: usize = 64;
/// Parts of a run whose means are recorded.
pub const PARTS: usize = 40;

/// Where steps are made.
pub struct Lab {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    /// Where burn differentiates.
    pub host: Device,
}

/// What trains a network: a rule at a rate, what stands around it, and how the rate changes.
#[derive(Debug, Clone)]
pub struct Recipe {
    pub rule: AnyRule,
    pub max_grad_norm: Option<f64>,
    /// Share of the steps in which the rate grows from 0.
    pub warmup: f64,
    pub steps: usize,
    /// Examples of a batch.
    pub examples: usize,
}

impl Recipe {
    /// The factor of the rate at step `t` from 1: it grows linearly, and falls linearly to 0 in the last half.
    pub fn factor(&self, t: usize) -> f64 {
        let share = t as f64 / self.steps as f64;
        let up = if self.warmup > 0.0 { (share / self.warmup).min(1.0) } else { 1.0 };
        up * ((1.0 - share) * 2.0 + 1.0 / self.steps as f64).min(1.0)
    }
}

/// What came of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// Mean loss of the training batches of each part, in nats; not finite: a large number.
    pub losses: Vec<f32>,
    /// Mean of |theta_t - theta_{t-1}| over all parameters and the steps of each part; not finite: a large number.
    pub updates: Vec<f32>,
    /// Of what was held out.
    pub test_loss: f64,
    pub accuracy: f64,
}

/// What stands for a number that is not finite: JSON has none of those.
pub const DIVERGED: f32 = 1e6;

fn finite(value: f32) -> f32 {
    if value.is_finite() { value.min(DIVERGED) } else { DIVERGED }
}

/// A network in training.
pub struct Trainer<'a, N> {
    lab: &'a Lab,
    pub network: Option<N>,
    optimizer: Optimizer<AnyRule>,
    group: GroupId,
    lr: f64,
    pub tensors: Vec<TensorId>,
    /// First word and length of each tensor.
    places: Vec<(usize, usize)>,
    buffers: [wgpu::Buffer; 3],
    /// Before the last step, and now.
    values: [Vec<f32>; 2],
    /// Of the last step.
    pub gradients: Vec<Vec<f32>>,
}

impl<'a, N: Network> Trainer<'a, N> {
    pub fn new(lab: &'a Lab, network: N, recipe: &Recipe) -> Result<Self> {
        let shapes = flat::shapes(&network);
        let mut places = vec![];
        let mut words = 0usize;
        for (_, shape) in &shapes {
            let length = shape.iter().product::<usize>();
            places.push((words, length));
            words = (words + length).next_multiple_of(ALIGNMENT);
        }
        let arena = |label: &str, usage| {
            lab.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size: 4 * words as u64,
                usage,
                mapped_at_creation: false,
            })
        };
        use wgpu::BufferUsages as Usage;
        let on_device = Usage::STORAGE | Usage::COPY_SRC | Usage::COPY_DST;
        let buffers = [
            arena("parameters", on_device),
            arena("gradients", on_device),
            arena("parameters, read back", Usage::MAP_READ | Usage::COPY_DST),
        ];
        let mut builder = ParamSet::builder();
        let group = builder.group("all");
        let mut tensors = vec![];
        for ((name, shape), (at, _)) in shapes.iter().zip(&places) {
            let [param, grad] = [&buffers[0], &buffers[1]].map(|of| BufferRange::new(of, 4 * *at as u64));
            tensors.push(builder.external(name.clone(), shape.clone(), group, param, grad));
        }
        let set = builder.build(&lab.device)?;
        let wrappers = Wrappers { max_grad_norm: recipe.max_grad_norm, ..Wrappers::default() };
        let mut options = Options::default();
        options.wrappers = wrappers;
        let optimizer =
            Optimizer::with_options(&lab.device, &lab.queue, &set, [recipe.rule.clone()], &options)?;
        let lr = recipe.rule.get("lr").context("every rule here has a rate")?;
        let first = scattered(&flat::parameters(&network)?, &places, words);
        lab.queue.write_buffer(&buffers[0], 0, bytemuck::cast_slice(&first));
        let values = [first.clone(), first];
        Ok(Self {
            lab,
            network: Some(network),
            optimizer,
            group,
            lr,
            tensors,
            places,
            buffers,
            values,
            gradients: vec![],
        })
    }

    /// One step at `factor` times the rate, with a batch's gradient. The loss before it.
    pub fn step(&mut self, batch: &crate::models::Batch, factor: f64) -> Result<f32> {
        let network = self.network.take().context("a step before this failed")?;
        let (loss, _, _) = judge(&network, batch, &self.lab.host);
        let value: f32 = loss.clone().inner().into_scalar();
        let gradients = flat::gradients(&network, &loss.backward())?;
        self.apply(&gradients, factor)?;
        self.gradients = gradients;
        let parts: Vec<&[f32]> =
            self.places.iter().map(|(at, length)| &self.values[1][*at..at + length]).collect();
        self.network = Some(flat::with(network, &parts)?);
        Ok(value)
    }

    fn apply(&mut self, gradients: &[Vec<f32>], factor: f64) -> Result<()> {
        let Lab { device, queue, .. } = self.lab;
        let [params, grads, back] = &self.buffers;
        let flat = scattered(gradients, &self.places, self.values[0].len());
        queue.write_buffer(grads, 0, bytemuck::cast_slice(&flat));
        self.optimizer.group_mut(self.group)?.set("lr", self.lr * factor)?;
        let mut encoder = device.create_command_encoder(&Default::default());
        self.optimizer.step(&mut encoder)?;
        encoder.copy_buffer_to_buffer(params, 0, back, 0, back.size());
        queue.submit([encoder.finish()]);
        back.map_async(wgpu::MapMode::Read, .., |_| ());
        device.poll(wgpu::PollType::wait_indefinitely()).context("the device did not finish")?;
        self.values.swap(0, 1);
        let view = back.get_mapped_range(..).context("the device is lost")?;
        self.values[1].copy_from_slice(bytemuck::cast_slice(&view));
        drop(view);
        back.unmap();
        Ok(())
    }

    /// |theta_t - theta_{t-1}| of every parameter in the last step.
    pub fn updates(&self) -> impl Iterator<Item = f32> {
        let [before, now] = &self.values;
        let of = move |(at, length): &(usize, usize)| *at..at + length;
        self.places.iter().flat_map(move |place| {
            before[of(place)].iter().zip(&now[of(place)]).map(|(before, now)| (now - before).abs())
        })
    }

    /// A slot of every parameter.
    pub fn slot(&self, slot: &str) -> Result<Vec<f32>> {
        let mut values = vec![];
        for tensor in &self.tensors {
            values.extend(self.optimizer.read_slot_blocking(&self.lab.queue, *tensor, slot)?);
        }
        Ok(values)
    }
}

/// Tensors in their places in an arena.
fn scattered(tensors: &[Vec<f32>], places: &[(usize, usize)], words: usize) -> Vec<f32> {
    let mut all = vec![0.0; words];
    for (values, (at, length)) in tensors.iter().zip(places) {
        all[*at..at + length].copy_from_slice(values);
    }
    all
}

/// Trains `network` with batches of this seed, and tells `watch` of every step. A run whose loss is not finite
/// for ten steps has come to its end.
pub fn train<N: Network>(
    lab: &Lab,
    network: N,
    data: &dyn Data,
    recipe: &Recipe,
    seed: u64,
    mut watch: impl FnMut(usize, &Trainer<'_, N>) -> Result<()>,
) -> Result<(Run, N)> {
    ensure!(recipe.steps >= PARTS, "at least {PARTS} steps");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut trainer = Trainer::new(lab, network, recipe)?;
    let (mut losses, mut updates) = (vec![vec![]; PARTS], vec![vec![]; PARTS]);
    let mut lost = 0;
    for t in 1..=recipe.steps {
        let part = (t - 1) * PARTS / recipe.steps;
        if lost >= 10 {
            losses[part].push(DIVERGED);
            updates[part].push(DIVERGED);
            continue;
        }
        let loss = trainer.step(&data.draw(&mut rng, recipe.examples), recipe.factor(t))?;
        lost = if loss.is_finite() { 0 } else { lost + 1 };
        losses[part].push(finite(loss));
        updates[part].push(finite(mean(trainer.updates())));
        watch(t, &trainer)?;
    }
    let network = trainer.network.context("a step failed")?;
    let (mut test_loss, mut right, mut counted) = (0.0, 0, 0);
    for batch in data.held_out() {
        let (loss, hits, answers) = judge(&network, batch, &lab.host);
        let loss: f32 = loss.inner().into_scalar();
        test_loss += f64::from(finite(loss)) * answers as f64;
        right += hits;
        counted += answers;
    }
    let run = Run {
        losses: losses.iter().map(|part| mean(part.iter().copied())).collect(),
        updates: updates.iter().map(|part| mean(part.iter().copied())).collect(),
        test_loss: test_loss / counted as f64,
        accuracy: right as f64 / counted as f64,
    };
    Ok((run, network))
}

fn mean(values: impl Iterator<Item = f32>) -> f32 {
    let (mut sum, mut count) = (0.0, 0);
    for value in values {
        sum += f64::from(value);
        count += 1;
    }
    (sum / f64::from(count)) as f32
}
