//! What may stand around any rule: averaging, clipping and scaling of gradients before it; a cautious mask,
//! Lookahead and an average of the weights after it. `shaders/core/wrappers.wgsl` is what they do.

use crate::error::Refusal;
use crate::rule::Range;
use serde::{Deserialize, Serialize};

/// Lookahead: every `k` steps the parameters go back to a point between where they are and where they
/// were `k` steps ago.
///
/// **Source**: M. Zhang, J. Lucas, G. Hinton, J. Ba, "Lookahead Optimizer: k steps forward, 1 step back",
/// 2019, algorithm 1. The inner rule's state is left as it is at a synchronisation, as in the authors'
/// default.
///
/// **State**: `slow`, 4 bytes a parameter, the parameters at the first step.
///
/// **Cost**: 8 bytes a parameter more in every k-th step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lookahead {
    /// Steps between synchronisations, at least 1. Default 5.
    pub k: u64,
    /// Share of the way forward that is kept, in (0, 1]. Default 0.5.
    pub alpha: f64,
}

impl Default for Lookahead {
    fn default() -> Self {
        Self { k: 5, alpha: 0.5 }
    }
}

/// What a step does that finds a gradient which is not finite, in any tensor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NonFinite {
    /// The gradient takes its parameter's place: NaN and infinities are passed on, never hidden.
    #[default]
    Propagate,
    /// Parameters, slots and the count of steps stay as they were, decided on the device. What follows from the number
    /// of steps (bias corrections, warm-up) follows those that were taken; what the host sets, such as a schedule's
    /// rate, holds for the step that it was set for, also if that is skipped.
    Skip,
}

/// Dynamic loss scaling, kept on the device: the host multiplies its loss by the scale
/// ([`Optimizer::loss_scale`](crate::Optimizer::loss_scale)), every step divides its gradients by it, skips
/// what overflowed, and adapts the scale. As `torch.amp.GradScaler`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LossScale {
    /// The scale of the first step, in [2^-40, 2^60], within which it stays. Default 65536.
    pub initial: f64,
    /// The scale is multiplied by this after `interval` steps without an overflow, at least 1. Default 2.
    pub growth: f64,
    /// The scale is multiplied by this after an overflow, in (0, 1]. Default 0.5.
    pub backoff: f64,
    /// Steps in a row without an overflow before the scale grows, 1 to 2^24. Default 2000.
    pub interval: u32,
}

impl Default for LossScale {
    fn default() -> Self {
        Self { initial: 65536.0, growth: 2.0, backoff: 0.5, interval: 2000 }
    }
}

/// The loss scale stays within these.
pub(crate) const SMALLEST_SCALE: f64 = 1.0 / (1u64 << 40) as f64;
/// See [`SMALLEST_SCALE`].
pub(crate) const LARGEST_SCALE: f64 = (1u64 << 60) as f64;

/// The wrappers of one optimizer.
///
/// ```
/// use wgpu_optim::{LossScale, Options, Wrappers};
/// let mut options = Options::default();
/// options.wrappers = Wrappers {
///     max_grad_norm: Some(1.0),
///     loss_scale: Some(LossScale { initial: 1024.0, ..LossScale::default() }),
///     ..Wrappers::default()
/// };
/// assert!(options.wrappers.validate().is_ok() && options.wrappers.skips());
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wrappers {
    /// Lookahead around the rule.
    pub lookahead: Option<Lookahead>,
    /// Decay of an exponential average of the weights, in [0, 1): `ema <- ema + (1 - decay) (theta - ema)`
    /// after every step, kept in the slot `ema`, for evaluation. 4 bytes of state and 8 of traffic a
    /// parameter.
    pub ema: Option<f64>,
    /// Largest norm of all gradients of all groups, above 0: they are scaled by `min(max_grad_norm / norm, 1)`.
    /// Costs two dispatches more and reads the gradients once more, 4 bytes a parameter. What is not finite
    /// is left out of the norm. **Source**: R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training
    /// Recurrent Neural Networks", 2013, algorithm 1. `torch.nn.utils.clip_grad_norm_` adds 1e-6 to the norm.
    pub max_grad_norm: Option<f64>,
    /// Largest norm of each tensor's gradient, above 0, after the scaling by `max_grad_norm`. Costs as
    /// `max_grad_norm`; both together cost no more than one.
    pub max_tensor_norm: Option<f64>,
    /// Largest magnitude of a gradient, above 0, after both.
    pub max_grad_value: Option<f64>,
    /// Micro-batches, at least 1, whose gradients the host has added up in the gradient buffers: every step
    /// uses their average, and clips that. Goes with `zero_grad`. May change from step to step
    /// ([`Optimizer::wrappers_mut`](crate::Optimizer::wrappers_mut)), as where the last batches of an epoch are fewer.
    pub grad_accumulation_steps: Option<u32>,
    /// Every step leaves zeros in the gradient buffers, in the dispatch that used them, also if the step is
    /// skipped. 4 bytes of traffic a parameter.
    pub zero_grad: bool,
    /// What a gradient that is not finite does. `skip` reduces the gradients as `max_grad_norm` does.
    pub non_finite: NonFinite,
    /// Dynamic loss scaling; implies that steps are skipped.
    pub loss_scale: Option<LossScale>,
    /// The cautious mask: of a step only the elements are taken that go against their gradient, scaled by
    /// `1 / max(share of such elements in the tensor, 1e-3)`. Decoupled weight decay is not masked; that of LAMB and LARS,
    /// which is part of the direction, is. Costs two dispatches more, which evaluate the rule's update once more. **Source**: K. Liang, L. Chen, B. Liu,
    /// Q. Liu, "Cautious Optimizers: Improving Training with One Line of Code", 2024, algorithm 1, with the
    /// authors' scale (the paper's is `n / (n_agreeing + 1)`). The mask is of the step as it changes the
    /// parameter, so what an `f32` parameter cannot see of a step is masked.
    pub cautious: bool,
}

