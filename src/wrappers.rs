//! What may stand around any rule: averaging, clipping and scaling of gradients before it; a cautious mask,
//! Lookahead and an average of the weights after it. The Rust twin of `shaders/wrappers.wgsl`.

use crate::cpu::Found;
use crate::error::Refusal;
use crate::real::Real;
use crate::rule::Limit;
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
/// The share of agreeing elements that a cautious step is scaled for, at least.
pub(crate) const LEAST_AGREEMENT: f64 = 1e-3;

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
    /// uses their average, and clips that. Goes with `zero_gradients`. May change from step to step
    /// ([`Optimizer::wrappers_mut`](crate::Optimizer::wrappers_mut)), as where the last batches of an epoch are fewer.
    pub accumulate: Option<u32>,
    /// Every step leaves zeros in the gradient buffers, in the dispatch that used them, also if the step is
    /// skipped. 4 bytes of traffic a parameter.
    pub zero_gradients: bool,
    /// What a gradient that is not finite does. `skip` measures the gradients as `max_grad_norm` does.
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
pub const WRAPPER_SLOTS: [&str; 2] = ["slow", "ema"];

/// Values that [`Wrappers::row`] gives.
pub const WRAPPER_SCALARS: usize = 8;

/// `struct Now` of `shaders/now.wgsl`: what the host says of one recorded step.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Now {
    /// Vec4 from the table's first row to the rows of this step.
    pub rows: u32,
    /// 0 where the step only converts weights.
    pub trains: u32,
    /// Steps between Lookahead's synchronisations.
    pub k: u32,
    /// Steps without an overflow before the loss scale grows; 0 without loss scaling.
    pub interval: u32,
    /// Lookahead's share of the way forward.
    pub alpha: f32,
    /// What an average of the weights takes of the new ones.
    pub one_minus_decay: f32,
    /// Largest norm of all gradients.
    pub max_norm: f32,
    /// Largest magnitude of a gradient.
    pub max_value: f32,
    /// Largest norm of a tensor's gradient.
    pub max_tensor_norm: f32,
    /// What the sum of the micro-batches' gradients is multiplied by.
    pub average: f32,
    /// Growth of the loss scale.
    pub growth: f32,
    /// Back-off of the loss scale.
    pub backoff: f32,
}

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
            value.map_or(Ok(()), |value| Limit::Above(0.0).check(field, value))?;
        }
        if let Some(LossScale { initial, growth, backoff, interval }) = self.loss_scale {
            Limit::Closed(SMALLEST_SCALE, LARGEST_SCALE).check("loss_scale.initial", initial)?;
            Limit::AtLeast(1.0).check("loss_scale.growth", growth)?;
            in_unit("loss_scale.backoff", backoff)?;
            if !(1..=1 << 24).contains(&interval) {
                return Err(Refusal::new("loss_scale.interval", interval, "in [1, 16777216]"));
            }
        }
        if self.accumulate == Some(0) {
            return Err(Refusal::new("accumulate", 0, "at least 1"));
        }
        self.ema.map_or(Ok(()), |decay| Limit::HalfOpen(0.0, 1.0).check("ema", decay))
    }

    /// Values kept of each of [`WRAPPER_SLOTS`].
    pub fn depths(&self) -> [u32; 2] {
        [self.lookahead.is_some().into(), self.ema.is_some().into()]
    }

    /// Whether a step may be skipped.
    pub fn skips(&self) -> bool {
        self.non_finite == NonFinite::Skip || self.loss_scale.is_some()
    }

    /// Whether the gradients are measured before the rule sees them.
    pub fn measures_gradients(&self) -> bool {
        self.max_grad_norm.is_some() || self.max_tensor_norm.is_some() || self.skips()
    }

    /// Whether gradients are multiplied by something before the rule sees them.
    pub(crate) fn scales_gradients(&self) -> bool {
        let clips = self.max_grad_norm.is_some() || self.max_tensor_norm.is_some();
        clips || self.loss_scale.is_some() || self.accumulate.is_some()
    }

    /// What the sum of the micro-batches' gradients is multiplied by.
    pub(crate) fn average(&self) -> f64 {
        1.0 / f64::from(self.accumulate.unwrap_or(1))
    }

    /// The scalars of the step that takes `t` (1 for the first), for the reference.
    pub fn row(&self, t: u64) -> [f64; WRAPPER_SCALARS] {
        let Lookahead { k, alpha } = self.lookahead.unwrap_or_default();
        let sync = self.lookahead.is_some() && t.is_multiple_of(k.max(1));
        let one_minus_decay = 1.0 - self.ema.unwrap_or(0.0);
        let [max_norm, max_tensor_norm, max_value] = self.largest();
        let [first, sync] = [t == 1, sync].map(|flag| f64::from(u8::from(flag)));
        [first, sync, alpha, one_minus_decay, max_norm, max_value, max_tensor_norm, self.average()]
    }

    /// The limits of norms and values; the largest number where there is none.
    fn largest(&self) -> [f64; 3] {
        let limits = [self.max_grad_norm, self.max_tensor_norm, self.max_grad_value];
        limits.map(|limit| limit.unwrap_or(f64::from(f32::MAX)))
    }

    /// The record of a step for the device.
    pub(crate) fn now(&self, rows: u32, trains: bool) -> Now {
        let Lookahead { k, alpha } = self.lookahead.unwrap_or_default();
        let [max_norm, max_tensor_norm, max_value] = self.largest().map(|limit| limit as f32);
        let scale = self.loss_scale;
        Now {
            rows,
            trains: trains.into(),
            // A longer interval than a count of steps can reach is never over.
            k: k.clamp(1, u64::from(u32::MAX)) as u32,
            interval: scale.map_or(0, |scale| scale.interval),
            alpha: alpha as f32,
            one_minus_decay: (1.0 - self.ema.unwrap_or(0.0)) as f32,
            max_norm,
            max_value,
            max_tensor_norm,
            average: self.average() as f32,
            growth: scale.map_or(1.0, |scale| scale.growth) as f32,
            backoff: scale.map_or(1.0, |scale| scale.backoff) as f32,
        }
    }

    /// Refuses wrappers that are not `made` with other numbers: what an optimizer's shaders and slots do not have
    /// cannot be switched on, nor what they have off.
    pub(crate) fn only_numbers_changed(&self, made: &Self) -> Result<(), Refusal> {
        let given = |wrappers: &Self| {
            [
                ("lookahead", wrappers.lookahead.is_some()),
                ("ema", wrappers.ema.is_some()),
                ("max_grad_norm", wrappers.max_grad_norm.is_some()),
                ("max_tensor_norm", wrappers.max_tensor_norm.is_some()),
                ("max_grad_value", wrappers.max_grad_value.is_some()),
                ("accumulate", wrappers.accumulate.is_some()),
                ("zero_gradients", wrappers.zero_gradients),
                ("non_finite", wrappers.non_finite == NonFinite::Skip),
                ("loss_scale", wrappers.loss_scale.is_some()),
                ("cautious", wrappers.cautious),
            ]
        };
        for ((field, now), (_, before)) in given(self).into_iter().zip(given(made)) {
            if now != before {
                let word = |on: bool| if on { "on" } else { "off" };
                let limit = format!("{}, as the optimizer was made; only numbers can change", word(before));
                return Err(Refusal::new(field, word(now), limit));
            }
        }
        Ok(())
    }
}

