//! AdaShift.

use crate::error::Refusal;
use crate::rule::{HostState, Mutant, Number, Real, Rule, WeightDecay, beta_power};
use serde::{Deserialize, Serialize};

/// The longest ring that AdaShift may keep.
const MAX_KEEP: u32 = 64;

/// What AdaShift's second moment is taken of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reduce {
    /// Each coordinate's own old gradient.
    None,
    /// The largest of each tensor: the step of every coordinate is scaled alike.
    Max,
}

/// AdaShift: the second moment averages gradients that are `keep` steps old, so that the rate of a step is
/// independent of its gradient; the first moment is a weighted mean of the last `keep` gradients.
///
/// ```text
/// g     <- g + l2 theta                       l2 = weight_decay with mode "l2", else 0
/// m     <- beta1 (m - leave h) + enter g      h = g of step t - keep, 0 before
/// v     <- beta2 v + (1 - beta2) phi(h)^2     phi(h) = max |h| over the tensor, or h with reduce "none"
/// theta <- theta - (lr_wd theta + lr m / (sqrt(v / bc2) + eps))
///                                             no step where v = 0, so none before step keep + 1;
///                                             bc2 = 1 - beta2^(t - keep)
///
/// enter = 1 / W,  leave = beta1^(keep - 1) / W,  W = 1 + beta1 + ... + beta1^(keep - 1)
/// lr_wd = lr weight_decay with mode "decoupled", else 0
/// ```
/// so that m is the mean of the last `keep` gradients under the weights `beta1^i`.
///
/// **State**: `m`, `v` f32, start at 0, and `h`, a ring of `keep` gradients: `8 + 4 keep` bytes a
/// parameter.
///
/// **Source**: Z. Zhou, Q. Zhang, G. Lu, H. Wang, W. Zhang, Y. Yu, "AdaShift: Decorrelation and Convergence
/// of Adaptive Learning Rate Methods", 2019, with moving-average windows and, as the paper's phi for networks,
/// the largest of each tensor.
///
/// **Differences**: v is one number a tensor under "max", and kept once for each parameter all the same, so
/// that the two forms share their state. Nothing moves, decay included, in the first `keep` steps,
/// as in the paper; m gathers gradients from the first on. (One public implementation starts m after them,
/// and pytorch_optimizer is right since 4.1.0.) A coordinate whose old gradients were all 0 stands still, as
/// in the authors' code: it has no rate yet, and m divided by eps is a step of any length (pytorch_optimizer
/// takes it). The authors' code also corrects v from each coordinate's own first gradient on.
///
/// **Numerics**: m is updated in place and not summed from the ring: the same numbers in exact arithmetic.
/// What a gradient leaves behind in rounding decays by beta1 a step. Nothing bounds a step: where gradients
/// grow a thousandfold within `keep` steps, so do steps, up to `lr m / eps`; a larger eps (1e-3 with
/// gradients of order 1e-2) tames them.
///
/// **Cost**: 36 bytes read and written a parameter, whatever `keep` is; with reduce "max" three dispatches and
/// 4 bytes more.
///
/// ```
/// use wgpu_optim::rules::AdaShift;
/// let adashift = AdaShift { lr: 1e-2, keep: 5, ..AdaShift::default() };
/// assert_eq!((adashift.beta1, adashift.beta2, adashift.eps), (0.9, 0.999, 1e-10));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdaShift {
    /// Learning rate, at least 0. Default 1e-3.
    pub lr: f64,
    /// Weight of a gradient relative to the one after it, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// Share of v that is kept, in [0, 1). Default 0.999.
    pub beta2: f64,
    /// Added to the root, at least 0. Default 1e-10.
    pub eps: f64,
    /// Gradients that are kept, 1 to 64. Default 10.
    pub keep: u32,
    /// What the second moment is taken of. Default max.
    pub reduce: Reduce,
    /// Weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// How the decay acts. Default L2.
    pub weight_decay_mode: WeightDecay,
}

impl Default for AdaShift {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-10,
            keep: 10,
            reduce: Reduce::Max,
            weight_decay: 0.0,
            weight_decay_mode: WeightDecay::L2,
        }
    }
}

