//! Claim: the network of `examples/train` has the right gradients on every adapter (finite differences in
//! `f64`), trains to the same bits again from the same seed, and reaches what the demonstration promises.

mod common;

#[path = "../examples/train/args.rs"]
#[allow(dead_code)]
mod args;
#[path = "../examples/train/data.rs"]
#[allow(dead_code)]
mod data;
#[path = "../examples/train/kernels.rs"]
mod kernels;
#[path = "../examples/train/network.rs"]
#[allow(dead_code)]
mod network;
#[path = "../examples/train/training.rs"]
#[allow(dead_code)]
mod training;

use args::Args;
use clap::Parser;
use common::run::resolve;
use common::{Gpu, gpu_main, trial};
use data::{Data, Images};
use network::Network;
use rand::RngExt;
use training::{Purpose, Run, Saving, rng, train};
use wgpu_optim::OptimizerState;
use wgpu_optim::wgpu;

/// Share of the test that the demonstration's optimizers get right.
const PROMISED: f64 = 0.97;

fn main() {
    gpu_main("train_example", |adapter| {
        vec![
            trial(adapter, "gradients equal finite differences", gradients),
            trial(adapter, "the same seed gives the same bits", determinism),
            trial(adapter, "a run goes on from any epoch", resumed),
            trial(adapter, "adamw keeps its promise", |gpu| promise(gpu, "adamw")),
            trial(adapter, "madam keeps its promise", |gpu| promise(gpu, "madam")),
        ]
    });
}

/// A network in `f64`: weight `[outputs][inputs]` and bias of each layer.
type Layers = Vec<(Vec<Vec<f64>>, Vec<f64>)>;

/// The logits of one sample, and the smallest |z| of any hidden unit before max(z, 0).
fn forward(layers: &Layers, image: &[f64]) -> (Vec<f64>, f64) {
    let mut x = image.to_vec();
    let mut nearest = f64::INFINITY;
    for (l, (weight, bias)) in layers.iter().enumerate() {
        let unit = |(row, b): (&Vec<f64>, &f64)| b + row.iter().zip(&x).map(|(w, x)| w * x).sum::<f64>();
        x = weight.iter().zip(bias).map(unit).collect();
        if l + 1 < layers.len() {
            nearest = x.iter().fold(nearest, |nearest, z| nearest.min(z.abs()));
            x.iter_mut().for_each(|z| *z = z.max(0.0));
        }
    }
    (x, nearest)
}

/// Mean cross-entropy of some samples.
fn loss(layers: &Layers, data: &Data, samples: &[u32]) -> f64 {
    let one = |&sample: &u32| {
        let (image, label) = sample_of(&data.train, sample, data.white);
        let (logits, _) = forward(layers, &image);
        logits.iter().map(|z| z.exp()).sum::<f64>().ln() - logits[label]
    };
    samples.iter().map(one).sum::<f64>() / samples.len() as f64
}

fn sample_of(images: &Images, sample: u32, white: u8) -> (Vec<f64>, usize) {
    let pixels = &images.pixels[sample as usize * images.size..][..images.size];
    let image = pixels.iter().map(|pixel| f64::from(*pixel) / f64::from(white)).collect();
    (image, images.labels[sample as usize].into())
}

/// Awkward sizes: pixels, units and classes that are no multiples of four or of a workgroup, and a last
/// batch that is not full.
fn gradients(gpu: &Gpu) {
    let (pixels, classes, batch, count) = (43, 5, 7, 12u32);
    let mut random = rng(3, Purpose::Split);
    let mut images = |count: usize| Images {
        size: pixels,
        pixels: (0..count * pixels).map(|_| random.random_range(0..=16)).collect(),
        labels: (0..count).map(|_| random.random_range(0..classes)).collect(),
    };
    let (train, test) = (images(count as usize), images(3));
    let data = Data { name: "random".into(), train, test, classes: classes.into(), white: 16 };
    let network = Network::new(&gpu.device, &gpu.queue, &data, &[36, 6], batch).unwrap();
    network.initialise(&mut random).unwrap();
    let ids: Vec<_> =
        network.params.tensors().iter().map(|t| network.params.find(&t.name).unwrap()).collect();
    for id in &ids {
        let tensor = network.params.tensor(*id).unwrap();
        if tensor.shape.len() == 1 {
            let bias: Vec<f32> = (0..tensor.len).map(|_| random.random_range(-0.3..0.3)).collect();
            network.params.write_param(&gpu.queue, *id, &bias).unwrap();
        }
    }
    let mut order = network.train_order();
    order.reverse();
    network.reorder(&order);

    let mut layers = Layers::new();
    for pair in ids.chunks_exact(2) {
        let read = |id| network.params.read_param_blocking(&gpu.queue, id).unwrap();
        let exact = |values: &[f32]| values.iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
        let inputs = network.params.tensor(pair[0]).unwrap().shape[1];
        layers.push((read(pair[0]).chunks(inputs).map(exact).collect(), exact(&read(pair[1]))));
    }
    for sample in &order {
        let (mut image, _) = sample_of(&data.train, *sample, data.white);
        image.resize(layers[0].0[0].len(), 0.0);
        // Finite differences across the kink of max(z, 0) would be wrong.
        assert!(forward(&layers, &image).1 > 1e-3, "another seed is needed");
    }

    for (number, samples) in order.chunks(batch).enumerate() {
        let mut encoder = network.encoder();
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        network.record_gradients(&mut pass, number);
        drop(pass);
        let downloads =
            ids.iter().map(|id| network.params.download_grad(&mut encoder, *id).unwrap()).collect();
        network.submit(encoder);
        let got = resolve(gpu, downloads);

        let (want, mean) = (loss(&layers, &data, samples), network.train_losses().unwrap()[number]);
        assert!((mean - want).abs() < 1e-5 * want, "batch {number}: loss {mean}, but {want}");
        for (l, pair) in got.chunks_exact(2).enumerate() {
            let (outputs, inputs) = (layers[l].0.len(), layers[l].0[0].len());
            let weights = (0..outputs * inputs).map(|i| {
                difference(&mut layers, &data, samples, |layers| &mut layers[l].0[i / inputs][i % inputs])
            });
            let weights: Vec<f64> = weights.collect();
            let biases =
                (0..outputs).map(|i| difference(&mut layers, &data, samples, |layers| &mut layers[l].1[i]));
            let biases: Vec<f64> = biases.collect();
            compare(&format!("batch {number}, layer {l}, weights"), &pair[0], &weights);
            compare(&format!("batch {number}, layer {l}, biases"), &pair[1], &biases);
        }
    }
}