/// The scalars of the wrappers at one step, in the arithmetic `R`.
pub(crate) struct Around<R> {
    first: bool,
    sync: bool,
    alpha: R,
    one_minus_decay: R,
    max_norm: R,
    max_value: R,
    max_tensor_norm: R,
    average: R,
}

impl<R: Real> Around<R> {
    pub(crate) fn from_host(values: &[f64]) -> Self {
        let [first, sync, alpha, one_minus_decay, max_norm, max_value, max_tensor_norm, average] = *values
        else {
            unreachable!("what Wrappers::row gives")
        };
        Self {
            first: first != 0.0,
            sync: sync != 0.0,
            alpha: R::host(alpha),
            one_minus_decay: R::host(one_minus_decay),
            max_norm: R::host(max_norm),
            max_value: R::host(max_value),
            max_tensor_norm: R::host(max_tensor_norm),
            average: R::host(average),
        }
    }

    /// What the tensor's gradient is multiplied by: average, loss scale, both clippings. Norms that are not
    /// measured are 0.
    pub(crate) fn gradient_factor(&self, found: &Found<'_, R>) -> R {
        let one = R::host(1.0);
        let average = self.average * found.inverse_scale;
        let over_all = self.max_norm.if_less(found.all_norm, self.max_norm / found.all_norm, one);
        let norm = found.tensor_norm * found.inverse_scale * over_all;
        let over_tensor = self.max_tensor_norm.if_less(norm, self.max_tensor_norm / norm, one);
        average * over_all * over_tensor
    }

    /// One gradient as the rule sees it.
    pub(crate) fn clip(&self, g: R, factor: R) -> R {
        (g * factor).clamp(-self.max_value, self.max_value)
    }

    /// One parameter: `start` before the rule's step, `theta` after it; the slots where they are kept.
    pub(crate) fn apply(&self, start: R, theta: R, slow: Option<&mut R>, ema: Option<&mut R>) -> R {
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

/// Refuses what is not in (0, 1].
fn in_unit(field: &'static str, value: f64) -> Result<(), Refusal> {
    if value > 0.0 && value <= 1.0 {
        return Limit::Above(0.0).check(field, value);
    }
    Err(Refusal::new(field, value, "in (0, 1]"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reference;

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
                Wrappers { accumulate: Some(0), ..Wrappers::default() },
                "accumulate = 0 is refused; it must be at least 1",
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
        let json = r#"{"optimizer": "adamw", "non_finite": "skip", "accumulate": 4, "cautious": true}"#;
        let setup = crate::Setup::from_json(json).unwrap();
        assert!(setup.wrappers.skips() && setup.wrappers.cautious && setup.wrappers.accumulate == Some(4));
        assert!(crate::Setup::from_json(r#"{"optimizer": "adamw", "non_finite": "hide"}"#).is_err());
    }

    use crate::optimizers::{Adam, Sgd};
    use crate::rule::Rule;

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
