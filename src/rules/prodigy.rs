//! Prodigy.

use crate::rule::{
    HostState, MAX_DEVICE_SCALARS, Mutant, Number, Real, Rule, Scope, WeightDecay, beta_power,
};
use serde::{Deserialize, Serialize};

/// Prodigy: Adam that finds its own rate: an estimate `d` of the distance to the solution, which only grows.
///
/// ```text
/// g     <- g + l2 theta                       l2 = weight_decay with mode "l2", else 0
/// m     <- beta1 m + (1 - beta1) d g
/// v     <- beta2 v + (1 - beta2) (d g)^2
/// s     <- beta3 s + (d / d0) d rate g        rate = lr, times sqrt(bc2) / bc1 with use_bias_correction;
///                                             in s 1 with safeguard_warmup; bc = 1 - beta^t
/// r     <- beta3 r + (d / d0) d rate <g, moved>
/// d_hat =  d_coef r / |s|_1                   both over all tensors of all groups
/// d_max <- max(d_max, d_hat)
/// d'    =  min(d_max, growth_rate d)          growth_rate max(d, d_hat) as long as d = d0
/// step  =  d rate (m / (sqrt(v) + d' eps) + decay theta)
///                                             decay = weight_decay with mode "decoupled", else 0
/// moved <- moved + step                       that is theta_0 - theta
/// theta <- theta - step
/// ```
/// d' is the d of the next step. Leave `lr` at 1, or put a schedule's factor in it.
///
/// **State**: `m` (not with beta1 = 0), `v`, `s`, `moved` f32, start at 0, 16 bytes a parameter. d, the d of
/// the step before, d_max (all start at d0) and r are on the device from step to step;
/// [`Optimizer::download_device_scalars`](crate::Optimizer::download_device_scalars) records a copy of them, in this order.
///
/// **Source**: K. Mishchenko, A. Defazio, "Prodigy: An Expeditiously Adaptive Parameter-Free Learner", 2023,
/// algorithm 4.
///
/// **Differences**: from the authors' package (`prodigyopt` 1.1.2), which adds `growth_rate`, `safeguard_warmup`
/// and the limit by d_max to the paper: it keeps theta_0 and subtracts, which is the same but for rounding, as
/// long as nothing else moves theta. Lookahead and the cautious mask do, and `moved` does not see it. It
/// refuses rates that differ between groups (other than 0), where here each group's rate weighs its own shares
/// of s and r. Groups of rate 0 rest here altogether, and their steps do not count in bias corrections. As long
/// as |s| is 0, as with gradients that are all zero, nothing moves, but here these steps do count there. The
/// first group's `beta3`, `d_coef` and `growth_rate` count; `d0` is the same in all groups, also later.
///
/// **Numerics**: the sums are deterministic. Small steps add up in `moved` also where rounding theta loses them:
/// with theta_0 - theta, a d0 below the spacing of theta's numbers would never grow. v is of the order of
/// (d g)^2: what it loses below 1e-38 is not seen beside d eps as long as d0 eps is above 1e-18 or so. A cautious
/// optimizer masks the decay with the step.
///
/// **Cost**: four dispatches; at most 68 bytes read and written a parameter.
///
/// ```
/// use wgpu_optim::rules::Prodigy;
/// let weights = Prodigy { weight_decay: 0.01, use_bias_correction: true, ..Prodigy::default() };
/// let biases = Prodigy { weight_decay: 0.0, ..weights.clone() };
/// assert_eq!((weights.lr, biases.d0), (1.0, 1e-6));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Prodigy {
    /// Share of the estimated rate, at least 0. Default 1.
    pub lr: f64,
    /// Share of m that is kept, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// Share of v that is kept, in [0, 1). Default 0.999.
    pub beta2: f64,
    /// Share of s and r that is kept, in [0, 1]. Default the root of beta2.
    pub beta3: Option<f64>,
    /// Added to the root, in units of d, above 0. Default 1e-8.
    pub eps: f64,
    /// Weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// How the decay acts. Default decoupled.
    pub weight_decay_mode: WeightDecay,
    /// Where d starts, at least 1e-15; the same in all groups. Default 1e-6.
    pub d0: f64,
    /// Factor of the estimate, above 0. Default 1.
    pub d_coef: f64,
    /// d grows at most by this factor in a step, at least 1. Default no limit.
    pub growth_rate: Option<f64>,
    /// The step has Adam's bias correction. Default off.
    pub use_bias_correction: bool,
    /// s does not see lr, so that a warmup does not raise the estimate. Default off.
    pub safeguard_warmup: bool,
}

impl Default for Prodigy {
    fn default() -> Self {
        Self {
            lr: 1.0,
            beta1: 0.9,
            beta2: 0.999,
            beta3: None,
            eps: 1e-8,
            weight_decay: 0.0,
            weight_decay_mode: WeightDecay::Decoupled,
            d0: 1e-6,
            d_coef: 1.0,
            growth_rate: None,
            use_bias_correction: false,
            safeguard_warmup: false,
        }
    }
}

