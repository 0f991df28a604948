//! LaProp: Adam with the gradient normalised before the momentum is taken.

use crate::rule::{HostState, Mutant, Number, Real, Rule, WeightDecay, beta_power};
use serde::{Deserialize, Serialize};

/// LaProp: normalises each gradient by its own time's second moment and takes the momentum afterwards, so
/// that beta1 and beta2 may be chosen apart.
///
/// ```text
/// g     <- g + l2 theta                          l2 = weight_decay with mode "l2", else 0
/// v     <- beta2 v + (1 - beta2) g^2
/// denom =  sqrt(v / bc2) + eps                   bc2 = 1 - beta2^t
/// m     <- beta1 m + (1 - beta1) lr g / denom
/// C     <- beta1 C + (1 - beta1) lr              one number a group, on the host
/// theta <- theta - (lr_wd theta + (lr / C) m)    lr_wd = lr weight_decay with mode "decoupled", else 0
///
/// centered: a <- beta2 a + (1 - beta2) g,        after centered_after steps v - a^2 in the place of v
/// amsgrad:  v_max <- max(v_max, v),              v_max in the place of v; when centered, of v - a^2 and
///                                                only from the first centered step on
/// ```
/// With a constant lr, `lr / C` is Adam's `1 / (1 - beta1^t)`; with a schedule each past step keeps the
/// lr that it had.
///
/// **State**: `m`, `v` f32, start at 0, 8 bytes a parameter; `a` when centered and `v_max` with AMSGrad, 4
/// each. When centered, the slot `v` holds `v - a^2`.
///
/// **Source**: L. Ziyin, Z. Wang, M. Ueda, "LaProp: Separating Momentum and Adaptivity in Adam", 2020,
/// algorithm 1; `centered` and `amsgrad` as in the authors' code.
///
/// **Differences**: the authors' code decays by `theta (1 - weight_decay)`, without lr and after the
/// step, timm by `theta (1 - lr weight_decay)` after the step; here it is before the step, as in AdamW.
/// With lr = 0 nothing moves, where the authors' code moves by m.
///
/// **Numerics**: when centered, `v - a^2` is kept itself, by a recurrence without cancellation that is
/// never negative. C is summed on the host in f64. eps is so small that it only stands between 0 and 0.
///
/// **Cost**: 28 bytes read and written a parameter; 8 more when centered, 8 more with AMSGrad.
///
/// ```
/// use wgpu_optim::{rule::Rule, rules::LaProp};
/// let laprop = LaProp { lr: 1e-3, ..LaProp::default() };
/// let first = laprop.hyper(1, &mut Default::default());
/// assert!((first.lr * first.rate * first.inv_c - 1e-3).abs() < 1e-18); // g / |g| moves by lr
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LaProp {
    /// Learning rate, at least 0. Default 4e-4.
    pub lr: f64,
    /// Share of m that is kept, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// Share of v that is kept, in [0, 1). Default 0.999.
    pub beta2: f64,
    /// Added to the root, at least 0. Default 1e-15. With 0, a coordinate that never had a gradient is 0/0.
    pub eps: f64,
    /// The variance in the place of the second moment. Default off.
    pub centered: bool,
    /// Steps before the variance is used. Default 10.
    pub centered_after: u32,
    /// Maximum over time of the second moment or variance. Default off.
    pub amsgrad: bool,
    /// Weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// How the decay acts. Default decoupled.
    pub weight_decay_mode: WeightDecay,
}

impl Default for LaProp {
    fn default() -> Self {
        Self {
            lr: 4e-4,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-15,
            centered: false,
            centered_after: 10,
            amsgrad: false,
            weight_decay: 0.0,
            weight_decay_mode: WeightDecay::Decoupled,
        }
    }
}

/// What a normalised gradient adds to m, and what m and lr are multiplied by: `(1 - beta1) lr` and `1 / C`, where
/// C is the average of the rates so far, kept in `state`. While every rate was 0 so is C, and m with it.
pub(crate) fn rates(beta1: f64, lr: f64, state: &mut HostState) -> (f64, f64) {
    let rate = (1.0 - beta1) * lr;
    state[0] = beta1 * state[0] + rate;
    (rate, if state[0] > 0.0 { 1.0 / state[0] } else { 1.0 })
}

crate::equation! {
    hyper {
        beta1: real, rate: real, beta2: real, one_minus_beta2: real, inv_bc2: counted, eps: real,
        lr: real, inv_c: counted, l2: real, lr_wd: real, centered: counted_flag, amsgrad: counted_flag,
    }
    state { m, v, a, v_max }
}

