//! Padam: a power of AMSGrad's second moment between SGD's and Adam's.

use crate::rule::{HostState, Mutant, Number, Real, Rule, WeightDecay, beta_power};
use serde::{Deserialize, Serialize};

/// Padam: AMSGrad whose denominator is raised to a partial power, between SGD with momentum (0) and
/// AMSGrad (1/2).
///
/// ```text
/// g     <- g + l2 theta                       l2 = weight_decay with mode "l2", else 0
/// m     <- beta1 m + (1 - beta1) g
/// v     <- beta2 v + (1 - beta2) g^2
/// v_max <- max(v_max, v)                      with amsgrad; else v in its place
/// theta <- theta - (lr_wd theta + (lr sqrt(bc2) / bc1) m / (sqrt(v_max) + eps)^(2 partial))
///                                             bc1 = 1 - beta1^t, bc2 = 1 - beta2^t
///                                             lr_wd = lr weight_decay with mode "decoupled", else 0
/// ```
///
/// **State**: `m`, `v`, `v_max` f32, start at 0, 12 bytes a parameter; without AMSGrad 8.
///
/// **Source**: J. Chen, D. Zhou, Y. Tang, Z. Yang, Y. Cao, Q. Gu, "Closing the Generalization Gap of
/// Adaptive Gradient Methods in Training Deep Neural Networks", 2020, algorithm 1.
///
/// **Differences**: eps and the bias correction are the authors' code's; the paper has neither. The default
/// of partial is the code's 1/4; the paper's experiments use 1/8. `sqrt(bc2)` corrects v for partial = 1/2
/// only, as in the code: with others the first steps are smaller.
///
/// **Numerics**: `pow` of a base of at least 1e-37. It is exp2 of a multiple of log2, whose accuracy WGSL
/// leaves at some tens of ULP.
///
/// **Cost**: 36 bytes read and written a parameter, 28 without AMSGrad.
///
/// ```
/// use wgpu_optim::rules::Padam;
/// let padam = Padam { partial: 0.125, weight_decay: 5e-4, ..Padam::default() };
/// assert_eq!((padam.lr, padam.amsgrad), (0.1, true));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Padam {
    /// Learning rate, at least 0; between SGD's and Adam's. Default 0.1.
    pub lr: f64,
    /// Share of m that is kept, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// Share of v that is kept, in [0, 1). Default 0.999.
    pub beta2: f64,
    /// Added to the root, at least 0. Default 1e-8.
    pub eps: f64,
    /// Power of the second moment, in [0, 1/2]. Default 1/4.
    pub partial: f64,
    /// Maximum over time of the second moment. Default on.
    pub amsgrad: bool,
    /// Weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// How the decay acts. Default L2.
    pub weight_decay_mode: WeightDecay,
}

impl Default for Padam {
    fn default() -> Self {
        Self {
            lr: 0.1,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            partial: 0.25,
            amsgrad: true,
            weight_decay: 0.0,
            weight_decay_mode: WeightDecay::L2,
        }
    }
}

crate::equation! {
    hyper {
        beta1: real, one_minus_beta1: real, beta2: real, one_minus_beta2: real, eps: real,
        twice_partial: real, lr: real, correction: counted, l2: real, lr_wd: real, amsgrad: flag,
    }
    state { m, v, v_max }
}

/// As in the shader: the logarithm in pow needs a base that is positive and not subnormal.
const TINY: f32 = 1e-37;

impl Rule for Padam {
    const NAME: &'static str = "padam";
    const WGSL: &'static str = include_str!("../../shaders/rules/padam.wgsl");
    const MUTANTS: &'static [Mutant] = &[
        Mutant { name: "eps inside the root", find: "sqrt(v) + h.eps", replace: "sqrt(v + h.eps)" },
        Mutant { name: "eps dropped", find: "sqrt(v) + h.eps", replace: "sqrt(v)" },
        Mutant { name: "root dropped", find: "sqrt(v) + h.eps", replace: "v + h.eps" },
        Mutant { name: "power dropped", find: "TINY), h.twice_partial)", replace: "TINY), 1.0)" },
        Mutant {
            name: "power doubled",
            find: "TINY), h.twice_partial)",
            replace: "TINY), 2.0 * h.twice_partial)",
        },
        Mutant { name: "amsgrad dropped", find: "v = max((*s).v_max, (*s).v);", replace: "" },
        Mutant { name: "maximum not stored", find: "(*s).v_max = v;", replace: "" },
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
        Mutant {
            name: "v not stored",
            find: "(*s).v = h.beta2 * (*s).v + h.one_minus_beta2 * (g * g);\n    var v = (*s).v;",
            replace: "var v = h.beta2 * (*s).v + h.one_minus_beta2 * (g * g);",
        },
        Mutant {
            name: "step x 1.02",
            find: "return h.lr * h.correction",
            replace: "return 1.02 * h.lr * h.correction",
        },
        Mutant { name: "sign lost", find: "((*s).m / denom)", replace: "(abs((*s).m) / denom)" },
        Mutant {
            name: "no step",
            find: "return h.lr * h.correction * ((*s).m / denom)",
            replace: "return 0.0",
        },
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
        partial: Closed(0.0, 0.5),
        weight_decay: AtLeast(0.0),
    };

    fn depths(&self) -> State<u32> {
        State { m: 1, v: 1, v_max: self.amsgrad.into() }
    }

    fn hyper(&self, t: u64, _: &mut HostState) -> Hyper<f64> {
        let decay = self.weight_decay_mode.scalars(self.weight_decay, self.lr);
        let (bc1, bc2) = (1.0 - beta_power(self.beta1, t), 1.0 - beta_power(self.beta2, t));
        Hyper {
            beta1: self.beta1,
            one_minus_beta1: 1.0 - self.beta1,
            beta2: self.beta2,
            one_minus_beta2: 1.0 - self.beta2,
            eps: self.eps,
            twice_partial: 2.0 * self.partial,
            lr: self.lr,
            correction: bc2.sqrt() / bc1,
            l2: decay.l2,
            lr_wd: decay.lr_wd,
            amsgrad: self.amsgrad.into(),
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
        let mut v = s.v;
        if h.amsgrad != 0 {
            v = s.v_max.max(s.v);
            s.v_max = v;
        }
        let denom = (v.sqrt() + h.eps).max(R::word(TINY)).pow(h.twice_partial);
        h.lr * h.correction * (s.m / denom)
    }

    fn variants() -> Vec<Self> {
        let l2 = Self { weight_decay: 0.1, ..Self::default() };
        let decoupled = Self { weight_decay_mode: WeightDecay::Decoupled, ..l2.clone() };
        vec![
            l2.clone(),
            Self { amsgrad: false, partial: 0.125, ..decoupled },
            Self { partial: 0.5, lr: 1e-3, ..l2 },
        ]
    }

    fn example() -> Self {
        Self { lr: 0.1, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{assert_close, trial_run};
    use crate::rules::Adam;
    use crate::rules::adam::AmsGrad;

    #[test]
    fn with_half_it_is_amsgrad() {
        let padam = Padam { lr: 1e-3, eps: 1e-30, partial: 0.5, ..Padam::default() };
        let amsgrad = Adam { eps: 1e-30, amsgrad: AmsGrad::Raw, ..Adam::default() };
        assert_close(&trial_run(padam, |_, _| (), 40).theta, &trial_run(amsgrad, |_, _| (), 40).theta);
    }
}
