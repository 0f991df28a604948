//! AdaBound and AMSBound: from Adam to SGD by bounds on the step sizes.

use crate::rule::{HostState, Mutant, Number, Real, Rule, WeightDecay, beta_power};
use serde::{Deserialize, Serialize};

/// AdaBound: Adam whose step sizes are clipped into bounds that close in, from `[0, infinity)`, on a single
/// final rate: Adam at first, SGD with momentum in the end.
///
/// ```text
/// g     <- g + l2 theta                       l2 = weight_decay with mode "l2", else 0
/// m     <- beta1 m + (1 - beta1) g
/// v     <- beta2 v + (1 - beta2) g^2
/// f     =  final_lr lr / base_lr
/// low   =  f gamma t / (gamma t + 1),  high = f (1 + 1 / (gamma t))
/// eta   =  clip((lr sqrt(bc2) / bc1) / (sqrt(v) + eps), low, high)
/// theta <- theta - (lr_wd theta + eta m)      bc1 = 1 - beta1^t, bc2 = 1 - beta2^t
///                                             lr_wd = lr weight_decay with mode "decoupled", else 0
///
/// amsbound: v_max <- max(v_max, v),           v_max in the place of v under the root
/// ```
///
/// **State**: `m`, `v` f32, start at 0, 8 bytes a parameter; with AMSBound also `v_max`, 12 bytes.
///
/// **Source**: L. Luo, Y. Xiong, Y. Liu, X. Sun, "Adaptive Gradient Methods with Dynamic Bound of Learning
/// Rate", 2019, algorithms 2 and 3.
///
/// **Differences**: this is the authors' code. The paper divides the step by sqrt(t), has no bias correction
/// and no eps, and 1 - beta2 in the place of gamma. The authors' AdaBoundW decays by
/// `theta (1 - weight_decay)`, without lr; decoupled decay here has lr in it, as AdamW. Their base_lr is the
/// rate that the optimizer was made with, so that a schedule scales the bounds too. Here it is a number of
/// the configuration; left out, it is the first rate above 0. **With a warm-up, set it** to the peak.
///
/// **Numerics**: the bounds are computed on the host in f64; the usual `1 - 1 / (gamma t + 1)` loses four
/// digits in f32.
///
/// **Cost**: 28 bytes read and written a parameter, 36 with AMSBound.
///
/// ```
/// use wgpu_optim::rules::AdaBound;
/// let adabound = AdaBound { lr: 1e-4, base_lr: Some(1e-3), ..AdaBound::default() };
/// assert_eq!(adabound.final_lr, 0.1); // at lr = 1e-4: 0.01
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdaBound {
    /// Learning rate, at least 0. Default 1e-3.
    pub lr: f64,
    /// Share of m that is kept, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// Share of v that is kept, in [0, 1). Default 0.999.
    pub beta2: f64,
    /// Added to the root, at least 0. Default 1e-8. With 0, the step size of a coordinate that never had a
    /// gradient is a division by zero.
    pub eps: f64,
    /// Rate that the bounds close in on while lr is base_lr, at least 0. Default 0.1.
    pub final_lr: f64,
    /// Speed at which they do, in [0, 1); with 0 there are no bounds. Default 1e-3.
    pub gamma: f64,
    /// The rate at which final_lr holds, above 0. Default: the first lr above 0.
    pub base_lr: Option<f64>,
    /// Maximum over time of the second moment: AMSBound. Default off.
    pub amsbound: bool,
    /// Weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// How the decay acts. Default L2.
    pub weight_decay_mode: WeightDecay,
}

impl Default for AdaBound {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            final_lr: 0.1,
            gamma: 1e-3,
            base_lr: None,
            amsbound: false,
            weight_decay: 0.0,
            weight_decay_mode: WeightDecay::L2,
        }
    }
}

impl AdaBound {
    /// The rate that both bounds close in on: SGD's, which follows the schedule of `lr`. Relative to the first rate
    /// above 0, which `state` keeps, where no `base_lr` says otherwise.
    fn final_rate(&self, state: &mut HostState) -> f64 {
        if state[0] == 0.0 {
            state[0] = self.lr;
        }
        if self.lr == 0.0 { 0.0 } else { self.final_lr * self.lr / self.base_lr.unwrap_or(state[0]) }
    }

    /// The shares of that rate which the bounds are in step `t`.
    fn shares(&self, t: u64) -> (f64, f64) {
        let gamma_t = self.gamma * t as f64;
        // Without an upper bound, or as good as: WGSL has no infinity.
        let largest = f64::from(f32::MAX) / self.final_lr.max(1.0) / 1e6;
        (gamma_t / (gamma_t + 1.0), (1.0 + 1.0 / gamma_t).min(largest))
    }
}

crate::equation! {
    hyper {
        beta1: real, one_minus_beta1: real, beta2: real, one_minus_beta2: real, eps: real,
        lr: real, correction: counted, final_rate: real, low_share: counted, high_share: counted, l2: real, lr_wd: real, amsbound: flag,
    }
    state { m, v, v_max }
}

