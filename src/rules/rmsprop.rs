//! RMSProp: plain, centered, with momentum.

use crate::rule::{HostState, Mutant, Number, Real, Rule, WeightDecay};
use serde::{Deserialize, Serialize};

/// RMSProp: gradients divided by the root of their recent mean square; centered, by their recent standard
/// deviation.
///
/// ```text
/// g     <- g + l2 theta                       l2 = weight_decay with mode "l2", else 0
/// v     <- alpha v + (1 - alpha) g^2
/// denom =  sqrt(v) + eps
/// b     <- momentum b + g / denom             without momentum b is this step's g / denom
/// theta <- theta - (lr_wd theta + lr b)       lr_wd = lr weight_decay with mode "decoupled", else 0
///
/// centered:  v <- alpha (v + (1 - alpha) (g - a)^2),   a <- a + (1 - alpha) (g - a)
/// ```
///
/// **State**: `v` f32, starts at 0, 4 bytes a parameter; centered also `a`, with momentum also `b`.
///
/// **Source**: T. Tieleman, G. Hinton, "Lecture 6.5 - RMSProp", Coursera, 2012; A. Graves, "Generating
/// Sequences With Recurrent Neural Networks", 2013, equations 38 to 45 (centered, with momentum).
///
/// **Differences**: eps stands outside the root and lr outside b, as in `torch.optim.RMSprop`; Graves and
/// `optax.rmsprop` have both inside (eps by default), TensorFlow also starts v at 1. No form corrects v's
/// start at 0, so that the first steps are `1 / sqrt(1 - alpha)` times longer than later ones.
///
/// **Numerics**: centered, the variance is kept itself. PyTorch keeps the mean square and takes `v - a^2`,
/// which is the same in exact arithmetic but cancels: with a constant gradient it falls below zero in `f32`
/// after some hundred steps, and the root is NaN. Here the variance is a sum of squares, never negative.
///
/// **Cost**: 20 bytes read and written a parameter, 28 centered or with momentum, 36 with both.
///
/// ```
/// use wgpu_optim::rules::RmsProp;
/// let rmsprop = RmsProp { lr: 1e-3, centered: true, momentum: 0.9, ..RmsProp::default() };
/// assert_eq!(rmsprop.alpha, 0.99);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RmsProp {
    /// Learning rate, at least 0. Default 1e-2.
    pub lr: f64,
    /// Share of v and a that is kept, in [0, 1). Default 0.99.
    pub alpha: f64,
    /// Added to the root, at least 0. Default 1e-8. With 0, a coordinate that never had a gradient is 0/0.
    pub eps: f64,
    /// Share of b that is kept, in [0, 1). Default 0.
    pub momentum: f64,
    /// Divide by the standard deviation instead of the root mean square. Default off.
    pub centered: bool,
    /// Weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// How the decay acts. Default L2.
    pub weight_decay_mode: WeightDecay,
}

impl Default for RmsProp {
    fn default() -> Self {
        Self {
            lr: 1e-2,
            alpha: 0.99,
            eps: 1e-8,
            momentum: 0.0,
            centered: false,
            weight_decay: 0.0,
            weight_decay_mode: WeightDecay::L2,
        }
    }
}

crate::equation! {
    hyper {
        alpha: real, one_minus_alpha: real, momentum: real, eps: real, lr: real, l2: real, lr_wd: real,
        centered: flag,
    }
    state { v, a, b }
}

