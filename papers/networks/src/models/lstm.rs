//! A model of language with an LSTM (Hochreiter and Schmidhuber 1997).

use super::{Batch, Network};
use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig, Lstm, LstmConfig};
use burn::tensor::{Device, Tensor};

#[derive(Module, Debug)]
pub struct LstmModel {
    tokens: Embedding,
    cells: Lstm,
    head: Linear,
}

impl LstmModel {
    pub fn new(tokens: usize, width: usize, device: &Device) -> Self {
        Self {
            tokens: EmbeddingConfig::new(tokens, width / 2).init(device),
            cells: LstmConfig::new(width / 2, width, true).init(device),
            head: LinearConfig::new(width, tokens).init(device),
        }
    }
}

impl Network for LstmModel {
    fn answers(&self, batch: &Batch, device: &Device) -> Tensor<2> {
        let width = self.tokens.weight.shape()[1];
        let (hidden, _) = self.cells.forward(batch.embedded(&self.tokens, width, device), None);
        let [examples, places, width] = hidden.dims();
        self.head.forward(hidden.reshape([examples * places, width]))
    }
}
