//! Weight decay, the two ways that every rule of the field offers.

use serde::{Deserialize, Serialize};

/// How `weight_decay` acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightDecay {
    /// `g <- g + weight_decay * theta`, before the moments (L2 regularisation).
    L2,
    /// `theta <- theta - lr * weight_decay * theta`, beside the step; the moments do not see it
    /// (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019, with lr as PyTorch has it).
    Decoupled,
}

/// The two host scalars of weight decay, of which one is 0.
pub(crate) struct Decay {
    /// What the gradient takes of theta: `weight_decay` or 0.
    pub l2: f64,
    /// What theta loses of itself in a step: `lr * weight_decay` or 0.
    pub lr_wd: f64,
}

impl WeightDecay {
    /// The host scalars at learning rate `lr`.
    pub(crate) fn scalars(self, weight_decay: f64, lr: f64) -> Decay {
        match self {
            WeightDecay::L2 => Decay { l2: weight_decay, lr_wd: 0.0 },
            WeightDecay::Decoupled => Decay { l2: 0.0, lr_wd: lr * weight_decay },
        }
    }
}
