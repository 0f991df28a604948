//! Adan.

use crate::rule::{HostState, Mutant, Number, Real, Rule, WeightDecay, beta_power};
use serde::{Deserialize, Serialize};

/// Adan: Nesterov's momentum from the differences of successive gradients, with no gradient at the point
/// ahead.
///
/// ```text
/// g     <- g + l2 theta                       l2 = weight_decay with mode "l2", else 0
/// diff  =  g - g_prev                         0 at step 1
/// m     <- beta1 m + (1 - beta1) g
/// v     <- beta2 v + (1 - beta2) diff
/// n     <- beta3 n + (1 - beta3) (g + beta2 diff)^2
/// denom =  sqrt(n / bc3) + eps                bc_i = 1 - beta_i^t
/// theta <- theta - shrink (lr_wd theta + lr (m / bc1 + beta2 v / bc2) / denom)
///
/// with mode "decoupled":  lr_wd = lr weight_decay;  shrink = 1 / (1 + lr_wd) with prox, else 1
/// ```
///
/// **State**: `m`, `v`, `n`, `g_prev` f32, start at 0, 16 bytes a parameter.
///
/// **Source**: X. Xie, P. Zhou, H. Li, Z. Lin, S. Yan, "Adan: Adaptive Nesterov Momentum Algorithm for Faster
/// Optimizing Deep Models", 2022, algorithm 1.
///
/// **Differences**: names, betas (1 less the paper's) and bias corrections are those of the authors' code,
/// whose clipping of the global norm and restarts (`restart_opt`) are left to the caller. The decay is the
/// paper's proximal step, after the update, unless `prox` is off. `optax.adan` takes the same betas but
/// weighs diff by `1 - beta2` (0.08) where the paper and the authors' code have 0.92, and so goes another
/// way.
///
/// **Numerics**: diff cancels where gradients change slowly; its rounding is that of the gradients.
///
/// **Cost**: 44 bytes read and written a parameter.
///
/// ```
/// use wgpu_optim::rules::Adan;
/// let adan = Adan { lr: 1e-2, weight_decay: 0.02, ..Adan::default() };
/// assert_eq!((adan.beta1, adan.beta2, adan.beta3), (0.98, 0.92, 0.99));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Adan {
    /// Learning rate, at least 0. Default 1e-3.
    pub lr: f64,
    /// Share of m that is kept, in [0, 1). Default 0.98.
    pub beta1: f64,
    /// Share of v that is kept, and weight of the differences, in [0, 1). Default 0.92.
    pub beta2: f64,
    /// Share of n that is kept, in [0, 1). Default 0.99.
    pub beta3: f64,
    /// Added to the root, at least 0. Default 1e-8. With 0, a coordinate that never had a gradient is 0/0.
    pub eps: f64,
    /// Weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// How the decay acts. Default decoupled.
    pub weight_decay_mode: WeightDecay,
    /// Decoupled decay divides by `1 + lr weight_decay` after the step, instead of multiplying by
    /// `1 - lr weight_decay` before it. Default on.
    pub prox: bool,
}

impl Default for Adan {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            beta1: 0.98,
            beta2: 0.92,
            beta3: 0.99,
            eps: 1e-8,
            weight_decay: 0.0,
            weight_decay_mode: WeightDecay::Decoupled,
            prox: true,
        }
    }
}

crate::equation! {
    hyper {
        beta1: real, one_minus_beta1: real, beta2: real, one_minus_beta2: real,
        beta3: real, one_minus_beta3: real, inv_bc3: counted, eps: real, lr: real, inv_bc1: counted, share_v: counted,
        l2: real, lr_wd: real, shrink: real, first: first,
    }
    state { m, v, n, g_prev }
}

