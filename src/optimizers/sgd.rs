//! SGD with momentum, dampening and Nesterov's step.

use crate::decay::WeightDecay;
use crate::error::Refusal;
use crate::real::Real;
use crate::rule::{Limit, Memory, Mutant, Rule, Visit};
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
/// **Differences**: none from `torch.optim.SGD`. `optax.sgd` has no dampening. Sutskever's form has lr
/// inside b, which differs while lr changes.
///
/// **Numerics**: three roundings a line; a zero gradient without decay and momentum leaves theta's bits.
///
/// **Cost**: 12 bytes read and written a parameter, 20 with momentum.
///
/// ```
/// use wgpu_optim::{Rule, optimizers::Sgd};
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
    hyper { lr: real, momentum: real, one_minus_dampening: counted, l2: real, lr_wd: real, nesterov: flag }
    state { b }
}

impl Rule for Sgd {
    const NAME: &'static str = "sgd";
    const WGSL: &'static str = include_str!("../../shaders/sgd.wgsl");
    const MUTANTS: &'static [Mutant] = &[
        Mutant { name: "sign lost", find: "h.lr * d", replace: "h.lr * abs(d)" },
        Mutant { name: "step x 1.02", find: "h.lr * d", replace: "1.02 * h.lr * d" },
        Mutant { name: "no step", find: "return h.lr * d", replace: "return 0.0" },
        Mutant { name: "decoupled decay dropped", find: "h.lr_wd * theta", replace: "0.0" },
        Mutant { name: "l2 decay dropped", find: "gradient + h.l2 * theta", replace: "gradient" },
        Mutant { name: "dampening dropped", find: "h.one_minus_dampening * g", replace: "g" },
        Mutant { name: "nesterov dropped", find: "h.nesterov != 0u", replace: "false" },
        Mutant {
            name: "nesterov without momentum",
            find: "g + h.momentum * (*s).b, ",
            replace: "g + (*s).b, ",
        },
        Mutant {
            name: "b not stored",
            find: "(*s).b = h.momentum * (*s).b + h.one_minus_dampening * g;\n    let d = select((*s).b, g + h.momentum * (*s).b,",
            replace: "let b = h.momentum * (*s).b + h.one_minus_dampening * g;\n    let d = select(b, g + h.momentum * b,",
        },
    ];
    type Hyper<R: Real> = Hyper<R>;
    type State<T: Copy> = State<T>;

    fn numbers(&mut self, each: Visit<'_>) {
        each("lr", &mut self.lr, Limit::AtLeast(0.0));
        each("momentum", &mut self.momentum, Limit::HalfOpen(0.0, 1.0));
        each("dampening", &mut self.dampening, Limit::Closed(0.0, 1.0));
        each("weight_decay", &mut self.weight_decay, Limit::AtLeast(0.0));
    }

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

    fn keeps(&self) -> State<u32> {
        State { b: (self.momentum > 0.0).into() }
    }

    fn hyper(&self, t: u64, _: &mut Memory) -> Hyper<f64> {
        let decay = self.weight_decay_mode.scalars(self.weight_decay, self.lr);
        let undampened = t == 1 || self.momentum == 0.0;
        Hyper {
            lr: self.lr,
            momentum: self.momentum,
            one_minus_dampening: if undampened { 1.0 } else { 1.0 - self.dampening },
            l2: decay.l2,
            lr_wd: decay.lr_wd,
            nesterov: self.nesterov.into(),
        }
    }

    const DECAYS: bool = true;

    fn decay<R: Real>(theta: R, h: &Hyper<R>) -> R {
        h.lr_wd * theta
    }

    fn update<R: Real>(theta: R, gradient: R, s: &mut State<R>, h: &Hyper<R>) -> R {
        let g = gradient + h.l2 * theta;
        s.b = h.momentum * s.b + h.one_minus_dampening * g;
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
