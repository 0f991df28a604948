//! NAdam.

use crate::rule::{HostState, Mutant, Number, Real, Rule, WeightDecay, beta_power};
use serde::{Deserialize, Serialize};

/// NAdam: Adam with Nesterov's momentum, whose coefficient mu grows with time.
///
/// ```text
/// g      <- g + l2 theta                       l2 = weight_decay with mode "l2", else 0
/// m      <- beta1 m + (1 - beta1) g
/// v      <- beta2 v + (1 - beta2) g^2
/// denom  =  sqrt(v / bc2) + eps                bc2 = 1 - beta2^t
/// mu_t   =  beta1 (1 - 0.96^(t momentum_decay) / 2),   P_t = mu_1 mu_2 ... mu_t
/// step_g =  lr (1 - mu_t) / (1 - P_t)
/// step_m =  lr mu_(t+1) / (1 - P_(t+1))
/// theta  <- theta - (lr_wd theta + lr (share_g g + share_m m) / denom)
///                                              lr_wd = lr weight_decay with mode "decoupled", else 0
/// ```
///
/// **State**: `m`, `v` f32, start at 0, 8 bytes a parameter; P on the host, for each group.
///
/// **Source**: T. Dozat, "Incorporating Nesterov Momentum into Adam", 2016, algorithm 2.
///
/// **Differences**: none from `torch.optim.NAdam`; as there, m decays by beta1, not by mu_t, of which the
/// paper's bias correction knows nothing. `optax.nadam` has the constant mu = beta1, which no
/// `momentum_decay` gives.
///
/// **Numerics**: the product of momenta is kept in f64 on the host. Changing beta1 on the way changes the
/// factors from then on.
///
/// **Cost**: 28 bytes read and written a parameter.
///
/// ```
/// use wgpu_optim::rules::NAdam;
/// let nadam = NAdam { weight_decay: 1e-4, ..NAdam::default() };
/// assert_eq!((nadam.lr, nadam.momentum_decay), (2e-3, 4e-3));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NAdam {
    /// Learning rate, at least 0. Default 2e-3.
    pub lr: f64,
    /// Share of m that is kept and limit of mu, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// Share of v that is kept, in [0, 1). Default 0.999.
    pub beta2: f64,
    /// Added to the root, at least 0. Default 1e-8. With 0, a coordinate that never had a gradient is 0/0.
    pub eps: f64,
    /// How fast mu grows from beta1 / 2 to beta1, at least 0. Default 4e-3.
    pub momentum_decay: f64,
    /// Weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// How the decay acts. Default L2.
    pub weight_decay_mode: WeightDecay,
}

impl Default for NAdam {
    fn default() -> Self {
        Self {
            lr: 2e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            momentum_decay: 4e-3,
            weight_decay: 0.0,
            weight_decay_mode: WeightDecay::L2,
        }
    }
}

impl NAdam {
    /// The momentum of step `t`.
    fn mu(&self, t: u64) -> f64 {
        self.beta1 * (1.0 - 0.5 * 0.96f64.powf(t as f64 * self.momentum_decay))
    }
}

crate::equation! {
    hyper {
        beta1: real, one_minus_beta1: real, beta2: real, one_minus_beta2: real, inv_bc2: counted,
        eps: real, lr: real, share_g: counted, share_m: counted, l2: real, lr_wd: real,
    }
    state { m, v }
}

impl Rule for NAdam {
    const NAME: &'static str = "nadam";
    const WGSL: &'static str = include_str!("../../shaders/rules/nadam.wgsl");
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
            find: "h.beta1 * (*s).m + h.one_minus_beta1 * g",
            replace: "h.beta2 * (*s).m + h.one_minus_beta2 * g",
        },
        Mutant { name: "gradient left out", find: "h.share_g * g + ", replace: "" },
        Mutant {
            name: "Adam's step",
            find: "h.share_g * g + h.share_m * (*s).m",
            replace: "(h.share_g + h.share_m) * (*s).m",
        },
        Mutant { name: "step x 1.02", find: "ahead / denom", replace: "1.02 * ahead / denom" },
        Mutant { name: "sign lost", find: "ahead / denom", replace: "abs(ahead) / denom" },
        Mutant { name: "no step", find: "return h.lr * (ahead / denom)", replace: "return 0.0" },
        Mutant { name: "decoupled decay dropped", find: "h.lr_wd * theta", replace: "0.0" },
        Mutant { name: "l2 decay dropped", find: "gradient + h.l2 * theta", replace: "gradient" },
        Mutant { name: "m not stored", find: "return h.lr *", replace: "(*s).m = 0.0;\n    return h.lr *" },
        Mutant { name: "v not stored", find: "return h.lr *", replace: "(*s).v = 0.0;\n    return h.lr *" },
    ];
    type Hyper<R: Real> = Hyper<R>;
    type State<T: Copy> = State<T>;

    const NUMBERS: &'static [Number<Self>] = &crate::numbers! {
        Self;
        lr: AtLeast(0.0),
        beta1: HalfOpen(0.0, 1.0),
        beta2: HalfOpen(0.0, 1.0),
        eps: AtLeast(0.0),
        momentum_decay: AtLeast(0.0),
        weight_decay: AtLeast(0.0),
    };

    fn hyper(&self, t: u64, state: &mut HostState) -> Hyper<f64> {
        let [product, ..] = state;
        let (mu, next) = (self.mu(t), self.mu(t + 1));
        *product = mu * if t == 1 { 1.0 } else { *product };
        let decay = self.weight_decay_mode.scalars(self.weight_decay, self.lr);
        Hyper {
            beta1: self.beta1,
            one_minus_beta1: 1.0 - self.beta1,
            beta2: self.beta2,
            one_minus_beta2: 1.0 - self.beta2,
            inv_bc2: 1.0 / (1.0 - beta_power(self.beta2, t)),
            eps: self.eps,
            lr: self.lr,
            share_g: (1.0 - mu) / (1.0 - *product),
            share_m: next / (1.0 - *product * next),
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
        let denom = (s.v * h.inv_bc2).sqrt() + h.eps;
        let ahead = h.share_g * g + h.share_m * s.m;
        h.lr * (ahead / denom)
    }

    fn variants() -> Vec<Self> {
        vec![
            Self { weight_decay: 0.1, ..Self::default() },
            Self {
                beta1: 0.8,
                momentum_decay: 1.0,
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
