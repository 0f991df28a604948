//! AdaMod: Adam whose step sizes are bounded by their own average.

use crate::rule::{HostState, Mutant, Number, Real, Rule, WeightDecay, beta_power};
use serde::{Deserialize, Serialize};

/// The two forms of AdaMod, which differ by up to a factor of two in what they move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// The authors' code: `1 / bc1` is inside the bounded step size, and eps is added to the raw root.
    Code,
    /// The paper's algorithm 2: the step size is `lr / (sqrt(v / bc2) + eps)`, and m is corrected apart.
    Paper,
}

/// AdaMod: Adam's step size of each coordinate is bounded by its own average over time.
///
/// ```text
/// g     <- g + l2 theta                       l2 = weight_decay with mode "l2", else 0
/// m     <- beta1 m + (1 - beta1) g
/// v     <- beta2 v + (1 - beta2) g^2
/// eta   =  (lr sqrt(bc2) / bc1) / (sqrt(v) + eps)      bc1 = 1 - beta1^t, bc2 = 1 - beta2^t
/// s     <- beta3 s + (1 - beta3) eta
/// theta <- theta - (lr_wd theta + min(eta, s) m)  lr_wd = lr weight_decay with mode "decoupled", else 0
///
/// form "paper":  eta = lr / (sqrt(v / bc2) + eps),  theta <- theta - (lr_wd theta + min(eta, s) m / bc1)
/// ```
/// s starts at 0, so the steps begin 1 - beta3 as large and grow over about 1 / (1 - beta3) steps.
///
/// **State**: `m`, `v`, `s` f32, start at 0, 12 bytes a parameter.
///
/// **Source**: J. Ding, X. Ren, R. Luo, X. Sun, "An Adaptive and Momental Bound Method for Stochastic
/// Learning", 2019, algorithm 2.
///
/// **Differences**: the paper's algorithm and the authors' code are not the same: with beta3 = 0.999 the code
/// moves parameters about twice as far in the first 40 steps. The code's form is the default, because it is
/// the one that the authors publish and others install; `form: "paper"` is the other. Both are the same in
/// the first step, and with beta3 = 0 both are Adam.
///
/// **Numerics**: a coordinate without gradient so far has eta = rate / eps (up to 1e5), which enters s and
/// lifts the bound for about 1 / (1 - beta3) steps. s has lr in it: when lr falls the bound stops binding.
///
/// **Cost**: 36 bytes read and written a parameter.
///
/// ```
/// use wgpu_optim::rules::{AdaMod, adamod::Form};
/// let adamod = AdaMod { lr: 5e-4, beta2: 0.98, eps: 1e-9, ..AdaMod::default() };
/// assert_eq!((adamod.beta3, adamod.form), (0.999, Form::Code));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdaMod {
    /// Learning rate, at least 0. Default 1e-3.
    pub lr: f64,
    /// Share of m that is kept, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// Share of v that is kept, in [0, 1). Default 0.999.
    pub beta2: f64,
    /// Share of s that is kept, in [0, 1). Default 0.999; the paper also uses 0.9999.
    pub beta3: f64,
    /// Added to the root, above 0: s would keep an infinite step size for ever. Default 1e-8.
    pub eps: f64,
    /// The authors' code or the paper. Default code.
    pub form: Form,
    /// Weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// How the decay acts. Default decoupled.
    pub weight_decay_mode: WeightDecay,
}

impl Default for AdaMod {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            beta3: 0.999,
            eps: 1e-8,
            form: Form::Code,
            weight_decay: 0.0,
            weight_decay_mode: WeightDecay::Decoupled,
        }
    }
}

crate::equation! {
    hyper {
        beta1: real, one_minus_beta1: real, beta2: real, one_minus_beta2: real, beta3: real,
        one_minus_beta3: real, inv_c1: counted, inv_c2: counted, eps: real, lr: real, correction: counted, l2: real, lr_wd: real,
    }
    state { m, v, s }
}

