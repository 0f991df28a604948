//! Adam, AdamW and the three forms of AMSGrad.

use crate::rule::{HostState, Mutant, Number, Real, Rule, WeightDecay, beta_power};
use serde::{Deserialize, Serialize};

/// The three non-equivalent forms of AMSGrad that are in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AmsGrad {
    /// No maximum: Adam.
    None,
    /// Maximum of v, corrected afterwards: `torch.optim.Adam(amsgrad=True)`.
    Raw,
    /// Maximum of v / bc2: `optax.amsgrad`. Keeps the large first corrected v for ever.
    Corrected,
    /// Maximum of v and no bias correction at all: the paper's algorithm 2.
    Paper,
}

/// Adam; with [`Adam::adamw`], AdamW.
///
/// ```text
/// g     <- g + l2 theta                       l2 = weight_decay with mode "l2", else 0
/// m     <- beta1 m + (1 - beta1) g
/// v     <- beta2 v + (1 - beta2) g^2
/// denom =  sqrt(v / bc2) + eps                bc1 = 1 - beta1^t, bc2 = 1 - beta2^t
/// theta <- theta - (lr_wd theta + (lr / bc1) m / denom)  lr_wd = lr weight_decay with mode "decoupled", else 0
///
/// amsgrad "raw":        v_max <- max(v_max, v),        denom = sqrt(v_max / bc2) + eps
/// amsgrad "corrected":  v_max <- max(v_max, v / bc2),  denom = sqrt(v_max) + eps
/// amsgrad "paper":      v_max <- max(v_max, v),        denom = sqrt(v_max) + eps,  bc1 = 1
/// ```
///
/// **State**: `m`, `v` f32, start at 0, 8 bytes a parameter; with AMSGrad also `v_max`, 12 bytes.
///
/// **Source**: D. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization", 2015, algorithm 1;
/// I. Loshchilov, F. Hutter, "Decoupled Weight Decay Regularization", 2019, algorithm 2; S. Reddi, S. Kale,
/// S. Kumar, "On the Convergence of Adam and Beyond", 2018, algorithm 2.
///
/// **Differences**: eps stands outside the root and after the bias correction, as in the paper's main
/// text, PyTorch and optax. `torch.optim.AdamW` is [`Adam::adamw`] (decay 0.01, multiplied by lr);
/// `optax.adamw` has 1e-4 as its default decay.
///
/// **Numerics**: `1 - beta`, bias corrections and the step size are computed on the host in f64. g^2 is
/// subnormal below |g| = 1e-19 (some GPUs then see 0) and overflows above 1.8e19.
///
/// **Cost**: 28 bytes read and written a parameter, 36 with AMSGrad.
///
/// ```
/// use wgpu_optim::rules::Adam;
/// let decay = Adam { lr: 3e-4, ..Adam::adamw() };
/// let no_decay = Adam { weight_decay: 0.0, ..decay.clone() };
/// assert_eq!(decay.weight_decay, 0.01);
/// # let _ = no_decay;
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Adam {
    /// Learning rate, at least 0. Default 1e-3.
    pub lr: f64,
    /// Share of m that is kept, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// Share of v that is kept, in [0, 1). Default 0.999.
    pub beta2: f64,
    /// Added to the root, at least 0. Default 1e-8. With 0, a coordinate that never had a gradient is 0/0.
    pub eps: f64,
    /// Maximum over time of the second moment. Default none.
    pub amsgrad: AmsGrad,
    /// Weight decay, at least 0. Default 0; 0.01 in [`Adam::adamw`].
    pub weight_decay: f64,
    /// How the decay acts. Default L2; decoupled in [`Adam::adamw`].
    pub weight_decay_mode: WeightDecay,
}

impl Default for Adam {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            amsgrad: AmsGrad::None,
            weight_decay: 0.0,
            weight_decay_mode: WeightDecay::L2,
        }
    }
}

impl Adam {
    /// AdamW: decoupled weight decay of 0.01, the default of `torch.optim.AdamW`.
    pub fn adamw() -> Self {
        Self { weight_decay: 0.01, weight_decay_mode: WeightDecay::Decoupled, ..Self::default() }
    }
}

crate::equation! {
    hyper {
        beta1: real, one_minus_beta1: real, beta2: real, one_minus_beta2: real, inv_bc2: counted,
        eps: real, lr: real, inv_bc1: counted, l2: real, lr_wd: real, amsgrad: flag,
    }
    state { m, v, v_max }
}

