//! Yogi.

use crate::rule::{HostState, Mutant, Number, Real, Rule, WeightDecay, beta_power};
use serde::{Deserialize, Serialize};

/// Yogi: Adam whose second moment moves towards g^2 by (1 - beta2) g^2, not in proportion to its distance, so
/// that the effective rate does not jump when gradients shrink.
///
/// ```text
/// g     <- g + l2 theta                       l2 = weight_decay with mode "l2", else 0
/// m     <- beta1 m + (1 - beta1) g
/// v     <- v - (1 - beta2) sign(v - g^2) g^2
/// theta <- theta - (lr_wd theta + (lr / bc1) m / (sqrt(v / bc2) + eps))
///                                             bc1 = 1 - beta1^t, bc2 = 1 - beta2^t
///                                             lr_wd = lr weight_decay with mode "decoupled", else 0
/// ```
///
/// **State**: `m`, `v` f32, both start at `initial_accumulator`, 8 bytes a parameter.
///
/// **Source**: M. Zaheer, S. Reddi, D. Sachan, S. Kale, S. Kumar, "Adaptive Methods for Nonconvex
/// Optimization", 2018, algorithm 2.
///
/// **Differences**: none from `optax.yogi`. The paper has no bias correction and adds eps under the root;
/// tensorflow-addons starts m at 0 and adds eps before the correction. Since m starts above 0, a coordinate
/// without any gradient moves a little at first.
///
/// **Numerics**: v never falls below 0: where `v > g^2` it loses less than g^2. The sign is taken of a
/// difference: where v and g^2 agree to rounding, adapters may go different ways, by (1 - beta2) g^2.
///
/// **Cost**: 28 bytes read and written a parameter.
///
/// ```
/// use wgpu_optim::rules::Yogi;
/// let yogi = Yogi { lr: 3e-3, ..Yogi::default() };
/// assert_eq!((yogi.eps, yogi.initial_accumulator), (1e-3, 1e-6));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Yogi {
    /// Learning rate, at least 0. Default 1e-2.
    pub lr: f64,
    /// Share of m that is kept, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// One less the share of g^2 by which v moves, in [0, 1). Default 0.999.
    pub beta2: f64,
    /// Added to the root, at least 0. Default 1e-3. With 0 and `initial_accumulator` 0, a coordinate that
    /// never had a gradient is 0/0.
    pub eps: f64,
    /// What m and v start with, at least 0. Default 1e-6.
    pub initial_accumulator: f64,
    /// Weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// How the decay acts. Default L2.
    pub weight_decay_mode: WeightDecay,
}

impl Default for Yogi {
    fn default() -> Self {
        Self {
            lr: 1e-2,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-3,
            initial_accumulator: 1e-6,
            weight_decay: 0.0,
            weight_decay_mode: WeightDecay::L2,
        }
    }
}

crate::equation! {
    hyper {
        beta1: real, one_minus_beta1: real, one_minus_beta2: real, inv_bc2: counted,
        eps: real, lr: real, inv_bc1: counted, l2: real, lr_wd: real,
    }
    state { m, v }
}

