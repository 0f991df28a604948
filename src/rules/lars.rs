//! LARS, in the forms of the paper, timm and optax.

use crate::rule::{HostState, Mutant, Number, Real, Rule};
use serde::{Deserialize, Serialize};

/// What the gradient's norm in the ratio is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LarsRatio {
    /// `|g| + weight_decay |theta|`: the paper, timm.
    Paper,
    /// `|g + weight_decay theta|`: optax.
    Sum,
}

/// LARS: SGD with momentum whose learning rate is scaled to each tensor's own norm.
///
/// ```text
/// local =  trust_coefficient |theta| / (|g| + weight_decay |theta| + eps)    ratio "paper"
///       =  trust_coefficient |theta| / (|g + weight_decay theta| + eps)      ratio "sum"
/// b     <- momentum b + [lr] local (g + weight_decay theta)                  lr here with lr_inside
/// theta <- theta - [lr] b                                                    else here
/// ```
/// Norms are over one tensor; `local` is 1 where one of them is 0, and in groups with `adapt` off.
///
/// **State**: `b` f32, starts at 0, 4 bytes a parameter.
///
/// **Source**: Y. You, I. Gitman, B. Ginsburg, "Large Batch Training of Convolutional Networks", 2017,
/// algorithm 1.
///
/// **Differences**: the defaults are the paper's (ratio "paper", lr inside). `timm.optim.Lars` has lr outside
/// and eps 1e-8; `optax.lars` has ratio "sum" with lr inside. The two places of lr differ while lr changes.
/// The decay is part of the gradient, so there is no choice of its mode.
///
/// **Numerics**: norms are deterministic sums, within 1e-6. That of g does not overflow, also where it lies beyond f32;
/// one below 2^-110 counts as 0.
///
/// **Cost**: three dispatches; 28 bytes read and written a parameter.
///
/// ```
/// use wgpu_optim::rules::Lars;
/// let weights = Lars { lr: 10.0, weight_decay: 5e-4, ..Lars::default() };
/// let biases = Lars { adapt: false, weight_decay: 0.0, lr: 0.1, ..weights.clone() };
/// # let _ = biases;
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lars {
    /// Learning rate, at least 0; multiplied by `trust_coefficient`. Default 1.
    pub lr: f64,
    /// Share of b that is kept, in [0, 1). Default 0.9.
    pub momentum: f64,
    /// The paper's eta, above 0. Default 1e-3.
    pub trust_coefficient: f64,
    /// What the gradient's norm is of. Default paper.
    pub ratio: LarsRatio,
    /// lr multiplies what b takes in, not b. Default on.
    pub lr_inside: bool,
    /// Added to the denominator of the ratio, at least 0. Default 0.
    pub eps: f64,
    /// Weight decay, part of the gradient, at least 0. Default 0.
    pub weight_decay: f64,
    /// The ratio is used; off for the group of biases and norms. Default on.
    pub adapt: bool,
}

impl Default for Lars {
    fn default() -> Self {
        Self {
            lr: 1.0,
            momentum: 0.9,
            trust_coefficient: 1e-3,
            ratio: LarsRatio::Paper,
            lr_inside: true,
            eps: 0.0,
            weight_decay: 0.0,
            adapt: true,
        }
    }
}

crate::equation! {
    hyper {
        lr_inside: real, lr_outside: real, momentum: real, trust: real, weight_decay: real, eps: real,
        sum: flag, adapt: flag, theta_norm: norm, g_norm: norm,
    }
    state { b }
}

/// Of the norm of g, which f32 then holds for all gradients that it holds.
const UNIT: f64 = 1.0 / 65536.0;

