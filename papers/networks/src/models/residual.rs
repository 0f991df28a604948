//! A Transformer's layers without attention, the "ResNet" of ACClip's figure 4: each place by itself.

use super::{Batch, Network};
use burn::module::Module;
use burn::nn::transformer::{PositionWiseFeedForward, PositionWiseFeedForwardConfig};
use burn::nn::{Embedding, EmbeddingConfig, Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

#[derive(Module, Debug)]
pub struct Residual {
    tokens: Embedding,
    layers: Vec<PositionWiseFeedForward>,
    norms: Vec<LayerNorm>,
    head: Linear,
    width: usize,
}

impl Residual {
    pub fn new(tokens: usize, width: usize, layers: usize, device: &Device) -> Self {
        let initializer = Initializer::XavierUniform { gain: 1.0 };
        let layer = |_| {
            PositionWiseFeedForwardConfig::new(width, 4 * width)
                .with_dropout(0.0)
                .with_initializer(initializer.clone())
                .init(device)
        };
        let small = Initializer::Normal { mean: 0.0, std: (1.0 / width as f64).sqrt() };
        Self {
            tokens: EmbeddingConfig::new(tokens, width).with_initializer(small).init(device),
            layers: (0..layers).map(layer).collect(),
            norms: (0..layers).map(|_| LayerNormConfig::new(width).init(device)).collect(),
            head: LinearConfig::new(width, tokens).init(device),
            width,
        }
    }
}

impl Network for Residual {
    fn answers(&self, batch: &Batch, device: &Device) -> Tensor<2> {
        let mut x = batch.embedded(&self.tokens, self.width, device);
        for (layer, norm) in self.layers.iter().zip(&self.norms) {
            x = norm.forward(x.clone() + layer.forward(x));
        }
        let [examples, places, width] = x.dims();
        self.head.forward(x.reshape([examples * places, width]))
    }
}
