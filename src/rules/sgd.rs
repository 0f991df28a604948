//! SGD with momentum, dampening and Nesterov's step.

use crate::error::Refusal;
use crate::rule::{HostState, Mutant, Number, Real, Rule, WeightDecay};
use serde::{Deserialize, Serialize};

/// Stochastic gradient descent: heavy ball or Nesterov, with dampening and both weight decays.
///
/// ```text
/// g     <- g + l2 theta                               l2 = weight_decay with mode "l2", else 0
/// b     <- momentum b + (1 - dampening) g             b_1 = g: the first step is not dampened
/// d     =  g + momentum b   with nesterov, else b
/// theta <- theta - (lr_wd theta + lr d)               lr_wd = lr weight_decay with mode "decoupled", else 0
/// ```
///
/// **State**: `b` f32, starts at 0, 4 bytes a parameter; none while every group's momentum is 0.
///
/// **Source**: B. Polyak, "Some methods of speeding up the convergence of iteration methods", 1964;
/// I. Sutskever, J. Martens, G. Dahl, G. Hinton, "On the importance of initialization and momentum in
/// deep learning", 2013.
///
/// **Differences**: `torch.optim.SGD` does not dampen the first step in which there is momentum; here that is the first
/// step of all, so momentum that is switched on later starts from `(1 - dampening) g`. While momentum is 0, b rests, as
/// there. `optax.sgd` has no dampening. Sutskever's form has lr inside b, which differs while lr changes.
///
/// **Numerics**: three roundings a line; a zero gradient without decay and momentum leaves theta's bits.
///
/// **Cost**: 12 bytes read and written a parameter, 20 with momentum.
///
/// ```
/// use wgpu_optim::{rule::Rule, rules::Sgd};
/// let sgd = Sgd { lr: 0.1, momentum: 0.9, nesterov: true, ..Sgd::default() };
/// assert_eq!(sgd.hyper(1, &mut Default::default()).lr, 0.1);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sgd {
    /// Learning rate, at least 0. Default 1e-3.
    pub lr: f64,
    /// Share of b that is kept, in [0, 1). Default 0.
    pub momentum: f64,
    /// Share of g that b does not take from its second step on, in [0, 1]. Default 0.
    pub dampening: f64,
    /// Nesterov's step; needs momentum above 0 and dampening 0. Default off.
    pub nesterov: bool,
    /// Weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// How the decay acts. Default L2.
    pub weight_decay_mode: WeightDecay,
}

impl Default for Sgd {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            momentum: 0.0,
            dampening: 0.0,
            nesterov: false,
            weight_decay: 0.0,
            weight_decay_mode: WeightDecay::L2,
        }
    }
}

crate::equation! {
    hyper {
        lr: real, momentum: real, one_minus_dampening: real, l2: real, lr_wd: real, averages: flag, nesterov: flag,
        first: first,
    }
    state { b }
}

