//! Claim: what a step is given is the gradient of the loss: along it, and along random ways, the loss changes as it says. For
//! every network. Needs no GPU.

use burn::tensor::Device;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use wgpu_optim_networks::data::{Backwards, Data, TEXT_TOKENS};
use wgpu_optim_networks::models::convolutions::SIDE;
use wgpu_optim_networks::models::{
    Batch, Convolutions, Inputs, LstmModel, Network, Norm, Residual, flat, judge,
};
use wgpu_optim_networks::tasks::{PLACES, reader, translator};

/// The change of the loss along a way, by the gradient and by the loss.
fn check<N: Network>(name: &str, new: impl Fn(&Device) -> N, batch: &Batch) {
    let host = Device::flex().autodiff();
    let network = flat::seeded(3, &host, &new).unwrap();
    let first = flat::parameters(&network).unwrap();
    let (loss, _, _) = judge(&network, batch, &host);
    let gradient = flat::gradients(&network, &loss.backward()).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let random: Vec<Vec<f32>> = first
        .iter()
        .map(|values| values.iter().map(|_| if rng.random() { 1.0 } else { -1.0 }).collect())
        .collect();
    for (way, size) in [(&gradient, 1.0), (&random, 0.05)] {
        let dot: f64 =
            way.iter().flatten().zip(gradient.iter().flatten()).map(|(w, g)| f64::from(w * g)).sum();
        let length = way.iter().flatten().map(|w| f64::from(w * w)).sum::<f64>().sqrt();
        let step = 0.004 * size / length;
        let at = |factor: f64| {
            let moved: Vec<Vec<f32>> = first
                .iter()
                .zip(way)
                .map(|(values, way)| {
                    values.iter().zip(way).map(|(x, w)| x + (factor * f64::from(*w)) as f32).collect()
                })
                .collect();
            let parts: Vec<&[f32]> = moved.iter().map(Vec::as_slice).collect();
            let network = flat::with(flat::seeded(3, &host, &new).unwrap(), &parts).unwrap();
            let (loss, _, _) = judge(&network, batch, &host);
            f64::from(loss.inner().into_scalar::<f32>())
        };
        let seen = (at(step) - at(-step)) / (2.0 * step * length);
        let said = dot / length;
        let length_of_gradient = gradient.iter().flatten().map(|g| f64::from(g * g)).sum::<f64>().sqrt();
        assert!(
            (seen - said).abs() < 0.03 * length_of_gradient,
            "{name}: {seen} by the loss, {said} by the gradient"
        );
        // Half of it would be noticed.
        assert!(size < 1.0 || (seen - 0.5 * said).abs() > 0.1 * length_of_gradient, "{name}");
    }
}

fn text(examples: usize) -> Batch {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let count = examples * PLACES;
    let mut draw = || (0..count).map(|_| rng.random_range(0..TEXT_TOKENS as i32)).collect::<Vec<i32>>();
    Batch { inputs: Inputs::Tokens(draw()), answers: draw(), examples }
}

#[test]
fn gradients_are_those_of_the_loss() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let pixels = (0..8 * SIDE * SIDE).map(|_| rng.random_range(-1.0..1.0)).collect();
    let images = Batch { inputs: Inputs::Pixels(pixels), answers: (0..8).collect(), examples: 8 };
    check("convolutions", |device| Convolutions::new(10, device), &images);
    check("LSTM", |device| LstmModel::new(TEXT_TOKENS, 32, device), &text(4));
    check("post-norm", |device| reader(Norm::Post, device), &text(4));
    check("pre-norm", |device| reader(Norm::Pre, device), &text(4));
    check("no attention", |device| Residual::new(TEXT_TOKENS, 48, 2, device), &text(4));
    check("backwards", translator, &Backwards::default().draw(&mut rng, 8));
}

/// A model of text does not see what comes after a place.
#[test]
fn attention_looks_back_only() {
    let host = Device::flex();
    let batch = text(2);
    let mut other = batch.clone();
    let Inputs::Tokens(tokens) = &mut other.inputs else { panic!("text is tokens") };
    // The last letter of the first window.
    tokens[PLACES - 1] = (tokens[PLACES - 1] + 1) % TEXT_TOKENS as i32;
    for norm in [Norm::Post, Norm::Pre] {
        let network = flat::seeded(0, &host, |device| reader(norm, device)).unwrap();
        let scores =
            |batch: &Batch| -> Vec<f32> { network.answers(batch, &host).into_data().try_into_vec().unwrap() };
        let (a, b) = (scores(&batch), scores(&other));
        let until = (PLACES - 1) * TEXT_TOKENS;
        assert_eq!(a[..until], b[..until], "{norm:?}");
        assert_ne!(a[until..until + TEXT_TOKENS], b[until..until + TEXT_TOKENS], "{norm:?}");
    }
}
