//! LaMAdam: LaProp with MaxVA's adaptive second moment.

use super::laprop::rates;
use crate::error::Refusal;
use crate::rule::{HostState, Mutant, Number, Real, Rule, WeightDecay};
use serde::{Deserialize, Serialize};

/// LaMAdam: [`LaProp`](super::LaProp) whose second moment is [`MAdam`](super::MAdam)'s: each coordinate
/// chooses, within `[beta_min, beta_max]`, the beta that maximises the observed variance of its gradients.
///
/// ```text
/// D     =  (g - u)^2
/// beta  =  clip((D + S) / (w (D - S) + D + S + delta), beta_min, beta_max)
/// w     <- beta w + (1 - beta)                weight gathered so far
/// gamma =  (1 - beta) / w
/// S     <- (1 - gamma) (S + gamma D)          variance under the weights
/// u     <- u + gamma (g - u)                  mean under the weights
/// denom =  sqrt(S + u^2) + eps
/// m     <- beta1 m + (1 - beta1) lr g / denom
/// C     <- beta1 C + (1 - beta1) lr           one number a group, on the host
/// theta <- theta - (lr_wd theta + (lr / C) m)
/// ```
/// with weight decay as in [`Adam`](super::Adam). `amsgrad`: denom <- max over time of denom.
///
/// **State**: `m`, `u`, `S`, `w` f32, start at 0, 16 bytes a parameter; with AMSGrad also `denom_max`, 20.
///
/// **Source**: C. Zhu, Y. Cheng, Z. Gan, F. Huang, J. Liu, T. Goldstein, "MaxVA: Fast Adaptation of Step
/// Sizes by Maximizing Observed Variance of Gradients", 2021, algorithm 2 (of its appendix), equations 6
/// to 8; in the form of the authors' code.
///
/// **Differences**: S and u are kept in the place of `u~ = w u` and `v~ = w (S + u^2)`, the same numbers
/// in exact arithmetic. **AMSGrad is ours**: the maximum of the corrected denominators, as in MAdam; in the
/// authors' code the flag is read from the wrong place and never has an effect. With lr = 0 in the first
/// steps nothing moves; one of the authors' two versions divides by zero there.
///
/// **Zero variance, `beta_max = 1` and `delta`**: as in [`MAdam`](super::MAdam). A coordinate with
/// `D = S = 0` has `beta_min` (`beta_max` with `delta = 0`), and the first step's beta is `beta_first`.
///
/// **Numerics**: as MAdam: no cancellation in S, `1 - beta` computed instead of beta. C is summed on the
/// host in f64. With eps = 1e-15, a gradient whose square underflows (below 1e-19) is divided by eps.
///
/// **Cost**: 44 bytes read and written a parameter, 52 with AMSGrad.
///
/// ```
/// use wgpu_optim::rules::LaMAdam;
/// let lamadam = LaMAdam { lr: 1.5e-3, beta_max: 0.999, ..LaMAdam::default() };
/// assert_eq!((lamadam.beta_min, lamadam.eps), (0.5, 1e-15));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LaMAdam {
    /// Learning rate, at least 0. Default 1e-3.
    pub lr: f64,
    /// Share of m that is kept, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// Smallest beta of the second moment, in [0, 1). Default 0.5.
    pub beta_min: f64,
    /// Largest beta of the second moment, in [beta_min, 1]. Default 0.98.
    pub beta_max: f64,
    /// Beta of the first step, in [0, 1). Default `beta_max`, or 0.999 where that is 1.
    pub beta_first: Option<f64>,
    /// Added to the denominator, at least 0. Default 1e-15.
    pub eps: f64,
    /// Added to the denominator of beta, at least 0. Default 1e-16.
    pub delta: f64,
    /// Maximum over time of the denominators. Default off.
    pub amsgrad: bool,
    /// Weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// How the decay acts. Default decoupled.
    pub weight_decay_mode: WeightDecay,
}

