//! signSGD and Signum.

use crate::rule::{HostState, Mutant, Number, Real, Rule, WeightDecay};
use serde::{Deserialize, Serialize};

/// signSGD: every coordinate moves by lr, against the sign of its gradient; with momentum,
/// [`SignSgd::signum`], against the sign of their average.
///
/// ```text
/// g     <- g + l2 theta                       l2 = weight_decay with mode "l2", else 0
/// m     <- momentum m + (1 - momentum) g      without momentum m is g
/// theta <- theta - (lr_wd theta + lr sign(m))  sign(0) = 0
///                                             lr_wd = lr weight_decay with mode "decoupled", else 0
/// ```
///
/// **State**: none; with momentum `m` f32, starts at 0, 4 bytes a parameter.
///
/// **Source**: J. Bernstein, Y.-X. Wang, K. Azizzadenesheli, A. Anandkumar, "signSGD: Compressed Optimisation
/// for Non-Convex Problems", 2018, algorithms 1 (signSGD) and 2 (Signum).
///
/// **Differences**: none from the paper, `optax.sign_sgd` and `optax.signum`. Weight decay is decoupled by
/// default: with "l2" it decides signs.
///
/// **Numerics**: without momentum and decay, nothing but the gradients' signs matters. With momentum,
/// adapters may disagree on the sign of an average that is 0 to rounding, by 2 lr.
///
/// **Cost**: 12 bytes read and written a parameter, 20 with momentum.
///
/// ```
/// use wgpu_optim::rules::SignSgd;
/// let signum = SignSgd { lr: 1e-4, ..SignSgd::signum() };
/// assert_eq!((signum.momentum, SignSgd::default().momentum), (0.9, 0.0));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SignSgd {
    /// Learning rate, at least 0. Default 1e-3.
    pub lr: f64,
    /// Share of m that is kept, in [0, 1). Default 0; 0.9 in [`SignSgd::signum`].
    pub momentum: f64,
    /// Weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// How the decay acts. Default decoupled.
    pub weight_decay_mode: WeightDecay,
}

impl Default for SignSgd {
    fn default() -> Self {
        Self { lr: 1e-3, momentum: 0.0, weight_decay: 0.0, weight_decay_mode: WeightDecay::Decoupled }
    }
}

impl SignSgd {
    /// Signum: signSGD with a momentum of 0.9.
    pub fn signum() -> Self {
        Self { momentum: 0.9, ..Self::default() }
    }
}

crate::equation! {
    hyper { momentum: real, one_minus_momentum: real, lr: real, l2: real, lr_wd: real }
    state { m }
}

impl Rule for SignSgd {
    const NAME: &'static str = "signsgd";
    const WGSL: &'static str = include_str!("../../shaders/rules/signsgd.wgsl");
    const MUTANTS: &'static [Mutant] = &[
        Mutant { name: "no sign", find: "h.lr * sign((*s).m)", replace: "h.lr * (*s).m" },
        Mutant { name: "sign lost", find: "h.lr * sign((*s).m)", replace: "h.lr * abs(sign((*s).m))" },
        Mutant {
            name: "the sign of zero is one",
            find: "sign((*s).m)",
            replace: "select(-1.0, 1.0, (*s).m >= 0.0)",
        },
        Mutant { name: "step x 1.02", find: "h.lr * sign", replace: "1.02 * h.lr * sign" },
        Mutant { name: "momentum dropped", find: "h.momentum * (*s).m + ", replace: "" },
        Mutant { name: "gradient not weighted", find: "h.one_minus_momentum * g", replace: "g" },
        Mutant { name: "no step", find: "return h.lr * sign((*s).m)", replace: "return 0.0" },
        Mutant { name: "decoupled decay dropped", find: "h.lr_wd * theta", replace: "0.0" },
        Mutant { name: "l2 decay dropped", find: "gradient + h.l2 * theta", replace: "gradient" },
        Mutant {
            name: "m not stored",
            find: "return h.lr * sign((*s).m);",
            replace: "let m = (*s).m; (*s).m = 0.0; return h.lr * sign(m);",
        },
    ];
    type Hyper<R: Real> = Hyper<R>;
    type State<T: Copy> = State<T>;

    const NUMBERS: &'static [Number<Self>] = &crate::numbers! {
        Self;
        lr: AtLeast(0.0),
        momentum: HalfOpen(0.0, 1.0),
        weight_decay: AtLeast(0.0),
    };

    fn depths(&self) -> State<u32> {
        State { m: (self.momentum > 0.0).into() }
    }

    fn hyper(&self, _: u64, _: &mut HostState) -> Hyper<f64> {
        let decay = self.weight_decay_mode.scalars(self.weight_decay, self.lr);
        Hyper {
            momentum: self.momentum,
            one_minus_momentum: 1.0 - self.momentum,
            lr: self.lr,
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
        s.m = h.momentum * s.m + h.one_minus_momentum * g;
        h.lr * s.m.sign()
    }

    fn variants() -> Vec<Self> {
        vec![
            Self { weight_decay: 0.1, ..Self::default() },
            Self { weight_decay: 0.1, ..Self::signum() },
            Self { weight_decay: 0.1, weight_decay_mode: WeightDecay::L2, ..Self::signum() },
        ]
    }

    fn example() -> Self {
        // Without momentum every step has full size, whatever the noise: 96.7 % on the digits of the demo, where
        // Signum reaches 97.8 %.
        Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::step_in_f32;

    /// Gradients a thousand times larger give the same bits.
    #[test]
    fn scale_free() {
        let run = |rule: &SignSgd, scale: f32| {
            let (mut theta, mut m) = (vec![0.3f32; 200], vec![0f32; 200]);
            let mut host = HostState::default();
            for t in 1..=20 {
                let g: Vec<f32> =
                    (0..200).map(|i| scale * ((i * i + 7 * t as i32) % 23 - 11) as f32).collect();
                step_in_f32(rule, t, &mut host, &mut theta, &g, &mut [&mut m]);
            }
            theta.iter().map(|theta| theta.to_bits()).collect::<Vec<_>>()
        };
        let decayed = SignSgd { weight_decay: 0.1, ..SignSgd::default() };
        assert_eq!(run(&decayed, 1.0), run(&decayed, 1e3));
        // Averages round alike where the scale is a power of two.
        assert_eq!(run(&SignSgd::signum(), 1.0), run(&SignSgd::signum(), 1024.0));
        let coupled = SignSgd { weight_decay_mode: WeightDecay::L2, weight_decay: 10.0, ..decayed };
        assert_ne!(run(&coupled, 1.0), run(&coupled, 1e3), "L2 decay has a scale");
    }
}