impl Rule for RmsProp {
    const NAME: &'static str = "rmsprop";
    const WGSL: &'static str = include_str!("../../shaders/rules/rmsprop.wgsl");
    const MUTANTS: &'static [Mutant] = &[
        Mutant { name: "eps inside the root", find: "sqrt((*s).v) + h.eps", replace: "sqrt((*s).v + h.eps)" },
        Mutant { name: "eps dropped", find: "sqrt((*s).v) + h.eps", replace: "sqrt((*s).v)" },
        Mutant { name: "centered left out", find: "h.centered != 0u", replace: "false" },
        Mutant {
            name: "variance without alpha's share",
            find: "h.alpha * ((*s).v + h.one_minus_alpha * (d * d))",
            replace: "h.alpha * (*s).v + h.one_minus_alpha * (d * d)",
        },
        Mutant {
            name: "mean moves by all of alpha",
            find: "h.one_minus_alpha * d;",
            replace: "h.alpha * d;",
        },
        Mutant { name: "momentum dropped", find: "h.momentum * (*s).b + g / denom", replace: "g / denom" },
        Mutant { name: "step x 1.02", find: "h.lr * (*s).b", replace: "1.02 * h.lr * (*s).b" },
        Mutant { name: "sign lost", find: "g / denom;", replace: "abs(g) / denom;" },
        Mutant { name: "no step", find: "return h.lr * (*s).b", replace: "return 0.0" },
        Mutant { name: "decoupled decay dropped", find: "h.lr_wd * theta", replace: "0.0" },
        Mutant { name: "l2 decay dropped", find: "gradient + h.l2 * theta", replace: "gradient" },
        Mutant {
            name: "v not stored",
            find: "let denom = sqrt((*s).v) + h.eps;",
            replace: "let denom = sqrt((*s).v) + h.eps; (*s).v = 0.0;",
        },
        Mutant { name: "a not stored", find: "(*s).a = (*s).a + h.one_minus_alpha * d;", replace: "" },
        Mutant {
            name: "b not stored",
            find: "return h.lr * (*s).b;",
            replace: "let b = (*s).b; (*s).b = 0.0; return h.lr * b;",
        },
    ];
    type Hyper<R: Real> = Hyper<R>;
    type State<T: Copy> = State<T>;

    const NUMBERS: &'static [Number<Self>] = &crate::numbers! {
        Self;
        lr: AtLeast(0.0),
        alpha: HalfOpen(0.0, 1.0),
        eps: AtLeast(0.0),
        momentum: HalfOpen(0.0, 1.0),
        weight_decay: AtLeast(0.0),
    };

    fn depths(&self) -> State<u32> {
        State { v: 1, a: self.centered.into(), b: (self.momentum > 0.0).into() }
    }

    fn hyper(&self, _: u64, _: &mut HostState) -> Hyper<f64> {
        let decay = self.weight_decay_mode.scalars(self.weight_decay, self.lr);
        Hyper {
            alpha: self.alpha,
            one_minus_alpha: 1.0 - self.alpha,
            momentum: self.momentum,
            eps: self.eps,
            lr: self.lr,
            l2: decay.l2,
            lr_wd: decay.lr_wd,
            centered: self.centered.into(),
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
            s.v = h.alpha * (s.v + h.one_minus_alpha * (d * d));
            s.a = s.a + h.one_minus_alpha * d;
        } else {
            s.v = h.alpha * s.v + h.one_minus_alpha * (g * g);
        }
        let denom = s.v.sqrt() + h.eps;
        s.b = h.momentum * s.b + g / denom;
        h.lr * s.b
    }

    fn variants() -> Vec<Self> {
        let decoupled = WeightDecay::Decoupled;
        vec![
            Self { weight_decay: 0.1, weight_decay_mode: decoupled, ..Self::default() },
            Self { centered: true, weight_decay: 0.1, ..Self::default() },
            Self { alpha: 0.9, centered: true, momentum: 0.5, weight_decay: 0.1, ..Self::default() },
        ]
    }

    fn example() -> Self {
        Self { lr: 1e-3, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::step_in_f32;

    /// The same gradient for 300 steps, in f32: the variance dies away and no root is of a negative number.
    #[test]
    fn centered_survives_a_constant_gradient() {
        let rule = RmsProp { alpha: 0.9, centered: true, momentum: 0.9, ..RmsProp::default() };
        let g: Vec<f32> = (1..=64).map(|i| 0.37 * i as f32).collect();
        let mut theta = vec![1f32; g.len()];
        let mut state = vec![vec![0f32; g.len()]; 3];
        // PyTorch's form of the same variance, to see that this gradient is one on which it fails.
        let (mut square, mut mean, mut negative) = (vec![0f32; g.len()], vec![0f32; g.len()], 0);
        let mut host = HostState::default();
        for t in 1..=300 {
            let mut slots: Vec<&mut [f32]> = state.iter_mut().map(Vec::as_mut_slice).collect();
            step_in_f32(&rule, t, &mut host, &mut theta, &g, &mut slots);
            assert!(theta.iter().all(|theta| theta.is_finite()), "step {t}: {theta:?}");
            assert!(state[0].iter().all(|v| *v >= 0.0), "step {t}");
            for (i, g) in g.iter().enumerate() {
                square[i] = 0.9 * square[i] + 0.1 * (g * g);
                mean[i] += 0.1 * (g - mean[i]);
                negative += u32::from(square[i] - mean[i] * mean[i] < 0.0);
            }
        }
        assert!(negative > 0, "a gradient on which the other form does not fail shows nothing");
    }

    /// The variance kept is the difference of the averages.
    #[test]
    fn variance_is_mean_square_less_squared_mean() {
        let rule = RmsProp { alpha: 0.8, centered: true, ..RmsProp::default() };
        let mut reference = crate::reference::Reference::new([rule], [(0, vec![0.0])]).unwrap();
        let (mut square, mut mean) = (0f64, 0f64);
        for t in 1..50 {
            let g = f64::from(t * t % 7) - 2.5;
            reference.step(&[vec![g]]).unwrap();
            square = 0.8 * square + 0.2 * g * g;
            mean = 0.8 * mean + 0.2 * g;
            let [v, a] = [0, 1].map(|slot| reference.tensors()[0].slots[slot][0]);
            assert!((v - (square - mean * mean)).abs() < 1e-14 * square, "step {t}");
            assert!((a - mean).abs() < 1e-14, "step {t}");
        }
    }
}
