//! ACClip: momentum with adaptive clipping of each coordinate.

use crate::rule::{HostState, Mutant, Number, Real, Rule, WeightDecay};
use serde::{Deserialize, Serialize};

/// ACClip: momentum, clipped coordinate by coordinate at an average of the gradients' magnitude; for
/// gradients with heavy tails.
///
/// ```text
/// g     <- g + l2 theta                       l2 = weight_decay with mode "l2", else 0
/// m     <- beta1 m + (1 - beta1) g
/// c     <- beta2 c + (1 - beta2) |g|^alpha
/// tau   =  c^(1 / alpha)
/// theta <- theta - (lr_wd theta + lr min(tau / (|m| + eps), 1) m)
///                                             lr_wd = lr weight_decay with mode "decoupled", else 0
/// ```
/// m and c start at 0 without a correction, so the first steps are small: with alpha = 1 the first moves
/// by `lr (1 - beta2) |g|`, and it takes about 1 / (1 - beta2) steps until the threshold is there.
///
/// **State**: `m`, `c` f32, start at 0, 8 bytes a parameter.
///
/// **Source**: J. Zhang, S. Karimireddy, A. Veit, S. Kim, S. Reddi, S. Kumar, S. Sra, "Why are Adaptive
/// Methods Good for Attention Models?", 2020, algorithm 1.
///
/// **Differences**: none from the paper, which does not say how its weight decay of 1e-5 acts; it is 0 here
/// and L2, as in the code that is in circulation (which by default has alpha 2 and divides by a second
/// moment as well, as in the paper's first version). Where |m| + eps is 0 the ratio is 1 instead of 0 / 0,
/// so eps may be 0.
///
/// **Numerics**: eps is a dead zone: below it the step falls with the square of the gradient, and the default
/// of 1e-5 is far above many networks' gradients. alpha = 1 needs no power and alpha = 2 a square and a
/// root; for others |g|^alpha and c below 1e-37 count as 0.
///
/// **Cost**: 28 bytes read and written a parameter.
///
/// ```
/// use wgpu_optim::rules::ACClip;
/// let scale_free = ACClip { eps: 0.0, ..ACClip::default() };
/// assert_eq!((scale_free.alpha, scale_free.beta2), (1.0, 0.99));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ACClip {
    /// Learning rate, at least 0; of the size of SGD's. Default 1e-4.
    pub lr: f64,
    /// Share of m that is kept, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// Share of c that is kept, in [0, 1). Default 0.99.
    pub beta2: f64,
    /// Added to |m|, at least 0. Default 1e-5.
    pub eps: f64,
    /// Which moment of the gradient the threshold is, in [1, 2]. Default 1.
    pub alpha: f64,
    /// Weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// How the decay acts. Default L2.
    pub weight_decay_mode: WeightDecay,
}

impl Default for ACClip {
    fn default() -> Self {
        Self {
            lr: 1e-4,
            beta1: 0.9,
            beta2: 0.99,
            eps: 1e-5,
            alpha: 1.0,
            weight_decay: 0.0,
            weight_decay_mode: WeightDecay::L2,
        }
    }
}

crate::equation! {
    hyper {
        beta1: real, one_minus_beta1: real, beta2: real, one_minus_beta2: real, alpha: real,
        inv_alpha: real, eps: real, lr: real, l2: real, lr_wd: real, power: flag,
    }
    state { m, c }
}

/// As in the shader: what is smaller counts as zero.
const TINY: f32 = 1e-37;

fn raised<R: Real>(x: R, exponent: R) -> R {
    let tiny = R::word(TINY);
    x.if_less(tiny, R::host(0.0), x.max(tiny).pow(exponent))
}

