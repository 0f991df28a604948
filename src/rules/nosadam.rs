//! NosAdam: Adam that weighs past gradients more than the present one.

use crate::rule::{HostState, Mutant, Number, Real, Rule, WeightDecay, beta_power};
use serde::{Deserialize, Serialize};

/// NosAdam (nostalgic Adam) with hyperharmonic weights: in the second moment, the k-th gradient counts
/// k^-gamma, so early gradients are never forgotten and step sizes settle.
///
/// ```text
/// g     <- g + l2 theta                       l2 = weight_decay with mode "l2", else 0
/// m     <- beta1 m + (1 - beta1) g
/// v     <- (B_(t-1) / B_t) v + (b_t / B_t) g^2         b_t = t^-gamma, B_t = b_1 + ... + b_t
/// theta <- theta - (lr_wd theta + (lr / bc1) m / (sqrt(v) + eps))  bc1 = 1 - beta1^t
///                                             lr_wd = lr weight_decay with mode "decoupled", else 0
/// ```
/// With gamma = 0, v is the plain mean of all squared gradients.
///
/// **State**: `m`, `v` f32, start at 0, 8 bytes a parameter.
///
/// **Source**: H. Huang, C. Wang, B. Dong, "Nostalgic Adam: Weighting More of the Past Gradients When
/// Designing the Adaptive Learning Rate", 2019, NosAdam-HH.
///
/// **Differences**: the bias correction of m and eps are the authors' code's; the paper has neither.
/// gamma is the paper's 0.1; the code's default is 0. The code's option to divide lr by sqrt(t) is a
/// schedule's.
///
/// **Numerics**: B_t is summed on the host in f64, and `b_t / B_t` is computed instead of 1 minus the other
/// weight. After some 10^7 steps a gradient weighs less than v's last bit.
///
/// **Cost**: 28 bytes read and written a parameter.
///
/// ```
/// use wgpu_optim::{rule::Rule, rules::NosAdam};
/// let first = NosAdam::default().hyper(1, &mut Default::default());
/// assert_eq!((first.beta2, first.one_minus_beta2), (0.0, 1.0));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NosAdam {
    /// Learning rate, at least 0. Default 1e-3.
    pub lr: f64,
    /// Share of m that is kept, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// Added to the root, at least 0. Default 1e-8. With 0, a coordinate that never had a gradient is 0/0.
    pub eps: f64,
    /// How fast the weights fall, at least 0. Default 0.1.
    pub gamma: f64,
    /// Weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// How the decay acts. Default L2.
    pub weight_decay_mode: WeightDecay,
}

impl Default for NosAdam {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            beta1: 0.9,
            eps: 1e-8,
            gamma: 0.1,
            weight_decay: 0.0,
            weight_decay_mode: WeightDecay::L2,
        }
    }
}

crate::equation! {
    hyper {
        beta1: real, one_minus_beta1: real, beta2: counted, one_minus_beta2: counted, eps: real,
        lr: real, inv_bc1: counted, l2: real, lr_wd: real,
    }
    state { m, v }
}

impl Rule for NosAdam {
    const NAME: &'static str = "nosadam";
    const WGSL: &'static str = include_str!("../../shaders/rules/nosadam.wgsl");
    const MUTANTS: &'static [Mutant] = &[
        Mutant { name: "eps inside the root", find: "sqrt((*s).v) + h.eps", replace: "sqrt((*s).v + h.eps)" },
        Mutant { name: "eps dropped", find: "sqrt((*s).v) + h.eps", replace: "sqrt((*s).v)" },
        Mutant { name: "root dropped", find: "sqrt((*s).v) + h.eps", replace: "(*s).v + h.eps" },
        Mutant {
            name: "weights of v swapped",
            find: "h.beta2 * (*s).v + h.one_minus_beta2 * (g * g)",
            replace: "h.one_minus_beta2 * (*s).v + h.beta2 * (g * g)",
        },
        Mutant {
            name: "a sum in the place of the mean",
            find: "h.beta2 * (*s).v + h.one_minus_beta2 * (g * g)",
            replace: "(*s).v + (g * g)",
        },
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
            find: "(*s).v = h.beta2 * (*s).v + h.one_minus_beta2 * (g * g);\n    let denom = sqrt((*s).v)",
            replace: "let v = h.beta2 * (*s).v + h.one_minus_beta2 * (g * g);\n    let denom = sqrt(v)",
        },
        Mutant {
            name: "step x 1.02",
            find: "return h.lr * h.inv_bc1",
            replace: "return 1.02 * h.lr * h.inv_bc1",
        },
        Mutant { name: "sign lost", find: "((*s).m / denom)", replace: "(abs((*s).m) / denom)" },
        Mutant { name: "no step", find: "return h.lr * h.inv_bc1 * ((*s).m / denom)", replace: "return 0.0" },
        Mutant { name: "decoupled decay dropped", find: "h.lr_wd * theta", replace: "0.0" },
        Mutant { name: "l2 decay dropped", find: "gradient + h.l2 * theta", replace: "gradient" },
    ];
    type Hyper<R: Real> = Hyper<R>;
    type State<T: Copy> = State<T>;

    const NUMBERS: &'static [Number<Self>] = &crate::numbers! {
        Self;
        lr: AtLeast(0.0),
        beta1: HalfOpen(0.0, 1.0),
        eps: AtLeast(0.0),
        gamma: AtLeast(0.0),
        weight_decay: AtLeast(0.0),
    };

    fn hyper(&self, t: u64, state: &mut HostState) -> Hyper<f64> {
        let decay = self.weight_decay_mode.scalars(self.weight_decay, self.lr);
        let (past, weight) = (state[0], (t as f64).powf(-self.gamma));
        state[0] = past + weight;
        Hyper {
            beta1: self.beta1,
            one_minus_beta1: 1.0 - self.beta1,
            beta2: past / state[0],
            one_minus_beta2: weight / state[0],
            eps: self.eps,
            lr: self.lr,
            inv_bc1: 1.0 / (1.0 - beta_power(self.beta1, t)),
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
        s.m = h.beta1 * s.m + h.one_minus_beta1 * g;
        s.v = h.beta2 * s.v + h.one_minus_beta2 * (g * g);
        let denom = s.v.sqrt() + h.eps;
        h.lr * h.inv_bc1 * (s.m / denom)
    }

    fn variants() -> Vec<Self> {
        let l2 = Self { weight_decay: 0.1, ..Self::default() };
        vec![l2.clone(), Self { gamma: 0.0, weight_decay_mode: WeightDecay::Decoupled, ..l2 }]
    }

    fn example() -> Self {
        Self { lr: 3e-3, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{assert_close, trial_gradient, trial_run};

    #[test]
    fn v_is_the_weighted_mean_of_the_squares() {
        for gamma in [0.0, 0.1, 1.0] {
            let after = trial_run(NosAdam { gamma, ..NosAdam::default() }, |_, _| (), 40);
            let (mut sum, mut weights) = ([0.0; 4], 0.0);
            for t in 1..=40 {
                let weight = (t as f64).powf(-gamma);
                weights += weight;
                for (sum, g) in sum.iter_mut().zip(trial_gradient(t)) {
                    *sum += weight * g * g;
                }
            }
            assert_close(&after.slots[1], &sum.map(|sum| sum / weights));
        }
    }
}
