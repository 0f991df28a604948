//! One network trained twice on the same batches, by burn's optimizer and by ours: the loss of both, and what a step takes.
//!
//! ```text
//! cargo run --release --example digits                                                  # the bundled digits
//! cargo run --release --example digits -- --data /usr/share/datasets/fashion-mnist      # Debian's dataset-fashion-mnist
//! ```

#[path = "support/copy.rs"]
mod copy;
#[path = "../../examples/train/data.rs"]
#[allow(dead_code)]
mod data;

use anyhow::{Context, Result, anyhow};
use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, AdamWConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Int, Tensor, TensorData, activation::relu};
use clap::Parser;
use copy::copied;
use data::{Data, Images};
use indicatif::{ProgressBar, ProgressStyle};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use wgpu_optim_burn::rules::{Adam, Sgd};
use wgpu_optim_burn::{AnyRule, Optimizer};

/// Trains a network under burn's optimizers and under ours
#[derive(Parser)]
struct Arguments {
    /// A folder with MNIST's four files; the bundled digits by default
    #[arg(long)]
    data: Option<PathBuf>,
    #[arg(long, default_value_t = 300)]
    steps: usize,
    #[arg(long, default_value_t = 64)]
    batch: usize,
    #[arg(long, default_value_t = 128)]
    hidden: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Module, Debug)]
struct Network {
    first: Linear,
    second: Linear,
    last: Linear,
}

impl Network {
    fn new(data: &Data, hidden: usize, device: &Device) -> Self {
        let layer = |inputs, outputs| LinearConfig::new(inputs, outputs).init(device);
        let (first, second) = (layer(data.train.size, hidden), layer(hidden, hidden));
        Self { first, second, last: layer(hidden, data.classes) }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.last.forward(relu(self.second.forward(relu(self.first.forward(x)))))
    }
}

/// The images with these numbers, bright ones 1.
fn batch(data: &Data, images: &Images, numbers: &[usize], device: &Device) -> (Tensor<2>, Tensor<1, Int>) {
    let size = images.size;
    let pixels = numbers.iter().flat_map(|i| &images.pixels[i * size..(i + 1) * size]);
    let pixels: Vec<f32> = pixels.map(|pixel| f32::from(*pixel) / f32::from(data.white)).collect();
    let labels: Vec<i32> = numbers.iter().map(|i| i32::from(images.labels[*i])).collect();
    let x = Tensor::from_data(TensorData::new(pixels, [numbers.len(), size]), device);
    (x, Tensor::from_data(TensorData::new(labels, [numbers.len()]), device))
}

/// One of the two that train.
enum Trainer {
    Burn(ModuleOptimizer, f64),
    Ours(Box<Optimizer>),
}

impl Trainer {
    fn step(&mut self, network: Network, gradients: GradientsParams) -> Result<Network> {
        match self {
            Self::Burn(optimizer, lr) => Ok(optimizer.step(*lr, network, gradients)),
            Self::Ours(optimizer) => {
                Ok(optimizer.step(network, gradients).map_err(|refused| refused.error)?)
            }
        }
    }
}

/// What came of a run.
struct Run {
    losses: Vec<f32>,
    accuracy: f64,
    optimizer: Duration,
    whole: Duration,
}

/// Steps before time is taken: pipelines are made, memory is found.
const WARM_UP: usize = 20;

