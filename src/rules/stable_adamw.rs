//! StableAdamW.

use crate::rule::{HostState, Mutant, Number, Real, Rule, WeightDecay, beta_power};
use serde::{Deserialize, Serialize};

/// StableAdamW: AdamW that shortens the step of a tensor whose gradients outgrow their second moment, as
/// Adafactor does, in the place of clipped gradients.
///
/// ```text
/// g     <- g + l2 theta                       l2 = weight_decay with mode "l2", else 0
/// m     <- beta1^ m + (1 - beta1^) g          beta^ = beta (1 - beta^(t-1)) / (1 - beta^t)
/// v     <- beta2^ v + (1 - beta2^) g^2
/// rms   =  sqrt(mean(g^2 / max(v, eps^2)))    over one tensor
/// rate  =  lr / max(1, rms)
/// theta <- theta - rate (m / (sqrt(v) + eps) + decay theta)
///                                             decay = weight_decay with mode "decoupled", else 0
/// ```
/// The bias corrections are part of the betas: m and v are Adam's after its corrections.
///
/// **State**: `m`, `v` f32, start at 0, 8 bytes a parameter.
///
/// **Source**: M. Wortsman, T. Dettmers, L. Zettlemoyer, A. Morcos, A. Farhadi, L. Schmidt, "Stable and
/// low-precision training for large-scale vision-language models", 2023, algorithm 2.
///
/// **Differences**: equation and defaults are those of `optimi.StableAdamW`; pytorch_optimizer has the same
/// with eps 1e-8. The decay is scaled by `rate`, so it is part of the step that
/// [`Wrappers::cautious`](crate::Wrappers::cautious) masks. With mode "l2" it is part of g and of rms.
/// timm's AdamW with `clipping_threshold=1` is another rule: there rms is of `g / (sqrt(v) + eps)`, and the
/// decay is scaled by lr.
///
/// **Numerics**: rms is `|g / max(sqrt(v), eps)|` over the root of the tensor's size, two deterministic
/// norms within 1e-6, so that no square overflows but v's own. rms is at most `1 / sqrt(1 - beta2^)`. What
/// is not finite is left out of it.
///
/// **Cost**: three dispatches; 44 bytes read and written a parameter, 40 on hardware that leaves unused loads
/// out: the measuring dispatch does not need m.
///
/// ```
/// use wgpu_optim::rules::StableAdamW;
/// let stable = StableAdamW { lr: 2e-3, weight_decay: 0.2, ..StableAdamW::default() };
/// assert_eq!((stable.beta1, stable.beta2, stable.eps), (0.9, 0.99, 1e-6));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StableAdamW {
    /// Learning rate, at least 0. Default 1e-3.
    pub lr: f64,
    /// Share of m that is kept, in [0, 1), in the limit of many steps. Default 0.9.
    pub beta1: f64,
    /// Share of v that is kept, in [0, 1), in the limit of many steps. Default 0.99.
    pub beta2: f64,
    /// Added to the root, and the smallest root in rms, at least 0. Default 1e-6. With 0, a coordinate that
    /// never had a gradient is 0/0.
    pub eps: f64,
    /// Weight decay, at least 0. Default 0.01.
    pub weight_decay: f64,
    /// How the decay acts. Default decoupled.
    pub weight_decay_mode: WeightDecay,
}

impl Default for StableAdamW {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.99,
            eps: 1e-6,
            weight_decay: 0.01,
            weight_decay_mode: WeightDecay::Decoupled,
        }
    }
}

crate::equation! {
    hyper {
        beta1_hat: counted, one_minus_beta1_hat: counted, beta2_hat: counted, one_minus_beta2_hat: counted,
        eps: real, lr: real, l2: real, lr_wd: real, ratio_norm: norm, ones_norm: norm,
    }
    state { m, v }
}

fn second_moment<R: Real>(v: R, g: R, h: &Hyper<R>) -> R {
    h.beta2_hat * v + h.one_minus_beta2_hat * (g * g)
}

fn clip<R: Real>(h: &Hyper<R>) -> R {
    let rms = h.ratio_norm / h.ones_norm;
    R::host(1.0).max(rms)
}

