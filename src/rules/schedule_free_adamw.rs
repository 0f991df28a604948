//! Schedule-Free AdamW.

use crate::error::Refusal;
use crate::rule::{HostState, Mutant, Number, Real, Rule, WeightDecay, beta_power};
use serde::{Deserialize, Serialize};

/// Schedule-Free AdamW: an average of the iterates in the place of a schedule of the rate.
///
/// ```text
/// g     <- g + l2 theta                       l2 = weight_decay with mode "l2", else 0
/// v     <- beta2 v + (1 - beta2) g^2
/// d     =  g / (sqrt(v / bc2) + eps) + decay theta
///                                             bc2 = 1 - beta2^k
///                                             decay = weight_decay with mode "decoupled", else 0
/// theta <- theta + c (z - theta) - lr_k (1 - beta1 (1 - c)) d
/// z     <- z - lr_k d                         z_1 = theta_1
///
/// lr_k = lr min(k / warmup_steps, 1)
/// w_k  = k^r max(lr_1 ... lr_k)^weight_lr_power,  c = w_k / (w_1 + ... + w_k)
/// ```
/// k counts the steps taken. theta is the point `y = (1 - beta1) z + beta1 x` at which gradients are taken;
/// the average `x` is what to evaluate.
///
/// **Evaluation**: x is not kept, but recovered: `x = y + (1 - 1 / beta1) (z - y)`. Set `evaluate` and take a
/// step: theta then holds x, and further steps with it leave theta as it is. Take it back and take a step:
/// theta holds y again. These two steps only convert: they look at no gradient and zero none, leave every slot as it
/// was, and do not count, whatever stands around the rule. Compute gradients after the second one, never at x. Going
/// there and back rounds theta twice. (In an optimizer of [`AnyRule`](crate::AnyRule), put another configuration in its place.)
///
/// ```no_run
/// # use wgpu_optim::{Error, GroupId, Optimizer, rules::ScheduleFreeAdamW, wgpu};
/// # fn example(
/// #     optimizer: &mut Optimizer<ScheduleFreeAdamW>,
/// #     encoder: &mut wgpu::CommandEncoder,
/// #     group: GroupId,
/// # ) -> Result<(), Error> {
/// optimizer.group_mut(group)?.evaluate = true; // of every group
/// optimizer.step(encoder)?;
/// // ... evaluate the network, save its weights ...
/// optimizer.group_mut(group)?.evaluate = false;
/// optimizer.step(encoder)?;
/// // ... train on ...
/// # Ok(())
/// # }
/// ```
///
/// **State**: `z`, `v` f32, z starts at theta, v at 0, 8 bytes a parameter; the largest rate and the sum
/// of weights on the host, for each group.
///
/// **Source**: A. Defazio, X. Yang, H. Mehta, K. Mishchenko, A. Khaled, A. Cutkosky, "The Road Less
/// Scheduled", 2024, algorithm 1.
///
/// **Differences**: none from the authors' package (`schedulefree` 1.4, `AdamWScheduleFree`), which has only
/// the decoupled decay, taken at y. Earlier ones correct the rate in the place of v, so that eps weighs more
/// and weights grow with the correction. `optax.contrib.schedule_free_adamw` weighs a step by the rate of the
/// next while that grows.
///
/// **Numerics**: with a rate of 0 from the start there are no weights, and c is 0. Wrappers see theta: an
/// average of the weights around this rule averages y.
///
/// **Cost**: 28 bytes read and written a parameter.
///
/// ```
/// use wgpu_optim::rules::ScheduleFreeAdamW;
/// let rule = ScheduleFreeAdamW { warmup_steps: 500, ..ScheduleFreeAdamW::default() };
/// assert_eq!((rule.lr, rule.weight_lr_power), (2.5e-3, 2.0));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScheduleFreeAdamW {
    /// Learning rate, at least 0. Default 2.5e-3.
    pub lr: f64,
    /// Share of the average in y, in (0, 1). Default 0.9.
    pub beta1: f64,
    /// Share of v that is kept, in [0, 1). Default 0.999.
    pub beta2: f64,
    /// Added to the root, at least 0. Default 1e-8. With 0, a coordinate that never had a gradient is 0/0.
    pub eps: f64,
    /// Steps in which the rate rises linearly; 0 for none. Default 0.
    pub warmup_steps: u32,
    /// Power of k in the weights of the average, at least 0. Default 0.
    pub r: f64,
    /// Power of the largest rate so far in the weights of the average, at least 0. Default 2.
    pub weight_lr_power: f64,
    /// Weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// How the decay acts. Default decoupled, at y.
    pub weight_decay_mode: WeightDecay,
    /// Theta is to hold the average: see *Evaluation*. Default off.
    pub evaluate: bool,
}

impl Default for ScheduleFreeAdamW {
    fn default() -> Self {
        Self {
            lr: 2.5e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            warmup_steps: 0,
            r: 0.0,
            weight_lr_power: 2.0,
            weight_decay: 0.0,
            weight_decay_mode: WeightDecay::Decoupled,
            evaluate: false,
        }
    }
}