fn train(
    mut network: Network,
    mut trainer: Trainer,
    data: &Data,
    arguments: &Arguments,
    device: &Device,
    bar: &ProgressBar,
) -> Result<Run> {
    let wait = || device.sync().map_err(|error| anyhow!("burn: {error:?}"));
    let mut rng = ChaCha8Rng::seed_from_u64(arguments.seed);
    let mut numbers: Vec<usize> = (0..data.train.len()).collect();
    let mut at = numbers.len();
    let mut run = Run { losses: vec![], accuracy: 0.0, optimizer: Duration::ZERO, whole: Duration::ZERO };
    for step in 0..arguments.steps {
        if at + arguments.batch > numbers.len() {
            numbers.shuffle(&mut rng);
            at = 0;
        }
        let (x, labels) = batch(data, &data.train, &numbers[at..at + arguments.batch], device);
        at += arguments.batch;
        wait()?;
        let start = Instant::now();
        let loss = CrossEntropyLossConfig::new().init(device).forward(network.forward(x), labels);
        let value = loss.clone().inner();
        let gradients = GradientsParams::from_grads(loss.backward(), &network);
        wait()?;
        let middle = Instant::now();
        network = trainer.step(network, gradients)?;
        wait()?;
        if step >= WARM_UP {
            run.optimizer += middle.elapsed();
            run.whole += start.elapsed();
        }
        run.losses.push(value.into_scalar());
        bar.inc(1);
    }
    let all: Vec<usize> = (0..data.test.len()).collect();
    let mut right = 0;
    for part in all.chunks(500) {
        let (x, labels) = batch(data, &data.test, part, device);
        let answers = network.forward(x).argmax(1).reshape([part.len()]);
        let hits: i32 = answers.equal(labels).int().sum().into_scalar();
        right += hits;
    }
    run.accuracy = f64::from(right) / data.test.len() as f64;
    Ok(run)
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut rng = ChaCha8Rng::seed_from_u64(arguments.seed);
    let data = match &arguments.data {
        Some(folder) => Data::idx(folder)?,
        None => Data::digits(&mut rng)?,
    };
    anyhow::ensure!(
        arguments.batch <= data.train.len() && arguments.steps > WARM_UP,
        "at most {} images a batch, and more than {WARM_UP} steps",
        data.train.len()
    );
    let (plain, setup) =
        Device::wgpu_options().init_with_setup().map_err(|error| anyhow!("burn has no device: {error:?}"))?;
    plain.seed(arguments.seed);
    let device = plain.autodiff();
    let adapter = setup.adapter.get_info().name;
    let Arguments { steps, batch, hidden, .. } = arguments;
    println!(
        "{}: {} images; {hidden} hidden, batches of {batch}, {steps} steps; {adapter}\n",
        data.name,
        data.train.len()
    );
    let start = Network::new(&data, hidden, &device);
    let bar = ProgressBar::new(6 * steps as u64);
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos} of {len} steps [{elapsed}, {eta} left]")?);

    let cases: [(&str, ModuleOptimizer, AnyRule, f64); 3] = [
        (
            "Adam",
            AdamConfig::new().with_epsilon(1e-8).init(),
            AnyRule::new(Adam { lr: 1e-3, ..Adam::default() }),
            1e-3,
        ),
        (
            "AdamW",
            AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(0.01).init(),
            AnyRule::new(Adam { lr: 1e-3, weight_decay: 0.01, ..Adam::adamw() }),
            1e-3,
        ),
        ("SGD", SgdConfig::new().init(), AnyRule::new(Sgd { lr: 0.05, ..Sgd::default() }), 0.05),
    ];
    let mut lines = vec![];
    for (name, theirs, ours, lr) in cases {
        let [a, b] = [(); 2].map(|()| copied(&start));
        let ours = Optimizer::builder(&setup).build_any(&b, ours)?;
        let of_burn = train(a, Trainer::Burn(theirs, lr), &data, &arguments, &device, &bar)?;
        let of_ours = train(b, Trainer::Ours(Box::new(ours)), &data, &arguments, &device, &bar)?;
        let apart =
            of_burn.losses.iter().zip(&of_ours.losses).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let last = |run: &Run| run.losses.last().copied().context("no step");
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3 / (steps - WARM_UP) as f64;
        lines.push(format!(
            "| {name} | {:.4}, {:.4} | {apart:.1e} | {:.1} %, {:.1} % | {:.2}, {:.2} | {:.2}, {:.2} |",
            last(&of_burn)?,
            last(&of_ours)?,
            100.0 * of_burn.accuracy,
            100.0 * of_ours.accuracy,
            milliseconds(of_burn.optimizer),
            milliseconds(of_ours.optimizer),
            milliseconds(of_burn.whole),
            milliseconds(of_ours.whole),
        ));
    }
    bar.finish_and_clear();
    println!(
        "| burn, ours | last loss | losses apart, at most | right of the test | optimizer, ms | whole step, ms |\n|---|---|---|---|---|---|"
    );
    lines.iter().for_each(|line| println!("{line}"));
    Ok(())
}