/// Names of the wrappers' slots; they follow the rule's.
pub(crate) const WRAPPER_SLOTS: [&str; 2] = ["slow", "ema"];

impl Wrappers {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Refusal`] of the field that is out of range.
    pub fn validate(&self) -> Result<(), Refusal> {
        if let Some(Lookahead { k, alpha }) = self.lookahead {
            if k == 0 {
                return Err(Refusal::new("lookahead.k", k, "at least 1"));
            }
            in_unit("lookahead.alpha", alpha)?;
        }
        let positive = [
            ("max_grad_norm", self.max_grad_norm),
            ("max_tensor_norm", self.max_tensor_norm),
            ("max_grad_value", self.max_grad_value),
        ];
        for (field, value) in positive {
            value.map_or(Ok(()), |value| Range::Above(0.0).check(field, value))?;
        }
        if let Some(LossScale { initial, growth, backoff, interval }) = self.loss_scale {
            Range::Closed(SMALLEST_SCALE, LARGEST_SCALE).check("loss_scale.initial", initial)?;
            Range::AtLeast(1.0).check("loss_scale.growth", growth)?;
            in_unit("loss_scale.backoff", backoff)?;
            if !(1..=1 << 24).contains(&interval) {
                return Err(Refusal::new("loss_scale.interval", interval, "in [1, 16777216]"));
            }
        }
        if self.grad_accumulation_steps == Some(0) {
            return Err(Refusal::new("grad_accumulation_steps", 0, "at least 1"));
        }
        self.ema.map_or(Ok(()), |decay| Range::HalfOpen(0.0, 1.0).check("ema", decay))
    }

    /// Values kept of each of the slots `slow` and `ema`.
    pub fn depths(&self) -> [u32; 2] {
        [self.lookahead.is_some().into(), self.ema.is_some().into()]
    }

    /// Whether a step may be skipped.
    pub fn skips(&self) -> bool {
        self.non_finite == NonFinite::Skip || self.loss_scale.is_some()
    }

    /// Whether the gradients are reduced before the rule sees them.
    pub fn reduces_gradients(&self) -> bool {
        self.max_grad_norm.is_some() || self.max_tensor_norm.is_some() || self.skips()
    }

    /// Whether gradients are multiplied by something before the rule sees them.
    pub(crate) fn scales_gradients(&self) -> bool {
        let clips = self.max_grad_norm.is_some() || self.max_tensor_norm.is_some();
        clips || self.loss_scale.is_some() || self.grad_accumulation_steps.is_some()
    }

    /// What the sum of the micro-batches' gradients is multiplied by.
    pub(crate) fn average(&self) -> f64 {
        1.0 / f64::from(self.grad_accumulation_steps.unwrap_or(1))
    }

    /// The limits of norms and values; the largest number where there is none.
    pub(crate) fn largest(&self) -> [f64; 3] {
        let limits = [self.max_grad_norm, self.max_tensor_norm, self.max_grad_value];
        limits.map(|limit| limit.unwrap_or(f64::from(f32::MAX)))
    }

    /// Whether each wrapper is on, by its name.
    fn on(&self) -> [(&'static str, bool); 10] {
        [
            ("lookahead", self.lookahead.is_some()),
            ("ema", self.ema.is_some()),
            ("max_grad_norm", self.max_grad_norm.is_some()),
            ("max_tensor_norm", self.max_tensor_norm.is_some()),
            ("max_grad_value", self.max_grad_value.is_some()),
            ("grad_accumulation_steps", self.grad_accumulation_steps.is_some()),
            ("zero_grad", self.zero_grad),
            ("non_finite", self.non_finite == NonFinite::Skip),
            ("loss_scale", self.loss_scale.is_some()),
            ("cautious", self.cautious),
        ]
    }

    /// Names of the wrappers that are on.
    pub fn names(&self) -> Vec<&'static str> {
        self.on().into_iter().filter(|(_, on)| *on).map(|(name, _)| name).collect()
    }

    /// Whether anything stands around the rule.
    pub fn is_any(&self) -> bool {
        self.on().into_iter().any(|(_, on)| on)
    }

    /// Refuses wrappers that are not `made` with other numbers: what an optimizer's shaders and slots do not have
    /// cannot be switched on, nor what they have off.
    pub(crate) fn only_numbers_changed(&self, made: &Self) -> Result<(), Refusal> {
        for ((field, now), (_, before)) in self.on().into_iter().zip(made.on()) {
            if now != before {
                let word = |on: bool| if on { "on" } else { "off" };
                let limit = format!("{}, as the optimizer was made; only numbers can change", word(before));
                return Err(Refusal::new(field, word(now), limit));
            }
        }
        Ok(())
    }
}

/// Refuses what is not in (0, 1].
fn in_unit(field: &'static str, value: f64) -> Result<(), Refusal> {
    if value > 0.0 && value <= 1.0 {
        return Range::Above(0.0).check(field, value);
    }
    Err(Refusal::new(field, value, "in (0, 1]"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::Reference;

    #[test]
    fn refuses_what_is_out_of_range() {
        let scale = LossScale::default();
        let scaled = |scale| Wrappers { loss_scale: Some(scale), ..Wrappers::default() };
        for (wrappers, refusal) in [
            (
                Wrappers { max_tensor_norm: Some(0.0), ..Wrappers::default() },
                "max_tensor_norm = 0 is refused; it must be finite and above 0",
            ),
            (
                Wrappers { grad_accumulation_steps: Some(0), ..Wrappers::default() },
                "grad_accumulation_steps = 0 is refused; it must be at least 1",
            ),
            (
                scaled(LossScale { initial: f64::INFINITY, ..scale }),
                "loss_scale.initial = inf is refused; it must be in [0.0000000000009094947017729282, 1152921504606847000]",
            ),
            (
                scaled(LossScale { growth: 0.5, ..scale }),
                "loss_scale.growth = 0.5 is refused; it must be finite and at least 1",
            ),
            (
                scaled(LossScale { backoff: 0.0, ..scale }),
                "loss_scale.backoff = 0 is refused; it must be in (0, 1]",
            ),
            (
                scaled(LossScale { interval: 0, ..scale }),
                "loss_scale.interval = 0 is refused; it must be in [1, 16777216]",
            ),
        ] {
            assert_eq!(wrappers.validate().unwrap_err().to_string(), refusal);
        }
        assert!(scaled(scale).validate().is_ok());
        let json =
            r#"{"optimizer": "adamw", "non_finite": "skip", "grad_accumulation_steps": 4, "cautious": true}"#;
        let setup = crate::rules::Setup::from_json(json).unwrap();
        assert!(
            setup.wrappers.skips()
                && setup.wrappers.cautious
                && setup.wrappers.grad_accumulation_steps == Some(4)
        );
        assert!(crate::rules::Setup::from_json(r#"{"optimizer": "adamw", "non_finite": "hide"}"#).is_err());
    }

    use crate::rule::Rule;
    use crate::rules::{Adam, Sgd};

    /// The largest distance between a rule with Lookahead and the same rule without, over 60 steps.
    fn distance<M: Rule>(rule: &M, lookahead: Lookahead) -> f64 {
        let start = vec![0.5, -3.0, 1e-3, 0.0];
        let plain = Reference::new([rule.clone()], [(0, start)]).unwrap();
        let wrappers = Wrappers { lookahead: Some(lookahead), ..Wrappers::default() };
        let (mut plain, mut wrapped) = (plain.clone(), plain.wrapped(wrappers).unwrap());
        let mut largest = 0f64;
        for t in 0..60u32 {
            let g: Vec<f64> = (0..4).map(|i| f64::from((t * t + 5 * i * t) % 19) - 9.0).collect();
            plain.step(std::slice::from_ref(&g)).unwrap();
            wrapped.step(&[g]).unwrap();
            for (a, b) in plain.tensors()[0].theta.iter().zip(&wrapped.tensors()[0].theta) {
                largest = largest.max((a - b).abs());
            }
        }
        largest
    }

    /// With alpha = 1 all of the way forward is kept: the inner rule, to f64's rounding.
    #[test]
    fn lookahead_of_all_the_way_is_the_inner_rule() {
        let (adam, sgd) = (Adam::adamw(), Sgd { momentum: 0.9, nesterov: true, ..Sgd::default() });
        for k in [1, 5] {
            let all = Lookahead { k, alpha: 1.0 };
            assert!(distance(&adam, all) < 1e-14 && distance(&sgd, all) < 1e-14, "k = {k}");
        }
        assert!(distance(&adam, Lookahead { k: 5, alpha: 0.9 }) > 1e-4, "less than all is another rule");
    }
}
