//! What of a training step the optimizer takes, burn's AdamW and ours in turns in the same loop: a small Transformer, and as many
//! small layers as make 148 and 1 000 tensors.
//!
//! ```text
//! cargo run --release --example share
//! ```

#[path = "support/copy.rs"]
mod copy;

use anyhow::{Result, anyhow};
use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::transformer::{TransformerEncoder, TransformerEncoderConfig, TransformerEncoderInput};
use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig};
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Int, Tensor, TensorData, activation::relu};
use copy::copied;
use std::time::Instant;
use wgpu_optim_burn::rules::Adam;
use wgpu_optim_burn::{Optimizer, Parameter};

const WARM_UP: usize = 5;
const ROUNDS: usize = 21;

/// A model with a loss of its own.
trait Model: Module + 'static {
    fn loss(&self, device: &Device) -> Tensor<1>;
}

#[derive(Module, Debug)]
struct Transformer {
    embedding: Embedding,
    encoder: TransformerEncoder,
    head: Linear,
}

const WORDS: usize = 256;
const LENGTH: usize = 32;

impl Transformer {
    fn new(device: &Device) -> Self {
        Self {
            embedding: EmbeddingConfig::new(WORDS, 64).init(device),
            encoder: TransformerEncoderConfig::new(64, 128, 4, 4).with_dropout(0.0).init(device),
            head: LinearConfig::new(64, WORDS).init(device),
        }
    }
}

impl Model for Transformer {
    fn loss(&self, device: &Device) -> Tensor<1> {
        let words: Vec<i32> = (0..4 * LENGTH as i32).map(|i| (i * 37 + i / 7) % WORDS as i32).collect();
        let words: Tensor<2, Int> = Tensor::from_data(TensorData::new(words, [4, LENGTH]), device);
        let x = self.encoder.forward(TransformerEncoderInput::new(self.embedding.forward(words.clone())));
        let answers = self.head.forward(x).reshape([4 * LENGTH, WORDS]);
        CrossEntropyLossConfig::new().init(device).forward(answers, words.reshape([4 * LENGTH]))
    }
}

/// Layers one behind the other.
#[derive(Module, Debug)]
struct Layers {
    layers: Vec<Linear>,
}

impl Layers {
    fn new(tensors: usize, width: usize, device: &Device) -> Self {
        Self { layers: (0..tensors / 2).map(|_| LinearConfig::new(width, width).init(device)).collect() }
    }
}

impl Model for Layers {
    fn loss(&self, device: &Device) -> Tensor<1> {
        let width = self.layers[0].weight.shape()[0];
        let x: Tensor<2> = Tensor::ones([8, width], device);
        self.layers.iter().fold(x, |x, layer| relu(layer.forward(x))).mean()
    }
}

/// Seconds of the optimizer, and of a whole step: medians.
struct Times {
    optimizer: f64,
    whole: f64,
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Both in turns.
fn measure<M: Model>(
    model: M,
    setup: &burn_wgpu::WgpuSetup,
    device: &Device,
) -> Result<(usize, usize, [Times; 2])> {
    let wait = || device.sync().map_err(|error| anyhow!("burn: {error:?}"));
    let mut theirs: ModuleOptimizer = AdamWConfig::new().init();
    let (mut a, mut b) = (copied(&model), copied(&model));
    let mut ours = Optimizer::builder(setup)
        .group_where(
            "biases and norms",
            |p: &Parameter| p.shape.len() < 2,
            Adam { weight_decay: 0.0, ..Adam::adamw() },
        )
        .build(&b, Adam::adamw())?;
    let mut times = [[vec![], vec![]], [vec![], vec![]]];
    for round in 0..WARM_UP + ROUNDS {
        for (which, times) in times.iter_mut().enumerate() {
            wait()?;
            let start = Instant::now();
            let gradients = |model: &M| GradientsParams::from_grads(model.loss(device).backward(), model);
            let given = gradients(if which == 0 { &a } else { &b });
            wait()?;
            let middle = Instant::now();
            if which == 0 {
                a = theirs.step(1e-3, a, given);
            } else {
                b = ours.step(b, given).map_err(|refused| refused.error)?;
            }
            wait()?;
            if round >= WARM_UP {
                times[0].push(middle.elapsed().as_secs_f64());
                times[1].push(start.elapsed().as_secs_f64());
            }
        }
    }
    let tensors = ours.parameters().count();
    let elements = ours.parameters().map(|parameter| parameter.shape.iter().product::<usize>()).sum();
    let times = times.map(|[mut optimizer, mut whole]| Times {
        optimizer: median(&mut optimizer),
        whole: median(&mut whole),
    });
    Ok((tensors, elements, times))
}

fn main() -> Result<()> {
    let (plain, setup) =
        Device::wgpu_options().init_with_setup().map_err(|error| anyhow!("burn has no device: {error:?}"))?;
    let device = plain.autodiff();
    println!(
        "{}: medians of {ROUNDS} steps in turns, burn's AdamW and ours\n",
        setup.adapter.get_info().name
    );
    println!(
        "| model | parameters | tensors | optimizer, ms | whole step, ms | the optimizer's share | times as fast |\n\
         |---|---|---|---|---|---|---|"
    );
    let print = |name: &str, (tensors, elements, [burn, ours]): (usize, usize, [Times; 2])| {
        let share = |times: &Times| 100.0 * times.optimizer / times.whole;
        println!(
            "| {name} | {elements} | {tensors} | {:.2}, {:.2} | {:.1}, {:.1} | {:.0} %, {:.0} % | {:.1} |",
            burn.optimizer * 1e3,
            ours.optimizer * 1e3,
            burn.whole * 1e3,
            ours.whole * 1e3,
            share(&burn),
            share(&ours),
            burn.optimizer / ours.optimizer
        );
    };
    print("Transformer of 4 layers of 64", measure(Transformer::new(&device), &setup, &device)?);
    print("74 layers of 32", measure(Layers::new(148, 32, &device), &setup, &device)?);
    print("500 layers of 16", measure(Layers::new(1000, 16, &device), &setup, &device)?);
    Ok(())
}
