//! ADOPT.

use crate::rule::{HostState, Mutant, Number, Real, Rule, WeightDecay};
use serde::{Deserialize, Serialize};

/// ADOPT: Adam that divides by the second moment of the steps before, and before the momentum, so that it
/// converges with any beta2.
///
/// ```text
/// g     <- g + l2 theta                       l2 = weight_decay with mode "l2", else 0
/// step 1:  v <- g^2, and nothing else; then
/// d     =  clip(g / max(sqrt(v), eps), -c, c) from the v of the step before; c = (t - 1)^(1/4)
/// m     <- beta1 m + (1 - beta1) d
/// theta <- theta - (lr_wd theta + lr m)       lr_wd = lr weight_decay with mode "decoupled", else 0
/// v     <- beta2 v + (1 - beta2) g^2
/// ```
///
/// **State**: `m`, `v` f32, start at 0, 8 bytes a parameter.
///
/// **Source**: S. Taniguchi, K. Harada, G. Minegishi, Y. Oshima, S. C. Jeong, G. Nagahara, T. Iiyama, M.
/// Suzuki, Y. Iwasawa, Y. Matsuo, "ADOPT: Modified Adam Can Converge with Any beta2 with the Optimal Rate",
/// 2024, algorithm 2, and the clipping that its later version adds (`clip`).
///
/// **Differences**: none from the authors' code and `optax.contrib.adopt`. The paper counts from the step
/// after the first, so its t is `t - 1` here and the first clipping is at 1; pytorch_optimizer clips one step
/// ahead of that. The first step moves nothing, decoupled decay included.
///
/// **Numerics**: a coordinate whose first gradients are 0 divides its first other one by eps: without `clip`
/// that is a step of `lr (1 - beta1) g / eps`.
///
/// **Cost**: 28 bytes read and written a parameter.
///
/// ```
/// use wgpu_optim::rules::Adopt;
/// let adopt = Adopt { lr: 3e-3, ..Adopt::default() };
/// assert_eq!((adopt.beta2, adopt.eps), (0.9999, 1e-6));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Adopt {
    /// Learning rate, at least 0. Default 1e-3.
    pub lr: f64,
    /// Share of m that is kept, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// Share of v that is kept, in [0, 1). Default 0.9999.
    pub beta2: f64,
    /// Smallest divisor, at least 0. Default 1e-6. With 0, a coordinate that never had a gradient is 0/0.
    pub eps: f64,
    /// Clip the divided gradients at `(t - 1)^(1/4)`. Default on.
    pub clip: bool,
    /// Weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// How the decay acts. Default L2.
    pub weight_decay_mode: WeightDecay,
}

impl Default for Adopt {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.9999,
            eps: 1e-6,
            clip: true,
            weight_decay: 0.0,
            weight_decay_mode: WeightDecay::L2,
        }
    }
}

crate::equation! {
    hyper {
        beta1: real, one_minus_beta1: real, beta2: counted, one_minus_beta2: counted, eps: real, clip: counted,
        lr: real, l2: real, lr_wd: real, first: first,
    }
    state { m, v }
}