impl Rule for Adam {
    const NAME: &'static str = "adam";
    const WGSL: &'static str = include_str!("../../shaders/rules/adam.wgsl");
    const MUTANTS: &'static [Mutant] = &[
        Mutant { name: "eps inside the root", find: "sqrt(v_hat) + h.eps", replace: "sqrt(v_hat + h.eps)" },
        Mutant { name: "eps dropped", find: "sqrt(v_hat) + h.eps", replace: "sqrt(v_hat)" },
        Mutant {
            name: "no correction of v",
            find: "var v_hat = (*s).v * h.inv_bc2",
            replace: "var v_hat = (*s).v",
        },
        Mutant {
            name: "raw maximum not corrected",
            find: "v_hat = (*s).v_max * h.inv_bc2",
            replace: "v_hat = (*s).v_max",
        },
        Mutant {
            name: "raw maximum of the corrected v",
            find: "max((*s).v_max, (*s).v)",
            replace: "max((*s).v_max, v_hat)",
        },
        Mutant {
            name: "corrected maximum of the raw v",
            find: "max((*s).v_max, v_hat)",
            replace: "max((*s).v_max, (*s).v)",
        },
        Mutant {
            name: "betas swapped",
            find: "h.beta1 * (*s).m + h.one_minus_beta1 * g",
            replace: "h.beta2 * (*s).m + h.one_minus_beta2 * g",
        },
        Mutant { name: "step x 1.02", find: "h.lr * h.inv_bc1 * (", replace: "1.02 * h.lr * h.inv_bc1 * (" },
        Mutant {
            name: "sign lost",
            find: "h.lr * h.inv_bc1 * ((*s).m / denom)",
            replace: "h.lr * h.inv_bc1 * (abs((*s).m) / denom)",
        },
        Mutant { name: "no step", find: "return h.lr * h.inv_bc1 * ((*s).m / denom)", replace: "return 0.0" },
        Mutant { name: "decoupled decay dropped", find: "h.lr_wd * theta", replace: "0.0" },
        Mutant { name: "l2 decay dropped", find: "gradient + h.l2 * theta", replace: "gradient" },
        Mutant {
            name: "m not stored",
            find: "(*s).m = h.beta1 * (*s).m + h.one_minus_beta1 * g;",
            replace: "let m = h.beta1 * (*s).m + h.one_minus_beta1 * g; let stored = (*s).m; (*s).m = stored + 0.0 * m;",
        },
        Mutant { name: "v not stored", find: "(*s).v = h.beta2 * (*s).v", replace: "(*s).v = (*s).v" },
    ];
    type Hyper<R: Real> = Hyper<R>;
    type State<T: Copy> = State<T>;

    const NUMBERS: &'static [Number<Self>] = &crate::numbers! {
        Self;
        lr: AtLeast(0.0),
        beta1: HalfOpen(0.0, 1.0),
        beta2: HalfOpen(0.0, 1.0),
        eps: AtLeast(0.0),
        weight_decay: AtLeast(0.0),
    };

    fn depths(&self) -> State<u32> {
        State { m: 1, v: 1, v_max: (self.amsgrad != AmsGrad::None).into() }
    }

    fn hyper(&self, t: u64, _: &mut HostState) -> Hyper<f64> {
        let decay = self.weight_decay_mode.scalars(self.weight_decay, self.lr);
        let (bc1, bc2) = match self.amsgrad {
            AmsGrad::Paper => (1.0, 1.0),
            _ => (1.0 - beta_power(self.beta1, t), 1.0 - beta_power(self.beta2, t)),
        };
        Hyper {
            beta1: self.beta1,
            one_minus_beta1: 1.0 - self.beta1,
            beta2: self.beta2,
            one_minus_beta2: 1.0 - self.beta2,
            inv_bc2: 1.0 / bc2,
            eps: self.eps,
            lr: self.lr,
            inv_bc1: 1.0 / bc1,
            l2: decay.l2,
            lr_wd: decay.lr_wd,
            amsgrad: match self.amsgrad {
                AmsGrad::None => 0,
                AmsGrad::Raw | AmsGrad::Paper => 1,
                AmsGrad::Corrected => 2,
            },
        }
    }

    const DECAYS: bool = true;

    fn decay<R: Real>(theta: R, h: &Hyper<R>) -> R {
        h.lr_wd * theta
    }

    fn update<R: Real>(theta: R, gradient: R, s: &mut State<R>, h: &Hyper<R>) -> R {
        let g = gradient + h.l2 * theta;
        s.m = h.beta1 * s.m + h.one_minus_beta1 * g;
        s.v = h.beta2 * s.v + h.one_minus_beta2 * (g * g);
        let mut v_hat = s.v * h.inv_bc2;
        if h.amsgrad == 1 {
            s.v_max = s.v_max.max(s.v);
            v_hat = s.v_max * h.inv_bc2;
        } else if h.amsgrad == 2 {
            s.v_max = s.v_max.max(v_hat);
            v_hat = s.v_max;
        }
        let denom = v_hat.sqrt() + h.eps;
        h.lr * h.inv_bc1 * (s.m / denom)
    }

    fn variants() -> Vec<Self> {
        let l2 = Self { weight_decay: 0.1, ..Self::default() };
        vec![
            Self { weight_decay: 0.1, ..Self::adamw() },
            Self { amsgrad: AmsGrad::Raw, ..l2.clone() },
            Self { amsgrad: AmsGrad::Corrected, ..l2.clone() },
            Self { amsgrad: AmsGrad::Paper, ..l2 },
        ]
    }

    fn example() -> Self {
        Self { lr: 5e-3, ..Self::default() }
    }
}