impl Rule for Sgd {
    const NAME: &'static str = "sgd";
    const WGSL: &'static str = include_str!("../../shaders/rules/sgd.wgsl");
    const MUTANTS: &'static [Mutant] = &[
        Mutant { name: "sign lost", find: "h.lr * d", replace: "h.lr * abs(d)" },
        Mutant { name: "step x 1.02", find: "h.lr * d", replace: "1.02 * h.lr * d" },
        Mutant { name: "no step", find: "return h.lr * d", replace: "return 0.0" },
        Mutant { name: "decoupled decay dropped", find: "h.lr_wd * theta", replace: "0.0" },
        Mutant { name: "l2 decay dropped", find: "gradient + h.l2 * theta", replace: "gradient" },
        Mutant {
            name: "dampening dropped",
            find: "select(h.one_minus_dampening, 1.0, h.first != 0u)",
            replace: "1.0",
        },
        Mutant { name: "first step dampened", find: "h.first != 0u", replace: "false" },
        Mutant { name: "nesterov dropped", find: "h.nesterov != 0u", replace: "false" },
        Mutant {
            name: "nesterov without momentum",
            find: "g + h.momentum * (*s).b, ",
            replace: "g + (*s).b, ",
        },
        Mutant {
            name: "b not stored",
            find: "(*s).b = h.momentum * (*s).b + share * g;\n    let d = select((*s).b, g + h.momentum * (*s).b,",
            replace: "let b = h.momentum * (*s).b + share * g;\n    let d = select(b, g + h.momentum * b,",
        },
    ];
    type Hyper<R: Real> = Hyper<R>;
    type State<T: Copy> = State<T>;

    const NUMBERS: &'static [Number<Self>] = &crate::numbers! {
        Self;
        lr: AtLeast(0.0),
        momentum: HalfOpen(0.0, 1.0),
        dampening: Closed(0.0, 1.0),
        weight_decay: AtLeast(0.0),
    };

    fn consistent(&self) -> Result<(), Refusal> {
        if self.nesterov && (self.momentum == 0.0 || self.dampening != 0.0) {
            return Err(Refusal::new(
                "nesterov",
                true,
                "false unless momentum is above 0 and dampening is 0",
            ));
        }
        Ok(())
    }

    fn depths(&self) -> State<u32> {
        State { b: (self.momentum > 0.0).into() }
    }

    fn hyper(&self, t: u64, _: &mut HostState) -> Hyper<f64> {
        let decay = self.weight_decay_mode.scalars(self.weight_decay, self.lr);
        Hyper {
            lr: self.lr,
            momentum: self.momentum,
            one_minus_dampening: 1.0 - self.dampening,
            l2: decay.l2,
            lr_wd: decay.lr_wd,
            averages: (self.momentum > 0.0).into(),
            nesterov: self.nesterov.into(),
            first: (t == 1).into(),
        }
    }

    const DECAYS: bool = true;

    fn decay<R: Real>(theta: R, h: &Hyper<R>) -> R {
        h.lr_wd * theta
    }

    fn update<R: Real>(theta: R, gradient: R, s: &mut State<R>, h: &Hyper<R>) -> R {
        let g = gradient + h.l2 * theta;
        if h.averages == 0 {
            return h.lr * g;
        }
        let share = if h.first != 0 { R::host(1.0) } else { h.one_minus_dampening };
        s.b = h.momentum * s.b + share * g;
        let d = if h.nesterov != 0 { g + h.momentum * s.b } else { s.b };
        h.lr * d
    }

    fn variants() -> Vec<Self> {
        let sgd = Self { lr: 0.01, ..Self::default() };
        vec![
            sgd.clone(),
            Self { momentum: 0.9, dampening: 0.1, weight_decay: 0.1, ..sgd.clone() },
            Self {
                momentum: 0.9,
                nesterov: true,
                weight_decay: 0.1,
                weight_decay_mode: WeightDecay::Decoupled,
                ..sgd
            },
        ]
    }

    fn example() -> Self {
        Self { lr: 0.1, momentum: 0.9, nesterov: true, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{assert_close, trial_gradient, trial_run};

    /// `torch.optim.SGD`: there is no b before the first step with momentum, which is not dampened.
    fn torch(momentum: impl Fn(u64) -> f64, dampening: f64, steps: u64) -> [f64; 4] {
        let (mut theta, mut b) = ([0.5, -1.0, 0.25, 0.0], None::<[f64; 4]>);
        for t in 1..=steps {
            let (g, momentum) = (trial_gradient(t), momentum(t));
            let mut d = g;
            if momentum != 0.0 {
                let average = |b: [f64; 4]| [0, 1, 2, 3].map(|i| momentum * b[i] + (1.0 - dampening) * g[i]);
                d = b.map_or(g, average);
                b = Some(d);
            }
            theta = [0, 1, 2, 3].map(|i| theta[i] - 0.1 * d[i]);
        }
        theta
    }

    fn ours(momentum: impl Fn(u64) -> f64, dampening: f64, steps: u64) -> Vec<f64> {
        // Made with momentum, so that there is a b.
        let sgd = Sgd { lr: 0.1, momentum: 0.5, dampening, ..Sgd::default() };
        trial_run(sgd, |sgd, t| sgd.momentum = momentum(t), steps).theta
    }

    #[test]
    fn momentum_changes_as_in_torch() {
        let late = |t| if t > 3 { 0.9 } else { 0.0 };
        let resting = |t| if (4..7).contains(&t) { 0.0 } else { 0.9 };
        let falling = |t: u64| 0.9 / t as f64;
        for steps in 1..=10 {
            assert_close(&ours(late, 0.0, steps), &torch(late, 0.0, steps));
            for dampening in [0.0, 0.3, 1.0] {
                assert_close(&ours(resting, dampening, steps), &torch(resting, dampening, steps));
                assert_close(&ours(falling, dampening, steps), &torch(falling, dampening, steps));
            }
        }
    }

    /// The one difference: b starts dampened where momentum is switched on later.
    #[test]
    fn late_momentum_is_dampened() {
        let late = |t| if t > 1 { 0.9 } else { 0.0 };
        let before = ours(late, 0.3, 1);
        let g = trial_gradient(2);
        let want: Vec<f64> = (0..4).map(|i| before[i] - 0.1 * 0.7 * g[i]).collect();
        assert_close(&ours(late, 0.3, 2), &want);
    }
}