crate::equation! {
    hyper {
        beta2: real, one_minus_beta2: real, inv_bc2: counted, eps: real, lr: real, warmup: counted, c: counted,
        stride: counted, l2: real, weight_decay: real, to_average: real, from_average: real, first: first,
    }
    state { z, v }
}

impl Rule for ScheduleFreeAdamW {
    const NAME: &'static str = "schedule_free_adamw";
    const WGSL: &'static str = include_str!("../../shaders/rules/schedule_free_adamw.wgsl");
    const MUTANTS: &'static [Mutant] = &[
        Mutant {
            name: "eps inside the root",
            find: "sqrt((*s).v * h.inv_bc2) + h.eps",
            replace: "sqrt((*s).v * h.inv_bc2 + h.eps)",
        },
        Mutant { name: "eps dropped", find: "h.inv_bc2) + h.eps", replace: "h.inv_bc2)" },
        Mutant { name: "no correction of v", find: "(*s).v * h.inv_bc2", replace: "(*s).v" },
        Mutant {
            name: "beta2 swapped with its rest",
            find: "h.beta2 * (*s).v + h.one_minus_beta2 * (g * g)",
            replace: "h.one_minus_beta2 * (*s).v + h.beta2 * (g * g)",
        },
        Mutant { name: "no average", find: " - h.c * (z - theta)", replace: "" },
        Mutant { name: "averages the new z", find: "h.c * (z - theta)", replace: "h.c * ((*s).z - theta)" },
        Mutant { name: "z starts at 0", find: "h.first != 0u", replace: "false" },
        Mutant { name: "z moves like y", find: "z - rate * (", replace: "z - rate * h.stride * (" },
        Mutant { name: "step x 1.02", find: "return rate *", replace: "return 1.02 * rate *" },
        Mutant { name: "sign lost", find: "h.stride * (g / denom)", replace: "h.stride * (abs(g) / denom)" },
        Mutant { name: "no step", find: "return rate * h.stride * (g / denom)", replace: "return 0.0" },
        Mutant { name: "no warm-up", find: "let rate = h.lr * h.warmup;", replace: "let rate = h.lr;" },
        Mutant {
            name: "decoupled decay dropped",
            find: "h.stride * (h.weight_decay * theta)",
            replace: "0.0 * theta",
        },
        Mutant { name: "z does not decay", find: "g / denom + h.weight_decay * theta", replace: "g / denom" },
        Mutant {
            name: "decay at z",
            find: "g / denom + h.weight_decay * theta",
            replace: "g / denom + h.weight_decay * z",
        },
        Mutant { name: "l2 decay dropped", find: "gradient + h.l2 * theta", replace: "gradient" },
        Mutant { name: "z not stored", find: "(*s).z = z - rate * (", replace: "(*s).z = z - 0.0 * (" },
        Mutant { name: "v not stored", find: "let rate = ", replace: "(*s).v = 0.0;\n    let rate = " },
    ];
    type Hyper<R: Real> = Hyper<R>;
    type State<T: Copy> = State<T>;

    const NUMBERS: &'static [Number<Self>] = &crate::numbers! {
        Self;
        lr: AtLeast(0.0),
        beta1: HalfOpen(0.0, 1.0),
        beta2: HalfOpen(0.0, 1.0),
        eps: AtLeast(0.0),
        r: AtLeast(0.0),
        weight_lr_power: AtLeast(0.0),
        weight_decay: AtLeast(0.0),
    };

    fn consistent(&self) -> Result<(), Refusal> {
        if self.beta1 == 0.0 {
            return Err(Refusal::new("beta1", 0, "above 0: the average is recovered by dividing by it"));
        }
        Ok(())
    }

    fn hyper(&self, t: u64, state: &mut HostState) -> Hyper<f64> {
        // The largest rate of the steps so far, and the sum of their weights.
        let [lr_max, weight_sum, ..] = state;
        let k = t as f64;
        let warmup = (k / f64::from(self.warmup_steps.max(1))).min(1.0);
        *lr_max = lr_max.max(self.lr * warmup);
        let weight = k.powf(self.r) * lr_max.powf(self.weight_lr_power);
        *weight_sum += weight;
        let c = if *weight_sum > 0.0 { weight / *weight_sum } else { 0.0 };
        let (l2, weight_decay) = match self.weight_decay_mode {
            WeightDecay::L2 => (self.weight_decay, 0.0),
            WeightDecay::Decoupled => (0.0, self.weight_decay),
        };
        Hyper {
            beta2: self.beta2,
            one_minus_beta2: 1.0 - self.beta2,
            inv_bc2: 1.0 / (1.0 - beta_power(self.beta2, t)),
            eps: self.eps,
            lr: self.lr,
            warmup,
            c,
            stride: 1.0 - self.beta1 * (1.0 - c),
            l2,
            weight_decay,
            to_average: 1.0 - 1.0 / self.beta1,
            from_average: 1.0 - self.beta1,
            first: (t == 1).into(),
        }
    }

    const DECAYS: bool = true;

    fn decay<R: Real>(theta: R, h: &Hyper<R>) -> R {
        h.lr * h.warmup * h.stride * (h.weight_decay * theta)
    }

    fn update<R: Real>(theta: R, gradient: R, s: &mut State<R>, h: &Hyper<R>) -> R {
        let g = gradient + h.l2 * theta;
        let z = if h.first != 0 { theta } else { s.z };
        s.v = h.beta2 * s.v + h.one_minus_beta2 * (g * g);
        let denom = (s.v * h.inv_bc2).sqrt() + h.eps;
        let rate = h.lr * h.warmup;
        s.z = z - rate * (g / denom + h.weight_decay * theta);
        rate * h.stride * (g / denom) - h.c * (z - theta)
    }

    const CONVERTS: bool = true;

    fn evaluates(&self) -> bool {
        self.evaluate
    }

    fn convert<R: Real>(theta: R, s: &State<R>, h: &Hyper<R>, evaluate: bool) -> R {
        theta + if evaluate { h.to_average } else { h.from_average } * (s.z - theta)
    }

    fn variants() -> Vec<Self> {
        vec![
            Self { weight_decay: 0.1, ..Self::default() },
            Self {
                beta1: 0.8,
                warmup_steps: 5,
                r: 1.0,
                weight_decay: 0.1,
                weight_decay_mode: WeightDecay::L2,
                ..Self::default()
            },
        ]
    }

    fn example() -> Self {
        Self { lr: 5e-3, warmup_steps: 100, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::Reference;

    fn gradient(t: u32) -> Vec<f64> {
        (0..3).map(|i| f64::from((t * t + 3 * t * i) % 17) - 8.0 + f64::from(i)).collect()
    }

    /// Evaluation reaches the average that the paper defines and comes back; training goes on as if nothing
    /// had been, and repeated steps in either mode do not convert twice.
    #[test]
    fn evaluation_is_the_average_and_leaves_no_trace() {
        let rule = ScheduleFreeAdamW { warmup_steps: 4, weight_decay: 0.1, ..ScheduleFreeAdamW::default() };
        let start = vec![0.5, -1.0, 2.0];
        let mut plain = Reference::new([rule.clone()], [(0, start.clone())]).unwrap();
        let mut switched = Reference::new([rule.clone()], [(0, start.clone())]).unwrap();
        // The paper's x, summed with its weights from the z after each step.
        let (mut x, mut weight_sum) = (start, 0.0);
        let near = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-14);
        for t in 1..=30u32 {
            let g = gradient(t);
            plain.step(std::slice::from_ref(&g)).unwrap();
            switched.step(&[g]).unwrap();
            let weight = (rule.lr * f64::from(t.min(4)) / 4.0).powi(2);
            weight_sum += weight;
            let z = plain.tensors()[0].slots[0].clone();
            x.iter_mut().zip(&z).for_each(|(x, z)| *x += weight / weight_sum * (z - *x));
            if t % 7 == 0 {
                switched.groups_mut()[0].evaluate = true;
                for _ in 0..=t % 3 {
                    switched.step(&[vec![1e30; 3]]).unwrap();
                    assert!(near(&switched.tensors()[0].theta, &x), "step {t}: the average");
                }
                switched.groups_mut()[0].evaluate = false;
                switched.step(&[vec![-1e30; 3]]).unwrap();
            }
            let (plain, switched) = (&plain.tensors()[0], &switched.tensors()[0]);
            assert!(near(&plain.theta, &switched.theta), "step {t}");
            assert!(plain.slots.iter().zip(&switched.slots).all(|(a, b)| near(a, b)), "step {t}");
        }
    }

    #[test]
    fn evaluating_before_the_first_step_moves_nothing() {
        let rule = ScheduleFreeAdamW { evaluate: true, ..ScheduleFreeAdamW::default() };
        let mut reference = Reference::new([rule], [(0, vec![0.5, -1.0, 2.0])]).unwrap();
        for evaluate in [true, true, false] {
            reference.groups_mut()[0].evaluate = evaluate;
            reference.step(&[gradient(1)]).unwrap();
            assert_eq!(reference.tensors()[0].theta, [0.5, -1.0, 2.0]);
        }
        reference.step(&[gradient(1)]).unwrap();
        assert!(reference.tensors()[0].theta.iter().zip([0.5, -1.0, 2.0]).all(|(a, b)| *a != b));
    }

    #[test]
    fn a_beta1_of_zero_is_refused() {
        let error =
            crate::AnyRule::from_json(r#"{"optimizer": "schedule_free_adamw", "beta1": 0}"#).unwrap_err();
        assert!(error.to_string().contains("beta1 = 0 is refused; it must be above 0"), "{error}");
    }
}