impl Rule for Adopt {
    const NAME: &'static str = "adopt";
    const WGSL: &'static str = include_str!("../../shaders/rules/adopt.wgsl");
    const MUTANTS: &'static [Mutant] = &[
        Mutant { name: "eps added", find: "max(sqrt((*s).v), h.eps)", replace: "(sqrt((*s).v) + h.eps)" },
        Mutant {
            name: "eps inside the root",
            find: "max(sqrt((*s).v), h.eps)",
            replace: "sqrt(max((*s).v, h.eps))",
        },
        Mutant { name: "eps dropped", find: "max(sqrt((*s).v), h.eps)", replace: "sqrt((*s).v)" },
        Mutant { name: "not clipped", find: "clamp(g / denom, -h.clip, h.clip)", replace: "g / denom" },
        Mutant {
            name: "clipped above only",
            find: "clamp(g / denom, -h.clip, h.clip)",
            replace: "min(g / denom, h.clip)",
        },
        Mutant {
            name: "betas swapped",
            find: "h.beta1 * (*s).m + h.one_minus_beta1 * d",
            replace: "h.beta2 * (*s).m + h.one_minus_beta2 * d",
        },
        Mutant {
            name: "v of this step",
            find: "sqrt((*s).v)",
            replace: "sqrt(h.beta2 * (*s).v + h.one_minus_beta2 * (g * g))",
        },
        Mutant {
            name: "momentum of the gradient",
            find: "h.one_minus_beta1 * d",
            replace: "h.one_minus_beta1 * g",
        },
        Mutant { name: "step x 1.02", find: "h.lr * (*s).m", replace: "1.02 * h.lr * (*s).m" },
        Mutant { name: "sign lost", find: "h.lr * (*s).m", replace: "h.lr * abs((*s).m)" },
        Mutant { name: "no step", find: "return h.lr * (*s).m", replace: "return 0.0" },
        Mutant { name: "decoupled decay dropped", find: "h.lr_wd * theta", replace: "0.0" },
        Mutant { name: "l2 decay dropped", find: "gradient + h.l2 * theta", replace: "gradient" },
        Mutant {
            name: "m not stored",
            find: "return h.lr * (*s).m;",
            replace: "let m = (*s).m; (*s).m = 0.0; return h.lr * m;",
        },
        Mutant { name: "v not stored", find: "(*s).v = h.beta2", replace: "let v = h.beta2" },
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
        let decay = self.weight_decay_mode.scalars(self.weight_decay, self.lr);
        let first = t == 1;
        let beta2 = if first { 0.0 } else { self.beta2 };
        Hyper {
            beta1: self.beta1,
            one_minus_beta1: 1.0 - self.beta1,
            beta2,
            one_minus_beta2: 1.0 - beta2,
            eps: self.eps,
            // Without clipping: at the largest number.
            clip: if self.clip { ((t - 1) as f64).powf(0.25) } else { f32::MAX.into() },
            lr: self.lr,
            l2: decay.l2,
            lr_wd: decay.lr_wd,
            first: first.into(),
        }
    }

    const DECAYS: bool = true;

    fn decay<R: Real>(theta: R, h: &Hyper<R>) -> R {
        if h.first != 0 { R::host(0.0) } else { h.lr_wd * theta }
    }

    fn update<R: Real>(theta: R, gradient: R, s: &mut State<R>, h: &Hyper<R>) -> R {
        let g = gradient + h.l2 * theta;
        let denom = s.v.sqrt().max(h.eps);
        let d = if h.first != 0 { R::host(0.0) } else { (g / denom).clamp(-h.clip, h.clip) };
        s.m = h.beta1 * s.m + h.one_minus_beta1 * d;
        s.v = h.beta2 * s.v + h.one_minus_beta2 * (g * g);
        h.lr * s.m
    }

    fn variants() -> Vec<Self> {
        vec![
            Self { weight_decay: 0.1, ..Self::default() },
            Self {
                beta2: 0.9,
                clip: false,
                weight_decay: 0.1,
                weight_decay_mode: WeightDecay::Decoupled,
                ..Self::default()
            },
        ]
    }

    fn example() -> Self {
        Self { lr: 3e-3, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first step sets v and nothing else; the second is clipped at 1 and divides by the first's root.
    #[test]
    fn first_steps() {
        let mode = WeightDecay::Decoupled;
        let rule = Adopt { lr: 0.5, weight_decay: 0.1, weight_decay_mode: mode, ..Adopt::default() };
        let mut reference = crate::reference::Reference::new([rule], [(0, vec![1.0, 1.0])]).unwrap();
        reference.step(&[vec![2.0, -4.0]]).unwrap();
        let tensor = &reference.tensors()[0];
        assert_eq!(
            (&tensor.theta, &tensor.slots[0], &tensor.slots[1]),
            (&vec![1.0, 1.0], &vec![0.0, 0.0], &vec![4.0, 16.0])
        );
        reference.step(&[vec![100.0, 1.0]]).unwrap();
        let theta = &reference.tensors()[0].theta;
        for (theta, d) in theta.iter().zip([1.0, 0.25]) {
            assert!((theta - (0.95 - 0.5 * 0.1 * d)).abs() < 1e-15, "{theta}");
        }
    }
}