/// The share of an average that step `t` keeps, where the average needs no bias correction, and the rest.
fn debiased(beta: f64, t: u64) -> (f64, f64) {
    let bc = 1.0 - beta_power(beta, t);
    (beta * (1.0 - beta_power(beta, t.saturating_sub(1))) / bc, (1.0 - beta) / bc)
}

impl Rule for StableAdamW {
    const NAME: &'static str = "stable_adamw";
    const WGSL: &'static str = include_str!("../../shaders/rules/stable_adamw.wgsl");
    const MUTANTS: &'static [Mutant] = &[
        Mutant { name: "eps inside the root", find: "sqrt((*s).v) + h.eps", replace: "sqrt((*s).v + h.eps)" },
        Mutant { name: "eps dropped", find: "sqrt((*s).v) + h.eps", replace: "sqrt((*s).v)" },
        Mutant { name: "rms without eps", find: "max(sqrt(v), h.eps)", replace: "sqrt(v)" },
        Mutant { name: "eps added in rms", find: "max(sqrt(v), h.eps)", replace: "(sqrt(v) + h.eps)" },
        Mutant { name: "rms of the moment before", find: "second_moment(s.v, g, h)", replace: "s.v" },
        Mutant {
            name: "rms without decay",
            find: "let g = gradient + h.l2 * theta;\n    let v",
            replace: "let g = gradient;\n    let v",
        },
        Mutant { name: "sum for mean", find: "h.ratio_norm / h.ones_norm", replace: "h.ratio_norm" },
        Mutant { name: "mean square", find: "max(1.0, rms)", replace: "max(1.0, rms * rms)" },
        Mutant { name: "not clipped", find: "max(1.0, rms)", replace: "1.0" },
        Mutant { name: "scaled up as well", find: "max(1.0, rms)", replace: "rms" },
        Mutant {
            name: "betas swapped",
            find: "h.beta1_hat * (*s).m + h.one_minus_beta1_hat * g",
            replace: "h.beta2_hat * (*s).m + h.one_minus_beta2_hat * g",
        },
        Mutant { name: "decay not clipped", find: "h.lr_wd / clip(h) * theta", replace: "h.lr_wd * theta" },
        Mutant { name: "decoupled decay dropped", find: "h.lr_wd / clip(h) * theta", replace: "0.0" },
        Mutant {
            name: "l2 decay dropped",
            find: "let g = gradient + h.l2 * theta;\n    (*s).m",
            replace: "let g = gradient;\n    (*s).m",
        },
        Mutant { name: "sign lost", find: "((*s).m / denom", replace: "(abs((*s).m) / denom" },
        Mutant { name: "step x 1.02", find: "return h.lr /", replace: "return 1.02 * h.lr /" },
        Mutant { name: "no step", find: "return h.lr / clip(h) * ((*s).m / denom)", replace: "return 0.0" },
        Mutant {
            name: "m not stored",
            find: "return h.lr / clip(h) * ((*s).m / denom",
            replace: "let m = (*s).m; (*s).m = 0.0; return h.lr / clip(h) * (m / denom",
        },
        Mutant {
            name: "v not stored",
            find: "return h.lr / clip(h)",
            replace: "(*s).v = 0.0;\n    return h.lr / clip(h)",
        },
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
        let (beta1_hat, one_minus_beta1_hat) = debiased(self.beta1, t);
        let (beta2_hat, one_minus_beta2_hat) = debiased(self.beta2, t);
        let decay = self.weight_decay_mode.scalars(self.weight_decay, self.lr);
        Hyper {
            beta1_hat,
            one_minus_beta1_hat,
            beta2_hat,
            one_minus_beta2_hat,
            eps: self.eps,
            lr: self.lr,
            l2: decay.l2,
            lr_wd: decay.lr_wd,
            ratio_norm: 0.0,
            ones_norm: 0.0,
        }
    }

    fn terms<R: Real>(theta: R, gradient: R, s: &State<R>, h: &Hyper<R>, terms: &mut [R]) {
        let g = gradient + h.l2 * theta;
        let v = second_moment(s.v, g, h);
        terms.copy_from_slice(&[g / v.sqrt().max(h.eps), R::host(1.0)]);
    }

    const DECAYS: bool = true;

    fn decay<R: Real>(theta: R, h: &Hyper<R>) -> R {
        h.lr_wd / clip(h) * theta
    }

    fn update<R: Real>(theta: R, gradient: R, s: &mut State<R>, h: &Hyper<R>) -> R {
        let g = gradient + h.l2 * theta;
        s.m = h.beta1_hat * s.m + h.one_minus_beta1_hat * g;
        s.v = second_moment(s.v, g, h);
        let denom = s.v.sqrt() + h.eps;
        h.lr / clip(h) * (s.m / denom)
    }

    fn variants() -> Vec<Self> {
        vec![
            Self { lr: 0.01, weight_decay: 0.1, ..Self::default() },
            Self { weight_decay: 0.1, weight_decay_mode: WeightDecay::L2, ..Self::default() },
        ]
    }

    fn example() -> Self {
        Self { lr: 1e-2, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::Reference;
    use crate::rules::Adam;

    fn taken<M: Rule>(rule: M, gradients: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let theta: Vec<f64> = (0..gradients[0].len()).map(|i| 0.5 - i as f64).collect();
        let mut reference = Reference::new([rule], [(0, theta)]).unwrap();
        let step = |g: &Vec<f64>| {
            reference.step(std::slice::from_ref(g)).unwrap();
            reference.tensors()[0].theta.clone()
        };
        gradients.iter().map(step).collect()
    }

    /// Gradients that shrink never outgrow their second moment: AdamW, bias corrections and all.
    #[test]
    fn is_adamw_while_gradients_shrink() {
        let shrinking: Vec<Vec<f64>> =
            (0..40).map(|t| [3.0, -0.2, 1e-5].map(|g| g * 0.9f64.powi(t)).to_vec()).collect();
        let stable = StableAdamW { weight_decay: 0.1, ..StableAdamW::default() };
        let adamw = Adam { beta2: 0.99, eps: 1e-6, weight_decay: 0.1, ..Adam::adamw() };
        for (a, b) in taken(stable, &shrinking).concat().iter().zip(taken(adamw, &shrinking).concat()) {
            assert!((a - b).abs() < 1e-13, "{a} is not AdamW's {b}");
        }
    }

    /// A jump of the gradients is a step that is shorter by rms, of which the worst case is
    /// 1 / sqrt(1 - beta2^).
    #[test]
    fn a_jump_is_scaled_by_its_rms() {
        let mut gradients = vec![vec![1.0, -1.0, 2.0]; 20];
        gradients.push(vec![1000.0, -1000.0, 2.0]);
        let rule = StableAdamW { lr: 0.1, weight_decay: 0.0, ..StableAdamW::default() };
        let ends = taken(rule, &gradients);
        let weight = 0.01 / (1.0 - 0.99f64.powi(21));
        let v = 1.0 - weight + weight * 1e6;
        let rms = ((1e6 / v * 2.0 + 1.0) / 3.0).sqrt();
        assert!(rms > 3.0 && rms < 1.0 / weight.sqrt());
        let share = 0.1 / (1.0 - 0.9f64.powi(21));
        let m = 1.0 - share + share * 1000.0;
        for (i, want) in
            [m / (v.sqrt() + 1e-6), -m / (v.sqrt() + 1e-6), 2.0 / (2.0 + 1e-6)].iter().enumerate()
        {
            let step = ends[19][i] - ends[20][i];
            assert!((step - 0.1 / rms * want).abs() < 1e-12, "coordinate {i} moved by {step}");
        }
    }

    /// One gradient, whatever its size, moves by lr, and all history is that gradient.
    #[test]
    fn the_first_step_has_the_length_of_the_rate() {
        assert_eq!(debiased(0.9, 1), (0.0, 1.0));
        for g in [1e-3, 1.0, 1e6] {
            let rule = StableAdamW { lr: 0.1, weight_decay: 0.0, ..StableAdamW::default() };
            let end = taken(rule, &[vec![g, -g]]).concat();
            assert!((0.5 - end[0] - 0.1).abs() < 2e-4 && (-0.5 - end[1] + 0.1).abs() < 2e-4, "{g}: {end:?}");
        }
    }
}