impl Rule for AdaMod {
    const NAME: &'static str = "adamod";
    const WGSL: &'static str = include_str!("../../shaders/rules/adamod.wgsl");
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
        Mutant { name: "no correction of m", find: "h.inv_c1 * (*s).m", replace: "(*s).m" },
        Mutant { name: "bound dropped", find: "min(eta, (*s).s)", replace: "eta" },
        Mutant { name: "bound in the place of the step size", find: "min(eta, (*s).s)", replace: "(*s).s" },
        Mutant { name: "bound from below", find: "min(eta, (*s).s)", replace: "max(eta, (*s).s)" },
        Mutant {
            name: "bound at the last step's average",
            find: "(*s).s = h.beta3 * (*s).s + h.one_minus_beta3 * eta;\n    return min(eta, (*s).s)",
            replace: "let last = (*s).s; (*s).s = h.beta3 * (*s).s + h.one_minus_beta3 * eta;\n    return min(eta, last)",
        },
        Mutant {
            name: "weights of s swapped",
            find: "h.beta3 * (*s).s + h.one_minus_beta3 * eta",
            replace: "h.one_minus_beta3 * (*s).s + h.beta3 * eta",
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
            find: "(*s).v = h.beta2 * (*s).v + h.one_minus_beta2 * (g * g);\n    let eta = h.lr * h.correction / (sqrt((*s).v *",
            replace: "let v = h.beta2 * (*s).v + h.one_minus_beta2 * (g * g);\n    let eta = h.lr * h.correction / (sqrt(v *",
        },
        Mutant {
            name: "s not stored",
            find: "(*s).s = h.beta3 * (*s).s + h.one_minus_beta3 * eta;\n    return min(eta, (*s).s)",
            replace: "let bound = h.beta3 * (*s).s + h.one_minus_beta3 * eta;\n    return min(eta, bound)",
        },
        Mutant {
            name: "step x 1.02",
            find: "return min(eta, (*s).s)",
            replace: "return 1.02 * min(eta, (*s).s)",
        },
        Mutant { name: "sign lost", find: "(h.inv_c1 * (*s).m)", replace: "abs(h.inv_c1 * (*s).m)" },
        Mutant { name: "no step", find: "min(eta, (*s).s) * (h.inv_c1 * (*s).m)", replace: "theta" },
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
        beta3: HalfOpen(0.0, 1.0),
        eps: Above(0.0),
        weight_decay: AtLeast(0.0),
    };

    fn hyper(&self, t: u64, _: &mut HostState) -> Hyper<f64> {
        let decay = self.weight_decay_mode.scalars(self.weight_decay, self.lr);
        let (bc1, bc2) = (1.0 - beta_power(self.beta1, t), 1.0 - beta_power(self.beta2, t));
        let (correction, c1, c2) = match self.form {
            Form::Code => (bc2.sqrt() / bc1, 1.0, 1.0),
            Form::Paper => (1.0, bc1, bc2),
        };
        Hyper {
            beta1: self.beta1,
            one_minus_beta1: 1.0 - self.beta1,
            beta2: self.beta2,
            one_minus_beta2: 1.0 - self.beta2,
            beta3: self.beta3,
            one_minus_beta3: 1.0 - self.beta3,
            inv_c1: 1.0 / c1,
            inv_c2: 1.0 / c2,
            eps: self.eps,
            lr: self.lr,
            correction,
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
        let eta = h.lr * h.correction / ((s.v * h.inv_c2).sqrt() + h.eps);
        s.s = h.beta3 * s.s + h.one_minus_beta3 * eta;
        eta.min(s.s) * (h.inv_c1 * s.m)
    }

    fn variants() -> Vec<Self> {
        let decoupled = Self { weight_decay: 0.1, ..Self::default() };
        let l2 = Self { weight_decay_mode: WeightDecay::L2, ..decoupled.clone() };
        vec![decoupled, Self { form: Form::Paper, beta3: 0.5, ..l2 }]
    }

    fn example() -> Self {
        Self { lr: 1e-2, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{assert_close, trial_run};
    use crate::rules::Adam;

    #[test]
    fn with_beta3_of_zero_it_is_adam() {
        // The forms differ in what eps is added to; where it is negligible they are the same.
        for (form, eps) in [(Form::Paper, 1e-3), (Form::Paper, 1e-30), (Form::Code, 1e-30)] {
            let adamod = AdaMod { beta3: 0.0, form, eps, weight_decay: 0.1, ..AdaMod::default() };
            let adam = Adam { eps, weight_decay: 0.1, ..Adam::adamw() };
            assert_close(&trial_run(adamod, |_, _| (), 40).theta, &trial_run(adam, |_, _| (), 40).theta);
        }
    }

    #[test]
    fn the_first_step_is_adams_times_one_minus_beta3() {
        let moved = |theta: Vec<f64>| theta[1] + 1.0; // from -1
        let adamod = moved(trial_run(AdaMod { eps: 1e-30, ..AdaMod::default() }, |_, _| (), 1).theta);
        let adam = moved(trial_run(Adam { eps: 1e-30, ..Adam::default() }, |_, _| (), 1).theta);
        assert!((adamod / adam - 1e-3).abs() < 1e-9, "{adamod} {adam}");
    }
}
