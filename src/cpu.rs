//! One step of one tensor on the CPU: the twin of the shaders' frame.

use crate::real::Real;
use crate::rule::{Lanes, Row, Rule};
use crate::wrappers::Around;

/// One step of some elements of one group, on the CPU.
pub struct Step<'a, 'b, R> {
    /// The rule's host scalars, as [`Method::host_row`](crate::Method::host_row) gives them, and behind them
    /// the [`Wrappers::row`](crate::Wrappers::row).
    pub row: &'a [f64],
    /// Parameters.
    pub theta: &'a mut [R],
    /// Gradients.
    pub g: &'a [R],
    /// Slots of the rule and of the wrappers, in order: of a ring the values that this step sees; empty
    /// where a slot is not kept.
    pub slots: &'a mut [&'b mut [R]],
    /// What was measured before.
    pub found: Found<'a, R>,
}

/// What the measuring dispatches of a step find for one tensor.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a, R> {
    /// The norm of all gradients where they are clipped by it, else 0.
    pub all_norm: R,
    /// The norm of the tensor's gradient where it is clipped by it, else 0.
    pub tensor_norm: R,
    /// One over the loss scale.
    pub inverse_scale: R,
    /// The rule's measured fields, in order.
    pub measured: &'a [R],
    /// The rule's carried fields, in order: before the step where it measures, after it where it updates.
    pub carried: &'a [R],
    /// What the elements that agree with their gradient are scaled by, where the optimizer is cautious.
    pub caution: Option<R>,
}

impl<R: Real> Found<'_, R> {
    /// Nothing was measured.
    pub fn nothing() -> Self {
        let (zero, inverse_scale) = (R::host(0.0), R::host(1.0));
        Self { all_norm: zero, tensor_norm: zero, inverse_scale, measured: &[], carried: &[], caution: None }
    }
}

/// The state that element `i` sees.
fn state_at<M: Rule, R: Real>(slots: &[&mut [R]], i: usize, lanes: &mut [R]) -> M::State<R> {
    for (lane, slot) in lanes.iter_mut().zip(slots) {
        *lane = slot.get(i).copied().unwrap_or(R::host(0.0));
    }
    M::State::<R>::from_slice(lanes)
}

/// `Hyper` without what is measured and carried, and what the wrappers have.
fn scalars<M: Rule, R: Real>(row: &[f64]) -> (M::Hyper<R>, Around<R>) {
    let (own, extra) = row.split_at(M::Hyper::<R>::FIELDS.len());
    (M::Hyper::<R>::from_host(own), Around::<R>::from_host(extra))
}

/// Runs `measure` over slices: the twin of the measuring dispatch.
pub(crate) fn shares<M: Rule, R: Real>(step: &Step<'_, '_, R>) -> Vec<Vec<R>> {
    let count = M::Hyper::<R>::FIELDS.iter().filter(|field| field.kind.is_measured()).count();
    let (mut h, extra) = scalars::<M, R>(step.row);
    h.set_carried(step.found.carried);
    let factor = extra.gradient_factor(&step.found);
    let own = M::State::<R>::NAMES.len();
    let (mut lanes, mut values) = (vec![R::host(0.0); own], vec![R::host(0.0); count]);
    let mut all = vec![Vec::with_capacity(step.g.len()); count];
    for (i, (&theta, &g)) in step.theta.iter().zip(step.g).enumerate() {
        let s = state_at::<M, R>(&step.slots[..own], i, &mut lanes);
        M::measure(theta, extra.clip(g, factor), &s, &h, &mut values);
        all.iter_mut().zip(&values).for_each(|(all, value)| all.push(*value));
    }
    all
}

/// The carried fields after a step: the twin of the dispatch that carries.
pub(crate) fn carry<M: Rule, R: Real>(row: &[f64], measured: &[R], carried: &mut [R]) {
    let (mut h, _) = scalars::<M, R>(row);
    h.set_measured(measured);
    h.set_carried(carried);
    M::carry(&h, carried);
}

