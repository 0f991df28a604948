//! A convolutional network for images of 14 x 14 pixels.

use super::{Batch, Network};
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::{Device, Tensor, activation::relu};

/// Pixels of a side.
pub const SIDE: usize = 14;

#[derive(Module, Debug)]
pub struct Convolutions {
    first: Conv2d,
    second: Conv2d,
    pool: MaxPool2d,
    hidden: Linear,
    head: Linear,
}

impl Convolutions {
    pub fn new(classes: usize, device: &Device) -> Self {
        let layer = |from, to| {
            let same = PaddingConfig2d::Explicit(1, 1, 1, 1);
            Conv2dConfig::new([from, to], [3, 3]).with_padding(same).init(device)
        };
        // 14, 7 and 3 pixels a side.
        Self {
            first: layer(1, 12),
            second: layer(12, 24),
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            hidden: LinearConfig::new(24 * 9, 128).init(device),
            head: LinearConfig::new(128, classes).init(device),
        }
    }
}

impl Network for Convolutions {
    fn answers(&self, batch: &Batch, device: &Device) -> Tensor<2> {
        let x = batch.numbers(device).reshape([batch.examples, 1, SIDE, SIDE]);
        let x = self.pool.forward(relu(self.first.forward(x)));
        let x = self.pool.forward(relu(self.second.forward(x)));
        self.head.forward(relu(self.hidden.forward(x.reshape([batch.examples, 24 * 9]))))
    }
}