/// The central difference of the loss along one parameter.
fn difference(
    layers: &mut Layers,
    data: &Data,
    samples: &[u32],
    parameter: impl Fn(&mut Layers) -> &mut f64,
) -> f64 {
    let (step, at) = (1e-5, *parameter(layers));
    let mut beside = |distance: f64| {
        *parameter(layers) = at + distance;
        loss(layers, data, samples)
    };
    let (high, low) = (beside(step), beside(-step));
    *parameter(layers) = at;
    (high - low) / (2.0 * step)
}

/// A gradient is a sum of some hundred products and each rounds by 2^-24 of the largest.
fn compare(what: &str, got: &[f32], want: &[f64]) {
    assert_eq!(got.len(), want.len());
    let largest = want.iter().fold(0f64, |largest, g| largest.max(g.abs()));
    assert!(largest > 1e-3, "{what}: nothing to compare");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let error = (f64::from(*got) - want).abs();
        assert!(error <= 1e-5 * largest, "{what}[{i}]: {got}, but finite differences give {want}");
    }
}

/// Trains as the command line does.
fn run(gpu: &Gpu, arguments: &[&str], saving: Option<Saving<'_>>) -> (Run, Vec<u32>) {
    let args = Args::try_parse_from([&["train"], arguments].concat()).unwrap();
    let data = Data::digits(&mut rng(args.seed, Purpose::Split)).unwrap();
    let (epochs, batch) = args.length();
    let network = Network::new(&gpu.device, &gpu.queue, &data, &network::HIDDEN, batch).unwrap();
    let (name, rule) = args.rules().unwrap().remove(0);
    let gpu_of = (&gpu.device, &gpu.queue);
    let run = train(&network, gpu_of, (&name, &rule), epochs, args.seed, saving, |_, _| ()).unwrap();
    let weight = network.params.find("layer1.weight").unwrap();
    let weight = network.params.read_param_blocking(&gpu.queue, weight).unwrap();
    (run, weight.iter().map(|w| w.to_bits()).collect())
}

/// Every epoch's state; a run that starts from one ends as the run that gave it.
fn resumed(gpu: &Gpu) {
    let arguments = ["--optimizer", "nadam", "--epochs", "3"];
    let mut states = vec![];
    let mut save = |state: OptimizerState| {
        states.push(state);
        Ok(())
    };
    let saving = Saving { from: None, every: 1, save: Box::new(&mut save) };
    let (whole, weight) = run(gpu, &arguments, Some(saving));
    assert_eq!(states.len(), 3);
    for state in states {
        let saving = Saving { from: Some(state), every: usize::MAX, save: Box::new(|_| Ok(())) };
        let (again, last) = run(gpu, &arguments, Some(saving));
        assert!(last == weight, "the run went on to other weights");
        assert_eq!(again.losses, whole.losses);
        assert_eq!(again.accuracy(), whole.accuracy());
    }
}

fn determinism(gpu: &Gpu) {
    let arguments = ["--optimizer", "madam", "--epochs", "2"];
    let (first, again) = (run(gpu, &arguments, None), run(gpu, &arguments, None));
    assert_eq!(first.0.losses, again.0.losses);
    assert_eq!(first.0.tests, again.0.tests);
    assert_eq!(first.1, again.1, "weights");
    let other = run(gpu, &[&arguments[..], &["--seed", "1"]].concat(), None);
    assert_ne!(first.0.losses, other.0.losses, "the seed decides");
}

fn promise(gpu: &Gpu, optimizer: &str) {
    let (run, _) = run(gpu, &["--optimizer", optimizer], None);
    println!("{optimizer} on {}: {:.2} %", gpu.name, 100.0 * run.accuracy());
    assert_eq!(run.dispatches, 1);
    assert!(run.accuracy() >= PROMISED, "{:.2} %", 100.0 * run.accuracy());
    assert!(run.final_loss() < run.losses[0] / 20.0);
}
