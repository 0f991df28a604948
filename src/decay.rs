//! Weight decay, the two ways that every rule of the field offers.

use serde::{Deserialize, Serialize};

/// How `weight_decay` acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightDecay {
    /// `g <- g + weight_decay * theta`, before the moments (L2 regularisation).
    L2,
    /// `theta <- theta * (1 - lr * weight_decay)`, before the step; the moments do not see it
    /// (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019, with lr as PyTorch has it).
    Decoupled,
}

/// The two host scalars of weight decay, of which one is neutral: `g + l2 * theta` and `theta * keep`.
pub(crate) struct Decay {
    /// Added share of theta: `weight_decay` or 0.
    pub l2: f64,
    /// Kept share of theta: `1 - lr * weight_decay` or 1.
    pub keep: f64,
}

impl WeightDecay {
    /// The host scalars at learning rate `lr`.
    pub(crate) fn scalars(self, weight_decay: f64, lr: f64) -> Decay {
        match self {
            WeightDecay::L2 => Decay { l2: weight_decay, keep: 1.0 },
            WeightDecay::Decoupled => Decay { l2: 0.0, keep: 1.0 - lr * weight_decay },
        }
    }
}
