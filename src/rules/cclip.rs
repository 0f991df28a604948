//! CClip: SGD with each coordinate of the gradient clipped.

use crate::rule::{HostState, Mutant, Number, Real, Rule, WeightDecay};
use serde::{Deserialize, Serialize};

/// CClip: stochastic gradient descent with every coordinate of the gradient clipped at a threshold.
///
/// ```text
/// g     <- g + l2 theta                       l2 = weight_decay with mode "l2", else 0
/// theta <- theta - (lr_wd theta + lr min(threshold / |g|, 1) g)
///                                             lr_wd = lr weight_decay with mode "decoupled", else 0
/// ```
///
/// **State**: none. A threshold for each part of a model is one group each.
///
/// **Source**: J. Zhang, S. Karimireddy, A. Veit, S. Kim, S. Reddi, S. Kumar, S. Sra, "Why are Adaptive
/// Methods Good for Attention Models?", 2020, section 4.1.
///
/// **Differences**: none from the paper, whose threshold may grow with the steps: set it as a schedule
/// does. The gradient of an l2 term is clipped together with the rest; `torch.nn.utils.clip_grad_value_`
/// followed by SGD adds it unclipped, which decoupled decay comes close to.
///
/// **Numerics**: clamp in the place of the division, so a gradient of 0 is no special case.
///
/// **Cost**: 12 bytes read and written a parameter.
///
/// ```
/// use wgpu_optim::rules::CClip;
/// let body = CClip { lr: 0.1, threshold: 0.01, ..CClip::default() };
/// let head = CClip { threshold: 0.1, ..body.clone() };
/// assert_eq!(head.lr, body.lr);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CClip {
    /// Learning rate, at least 0. Default 1e-3.
    pub lr: f64,
    /// Largest magnitude of a coordinate, above 0. Default 1.
    pub threshold: f64,
    /// Weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// How the decay acts. Default L2.
    pub weight_decay_mode: WeightDecay,
}

impl Default for CClip {
    fn default() -> Self {
        Self { lr: 1e-3, threshold: 1.0, weight_decay: 0.0, weight_decay_mode: WeightDecay::L2 }
    }
}

crate::equation! {
    hyper { lr: real, threshold: real, l2: real, lr_wd: real }
    state {}
}

impl Rule for CClip {
    const NAME: &'static str = "cclip";
    const WGSL: &'static str = include_str!("../../shaders/rules/cclip.wgsl");
    const MUTANTS: &'static [Mutant] = &[
        Mutant { name: "not clipped", find: "clamp(g, -h.threshold, h.threshold)", replace: "g" },
        Mutant {
            name: "clipped from above only",
            find: "clamp(g, -h.threshold, h.threshold)",
            replace: "min(g, h.threshold)",
        },
        Mutant {
            name: "clipped from below only",
            find: "clamp(g, -h.threshold, h.threshold)",
            replace: "max(g, -h.threshold)",
        },
        Mutant {
            name: "always at the threshold",
            find: "clamp(g, -h.threshold, h.threshold)",
            replace: "sign(g) * h.threshold",
        },
        Mutant {
            name: "l2 decay not clipped",
            find: "let d = clamp(g, -h.threshold, h.threshold);",
            replace: "let d = clamp(gradient, -h.threshold, h.threshold) + (g - gradient);",
        },
        Mutant {
            name: "step clipped in the place of the gradient",
            find: "let d = clamp(g, -h.threshold, h.threshold);\n    return h.lr * d;",
            replace: "return clamp(h.lr * g, -h.threshold, h.threshold);",
        },
        Mutant { name: "step x 1.02", find: "h.lr * d", replace: "1.02 * h.lr * d" },
        Mutant { name: "sign lost", find: "h.lr * d", replace: "h.lr * abs(d)" },
        Mutant { name: "no step", find: "return h.lr * d", replace: "return 0.0" },
        Mutant { name: "decoupled decay dropped", find: "h.lr_wd * theta", replace: "0.0" },
        Mutant { name: "l2 decay dropped", find: "gradient + h.l2 * theta", replace: "gradient" },
    ];
    type Hyper<R: Real> = Hyper<R>;
    type State<T: Copy> = State<T>;

    const NUMBERS: &'static [Number<Self>] = &crate::numbers! {
        Self;
        lr: AtLeast(0.0),
        threshold: Above(0.0),
        weight_decay: AtLeast(0.0),
    };

    fn hyper(&self, _: u64, _: &mut HostState) -> Hyper<f64> {
        let decay = self.weight_decay_mode.scalars(self.weight_decay, self.lr);
        Hyper { lr: self.lr, threshold: self.threshold, l2: decay.l2, lr_wd: decay.lr_wd }
    }

    const DECAYS: bool = true;

    fn decay<R: Real>(theta: R, h: &Hyper<R>) -> R {
        h.lr_wd * theta
    }

    fn update<R: Real>(theta: R, gradient: R, _: &mut State<R>, h: &Hyper<R>) -> R {
        let g = gradient + h.l2 * theta;
        let d = g.clamp(-h.threshold, h.threshold);
        h.lr * d
    }

    fn variants() -> Vec<Self> {
        let l2 = Self { lr: 0.01, threshold: 0.1, weight_decay: 0.1, ..Self::default() };
        vec![l2.clone(), Self { lr: 1.0, threshold: 0.01, weight_decay_mode: WeightDecay::Decoupled, ..l2 }]
    }

    fn example() -> Self {
        Self { lr: 0.5, threshold: 0.1, ..Self::default() }
    }
}