crate::equation! {
    hyper {
        beta1: real, one_minus_beta1: real, beta2: real, one_minus_beta2: real, beta3: real, lr: real, correction: counted,
        s_lr: real, s_correction: counted, d0: real, inv_d0: real, d_coef: real, growth_rate: real, eps: real, l2: real, weight_decay: real,
        rests: flag, limited: flag, d: device, d_before: device, d_max: device, r: device,
        dot: sum, s_sum: sum,
    }
    state { m, v, s, moved }
}

fn next_s<R: Real>(g: R, s: R, d: R, h: &Hyper<R>) -> R {
    h.beta3 * s + ((d * h.inv_d0) * (d * (h.s_lr * h.s_correction))) * g
}

impl Rule for Prodigy {
    const NAME: &'static str = "prodigy";
    const WGSL: &'static str = include_str!("../../shaders/rules/prodigy.wgsl");
    const MUTANTS: &'static [Mutant] = &[
        Mutant { name: "eps dropped", find: " + h.d * h.eps", replace: "" },
        Mutant {
            name: "eps inside the root",
            find: "sqrt((*s).v) + h.d * h.eps",
            replace: "sqrt((*s).v + h.d * h.eps)",
        },
        Mutant { name: "eps without d", find: "+ h.d * h.eps", replace: "+ h.eps" },
        Mutant {
            name: "betas swapped",
            find: "h.beta1 * (*s).m + h.one_minus_beta1 * dg",
            replace: "h.beta2 * (*s).m + h.one_minus_beta2 * dg",
        },
        Mutant { name: "the new d in the moments", find: "let d = h.d_before;", replace: "let d = h.d;" },
        Mutant { name: "moments without d", find: "let dg = d * g;", replace: "let dg = g;" },
        Mutant { name: "v without its square", find: "(dg * dg)", replace: "(d * g * g)" },
        Mutant {
            name: "l2 decay dropped",
            find: "let g = gradient + h.l2 * theta;\n    let d =",
            replace: "let g = gradient;\n    let d =",
        },
        Mutant {
            name: "l2 decay left out of the estimate",
            find: "let g = gradient + h.l2 * theta;\n    let dot",
            replace: "let g = gradient;\n    let dot",
        },
        Mutant { name: "decoupled decay dropped", find: "rate * (h.weight_decay * theta)", replace: "0.0" },
        Mutant { name: "sign lost", find: "((*s).m / denom", replace: "(abs((*s).m) / denom" },
        Mutant {
            name: "step x 1.02",
            find: "(d * (h.lr * h.correction)) * ((*s).m",
            replace: "(1.02 * d * (h.lr * h.correction)) * ((*s).m",
        },
        Mutant { name: "no step", find: "return step", replace: "return 0.0" },
        Mutant {
            name: "moved not stored",
            find: "(*s).moved = (*s).moved + (decay(theta, h) + step);",
            replace: "",
        },
        Mutant { name: "moved is the last step", find: "(*s).moved + (decay", replace: "(decay" },
        Mutant { name: "moved the wrong way", find: "(*s).moved + (decay", replace: "(*s).moved - (decay" },
        Mutant {
            name: "s grows with lr alone",
            find: "(d * h.inv_d0) * (d * (h.s_lr * h.s_correction))",
            replace: "d * (h.s_lr * h.s_correction)",
        },
        Mutant { name: "s forgets", find: "h.beta3 * s +", replace: "0.0 * s +" },
        Mutant { name: "norm of s not of magnitudes", find: "abs(next_s(", replace: "(next_s(" },
        Mutant { name: "product with s", find: "g * s.moved", replace: "g * s.s" },
        Mutant { name: "r forgets", find: "h.beta3 * h.r + h.dot", replace: "h.dot" },
        Mutant { name: "r is not forgotten", find: "h.beta3 * h.r", replace: "h.r" },
        Mutant { name: "d_coef dropped", find: "h.d_coef * r", replace: "r" },
        Mutant { name: "d shrinks", find: "max(h.d_max, d_hat)", replace: "d_hat" },
        Mutant {
            name: "d does not grow",
            find: "return DeviceScalars(d, h.d, d_max, r);",
            replace: "return DeviceScalars(h.d, h.d, d_max, r);",
        },
        Mutant { name: "growth without limit", find: "h.limited != 0u", replace: "false" },
        Mutant {
            name: "the first growth is limited",
            find: "select(max(h.d, d_hat), h.d, h.d0 < h.d)",
            replace: "h.d",
        },
        Mutant { name: "every growth is free", find: "h.d0 < h.d", replace: "false" },
        Mutant { name: "m not stored", find: "let denom", replace: "(*s).m = 0.0;\n    let denom" },
        Mutant { name: "v not stored", find: "let step", replace: "(*s).v = 0.0;\n    let step" },
        Mutant { name: "s not stored", find: "(*s).s = next_s(g, (*s).s, d, h);", replace: "" },
    ];
    const SCOPE: Scope = Scope::All;
    type Hyper<R: Real> = Hyper<R>;
    type State<T: Copy> = State<T>;

    const NUMBERS: &'static [Number<Self>] = &crate::numbers! {
        Self;
        lr: AtLeast(0.0),
        beta1: HalfOpen(0.0, 1.0),
        beta2: HalfOpen(0.0, 1.0),
        beta3: Closed(0.0, 1.0),
        eps: Above(0.0),
        weight_decay: AtLeast(0.0),
        d0: AtLeast(1e-15),
        d_coef: Above(0.0),
        growth_rate: AtLeast(1.0),
    };

    fn depths(&self) -> State<u32> {
        State { m: (self.beta1 > 0.0).into(), v: 1, s: 1, moved: 1 }
    }

    fn hyper(&self, _: u64, state: &mut HostState) -> Hyper<f64> {
        // Steps of a rate above 0 so far.
        let counted = &mut state[0];
        let rests = self.lr == 0.0;
        if !rests {
            *counted += 1.0;
        }
        let correction = |k: f64| {
            let [bc1, bc2] = [self.beta1, self.beta2].map(|beta| 1.0 - beta_power(beta, k as u64));
            bc2.sqrt() / bc1
        };
        let correct = self.use_bias_correction && !rests;
        let correction = if correct { correction(*counted) } else { 1.0 };
        let (l2, weight_decay) = match self.weight_decay_mode {
            WeightDecay::L2 => (self.weight_decay, 0.0),
            WeightDecay::Decoupled => (0.0, self.weight_decay),
        };
        Hyper {
            beta1: self.beta1,
            one_minus_beta1: 1.0 - self.beta1,
            beta2: self.beta2,
            one_minus_beta2: 1.0 - self.beta2,
            beta3: self.beta3.unwrap_or(self.beta2.sqrt()),
            lr: self.lr,
            correction,
            s_lr: if self.safeguard_warmup { 1.0 } else { self.lr },
            s_correction: if self.safeguard_warmup { 1.0 } else { correction },
            d0: self.d0,
            inv_d0: 1.0 / self.d0,
            d_coef: self.d_coef,
            growth_rate: self.growth_rate.unwrap_or(1.0),
            eps: self.eps,
            l2,
            weight_decay,
            rests: rests.into(),
            limited: self.growth_rate.is_some().into(),
            d: 0.0,
            d_before: 0.0,
            d_max: 0.0,
            r: 0.0,
            dot: 0.0,
            s_sum: 0.0,
        }
    }

    fn terms<R: Real>(theta: R, gradient: R, s: &State<R>, h: &Hyper<R>, terms: &mut [R]) {
        if h.rests != 0 {
            terms.fill(R::host(0.0));
            return;
        }
        let g = gradient + h.l2 * theta;
        let dot = ((h.d * h.inv_d0) * (h.d * (h.lr * h.correction))) * (g * s.moved);
        terms.copy_from_slice(&[dot, next_s(g, s.s, h.d, h).abs()]);
    }

    fn device_scalars(&self) -> [f64; MAX_DEVICE_SCALARS] {
        [self.d0, self.d0, self.d0, 0.0]
    }

    fn next_device_scalars<R: Real>(h: &Hyper<R>, scalars: &mut [R]) {
        let r = h.beta3 * h.r + h.dot;
        let d_hat = h.d_coef * r / h.s_sum;
        let d_max = h.d_max.max(d_hat);
        let mut d = d_max;
        if h.limited != 0 {
            let reached = h.d0.if_less(h.d, h.d, h.d.max(d_hat));
            d = d_max.min(reached * h.growth_rate);
        }
        let after = [d, h.d, d_max, r];
        let rested = [h.d, h.d, h.d_max, h.r];
        for ((scalar, after), rested) in scalars.iter_mut().zip(after).zip(rested) {
            *scalar = R::host(0.0).if_less(h.s_sum, after, rested);
        }
    }

    const DECAYS: bool = true;

    fn decay<R: Real>(theta: R, h: &Hyper<R>) -> R {
        let (rate, zero) = (h.d_before * (h.lr * h.correction), R::host(0.0));
        zero.if_less(h.s_sum, rate * (h.weight_decay * theta), zero)
    }

    fn update<R: Real>(theta: R, gradient: R, s: &mut State<R>, h: &Hyper<R>) -> R {
        if h.rests != 0 {
            return R::host(0.0);
        }
        let g = gradient + h.l2 * theta;
        let d = h.d_before;
        let dg = d * g;
        s.m = h.beta1 * s.m + h.one_minus_beta1 * dg;
        s.v = h.beta2 * s.v + h.one_minus_beta2 * (dg * dg);
        s.s = next_s(g, s.s, d, h);
        let denom = s.v.sqrt() + h.d * h.eps;
        let step = (d * (h.lr * h.correction)) * (s.m / denom);
        let zero = R::host(0.0);
        s.moved = zero.if_less(h.s_sum, s.moved + (Self::decay(theta, h) + step), s.moved);
        zero.if_less(h.s_sum, step, zero)
    }

    fn variants() -> Vec<Self> {
        vec![
            Self { d0: 1e-4, d_coef: 20.0, weight_decay: 0.1, use_bias_correction: true, ..Self::default() },
            Self {
                d0: 1e-3,
                d_coef: 20.0,
                growth_rate: Some(1.02),
                beta3: Some(0.5),
                weight_decay: 0.1,
                weight_decay_mode: WeightDecay::L2,
                safeguard_warmup: true,
                ..Self::default()
            },
            Self { beta1: 0.0, d0: 1e-2, ..Self::default() },
        ]
    }

    fn example() -> Self {
        Self { use_bias_correction: true, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{assert_close, trial_gradient};
    use crate::{error::Error, reference::Reference};

    const START: [f64; 4] = [0.5, -1.0, 0.25, 0.0];

    /// On `|theta - target|` the estimate never shrinks and stays below the distance, which the paper proves
    /// for convex functions, and theta gets there without a rate.
    #[test]
    fn the_estimate_grows_towards_the_distance() {
        let mut reference = Reference::new([Prodigy::default()], [(0, vec![0.0])]).unwrap();
        let (target, mut d) = (3.0, 0.0);
        for _ in 0..400 {
            let theta = reference.tensors()[0].theta[0];
            reference.step(&[vec![f64::signum(theta - target)]]).unwrap();
            let now = reference.device_scalars()[0];
            assert!(now >= d && now <= target, "{d} {now}");
            d = now;
        }
        let theta = reference.tensors()[0].theta[0];
        assert!(d > 0.1 && (theta - target).abs() < 0.5, "d {d}, theta {theta}");
    }

    /// Steps of rate 0 and, before the first gradient, of zero gradients are no steps.
    #[test]
    fn resting_is_no_step() {
        let rule = Prodigy {
            d0: 1e-2,
            weight_decay: 0.1,
            use_bias_correction: true,
            growth_rate: Some(1.1),
            ..Prodigy::default()
        };
        let run = |rests: bool| {
            let mut reference = Reference::new([rule.clone()], [(0, START.to_vec())]).unwrap();
            for t in 1..20 {
                if rests && t % 3 == 1 {
                    reference.groups_mut()[0].lr = 0.0;
                    reference.step(&[trial_gradient(100 + t).to_vec()]).unwrap();
                    reference.groups_mut()[0].lr = 1.0;
                }
                reference.step(&[trial_gradient(t).to_vec()]).unwrap();
            }
            (reference.tensors()[0].theta.clone(), reference.device_scalars().to_vec())
        };
        assert_eq!(run(true), run(false));

        let mut reference = Reference::new([rule.clone()], [(0, START.to_vec())]).unwrap();
        reference.step(&[vec![0.0; 4]]).unwrap();
        assert_eq!(reference.tensors()[0].theta, START);
        assert_eq!(reference.device_scalars(), [1e-2, 1e-2, 1e-2, 0.0]);
    }

    /// The rule is the same in other units of the gradient, but for eps.
    #[test]
    fn the_scale_of_the_gradient_does_not_matter() {
        let run = |scale: f64| {
            let rule = Prodigy { eps: 1e-30, d0: 1e-3, ..Prodigy::default() };
            let mut reference = Reference::new([rule], [(0, START.to_vec())]).unwrap();
            for t in 1..50 {
                reference.step(&[trial_gradient(t).map(|g| scale * g).to_vec()]).unwrap();
            }
            (reference.tensors()[0].theta.clone(), reference.device_scalars()[0])
        };
        let ((theta, d), (scaled, scaled_d)) = (run(1.0), run(1024.0));
        assert_close(&scaled, &theta);
        assert_close(&[scaled_d], &[d]);
    }

    #[test]
    fn groups_must_start_alike() {
        let groups = [Prodigy::default(), Prodigy { d0: 1e-3, ..Prodigy::default() }];
        let error = Reference::new(groups, [(0, vec![0.0])]).unwrap_err();
        let Error::Config { group, refusal } = &error else { panic!("{error}") };
        assert_eq!((&group[..], refusal.field, &refusal.value[..]), ("1", "d", "0.001"));
        assert!(error.to_string().contains("it must be 0.000001, as in the first group"), "{error}");
    }
}
