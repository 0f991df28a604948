//! AdaBelief: step sizes by how far each gradient is from the momentum.

use super::radam::rectification;
use crate::error::Refusal;
use crate::rule::{HostState, Mutant, Number, Real, Rule, WeightDecay, beta_power};
use serde::{Deserialize, Serialize};

/// AdaBelief: Adam with the variance of the gradient around its momentum in the place of the second
/// moment: large steps where the gradient is as predicted, small ones where it is not.
///
/// ```text
/// g     <- g + l2 theta                       l2 = weight_decay with mode "l2", else 0
/// m     <- beta1 m + (1 - beta1) g
/// s     <- beta2 s + (1 - beta2) (g - m)^2 + eps
/// theta <- theta - (lr_wd theta + (lr / bc1) m / (sqrt(s / bc2) + eps))
///                                             bc1 = 1 - beta1^t, bc2 = 1 - beta2^t
///                                             lr_wd = lr weight_decay with mode "decoupled", else 0
///
/// amsgrad:  s_max <- max(s_max, s),           s_max in the place of s under the root
/// rectify:  as RAdam with threshold 5 and fallback "sgd", s in the place of v
/// ```
///
/// **State**: `m`, `s` f32, start at 0, 8 bytes a parameter; with AMSGrad also `s_max`, 12 bytes.
///
/// **Source**: J. Zhuang, T. Tang, Y. Ding, S. Tatikonda, N. Dvornek, X. Papademetris, J. Duncan, "AdaBelief
/// Optimizer: Adapting Stepsizes by the Belief in Observed Gradients", 2020, algorithm 2.
///
/// **Differences**: the authors' package rectifies by default; the paper does not, nor does this. Its
/// decoupled decay and its eps of 1e-16 are the defaults here too (its first releases had 1e-8).
/// With both `rectify` and `amsgrad` the authors' code ignores the maximum; here the pair is refused.
/// optax is the same with `eps_root = eps`.
///
/// **Numerics**: `g - m` with the new m is computed as `beta1 (g - m)` with the old one: the same number,
/// without cancellation. eps stays in s, which is never below it and settles above eps / (1 - beta2).
///
/// **Cost**: 28 bytes read and written a parameter, 36 with AMSGrad.
///
/// ```
/// use wgpu_optim::rules::AdaBelief;
/// let packaged = AdaBelief { rectify: true, ..AdaBelief::default() };
/// assert_eq!(packaged.eps, 1e-16);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdaBelief {
    /// Learning rate, at least 0. Default 1e-3.
    pub lr: f64,
    /// Share of m that is kept, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// Share of s that is kept, in [0, 1). Default 0.999.
    pub beta2: f64,
    /// Added to s in every step and to the root, at least 0. Default 1e-16. With 0, a coordinate that never
    /// had a gradient is 0/0.
    pub eps: f64,
    /// RAdam's rectification. Default off; not together with AMSGrad.
    pub rectify: bool,
    /// Maximum over time of s. Default off.
    pub amsgrad: bool,
    /// Weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// How the decay acts. Default decoupled.
    pub weight_decay_mode: WeightDecay,
}

impl Default for AdaBelief {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-16,
            rectify: false,
            amsgrad: false,
            weight_decay: 0.0,
            weight_decay_mode: WeightDecay::Decoupled,
        }
    }
}

/// rho above which a step is rectified, as in the authors' code.
const THRESHOLD: f64 = 5.0;

crate::equation! {
    hyper {
        beta1: real, one_minus_beta1: real, beta2: real, one_minus_beta2: real, inv_c2: counted, eps: real,
        eps_in_s: real, lr: real, correction: counted, l2: real, lr_wd: real, adaptive: counted_flag, amsgrad: flag,
    }
    state { m, s, s_max }
}

