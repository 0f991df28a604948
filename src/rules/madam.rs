//! MAdam: Adam with MaxVA's adaptive second moment.

use crate::error::Refusal;
use crate::rule::{HostState, Mutant, Number, Real, Rule, WeightDecay, beta_power};
use serde::{Deserialize, Serialize};

/// MAdam: each coordinate chooses, within `[beta_min, beta_max]`, the beta of its second moment that
/// maximises the observed variance of its gradients, so that step sizes shrink at once when gradients grow
/// noisy.
///
/// ```text
/// D     =  (g - u)^2
/// beta  =  clip((D + S) / (w (D - S) + D + S + delta), beta_min, beta_max)
/// w     <- beta w + (1 - beta)                weight gathered so far; Adam's bias correction
/// gamma =  (1 - beta) / w
/// S     <- (1 - gamma) (S + gamma D)          variance under the weights
/// u     <- u + gamma (g - u)                  mean under the weights
/// m     <- beta1 m + (1 - beta1) g
/// denom =  sqrt(S + u^2) + eps
/// theta <- theta - (lr_wd theta + (lr / bc1) m / denom)  bc1 = 1 - beta1^t
/// ```
/// with weight decay as in [`Adam`](super::Adam). `amsgrad`: denom <- max over time of denom.
/// `nesterov`: `beta1 m + (1 - beta1) g` in the place of m.
///
/// **State**: `m`, `u`, `S`, `w` f32, start at 0, 16 bytes a parameter; with AMSGrad also `denom_max`, 20.
///
/// **Source**: C. Zhu, Y. Cheng, Z. Gan, F. Huang, J. Liu, T. Goldstein, "MaxVA: Fast Adaptation of Step
/// Sizes by Maximizing Observed Variance of Gradients", 2021, algorithm 1, equations 6 to 8.
///
/// **Differences**: the paper and its code keep `u~ = w u` and `v~ = w (S + u^2)` and take S as a
/// difference that cancels; here S is kept (Welford's update), the same numbers in exact arithmetic.
/// eps is added after the division by w, as in the authors' code; the paper's algorithm 1 adds it before.
/// AMSGrad follows the authors' code: the maximum is of the corrected denominators, eps included.
///
/// **Zero variance** (`D = S = 0`, an unused embedding row, or the same gradient again and again): the
/// quotient is `0 / delta`, so beta is `beta_min`, as in the authors' image and BERT code. With
/// `delta = 0` beta is `beta_max` there and the rule is free of the gradient's scale; with the default
/// delta every beta drifts to `beta_min` when gradients fall below 1e-8.
///
/// **`beta_max = 1`** is allowed as in the paper: the first step then uses beta = 0.999 (see `beta_first`),
/// without which no weight would ever be gathered. While no beta is clipped at `beta_min`, its value does not
/// matter: weights are only relative.
///
/// **Numerics**: `1 - beta` is computed instead of beta, without cancellation; clipped values are host
/// constants. S underflows for gradients below 1e-19.
///
/// **Cost**: 44 bytes read and written a parameter, 52 with AMSGrad.
///
/// ```
/// use wgpu_optim::rules::MAdam;
/// let madam = MAdam { lr: 8e-3, weight_decay: 0.05, ..MAdam::default() };
/// assert_eq!((madam.beta_min, madam.beta_max), (0.5, 0.999));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MAdam {
    /// Learning rate, at least 0. Default 1e-3.
    pub lr: f64,
    /// Share of m that is kept, in [0, 1); the paper's alpha. Default 0.9.
    pub beta1: f64,
    /// Smallest beta of the second moment, in [0, 1). Default 0.5.
    pub beta_min: f64,
    /// Largest beta of the second moment, in [beta_min, 1]. Default 0.999.
    pub beta_max: f64,
    /// Beta of the first step, in [0, 1). Default `beta_max`, or 0.999 where that is 1.
    pub beta_first: Option<f64>,
    /// Added to the denominator, at least 0. Default 1e-8.
    pub eps: f64,
    /// Added to the denominator of beta, at least 0. Default 1e-16.
    pub delta: f64,
    /// Maximum over time of the denominators. Default off.
    pub amsgrad: bool,
    /// Nesterov's look-ahead of m. Default off.
    pub nesterov: bool,
    /// Weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// How the decay acts. Default decoupled.
    pub weight_decay_mode: WeightDecay,
}

impl Default for MAdam {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            beta1: 0.9,
            beta_min: 0.5,
            beta_max: 0.999,
            beta_first: None,
            eps: 1e-8,
            delta: 1e-16,
            amsgrad: false,
            nesterov: false,
            weight_decay: 0.0,
            weight_decay_mode: WeightDecay::Decoupled,
        }
    }
}

crate::equation! {
    hyper {
        beta1: real, one_minus_beta1: real, one_minus_beta_min: counted, one_minus_beta_max: counted,
        delta: real, eps: real, lr: real, inv_bc1: counted, l2: real, lr_wd: real,
        first: first, amsgrad: flag, nesterov: flag,
    }
    state { m, u, S, w, denom_max }
}

