//! LAMB and NVLAMB.

use crate::rule::{HostState, Mutant, Number, Real, Rule, beta_power};
use serde::{Deserialize, Serialize};

/// LAMB: AdamW whose step is scaled to each tensor's own norm, for large batches.
///
/// ```text
/// m     <- beta1 m + beta3 g                     beta3 = 1 - beta1, or 1 without grad_averaging
/// v     <- beta2 v + (1 - beta2) g^2
/// u     =  (m / bc1) / (sqrt(v / bc2) + eps) + weight_decay theta
/// theta <- theta - lr (|theta| / |u|) u          bc1 = 1 - beta1^t, bc2 = 1 - beta2^t
/// ```
/// Norms are over one tensor; the ratio is 1 where either is 0, and in groups with `adapt` off.
///
/// **State**: `m`, `v` f32, start at 0, 8 bytes a parameter.
///
/// **Source**: Y. You, J. Li, S. Reddi, J. Hseu, S. Kumar, S. Bhojanapalli, X. Song, J. Demmel, K. Keutzer,
/// C.-J. Hsieh, "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes", 2020, algorithm 2.
///
/// **Differences**: phi is the identity, as in `optax.lamb`. NVLAMB (apex, `timm.optim.Lamb()`) is
/// `max_grad_norm` 1 around this with `always_adapt` off: no ratio in groups without weight decay. The decay
/// is part of u, so there is no choice of its mode.
///
/// **Numerics**: norms are deterministic sums, within 1e-6.
///
/// **Cost**: three dispatches; 44 bytes read and written a parameter (the moments are computed twice instead
/// of being stored in between, which would cost the same).
///
/// ```
/// use wgpu_optim::rules::Lamb;
/// let weights = Lamb { lr: 2e-3, ..Lamb::default() };
/// let biases = Lamb { weight_decay: 0.0, adapt: false, ..weights.clone() };
/// # let _ = biases;
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lamb {
    /// Learning rate, at least 0. Default 1e-3.
    pub lr: f64,
    /// Share of m that is kept, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// Share of v that is kept, in [0, 1). Default 0.999.
    pub beta2: f64,
    /// Added to the root, at least 0. Default 1e-6.
    pub eps: f64,
    /// Weight decay, part of u, at least 0. Default 0.01.
    pub weight_decay: f64,
    /// m averages gradients (else it sums them with weight 1). Default on.
    pub grad_averaging: bool,
    /// The ratio is used without weight decay too. Default on; off in NVLAMB.
    pub always_adapt: bool,
    /// The ratio is used at all; off for the group of biases and norms, as the paper's code has it. Default on.
    pub adapt: bool,
}

impl Default for Lamb {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-6,
            weight_decay: 0.01,
            grad_averaging: true,
            always_adapt: true,
            adapt: true,
        }
    }
}

crate::equation! {
    hyper {
        lr: real, beta1: real, beta3: real, beta2: real, one_minus_beta2: real, inv_bc1: counted, inv_bc2: counted,
        eps: real, weight_decay: real, adapt: flag, theta_norm: norm, u_norm: norm,
    }
    state { m, v }
}

fn direction<R: Real>(theta: R, g: R, s: &mut State<R>, h: &Hyper<R>) -> R {
    s.m = h.beta1 * s.m + h.beta3 * g;
    s.v = h.beta2 * s.v + h.one_minus_beta2 * (g * g);
    let denom = (s.v * h.inv_bc2).sqrt() + h.eps;
    (s.m * h.inv_bc1) / denom + h.weight_decay * theta
}

impl Rule for Lamb {
    const NAME: &'static str = "lamb";
    const WGSL: &'static str = include_str!("../../shaders/rules/lamb.wgsl");
    const MUTANTS: &'static [Mutant] = &[
        Mutant {
            name: "eps inside the root",
            find: "sqrt((*s).v * h.inv_bc2) + h.eps",
            replace: "sqrt((*s).v * h.inv_bc2 + h.eps)",
        },
        Mutant { name: "eps dropped", find: "+ h.eps;", replace: ";" },
        Mutant { name: "no correction of m", find: "((*s).m * h.inv_bc1)", replace: "(*s).m" },
        Mutant { name: "no correction of v", find: "(*s).v * h.inv_bc2", replace: "(*s).v" },
        Mutant { name: "decay dropped", find: " + h.weight_decay * theta", replace: "" },
        Mutant {
            name: "decay left out of the norm",
            find: "direction(theta, g, &s, h));",
            replace: "direction(0.0, g, &s, h));",
        },
        Mutant {
            name: "ratio upside down",
            find: "h.theta_norm / h.u_norm",
            replace: "h.u_norm / h.theta_norm",
        },
        Mutant { name: "no ratio", find: "h.adapt != 0u", replace: "false" },
        Mutant {
            name: "norm of the gradient",
            find: "Terms(theta, direction(theta, g, &s, h))",
            replace: "Terms(theta, g + 0.0 * direction(theta, g, &s, h))",
        },
        Mutant {
            name: "betas swapped",
            find: "h.beta1 * (*s).m + h.beta3 * g",
            replace: "h.beta2 * (*s).m + h.one_minus_beta2 * g",
        },
        Mutant { name: "step x 1.02", find: "(h.lr * ratio)", replace: "(1.02 * h.lr * ratio)" },
        Mutant { name: "no step", find: "return (h.lr * ratio) * u", replace: "return 0.0" },
        Mutant { name: "m not stored", find: "(*s).m = h.beta1 * (*s).m", replace: "(*s).m = (*s).m" },
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

    fn hyper(&self, t: u64, _: &mut HostState) -> Hyper<f64> {
        Hyper {
            lr: self.lr,
            beta1: self.beta1,
            beta3: if self.grad_averaging { 1.0 - self.beta1 } else { 1.0 },
            beta2: self.beta2,
            one_minus_beta2: 1.0 - self.beta2,
            inv_bc1: 1.0 / (1.0 - beta_power(self.beta1, t)),
            inv_bc2: 1.0 / (1.0 - beta_power(self.beta2, t)),
            eps: self.eps,
            weight_decay: self.weight_decay,
            adapt: (self.adapt && (self.always_adapt || self.weight_decay > 0.0)).into(),
            theta_norm: 0.0,
            u_norm: 0.0,
        }
    }

    fn terms<R: Real>(theta: R, g: R, before: &State<R>, h: &Hyper<R>, terms: &mut [R]) {
        let mut s = *before;
        terms.copy_from_slice(&[theta, direction(theta, g, &mut s, h)]);
    }

    fn update<R: Real>(theta: R, g: R, s: &mut State<R>, h: &Hyper<R>) -> R {
        let (one, zero) = (R::host(1.0), R::host(0.0));
        let u = direction(theta, g, s, h);
        let mut ratio = one;
        if h.adapt != 0 {
            let quotient = zero.if_less(h.u_norm, h.theta_norm / h.u_norm, one);
            ratio = zero.if_less(h.theta_norm, quotient, one);
        }
        (h.lr * ratio) * u
    }

    fn variants() -> Vec<Self> {
        vec![
            Self { lr: 0.01, weight_decay: 0.1, ..Self::default() },
            Self {
                lr: 0.01,
                weight_decay: 0.0,
                always_adapt: false,
                grad_averaging: false,
                ..Self::default()
            },
        ]
    }

    fn example() -> Self {
        Self { lr: 2e-2, ..Self::default() }
    }
}