impl Default for LaMAdam {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            beta1: 0.9,
            beta_min: 0.5,
            beta_max: 0.98,
            beta_first: None,
            eps: 1e-15,
            delta: 1e-16,
            amsgrad: false,
            weight_decay: 0.0,
            weight_decay_mode: WeightDecay::Decoupled,
        }
    }
}

crate::equation! {
    hyper {
        beta1: real, rate: real, one_minus_beta_min: counted, one_minus_beta_max: counted, delta: real,
        eps: real, lr: real, inv_c: counted, l2: real, lr_wd: real, first: first, amsgrad: flag,
    }
    state { m, u, S, w, denom_max }
}

impl Rule for LaMAdam {
    const NAME: &'static str = "lamadam";
    const WGSL: &'static str = include_str!("../../shaders/rules/lamadam.wgsl");
    const MUTANTS: &'static [Mutant] = &[
        Mutant {
            name: "eps inside the root",
            find: "(*s).u * (*s).u) + h.eps",
            replace: "(*s).u * (*s).u + h.eps)",
        },
        Mutant { name: "eps dropped", find: "(*s).u * (*s).u) + h.eps", replace: "(*s).u * (*s).u)" },
        Mutant {
            name: "mean left out of the denominator",
            find: "sqrt((*s).S + (*s).u * (*s).u)",
            replace: "sqrt((*s).S)",
        },
        Mutant { name: "delta dropped", find: "(*s).S + h.delta);", replace: "(*s).S);" },
        Mutant { name: "variance's sign", find: "(D - (*s).S)", replace: "(D + (*s).S)" },
        Mutant {
            name: "beta always beta_max",
            find: "let one_minus_beta = clamp(best, ",
            replace: "let one_minus_beta = min(h.one_minus_beta_max + 0.0 * best, h.one_minus_beta_min) + 0.0 * clamp(best, ",
        },
        Mutant { name: "variance of the new mean", find: "gamma * D)", replace: "D)" },
        Mutant {
            name: "w not stored",
            find: "(*s).w = (*s).w + one_minus_beta * one_minus_w;\n    let gamma = select(one_minus_beta / (*s).w",
            replace: "let w = (*s).w + one_minus_beta * one_minus_w;\n    let gamma = select(one_minus_beta / w",
        },
        Mutant { name: "u not stored", find: "(*s).u = (*s).u + gamma * d;", replace: "" },
        Mutant { name: "S not stored", find: "(*s).S = (1.0 - gamma)", replace: "let S = (1.0 - gamma)" },
        Mutant {
            name: "m not stored",
            find: "(*s).m = h.beta1 * (*s).m + h.rate * (g / denom);\n    return h.lr * h.inv_c * (*s).m;",
            replace: "let m = h.beta1 * (*s).m + h.rate * (g / denom);\n    return h.lr * h.inv_c * m;",
        },
        Mutant { name: "amsgrad dropped", find: "denom = max((*s).denom_max, denom);", replace: "" },
        Mutant { name: "maximum not stored", find: "(*s).denom_max = denom;", replace: "" },
        Mutant {
            name: "normalised after the momentum",
            find: "h.rate * (g / denom);\n    return h.lr * h.inv_c * (*s).m",
            replace: "h.rate * g;\n    return h.lr * h.inv_c * ((*s).m / denom)",
        },
        Mutant {
            name: "betas swapped",
            find: "h.beta1 * (*s).m + h.rate",
            replace: "h.one_minus_beta_max * (*s).m + h.rate",
        },
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
        beta_min: HalfOpen(0.0, 1.0),
        beta_max: Closed(0.0, 1.0),
        beta_first: HalfOpen(0.0, 1.0),
        eps: AtLeast(0.0),
        delta: AtLeast(0.0),
        weight_decay: AtLeast(0.0),
    };

    fn consistent(&self) -> Result<(), Refusal> {
        if self.beta_min > self.beta_max {
            let limit = format!("at most beta_max = {}", self.beta_max);
            return Err(Refusal::new("beta_min", self.beta_min, limit));
        }
        Ok(())
    }

    fn depths(&self) -> State<u32> {
        State { m: 1, u: 1, S: 1, w: 1, denom_max: self.amsgrad.into() }
    }

    fn hyper(&self, t: u64, state: &mut HostState) -> Hyper<f64> {
        let decay = self.weight_decay_mode.scalars(self.weight_decay, self.lr);
        let (rate, inv_c) = rates(self.beta1, self.lr, state);
        let beta_first = self.beta_first.unwrap_or(if self.beta_max < 1.0 { self.beta_max } else { 0.999 });
        // In the first step nothing was observed yet: beta is the given one.
        let (beta_min, beta_max) =
            if t == 1 { (beta_first, beta_first) } else { (self.beta_min, self.beta_max) };
        Hyper {
            beta1: self.beta1,
            rate,
            one_minus_beta_min: 1.0 - beta_min,
            one_minus_beta_max: 1.0 - beta_max,
            delta: self.delta,
            eps: self.eps,
            lr: self.lr,
            inv_c,
            l2: decay.l2,
            lr_wd: decay.lr_wd,
            first: (t == 1).into(),
            amsgrad: self.amsgrad.into(),
        }
    }

    const DECAYS: bool = true;

    fn decay<R: Real>(theta: R, h: &Hyper<R>) -> R {
        h.lr_wd * theta
    }

    #[allow(non_snake_case)] // D and S are the paper's symbols
    fn update<R: Real>(theta: R, gradient: R, s: &mut State<R>, h: &Hyper<R>) -> R {
        let one = R::host(1.0);
        let zero = R::host(0.0);
        let g = gradient + h.l2 * theta;
        let d = g - s.u;
        let D = d * d;
        let one_minus_w = (one - s.w).max(zero);
        let den = (one + s.w) * D + (one_minus_w * s.S + h.delta);
        let best = den.if_zero(zero, (s.w * (D - s.S) + h.delta) / den);
        let one_minus_beta = best.clamp(h.one_minus_beta_max, h.one_minus_beta_min);
        s.w = s.w + one_minus_beta * one_minus_w;
        let gamma = if h.first != 0 { one } else { one_minus_beta / s.w };
        s.S = (one - gamma) * (s.S + gamma * D);
        s.u = s.u + gamma * d;
        let mut denom = (s.S + s.u * s.u).sqrt() + h.eps;
        if h.amsgrad != 0 {
            denom = s.denom_max.max(denom);
            s.denom_max = denom;
        }
        s.m = h.beta1 * s.m + h.rate * (g / denom);
        h.lr * h.inv_c * s.m
    }

    fn variants() -> Vec<Self> {
        let decoupled = Self { weight_decay: 0.1, ..Self::default() };
        vec![
            decoupled.clone(),
            Self { amsgrad: true, weight_decay_mode: WeightDecay::L2, ..decoupled.clone() },
            Self { beta_max: 1.0, delta: 0.0, ..decoupled },
        ]
    }

    fn example() -> Self {
        Self { lr: 3e-3, weight_decay: 0.01, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{assert_close, trial_run};
    use crate::rules::LaProp;

    #[test]
    fn with_one_beta_it_is_laprop() {
        let lr = |t: u64| if t < 3 { 0.0 } else { 1e-3 / t as f64 };
        let lamadam = LaMAdam { beta_min: 0.99, beta_max: 0.99, weight_decay: 0.1, ..LaMAdam::default() };
        let laprop = LaProp { beta2: 0.99, weight_decay: 0.1, ..LaProp::default() };
        assert_close(
            &trial_run(lamadam, |lamadam, t| lamadam.lr = lr(t), 40).theta,
            &trial_run(laprop, |laprop, t| laprop.lr = lr(t), 40).theta,
        );
    }
}