/// What each gradient adds to the means of its lines: the twin of the dispatch that measures lines.
pub(crate) fn line_shares<M: Rule, R: Real>(step: &Step<'_, '_, R>) -> Vec<R> {
    let (h, extra) = scalars::<M, R>(step.row);
    let factor = extra.gradient_factor(&step.found);
    let share = |g: &R| {
        if g.to_f64().is_finite() { M::line_share(extra.clip(*g, factor), &h) } else { R::host(0.0) }
    };
    step.g.iter().map(share).collect()
}

/// The averages of lines after a step with these means.
pub(crate) fn line_averages<M: Rule, R: Real>(row: &[f64], before: &[R], means: &[R]) -> Vec<R> {
    let (h, _) = scalars::<M, R>(row);
    before.iter().zip(means).map(|(before, mean)| M::line_average(*before, *mean, &h)).collect()
}

/// 1 where a step goes against the gradient, else 0.
fn agreement<R: Real>(step: R, g: R) -> R {
    (step.sign() * g.sign()).max(R::host(0.0))
}

/// For each element whether the step agrees with its gradient: the twin of the cautious measuring dispatch.
pub(crate) fn agrees<M: Rule, R: Real>(step: &Step<'_, '_, R>) -> Vec<R> {
    let (mut h, extra) = scalars::<M, R>(step.row);
    h.set_measured(step.found.measured);
    h.set_carried(step.found.carried);
    let factor = extra.gradient_factor(&step.found);
    let own = M::State::<R>::NAMES.len();
    let mut lanes = vec![R::host(0.0); own];
    let one = |(i, (&theta, &g)): (usize, (&R, &R))| {
        let mut s = state_at::<M, R>(&step.slots[..own], i, &mut lanes);
        let g = extra.clip(g, factor);
        agreement(M::update(theta, g, &mut s, &h), g)
    };
    step.theta.iter().zip(step.g).enumerate().map(one).collect()
}

/// Runs `update` over slices: the twin of the updating dispatch.
pub(crate) fn run<M: Rule, R: Real>(step: Step<'_, '_, R>) {
    let own = M::State::<R>::NAMES.len();
    let (mut h, extra) = scalars::<M, R>(step.row);
    h.set_measured(step.found.measured);
    h.set_carried(step.found.carried);
    let factor = extra.gradient_factor(&step.found);
    let (slots, wrappers) = step.slots.split_at_mut(own);
    let mut lanes = vec![R::host(0.0); own];
    for (i, (theta, &gradient)) in step.theta.iter_mut().zip(step.g).enumerate() {
        let start = *theta;
        let mut s = state_at::<M, R>(slots, i, &mut lanes);
        let g = extra.clip(gradient, factor);
        let mut moved = M::update(start, g, &mut s, &h);
        if let Some(caution) = step.found.caution {
            moved = (caution * agreement(moved, g)) * moved;
        }
        let updated = if M::DECAYS { start - (M::decay(start, &h) + moved) } else { start - moved };
        // The frame's policy: a gradient that is not finite replaces its parameter.
        let updated = if gradient.to_f64().is_finite() { updated } else { gradient };
        s.write(&mut lanes);
        for (lane, slot) in lanes.iter().zip(slots.iter_mut()) {
            if let Some(word) = slot.get_mut(i) {
                *word = *lane;
            }
        }
        let mut wrappers = wrappers.iter_mut().map(|slot| slot.get_mut(i));
        *theta = extra.apply(start, updated, wrappers.next().flatten(), wrappers.next().flatten());
    }
}

/// Converts the parameters to those for evaluation, or back: nothing else of the tensor changes.
pub(crate) fn convert<M: Rule, R: Real>(step: Step<'_, '_, R>, evaluate: bool) {
    let (h, _) = scalars::<M, R>(step.row);
    let mut lanes = vec![R::host(0.0); M::State::<R>::NAMES.len()];
    for (i, theta) in step.theta.iter_mut().enumerate() {
        let own = lanes.len();
        let s = state_at::<M, R>(&step.slots[..own], i, &mut lanes);
        *theta = M::convert(*theta, &s, &h, evaluate);
    }
}
