//! RAdam: Adam with a rectified variance of its step size.

use crate::rule::{HostState, Mutant, Number, Real, Rule, WeightDecay, beta_power};
use serde::{Deserialize, Serialize};

/// What RAdam does in the first steps, where the variance of Adam's step size is not finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fallback {
    /// A step along m, without the denominator: the paper, PyTorch.
    Sgd,
    /// No step and no decoupled decay; only m and v are updated: the authors' code by default.
    Skip,
}

/// Where eps is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EpsForm {
    /// To `sqrt(v)`: PyTorch, the authors' code.
    Raw,
    /// To `sqrt(v / bc2)`: optax.
    Hat,
}

/// RAdam: Adam whose step size is rectified for its variance, which is not finite in the first steps; a
/// warm-up that needs no schedule.
///
/// ```text
/// g       <- g + l2 theta                     l2 = weight_decay with mode "l2", else 0
/// m       <- beta1 m + (1 - beta1) g
/// v       <- beta2 v + (1 - beta2) g^2
/// rho_inf =  2 / (1 - beta2) - 1,  rho = rho_inf - 2 t beta2^t / bc2
/// if rho > threshold:                         bc1 = 1 - beta1^t, bc2 = 1 - beta2^t
///     r     =  sqrt((rho - 4) (rho - 2) rho_inf / ((rho_inf - 4) (rho_inf - 2) rho))
///     theta <- theta - (lr_wd theta + (lr r sqrt(bc2) / bc1) m / (sqrt(v) + eps))
/// else:
///     theta <- theta - (lr_wd theta + (lr / bc1) m)  fallback "sgd"; theta unchanged with "skip"
///
/// eps_form "hat":  theta <- theta - (lr_wd theta + (lr r / bc1) m / (sqrt(v / bc2) + eps))
/// lr_wd = lr weight_decay with mode "decoupled", else 0
/// ```
/// For every beta2 from 0.9 to 0.9999 the first rectified step is the fifth with threshold 4 and the sixth
/// with 5. For beta2 of 0.6 and below no step ever is.
///
/// **State**: `m`, `v` f32, start at 0, 8 bytes a parameter.
///
/// **Source**: L. Liu, H. Jiang, P. He, W. Chen, X. Liu, J. Gao, J. Han, "On the Variance of the Adaptive
/// Learning Rate and Beyond", 2020, algorithm 2.
///
/// **Differences**: the defaults are those of `torch.optim.RAdam` (threshold 5, fallback "sgd", eps added
/// to the raw root), except for the decay, which is decoupled as in the authors' code. The paper is
/// threshold 4 and eps 0; the authors' code is fallback "skip"; `optax.radam` is eps_form "hat".
///
/// **Numerics**: rho is a difference of large numbers and is computed on the host in f64, without the
/// cancellation in `1 - beta2^t`; in f32 it is wrong in its first digit for beta2 = 0.9999.
///
/// **Cost**: 28 bytes read and written a parameter.
///
/// ```
/// use wgpu_optim::rules::{RAdam, radam::Fallback};
/// let authors = RAdam { fallback: Fallback::Skip, ..RAdam::default() };
/// let paper = RAdam { threshold: 4.0, eps: 0.0, ..RAdam::default() };
/// assert_eq!((authors.threshold, paper.fallback), (5.0, Fallback::Sgd));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RAdam {
    /// Learning rate, at least 0. Default 1e-3.
    pub lr: f64,
    /// Share of m that is kept, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// Share of v that is kept, in [0, 1). Default 0.999.
    pub beta2: f64,
    /// Added to the root, at least 0. Default 1e-8. With 0, a coordinate that never had a gradient is 0/0.
    pub eps: f64,
    /// A step is rectified when rho is larger, at least 4. Default 5; 4 in the paper.
    pub threshold: f64,
    /// What the steps before that do. Default sgd.
    pub fallback: Fallback,
    /// Where eps is added. Default raw.
    pub eps_form: EpsForm,
    /// Weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// How the decay acts. Default decoupled.
    pub weight_decay_mode: WeightDecay,
}

impl Default for RAdam {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            threshold: 5.0,
            fallback: Fallback::Sgd,
            eps_form: EpsForm::Raw,
            weight_decay: 0.0,
            weight_decay_mode: WeightDecay::Decoupled,
        }
    }
}

/// The factor r of step `t`, where rho is above `threshold`, which is at least 4.
pub(crate) fn rectification(beta2: f64, t: u64, threshold: f64) -> Option<f64> {
    let rho_inf = 2.0 / (1.0 - beta2) - 1.0;
    // 1 - beta2^t by expm1: rho is a small difference of two numbers as large as rho_inf.
    let bc2 = -f64::exp_m1(t as f64 * f64::ln_1p(beta2 - 1.0));
    let rho = rho_inf - 2.0 * t as f64 * (1.0 - bc2) / bc2;
    let variance = |rho: f64| (rho - 4.0) * (rho - 2.0) / rho;
    (rho > threshold).then(|| (variance(rho) / variance(rho_inf)).sqrt())
}

crate::equation! {
    hyper {
        beta1: real, one_minus_beta1: real, beta2: real, one_minus_beta2: real, inv_c2: counted, eps: real,
        lr: real, correction: counted, l2: real, lr_wd: real, phase: counted_flag,
    }
    state { m, v }
}

