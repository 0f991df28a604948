//! Lion.

use crate::rule::{HostState, Mutant, Number, Real, Rule, WeightDecay};
use serde::{Deserialize, Serialize};

/// Lion: every coordinate moves by lr, against the sign of an average of its gradients; another, slower
/// average is remembered.
///
/// ```text
/// g     <- g + l2 theta                       l2 = weight_decay with mode "l2", else 0
/// c     =  beta1 m + (1 - beta1) g            from the m of the step before
/// m     <- beta2 m + (1 - beta2) g
/// theta <- theta - (lr_wd theta + lr sign(c))  sign(0) = 0
///                                             lr_wd = lr weight_decay with mode "decoupled", else 0
/// ```
///
/// **State**: `m` f32, starts at 0, 4 bytes a parameter.
///
/// **Source**: X. Chen, C. Liang, D. Huang, E. Real, K. Wang, Y. Liu, H. Pham, X. Dong, T. Luong, C.-J.
/// Hsieh, Y. Lu, Q. Le, "Symbolic Discovery of Optimization Algorithms", 2023, algorithm 2.
///
/// **Differences**: none from the paper, the authors' code and `optax.lion` (whose default decay is 1e-3).
/// Weight decay is decoupled by default. Rates are usually a third to a tenth of AdamW's, decay as much
/// larger.
///
/// **Numerics**: adapters may disagree on the sign of a c that is 0 to rounding, by 2 lr.
///
/// **Cost**: 20 bytes read and written a parameter.
///
/// ```
/// use wgpu_optim::rules::Lion;
/// let lion = Lion { weight_decay: 0.1, ..Lion::default() };
/// assert_eq!((lion.lr, lion.beta1, lion.beta2), (1e-4, 0.9, 0.99));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lion {
    /// Learning rate, at least 0. Default 1e-4.
    pub lr: f64,
    /// Share of m in the step's direction, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// Share of m that is kept, in [0, 1). Default 0.99.
    pub beta2: f64,
    /// Weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// How the decay acts. Default decoupled.
    pub weight_decay_mode: WeightDecay,
}

impl Default for Lion {
    fn default() -> Self {
        Self {
            lr: 1e-4,
            beta1: 0.9,
            beta2: 0.99,
            weight_decay: 0.0,
            weight_decay_mode: WeightDecay::Decoupled,
        }
    }
}

crate::equation! {
    hyper {
        beta1: real, one_minus_beta1: real, beta2: real, one_minus_beta2: real,
        lr: real, l2: real, lr_wd: real,
    }
    state { m }
}

impl Rule for Lion {
    const NAME: &'static str = "lion";
    const WGSL: &'static str = include_str!("../../shaders/rules/lion.wgsl");
    const MUTANTS: &'static [Mutant] = &[
        Mutant { name: "no sign", find: "h.lr * sign(c)", replace: "h.lr * c" },
        Mutant { name: "sign lost", find: "h.lr * sign(c)", replace: "h.lr * abs(sign(c))" },
        Mutant { name: "the sign of zero is one", find: "sign(c);", replace: "select(-1.0, 1.0, c >= 0.0);" },
        Mutant { name: "sign of the new m", find: "sign(c);", replace: "sign((*s).m);" },
        Mutant {
            name: "betas swapped",
            find: "h.beta2 * (*s).m + h.one_minus_beta2 * g",
            replace: "h.beta1 * (*s).m + h.one_minus_beta1 * g",
        },
        Mutant { name: "step x 1.02", find: "h.lr * sign", replace: "1.02 * h.lr * sign" },
        Mutant { name: "no step", find: "return h.lr * sign(c)", replace: "return 0.0" },
        Mutant { name: "decoupled decay dropped", find: "h.lr_wd * theta", replace: "0.0" },
        Mutant { name: "l2 decay dropped", find: "gradient + h.l2 * theta", replace: "gradient" },
        Mutant { name: "m not stored", find: "(*s).m = h.beta2", replace: "let m = h.beta2" },
    ];
    type Hyper<R: Real> = Hyper<R>;
    type State<T: Copy> = State<T>;

    const NUMBERS: &'static [Number<Self>] = &crate::numbers! {
        Self;
        lr: AtLeast(0.0),
        beta1: HalfOpen(0.0, 1.0),
        beta2: HalfOpen(0.0, 1.0),
        weight_decay: AtLeast(0.0),
    };

    fn hyper(&self, _: u64, _: &mut HostState) -> Hyper<f64> {
        let decay = self.weight_decay_mode.scalars(self.weight_decay, self.lr);
        Hyper {
            beta1: self.beta1,
            one_minus_beta1: 1.0 - self.beta1,
            beta2: self.beta2,
            one_minus_beta2: 1.0 - self.beta2,
            lr: self.lr,
            l2: decay.l2,
            lr_wd: decay.lr_wd,
        }
    }

    const DECAYS: bool = true;

    fn decay<R: Real>(theta: R, h: &Hyper<R>) -> R {
        h.lr_wd * theta
    }

    fn update<R: Real>(theta: R, gradient: R, s: &mut State<R>, h: &Hyper<R>) -> R {
        let g = gradient + h.l2 * theta;
        let c = h.beta1 * s.m + h.one_minus_beta1 * g;
        s.m = h.beta2 * s.m + h.one_minus_beta2 * g;
        h.lr * c.sign()
    }

    fn variants() -> Vec<Self> {
        vec![
            Self { lr: 1e-3, weight_decay: 0.1, ..Self::default() },
            Self { lr: 1e-3, weight_decay: 0.1, weight_decay_mode: WeightDecay::L2, ..Self::default() },
        ]
    }

    fn example() -> Self {
        Self { lr: 1e-3, weight_decay: 0.1, ..Self::default() }
    }
}
