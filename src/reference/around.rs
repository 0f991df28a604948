//! What stands around any rule, in any arithmetic: the reference of `shaders/core/wrappers.wgsl`.

use super::step::Reduced;
use crate::arithmetic::Real;
use crate::wrappers::{Lookahead, Wrappers};

/// The scalars of the wrappers in one step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Around<R> {
    /// Whether no step was taken before, so that slots have no values yet.
    pub first: bool,
    /// Whether Lookahead synchronises.
    sync: bool,
    alpha: R,
    one_minus_decay: R,
    max_norm: R,
    /// Where values are clipped: what is not finite passes by elsewhere.
    max_value: Option<R>,
    max_tensor_norm: R,
    average: R,
}

impl<R: Real> Around<R> {
    /// Those of the step that takes `t` (1 for the first), each as `rounded` leaves it.
    pub fn new(wrappers: &Wrappers, t: u64, rounded: fn(f64) -> f64) -> Self {
        let Lookahead { k, alpha } = wrappers.lookahead.unwrap_or_default();
        let host = |x: f64| R::host(rounded(x));
        let [max_norm, max_tensor_norm, max_value] = wrappers.largest().map(host);
        let max_value = wrappers.max_grad_value.map(|_| max_value);
        Self {
            first: t == 1,
            sync: wrappers.lookahead.is_some() && t.is_multiple_of(k.max(1)),
            alpha: host(alpha),
            one_minus_decay: host(1.0 - wrappers.ema.unwrap_or(0.0)),
            max_norm,
            max_value,
            max_tensor_norm,
            average: host(wrappers.average()),
        }
    }

    /// Gradients as the rule sees them: averaged, without the loss scale, clipped by norm and by value. Norms that
    /// nobody wants are 0.
    pub fn clipped(&self, g: &[R], reduced: &Reduced<'_, R>) -> Vec<R> {
        let one = R::host(1.0);
        let average = self.average * reduced.inverse_scale;
        let over_all = self.max_norm.if_less(reduced.all_norm, self.max_norm / reduced.all_norm, one);
        let norm = reduced.tensor_norm * reduced.inverse_scale * over_all;
        let over_tensor = self.max_tensor_norm.if_less(norm, self.max_tensor_norm / norm, one);
        let factor = average * over_all * over_tensor;
        let clip = |g: R| self.max_value.map_or(g, |max_value| g.clamp(-max_value, max_value));
        g.iter().map(|g| clip(*g * factor)).collect()
    }

    /// One parameter: `start` before the rule's step, `theta` after it; the slots where they are kept.
    pub fn apply(&self, start: R, theta: R, slow: Option<&mut R>, ema: Option<&mut R>) -> R {
        let mut theta = theta;
        if let Some(slow) = slow {
            if self.first {
                *slow = start;
            }
            if self.sync {
                *slow = *slow + self.alpha * (theta - *slow);
                theta = *slow;
            }
        }
        if let Some(ema) = ema {
            let before = if self.first { start } else { *ema };
            *ema = before + self.one_minus_decay * (theta - before);
        }
        theta
    }
}