impl Rule for Adan {
    const NAME: &'static str = "adan";
    const WGSL: &'static str = include_str!("../../shaders/rules/adan.wgsl");
    const MUTANTS: &'static [Mutant] = &[
        Mutant {
            name: "eps inside the root",
            find: "sqrt((*s).n * h.inv_bc3) + h.eps",
            replace: "sqrt((*s).n * h.inv_bc3 + h.eps)",
        },
        Mutant { name: "eps dropped", find: "h.inv_bc3) + h.eps", replace: "h.inv_bc3)" },
        Mutant { name: "no correction of n", find: "(*s).n * h.inv_bc3", replace: "(*s).n" },
        Mutant {
            name: "betas swapped",
            find: "h.beta1 * (*s).m + h.one_minus_beta1 * g",
            replace: "h.beta2 * (*s).m + h.one_minus_beta2 * g",
        },
        Mutant { name: "first difference is g", find: "h.first != 0u", replace: "false" },
        Mutant {
            name: "differences by 1 - beta2",
            find: "h.beta2 * diff;\n    (*s).m",
            replace: "h.one_minus_beta2 * diff;\n    (*s).m",
        },
        Mutant { name: "n of the gradient alone", find: "(ahead * ahead)", replace: "(g * g)" },
        Mutant { name: "differences left out", find: " + h.share_v * (*s).v", replace: "" },
        Mutant { name: "step x 1.02", find: "return h.lr *", replace: "return 1.02 * h.lr *" },
        Mutant { name: "sign lost", find: "(mean / denom)", replace: "(abs(mean) / denom)" },
        Mutant { name: "no step", find: "return h.lr * h.shrink * (mean / denom)", replace: "return 0.0" },
        Mutant {
            name: "proximal decay dropped",
            find: "h.lr_wd * h.shrink * theta",
            replace: "h.lr_wd * theta",
        },
        Mutant {
            name: "proximal decay before the step",
            find: "h.lr * h.shrink * (mean",
            replace: "h.lr * (mean",
        },
        Mutant { name: "decoupled decay dropped", find: "h.lr_wd * h.shrink * theta", replace: "0.0" },
        Mutant { name: "l2 decay dropped", find: "gradient + h.l2 * theta", replace: "gradient" },
        Mutant { name: "m not stored", find: "return h.lr *", replace: "(*s).m = 0.0;\n    return h.lr *" },
        Mutant { name: "v not stored", find: "return h.lr *", replace: "(*s).v = 0.0;\n    return h.lr *" },
        Mutant { name: "n not stored", find: "return h.lr *", replace: "(*s).n = 0.0;\n    return h.lr *" },
        Mutant { name: "g_prev not stored", find: "(*s).g_prev = g;", replace: "" },
    ];
    type Hyper<R: Real> = Hyper<R>;
    type State<T: Copy> = State<T>;

    const NUMBERS: &'static [Number<Self>] = &crate::numbers! {
        Self;
        lr: AtLeast(0.0),
        beta1: HalfOpen(0.0, 1.0),
        beta2: HalfOpen(0.0, 1.0),
        beta3: HalfOpen(0.0, 1.0),
        eps: AtLeast(0.0),
        weight_decay: AtLeast(0.0),
    };

    fn hyper(&self, t: u64, _: &mut HostState) -> Hyper<f64> {
        let decay = self.weight_decay_mode.scalars(self.weight_decay, self.lr);
        // The proximal step (theta - step) / (1 + lr_wd) is theta - (lr_wd theta + step) / (1 + lr_wd).
        let shrink = if self.prox { 1.0 / (1.0 + decay.lr_wd) } else { 1.0 };
        let bc = |beta| 1.0 - beta_power(beta, t);
        Hyper {
            beta1: self.beta1,
            one_minus_beta1: 1.0 - self.beta1,
            beta2: self.beta2,
            one_minus_beta2: 1.0 - self.beta2,
            beta3: self.beta3,
            one_minus_beta3: 1.0 - self.beta3,
            inv_bc3: 1.0 / bc(self.beta3),
            eps: self.eps,
            lr: self.lr,
            inv_bc1: 1.0 / bc(self.beta1),
            share_v: self.beta2 / bc(self.beta2),
            l2: decay.l2,
            lr_wd: decay.lr_wd,
            shrink,
            first: (t == 1).into(),
        }
    }

    const DECAYS: bool = true;

    fn decay<R: Real>(theta: R, h: &Hyper<R>) -> R {
        h.lr_wd * h.shrink * theta
    }

    fn update<R: Real>(theta: R, gradient: R, s: &mut State<R>, h: &Hyper<R>) -> R {
        let g = gradient + h.l2 * theta;
        let diff = if h.first != 0 { R::host(0.0) } else { g - s.g_prev };
        let ahead = g + h.beta2 * diff;
        s.m = h.beta1 * s.m + h.one_minus_beta1 * g;
        s.v = h.beta2 * s.v + h.one_minus_beta2 * diff;
        s.n = h.beta3 * s.n + h.one_minus_beta3 * (ahead * ahead);
        s.g_prev = g;
        let denom = (s.n * h.inv_bc3).sqrt() + h.eps;
        let mean = h.inv_bc1 * s.m + h.share_v * s.v;
        h.lr * h.shrink * (mean / denom)
    }

    fn variants() -> Vec<Self> {
        // Both large, so that the ways to decay differ by more than rounding.
        let decayed = Self { lr: 0.1, weight_decay: 1.0, ..Self::default() };
        vec![
            decayed.clone(),
            Self { prox: false, ..decayed.clone() },
            Self { weight_decay_mode: WeightDecay::L2, ..decayed },
        ]
    }

    fn example() -> Self {
        Self { lr: 5e-3, weight_decay: 0.02, ..Self::default() }
    }
}
