//! One step of all tensors, in any arithmetic: the reference of the passes over tiles.

use super::around::Around;
use crate::arithmetic::{Interval, Real};
use crate::program::Matrices;
use crate::rule::{DynRule, Equation, FieldKind, Scalars, Scope, SlotKind, Spec};
use crate::wrappers::Wrappers;

/// The arithmetics that a whole step runs in.
pub(super) trait Arithmetic: Real {
    /// A rule's equation in this arithmetic.
    fn equation(spec: &'static Spec) -> &'static Equation<Self>;
}

impl Arithmetic for f64 {
    fn equation(spec: &'static Spec) -> &'static Equation<Self> {
        &spec.in_f64
    }
}

impl Arithmetic for Interval {
    fn equation(spec: &'static Spec) -> &'static Equation<Self> {
        &spec.in_interval
    }
}

/// What the reductions of a step leave for one tensor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reduced<'a, R> {
    /// The norm of all gradients where they are clipped by it, else 0.
    pub all_norm: R,
    /// The norm of the tensor's gradient where it is clipped by it, else 0.
    pub tensor_norm: R,
    /// One over the loss scale.
    pub inverse_scale: R,
    /// The rule's results, in order.
    results: &'a [R],
    /// The device scalars, in order: before the step where terms are made, after it where it updates.
    device: &'a [R],
    /// What the elements that agree with their gradient are scaled by, where the optimizer is cautious.
    caution: Option<R>,
}

/// A tensor in the middle of a step.
pub(super) struct Stepping<'a, R> {
    pub rule: &'a dyn DynRule,
    /// One value for each field of the rule.
    pub scalars: &'a [f64],
    pub around: Around<R>,
    /// Whether the weights are those for evaluation, before the step and after it.
    pub evaluates: (bool, bool),
    pub shape: &'a [usize],
    pub theta: &'a mut [R],
    pub g: &'a [R],
    /// Slots of the rule and of the wrappers, in order: of a ring the values that this step sees; empty where a slot is
    /// not kept.
    pub slots: Vec<&'a mut [R]>,
    /// For each slot of the rule that is of rows or columns, what each parameter sees of it.
    pub factored: Vec<Vec<R>>,
}

impl<R: Arithmetic> Stepping<'_, R> {
    fn equation(&self) -> &'static Equation<R> {
        R::equation(self.rule.spec())
    }

    fn scalars<'a>(&'a self, reduced: &Reduced<'a, R>) -> Scalars<'a, R> {
        Scalars { host: self.scalars, results: reduced.results, device: reduced.device }
    }

    /// A copy of the rule's slots as each parameter sees them.
    fn seen_slots(&self) -> Vec<Vec<R>> {
        let seen = |slot: usize| match self.factored.get(slot) {
            Some(factored) if !factored.is_empty() => factored.clone(),
            _ => self.slots[slot].to_vec(),
        };
        (0..self.rule.spec().slots.len()).map(seen).collect()
    }

    fn terms(&self, reduced: &Reduced<'_, R>) -> Vec<Vec<R>> {
        let g = self.around.clipped(self.g, reduced);
        let mut slots = self.seen_slots();
        let mut slots: Vec<&mut [R]> = slots.iter_mut().map(Vec::as_mut_slice).collect();
        (self.equation().terms)(self.scalars(reduced), self.theta, &g, &mut slots)
    }

    /// For each element 1 where the rule's step goes against its gradient, else 0.
    fn agrees(&self, reduced: &Reduced<'_, R>) -> Vec<R> {
        let g = self.around.clipped(self.g, reduced);
        let mut slots = self.seen_slots();
        let mut slots: Vec<&mut [R]> = slots.iter_mut().map(Vec::as_mut_slice).collect();
        let step = (self.equation().update)(self.scalars(reduced), self.theta, &g, &mut slots);
        step.into_iter().zip(g).map(|(step, g)| agreement(step, g)).collect()
    }

    /// Averages rows and columns.
    fn average_factored(&mut self, reduced: &Reduced<'_, R>) {
        let spec = self.rule.spec();
        if !spec.is_factored() {
            return;
        }
        let equation = self.equation();
        // Without device scalars, as on the device.
        let scalars = Scalars { host: self.scalars, results: &[], device: &[] };
        let g = self.around.clipped(self.g, reduced);
        let mut terms = (equation.factored_term)(scalars, &g);
        for (term, g) in terms.iter_mut().zip(self.g) {
            if !g.to_f64().is_finite() {
                *term = R::host(0.0);
            }
        }
        let matrices = Matrices::of(self.shape);
        let mut factored = vec![];
        for (values, slot) in self.slots.iter_mut().zip(spec.slots) {
            if slot.kind != SlotKind::Element {
                let means = matrices.means(slot.kind, &terms);
                values.copy_from_slice(&(equation.factored_average)(scalars, values, &means));
            }
            factored.push(match slot.kind {
                SlotKind::Element => vec![],
                SlotKind::Rows => matrices.row_of_each(values),
                SlotKind::Columns => matrices.column_of_each(values),
            });
        }
        self.factored = factored;
    }

    /// Updates parameters and slots.
    fn update(&mut self, reduced: &Reduced<'_, R>) {
        let (spec, equation) = (self.rule.spec(), self.equation());
        let g = self.around.clipped(self.g, reduced);
        let scalars = Scalars { host: self.scalars, results: reduced.results, device: reduced.device };
        let (own, wrappers) = self.slots.split_at_mut(spec.slots.len());
        let mut factored = self.factored.iter_mut();
        let mut own: Vec<&mut [R]> = own
            .iter_mut()
            .map(|slot| match factored.next() {
                Some(factored) if !factored.is_empty() => &mut factored[..],
                _ => &mut **slot,
            })
            .collect();
        let step = (equation.update)(scalars, self.theta, &g, &mut own);
        let decay = spec.decays.then(|| (equation.decay)(scalars, self.theta));
        for (i, (theta, gradient)) in self.theta.iter_mut().zip(self.g).enumerate() {
            let start = *theta;
            let mut moved = step[i];
            if let Some(caution) = reduced.caution {
                moved = (caution * agreement(moved, g[i])) * moved;
            }
            let updated = decay.as_ref().map_or(start - moved, |decay| start - (decay[i] + moved));
            // A gradient that is not finite takes its parameter's place, as in apply.wgsl.
            let updated = if gradient.to_f64().is_finite() { updated } else { *gradient };
            let mut wrappers = wrappers.iter_mut().map(|slot| slot.get_mut(i));
            let (slow, ema) = (wrappers.next().flatten(), wrappers.next().flatten());
            *theta = self.around.apply(start, updated, slow, ema);
        }
    }

    /// Converts the parameters to those for evaluation, or back: nothing else of the tensor changes.
    fn convert(&mut self, evaluate: bool) {
        let scalars = Scalars { host: self.scalars, results: &[], device: &[] };
        let convert = self.equation().convert;
        convert(scalars, self.theta, &mut self.slots, evaluate);
    }
}

