//! What one step may make of the words that a GPU holds: the expectation that its next words are compared with.

use super::around::Around;
use super::step::{Arithmetic, Stepping, take_step};
use super::{ring_place, seen};
use crate::arithmetic::Interval;
use crate::rule::DynRule;
use crate::wrappers::Wrappers;

/// What one step may do to some elements: for the parameters and every slot, the truth and all that
/// a conforming WGSL implementation may return, starting from exactly the given words.
#[derive(Debug, Clone)]
pub struct Expected {
    /// The parameters after the step: (truth, allowed).
    pub theta: Vec<(f64, Interval)>,
    /// Each slot after the step; empty for slots not given.
    pub slots: Vec<Vec<(f64, Interval)>>,
}

/// The words that a GPU holds of one tensor before a step.
#[derive(Debug, Clone, Copy)]
pub struct Words<'a> {
    /// The rule of its group.
    pub rule: &'a dyn DynRule,
    /// Which step of its own this is: 1 for the first.
    pub t: u64,
    /// The step's [`host_scalars`](super::host_scalars) of its group.
    pub scalars: &'a [f64],
    /// Its shape.
    pub shape: &'a [usize],
    /// Parameters.
    pub theta: &'a [f32],
    /// Gradients, without a loss scale.
    pub g: &'a [f32],
    /// Whether the parameters are those for evaluation, of a rule that converts; see
    /// [`Rule::evaluates`](crate::rule::Rule::evaluates).
    pub evaluates: bool,
    /// One entry for each slot of the rule and of the wrappers, as they are read back; empty where a slot is
    /// not kept.
    pub slots: &'a [Vec<f32>],
}

/// The device scalars that a GPU holds before a step.
#[derive(Debug, Clone, Copy)]
pub struct DeviceScalars<'a> {
    /// The rule of the first group.
    pub rule: &'a dyn DynRule,
    /// The step's [`host_scalars`](super::host_scalars) of the first group.
    pub scalars: &'a [f64],
    /// One word for each field of kind `device`.
    pub words: &'a [f32],
}

/// One step of tensors of an optimizer (those that it does not leave out) from the words that a GPU holds, tensor by tensor; and its device scalars
/// after the step, where the rule has some: (truth, allowed) for each.
pub fn expect_step(
    wrappers: &Wrappers,
    device: Option<DeviceScalars<'_>>,
    tensors: &[Words<'_>],
) -> (Vec<Expected>, Vec<(f64, Interval)>) {
    let (truths, device_truths) = step_in::<f64>(wrappers, device, tensors);
    let (allowed, device_allowed) = step_in::<Interval>(wrappers, device, tensors);
    let pair = |truth: Vec<f64>, allowed: Vec<Interval>| truth.into_iter().zip(allowed).collect::<Vec<_>>();
    let expected = truths
        .into_iter()
        .zip(allowed)
        .map(|((truth, truth_slots), (allowed, allowed_slots))| Expected {
            theta: pair(truth, allowed),
            slots: truth_slots
                .into_iter()
                .zip(allowed_slots)
                .map(|(truth, allowed)| pair(truth, allowed))
                .collect(),
        })
        .collect();
    (expected, pair(device_truths, device_allowed))
}

/// Parameters and slots after a step.
type After<R> = (Vec<R>, Vec<Vec<R>>);

/// The shader sees host scalars rounded to f32; the truth starts from the same words.
fn rounded(x: f64) -> f64 {
    f64::from(x as f32)
}

fn step_in<R: Arithmetic>(
    wrappers: &Wrappers,
    device: Option<DeviceScalars<'_>>,
    tensors: &[Words<'_>],
) -> (Vec<After<R>>, Vec<R>) {
    let words = |words: &[f32]| words.iter().map(|x| R::word(*x)).collect::<Vec<R>>();
    let round = |scalars: &[f64]| scalars.iter().map(|x| rounded(*x)).collect::<Vec<f64>>();
    let scalars: Vec<Vec<f64>> = tensors.iter().map(|tensor| round(tensor.scalars)).collect();
    let gradients: Vec<Vec<R>> = tensors.iter().map(|tensor| words(tensor.g)).collect();
    let mut after: Vec<After<R>> = tensors
        .iter()
        .map(|tensor| (words(tensor.theta), tensor.slots.iter().map(|slot| words(slot)).collect()))
        .collect();
    let mut steps: Vec<Stepping<'_, R>> = tensors
        .iter()
        .zip(&mut after)
        .zip(scalars.iter().zip(&gradients))
        .map(|((tensor, (theta, slots)), (scalars, g))| {
            let (len, place) = (g.len(), ring_place(tensor.rule, tensor.t));
            Stepping {
                rule: tensor.rule,
                scalars,
                around: Around::new(wrappers, tensor.t, rounded),
                evaluates: (tensor.evaluates, tensor.rule.evaluates()),
                shape: tensor.shape,
                theta,
                g,
                slots: slots.iter_mut().map(|slot| seen(slot, len, place)).collect(),
                factored: vec![],
            }
        })
        .collect();
    let first_scalars = device.map(|device| round(device.scalars)).unwrap_or_default();
    let first = device.map(|device| (device.rule, &first_scalars[..]));
    let mut kept = device.map(|device| words(device.words)).unwrap_or_default();
    take_step(wrappers, 1.0, first, &mut kept, &mut steps);
    (after, kept)
}
