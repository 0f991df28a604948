//! AdaDelta.

use crate::rule::{HostState, Mutant, Number, Real, Rule, WeightDecay};
use serde::{Deserialize, Serialize};

/// AdaDelta: each coordinate's rate is the ratio of its recent updates to its recent gradients, so that
/// updates have the units of the parameter and there is no rate to choose.
///
/// ```text
/// g     <- g + l2 theta                       l2 = weight_decay with mode "l2", else 0
/// v     <- rho v + (1 - rho) g^2
/// d     =  sqrt(x + eps) / sqrt(v + eps) g
/// x     <- rho x + (1 - rho) d^2
/// theta <- theta - (lr_wd theta + lr d)       lr_wd = lr weight_decay with mode "decoupled", else 0
/// ```
///
/// **State**: `v`, `x` f32, start at 0, 8 bytes a parameter.
///
/// **Source**: M. Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012, algorithm 1.
///
/// **Differences**: none from `torch.optim.Adadelta` and `optax.adadelta`. The paper has no lr (it is 1); x
/// averages d before it is multiplied by lr.
///
/// **Numerics**: eps, inside both roots, sets the first steps (`sqrt(eps / (1 - rho))` at lr 1) and with them
/// how fast x grows. Gradients below `sqrt(eps)` are seen as small, so results depend on their scale there.
///
/// **Cost**: 28 bytes read and written a parameter.
///
/// ```
/// use wgpu_optim::rules::AdaDelta;
/// let adadelta = AdaDelta { rho: 0.95, ..AdaDelta::default() };
/// assert_eq!((adadelta.lr, adadelta.eps), (1.0, 1e-6));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdaDelta {
    /// Learning rate, at least 0. Default 1, the paper's.
    pub lr: f64,
    /// Share of v and x that is kept, in [0, 1). Default 0.9.
    pub rho: f64,
    /// Added under both roots, at least 0. Default 1e-6. With 0 nothing ever moves.
    pub eps: f64,
    /// Weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// How the decay acts. Default L2.
    pub weight_decay_mode: WeightDecay,
}

impl Default for AdaDelta {
    fn default() -> Self {
        Self { lr: 1.0, rho: 0.9, eps: 1e-6, weight_decay: 0.0, weight_decay_mode: WeightDecay::L2 }
    }
}

crate::equation! {
    hyper { rho: real, one_minus_rho: real, eps: real, lr: real, l2: real, lr_wd: real }
    state { v, x }
}

impl Rule for AdaDelta {
    const NAME: &'static str = "adadelta";
    const WGSL: &'static str = include_str!("../../shaders/rules/adadelta.wgsl");
    const MUTANTS: &'static [Mutant] = &[
        Mutant {
            name: "eps outside the gradients' root",
            find: "sqrt((*s).v + h.eps)",
            replace: "(sqrt((*s).v) + h.eps)",
        },
        Mutant {
            name: "eps outside the updates' root",
            find: "sqrt((*s).x + h.eps)",
            replace: "(sqrt((*s).x) + h.eps)",
        },
        Mutant { name: "updates' eps dropped", find: "sqrt((*s).x + h.eps)", replace: "sqrt((*s).x)" },
        Mutant {
            name: "updates averaged after lr",
            find: "h.one_minus_rho * (d * d)",
            replace: "h.one_minus_rho * (h.lr * d * h.lr * d)",
        },
        Mutant {
            name: "updates' average holds gradients",
            find: "h.one_minus_rho * (d * d)",
            replace: "h.one_minus_rho * (g * g)",
        },
        Mutant {
            name: "rho swapped with its rest",
            find: "h.rho * (*s).v + h.one_minus_rho * (g * g)",
            replace: "h.one_minus_rho * (*s).v + h.rho * (g * g)",
        },
        Mutant { name: "step x 1.02", find: "h.lr * d;", replace: "1.02 * h.lr * d;" },
        Mutant { name: "sign lost", find: "h.lr * d;", replace: "h.lr * abs(d);" },
        Mutant { name: "no step", find: "return h.lr * d", replace: "return 0.0" },
        Mutant { name: "decoupled decay dropped", find: "h.lr_wd * theta", replace: "0.0" },
        Mutant { name: "l2 decay dropped", find: "gradient + h.l2 * theta", replace: "gradient" },
        Mutant { name: "v not stored", find: "(*s).x = h.rho", replace: "(*s).v = 0.0;\n    (*s).x = h.rho" },
        Mutant { name: "x not stored", find: "(*s).x = h.rho", replace: "let x = h.rho" },
    ];
    type Hyper<R: Real> = Hyper<R>;
    type State<T: Copy> = State<T>;

    const NUMBERS: &'static [Number<Self>] = &crate::numbers! {
        Self;
        lr: AtLeast(0.0),
        rho: HalfOpen(0.0, 1.0),
        eps: AtLeast(0.0),
        weight_decay: AtLeast(0.0),
    };

    fn hyper(&self, _: u64, _: &mut HostState) -> Hyper<f64> {
        let decay = self.weight_decay_mode.scalars(self.weight_decay, self.lr);
        Hyper {
            rho: self.rho,
            one_minus_rho: 1.0 - self.rho,
            eps: self.eps,
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
        s.v = h.rho * s.v + h.one_minus_rho * (g * g);
        let d = (s.x + h.eps).sqrt() / (s.v + h.eps).sqrt() * g;
        s.x = h.rho * s.x + h.one_minus_rho * (d * d);
        h.lr * d
    }

    fn variants() -> Vec<Self> {
        vec![
            Self { weight_decay: 0.1, ..Self::default() },
            Self { lr: 0.5, weight_decay: 0.1, weight_decay_mode: WeightDecay::Decoupled, ..Self::default() },
        ]
    }

    fn example() -> Self {
        Self { rho: 0.95, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The updates do not depend on the gradients' scale: they have the units of theta. They do on x's eps,
    /// which is in those units.
    #[test]
    fn updates_have_the_units_of_theta() {
        let run = |scale: f64, eps: f64| {
            let rule = AdaDelta { eps, ..AdaDelta::default() };
            let mut reference = crate::reference::Reference::new([rule], [(0, vec![0.0])]).unwrap();
            for t in 1..=60u32 {
                let g = 1.0 + f64::from(t * t % 11);
                reference.step(&[vec![scale * g]]).unwrap();
            }
            reference.tensors()[0].theta[0]
        };
        let (small, large) = (run(1.0, 1e-12), run(1e3, 1e-12));
        assert!((small / large - 1.0).abs() < 1e-10, "{small} {large}");
        let wider = run(1.0, 1e-10);
        assert!((wider / small - 10.0).abs() < 1e-6, "{wider} {small}");
    }
}