crate::equation! {
    hyper {
        beta1: real, enter: real, leave: real, beta2: real, one_minus_beta2: real, inv_bc2: counted,
        eps: real, lr: real, l2: real, lr_wd: real, ready: counted_flag, whole: flag, largest: max,
    }
    state { m, v, h }
}

impl Rule for AdaShift {
    const NAME: &'static str = "adashift";
    const WGSL: &'static str = include_str!("../../shaders/rules/adashift.wgsl");
    const MUTANTS: &'static [Mutant] = &[
        Mutant {
            name: "eps inside the root",
            find: "sqrt((*s).v * h.inv_bc2) + h.eps",
            replace: "sqrt((*s).v * h.inv_bc2 + h.eps)",
        },
        Mutant { name: "eps dropped", find: "h.inv_bc2) + h.eps", replace: "h.inv_bc2)" },
        Mutant { name: "no correction of v", find: "(*s).v * h.inv_bc2", replace: "(*s).v" },
        Mutant { name: "old gradients never leave", find: "((*s).m - h.leave * (*s).h)", replace: "(*s).m" },
        Mutant {
            name: "old gradients leave too early",
            find: "h.beta1 * ((*s).m - h.leave * (*s).h)",
            replace: "(h.beta1 * (*s).m - h.leave * (*s).h)",
        },
        Mutant {
            name: "v of the new gradient",
            find: "h.one_minus_beta2 * (phi * phi)",
            replace: "h.one_minus_beta2 * (g * g)",
        },
        Mutant { name: "each its own, whatever reduce is", find: "h.whole != 0u", replace: "false" },
        Mutant { name: "largest of the new gradient", find: "Terms(abs(s.h))", replace: "Terms(abs(g))" },
        Mutant { name: "divides where v is 0", find: "(*s).v == 0.0", replace: "false" },
        Mutant { name: "step x 1.02", find: "h.lr * step", replace: "1.02 * h.lr * step" },
        Mutant { name: "sign lost", find: "h.lr * step", replace: "h.lr * abs(step)" },
        Mutant { name: "no step", find: "return h.lr * step", replace: "return 0.0" },
        Mutant { name: "decoupled decay dropped", find: "h.lr_wd * theta", replace: "0.0" },
        Mutant { name: "l2 decay dropped", find: "gradient + h.l2 * theta", replace: "gradient" },
        Mutant { name: "h not stored", find: "(*s).h = g;", replace: "" },
        Mutant {
            name: "m not stored",
            find: "return h.lr * step",
            replace: "(*s).m = 0.0;\n    return h.lr * step",
        },
        Mutant {
            name: "v not stored",
            find: "return h.lr * step",
            replace: "(*s).v = 0.0;\n    return h.lr * step",
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

    fn consistent(&self) -> Result<(), Refusal> {
        if !(1..=MAX_KEEP).contains(&self.keep) {
            return Err(Refusal::new("keep", self.keep, format!("in [1, {MAX_KEEP}]")));
        }
        Ok(())
    }

    fn depths(&self) -> State<u32> {
        State { m: 1, v: 1, h: self.keep }
    }

    fn hyper(&self, t: u64, _: &mut HostState) -> Hyper<f64> {
        let length = u64::from(self.keep);
        let weights = (1.0 - beta_power(self.beta1, length)) / (1.0 - self.beta1);
        let ready = t > length;
        let decay = self.weight_decay_mode.scalars(self.weight_decay, self.lr);
        Hyper {
            beta1: self.beta1,
            enter: 1.0 / weights,
            leave: beta_power(self.beta1, length - 1) / weights,
            beta2: self.beta2,
            one_minus_beta2: 1.0 - self.beta2,
            inv_bc2: if ready { 1.0 / (1.0 - beta_power(self.beta2, t - length)) } else { 1.0 },
            eps: self.eps,
            lr: self.lr,
            l2: decay.l2,
            lr_wd: decay.lr_wd,
            ready: ready.into(),
            whole: (self.reduce == Reduce::Max).into(),
            largest: 0.0,
        }
    }

    fn reduces(&self) -> bool {
        self.reduce == Reduce::Max
    }

    fn terms<R: Real>(_: R, _: R, s: &State<R>, _: &Hyper<R>, terms: &mut [R]) {
        terms[0] = s.h.abs();
    }

    const DECAYS: bool = true;

    fn decay<R: Real>(theta: R, h: &Hyper<R>) -> R {
        if h.ready != 0 { h.lr_wd * theta } else { R::host(0.0) }
    }

    fn update<R: Real>(theta: R, gradient: R, s: &mut State<R>, h: &Hyper<R>) -> R {
        let g = gradient + h.l2 * theta;
        s.m = h.beta1 * (s.m - h.leave * s.h) + h.enter * g;
        let phi = if h.whole != 0 { h.largest } else { s.h };
        s.v = h.beta2 * s.v + h.one_minus_beta2 * (phi * phi);
        s.h = g;
        let denom = (s.v * h.inv_bc2).sqrt() + h.eps;
        let step = s.v.if_zero(R::host(0.0), s.m / denom);
        h.lr * step
    }

    fn variants() -> Vec<Self> {
        let decoupled = WeightDecay::Decoupled;
        vec![
            Self { keep: 3, weight_decay: 0.1, reduce: Reduce::None, ..Self::default() },
            Self { keep: 2, beta2: 0.9, weight_decay: 0.1, weight_decay_mode: decoupled, ..Self::default() },
            Self { keep: 1, weight_decay: 0.1, reduce: Reduce::None, ..Self::default() },
        ]
    }

    fn example() -> Self {
        // One rate for a whole tensor, from its largest gradient, is small: lr is large.
        Self { lr: 3e-2, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// m is the weighted mean of the last `keep` gradients, v of those before; nothing moves until the ring
    /// is full.
    #[test]
    fn moments_are_windows() {
        for keep in [1usize, 2, 5] {
            let rule = AdaShift { keep: keep as u32, lr: 0.1, ..AdaShift::default() };
            let mut reference = crate::reference::Reference::new([rule], [(0, vec![1.0])]).unwrap();
            let g: Vec<f64> = (1..30).map(|t| f64::from(t * t % 13) - 6.0).collect();
            for t in 1..=g.len() {
                reference.step(&[vec![g[t - 1]]]).unwrap();
                let tensor = &reference.tensors()[0];
                let weights: f64 = (0..keep as i32).map(|i| 0.9f64.powi(i)).sum();
                let recent = (0..keep.min(t)).map(|i| 0.9f64.powi(i as i32) * g[t - 1 - i]);
                let m = recent.sum::<f64>() / weights;
                let v = g[..t.saturating_sub(keep)].iter().fold(0.0, |v, h| 0.999 * v + 0.001 * h * h);
                assert!((tensor.slots[0][0] - m).abs() < 1e-13, "keep {keep}, step {t}");
                assert!((tensor.slots[1][0] - v).abs() < 1e-13, "keep {keep}, step {t}");
                assert_eq!(tensor.theta[0] == 1.0, t <= keep, "keep {keep}, step {t}");
            }
        }
    }

    /// A coordinate without old gradients waits for one, however large eps lets a step be.
    #[test]
    fn a_late_gradient_waits_for_its_rate() {
        let rule = AdaShift { keep: 3, eps: 0.0, ..AdaShift::default() };
        let mut reference = crate::reference::Reference::new([rule], [(0, vec![1.0])]).unwrap();
        for t in 1..=30 {
            reference.step(&[vec![f64::from(t > 20)]]).unwrap();
            let moved = 1.0 - reference.tensors()[0].theta[0];
            assert_eq!(moved > 0.0, t > 23, "step {t}");
            assert!(moved < 30.0 * 1e-3 * 10.0, "step {t}: {moved}");
        }
    }

    #[test]
    fn refuses_what_it_cannot_keep() {
        let validate =
            |rule: AdaShift| crate::rule::Config::rule(&rule).validate().map_err(|e| e.to_string());
        assert_eq!(validate(AdaShift { keep: 64, ..AdaShift::default() }), Ok(()));
        for (rule, message) in [
            (AdaShift { keep: 0, ..AdaShift::default() }, "keep = 0 is refused; it must be in [1, 64]"),
            (AdaShift { keep: 65, ..AdaShift::default() }, "keep = 65 is refused; it must be in [1, 64]"),
        ] {
            assert_eq!(validate(rule), Err(message.into()));
        }
    }
}