impl Rule for Yogi {
    const NAME: &'static str = "yogi";
    const WGSL: &'static str = include_str!("../../shaders/rules/yogi.wgsl");
    const MUTANTS: &'static [Mutant] = &[
        Mutant {
            name: "eps inside the root",
            find: "sqrt((*s).v * h.inv_bc2) + h.eps",
            replace: "sqrt((*s).v * h.inv_bc2 + h.eps)",
        },
        Mutant { name: "eps dropped", find: "h.inv_bc2) + h.eps", replace: "h.inv_bc2)" },
        Mutant { name: "no correction of v", find: "(*s).v * h.inv_bc2", replace: "(*s).v" },
        Mutant {
            name: "Adam's second moment",
            find: "sign((*s).v - square) * square",
            replace: "(*s).v - square",
        },
        Mutant { name: "v only grows", find: "sign((*s).v - square) * square", replace: "-square" },
        Mutant {
            name: "beta1 swapped with its rest",
            find: "h.beta1 * (*s).m + h.one_minus_beta1 * g",
            replace: "h.one_minus_beta1 * (*s).m + h.beta1 * g",
        },
        Mutant { name: "step x 1.02", find: "h.lr * h.inv_bc1 * (", replace: "1.02 * h.lr * h.inv_bc1 * (" },
        Mutant { name: "sign lost", find: "((*s).m / denom)", replace: "(abs((*s).m) / denom)" },
        Mutant { name: "no step", find: "return h.lr * h.inv_bc1 * ((*s).m / denom)", replace: "return 0.0" },
        Mutant { name: "decoupled decay dropped", find: "h.lr_wd * theta", replace: "0.0" },
        Mutant { name: "l2 decay dropped", find: "gradient + h.l2 * theta", replace: "gradient" },
        Mutant {
            name: "m not stored",
            find: "return h.lr * h.inv_bc1 * ((*s).m / denom);",
            replace: "let m = (*s).m; (*s).m = 0.0; return h.lr * h.inv_bc1 * (m / denom);",
        },
        Mutant {
            name: "v not stored",
            find: "h.inv_bc2) + h.eps;",
            replace: "h.inv_bc2) + h.eps; (*s).v = 0.0;",
        },
    ];
    type Hyper<R: Real> = Hyper<R>;
    type State<T: Copy> = State<T>;

    const NUMBERS: &'static [Number<Self>] = &crate::numbers! {
        Self;
        lr: AtLeast(0.0),
        beta1: HalfOpen(0.0, 1.0),
        beta2: HalfOpen(0.0, 1.0),
        eps: AtLeast(0.0),
        initial_accumulator: AtLeast(0.0),
        weight_decay: AtLeast(0.0),
    };

    fn initial(&self) -> State<f32> {
        let start = self.initial_accumulator as f32;
        State { m: start, v: start }
    }

    fn hyper(&self, t: u64, _: &mut HostState) -> Hyper<f64> {
        let decay = self.weight_decay_mode.scalars(self.weight_decay, self.lr);
        Hyper {
            beta1: self.beta1,
            one_minus_beta1: 1.0 - self.beta1,
            one_minus_beta2: 1.0 - self.beta2,
            inv_bc2: 1.0 / (1.0 - beta_power(self.beta2, t)),
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
        let square = g * g;
        s.v = s.v - h.one_minus_beta2 * ((s.v - square).sign() * square);
        let denom = (s.v * h.inv_bc2).sqrt() + h.eps;
        h.lr * h.inv_bc1 * (s.m / denom)
    }

    fn variants() -> Vec<Self> {
        vec![
            Self { weight_decay: 0.1, ..Self::default() },
            Self {
                beta2: 0.9,
                initial_accumulator: 0.0,
                weight_decay: 0.1,
                weight_decay_mode: WeightDecay::Decoupled,
                ..Self::default()
            },
        ]
    }

    fn example() -> Self {
        Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// v moves by (1 - beta2) g^2 in either direction, and never below 0.
    #[test]
    fn second_moment_moves_by_the_square() {
        let rule = Yogi { beta2: 0.5, ..Yogi::default() };
        let mut reference = crate::reference::Reference::new([rule], [(0, vec![0.0])]).unwrap();
        let mut before = f64::from(1e-6f32);
        for g in [2.0f64, 2.0, 0.5, 1.5, -1.9, 1e-3, 1.0, 1.0, 1.0, 0.4] {
            reference.step(&[vec![g]]).unwrap();
            let v = reference.tensors()[0].slots[1][0];
            let expected = if before > g * g { before - 0.5 * g * g } else { before + 0.5 * g * g };
            assert!((v - expected).abs() < 1e-15 && v > 0.0, "g = {g}: {v}, not {expected}");
            before = v;
        }
    }
}
