//! What a rule does: its functions over slices, in one arithmetic, with the rule's types hidden.

use crate::arithmetic::Real;
use crate::rule::Rule;
use crate::rule::equation::{HostScalars, Slots};

/// One step's scalars of a rule: those of the host, and those that the device found.
#[derive(Debug, Clone, Copy)]
pub struct Scalars<'a, R> {
    /// One value for each field of `Hyper`, as [`DynRule::host_scalars`](crate::rule::DynRule::host_scalars) gives them.
    pub host: &'a [f64],
    /// The results of reductions, in order.
    pub results: &'a [R],
    /// The device scalars, in order.
    pub device: &'a [R],
}

impl<R: Real> Scalars<'_, R> {
    fn hyper<M: Rule>(&self) -> M::Hyper<R> {
        let mut h = M::Hyper::<R>::from_host(self.host);
        h.set_results(self.results);
        h.set_device(self.device);
        h
    }
}

/// The slots of some elements: one slice for each slot of the rule, empty where a slot is not kept.
pub type SlotSlices<'a, 'b, R> = &'a mut [&'b mut [R]];

/// The functions of a rule over slices of elements, in the arithmetic `R`. Each does for every element what the function
/// of the same name of [`Rule`] says.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::type_complexity)] // the signatures are what the table is for
#[non_exhaustive]
pub struct Equation<R: 'static> {
    /// Updates the slots, and returns the step of each element: from parameters and gradients.
    pub update: fn(Scalars<'_, R>, &[R], &[R], SlotSlices<'_, '_, R>) -> Vec<R>,
    /// The decoupled decay of each parameter.
    pub decay: fn(Scalars<'_, R>, &[R]) -> Vec<R>,
    /// Converts parameters to those for evaluation, or back.
    pub convert: fn(Scalars<'_, R>, &mut [R], SlotSlices<'_, '_, R>, bool),
    /// The terms of each result: one vector for each, from parameters and gradients.
    pub terms: fn(Scalars<'_, R>, &[R], &[R], SlotSlices<'_, '_, R>) -> Vec<Vec<R>>,
    /// The device scalars after a step.
    pub next_device_scalars: fn(Scalars<'_, R>) -> Vec<R>,
    /// What each gradient adds to the means of its row and its column.
    pub factored_term: fn(Scalars<'_, R>, &[R]) -> Vec<R>,
    /// The averages of rows or columns, from those before and the means of this step.
    pub factored_average: fn(Scalars<'_, R>, &[R], &[R]) -> Vec<R>,
}

impl<R: Real> Equation<R> {
    /// The functions of a rule.
    pub const fn of<M: Rule>() -> Self {
        Self {
            update: update::<M, R>,
            decay: |scalars, theta| {
                let h = scalars.hyper::<M>();
                theta.iter().map(|theta| M::decay(*theta, &h)).collect()
            },
            convert: |scalars, theta, slots, evaluate| {
                let h = scalars.hyper::<M>();
                for (i, theta) in theta.iter_mut().enumerate() {
                    *theta = M::convert(*theta, &state_at::<M, R>(slots, i), &h, evaluate);
                }
            },
            terms: terms::<M, R>,
            next_device_scalars: |scalars| {
                let mut values = scalars.device.to_vec();
                M::next_device_scalars(&scalars.hyper::<M>(), &mut values);
                values
            },
            factored_term: |scalars, g| {
                let h = scalars.hyper::<M>();
                g.iter().map(|g| M::factored_term(*g, &h)).collect()
            },
            factored_average: |scalars, before, means| {
                let h = scalars.hyper::<M>();
                before
                    .iter()
                    .zip(means)
                    .map(|(before, mean)| M::factored_average(*before, *mean, &h))
                    .collect()
            },
        }
    }
}

/// The state that element `i` sees; zeros in slots that are not kept.
fn state_at<M: Rule, R: Real>(slots: &[&mut [R]], i: usize) -> M::State<R> {
    M::State::<R>::from_fn(|slot| {
        slots.get(slot).and_then(|slot| slot.get(i)).copied().unwrap_or(R::host(0.0))
    })
}

fn update<M: Rule, R: Real>(
    scalars: Scalars<'_, R>,
    theta: &[R],
    g: &[R],
    slots: SlotSlices<'_, '_, R>,
) -> Vec<R> {
    let h = scalars.hyper::<M>();
    let mut step = Vec::with_capacity(g.len());
    for (i, (theta, g)) in theta.iter().zip(g).enumerate() {
        let mut s = state_at::<M, R>(slots, i);
        step.push(M::update(*theta, *g, &mut s, &h));
        s.each(|slot, value| {
            if let Some(word) = slots.get_mut(slot).and_then(|slot| slot.get_mut(i)) {
                *word = value;
            }
        });
    }
    step
}

fn terms<M: Rule, R: Real>(
    scalars: Scalars<'_, R>,
    theta: &[R],
    g: &[R],
    slots: SlotSlices<'_, '_, R>,
) -> Vec<Vec<R>> {
    let h = scalars.hyper::<M>();
    let count = M::Hyper::<R>::FIELDS.iter().filter(|field| field.kind.is_result()).count();
    let mut values = vec![R::host(0.0); count];
    let mut all = vec![Vec::with_capacity(g.len()); count];
    for (i, (theta, g)) in theta.iter().zip(g).enumerate() {
        M::terms(*theta, *g, &state_at::<M, R>(slots, i), &h, &mut values);
        all.iter_mut().zip(&values).for_each(|(all, value)| all.push(*value));
    }
    all
}
