//! AdaGrad.

use crate::rule::{HostState, Mutant, Number, Real, Rule, WeightDecay};
use serde::{Deserialize, Serialize};

/// AdaGrad: each coordinate's rate falls with the sum of its squared gradients, so that rare features keep
/// a large one.
///
/// ```text
/// g     <- g + l2 theta                       l2 = weight_decay with mode "l2", else 0
/// v     <- v + g^2                            from initial_accumulator
/// rate  =  lr / (1 + (t - 1) lr_decay)
/// theta <- theta - (lr_wd theta + rate g / (sqrt(v) + eps))
///                                             lr_wd = rate weight_decay with mode "decoupled", else 0
/// ```
///
/// **State**: `v` f32, starts at `initial_accumulator`, 4 bytes a parameter.
///
/// **Source**: J. Duchi, E. Hazan, Y. Singer, "Adaptive Subgradient Methods for Online Learning and
/// Stochastic Optimization", 2011, figure 1 (diagonal matrices, composite mirror descent).
///
/// **Differences**: none from `torch.optim.Adagrad`, whose `lr_decay` is not the paper's. `optax.adagrad`
/// starts v at 0.1 and has eps (1e-7) inside the root.
///
/// **Numerics**: v only grows. In `f32` it stands still where `g^2 < 6e-8 v`, after some ten million steps of
/// like gradients, and overflows where the sum passes 3.4e38.
///
/// **Cost**: 20 bytes read and written a parameter.
///
/// ```
/// use wgpu_optim::rules::AdaGrad;
/// let adagrad = AdaGrad { lr: 0.1, lr_decay: 1e-4, ..AdaGrad::default() };
/// assert_eq!((adagrad.eps, adagrad.initial_accumulator), (1e-10, 0.0));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdaGrad {
    /// Learning rate, at least 0. Default 1e-2.
    pub lr: f64,
    /// How fast the rate falls beside v, at least 0. Default 0.
    pub lr_decay: f64,
    /// What v starts with, at least 0. Default 0.
    pub initial_accumulator: f64,
    /// Added to the root, at least 0. Default 1e-10. With 0, a coordinate that never had a gradient is 0/0.
    pub eps: f64,
    /// Weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// How the decay acts. Default L2.
    pub weight_decay_mode: WeightDecay,
}

impl Default for AdaGrad {
    fn default() -> Self {
        Self {
            lr: 1e-2,
            lr_decay: 0.0,
            initial_accumulator: 0.0,
            eps: 1e-10,
            weight_decay: 0.0,
            weight_decay_mode: WeightDecay::L2,
        }
    }
}

crate::equation! {
    hyper { eps: real, lr: real, falling: counted, l2: real, lr_wd: real }
    state { v }
}

impl Rule for AdaGrad {
    const NAME: &'static str = "adagrad";
    const WGSL: &'static str = include_str!("../../shaders/rules/adagrad.wgsl");
    const MUTANTS: &'static [Mutant] = &[
        Mutant { name: "eps inside the root", find: "sqrt((*s).v) + h.eps", replace: "sqrt((*s).v + h.eps)" },
        Mutant { name: "eps dropped", find: "sqrt((*s).v) + h.eps", replace: "sqrt((*s).v)" },
        Mutant { name: "gradient not squared", find: "(*s).v + g * g", replace: "(*s).v + abs(g)" },
        Mutant {
            name: "v of the step before",
            find: "(*s).v = (*s).v + g * g;\n    let denom = sqrt((*s).v) + h.eps;",
            replace: "let denom = sqrt((*s).v) + h.eps; (*s).v = (*s).v + g * g;",
        },
        Mutant { name: "step x 1.02", find: "h.lr * h.falling * (", replace: "1.02 * h.lr * h.falling * (" },
        Mutant { name: "sign lost", find: "(g / denom)", replace: "(abs(g) / denom)" },
        Mutant { name: "no step", find: "return h.lr * h.falling * (g / denom)", replace: "return 0.0" },
        Mutant { name: "decoupled decay dropped", find: "h.lr_wd * h.falling * theta", replace: "0.0" },
        Mutant { name: "l2 decay dropped", find: "gradient + h.l2 * theta", replace: "gradient" },
        Mutant {
            name: "v not stored",
            find: "let denom = sqrt((*s).v) + h.eps;",
            replace: "let denom = sqrt((*s).v) + h.eps; (*s).v = 0.0;",
        },
    ];
    type Hyper<R: Real> = Hyper<R>;
    type State<T: Copy> = State<T>;

    const NUMBERS: &'static [Number<Self>] = &crate::numbers! {
        Self;
        lr: AtLeast(0.0),
        lr_decay: AtLeast(0.0),
        initial_accumulator: AtLeast(0.0),
        eps: AtLeast(0.0),
        weight_decay: AtLeast(0.0),
    };

    fn initial(&self) -> State<f32> {
        State { v: self.initial_accumulator as f32 }
    }

    fn hyper(&self, t: u64, _: &mut HostState) -> Hyper<f64> {
        let falling = 1.0 / (1.0 + (t - 1) as f64 * self.lr_decay);
        let decay = self.weight_decay_mode.scalars(self.weight_decay, self.lr);
        Hyper { eps: self.eps, lr: self.lr, falling, l2: decay.l2, lr_wd: decay.lr_wd }
    }

    const DECAYS: bool = true;

    fn decay<R: Real>(theta: R, h: &Hyper<R>) -> R {
        h.lr_wd * h.falling * theta
    }

    fn update<R: Real>(theta: R, gradient: R, s: &mut State<R>, h: &Hyper<R>) -> R {
        let g = gradient + h.l2 * theta;
        s.v = s.v + g * g;
        let denom = s.v.sqrt() + h.eps;
        h.lr * h.falling * (g / denom)
    }

    fn variants() -> Vec<Self> {
        vec![
            Self { lr_decay: 0.1, weight_decay: 0.1, ..Self::default() },
            Self {
                initial_accumulator: 0.1,
                eps: 1e-7,
                weight_decay: 0.1,
                weight_decay_mode: WeightDecay::Decoupled,
                ..Self::default()
            },
        ]
    }

    fn example() -> Self {
        Self { lr: 0.02, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With a constant gradient, step t is lr / (1 + (t - 1) lr_decay) / sqrt(t), whatever the gradient.
    #[test]
    fn rate_falls_with_time_and_decay() {
        let rule = AdaGrad { lr: 0.5, lr_decay: 0.25, eps: 0.0, ..AdaGrad::default() };
        let mut reference = crate::reference::Reference::new([rule], [(0, vec![0.0, 0.0])]).unwrap();
        let mut theta = 0.0;
        for t in 1..=100 {
            reference.step(&[vec![3.0, -1e-3]]).unwrap();
            let t = f64::from(t);
            theta -= 0.5 / (1.0 + (t - 1.0) * 0.25) / t.sqrt();
            let [up, down] = [0, 1].map(|i| reference.tensors()[0].theta[i]);
            assert!((up - theta).abs() < 1e-13 && (down + theta).abs() < 1e-13, "step {t}");
        }
    }
}