impl Rule for AdaBound {
    const NAME: &'static str = "adabound";
    const WGSL: &'static str = include_str!("../../shaders/rules/adabound.wgsl");
    const MUTANTS: &'static [Mutant] = &[
        Mutant { name: "eps inside the root", find: "sqrt(v) + h.eps", replace: "sqrt(v + h.eps)" },
        Mutant { name: "eps dropped", find: "sqrt(v) + h.eps", replace: "sqrt(v)" },
        Mutant {
            name: "bounds dropped",
            find: "clamp(h.lr * h.correction / (sqrt(v) + h.eps), low, high)",
            replace: "h.lr * h.correction / (sqrt(v) + h.eps)",
        },
        Mutant {
            name: "lower bound dropped",
            find: "clamp(h.lr * h.correction / (sqrt(v) + h.eps), low, high)",
            replace: "min(h.lr * h.correction / (sqrt(v) + h.eps), high)",
        },
        Mutant {
            name: "upper bound dropped",
            find: "clamp(h.lr * h.correction / (sqrt(v) + h.eps), low, high)",
            replace: "max(h.lr * h.correction / (sqrt(v) + h.eps), low)",
        },
        Mutant { name: "amsbound dropped", find: "v = max((*s).v_max, (*s).v);", replace: "" },
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
        Mutant { name: "step x 1.02", find: "return eta", replace: "return 1.02 * eta" },
        Mutant { name: "sign lost", find: "eta * (*s).m", replace: "eta * abs((*s).m)" },
        Mutant { name: "no step", find: "return eta * (*s).m", replace: "return 0.0" },
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
        final_lr: AtLeast(0.0),
        gamma: HalfOpen(0.0, 1.0),
        base_lr: Above(0.0),
        weight_decay: AtLeast(0.0),
    };

    fn depths(&self) -> State<u32> {
        State { m: 1, v: 1, v_max: self.amsbound.into() }
    }

    fn hyper(&self, t: u64, state: &mut HostState) -> Hyper<f64> {
        let decay = self.weight_decay_mode.scalars(self.weight_decay, self.lr);
        let (bc1, bc2) = (1.0 - beta_power(self.beta1, t), 1.0 - beta_power(self.beta2, t));
        let (low_share, high_share) = self.shares(t);
        Hyper {
            beta1: self.beta1,
            one_minus_beta1: 1.0 - self.beta1,
            beta2: self.beta2,
            one_minus_beta2: 1.0 - self.beta2,
            eps: self.eps,
            lr: self.lr,
            correction: bc2.sqrt() / bc1,
            final_rate: self.final_rate(state),
            low_share,
            high_share,
            l2: decay.l2,
            lr_wd: decay.lr_wd,
            amsbound: self.amsbound.into(),
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
        if h.amsbound != 0 {
            v = s.v_max.max(s.v);
            s.v_max = v;
        }
        let (low, high) = (h.final_rate * h.low_share, h.final_rate * h.high_share);
        let eta = (h.lr * h.correction / (v.sqrt() + h.eps)).clamp(low, high);
        eta * s.m
    }

    fn variants() -> Vec<Self> {
        let l2 = Self { weight_decay: 0.1, ..Self::default() };
        let decoupled = Self { weight_decay_mode: WeightDecay::Decoupled, ..l2.clone() };
        vec![l2, Self { amsbound: true, gamma: 0.1, base_lr: Some(0.01), ..decoupled }]
    }

    fn example() -> Self {
        Self { lr: 3e-3, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{assert_close, trial_run};
    use crate::rules::Adam;

    #[test]
    fn without_bounds_it_is_adam() {
        let adabound = AdaBound { gamma: 0.0, eps: 1e-30, ..AdaBound::default() };
        let adam = Adam { eps: 1e-30, ..Adam::default() };
        assert_close(&trial_run(adabound, |_, _| (), 40).theta, &trial_run(adam, |_, _| (), 40).theta);
    }

    #[test]
    fn bounds_close_in_on_the_final_rate_and_follow_the_schedule() {
        let bounds = |adabound: &AdaBound, t| {
            let (rate, shares) = (adabound.final_rate(&mut [1e-3, 0.0, 0.0, 0.0]), adabound.shares(t));
            (rate * shares.0, rate * shares.1)
        };
        let (low, high) = bounds(&AdaBound::default(), 1_000_000);
        assert!(low < 0.1 && high > 0.1 && high - low < 3e-4, "{low} {high}");
        let (low, high) = bounds(&AdaBound { lr: 1e-4, ..AdaBound::default() }, 1_000_000);
        assert!(low < 0.01 && high > 0.01 && high - low < 3e-5, "{low} {high}");
        let (low, high) = bounds(&AdaBound { gamma: 1e-8, ..AdaBound::default() }, 1);
        assert!((low / 1e-9 - 1.0).abs() < 1e-7 && (high / 1e7 - 1.0).abs() < 1e-7, "{low} {high}");
    }

    #[test]
    fn base_lr_is_the_first_rate_above_zero() {
        let mut state = HostState::default();
        let mut at = |lr| AdaBound { lr, ..AdaBound::default() }.final_rate(&mut state);
        let based =
            |lr| AdaBound { base_lr: Some(0.01), lr, ..AdaBound::default() }.final_rate(&mut [0.0; 4]);
        assert_eq!(at(0.0), 0.0);
        assert_eq!(at(0.01), based(0.01));
        assert_eq!(at(0.05), based(0.05));
    }
}
