//! GClip: SGD with global clipping.

use crate::rule::{HostState, Mutant, Number, Real, Rule, Scope, WeightDecay};
use serde::{Deserialize, Serialize};

/// GClip: SGD whose step has a bounded norm, for heavy-tailed gradients.
///
/// ```text
/// theta <- theta - (lr_wd theta + lr min(max_norm / |g|, 1) g)  |g| over all tensors of all groups
/// ```
/// with weight decay as in [`Sgd`](super::Sgd); with mode "l2" the decay is part of g and of its norm.
///
/// **State**: none.
///
/// **Source**: J. Zhang, S. P. Karimireddy, A. Veit, S. Kim, S. Reddi, S. Kumar, S. Sra, "Why are Adaptive
/// Methods Good for Attention Models?", 2020, equation 2 (GClip).
///
/// **Differences**: the factor is exact, as in the paper and `optax.clip_by_global_norm`;
/// `torch.nn.utils.clip_grad_norm_` adds 1e-6 to the norm. For clipping around another rule see
/// [`Wrappers::max_grad_norm`](crate::Wrappers::max_grad_norm).
///
/// **Numerics**: the norm is a deterministic sum, within 1e-6, and does not overflow, also where it lies beyond f32; one
/// below 2^-110 counts as 0. Gradients that are not finite are left out of it.
///
/// **Cost**: three dispatches; 20 bytes read and written a parameter, 16 without L2 decay on hardware that
/// leaves unused loads out.
///
/// ```
/// use wgpu_optim::rules::GClip;
/// let gclip = GClip { lr: 0.1, max_norm: 0.25, ..GClip::default() };
/// # let _ = gclip;
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GClip {
    /// Learning rate, at least 0. Default 1e-2.
    pub lr: f64,
    /// Largest norm of the gradients, above 0; the paper's tau. Default 1.
    pub max_norm: f64,
    /// Weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// How the decay acts. Default L2.
    pub weight_decay_mode: WeightDecay,
}

impl Default for GClip {
    fn default() -> Self {
        Self { lr: 1e-2, max_norm: 1.0, weight_decay: 0.0, weight_decay_mode: WeightDecay::L2 }
    }
}

crate::equation! {
    hyper { lr: real, max_norm: real, l2: real, lr_wd: real, g_norm: norm }
    state {}
}

/// Of the norm, which f32 then holds for all gradients that it holds.
const UNIT: f64 = 1.0 / 65536.0;

impl Rule for GClip {
    const NAME: &'static str = "gclip";
    const WGSL: &'static str = include_str!("../../shaders/rules/gclip.wgsl");
    const MUTANTS: &'static [Mutant] = &[
        Mutant { name: "not clipped", find: "scaled(h.max_norm, -16) < h.g_norm", replace: "false" },
        Mutant { name: "always scaled", find: "scaled(h.max_norm, -16) < h.g_norm", replace: "true" },
        Mutant {
            name: "quotient upside down",
            find: "scaled(g, -16) / h.g_norm",
            replace: "h.g_norm / scaled(g, -16)",
        },
        Mutant { name: "unit forgotten", find: "(scaled(g, -16) / h.g_norm)", replace: "(g / h.g_norm)" },
        Mutant { name: "norm without decay", find: "(gradient + h.l2 * theta));", replace: "gradient);" },
        Mutant {
            name: "l2 decay dropped",
            find: "let g = gradient + h.l2 * theta",
            replace: "let g = gradient",
        },
        Mutant { name: "decoupled decay dropped", find: "h.lr_wd * theta", replace: "0.0" },
        Mutant { name: "sign lost", find: "return h.lr * d", replace: "return h.lr * abs(d)" },
        Mutant { name: "step x 1.02", find: "return h.lr * d", replace: "return (1.02 * h.lr) * d" },
        Mutant { name: "no step", find: "return h.lr * d", replace: "return 0.0" },
    ];
    const SCOPE: Scope = Scope::All;
    type Hyper<R: Real> = Hyper<R>;
    type State<T: Copy> = State<T>;

    const NUMBERS: &'static [Number<Self>] = &crate::numbers! {
        Self;
        lr: AtLeast(0.0),
        max_norm: Above(0.0),
        weight_decay: AtLeast(0.0),
    };

    fn hyper(&self, _: u64, _: &mut HostState) -> Hyper<f64> {
        let decay = self.weight_decay_mode.scalars(self.weight_decay, self.lr);
        Hyper { lr: self.lr, max_norm: self.max_norm, l2: decay.l2, lr_wd: decay.lr_wd, g_norm: 0.0 }
    }

    fn terms<R: Real>(theta: R, gradient: R, _: &State<R>, h: &Hyper<R>, terms: &mut [R]) {
        terms[0] = R::host(UNIT) * (gradient + h.l2 * theta);
    }

    const DECAYS: bool = true;

    fn decay<R: Real>(theta: R, h: &Hyper<R>) -> R {
        h.lr_wd * theta
    }

    fn update<R: Real>(theta: R, gradient: R, _: &mut State<R>, h: &Hyper<R>) -> R {
        let g = gradient + h.l2 * theta;
        let quotient = h.max_norm * (g.scaled(-16) / h.g_norm);
        let d = h.max_norm.scaled(-16).if_less(h.g_norm, quotient, g);
        h.lr * d
    }

    fn variants() -> Vec<Self> {
        let decoupled = WeightDecay::Decoupled;
        vec![
            Self { weight_decay: 0.1, ..Self::default() },
            Self { max_norm: 1e6, weight_decay: 0.1, weight_decay_mode: decoupled, ..Self::default() },
        ]
    }

    fn example() -> Self {
        Self { lr: 1.0, ..Self::default() }
    }
}
