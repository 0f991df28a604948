//! Adafactor.

use crate::error::Refusal;
use crate::rule::{HostState, Mutant, Number, Real, Rule, WeightDecay};
use serde::{Deserialize, Serialize};

/// Adafactor: of the second moment only the averages over rows and columns are kept, and a step is relative to
/// the size of its tensor.
///
/// ```text
/// G     =  g^2 + eps1
/// r     <- beta2 r + (1 - beta2) (mean of G over each row)       beta2 = 1 - t^-decay_rate
/// c     <- beta2 c + (1 - beta2) (mean of G over each column)
/// u     =  g / (sqrt(r / mean r) sqrt(c))
/// u     <- u / max(1, rms(u) / clip_threshold)                   rms over the tensor
/// m     <- beta1 m + (1 - beta1) alpha u                         alpha = max(eps2, rms(theta)) rho
/// theta <- theta - (lr_wd theta + m)                             lr_wd = rho weight_decay
///
/// rho = min(1e-2, 1 / sqrt(t)) with relative_step, else lr
/// ```
/// Rows and columns are those of the two largest dimensions (of equal ones the later), for each place in the others: a
/// convolution's kernel of [128, 64, 3, 3] keeps 9 (128 + 64) values. A tensor of fewer dimensions keeps its whole second
/// moment, in `r`.
///
/// **State**: `r`, a value for each row, `c`, a value for each column, start at 0; `m` f32 where `beta1` is above
/// 0, 4 bytes a parameter.
///
/// **Source**: N. Shazeer, M. Stern, "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost", 2018,
/// algorithms 4 and 5; section 9 for the relative step.
///
/// **Differences**: as `optax.adafactor`, which factors large tensors only by default: this one factors all of two
/// dimensions and more. Here and in optax the momentum is of the scaled step. `timm.optim.Adafactor` factors the last two
/// dimensions, also where they are small.
/// `torch.optim.Adafactor` bounds by eps1 instead of adding it, and its rate is `min(lr, 1 / sqrt(t))`.
/// fairseq's scales the rate in place, which compounds.
///
/// **Numerics**: `sqrt(r / mean r) sqrt(c)`, since `r c` underflows. Sums over lines are deterministic, and leave
/// out what is not finite.
///
/// **Cost**: six dispatches, three where all tensors are vectors; 24 bytes read and written a parameter of a matrix without
/// momentum, 28 of a convolution's kernel, 32 of a vector.
///
/// ```
/// use wgpu_optim::rules::Adafactor;
/// let fixed = Adafactor { lr: 1e-2, relative_step: false, ..Adafactor::default() };
/// # let _ = fixed;
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Adafactor {
    /// rho without `relative_step`, at least 0. Default 1e-3.
    pub lr: f64,
    /// rho follows the steps, and `lr` is not used. Default on.
    pub relative_step: bool,
    /// Share of m that is kept, in [0, 1). Default 0, without m.
    pub beta1: f64,
    /// How fast beta2 goes to 1, in (0, 1]. Default 0.8.
    pub decay_rate: f64,
    /// Added to squared gradients, above 0. Default 1e-30.
    pub eps1: f64,
    /// Least size of a tensor that steps are relative to, at least 0. Default 1e-3.
    pub eps2: f64,
    /// Largest root mean square of a direction, above 0. Default 1.
    pub clip_threshold: f64,
    /// Decoupled weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// How the decay acts: decoupled only. Default decoupled.
    pub weight_decay_mode: WeightDecay,
}

impl Default for Adafactor {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            relative_step: true,
            beta1: 0.0,
            decay_rate: 0.8,
            eps1: 1e-30,
            eps2: 1e-3,
            clip_threshold: 1.0,
            weight_decay: 0.0,
            weight_decay_mode: WeightDecay::Decoupled,
        }
    }
}

crate::equation! {
    hyper {
        beta2: counted, one_minus_beta2: counted, eps1: real, eps2: real, inv_clip_threshold: real, lr: real, rho: counted,
        beta1: real, one_minus_beta1: real, lr_wd: real, u_norm: norm, theta_norm: norm, root_count: norm,
    }
    state { r: rows, c: columns, m }
}

fn direction<R: Real>(g: R, s: &State<R>) -> R {
    g / (s.r.sqrt() * s.c.sqrt())
}