impl Rule for Lars {
    const NAME: &'static str = "lars";
    const WGSL: &'static str = include_str!("../../shaders/rules/lars.wgsl");
    const MUTANTS: &'static [Mutant] = &[
        Mutant { name: "no ratio", find: "h.adapt != 0u", replace: "false" },
        Mutant {
            name: "ratio upside down",
            find: "(h.trust * h.theta_norm) * (scaled(d, -16)",
            replace: "(h.trust / h.theta_norm) * (scaled(d, -16)",
        },
        Mutant { name: "eps dropped", find: "(decayed + scaled(h.eps, -16))", replace: "decayed" },
        Mutant { name: "unit of eps forgotten", find: "scaled(h.eps, -16)", replace: "h.eps" },
        Mutant { name: "decay left out of the ratio", find: "h.g_norm + decay", replace: "h.g_norm" },
        Mutant {
            name: "unit of the decay forgotten",
            find: "scaled(h.weight_decay * h.theta_norm, -16)",
            replace: "h.weight_decay * h.theta_norm",
        },
        Mutant {
            name: "decay left out of the sum",
            find: "g + h.weight_decay * theta, h.sum",
            replace: "g, h.sum",
        },
        Mutant { name: "decay dropped", find: "var d = g + h.weight_decay * theta;", replace: "var d = g;" },
        Mutant { name: "trust dropped", find: "h.trust * h.theta_norm", replace: "h.theta_norm" },
        Mutant { name: "lr inside dropped", find: "h.lr_inside * d", replace: "d" },
        Mutant { name: "lr outside dropped", find: "h.lr_outside * (*s).b", replace: "(*s).b" },
        Mutant { name: "sign lost", find: "h.lr_outside * (*s).b", replace: "h.lr_outside * abs((*s).b)" },
        Mutant { name: "no step", find: "return h.lr_outside * (*s).b", replace: "return 0.0" },
        Mutant { name: "b not stored", find: "(*s).b = h.momentum * (*s).b", replace: "(*s).b = (*s).b" },
    ];
    type Hyper<R: Real> = Hyper<R>;
    type State<T: Copy> = State<T>;

    const NUMBERS: &'static [Number<Self>] = &crate::numbers! {
        Self;
        lr: AtLeast(0.0),
        momentum: HalfOpen(0.0, 1.0),
        trust_coefficient: Above(0.0),
        eps: AtLeast(0.0),
        weight_decay: AtLeast(0.0),
    };

    fn hyper(&self, _: u64, _: &mut HostState) -> Hyper<f64> {
        let (lr_inside, lr_outside) = if self.lr_inside { (self.lr, 1.0) } else { (1.0, self.lr) };
        Hyper {
            lr_inside,
            lr_outside,
            momentum: self.momentum,
            trust: self.trust_coefficient,
            weight_decay: self.weight_decay,
            eps: self.eps,
            sum: (self.ratio == LarsRatio::Sum).into(),
            adapt: self.adapt.into(),
            theta_norm: 0.0,
            g_norm: 0.0,
        }
    }

    fn terms<R: Real>(theta: R, g: R, _: &State<R>, h: &Hyper<R>, terms: &mut [R]) {
        let second = if h.sum != 0 { g + h.weight_decay * theta } else { g };
        terms.copy_from_slice(&[theta, R::host(UNIT) * second]);
    }

    fn update<R: Real>(theta: R, g: R, s: &mut State<R>, h: &Hyper<R>) -> R {
        let zero = R::host(0.0);
        let mut d = g + h.weight_decay * theta;
        if h.adapt != 0 {
            let decay = (h.weight_decay * h.theta_norm).scaled(-16);
            let decayed = if h.sum != 0 { h.g_norm } else { h.g_norm + decay };
            let quotient = (h.trust * h.theta_norm) * (d.scaled(-16) / (decayed + h.eps.scaled(-16)));
            d = zero.if_less(h.theta_norm, zero.if_less(h.g_norm, quotient, d), d);
        }
        s.b = h.momentum * s.b + h.lr_inside * d;
        h.lr_outside * s.b
    }

    fn variants() -> Vec<Self> {
        vec![
            Self { weight_decay: 0.1, eps: 0.1, ..Self::default() },
            Self { weight_decay: 0.1, ratio: LarsRatio::Sum, lr_inside: false, eps: 0.1, ..Self::default() },
        ]
    }

    fn example() -> Self {
        // Biases start at zero and first move by lr itself, so lr stays moderate.
        Self { lr: 0.3, trust_coefficient: 0.03, ..Self::default() }
    }
}
