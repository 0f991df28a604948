//! The networks, and what the experiments ask of each of them: parameters, gradients, a loss, a score.

pub mod convolutions;
pub mod flat;
pub mod lstm;
pub mod residual;
pub mod transformer;

pub use convolutions::Convolutions;
pub use lstm::LstmModel;
pub use residual::Residual;
pub use transformer::{Norm, Transformer};

use burn::module::Module;
use burn::nn::Embedding;
use burn::tensor::{Device, Int, Tensor, TensorData, activation::log_softmax};

/// Tokens or pixels of some examples, and what a network should answer.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Examples times inputs of each.
    pub inputs: Inputs,
    /// For each answer of each example a class; below 0: this answer does not count.
    pub answers: Vec<i32>,
    pub examples: usize,
}

#[derive(Debug, Clone)]
pub enum Inputs {
    Pixels(Vec<f32>),
    Tokens(Vec<i32>),
    /// Vectors in the place of embedded tokens: the synthetic data of ACClip's figure 4.
    Vectors(Vec<f32>),
}

impl Batch {
    /// The pixels or vectors, \[examples, numbers of each\]; zeros in the place of tokens.
    pub fn numbers(&self, device: &Device) -> Tensor<2> {
        match &self.inputs {
            Inputs::Pixels(values) | Inputs::Vectors(values) => {
                let shape = [self.examples, values.len() / self.examples];
                Tensor::from_data(TensorData::new(values.clone(), shape), device)
            }
            Inputs::Tokens(tokens) => Tensor::zeros([self.examples, tokens.len() / self.examples], device),
        }
    }

    /// The tokens as vectors, or the vectors that stand for them: \[examples, places, width\].
    pub fn embedded(&self, embedding: &Embedding, width: usize, device: &Device) -> Tensor<3> {
        match &self.inputs {
            Inputs::Tokens(tokens) => {
                let shape = [self.examples, tokens.len() / self.examples];
                embedding.forward(Tensor::<2, Int>::from_data(TensorData::new(tokens.clone(), shape), device))
            }
            Inputs::Pixels(values) | Inputs::Vectors(values) => {
                self.numbers(device).reshape([self.examples, values.len() / self.examples / width, width])
            }
        }
    }
}

/// A network: everything else about it is here.
pub trait Network: Module + Send {
    /// A score of each class for each answer, \[answers, classes\].
    fn answers(&self, batch: &Batch, device: &Device) -> Tensor<2>;
}

/// The mean cross entropy, in nats, and how many answers of how many are right.
pub fn judge<N: Network>(network: &N, batch: &Batch, device: &Device) -> (Tensor<1>, usize, usize) {
    let scores = network.answers(batch, device);
    let [count, _] = scores.dims();
    let weights: Vec<f32> = batch.answers.iter().map(|answer| f32::from(u8::from(*answer >= 0))).collect();
    let counted = weights.iter().filter(|weight| **weight > 0.0).count();
    let classes: Vec<i32> = batch.answers.iter().map(|answer| (*answer).max(0)).collect();
    let guesses = scores.clone().inner().argmax(1).into_data().convert::<i64>().try_into_vec::<i64>();
    let guesses = guesses.unwrap_or_default();
    let right = guesses.iter().zip(&batch.answers).filter(|(guess, answer)| **guess == i64::from(**answer));
    let right = right.count();
    let wanted = Tensor::<2, Int>::from_data(TensorData::new(classes, [count, 1]), device);
    let weights = Tensor::<2>::from_data(TensorData::new(weights, [count, 1]), device);
    let loss = (log_softmax(scores, 1).gather(1, wanted) * weights).sum().neg() / counted as f32;
    (loss, right, counted)
}
