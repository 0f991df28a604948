//! A Transformer that looks back only (Vaswani et al. 2017): a model of language, or of sequences that answer
//! the ones before them; with a pooled answer, a classifier.

use super::{Batch, Network};
use burn::module::{Module, Param};
use burn::nn::attention::generate_autoregressive_mask;
use burn::nn::transformer::{TransformerEncoder, TransformerEncoderConfig, TransformerEncoderInput};
use burn::nn::{Embedding, EmbeddingConfig, Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

/// Where layers are normalised: after each (the paper's) or before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Norm {
    Post,
    Pre,
}

#[derive(Module, Debug)]
pub struct Transformer {
    tokens: Embedding,
    /// \[positions, width\].
    places: Param<Tensor<2>>,
    layers: TransformerEncoder,
    /// Of what leaves the last layer, where norms come before layers.
    last: Option<LayerNorm>,
    head: Linear,
    /// One answer for each sequence, from the mean over its places, with every place seen from every other.
    pooled: bool,
}

/// Sizes of a Transformer.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    pub tokens: usize,
    pub classes: usize,
    pub places: usize,
    pub width: usize,
    pub layers: usize,
    pub heads: usize,
    pub norm: Norm,
    pub pooled: bool,
}

impl Transformer {
    pub fn new(sizes: &Sizes, device: &Device) -> Self {
        let pre = sizes.norm == Norm::Pre;
        let layers = TransformerEncoderConfig::new(sizes.width, 4 * sizes.width, sizes.heads, sizes.layers)
            .with_dropout(0.0)
            .with_norm_first(pre)
            .with_initializer(Initializer::XavierUniform { gain: 1.0 })
            .init(device);
        let small = Initializer::Normal { mean: 0.0, std: (1.0 / sizes.width as f64).sqrt() };
        Self {
            tokens: EmbeddingConfig::new(sizes.tokens, sizes.width)
                .with_initializer(small.clone())
                .init(device),
            places: small.init([sizes.places, sizes.width], device),
            layers,
            last: pre.then(|| LayerNormConfig::new(sizes.width).init(device)),
            head: LinearConfig::new(sizes.width, sizes.classes).init(device),
            pooled: sizes.pooled,
        }
    }
}

impl Network for Transformer {
    fn answers(&self, batch: &Batch, device: &Device) -> Tensor<2> {
        let width = self.places.shape()[1];
        let embedded = batch.embedded(&self.tokens, width, device);
        let [examples, places, _] = embedded.dims();
        let at: Tensor<3> = self.places.val().narrow(0, 0, places).unsqueeze();
        let mut input = TransformerEncoderInput::new(embedded + at);
        if !self.pooled {
            // True hides a place.
            input = input.mask_attn(generate_autoregressive_mask(examples, places, device));
        }
        let mut x = self.layers.forward(input);
        if let Some(last) = &self.last {
            x = last.forward(x);
        }
        let x = if self.pooled {
            x.mean_dim(1).reshape([examples, width])
        } else {
            x.reshape([examples * places, width])
        };
        self.head.forward(x)
    }
}