impl Rule for AdaBelief {
    const NAME: &'static str = "adabelief";
    const WGSL: &'static str = include_str!("../../shaders/rules/adabelief.wgsl");
    const MUTANTS: &'static [Mutant] = &[
        Mutant {
            name: "eps inside the root",
            find: "sqrt(variance * h.inv_c2) + h.eps",
            replace: "sqrt(variance * h.inv_c2 + h.eps)",
        },
        Mutant {
            name: "eps dropped from the root",
            find: "sqrt(variance * h.inv_c2) + h.eps",
            replace: "sqrt(variance * h.inv_c2)",
        },
        Mutant { name: "eps dropped from s", find: "(d * d + h.eps_in_s)", replace: "(d * d)" },
        Mutant { name: "around zero", find: "h.beta1 * (g - (*s).m)", replace: "g" },
        Mutant {
            name: "around the last step's momentum",
            find: "h.beta1 * (g - (*s).m)",
            replace: "(g - (*s).m)",
        },
        Mutant { name: "no correction of s", find: "variance * h.inv_c2", replace: "variance" },
        Mutant { name: "always with the denominator", find: "h.adaptive != 0u", replace: "true" },
        Mutant {
            name: "amsgrad dropped",
            find: "variance = max((*s).s_max, (*s).s);",
            replace: "variance = (*s).s;",
        },
        Mutant { name: "maximum not stored", find: "(*s).s_max = variance;", replace: "" },
        Mutant {
            name: "betas swapped",
            find: "h.beta1 * (*s).m + h.one_minus_beta1 * g",
            replace: "h.beta2 * (*s).m + h.one_minus_beta2 * g",
        },
        Mutant {
            name: "m not stored",
            find: "(*s).m = h.beta1 * (*s).m + h.one_minus_beta1 * g;",
            replace: "",
        },
        Mutant { name: "s not stored", find: "(*s).s = h.beta2", replace: "let s_new = h.beta2" },
        Mutant {
            name: "step x 1.02",
            find: "return h.lr * h.correction",
            replace: "return 1.02 * h.lr * h.correction",
        },
        Mutant {
            name: "sign lost",
            find: "h.lr * h.correction * direction",
            replace: "h.lr * h.correction * abs(direction)",
        },
        Mutant { name: "no step", find: "return h.lr * h.correction * direction", replace: "return 0.0" },
        Mutant { name: "decoupled decay dropped", find: "h.lr_wd * theta", replace: "0.0" },
        Mutant { name: "l2 decay dropped", find: "gradient + h.l2 * theta", replace: "gradient" },
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

    fn consistent(&self) -> Result<(), Refusal> {
        if self.rectify && self.amsgrad {
            return Err(Refusal::new("amsgrad", true, "false with rectify"));
        }
        Ok(())
    }

    fn depths(&self) -> State<u32> {
        State { m: 1, s: 1, s_max: self.amsgrad.into() }
    }

    fn hyper(&self, t: u64, _: &mut HostState) -> Hyper<f64> {
        let decay = self.weight_decay_mode.scalars(self.weight_decay, self.lr);
        let (bc1, bc2) = (1.0 - beta_power(self.beta1, t), 1.0 - beta_power(self.beta2, t));
        let (adaptive, correction, c2) = match self.rectify.then(|| rectification(self.beta2, t, THRESHOLD)) {
            None => (1, 1.0 / bc1, bc2),
            Some(Some(r)) => (1, r * bc2.sqrt() / bc1, 1.0),
            Some(None) => (0, 1.0 / bc1, 1.0),
        };
        Hyper {
            beta1: self.beta1,
            one_minus_beta1: 1.0 - self.beta1,
            beta2: self.beta2,
            one_minus_beta2: 1.0 - self.beta2,
            inv_c2: 1.0 / c2,
            eps: self.eps,
            eps_in_s: self.eps / (1.0 - self.beta2),
            lr: self.lr,
            correction,
            l2: decay.l2,
            lr_wd: decay.lr_wd,
            adaptive,
            amsgrad: self.amsgrad.into(),
        }
    }

    const DECAYS: bool = true;

    fn decay<R: Real>(theta: R, h: &Hyper<R>) -> R {
        h.lr_wd * theta
    }

    fn update<R: Real>(theta: R, gradient: R, s: &mut State<R>, h: &Hyper<R>) -> R {
        let g = gradient + h.l2 * theta;
        let d = h.beta1 * (g - s.m);
        s.m = h.beta1 * s.m + h.one_minus_beta1 * g;
        s.s = h.beta2 * s.s + h.one_minus_beta2 * (d * d + h.eps_in_s);
        let mut variance = s.s;
        if h.amsgrad != 0 {
            variance = s.s_max.max(s.s);
            s.s_max = variance;
        }
        let mut direction = s.m;
        if h.adaptive != 0 {
            direction = s.m / ((variance * h.inv_c2).sqrt() + h.eps);
        }
        h.lr * h.correction * direction
    }

    fn variants() -> Vec<Self> {
        let decoupled = Self { weight_decay: 0.1, ..Self::default() };
        let l2 = Self { weight_decay_mode: WeightDecay::L2, ..decoupled.clone() };
        vec![
            decoupled.clone(),
            Self { amsgrad: true, eps: 1e-5, ..l2 },
            Self { rectify: true, eps: 1e-8, ..decoupled },
        ]
    }

    fn example() -> Self {
        Self { lr: 3e-3, ..Self::default() }
    }
}