impl Rule for Adafactor {
    const NAME: &'static str = "adafactor";
    const WGSL: &'static str = include_str!("../../shaders/rules/adafactor.wgsl");
    const MUTANTS: &'static [Mutant] = &[
        Mutant { name: "columns ignored", find: "(sqrt(s.r) * sqrt(s.c))", replace: "sqrt(s.r)" },
        Mutant { name: "rows ignored", find: "(sqrt(s.r) * sqrt(s.c))", replace: "sqrt(s.c)" },
        Mutant { name: "square root left out", find: "sqrt(s.r) *", replace: "s.r *" },
        Mutant { name: "eps1 dropped", find: "g * g + h.eps1", replace: "g * g" },
        Mutant { name: "averages of g", find: "g * g + h.eps1", replace: "abs(g) + h.eps1" },
        Mutant { name: "averages not kept", find: "h.beta2 * before", replace: "0.0 * before" },
        Mutant {
            name: "betas swapped",
            find: "h.beta2 * before + h.one_minus_beta2 * mean",
            replace: "h.one_minus_beta2 * before + h.beta2 * mean",
        },
        Mutant {
            name: "no clipping",
            find: "max(1.0, h.u_norm / h.root_count * h.inv_clip_threshold)",
            replace: "1.0",
        },
        Mutant { name: "sum in the place of a mean", find: "h.u_norm / h.root_count", replace: "h.u_norm" },
        Mutant {
            name: "not relative to theta",
            find: "max(h.eps2, h.theta_norm / h.root_count)",
            replace: "h.eps2",
        },
        Mutant { name: "eps2 dropped", find: "max(h.eps2, ", replace: "max(0.0, " },
        Mutant { name: "no momentum", find: "h.beta1 * (*s).m + h.one_minus_beta1 *", replace: "1.0 *" },
        Mutant { name: "decay dropped", find: "h.lr_wd * h.rho * theta", replace: "0.0" },
        Mutant {
            name: "step x 1.02",
            find: "h.theta_norm / h.root_count)",
            replace: "1.02 * h.theta_norm / h.root_count)",
        },
        Mutant { name: "sign lost", find: "return (*s).m", replace: "return abs((*s).m)" },
        Mutant { name: "no step", find: "return (*s).m", replace: "return 0.0" },
    ];
    type Hyper<R: Real> = Hyper<R>;
    type State<T: Copy> = State<T>;

    const NUMBERS: &'static [Number<Self>] = &crate::numbers! {
        Self;
        lr: AtLeast(0.0),
        beta1: HalfOpen(0.0, 1.0),
        decay_rate: Closed(f64::MIN_POSITIVE, 1.0),
        eps1: Above(0.0),
        eps2: AtLeast(0.0),
        clip_threshold: Above(0.0),
        weight_decay: AtLeast(0.0),
    };

    fn consistent(&self) -> Result<(), Refusal> {
        match self.weight_decay_mode {
            WeightDecay::Decoupled => Ok(()),
            WeightDecay::L2 => Err(Refusal::new("weight_decay_mode", "l2", "decoupled")),
        }
    }

    fn depths(&self) -> State<u32> {
        State { r: 0, c: 0, m: (self.beta1 > 0.0).into() }
    }

    fn hyper(&self, t: u64, _: &mut HostState) -> Hyper<f64> {
        let one_minus_beta2 = (t as f64).powf(-self.decay_rate);
        let (lr, rho) =
            if self.relative_step { (1.0, (1.0 / (t as f64).sqrt()).min(1e-2)) } else { (self.lr, 1.0) };
        Hyper {
            beta2: 1.0 - one_minus_beta2,
            one_minus_beta2,
            eps1: self.eps1,
            eps2: self.eps2,
            inv_clip_threshold: 1.0 / self.clip_threshold,
            lr,
            rho,
            beta1: self.beta1,
            one_minus_beta1: 1.0 - self.beta1,
            lr_wd: lr * self.weight_decay,
            u_norm: 0.0,
            theta_norm: 0.0,
            root_count: 0.0,
        }
    }

    fn factored_term<R: Real>(g: R, h: &Hyper<R>) -> R {
        g * g + h.eps1
    }

    fn factored_average<R: Real>(before: R, mean: R, h: &Hyper<R>) -> R {
        h.beta2 * before + h.one_minus_beta2 * mean
    }

    fn terms<R: Real>(theta: R, g: R, s: &State<R>, _: &Hyper<R>, terms: &mut [R]) {
        terms.copy_from_slice(&[direction(g, s), theta, R::host(1.0)]);
    }

    const DECAYS: bool = true;

    fn decay<R: Real>(theta: R, h: &Hyper<R>) -> R {
        h.lr_wd * h.rho * theta
    }

    fn update<R: Real>(_: R, g: R, s: &mut State<R>, h: &Hyper<R>) -> R {
        let clip = R::host(1.0).max(h.u_norm / h.root_count * h.inv_clip_threshold);
        let alpha = h.eps2.max(h.theta_norm / h.root_count) * (h.lr * h.rho);
        s.m = h.beta1 * s.m + h.one_minus_beta1 * (alpha * (direction(g, s) / clip));
        s.m
    }

    fn variants() -> Vec<Self> {
        vec![
            Self::default(),
            Self {
                lr: 0.05,
                relative_step: false,
                weight_decay: 0.1,
                clip_threshold: 0.5,
                ..Self::default()
            },
            // Gradients below eps1, and a tensor smaller than eps2.
            Self { beta1: 0.9, eps1: 1e-6, eps2: 2.0, weight_decay: 0.1, ..Self::default() },
        ]
    }

    fn example() -> Self {
        Self { lr: 2e-2, relative_step: false, beta1: 0.9, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of gradients that are an outer product, the factored estimate is exact: every direction is 1 or -1.
    #[test]
    fn outer_products_are_estimated_exactly() {
        let (rows, columns) = (4, 3);
        let g: Vec<f64> = (0..12)
            .map(|i| {
                let (row, column) = (i / columns, i % columns);
                let sign = if i % 2 == 0 { 1.0 } else { -1.0 };
                sign * 2f64.powi(row as i32) * 3f64.powi(column as i32)
            })
            .collect();
        let rule = Adafactor { lr: 0.1, relative_step: false, eps2: 1.0, ..Adafactor::default() };
        let mut reference = crate::reference::Reference::new([rule], [(0, vec![0.0; 12])])
            .unwrap()
            .with_shapes([vec![rows, columns]])
            .unwrap();
        reference.step(std::slice::from_ref(&g)).unwrap();
        for (theta, g) in reference.tensors()[0].theta.iter().zip(&g) {
            assert!((theta + 0.1 * g.signum()).abs() < 1e-14, "{theta}");
        }
        assert_eq!(reference.tensors()[0].slots[0].len(), rows);
        assert_eq!(reference.tensors()[0].slots[1].len(), columns);
    }

    /// The equation in f64, with four indices, on a tensor whose two largest dimensions are the first and the third.
    #[test]
    fn convolutions_are_factored_over_their_channels() {
        const SHAPE: [usize; 4] = [4, 2, 3, 2];
        let index = |[a, b, c, d]: [usize; 4]| ((a * SHAPE[1] + b) * SHAPE[2] + c) * SHAPE[3] + d;
        let all = |f: &mut dyn FnMut([usize; 4])| {
            for i in 0..48 {
                f([i / 12, i / 6 % 2, i / 2 % 3, i % 2]);
            }
        };
        let rule = Adafactor { lr: 0.1, relative_step: false, weight_decay: 0.5, ..Adafactor::default() };
        let mut theta: Vec<f64> = (0..48).map(|i| f64::from(i).sin()).collect();
        let mut reference = crate::reference::Reference::new([rule], [(0, theta.clone())]).unwrap();
        reference = reference.with_shapes([SHAPE.to_vec()]).unwrap();
        let (mut r, mut c) = ([[[0f64; 4]; 2]; 2], [[[0f64; 3]; 2]; 2]);
        for t in 1..=6 {
            let g: Vec<f64> = (0..48).map(|i| f64::from(i * i + 7 * t).cos()).collect();
            let beta2 = 1.0 - f64::from(t).powf(-0.8);
            r.iter_mut().flatten().flatten().for_each(|r| *r *= beta2);
            c.iter_mut().flatten().flatten().for_each(|c| *c *= beta2);
            all(&mut |[a, b, k, d]| {
                let square = g[index([a, b, k, d])].powi(2) + 1e-30;
                r[b][d][a] += (1.0 - beta2) * square / 3.0;
                c[b][d][k] += (1.0 - beta2) * square / 4.0;
            });
            let mut u = vec![0.0; 48];
            all(&mut |[a, b, k, d]| {
                let mean = r[b][d].iter().sum::<f64>() / 4.0;
                let at = index([a, b, k, d]);
                u[at] = g[at] / (r[b][d][a] * c[b][d][k] / mean).sqrt();
            });
            let rms = |x: &[f64]| (x.iter().map(|x| x * x).sum::<f64>() / 48.0).sqrt();
            let (clip, alpha) = (rms(&u).max(1.0), 0.1 * rms(&theta).max(1e-3));
            for (theta, u) in theta.iter_mut().zip(u) {
                *theta -= 0.1 * 0.5 * *theta + alpha * u / clip;
            }
            reference.step(&[g]).unwrap();
            crate::reference::assert_close(&reference.tensors()[0].theta, &theta);
        }
    }

    /// Two dimensions are factored one way and a vector not at all: a matrix of one column is a vector.
    #[test]
    fn a_matrix_of_one_column_is_a_vector() {
        let run = |shape: Vec<usize>| {
            let start = vec![0.5, -1.0, 0.25, 2.0];
            let mut reference = crate::reference::Reference::new([Adafactor::default()], [(0, start)])
                .unwrap()
                .with_shapes([shape])
                .unwrap();
            for t in 1..20 {
                reference.step(&[crate::reference::trial_gradient(t).to_vec()]).unwrap();
            }
            reference.tensors()[0].theta.clone()
        };
        crate::reference::assert_close(&run(vec![4, 1]), &run(vec![4]));
    }
}