/// 1 where a step goes against the gradient, else 0.
fn agreement<R: Real>(step: R, g: R) -> R {
    (step.sign() * g.sign()).max(R::host(0.0))
}

/// Reduces and updates all tensors of a step; `first` is the first group's rule and scalars, for device scalars.
pub(super) fn take_step<R: Arithmetic>(
    wrappers: &Wrappers,
    inverse_scale: f64,
    first: Option<(&dyn DynRule, &[f64])>,
    device: &mut Vec<R>,
    tensors: &mut [Stepping<'_, R>],
) {
    let before = device.clone();
    let (zero, inverse_scale) = (R::host(0.0), R::host(inverse_scale));
    let average = R::host(wrappers.average());
    let all_norm = if wrappers.max_grad_norm.is_some() {
        let all: Vec<R> = tensors.iter().flat_map(|tensor| tensor.g.iter().copied()).collect();
        R::norm(&all) * average * inverse_scale
    } else {
        zero
    };
    let mut reduced: Vec<Reduced<'_, R>> = tensors
        .iter()
        .map(|tensor| {
            let clips = wrappers.max_tensor_norm.is_some();
            let tensor_norm = if clips { R::norm(tensor.g) * average } else { zero };
            Reduced { all_norm, tensor_norm, inverse_scale, results: &[], device: &before, caution: None }
        })
        .collect();
    tensors.iter_mut().zip(&reduced).for_each(|(tensor, reduced)| tensor.average_factored(reduced));

    let results = rule_results(tensors, &reduced);
    // Without elements there are no dispatches.
    if let Some((rule, host)) = first.filter(|_| tensors.iter().any(|tensor| !tensor.g.is_empty())) {
        let results = results.first().map_or(&[][..], Vec::as_slice);
        let scalars = Scalars { host, results, device: &before };
        *device = (R::equation(rule.spec()).next_device_scalars)(scalars);
    }
    let device: &[R] = device;
    for (reduced, results) in reduced.iter_mut().zip(&results) {
        (reduced.results, reduced.device) = (results, device);
    }
    if wrappers.cautious {
        for (tensor, reduced) in tensors.iter().zip(&mut reduced) {
            let agrees = tensor.agrees(reduced);
            let count = R::host(agrees.len().max(1) as f64);
            let share = R::sum(&agrees, reduce_roundings(agrees.len())) / count;
            reduced.caution = Some(R::host(1.0) / share.max(R::host(LEAST_AGREEMENT)));
        }
    }
    for (tensor, reduced) in tensors.iter_mut().zip(&reduced) {
        match tensor.evaluates {
            (false, false) => tensor.update(reduced),
            // The same weights as before; in the first step there are no others.
            (before, after) if before == after || tensor.around.first => {}
            (_, evaluate) => tensor.convert(evaluate),
        }
    }
}

/// The results of the rule's reductions, for each tensor.
fn rule_results<R: Arithmetic>(tensors: &[Stepping<'_, R>], reduced: &[Reduced<'_, R>]) -> Vec<Vec<R>> {
    // In a dispatch either every group reduces or none does.
    let Some(spec) = tensors.first().map(|tensor| tensor.rule.spec()) else { return vec![] };
    if !tensors.iter().any(|tensor| tensor.rule.reduces()) {
        return vec![vec![]; tensors.len()];
    }
    let terms: Vec<Vec<Vec<R>>> =
        tensors.iter().zip(reduced).map(|(tensor, reduced)| tensor.terms(reduced)).collect();
    let combined = |tensors: &[Vec<Vec<R>>]| -> Vec<R> {
        let one = |(i, kind): (usize, FieldKind)| {
            let all: Vec<R> = tensors.iter().flat_map(|terms| terms[i].iter().copied()).collect();
            match kind {
                FieldKind::Max => R::largest(&all),
                FieldKind::Sum => R::sum(&all, reduce_roundings(all.len())),
                _ => R::norm(&all),
            }
        };
        spec.results().map(|field| field.kind).enumerate().map(one).collect()
    };
    match spec.scope {
        Scope::All => vec![combined(&terms); tensors.len()],
        Scope::Tensor => terms.chunks(1).map(combined).collect(),
    }
}

/// The share of agreeing elements that a cautious step is scaled for, at least.
const LEAST_AGREEMENT: f64 = 1e-3;

/// Additions on the longest way of a term into the device's sum over `count` elements: four of a vec4, eight
/// vec4 and the eight parts of an invocation's share of a tile, both trees, and the tiles that one invocation
/// combines.
fn reduce_roundings(count: usize) -> usize {
    let tiles = count.div_ceil(4096);
    4 + 8 + 8 + 14 + 7 + tiles.min(16).max(tiles / 128 + 1)
}