impl Rule for ACClip {
    const NAME: &'static str = "acclip";
    const WGSL: &'static str = include_str!("../../shaders/rules/acclip.wgsl");
    const MUTANTS: &'static [Mutant] = &[
        Mutant { name: "eps dropped", find: "abs((*s).m) + h.eps", replace: "abs((*s).m)" },
        Mutant { name: "not clipped", find: "min(ratio, 1.0)", replace: "1.0" },
        Mutant { name: "always at the threshold", find: "min(ratio, 1.0)", replace: "ratio" },
        Mutant {
            name: "gradient in the place of m",
            find: "(min(ratio, 1.0) * (*s).m)",
            replace: "(min(ratio, 1.0) * g)",
        },
        Mutant {
            name: "threshold from the momentum",
            find: "var moment = abs(g);",
            replace: "var moment = abs((*s).m);",
        },
        Mutant { name: "square not taken", find: "moment = g * g;", replace: "moment = abs(g);" },
        Mutant { name: "root not taken", find: "tau = sqrt((*s).c);", replace: "tau = (*s).c;" },
        Mutant { name: "power not taken", find: "raised(abs(g), h.alpha)", replace: "abs(g)" },
        Mutant { name: "power not taken back", find: "raised((*s).c, h.inv_alpha)", replace: "(*s).c" },
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
            name: "c not stored",
            find: "(*s).c = h.beta2 * (*s).c + h.one_minus_beta2 * moment;",
            replace: "",
        },
        Mutant { name: "step x 1.02", find: "h.lr * (min", replace: "1.02 * h.lr * (min" },
        Mutant {
            name: "sign lost",
            find: "(min(ratio, 1.0) * (*s).m)",
            replace: "(min(ratio, 1.0) * abs((*s).m))",
        },
        Mutant { name: "no step", find: "h.lr * (min(ratio, 1.0) * (*s).m)", replace: "theta" },
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
        alpha: Closed(1.0, 2.0),
        weight_decay: AtLeast(0.0),
    };

    fn hyper(&self, _: u64, _: &mut HostState) -> Hyper<f64> {
        let decay = self.weight_decay_mode.scalars(self.weight_decay, self.lr);
        Hyper {
            beta1: self.beta1,
            one_minus_beta1: 1.0 - self.beta1,
            beta2: self.beta2,
            one_minus_beta2: 1.0 - self.beta2,
            alpha: self.alpha,
            inv_alpha: 1.0 / self.alpha,
            eps: self.eps,
            lr: self.lr,
            l2: decay.l2,
            lr_wd: decay.lr_wd,
            power: match self.alpha {
                1.0 => 1,
                2.0 => 2,
                _ => 0,
            },
        }
    }

    const DECAYS: bool = true;

    fn decay<R: Real>(theta: R, h: &Hyper<R>) -> R {
        h.lr_wd * theta
    }

    fn update<R: Real>(theta: R, gradient: R, s: &mut State<R>, h: &Hyper<R>) -> R {
        let one = R::host(1.0);
        let g = gradient + h.l2 * theta;
        s.m = h.beta1 * s.m + h.one_minus_beta1 * g;
        let mut moment = g.abs();
        if h.power == 2 {
            moment = g * g;
        } else if h.power == 0 {
            moment = raised(g.abs(), h.alpha);
        }
        s.c = h.beta2 * s.c + h.one_minus_beta2 * moment;
        let mut tau = s.c;
        if h.power == 2 {
            tau = s.c.sqrt();
        } else if h.power == 0 {
            tau = raised(s.c, h.inv_alpha);
        }
        let size = s.m.abs() + h.eps;
        let ratio = size.if_zero(one, tau / size);
        h.lr * (ratio.min(one) * s.m)
    }

    fn variants() -> Vec<Self> {
        let l2 = Self { lr: 0.01, weight_decay: 0.1, ..Self::default() };
        let decoupled = Self { weight_decay_mode: WeightDecay::Decoupled, ..l2.clone() };
        vec![l2.clone(), Self { alpha: 1.5, ..decoupled }, Self { alpha: 2.0, eps: 0.0, ..l2 }]
    }

    fn example() -> Self {
        Self { lr: 0.5, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{assert_close, trial_gradient, trial_run};

    /// `m = (1 - beta1) g` and `tau = (1 - beta2)^(1 / alpha) |g|`: their ratio depends on g by eps only.
    #[test]
    fn the_first_step_is_a_small_share_of_the_gradient() {
        let start = trial_run(ACClip::default(), |_, _| (), 0).theta;
        for (alpha, tau) in [(1.0, 0.01), (1.5, 0.01f64.powf(1.0 / 1.5)), (2.0, 0.1)] {
            for eps in [0.0, 1e-3] {
                let acclip = ACClip { lr: 1.0, eps, alpha, ..ACClip::default() };
                let after = trial_run(acclip, |_, _| (), 1).theta;
                let moved = start.iter().zip(&after).map(|(before, after)| before - after);
                let expected = trial_gradient(1).map(|g| {
                    let m = 0.1 * g;
                    m * (tau * g.abs() / (m.abs() + eps)).min(1.0)
                });
                assert_close(&moved.collect::<Vec<_>>(), &expected);
            }
        }
    }

    #[test]
    fn without_eps_it_is_clipped_momentum() {
        let acclip = ACClip { lr: 1.0, eps: 0.0, ..ACClip::default() };
        for steps in 1..30 {
            let before = trial_run(acclip.clone(), |_, _| (), steps - 1).theta;
            let after = trial_run(acclip.clone(), |_, _| (), steps);
            let (m, tau) = (&after.slots[0], &after.slots[1]);
            let moved: Vec<f64> =
                before.iter().zip(&after.theta).map(|(before, after)| before - after).collect();
            let expected: Vec<f64> = m.iter().zip(tau).map(|(m, tau)| m.clamp(-tau, *tau)).collect();
            assert_close(&moved, &expected);
        }
    }
}