impl Rule for MAdam {
    const NAME: &'static str = "madam";
    const WGSL: &'static str = include_str!("../../shaders/rules/madam.wgsl");
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
        Mutant { name: "nesterov dropped", find: "h.nesterov != 0u", replace: "false" },
        Mutant { name: "amsgrad dropped", find: "denom = max((*s).denom_max, denom);", replace: "" },
        Mutant { name: "maximum not stored", find: "(*s).denom_max = denom;", replace: "" },
        Mutant {
            name: "betas swapped",
            find: "(*s).m = h.beta1 * (*s).m + h.one_minus_beta1 * g;",
            replace: "(*s).m = h.one_minus_beta1 * (*s).m + h.beta1 * g;",
        },
        Mutant {
            name: "step x 1.02",
            find: "h.lr * h.inv_bc1 * (mm",
            replace: "1.02 * h.lr * h.inv_bc1 * (mm",
        },
        Mutant { name: "sign lost", find: "(mm / denom)", replace: "(abs(mm) / denom)" },
        Mutant { name: "no step", find: "return h.lr * h.inv_bc1 * (mm / denom)", replace: "return 0.0" },
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

    fn hyper(&self, t: u64, _: &mut HostState) -> Hyper<f64> {
        let decay = self.weight_decay_mode.scalars(self.weight_decay, self.lr);
        let beta_first = self.beta_first.unwrap_or(if self.beta_max < 1.0 { self.beta_max } else { 0.999 });
        // In the first step nothing was observed yet: beta is the given one.
        let (beta_min, beta_max) =
            if t == 1 { (beta_first, beta_first) } else { (self.beta_min, self.beta_max) };
        Hyper {
            beta1: self.beta1,
            one_minus_beta1: 1.0 - self.beta1,
            one_minus_beta_min: 1.0 - beta_min,
            one_minus_beta_max: 1.0 - beta_max,
            delta: self.delta,
            eps: self.eps,
            lr: self.lr,
            inv_bc1: 1.0 / (1.0 - beta_power(self.beta1, t)),
            l2: decay.l2,
            lr_wd: decay.lr_wd,
            first: (t == 1).into(),
            amsgrad: self.amsgrad.into(),
            nesterov: self.nesterov.into(),
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
        s.m = h.beta1 * s.m + h.one_minus_beta1 * g;
        let mm = if h.nesterov != 0 { h.beta1 * s.m + h.one_minus_beta1 * g } else { s.m };
        let mut denom = (s.S + s.u * s.u).sqrt() + h.eps;
        if h.amsgrad != 0 {
            denom = s.denom_max.max(denom);
            s.denom_max = denom;
        }
        h.lr * h.inv_bc1 * (mm / denom)
    }

    fn variants() -> Vec<Self> {
        vec![
            Self { weight_decay: 0.1, ..Self::default() },
            Self {
                amsgrad: true,
                nesterov: true,
                weight_decay: 0.1,
                weight_decay_mode: WeightDecay::L2,
                ..Self::default()
            },
            Self { beta_max: 1.0, delta: 0.0, weight_decay: 0.1, ..Self::default() },
        ]
    }

    fn example() -> Self {
        Self { lr: 8e-3, weight_decay: 0.01, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{assert_close, trial_gradient, trial_run};
    use crate::rules::Adam;

    #[test]
    fn with_one_beta_it_is_adam() {
        let madam = MAdam { beta_min: 0.99, beta_max: 0.99, weight_decay: 0.1, ..MAdam::default() };
        let adam = Adam { beta2: 0.99, weight_decay: 0.1, ..Adam::adamw() };
        assert_close(&trial_run(madam, |_, _| (), 40).theta, &trial_run(adam, |_, _| (), 40).theta);
    }

    /// Against the paper's equations 6 and 8, which the rule does not compute.
    #[test]
    fn beta_is_the_papers() {
        let madam = MAdam { delta: 0.0, beta_min: 0.75, beta_max: 0.9, ..MAdam::default() };
        let (mut clipped, mut free) = ([0, 0], 0);
        for t in 2..60 {
            let before = trial_run(madam.clone(), |_, _| (), t - 1).slots;
            let after = trial_run(madam.clone(), |_, _| (), t).slots;
            for (i, g) in trial_gradient(t).into_iter().enumerate() {
                let (u, variance, w) = (before[1][i], before[2][i], before[3][i]);
                let deviation = (g - u) * (g - u);
                let best = (deviation + variance) / (w * (deviation - variance) + deviation + variance);
                assert!(best >= 1.0 / (1.0 + w) * (1.0 - 1e-12) && best <= 1.0 / (1.0 - w) * (1.0 + 1e-12));
                let beta = (1.0 - after[3][i]) / (1.0 - w);
                let expected = best.clamp(0.75, 0.9);
                assert!((beta - expected).abs() < 1e-9, "step {t}: beta {beta}, not {expected}");
                if t == 2 {
                    // Nothing was observed to vary: the best beta is 1 / (1 + w), above beta_max.
                    assert!((best - 1.0 / 1.1).abs() < 1e-12 && (beta - 0.9).abs() < 1e-12, "{best} {beta}");
                }
                match best {
                    _ if best < 0.75 => clipped[0] += 1,
                    _ if best > 0.9 => clipped[1] += 1,
                    _ => free += 1,
                }
            }
        }
        assert!(clipped[0] > 0 && clipped[1] > 0 && free > 0, "{clipped:?} {free}");
    }
}
