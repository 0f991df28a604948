//! AdEMAMix.

use crate::rule::{HostState, Mutant, Number, Real, Rule, WeightDecay, beta_power};
use serde::{Deserialize, Serialize};

/// AdEMAMix: Adam with a second, much slower average of the gradients beside the first.
///
/// ```text
/// g     <- g + l2 theta                       l2 = weight_decay with mode "l2", else 0
/// m1    <- beta1 m1 + (1 - beta1) g
/// m2    <- beta3_t m2 + (1 - beta3_t) g
/// v     <- beta2 v + (1 - beta2) g^2
/// theta <- theta - (lr_wd theta + lr (m1 / bc1 + alpha_t m2) / (sqrt(v / bc2) + eps))
///                                             bc_i = 1 - beta_i^t
///                                             lr_wd = lr weight_decay with mode "decoupled", else 0
///
/// alpha_t = min(t / alpha_warmup, 1) alpha
/// beta3_t = from beta1 to beta3 in beta3_warmup steps, linearly in the half-life ln(1/2) / ln(beta)
/// ```
///
/// **State**: `m1`, `m2`, `v` f32, start at 0, 12 bytes a parameter.
///
/// **Source**: M. Pagliardini, P. Ablin, D. Grangier, "The AdEMAMix Optimizer: Better, Faster, Older", 2024,
/// algorithm 1, and section 3 for the schedulers.
///
/// **Differences**: none from the paper, `optax.contrib.ademamix` (which leaves the schedulers to the caller)
/// and, but for 1e-8 that it adds to the betas inside the scheduler of beta3, the authors' code (whose alpha
/// is 2). The slow average has no bias correction, so that it comes in slowly.
///
/// **Numerics**: alpha_t, beta3_t and `1 - beta3_t` are computed on the host in f64. A beta3 of 0.9999 adds
/// 1e-4 of a gradient to m2: below `6e-4 m2` that is lost to rounding in `f32`.
///
/// **Cost**: 36 bytes read and written a parameter.
///
/// ```
/// use wgpu_optim::rules::AdEmaMix;
/// let steps = 100_000;
/// let ademamix = AdEmaMix { alpha_warmup: steps, beta3_warmup: steps, ..AdEmaMix::default() };
/// assert_eq!((ademamix.alpha, ademamix.beta3), (5.0, 0.9999));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdEmaMix {
    /// Learning rate, at least 0. Default 1e-3.
    pub lr: f64,
    /// Share of m1 that is kept, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// Share of v that is kept, in [0, 1). Default 0.999.
    pub beta2: f64,
    /// Share of m2 that is kept, in [0, 1). Default 0.9999.
    pub beta3: f64,
    /// Weight of m2 beside m1, at least 0. Default 5.
    pub alpha: f64,
    /// Steps in which alpha rises from 0; 0 for none. Default 0. The paper has the length of the run.
    pub alpha_warmup: u32,
    /// Steps in which beta3 rises from beta1; 0 for none. Default 0. The paper has the length of the run.
    pub beta3_warmup: u32,
    /// Added to the root, at least 0. Default 1e-8. With 0, a coordinate that never had a gradient is 0/0.
    pub eps: f64,
    /// Weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// How the decay acts. Default decoupled.
    pub weight_decay_mode: WeightDecay,
}

impl Default for AdEmaMix {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            beta3: 0.9999,
            alpha: 5.0,
            alpha_warmup: 0,
            beta3_warmup: 0,
            eps: 1e-8,
            weight_decay: 0.0,
            weight_decay_mode: WeightDecay::Decoupled,
        }
    }
}

impl AdEmaMix {
    /// `1 - beta3` of step `t`.
    fn one_minus_beta3(&self, t: u64) -> f64 {
        let warmup = u64::from(self.beta3_warmup);
        if t >= warmup {
            return 1.0 - self.beta3;
        }
        let share = t as f64 / warmup as f64;
        // In units of ln 2; 0 for a beta of 0.
        let half_life = |beta: f64| -1.0 / beta.ln();
        let now = (1.0 - share) * half_life(self.beta1) + share * half_life(self.beta3);
        -(-1.0 / now).exp_m1()
    }
}

crate::equation! {
    hyper {
        beta1: real, one_minus_beta1: real, beta2: real, one_minus_beta2: real,
        beta3: counted, one_minus_beta3: counted, inv_bc2: counted, eps: real, lr: real, inv_bc1: counted, alpha: counted,
        l2: real, lr_wd: real,
    }
    state { m1, m2, v }
}