impl Rule for RAdam {
    const NAME: &'static str = "radam";
    const WGSL: &'static str = include_str!("../../shaders/rules/radam.wgsl");
    const MUTANTS: &'static [Mutant] = &[
        Mutant {
            name: "eps inside the root",
            find: "sqrt((*s).v * h.inv_c2) + h.eps",
            replace: "sqrt((*s).v * h.inv_c2 + h.eps)",
        },
        Mutant {
            name: "eps dropped",
            find: "sqrt((*s).v * h.inv_c2) + h.eps",
            replace: "sqrt((*s).v * h.inv_c2)",
        },
        Mutant { name: "no correction of v", find: "(*s).v * h.inv_c2", replace: "(*s).v" },
        Mutant { name: "always without the denominator", find: "h.phase == 2u", replace: "false" },
        Mutant { name: "always with the denominator", find: "h.phase == 2u", replace: "true" },
        Mutant { name: "decay while skipping", find: ", 0.0, h.phase == 0u)", replace: ", 0.0, false)" },
        Mutant {
            name: "no moments while skipping",
            find: "let g = gradient + h.l2 * theta;",
            replace: "if (h.phase == 0u && h.eps >= 0.0) { return theta; }\n    let g = gradient + h.l2 * theta;",
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
            find: "(*s).v = h.beta2 * (*s).v + h.one_minus_beta2 * (g * g);",
            replace: "",
        },
        Mutant {
            name: "step x 1.02",
            find: "return h.lr * h.correction",
            replace: "return 1.02 * h.lr * h.correction",
        },
        Mutant {
            name: "sign lost",
            find: "h.lr * h.correction * direction",
            replace: "h.lr * h.correction * abs(direction)",
        },
        Mutant { name: "no step", find: "return h.lr * h.correction * direction", replace: "return 0.0" },
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
        threshold: AtLeast(4.0),
        weight_decay: AtLeast(0.0),
    };

    fn hyper(&self, t: u64, _: &mut HostState) -> Hyper<f64> {
        let decay = self.weight_decay_mode.scalars(self.weight_decay, self.lr);
        let (bc1, bc2) = (1.0 - beta_power(self.beta1, t), 1.0 - beta_power(self.beta2, t));
        let (phase, correction, c2) =
            match (rectification(self.beta2, t, self.threshold), self.eps_form, self.fallback) {
                (Some(r), EpsForm::Raw, _) => (2, r * bc2.sqrt() / bc1, 1.0),
                (Some(r), EpsForm::Hat, _) => (2, r / bc1, bc2),
                (None, _, Fallback::Sgd) => (1, 1.0 / bc1, 1.0),
                (None, _, Fallback::Skip) => (0, 0.0, 1.0),
            };
        Hyper {
            beta1: self.beta1,
            one_minus_beta1: 1.0 - self.beta1,
            beta2: self.beta2,
            one_minus_beta2: 1.0 - self.beta2,
            inv_c2: 1.0 / c2,
            eps: self.eps,
            lr: self.lr,
            correction,
            l2: decay.l2,
            lr_wd: decay.lr_wd,
            phase,
        }
    }

    const DECAYS: bool = true;

    fn decay<R: Real>(theta: R, h: &Hyper<R>) -> R {
        if h.phase == 0 { R::host(0.0) } else { h.lr_wd * theta }
    }

    fn update<R: Real>(theta: R, gradient: R, s: &mut State<R>, h: &Hyper<R>) -> R {
        let g = gradient + h.l2 * theta;
        s.m = h.beta1 * s.m + h.one_minus_beta1 * g;
        s.v = h.beta2 * s.v + h.one_minus_beta2 * (g * g);
        let mut direction = s.m;
        if h.phase == 2 {
            direction = s.m / ((s.v * h.inv_c2).sqrt() + h.eps);
        }
        h.lr * h.correction * direction
    }

    fn variants() -> Vec<Self> {
        let decoupled = Self { weight_decay: 0.1, ..Self::default() };
        let l2 = Self { weight_decay_mode: WeightDecay::L2, ..decoupled.clone() };
        vec![
            decoupled.clone(),
            Self { threshold: 4.0, eps_form: EpsForm::Hat, ..l2 },
            Self { fallback: Fallback::Skip, ..decoupled },
        ]
    }

    fn example() -> Self {
        Self { lr: 1e-2, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::trial_run;

    fn first_rectified(beta2: f64, threshold: f64) -> Option<u64> {
        (1..10_000).find(|t| rectification(beta2, *t, threshold).is_some())
    }

    #[test]
    fn the_first_rectified_step_is_the_fifth_or_the_sixth() {
        for beta2 in [0.9, 0.95, 0.98, 0.99, 0.997, 0.999, 0.9999] {
            assert_eq!(first_rectified(beta2, 4.0), Some(5), "beta2 {beta2}");
            assert_eq!(first_rectified(beta2, 5.0), Some(6), "beta2 {beta2}");
        }
        for beta2 in [0.0, 0.3, 0.5, 0.6] {
            assert_eq!(first_rectified(beta2, 4.0), None, "beta2 {beta2}");
        }
    }

    #[test]
    fn rectification_grows_to_one() {
        let r: Vec<f64> = (6..20_000).filter_map(|t| rectification(0.999, t, 5.0)).collect();
        assert!(r.len() == 20_000 - 6 && r.windows(2).all(|pair| pair[0] < pair[1] || pair[0] > 0.999_999));
        assert!(r[0] < 0.03 && (r[r.len() - 1] - 1.0).abs() < 1e-4, "{} {}", r[0], r[r.len() - 1]);
    }

    #[test]
    fn a_skipped_step_moves_nothing() {
        let start = trial_run(RAdam::default(), |_, _| (), 0);
        let skip = RAdam { fallback: Fallback::Skip, weight_decay: 0.5, ..RAdam::default() };
        let after = trial_run(skip.clone(), |_, _| (), 5);
        assert_eq!(after.theta, start.theta);
        assert!(after.slots[0].iter().chain(&after.slots[1]).all(|x| *x != 0.0), "moments are gathered");
        assert!(trial_run(skip, |_, _| (), 6).theta != start.theta);
    }
}