impl Rule for LaProp {
    const NAME: &'static str = "laprop";
    const WGSL: &'static str = include_str!("../../shaders/rules/laprop.wgsl");
    const MUTANTS: &'static [Mutant] = &[
        Mutant {
            name: "eps inside the root",
            find: "sqrt(v * h.inv_bc2) + h.eps",
            replace: "sqrt(v * h.inv_bc2 + h.eps)",
        },
        Mutant { name: "eps dropped", find: "sqrt(v * h.inv_bc2) + h.eps", replace: "sqrt(v * h.inv_bc2)" },
        Mutant { name: "no correction of v", find: "v * h.inv_bc2", replace: "v" },
        Mutant {
            name: "normalised after the momentum",
            find: "h.rate * (g / denom);\n    return h.lr * h.inv_c * (*s).m",
            replace: "h.rate * g;\n    return h.lr * h.inv_c * ((*s).m / denom)",
        },
        Mutant { name: "mean not subtracted", find: "h.centered == 1u", replace: "true" },
        Mutant { name: "mean subtracted at once", find: "h.centered == 1u", replace: "false" },
        Mutant {
            name: "variance of the new mean",
            find: "h.beta2 * ((*s).v + h.one_minus_beta2 * (d * d))",
            replace: "h.beta2 * (*s).v + h.one_minus_beta2 * (d * d)",
        },
        Mutant { name: "amsgrad dropped", find: "v = max((*s).v_max, v);", replace: "" },
        Mutant { name: "maximum not stored", find: "(*s).v_max = v;", replace: "" },
        Mutant { name: "a not stored", find: "(*s).a = (*s).a + h.one_minus_beta2 * d;", replace: "" },
        Mutant {
            name: "v not stored",
            find: "(*s).v = h.beta2 * (*s).v + h.one_minus_beta2 * (g * g);",
            replace: "",
        },
        Mutant {
            name: "m not stored",
            find: "(*s).m = h.beta1 * (*s).m + h.rate * (g / denom);\n    return h.lr * h.inv_c * (*s).m;",
            replace: "let m = h.beta1 * (*s).m + h.rate * (g / denom);\n    return h.lr * h.inv_c * m;",
        },
        Mutant { name: "betas swapped", find: "h.beta1 * (*s).m", replace: "h.beta2 * (*s).m" },
        Mutant {
            name: "step x 1.02",
            find: "return h.lr * h.inv_c",
            replace: "return 1.02 * h.lr * h.inv_c",
        },
        Mutant {
            name: "sign lost",
            find: "h.lr * h.inv_c * (*s).m",
            replace: "h.lr * h.inv_c * abs((*s).m)",
        },
        Mutant { name: "no step", find: "return h.lr * h.inv_c * (*s).m", replace: "return 0.0" },
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

    fn depths(&self) -> State<u32> {
        State { m: 1, v: 1, a: self.centered.into(), v_max: self.amsgrad.into() }
    }

    fn hyper(&self, t: u64, state: &mut HostState) -> Hyper<f64> {
        let decay = self.weight_decay_mode.scalars(self.weight_decay, self.lr);
        let (rate, inv_c) = rates(self.beta1, self.lr, state);
        let centered = match self.centered {
            false => 0,
            true if t <= u64::from(self.centered_after) => 1,
            true => 2,
        };
        Hyper {
            beta1: self.beta1,
            rate,
            beta2: self.beta2,
            one_minus_beta2: 1.0 - self.beta2,
            inv_bc2: 1.0 / (1.0 - beta_power(self.beta2, t)),
            eps: self.eps,
            lr: self.lr,
            inv_c,
            l2: decay.l2,
            lr_wd: decay.lr_wd,
            centered,
            amsgrad: (self.amsgrad && centered != 1).into(),
        }
    }

    const DECAYS: bool = true;

    fn decay<R: Real>(theta: R, h: &Hyper<R>) -> R {
        h.lr_wd * theta
    }

    fn update<R: Real>(theta: R, gradient: R, s: &mut State<R>, h: &Hyper<R>) -> R {
        let g = gradient + h.l2 * theta;
        if h.centered != 0 {
            let d = g - s.a;
            s.v = h.beta2 * (s.v + h.one_minus_beta2 * (d * d));
            s.a = s.a + h.one_minus_beta2 * d;
        } else {
            s.v = h.beta2 * s.v + h.one_minus_beta2 * (g * g);
        }
        let mut v = s.v;
        if h.centered == 1 {
            v = s.v + s.a * s.a;
        }
        if h.amsgrad != 0 {
            v = s.v_max.max(v);
            s.v_max = v;
        }
        let denom = (v * h.inv_bc2).sqrt() + h.eps;
        s.m = h.beta1 * s.m + h.rate * (g / denom);
        h.lr * h.inv_c * s.m
    }

    fn variants() -> Vec<Self> {
        let decoupled = Self { weight_decay: 0.1, ..Self::default() };
        let l2 = Self { weight_decay_mode: WeightDecay::L2, ..decoupled.clone() };
        vec![
            decoupled.clone(),
            Self { amsgrad: true, eps: 1e-8, ..l2.clone() },
            Self { centered: true, centered_after: 3, ..decoupled },
            Self { centered: true, centered_after: 3, amsgrad: true, ..l2 },
        ]
    }

    fn example() -> Self {
        Self { lr: 3e-3, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{trial_gradient, trial_run};

    /// The slot `v` holds what the authors' code computes as a difference.
    #[test]
    fn centered_v_is_the_variance() {
        let centered = trial_run(LaProp { centered: true, ..LaProp::default() }, |_, _| (), 40);
        let (mut v, mut a) = ([0.0; 4], [0.0; 4]);
        for t in 1..=40 {
            for (i, g) in trial_gradient(t).into_iter().enumerate() {
                v[i] = 0.999 * v[i] + 0.001 * g * g;
                a[i] = 0.999 * a[i] + 0.001 * g;
            }
        }
        for i in 0..4 {
            let (got, want) = (centered.slots[1][i], v[i] - a[i] * a[i]);
            assert!((got - want).abs() <= 1e-12 * v[i], "{got} {want}");
        }
    }

    #[test]
    fn rates_of_zero_move_nothing_and_are_forgotten() {
        let late = trial_run(LaProp::default(), |laprop, t| laprop.lr = if t < 6 { 0.0 } else { 1e-3 }, 5);
        assert_eq!(late.theta, trial_run(LaProp::default(), |_, _| (), 0).theta);
        let mut state = HostState::default();
        let rates = [0.0, 0.0, 1e-3].map(|lr| rates(0.9, lr, &mut state));
        assert_eq!(rates[..2], [(0.0, 1.0); 2]);
        assert!((rates[2].0 * rates[2].1 - 1.0).abs() < 1e-15);
    }
}