impl Rule for AdEmaMix {
    const NAME: &'static str = "ademamix";
    const WGSL: &'static str = include_str!("../../shaders/rules/ademamix.wgsl");
    const MUTANTS: &'static [Mutant] = &[
        Mutant {
            name: "eps inside the root",
            find: "sqrt((*s).v * h.inv_bc2) + h.eps",
            replace: "sqrt((*s).v * h.inv_bc2 + h.eps)",
        },
        Mutant { name: "eps dropped", find: "h.inv_bc2) + h.eps", replace: "h.inv_bc2)" },
        Mutant { name: "no correction of v", find: "(*s).v * h.inv_bc2", replace: "(*s).v" },
        Mutant {
            name: "betas swapped",
            find: "h.beta1 * (*s).m1 + h.one_minus_beta1 * g",
            replace: "h.beta2 * (*s).m1 + h.one_minus_beta2 * g",
        },
        Mutant {
            name: "slow average as fast as the first",
            find: "h.beta3 * (*s).m2 + h.one_minus_beta3 * g",
            replace: "h.beta1 * (*s).m2 + h.one_minus_beta1 * g",
        },
        Mutant { name: "slow average left out", find: " + h.alpha * (*s).m2", replace: "" },
        Mutant { name: "step x 1.02", find: "return h.lr *", replace: "return 1.02 * h.lr *" },
        Mutant { name: "sign lost", find: "(ahead / denom)", replace: "(abs(ahead) / denom)" },
        Mutant { name: "no step", find: "return h.lr * (ahead / denom)", replace: "return 0.0" },
        Mutant { name: "decoupled decay dropped", find: "h.lr_wd * theta", replace: "0.0" },
        Mutant { name: "l2 decay dropped", find: "gradient + h.l2 * theta", replace: "gradient" },
        Mutant { name: "m1 not stored", find: "return h.lr *", replace: "(*s).m1 = 0.0;\n    return h.lr *" },
        Mutant { name: "m2 not stored", find: "return h.lr *", replace: "(*s).m2 = 0.0;\n    return h.lr *" },
        Mutant { name: "v not stored", find: "return h.lr *", replace: "(*s).v = 0.0;\n    return h.lr *" },
    ];
    type Hyper<R: Real> = Hyper<R>;
    type State<T: Copy> = State<T>;

    const NUMBERS: &'static [Number<Self>] = &crate::numbers! {
        Self;
        lr: AtLeast(0.0),
        beta1: HalfOpen(0.0, 1.0),
        beta2: HalfOpen(0.0, 1.0),
        beta3: HalfOpen(0.0, 1.0),
        alpha: AtLeast(0.0),
        eps: AtLeast(0.0),
        weight_decay: AtLeast(0.0),
    };

    fn hyper(&self, t: u64, _: &mut HostState) -> Hyper<f64> {
        let alpha = self.alpha * (t as f64 / f64::from(self.alpha_warmup.max(1))).min(1.0);
        let one_minus_beta3 = self.one_minus_beta3(t);
        let decay = self.weight_decay_mode.scalars(self.weight_decay, self.lr);
        Hyper {
            beta1: self.beta1,
            one_minus_beta1: 1.0 - self.beta1,
            beta2: self.beta2,
            one_minus_beta2: 1.0 - self.beta2,
            beta3: 1.0 - one_minus_beta3,
            one_minus_beta3,
            inv_bc2: 1.0 / (1.0 - beta_power(self.beta2, t)),
            eps: self.eps,
            lr: self.lr,
            inv_bc1: 1.0 / (1.0 - beta_power(self.beta1, t)),
            alpha,
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
        s.m1 = h.beta1 * s.m1 + h.one_minus_beta1 * g;
        s.m2 = h.beta3 * s.m2 + h.one_minus_beta3 * g;
        s.v = h.beta2 * s.v + h.one_minus_beta2 * (g * g);
        let denom = (s.v * h.inv_bc2).sqrt() + h.eps;
        let ahead = h.inv_bc1 * s.m1 + h.alpha * s.m2;
        h.lr * (ahead / denom)
    }

    fn variants() -> Vec<Self> {
        vec![
            Self { weight_decay: 0.1, ..Self::default() },
            Self {
                alpha_warmup: 5,
                beta3_warmup: 6,
                weight_decay: 0.1,
                weight_decay_mode: WeightDecay::L2,
                ..Self::default()
            },
        ]
    }

    fn example() -> Self {
        Self { lr: 2e-3, beta3: 0.999, alpha_warmup: 500, beta3_warmup: 500, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// beta3 is the paper's formula, starts near beta1 and ends at beta3.
    #[test]
    fn beta3_grows_linearly_in_its_half_life() {
        let rule = AdEmaMix { beta3_warmup: 1000, ..AdEmaMix::default() };
        for t in 1..1000u64 {
            let share = t as f64 / 1000.0;
            let (start, end) = (0.9f64.ln(), 0.9999f64.ln());
            let paper = (start * end / ((1.0 - share) * end + share * start)).exp();
            assert!((rule.one_minus_beta3(t) - (1.0 - paper)).abs() < 1e-14, "step {t}");
            assert!(rule.one_minus_beta3(t + 1) < rule.one_minus_beta3(t), "step {t}");
        }
        for t in [1000, 1001, 1 << 40] {
            assert_eq!(rule.one_minus_beta3(t), 1.0 - 0.9999);
        }
        let from_none = AdEmaMix { beta1: 0.0, beta3_warmup: 10, ..AdEmaMix::default() };
        assert!((1..=10).all(|t| (0.0..=1.0).contains(&from_none.one_minus_beta3(t))));
    }

    /// With the slow average off, it is Adam.
    #[test]
    fn without_alpha_it_is_adam() {
        use crate::rules::Adam;
        let start = vec![0.5, -2.0];
        let slow = AdEmaMix { alpha: 0.0, weight_decay: 0.1, ..AdEmaMix::default() };
        let mut slow = crate::reference::Reference::new([slow], [(0, start.clone())]).unwrap();
        let mut adam =
            crate::reference::Reference::new([Adam { weight_decay: 0.1, ..Adam::adamw() }], [(0, start)])
                .unwrap();
        for t in 0..40u32 {
            let g = vec![f64::from(t * t % 7) - 3.0, 1e-3 * f64::from(t % 5)];
            slow.step(std::slice::from_ref(&g)).unwrap();
            adam.step(&[g]).unwrap();
            for (slow, adam) in slow.tensors()[0].theta.iter().zip(&adam.tensors()[0].theta) {
                assert!((slow - adam).abs() < 1e-15, "step {t}: {slow} {adam}");
            }
        }
    }
}
